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
%% The exact type would say no more than the function does.
-dialyzer({no_underspecs, [config_spec/0]}).

-define(SCOPE, mim_scope).
-define(GROUP, service_domain_db_group).
%% Milliseconds from the end of one check to the next, if nobody asks for one.
-define(CHECK_INTERVAL, 30000).
%% Milliseconds: after a failure the next try comes after 0.5 s, 1 s, 2 s … (as long as the host
%% says at most), less up to a half of it.
-define(FIRST_RETRY, 500).
%% Milliseconds that a ping waits for its answer, as the other nodes of a cluster do.
-define(PING_TIMEOUT, 15000).
%% Milliseconds that another node gets to say how it is.
-define(STATUS_TIMEOUT, 2000).
%% Milliseconds that sync_local/0 waits for this node's process to come back.
-define(COMEBACK, 5000).

%% Seconds; a hundred years are enough, and the NIF takes no big integers.
-define(LONGEST_AGE, 100 * 365 * 86400).
%% Seconds: send_after/3 takes no more than 49 days.
-define(LONGEST_AUDIT_INTERVAL, 30 * 86400).

-type opts() :: #{db_pool => atom(), event_cleaning_interval => pos_integer(),
                  event_max_age => pos_integer(), audit_interval => pos_integer(),
                  max_connections => pos_integer(), http => mongoose_domain_http:opts(),
                  _ => _}.

%% What the node did and saw since its table was made.
-type status() ::
    #{%% `retrying': the last check failed, and the next one comes by itself.
      state := loading | following | retrying | stopped,
      %% The newest event id up to which the table has everything; 0 if the log was empty.
      position := non_neg_integer() | undefined,
      %% The newest event id when the log was last looked at, and how far it is ahead.
      newest_event := pos_integer() | undefined,
      lag := non_neg_integer() | undefined,
      %% Since a check last ended well.
      seconds_since_check := float() | undefined,
      loads := non_neg_integer(),
      %% By reason: `too_old', `went_backwards', `differs' (an audit), `requested' (restart/0).
      reloads := #{atom() => pos_integer()},
      %% Missing event ids that are settled, and the dummies written for them.
      gaps_settled := non_neg_integer(),
      dummies_written := non_neg_integer(),
      audits := non_neg_integer(),
      errors := #{atom() => pos_integer()},
      last_error := mongoose_domain_nif:failure() | undefined,
      %% The domains of the table: all, and those of the database.
      domains := non_neg_integer(),
      followed := non_neg_integer()}.

%% Domains for which the table was wrong: how many were found, and the first ten.
-type differences() :: {differs, Count :: pos_integer(), [mongoose_domain_nif:difference()]}.

-export_type([opts/0, status/0, differences/0]).

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
                index_request :: undefined | reference(),
                reloads = false :: boolean()}).

%% mongoose_service

%% @doc Starts the service. `Opts' are those of `[services.service_domain_db]', each with a default.
%% Raises `{database, Failure}' or `{http, Failure}' if what the configuration says of the database
%% or of the HTTP server is wrong or cannot be done; whether the database is there does not matter.
-spec start(opts()) -> ok.
start(SomeOpts) ->
    Opts = maps:merge(default_opts(), SomeOpts),
    ok = check_database(Opts),
    ok = check_http(Opts),
    ok = stop_http(),
    persistent_term:put({?MODULE, opts}, Opts),
    ChildSpec = #{id => ?MODULE, start => {?MODULE, start_link, []}, restart => permanent,
                  shutdown => infinity, type => worker, modules => [?MODULE]},
    StockOpts = maps:with(maps:keys(stock_opts()), Opts),
    ok = mongoose_domain_host:start_service(ChildSpec, StockOpts),
    start_http(Opts).

-spec stop() -> ok.
stop() ->
    ok = stop_http(),
    mongoose_domain_host:stop_service(?MODULE).

%% @doc The options, as MongooseIM's records of its configuration: tuples, because the records are
%% not ours. `{section, Items, ValidateKeys, Required, Validate, FormatItems, Process, Defaults,
%% Wrap, Include}' and `{option, Type, Validate, Process, Wrap}'.
-spec config_spec() -> tuple().
config_spec() ->
    Items = #{<<"db_pool">> => {option, atom, pool_name, [], default},
              <<"event_cleaning_interval">> => {option, integer, positive, [], default},
              <<"event_max_age">> => {option, integer, positive, [], default},
              <<"audit_interval">> => {option, integer, positive, [], default},
              <<"max_connections">> => {option, integer, positive, [], default},
              <<"http">> => http_spec()},
    Defaults = maps:from_list([{atom_to_binary(Key), Value}
                               || {Key, Value} <- maps:to_list(default_opts())]),
    {section, Items, any, [], any, map, [], Defaults, default, when_present}.

