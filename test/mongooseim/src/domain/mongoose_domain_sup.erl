-module(mongoose_domain_sup).

-behaviour(supervisor).

-export([start_link/0, init/1]).

start_link() ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, []).

init([]) ->
    {ok, Pairs} = application:get_env(mongooseim, pairs),
    {ok, HostTypes} = application:get_env(mongooseim, host_types),
    Core = {mongoose_domain_core, {mongoose_domain_core, start_link, [Pairs, HostTypes]},
            permanent, 5000, worker, [mongoose_domain_core]},
    Subdomains = {mongoose_subdomain_core, {mongoose_subdomain_core, start_link, []},
                  permanent, 5000, worker, [mongoose_subdomain_core]},
    {ok, {{one_for_one, 10, 1}, [Core, Subdomains]}}.
