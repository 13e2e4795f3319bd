%% @doc The supervisor of the processes of the routing table and of names below domains. Stands in
%% for MongooseIM's module of this name.
-module(mongoose_domain_sup).

-behaviour(supervisor).

-export([start_link/2, restart_core/1, init/1]).

-ignore_xref([restart_core/1]).

-spec start_link([mongoose_domain_core:pair()], [mongoose_domain_core:host_type()]) ->
    supervisor:startlink_ret().
start_link(Pairs, AllowedHostTypes) ->
    supervisor:start_link({local, ?MODULE}, ?MODULE, [Pairs, AllowedHostTypes]).

%% @doc Starts the core anew, with other arguments `[Pairs, AllowedHostTypes]'. It begins with
%% exactly those static domains; the service loads the dynamic ones again.
-spec restart_core([term()]) -> supervisor:startchild_ret().
restart_core(Args) ->
    _ = supervisor:terminate_child(?MODULE, mongoose_domain_core),
    _ = supervisor:delete_child(?MODULE, mongoose_domain_core),
    supervisor:start_child(?MODULE, core(Args)).

%% @private
-spec init([term()]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(Args) ->
    {ok, {#{strategy => one_for_one, intensity => 10, period => 1}, [core(Args), subdomains()]}}.

core(Args) ->
    #{id => mongoose_domain_core, start => {mongoose_domain_core, start_link, Args},
      restart => permanent, shutdown => 5000, type => worker, modules => [mongoose_domain_core]}.

subdomains() ->
    #{id => mongoose_subdomain_core, start => {mongoose_subdomain_core, start_link, []},
      restart => permanent, shutdown => 5000, type => worker, modules => [mongoose_subdomain_core]}.
