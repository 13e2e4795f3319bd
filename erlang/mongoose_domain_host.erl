%% @doc The host: the application that we run in. Every call from us into it is here.
%%
%% Inside MongooseIM that is MongooseIM, and every call goes to its module by name. Standalone it is
%% the application `mongoose_domain_standalone'. What neither has is not called.
%%
%% Of MongooseIM we depend on this, in all versions from 6.3 to 6.8. {@link check/0} says which
%% functions are missing:
%%
%% - `mongoose_subdomain_core:add_domain/2', `mongoose_subdomain_core:remove_domain/2',
%%   `mongoose_lazy_routing:maybe_remove_domain/2': they are notified of changes;
%% - `mongoose_domain_sql:start/1', `mongoose_domain_db_cleaner:start/1' and `stop/0': they start
%%   and stop with the service;
%% - `mongoose_service:is_loaded/1': is the service enabled?
%% - `mongoose_config:get_opt/1' with `outgoing_pools' and `mongoose_config:get_opt/2' with
%%   `{outgoing_pools, HostType}': where the database is;
%% - `mongoose_domain_api:insert_domain/2', `delete_domain/2', `request_delete_domain/2',
%%   `enable_domain/1', `disable_domain/1', `set_domain_password/2' and `delete_domain_password/1':
%%   changes that come by HTTP;
%% - `mongoose_instrument:set_up/1' and `tear_down/1': metrics, if they are there;
%% - the supervisor `ejabberd_sup', under which the service runs, and the scope `mim_scope' of `pg'.
-module(mongoose_domain_host).

-include_lib("kernel/include/logger.hrl").

-export([check/0, whom_to_notify/0, notify_functions/1, notify_listeners/1, keep_up/0]).
-export([start_service/2, stop_service/1, is_service_loaded/1]).
-export([start_process/1, stop_process/1, change/1, change_password/1]).
-export([request_checks_beside/0, nodes_beside/0]).
-export([is_mongooseim/0, pools/1, database_url/0, set_up_metrics/1, tear_down_metrics/1]).
-export([supervisor/0, is_clean_stop/1]).

%% Functions of MongooseIM that are notified of domains that route now, those that are notified of
%% domains that do not any more, and all that we call.
-define(ADDED, [{mongoose_subdomain_core, add_domain, 2}]).
-define(REMOVED, [{mongoose_lazy_routing, maybe_remove_domain, 2},
                  {mongoose_subdomain_core, remove_domain, 2}]).
-define(FUNCTIONS, ?ADDED ++ ?REMOVED ++ [{mongoose_domain_api, insert_domain, 2},
                                          {mongoose_domain_api, delete_domain, 2},
                                          {mongoose_domain_api, request_delete_domain, 2},
                                          {mongoose_domain_api, enable_domain, 1},
                                          {mongoose_domain_api, disable_domain, 1},
                                          {mongoose_domain_api, set_domain_password, 2},
                                          {mongoose_domain_api, delete_domain_password, 1},
                                          {mongoose_domain_sql, start, 1},
                                          {mongoose_domain_db_cleaner, start, 1},
                                          {mongoose_domain_db_cleaner, stop, 0},
                                          {mongoose_service, is_loaded, 1},
                                          {mongoose_config, get_opt, 1},
                                          {mongoose_config, get_opt, 2}]).

%% The processes behind those that are notified, and the one behind the listeners.
-define(NOTIFIED, [mongoose_subdomain_core, mongoose_lazy_routing, mongoose_domain_hooks]).
%% So many messages are not much.
-define(SHORT_MAILBOX, 100).

%% @doc Loads the modules that are notified of changes, so that this needs no look for a file.
%% Inside MongooseIM it logs which of its functions are missing.
-spec check() -> ok.
check() ->
    _ = [code:ensure_loaded(Module)
         || Module <- lists:usort([mongoose_domain_hooks | [M || {M, _, _} <- ?FUNCTIONS]])],
    Missing = [text("~s:~s/~b", [M, F, A])
               || is_mongooseim(), {M, F, A} <- ?FUNCTIONS, not erlang:function_exported(M, F, A)],
    _ = Missing =/= [] andalso
        ?LOG_ERROR(#{what => mongooseim_functions_missing, functions => Missing,
                     text => <<"mongoose_domain_native calls functions that this MongooseIM does "
                               "not have; it is made for 6.3 - 6.8">>}),
    ok.

