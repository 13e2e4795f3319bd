%% @doc The database service of one node: it loads the domains, then follows the event log.
%%
%% Takes the place of MongooseIM's module of this name. What it does and when is decided in Rust, by
%% a follower (`mongoose_domain_nif:start_follower/2'). This process passes on what happens and does
%% what it asks for: batches of changes go to `mongoose_domain_core', answers to who waits for them.
%%
%% The position in the event log lives with the routing table: a crash here loses nothing.
-module(service_domain_db).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% mongoose_service
-export([start/1, stop/0, config_spec/0]).

%% API
-export([start_link/0, restart/0, enabled/0, force_check_for_updates/0, sync_local/0, ping/1]).
-export([verify/0, status/0, members/0]).

%% gen_server
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% The exact type would say no more than the function does.
-dialyzer({no_underspecs, [config_spec/0]}).
-ignore_xref([config_spec/0, ping/1, start_link/0, status/0, verify/0]).

-type follower() :: mongoose_domain_nif:follower().

%% mongoose_service

%% @doc Starts the service. Returns when the first load is in the table, when its first attempt has
%% failed, or after `initial_load_timeout' seconds: who accepts clients then routes their domains.
%% Raises `{database, Failure}' or `{http, Failure}' if what `Opts' say of the database or of the
%% HTTP server is wrong or cannot be done; whether the database is there does not matter.
-spec start(mongoose_domain_config:opts()) -> ok.
start(Opts) -> mongoose_domain_service:start(?MODULE, Opts).

-spec stop() -> ok.
stop() -> mongoose_domain_service:stop(?MODULE).

%% @doc The options, as MongooseIM's records of its configuration. It is read before anything is
%% started, so this may be the first call of any of our modules.
-spec config_spec() -> tuple().
config_spec() ->
    _ = erlang:module_loaded(mongoose_domain_parts) orelse code:load_file(mongoose_domain_parts),
    %% What cannot be loaded keeps mongoose_domain_core from starting, which says so.
    _ = mongoose_domain_parts:load(),
    mongoose_domain_config:spec().

%% API

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Loads everything again: the process forgets its position, stops, and is restarted by its
%% supervisor. Returns when it has stopped; at once if it is the process itself that calls.
-spec restart() -> ok.
restart() ->
    ok = mongoose_domain_nif:forget_position(),
    mongoose_domain_service:restart(whereis(?MODULE)).

-spec enabled() -> boolean().
enabled() -> mongoose_domain_host:is_service_loaded(?MODULE).

%% @doc Asks the services of all nodes to look at the event log now.
-spec force_check_for_updates() -> ok.
force_check_for_updates() -> mongoose_domain_cluster:request_checks().

%% @doc When it returns, every check that any node had asked for before is done on this node. Goes
%% over a restart of this node's process.
-spec sync_local() -> pong.
sync_local() -> mongoose_domain_cluster:sync_local().

-spec ping(pid()) -> pong.
ping(Pid) -> gen_server:call(Pid, ping, 15000).

%% @doc Compares the table with the database now.
-spec verify() -> mongoose_domain_status:verified().
verify() -> mongoose_domain_status:verify().

-spec status() -> mongoose_domain_status:status().
status() -> mongoose_domain_status:status().

-spec members() -> [mongoose_domain_cluster:member()].
members() -> mongoose_domain_cluster:members().

%% gen_server

%% @private
-spec init([]) -> {ok, follower()}.
init([]) ->
    %% So that a clean stop is told from a crash, in terminate/2.
    process_flag(trap_exit, true),
    ok = mongoose_domain_cluster:join(),
    mongoose_domain_nif:start_follower(mongoose_domain_config:of_follower(), make_ref()).

%% @private
-spec handle_call(term(), gen_server:from(), follower()) ->
    {reply, ok, follower()} | {noreply, follower()}.
handle_call(Request, From, Follower)
  when Request =:= ping; Request =:= verify; Request =:= await_first_load ->
    pass_on({Request, From}, Follower);
handle_call(Request, From, Follower) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request, from => From}),
    {reply, ok, Follower}.

%% @private
-spec handle_cast(term(), follower()) -> {noreply, follower()} | {stop, shutdown, follower()}.
handle_cast(restart, Follower) ->
    {noreply, Follower} = pass_on(restart_requested, Follower),
    {stop, shutdown, Follower};
handle_cast(Message, Follower) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, Follower}.

%% @private
-spec handle_info(term(), follower()) -> {noreply, follower()} | {stop, term(), follower()}.
handle_info(check_for_updates, Follower) ->
    ok = mongoose_domain_cluster:take_requests(),
    pass_on(check_for_updates, Follower);
handle_info(restart_without_effect, Follower) -> pass_on(restart_without_effect, Follower);
handle_info({mongoose_domain_nif, _Ref, Asked}, Follower) ->
    asked(Asked, Follower);
handle_info(Message, Follower) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, Follower}.

%% @private
-spec terminate(term(), follower()) -> ok.
terminate(Reason, Follower) ->
    ok = mongoose_domain_nif:stop_follower(Follower),
    ok = mongoose_domain_cluster:leave(),
    _ = mongoose_domain_host:is_clean_stop(Reason) andalso mongoose_domain_nif:forget_position(),
    ok.

asked(open, Follower) -> pass_on(mongoose_domain_database:open(), Follower);
asked({apply, Batch}, Follower) -> pass_on({applied, apply_batch(Batch)}, Follower);
asked({answer, From, pong}, Follower) ->
    %% Who waits for a check waits until others have been notified of its changes, too.
    try mongoose_domain_core:await_notified() of
        ok -> gen_server:reply(From, pong), {noreply, Follower}
    catch
        %% It is down. The next check answers, when there is a table again.
        exit:_ -> pass_on({ping, From}, element(2, pass_on(check_for_updates, Follower)))
    end;
asked({answer, From, Answer}, Follower) ->
    ok = gen_server:reply(From, Answer),
    {noreply, Follower};
asked({log, Level, Report}, Follower) ->
    ?LOG(Level, Report),
    {noreply, Follower};
asked(reload, Follower) ->
    ok = service_domain_db:restart(),
    %% Comes behind the message of a restart that has an effect.
    self() ! restart_without_effect,
    {noreply, Follower};
asked({error, Failure}, Follower) -> {stop, Failure, Follower}.

apply_batch(Batch) ->
    try mongoose_domain_core:apply_batch(Batch) of
        ok -> done;
        {error, stale} -> table_replaced
    catch
        exit:_ -> no_table
    end.

pass_on(Happened, Follower) ->
    ok = mongoose_domain_nif:send_to_follower(Follower, Happened),
    {noreply, Follower}.
