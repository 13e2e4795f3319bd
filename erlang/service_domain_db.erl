%% @doc The database service of one node: it loads the domains, then follows the event log.
%%
%% Takes the place of MongooseIM's module of this name. What to read and what it means is in Rust;
%% this process starts one check after the other, hands the batches of changes that come from it to
%% `mongoose_domain_core', and answers a {@link ping/1} only when what was asked of it before is
%% done.
%%
%% The position in the event log lives with the routing table. A crash of this process loses
%% nothing.
%%
%% Every `audit_interval' seconds the table is compared with the database, while checks go on. What
%% differs is looked at again at the end of the next check; if it still does, although no event is
%% pending that explains it, everything is loaded again.
-module(service_domain_db).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% mongoose_service
-export([start/1, stop/0, config_spec/0]).

%% API
-export([start_link/0, restart/0, enabled/0, force_check_for_updates/0, sync_local/0, ping/1]).
-export([verify/0, status/0, members/0]).

%% gen_server
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-ignore_xref([config_spec/0, ping/1, start_link/0, status/0, verify/0]).
%% Milliseconds from the end of one check to the next, if nobody asks for one.
-define(CHECK_INTERVAL, 30000).
%% Milliseconds: after a failure the next try comes after 0.5 s, 1 s, 2 s … (as long as the host
%% says at most), less up to a half of it.
-define(FIRST_RETRY, 500).
%% Milliseconds that a ping waits for its answer, as the other nodes of a cluster do.
-define(PING_TIMEOUT, 15000).
%% Seconds; a hundred years are enough, and the NIF takes no big integers.
-define(LONGEST_AGE, 100 * 365 * 86400).
%% Seconds: send_after/3 and call/3 take no more than 49 days.
-define(LONGEST_WAIT, 30 * 86400).