%% @doc Who is notified of changes? Functions of MongooseIM (and then listeners, if there are any),
%% or only the listeners of the standalone application, or nobody.
-spec whom_to_notify() -> functions | listeners | nobody.
whom_to_notify() ->
    case erlang:function_exported(mongoose_subdomain_core, add_domain, 2)
         orelse erlang:function_exported(mongoose_lazy_routing, maybe_remove_domain, 2) of
        true -> functions;
        false -> case call(mongoose_domain_hooks, has_listeners, [], false) of
                     true -> listeners;
                     false -> nobody
                 end
    end.

%% @doc Notifies MongooseIM of a change.
-spec notify_functions(mongoose_domain_nif:transition()) -> ok.
notify_functions({Domain, Removed, Added}) ->
    _ = Removed =/= undefined andalso notify_functions(?REMOVED, Removed, Domain),
    _ = Added =/= undefined andalso notify_functions(?ADDED, Added, Domain),
    ok.

%% @doc Notifies the listeners of changes, in order.
-spec notify_listeners([mongoose_domain_nif:transition()]) -> ok.
notify_listeners(Transitions) ->
    call(mongoose_domain_hooks, domains_changed, [Transitions], ok).

%% @doc Have the processes that are notified not many messages to handle?
-spec keep_up() -> boolean().
keep_up() ->
    lists:all(fun(Name) -> has_short_mailbox(whereis(Name)) end, ?NOTIFIED).

has_short_mailbox(undefined) ->
    true;
