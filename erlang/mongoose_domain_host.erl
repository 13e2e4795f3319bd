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
%% - `mongoose_hooks:register_subhost/2' and `unregister_subhost/1',
%%   `mongoose_lazy_routing:maybe_remove_subdomain/1' and `mongoose_packet_handler:add_extra/2', if
%%   our `mongoose_subdomain_core' is there: they are notified of names below domains; a handler of
%%   such names gets its host type;
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

-export([check/0, whom_to_notify/0, additions/0]).
-export([notify_functions/1, notify_listeners/1, notify_of_collisions/1, keep_up/0]).
-export([has_subhost_handlers/0, is_told_of_subdomains/0, packet_handler/2, is_domain/1]).
-export([register_subhost/1, unregister_subhost/1, maybe_remove_subdomain/1]).
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

%% What our mongoose_subdomain_core calls.
-define(OF_SUBDOMAINS, [{mongoose_hooks, register_subhost, 2},
                        {mongoose_hooks, unregister_subhost, 1},
                        {mongoose_lazy_routing, maybe_remove_subdomain, 1},
                        {mongoose_packet_handler, add_extra, 2}]).

%% The processes behind those that are notified, and the one behind the listeners.
-define(NOTIFIED, [mongoose_subdomain_core, mongoose_lazy_routing, mongoose_domain_hooks]).
%% So many messages are not much.
-define(SHORT_MAILBOX, 100).

%% @doc Loads the modules that are notified of changes, so that this needs no look for a file.
%% Inside MongooseIM it logs which of its functions are missing.
-spec check() -> ok.
check() ->
    Called = ?FUNCTIONS ++ ?OF_SUBDOMAINS,
    _ = [code:ensure_loaded(Module)
         || Module <- lists:usort([mongoose_domain_hooks | [M || {M, _, _} <- Called]])],
    Missing = [text("~s:~s/~b", [M, F, A])
               || is_mongooseim(),
                  {M, F, A} <- ?FUNCTIONS ++ [F || F <- ?OF_SUBDOMAINS, computes_subdomains()],
                  not erlang:function_exported(M, F, A)],
    _ = Missing =/= [] andalso
        ?LOG_ERROR(#{what => mongooseim_functions_missing, functions => Missing,
                     text => <<"mongoose_domain_native calls functions that this MongooseIM does "
                               "not have; it is made for 6.3 - 6.8">>}),
    ok.

%% @doc Who is notified of changes? Functions of MongooseIM (and then listeners, if there are any),
%% or only the listeners of the standalone application, or nobody.
-spec whom_to_notify() -> functions | listeners | nobody.
whom_to_notify() ->
    Computes = computes_subdomains(),
    case not Computes andalso erlang:function_exported(mongoose_subdomain_core, add_domain, 2)
         orelse erlang:function_exported(mongoose_lazy_routing, maybe_remove_domain, 2)
         orelse Computes andalso erlang:function_exported(mongoose_hooks, register_subhost, 2) of
        true -> functions;
        false when Computes -> listeners;
        false -> case has_listeners() of true -> listeners; false -> nobody end
    end.

%% @doc Of which domains that route now are they notified? With our `mongoose_subdomain_core' mostly
%% of none.
-spec additions() -> all | colliding.
additions() ->
    case call(mongoose_subdomain_core, wants_additions, [], true) orelse has_listeners() of
        true -> all;
        false -> colliding
    end.

%% Is mongoose_subdomain_core ours?
computes_subdomains() ->
    erlang:function_exported(mongoose_subdomain_core, wants_additions, 0).

has_listeners() ->
    call(mongoose_domain_hooks, has_listeners, [], false).

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

%% @doc Tells our `mongoose_subdomain_core' of additions that collide.
-spec notify_of_collisions([mongoose_domain_nif:transition()]) -> ok.
notify_of_collisions(Transitions) ->
    Collides = fun(HostType, Domain) ->
                   HostType =/= undefined andalso computes_subdomains()
                       andalso mongoose_domain_nif:collides(HostType, Domain)
               end,
    lists:foreach(fun({Domain, HostType}) -> notify_functions(?ADDED, HostType, Domain) end,
                  [{Domain, Added} || {Domain, _Removed, Added} <- Transitions,
                                      Collides(Added, Domain)]).

%% @doc Have the processes that are notified, but for the calling one, not many messages to handle?
-spec keep_up() -> boolean().
keep_up() ->
    lists:all(fun(Name) -> has_short_mailbox(whereis(Name)) end, ?NOTIFIED).

has_short_mailbox(undefined) ->
    true;
has_short_mailbox(Pid) when Pid =:= self() ->
    true;
has_short_mailbox(Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> Length =< ?SHORT_MAILBOX;
        undefined -> true
    end.

%% @doc Is there somebody who wants to know of each name below a domain?
-spec has_subhost_handlers() -> boolean().
has_subhost_handlers() ->
    erlang:function_exported(mongoose_hooks, register_subhost, 2)
        andalso mongoose_domain_handlers:has(register_subhost).

%% @doc Is there somebody who may want to know that such a name ended?
-spec is_told_of_subdomains() -> boolean().
is_told_of_subdomains() ->
    erlang:function_exported(mongoose_hooks, unregister_subhost, 1)
        orelse erlang:function_exported(mongoose_lazy_routing, maybe_remove_subdomain, 1).

-spec register_subhost(binary()) -> ok.
register_subhost(Name) -> tell(mongoose_hooks, register_subhost, [Name, false]).

-spec unregister_subhost(binary()) -> ok.
unregister_subhost(Name) -> tell(mongoose_hooks, unregister_subhost, [Name]).

-spec maybe_remove_subdomain(mongoose_domain_nif:subdomain()) -> ok.
maybe_remove_subdomain(Info) -> tell(mongoose_lazy_routing, maybe_remove_subdomain, [Info]).

%% @doc A handler of packets that knows its host type.
-spec packet_handler(Handler :: term(), HostType :: binary()) -> Handler :: term().
packet_handler(Handler, HostType) ->
    call(mongoose_packet_handler, add_extra, [Handler, #{host_type => HostType}], Handler).

%% @doc Does a domain of this name route?
-spec is_domain(binary()) -> boolean().
is_domain(Name) ->
    try mongoose_domain_nif:get_host_type(Name) of
        {ok, _} -> true;
        {error, not_found} -> false
    catch
        %% There is no routing table.
        error:badarg -> false
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

notify(Module, Function, HostType, Domain) ->
    tell(Module, Function, [HostType, Domain], #{host_type => HostType, domain => Domain}).

tell(Module, Function, Args) ->
    tell(Module, Function, Args, #{arguments => Args}).

%% Whoever is notified must not bring the process down that does it, again and again.
tell(Module, Function, Args, Report) ->
    try
        _ = call(Module, Function, Args, ok),
        ok
    catch
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(Report#{what => domain_hook_failed, hook => {Module, Function},
                               class => Class, reason => Reason, stacktrace => Stacktrace})
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