http_spec() ->
    Files = #{<<"certfile">> => {option, binary, any, [], default},
              <<"keyfile">> => {option, binary, any, [], default}},
    Items = #{<<"ip_address">> => {option, binary, any, [], default},
              <<"port">> => {option, integer, any, [], default},
              <<"username">> => {option, binary, any, [], default},
              <<"password">> => {option, binary, any, [], default},
              <<"tls">> => {section, Files, any, [<<"certfile">>, <<"keyfile">>], any, map, [], #{},
                            default, when_present}},
    {section, Items, any, [], any, map, [], #{}, default, when_present}.

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
    lists:foreach(fun(Pid) -> Pid ! check_for_updates end, group()).

%% @doc When it returns, every check that any node had asked for before is done on this node. Goes
%% over a restart of this node's process.
-spec sync_local() -> pong.
sync_local() ->
    sync_local(erlang:monotonic_time(millisecond) + ?COMEBACK).

-spec ping(pid()) -> pong.
ping(Pid) ->
    gen_server:call(Pid, ping, ?PING_TIMEOUT).

%% @doc Compares the table with the database now. `ok': all domains that follow the database are as
%% it says. `differs': they were not, although no event was pending; they are being loaded again.
-spec verify() -> ok | differences() | {error, mongoose_domain_nif:failure()}.
verify() ->
    gen_server:call(?MODULE, verify, infinity).

%% @doc How this node follows the database. Asks neither the process nor the database. Raises
%% `badarg' when there is no routing table.
-spec status() -> status().
status() ->
    Statistics = mongoose_domain_nif:statistics(),
    #{position := Position, newest_event := Newest, failing := IsFailing} = Statistics,
    Status = maps:without([failing], Statistics),
    Status#{state => state(whereis(?MODULE), IsFailing, Position), lag => lag(Position, Newest),
            domains => mongoose_domain_core:domains_count()}.

%% @doc The nodes whose services follow the database, this one first, and how they are. A node with
%% other code cannot say.
-spec members() -> [mongoose_domain_nif:member()].
members() ->
    Beside = mongoose_domain_host:nodes_beside(),
    Reachable = [node(Pid) || Pid <- group()] ++ [Node || {Node, true} <- Beside],
    Nodes = lists:usort(Reachable) -- [node()],
    Answers = erpc:multicall(Nodes, ?MODULE, status, [], ?STATUS_TIMEOUT),
    [member(node(), {ok, status()}) | lists:zipwith(fun member/2, Nodes, Answers)]
        ++ [member(Node, {error, {erpc, noconnection}}) || {Node, false} <- Beside].

%% gen_server

%% @private
-spec init([]) -> {ok, #state{}, {continue, open}}.
init([]) ->
    %% So that a clean stop is told from a crash, in terminate/2.
    process_flag(trap_exit, true),
    ok = pg:join(?SCOPE, ?GROUP, self()),
    #{event_max_age := MaxAge} = opts(),
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
    %% The group would notice by itself, but later.
    _ = try pg:leave(?SCOPE, ?GROUP, self()) catch _:_ -> ok end,
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
    case mongoose_domain_host:open_database(opts()) of
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
handle_job({ok, current}, State) ->
    %% Who waits for the check waits until others know of the changes, too.
    try mongoose_domain_core:await_notified() of
        ok -> current(State)
    catch
        exit:_ -> failed({no_table, <<"mongoose_domain_core is not running">>}, State)
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

current(State = #state{again = Again}) ->
    Ended = answer_pings(job_ended(State#state{failures = 0})),
    Current = answer_verifiers(judged, ok, Ended),
    case Again of
        true -> start_check(later_pings_are_due(Current));
        false -> check_after(?CHECK_INTERVAL, Current)
    end.

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
    State1 = later_pings_are_due(cancel_job(State0)),
    State = answer_verifiers(judged, {error, {Reason, Text}}, State1),
    check_after(Wait, State#state{failures = Failures + 1, again = false}).

job_ended(State = #state{job = {_Ref, Job, _StartedAt}}) ->
    lists:foreach(fun log_ignored/1, mongoose_domain_nif:take_ignored(Job)),
    State#state{job = undefined}.

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
    #{audit_interval := Seconds} = opts(),
    Milliseconds = timer:seconds(min(Seconds, ?LONGEST_AUDIT_INTERVAL)),
    Next = Milliseconds - rand:uniform(Milliseconds div 10),
    State#state{audit_timer = erlang:send_after(Next, self(), audit)}.

%% Internal

ask_for_missing_index(State = #state{database = Database}) ->
    Ref = make_ref(),
    _ = mongoose_domain_nif:request(Database, missing_index, Ref),
    State#state{index_request = Ref}.

handle_missing_index({ok, Statement}) when is_binary(Statement) ->
    ?LOG_WARNING(#{what => domain_settings_without_index, statement => Statement,
                   text => <<"to find a domain the database reads the whole table; the statement "
                             "adds the index that is missing">>});
handle_missing_index(_NoneOrFailure) ->
    ok.

state(undefined, _IsFailing, _Position) -> stopped;
state(_Pid, true, _Position) -> retrying;
state(_Pid, false, undefined) -> loading;
state(_Pid, false, _Position) -> following.

lag(undefined, _Newest) -> undefined;
lag(_Position, undefined) -> 0;
lag(Position, Newest) -> max(0, Newest - Position).

group() ->
    pg:get_members(?SCOPE, ?GROUP).

member(Node, {ok, #{state := State, lag := Lag, domains := Domains,
                    seconds_since_check := Seconds}}) ->
    {atom_to_binary(Node), Node =:= node(), true, {atom_to_binary(State), Lag, Domains, Seconds}};
member(Node, {error, {erpc, _NoConnectionOrTimeout}}) ->
    {atom_to_binary(Node), false, false, undefined};
member(Node, _OtherCode) ->
    {atom_to_binary(Node), false, true, undefined}.

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
    case is_map_key(http, opts()) of
        true -> mongoose_domain_http:stop();
        false -> ok
    end.

check_database(Opts) ->
    case mongoose_domain_host:open_database(Opts) of
        {ok, Database, Found} ->
            ok = mongoose_domain_nif:close_database(Database),
            log_database(Found);
        {error, Failure} ->
            error({database, Failure})
    end.

%% One of a pool in the host's configuration. No password and no key here.
log_database(#{options := #{host := Host, port := Port, database := Name, tls := #{mode := Tls}},
               notes := Notes}) ->
    ?LOG_NOTICE(#{what => domain_database, host => Host, port => Port, database => Name,
                  tls => Tls, notes => Notes});
log_database(_OfUrl) ->
    ok.

opts() ->
    persistent_term:get({?MODULE, opts}, default_opts()).

default_opts() ->
    (stock_opts())#{audit_interval => 300, max_connections => 2}.

%% The host's own parts know only these.
stock_opts() ->
    #{db_pool => global, event_cleaning_interval => 1800, event_max_age => 7200}.

log_ignored({What, Count, Rows}) ->
    ?LOG_WARNING(#{what => What, count => Count, domains => [Domain || {Domain, _, _} <- Rows],
                   core_host_type => [OfCore || {_, OfCore, _} <- Rows],
                   db_host_type => [OfDb || {_, _, OfDb} <- Rows]}).

sync_local(Deadline) ->
    case whereis(?MODULE) of
        undefined -> come_back(noproc, Deadline);
        Local -> sync_local(Local, Deadline)
    end.

sync_local(Local, Deadline) ->
    Nodes = lists:usort([node() | [node(Pid) || Pid <- group()]]),
    Answers = erpc:multicall(Nodes, ?MODULE, ping, [Local]),
    case {lists:flatmap(fun problem/1, Answers), is_process_alive(Local)} of
        {[], _} -> pong;
        {[Problem | _], true} -> exit(Problem);
        {[Problem | _], false} -> come_back(Problem, Deadline)
    end.

%% The messages of a node that is gone have arrived before that was known.
problem({ok, pong}) -> [];
problem({error, {erpc, noconnection}}) -> [];
problem({_Class, Reason}) -> [Reason].

come_back(Problem, Deadline) ->
    case erlang:monotonic_time(millisecond) < Deadline of
        true ->
            timer:sleep(20),
            sync_local(Deadline);
        false ->
            exit(Problem)
    end.