has_short_mailbox(Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> Length =< ?SHORT_MAILBOX;
        undefined -> true
    end.

%% @doc Starts the service's process, between the parts of the host that belong to it.
-spec start_service(supervisor:child_spec(), Opts :: map()) -> ok.
start_service(ChildSpec, Opts) ->
    _ = load_and_call(mongoose_domain_sql, start, [Opts]),
    ok = start_process(ChildSpec),
    _ = load_and_call(mongoose_domain_db_cleaner, start, [Opts]),
    ok.

%% @doc Stops what {@link start_service/2} started.
-spec stop_service(Id :: atom()) -> ok.
stop_service(Id) ->
    _ = load_and_call(mongoose_domain_db_cleaner, stop, []),
    stop_process(Id).

%% @doc Starts a process of ours under the host's supervisor. One that was not stopped has other
%% options, and is stopped.
-spec start_process(supervisor:child_spec()) -> ok.
start_process(#{id := Id} = ChildSpec) ->
    ok = stop_process(Id),
    {ok, _Pid} = supervisor:start_child(ejabberd_sup, ChildSpec),
    ok.

-spec stop_process(Id :: atom()) -> ok.
stop_process(Id) ->
    _ = supervisor:terminate_child(ejabberd_sup, Id),
    _ = supervisor:delete_child(ejabberd_sup, Id),
    ok.

%% @doc Changes a domain by the host's API.
-spec change({Function :: atom(), binary()} | {Function :: atom(), binary(), binary()}) ->
    ok | {Reason :: atom(), Text :: binary()}.
change(Change) ->
    [Function | Args] = tuple_to_list(Change),
    case apply(mongoose_domain_api, Function, Args) of
        ok -> ok;
        {ok, _Details} -> ok;
        {Reason, Text} when is_atom(Reason) -> {Reason, iodata_to_text(Text)}
    end.

%% @doc Sets or deletes the password of a domain's administrator by the host's API, which answers by
%% a text.
-spec change_password({set_domain_password, Domain :: binary(), Password :: binary()}
                      | {delete_domain_password, Domain :: binary()}) ->
    {ok | Reason :: atom(), Text :: binary()}.
change_password(Change) ->
    [Function | Args] = tuple_to_list(Change),
    {Reason, Text} = apply(mongoose_domain_api, Function, Args),
    {Reason, iodata_to_text(Text)}.

%% @doc Asks the services of the cluster beside us to look at the event log, if this node is a
%% sidecar.
-spec request_checks_beside() -> ok.
request_checks_beside() ->
    call(mongoose_domain_sidecar, tell, [], ok).

%% @doc The nodes of the cluster that this node runs beside, if it is a sidecar.
-spec nodes_beside() -> [{node(), IsReachable :: boolean()}].
nodes_beside() ->
    [{Node, IsReachable}
     || #{node := Node, reachable := IsReachable} <- call(mongoose_domain_sidecar, status, [], [])].

iodata_to_text(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> Binary;
        _ -> text("~0tp", [Text])
    catch
        error:badarg -> text("~0tp", [Text])
    end.

%% @doc Is the service enabled? Without MongooseIM's register of services: does it run?
-spec is_service_loaded(atom()) -> boolean().
is_service_loaded(Service) ->
    _ = code:ensure_loaded(mongoose_service),
    call(mongoose_service, is_loaded, [Service], whereis(Service) =/= undefined).

%% @doc Is the host MongooseIM?
-spec is_mongooseim() -> boolean().
is_mongooseim() ->
    lists:any(fun(Module) -> code:ensure_loaded(Module) =:= {module, Module} end,
              [mongoose_config, mongoose_service]).

%% @doc The pools of MongooseIM's configuration: of all host types, or of one only.
-spec pools(global | binary()) -> [mongoose_domain_pool:pool()].
pools(global) ->
    call(mongoose_config, get_opt, [outgoing_pools], []);
pools(HostType) ->
    call(mongoose_config, get_opt, [{outgoing_pools, HostType}, []], []).

%% @doc The URL of the database of the standalone application.
-spec database_url() -> term() | undefined.
database_url() ->
    application:get_env(mongoose_domain_standalone, database, undefined).

%% @doc Registers metrics (contract, section 5); does nothing without MongooseIM's registry.
-spec set_up_metrics([tuple()]) -> ok.
set_up_metrics(Metrics) ->
    load_and_call(mongoose_instrument, set_up, [Metrics]).

%% @doc Takes them back.
-spec tear_down_metrics([tuple()]) -> ok.
tear_down_metrics(Metrics) ->
    load_and_call(mongoose_instrument, tear_down, [Metrics]).

%% @doc The supervisor of the calling process, also where it is known by its name.
-spec supervisor() -> pid() | undefined.
supervisor() ->
    case get('$ancestors') of
        [Pid | _] when is_pid(Pid) -> Pid;
        [Name | _] -> whereis(Name);
        _ -> undefined
    end.

%% @doc Does a process that ends for this reason end in good order, and not by a crash?
-spec is_clean_stop(Reason :: term()) -> boolean().
is_clean_stop(normal) -> true;
is_clean_stop(shutdown) -> true;
is_clean_stop({shutdown, _}) -> true;
is_clean_stop(_) -> false.

%% Internal

notify_functions(Functions, HostType, Domain) ->
    lists:foreach(fun({Module, Function, 2}) -> notify(Module, Function, HostType, Domain) end,
                  Functions).

%% Whoever is notified must not bring the table's process down, again and again.
notify(Module, Function, HostType, Domain) ->
    try
        _ = call(Module, Function, [HostType, Domain], ok),
        ok
    catch
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(#{what => domain_hook_failed, hook => {Module, Function},
                         host_type => HostType, domain => Domain, class => Class,
                         reason => Reason, stacktrace => Stacktrace})
    end.

load_and_call(Module, Function, Args) ->
    _ = code:ensure_loaded(Module),
    call(Module, Function, Args, ok).

%% Only what is there. Asking is cheap: it is done for every change of a domain.
call(Module, Function, Args, Default) ->
    case erlang:function_exported(Module, Function, length(Args)) of
        true -> apply(Module, Function, Args);
        false -> Default
    end.

text(Format, Args) ->
    unicode:characters_to_binary(io_lib:format(Format, Args)).