-record(state, {database :: mongoose_domain_nif:database() | undefined,
                max_retry = 30000 :: pos_integer(),
                max_age :: pos_integer(),
                %% The check or load that runs now.
                job :: undefined | {reference(), mongoose_domain_nif:job(), StartedAt :: integer()},
                %% Was another check asked for since it started?
                again = false :: boolean(),
                %% Pings to answer when it ends; and those to answer after the one that follows.
                pings = [] :: [gen_server:from()],
                later_pings = [] :: [gen_server:from()],
                timer :: undefined | reference(),
                failures = 0 :: non_neg_integer(),
                %% The audit that runs now.
                audit :: undefined | {reference(), mongoose_domain_nif:job()},
                audit_timer :: undefined | reference(),
                %% Who waits for one, and how far it is: it has to begin; it runs; it found
                %% suspects, which a check has to look at again; the check runs.
                verifiers = [] :: [{gen_server:from(), wanted | runs | suspicious | judged}],
                %% Who waits for the end of the first load or of its first attempt; `done': it is.
                first_load = [] :: [gen_server:from()] | done,
                index_request :: undefined | reference(),
                reloads = false :: boolean()}).

%% mongoose_service

%% @doc Starts the service, and returns when the first load is in the table, when its first attempt
%% has failed, or after `initial_load_timeout' seconds: who accepts clients then routes their domains.
%% `Opts' are those of `[services.service_domain_db]', each with a default. Raises `{database, Failure}' or `{http, Failure}' if what the configuration says of the database
%% or of the HTTP server is wrong or cannot be done; whether the database is there does not matter.
-spec start(mongoose_domain_config:opts()) -> ok.
start(SomeOpts) ->
    Opts = mongoose_domain_config:with_defaults(SomeOpts),
    ok = mongoose_domain_database:check(Opts),
    ok = check_http(Opts),
    ok = stop_http(),
    ok = mongoose_domain_config:use(Opts),
    ChildSpec = #{id => ?MODULE, start => {?MODULE, start_link, []}, restart => permanent,
                  shutdown => infinity, type => worker, modules => [?MODULE]},
    ok = mongoose_domain_host:start_service(ChildSpec, mongoose_domain_config:of_host(Opts)),
    ok = mongoose_domain_metrics:start(),
    ok = start_http(Opts),
    await_first_load(Opts).

-spec stop() -> ok.
stop() ->
    ok = stop_http(),
    ok = mongoose_domain_metrics:stop(),
    mongoose_domain_host:stop_service(?MODULE).

%% @doc The options, as MongooseIM's records of its configuration.
-spec config_spec() -> tuple().
config_spec() ->
    mongoose_domain_config:spec().

%% API

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Loads everything again: the process forgets its position, stops, and is restarted by its
%% supervisor. Returns when it has stopped; at once if it is the process itself that calls.
-spec restart() -> ok.
restart() ->
    ok = mongoose_domain_nif:forget_position(),
    case whereis(?MODULE) of
        undefined ->
            ok;
        Pid when Pid =:= self() ->
            gen_server:cast(Pid, restart);
        Pid ->
            Monitor = monitor(process, Pid),
            gen_server:cast(Pid, restart),
            receive {'DOWN', Monitor, process, Pid, _Reason} -> ok end
    end.

-spec enabled() -> boolean().
enabled() ->
    mongoose_domain_host:is_service_loaded(?MODULE).

%% @doc Asks the services of all nodes to look at the event log now.
-spec force_check_for_updates() -> ok.
force_check_for_updates() ->
    mongoose_domain_cluster:request_checks().

%% @doc When it returns, every check that any node had asked for before is done on this node. Goes
%% over a restart of this node's process.
-spec sync_local() -> pong.
sync_local() ->
    mongoose_domain_cluster:sync_local().

-spec ping(pid()) -> pong.
ping(Pid) ->
    gen_server:call(Pid, ping, ?PING_TIMEOUT).

%% @doc Compares the table with the database now.
-spec verify() -> mongoose_domain_status:verified().
verify() ->
    mongoose_domain_status:verify().

%% @doc How this node follows the database.
-spec status() -> mongoose_domain_status:status().
status() ->
    mongoose_domain_status:status().

%% @doc The nodes whose services follow the database, and how they are.
-spec members() -> [mongoose_domain_nif:member()].
members() ->
    mongoose_domain_cluster:members().

%% gen_server

%% @private
-spec init([]) -> {ok, #state{}, {continue, open}}.
init([]) ->
    %% So that a clean stop is told from a crash, in terminate/2.
    process_flag(trap_exit, true),
    ok = mongoose_domain_cluster:join(),
    #{event_max_age := MaxAge} = mongoose_domain_config:used(),
    State = #state{max_age = min(MaxAge, ?LONGEST_AGE)},
    {ok, next_audit(State), {continue, open}}.

%% @private
-spec handle_continue(open, #state{}) -> {noreply, #state{}}.
handle_continue(open, State) ->
    {noreply, start_check(State)}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, term(), #state{}} | {noreply, #state{}}.
handle_call(ping, From, State = #state{again = true, later_pings = Later}) ->
    {noreply, State#state{later_pings = [From | Later]}};
handle_call(ping, From, State = #state{pings = Pings}) ->
    case is_busy(State) of
        true -> {noreply, State#state{pings = [From | Pings]}};
        false -> {reply, pong, State}
    end;
handle_call(await_first_load, _From, State = #state{first_load = done}) ->
    {reply, ok, State};
handle_call(await_first_load, From, State = #state{first_load = Waiting}) ->
    {noreply, State#state{first_load = [From | Waiting]}};
handle_call(verify, From, State = #state{verifiers = Verifiers}) ->
    {noreply, start_audit(State#state{verifiers = [{From, wanted} | Verifiers]})};
handle_call(Request, From, State) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request, from => From}),
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}} | {stop, shutdown, #state{}}.
handle_cast(restart, State = #state{reloads = IsOurs}) ->
    _ = IsOurs orelse mongoose_domain_nif:count_requested_reload(),
    {stop, shutdown, State};
handle_cast(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(check_for_updates, State = #state{job = undefined}) ->
    {noreply, start_check(State)};
handle_info(check_for_updates, State) ->
    {noreply, State#state{again = true}};
handle_info({mongoose_domain_nif, Ref, Message}, State = #state{job = {Ref, _, _}}) ->
    {noreply, handle_job(Message, State)};
handle_info({mongoose_domain_nif, Ref, Message}, State = #state{audit = {Ref, _}}) ->
    {noreply, handle_audit(Message, next_audit(State#state{audit = undefined}))};
handle_info({mongoose_domain_nif, Ref, Message}, State = #state{index_request = Ref}) ->
    handle_missing_index(Message),
    {noreply, State#state{index_request = undefined}};
handle_info({mongoose_domain_nif, _OldRef, _Message}, State) ->
    {noreply, State};
handle_info(restart_without_effect, State0) ->
    State = State0#state{reloads = false},
    case State#state.job of
        undefined -> {noreply, answer_pings(State)};
        %% A check was asked for meanwhile, and who came later waits for it.
        _ -> {noreply, State}
    end;
handle_info(audit, State) ->
    {noreply, start_audit(State)};
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(Reason, State) ->
    _ = cancel_job(State),
    _ = answer_verifiers(all, {error, {stopped, <<"the service stops">>}}, State),
    ok = mongoose_domain_cluster:leave(),
    case mongoose_domain_host:is_clean_stop(Reason) of
        true -> mongoose_domain_nif:forget_position();
        false -> ok
    end,
    case State#state.database of
        undefined -> ok;
        Database -> mongoose_domain_nif:close_database(Database)
    end.

%% Checks

%% Never with a job running.
start_check(State = #state{database = undefined}) ->
    case mongoose_domain_database:open(mongoose_domain_config:used()) of
        {ok, Database, #{max_retry := MaxRetry}} ->
            start_check(State#state{database = Database, max_retry = MaxRetry});
        {error, Failure} ->
            failed(Failure, State)
    end;
start_check(State0 = #state{database = Database, max_age = MaxAge}) ->
    State = verifiers_go(suspicious, judged, cancel_timer(State0#state{again = false})),
    Ref = make_ref(),
    case mongoose_domain_nif:check(Database, self(), MaxAge, Ref) of
        {ok, Job} ->
            State#state{job = {Ref, Job, erlang:monotonic_time(millisecond)}};
        {error, Failure} ->
            failed(Failure, State)
    end.

handle_job({batch, Batch}, State) ->
    try mongoose_domain_core:apply_batch(Batch) of
        ok -> State;
        {error, stale} -> start_check(cancel_job(State))
    catch
        %% It is down. Its successor asks for a check.
        exit:_ -> failed({no_table, <<"mongoose_domain_core is not running">>}, State)
    end;
handle_job({ok, loaded}, State) ->
    {_Ref, _Job, StartedAt} = State#state.job,
    ?LOG_NOTICE(#{what => domains_loaded, domains => mongoose_domain_core:domains_count(),
                  milliseconds => erlang:monotonic_time(millisecond) - StartedAt}),
    %% What changed while the load ran. Whoever waits for the load waits for this check, too.
    start_check(later_pings_are_due(job_ended(ask_for_missing_index(State))));
handle_job({ok, current}, State = #state{again = Again}) ->
    Ended = answer_pings(job_ended(State#state{failures = 0})),
    Current = answer_verifiers(judged, ok, Ended),
    case Again of
        true -> start_check(later_pings_are_due(Current));
        false -> check_after(?CHECK_INTERVAL, Current)
    end;
handle_job({reload, Reason}, State) ->
    ?LOG_WARNING(#{what => domains_must_be_reloaded, reason => Reason}),
    reload(State);
handle_job({differs, Differences}, State) ->
    Count = length(Differences),
    First = lists:sublist(Differences, 10),
    ?LOG_ERROR(#{what => domains_differ_from_database, count => Count,
                 domains => [Domain || {Domain, _, _} <- First],
                 core_host_type => [InTable || {_, InTable, _} <- First],
                 db_host_type => [InDatabase || {_, _, InDatabase} <- First]}),
    reload(answer_verifiers(all, {differs, Count, First}, State));
handle_job({error, Failure}, State) ->
    failed(Failure, State).

reload(State) ->
    Ended = check_after(?CHECK_INTERVAL, later_pings_are_due(job_ended(State))),
    service_domain_db:restart(),
    %% Comes behind the message of a restart that has an effect.
    self() ! restart_without_effect,
    Ended#state{again = false, failures = 0, reloads = true}.

failed({Reason, Text}, State0 = #state{failures = Failures, max_retry = MaxRetry}) ->
    ok = mongoose_domain_nif:count_failed_check(Reason, Text),
    Retry = min(MaxRetry, ?FIRST_RETRY bsl min(Failures, 16)),
    Wait = Retry - rand:uniform(Retry div 2),
    ?LOG_ERROR(#{what => domain_check_failed, reason => Reason, text => Text,
                 retry_after_milliseconds => Wait}),
    %% Who waits goes on waiting: what was asked for is not done.
    State1 = later_pings_are_due(first_load_ended(cancel_job(State0))),
    State = answer_verifiers(judged, {error, {Reason, Text}}, State1),
    check_after(Wait, State#state{failures = Failures + 1, again = false}).

job_ended(State = #state{job = {_Ref, Job, _StartedAt}}) ->
    lists:foreach(fun log_ignored/1, mongoose_domain_nif:take_ignored(Job)),
    first_load_ended(State#state{job = undefined}).

first_load_ended(State = #state{first_load = done}) ->
    State;
first_load_ended(State = #state{first_load = Waiting}) ->
    lists:foreach(fun(From) -> gen_server:reply(From, ok) end, Waiting),
    State#state{first_load = done}.

cancel_job(State = #state{job = undefined}) ->
    State;
cancel_job(State = #state{job = {_Ref, Job, _StartedAt}}) ->
    ok = mongoose_domain_nif:cancel(Job),
    job_ended(State).

%% A failed check is work that is still to be done.
is_busy(#state{job = Job, failures = Failures}) ->
    Job =/= undefined orelse Failures > 0.

answer_pings(State = #state{pings = Pings}) ->
    lists:foreach(fun(From) -> gen_server:reply(From, pong) end, Pings),
    State#state{pings = []}.

later_pings_are_due(State = #state{pings = Pings, later_pings = Later}) ->
    State#state{pings = Later ++ Pings, later_pings = []}.

check_after(Milliseconds, State0) ->
    State = cancel_timer(State0),
    State#state{timer = erlang:send_after(Milliseconds, self(), check_for_updates)}.

cancel_timer(State = #state{timer = undefined}) ->
    State;
cancel_timer(State = #state{timer = Timer}) ->
    _ = erlang:cancel_timer(Timer),
    State#state{timer = undefined}.

%% Audits

%% One at a time; who comes while one runs waits for another.
start_audit(State = #state{audit = {_, _}}) ->
    State;
start_audit(State = #state{database = undefined}) ->
    Text = <<"the database could not be opened; see the log">>,
    next_audit(answer_verifiers(wanted, {error, {database_unavailable, Text}}, State));
start_audit(State = #state{database = Database}) ->
    Ref = make_ref(),
    case mongoose_domain_nif:audit(Database, Ref) of
        {ok, Job} ->
            verifiers_go(wanted, runs, State#state{audit = {Ref, Job}});
        {error, Failure} ->
            next_audit(answer_verifiers(wanted, {error, Failure}, State))
    end.

handle_audit({ok, same}, State) ->
    go_on_with_audits(answer_verifiers(runs, ok, State));
handle_audit({ok, suspicious}, State) ->
    self() ! check_for_updates,
    go_on_with_audits(verifiers_go(runs, suspicious, State));
handle_audit({error, {Reason, Text} = Failure}, State) ->
    ?LOG_WARNING(#{what => domain_audit_failed, reason => Reason, text => Text}),
    go_on_with_audits(answer_verifiers(runs, {error, Failure}, State)).

go_on_with_audits(State = #state{verifiers = Verifiers}) ->
    case lists:keymember(wanted, 2, Verifiers) of
        true -> start_audit(State);
        false -> State
    end.

verifiers_go(From, To, State = #state{verifiers = Verifiers}) ->
    Moved = [case Stage of From -> {Caller, To}; _ -> {Caller, Stage} end
             || {Caller, Stage} <- Verifiers],
    State#state{verifiers = Moved}.

answer_verifiers(Whose, Answer, State = #state{verifiers = Verifiers}) ->
    {Answered, Waiting} =
        lists:partition(fun({_, Stage}) -> Whose =:= all orelse Stage =:= Whose end, Verifiers),
    lists:foreach(fun({From, _}) -> gen_server:reply(From, Answer) end, Answered),
    State#state{verifiers = Waiting}.

%% Up to a tenth sooner, so that the nodes of a cluster do not all come at once.
next_audit(State = #state{audit_timer = Timer}) ->
    _ = is_reference(Timer) andalso erlang:cancel_timer(Timer),
    #{audit_interval := Seconds} = mongoose_domain_config:used(),
    Milliseconds = timer:seconds(min(Seconds, ?LONGEST_WAIT)),
    Next = Milliseconds - rand:uniform(Milliseconds div 10),
    State#state{audit_timer = erlang:send_after(Next, self(), audit)}.

%% Internal

%% It is said once: the operator knows it then.
ask_for_missing_index(State = #state{database = Database}) ->
    case persistent_term:get({?MODULE, told_of_index}, false) of
        true ->
            State;
        false ->
            Ref = make_ref(),
            _ = mongoose_domain_nif:request(Database, missing_index, Ref),
            State#state{index_request = Ref}
    end.

handle_missing_index({ok, Statement}) when is_binary(Statement) ->
    persistent_term:put({?MODULE, told_of_index}, true),
    ?LOG_WARNING(#{what => domain_settings_without_index, statement => Statement,
                   text => <<"to find a domain the database reads the whole table; the statement "
                             "adds the index that is missing">>});
handle_missing_index(_NoneOrFailure) ->
    ok.

%% The process may be restarted meanwhile: no reason to wait again.
await_first_load(#{initial_load_timeout := Seconds}) ->
    Milliseconds = timer:seconds(min(Seconds, ?LONGEST_WAIT)),
    try gen_server:call(?MODULE, await_first_load, Milliseconds)
    catch
        exit:{timeout, _} ->
            ?LOG_WARNING(#{what => first_load_takes_long, seconds => Seconds,
                           text => <<"the node starts; the rest of its domains routes as soon as "
                                     "it is loaded">>});
        exit:_ -> ok
    end.

check_http(#{http := Http}) ->
    case mongoose_domain_http:check(Http) of
        ok -> ok;
        {error, Failure} -> error({http, Failure})
    end;
check_http(_Opts) ->
    ok.

start_http(#{http := Http} = Opts) ->
    mongoose_domain_http:start(Http, Opts);
start_http(_Opts) ->
    ok.

%% The one that the service started; a standalone node has one of its own.
stop_http() ->
    case is_map_key(http, mongoose_domain_config:used()) of
        true -> mongoose_domain_http:stop();
        false -> ok
    end.

log_ignored({What, Count, Rows}) ->
    ?LOG_WARNING(#{what => What, count => Count, domains => [Domain || {Domain, _, _} <- Rows],
                   core_host_type => [OfCore || {_, OfCore, _} <- Rows],
                   db_host_type => [OfDb || {_, _, OfDb} <- Rows]}).
