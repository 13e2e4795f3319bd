%% @doc The routing table of one node: which host type is this domain?
%%
%% The table is in Rust (`mongoose_domain_nif'); reads go straight there. This process alone writes
%% it, so that other modules are notified of the changes in the order in which they happened.
%%
%% A read raises `badarg' before the process has started and after it has stopped cleanly. When it
%% crashes, the table goes on answering, and the restarted process takes it over.
-module(mongoose_domain_core).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/2, get_start_args/0, insert/3, delete/1]).
-export([get_host_type/1, is_static/1, is_host_type_allowed/1, domains_count/0]).
-export([get_all_static/0, get_all_dynamic/0, get_all_outdated/1]).
-export([get_domains_by_host_type/1, for_each_domain/2, apply_batch/1, await_notified/0]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-export_type([domain/0, host_type/0, pair/0, source/0]).

-type domain() :: binary().
-type host_type() :: binary().
-type pair() :: {domain(), host_type()}.
%% Who inserted a dynamic domain.
-type source() :: term().
-type state() :: mongoose_domain_notify:state().
-type noreply() :: {noreply, state(), timeout()}.

%% Changes that are applied before other calls get their turn, a small part of a time slice; and the
%% most pending transitions with which the next batch is taken.
-define(CHANGES, 200).
-define(MOST_PENDING, 2000000).

%% @doc Starts with exactly these static domains. Their host types need not be allowed; of a
%% repeated domain the first pair counts. Raises `badarg' for anything but pairs and names.
-spec start_link([pair()], [host_type()]) -> {ok, pid()} | {error, term()}.
start_link(Pairs, HostTypes) ->
    _ = erlang:module_loaded(mongoose_domain_parts) orelse code:load_file(mongoose_domain_parts),
    case mongoose_domain_parts:load() of
        ok -> start_loaded(Pairs, HostTypes);
        {error, Reason} -> {error, Reason}
    end.

start_loaded(Pairs, HostTypes) ->
    case mongoose_domain_nif:check_start_args(Pairs, HostTypes) of
        ok -> gen_server:start_link({local, ?MODULE}, ?MODULE, {Pairs, HostTypes}, []);
        {error, Argument, Text} ->
            error(badarg, [Pairs, HostTypes], mongoose_domain_error:info(Argument, Text))
    end.

%% @doc A read of one name takes any term: what is no name of a domain is not found.
-spec get_host_type(term()) -> {ok, host_type()} | {error, not_found}.
get_host_type(Domain) -> mongoose_domain_nif:get_host_type(Domain).
-spec is_static(term()) -> boolean().
is_static(Domain) -> mongoose_domain_nif:is_static(Domain).
-spec is_host_type_allowed(term()) -> boolean().
is_host_type_allowed(HostType) -> mongoose_domain_nif:is_host_type_allowed(HostType).
-spec domains_count() -> non_neg_integer().
domains_count() -> mongoose_domain_nif:domains_count().
%% @doc The arguments of `start_link/2', as given.
-spec get_start_args() -> [term()].
get_start_args() -> mongoose_domain_nif:get_start_args().
-spec get_all_static() -> [pair()].
get_all_static() -> mongoose_domain_nif:get_all_static().
-spec get_all_dynamic() -> [pair()].
get_all_dynamic() -> mongoose_domain_nif:get_all_dynamic().
%% @doc The dynamic domains of other sources than this one.
-spec get_all_outdated(source()) -> [pair()].
get_all_outdated(Source) -> mongoose_domain_nif:get_all_outdated(Source).
-spec get_domains_by_host_type(host_type()) -> [domain()].
get_domains_by_host_type(HostType) when is_binary(HostType) ->
    mongoose_domain_nif:get_domains_by_host_type(HostType).

%% @doc Runs the function here for each domain of the host type, while domains come and go.
-spec for_each_domain(host_type(), fun((host_type(), domain()) -> any())) -> ok.
for_each_domain(HostType, Fun) when is_binary(HostType), is_function(Fun, 2) ->
    mongoose_domain_walk:for_each(HostType, Fun).

%% @doc Inserts a dynamic domain. One that is there with the same host type only gets the new
%% source. Raises `badarg' for a name that no domain can have.
-spec insert(domain(), host_type(), source()) ->
    ok | {error, unknown_host_type | static | bad_insert}.
insert(Domain, HostType, Source) when is_binary(Domain), is_binary(HostType) ->
    case mongoose_domain_nif:check_name(Domain) of
        ok -> gen_server:call(?MODULE, {insert, Domain, HostType, Source}, infinity);
        {error, Text} ->
            error(badarg, [Domain, HostType, Source], mongoose_domain_error:info(1, Text))
    end.

%% @doc Deletes a dynamic domain, if it is there; so any term will do.
-spec delete(term()) -> ok | {error, static}.
delete(Domain) -> gen_server:call(?MODULE, {delete, Domain}, infinity).

%% @private Applies a batch of changes from the database. Others are notified of them later.
-spec apply_batch(mongoose_domain_nif:batch()) -> ok | {error, stale}.
apply_batch(Batch) ->
    case gen_server:call(?MODULE, {apply_batch, Batch}, infinity) of
        more -> apply_batch(Batch);
        done -> ok;
        {error, stale} -> {error, stale}
    end.

%% @private Returns when others have been notified of every change before.
-spec await_notified() -> ok.
await_notified() -> gen_server:call(?MODULE, await_notified, infinity).

%% gen_server

-spec init({[pair()], [host_type()]}) -> {ok, state(), {continue, table_started}}.
init({Pairs, HostTypes}) ->
    %% So that a clean stop is told from a crash, in terminate/2.
    process_flag(trap_exit, true),
    ok = mongoose_domain_host:check(),
    case mongoose_domain_nif:start_table(Pairs, HostTypes, mongoose_domain_host:supervisor()) of
        fresh -> ok;
        kept -> ?LOG_NOTICE(#{what => domain_table_taken_over, domains => domains_count()})
    end,
    {ok, mongoose_domain_notify:new(), {continue, table_started}}.

-spec handle_continue(table_started, state()) -> noreply().
handle_continue(table_started, State) ->
    %% A fresh table has no domains of the database yet: the service must not wait with the load.
    _ = [Service ! check_for_updates || Service <- [whereis(service_domain_db)], is_pid(Service)],
    noreply(mongoose_domain_notify:changed(false, State)).

-spec handle_call(term(), gen_server:from(), state()) -> noreply().
handle_call({insert, Domain, HostType, Source}, From, State) ->
    reply(From, mongoose_domain_nif:insert(Domain, HostType, Source), State);
handle_call({delete, Domain}, From, State) ->
    reply(From, mongoose_domain_nif:delete(Domain), State);
handle_call({apply_batch, Batch}, From, State) ->
    reply_at(?MOST_PENDING, From, mongoose_domain_nif:apply_batch(Batch, ?CHANGES), State);
handle_call(await_notified, From, State) ->
    reply_at(0, From, ok, State);
handle_call(Request, From, State) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request, from => From}),
    reply(From, ok, State).

-spec handle_cast(term(), state()) -> noreply().
handle_cast(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    noreply(State).

-spec handle_info(term(), state()) -> noreply().
handle_info(timeout, State) ->
    noreply(mongoose_domain_notify:step(State));
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    noreply(State).

-spec terminate(term(), state()) -> ok.
terminate(Reason, _State) ->
    case mongoose_domain_host:is_clean_stop(Reason) of
        true -> mongoose_domain_nif:stop_table();
        false -> ok
    end.

%% Others are notified of a change by hand before it is answered, unless many changes are pending.
reply(From, Result, State0) ->
    State = mongoose_domain_notify:changed(false, State0),
    gen_server:reply(From, case Result of {error, _} -> Result; _ -> ok end),
    noreply(State).

reply_at(Pending, From, Result, State0) ->
    State = mongoose_domain_notify:changed(Result =:= more, State0),
    noreply(mongoose_domain_notify:reply_at(Pending, From, Result, State)).

noreply(State) ->
    {noreply, State, mongoose_domain_notify:timeout(State)}.
