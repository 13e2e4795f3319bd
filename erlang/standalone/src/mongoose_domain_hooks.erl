%% @doc Removal handlers, and listeners of added and removed domains: how other code takes part.
%%
%% A *removal handler* removes its data of a domain that is being removed, and returns `ok'. It may
%% be called again for the same domain, also on another node at the same time, until all handlers
%% have returned `ok'; anything else leaves the domain `deleting' and the removal is tried again. It
%% runs in a process of its own, beside those for other domains, which is killed after
%% `removal_handler_timeout' seconds; that is a failure like others. A handler that must not miss a
%% removal that a crash interrupted belongs into the configuration (`removal_handlers'), because
%% interrupted removals are resumed when the node starts.
%%
%% A *listener* is told of every domain that routes now on this node, or routes no more, one after
%% the other, in the order in which it happened.
-module(mongoose_domain_hooks).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API
-export([add_removal_handler/2, delete_removal_handler/1, add_listener/2, delete_listener/1]).

%% For the application
-export([create_tables/0, start_link/0, has_listeners/0, domains_changed/1]).
-export([run_removal_handlers/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-ignore_xref([add_removal_handler/2, delete_removal_handler/1, add_listener/2, delete_listener/1,
              domains_changed/1, has_listeners/0, start_link/0]).

-export_type([removal_handler/0, listener/0]).

-type domain() :: mongoose_domain_core:domain().
-type host_type() :: mongoose_domain_core:host_type().
-type removal_handler() :: fun((host_type(), domain()) -> ok | term()).
-type listener() :: fun((added | removed, host_type(), domain()) -> any()).

-define(HANDLERS, mongoose_domain_removal_handlers).
-define(LISTENERS, mongoose_domain_listeners).

%% @doc Registers a removal handler, in the place of one with the same id.
-spec add_removal_handler(Id :: term(), removal_handler()) -> ok.
add_removal_handler(Id, Fun) when is_function(Fun, 2) ->
    true = ets:insert(?HANDLERS, {Id, Fun}),
    ok.

-spec delete_removal_handler(Id :: term()) -> ok.
delete_removal_handler(Id) ->
    true = ets:delete(?HANDLERS, Id),
    ok.

%% @doc Registers a listener, in the place of one with the same id.
-spec add_listener(Id :: term(), listener()) -> ok.
add_listener(Id, Fun) when is_function(Fun, 3) ->
    true = ets:insert(?LISTENERS, {Id, Fun}),
    ok.

-spec delete_listener(Id :: term()) -> ok.
delete_listener(Id) ->
    true = ets:delete(?LISTENERS, Id),
    ok.

%% For the application

%% @private
-spec create_tables() -> ok.
create_tables() ->
    Tables = [{?HANDLERS, removal_handlers, 2}, {?LISTENERS, listeners, 3}],
    lists:foreach(fun create_table/1, Tables).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @private
%% @doc Is there anybody to tell? On a node without the standalone application there is no table.
-spec has_listeners() -> boolean().
has_listeners() ->
    case ets:info(?LISTENERS, size) of
        N when N =:= 0; N =:= undefined -> false;
        _ -> true
    end.

%% @private
%% @doc Tells the listeners: one message for all the changes.
-spec domains_changed([mongoose_domain_nif:transition()]) -> ok.
domains_changed(Transitions) ->
    case has_listeners() of
        true -> gen_server:cast(?MODULE, {domains_changed, Transitions});
        false -> ok
    end.

%% @private
%% @doc Runs all handlers, one after the other, until one fails. The reason of one that has not
%% ended in time is `{no_end_within, Seconds}'.
-spec run_removal_handlers(host_type(), domain()) -> ok | {error, {Id :: term(), Reason :: term()}}.
run_removal_handlers(HostType, Domain) ->
    {ok, Seconds} = application:get_env(mongoose_domain_standalone, removal_handler_timeout),
    run_removal_handlers(ets:tab2list(?HANDLERS), HostType, Domain, Seconds).

run_removal_handlers([], _HostType, _Domain, _Seconds) ->
    ok;
run_removal_handlers([{Id, Fun} | Handlers], HostType, Domain, Seconds) ->
    case run_in_time(fun() -> run_removal_handler(Fun, HostType, Domain) end, Seconds) of
        ok -> run_removal_handlers(Handlers, HostType, Domain, Seconds);
        {error, Reason} -> {error, {Id, Reason}}
    end.

run_removal_handler(Fun, HostType, Domain) ->
    try Fun(HostType, Domain) of
        ok -> ok;
        Other -> {error, Other}
    catch
        Class:Reason:Stacktrace -> {error, {Class, Reason, Stacktrace}}
    end.

%% gen_server: tells the listeners

%% @private
-spec init([]) -> {ok, no_state}.
init([]) ->
    {ok, no_state}.

%% @private
-spec handle_call(term(), gen_server:from(), no_state) -> {reply, ok, no_state}.
handle_call(Request, _From, State) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request}),
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), no_state) -> {noreply, no_state}.
handle_cast({domains_changed, Transitions}, State) ->
    Listeners = ets:tab2list(?LISTENERS),
    lists:foreach(fun({Domain, Removed, Added}) ->
                      Removed =/= undefined andalso tell(Listeners, removed, Removed, Domain),
                      Added =/= undefined andalso tell(Listeners, added, Added, Domain)
                  end, Transitions),
    {noreply, State}.

%% @private
-spec handle_info(term(), no_state) -> {noreply, no_state}.
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

%% Internal

tell([], _What, _HostType, _Domain) ->
    ok;
tell([{Id, Fun} | Listeners], What, HostType, Domain) ->
    try
        _ = Fun(What, HostType, Domain),
        ok
    catch
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(#{what => domain_listener_failed, listener => Id, change => What,
                         host_type => HostType, domain => Domain, class => Class,
                         reason => Reason, stacktrace => Stacktrace})
    end,
    tell(Listeners, What, HostType, Domain).

%% Runs a function in a process of its own, which is killed when its time is over or the caller
%% ends.
run_in_time(Fun, Seconds) ->
    Caller = self(),
    {Keeper, Monitor} = spawn_monitor(fun() -> keep(Caller, Fun, Seconds) end),
    receive
        {'DOWN', Monitor, process, Keeper, {ended, Result}} -> Result;
        {'DOWN', Monitor, process, Keeper, Reason} -> {error, Reason}
    end.

keep(Caller, Fun, Seconds) ->
    OfCaller = monitor(process, Caller),
    Keeper = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Keeper ! {ended, self(), Fun()} end),
    receive
        {ended, Pid, Result} -> exit({ended, Result});
        {'DOWN', Monitor, process, Pid, Reason} -> exit(Reason);
        {'DOWN', OfCaller, process, Caller, _} -> exit(Pid, kill)
    after timer:seconds(Seconds) ->
        exit(Pid, kill),
        exit({no_end_within, Seconds})
    end.

create_table({Table, Option, Arity}) ->
    Table = ets:new(Table, [named_table, public, ordered_set, {read_concurrency, true}]),
    {ok, Callbacks} = application:get_env(mongoose_domain_standalone, Option),
    Rows = [{{Module, Function}, fun Module:Function/Arity} || {Module, Function} <- Callbacks],
    true = ets:insert(Table, Rows),
    ok.
