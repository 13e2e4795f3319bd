-module(ejabberd_sup).

-behaviour(supervisor).

-export([start_link/0, init/1]).

start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

init([]) ->
    Pg = #{id => pg, start => {pg, start_link, [mim_scope]}},
    Domains = #{id => mongoose_domain_sup, start => {mongoose_domain_sup, start_link, []},
                type => supervisor},
    {ok, {#{strategy => one_for_one}, [Pg, Domains]}}.
