%% @doc The top supervisor of a standalone node.
%%
%% Registered as `ejabberd_sup': under that name `service_domain_db' finds its supervisor, here as
%% in MongooseIM.
-module(mongoose_domain_standalone_sup).

-behaviour(supervisor).

-export([start_link/0, init/1]).

-define(APP, mongoose_domain_standalone).

-spec start_link() -> supervisor:startlink_ret().
start_link() ->
    supervisor:start_link({local, ejabberd_sup}, ?MODULE, []).

%% @private
-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    %% Registrations outlive the process that runs them.
    ok = mongoose_domain_hooks:create_tables(),
    {ok, Written} = application:get_env(?APP, static_domains),
    {ok, Pairs} = mongoose_domain_static:prepare(Written),
    {ok, HostTypes} = application:get_env(?APP, host_types),
    Children = [#{id => mim_scope, start => {pg, start_link, [mim_scope]}},
                #{id => mongoose_domain_hooks, start => {mongoose_domain_hooks, start_link, []}},
                #{id => mongoose_domain_sup,
                  start => {mongoose_domain_sup, start_link, [Pairs, HostTypes]},
                  type => supervisor},
                remover()],
    {ok, {#{strategy => one_for_one, intensity => 10, period => 1}, Children}}.

%% A sidecar has nobody who finishes removals: it leaves them to those who have the handlers.
remover() ->
    Module = case mongoose_domain_sidecar:is_configured() of
                 true -> mongoose_domain_sidecar;
                 false -> mongoose_domain_remover
             end,
    #{id => Module, start => {Module, start_link, []}}.
