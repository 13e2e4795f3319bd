%% @doc Removals that a crash or a failure interrupts (invariant I10), on every kind of database.
-module(removal_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(D, <<"a.example">>).
-define(T, <<"type1">>).

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    db_helper:databases().

groups() ->
    Cases = [a_node_that_starts_finishes_what_a_crash_left,
             a_failing_handler_leaves_the_domain_deleting_and_it_never_routes_again,
             a_removal_is_tried_again_when_the_handler_works,
             handlers_of_the_configuration_are_there_when_removals_are_resumed,
             an_unknown_host_type_waits_until_it_is_configured,
             many_requested_removals_all_end,
             a_node_that_dies_while_a_handler_runs_leaves_the_removal_to_the_next,
             two_nodes_that_remove_a_domain_at_once_both_succeed,
             a_domain_cannot_be_added_again_before_its_removal_is_done,
             a_late_removal_spares_a_domain_that_was_added_again,
             handlers_that_hang_hold_up_no_other_removal,
             a_handler_that_hangs_is_given_up_and_the_domain_stays_deleting,
             a_removal_that_is_requested_twice_runs_once_at_a_time,
             a_domain_that_is_removed_again_while_it_is_removed_is_gone,
             the_pause_grows_while_a_handler_fails,
             a_handler_ends_with_the_application,
             the_nodes_are_asked_once_for_a_page_of_removals],
    %% Take 30 s and more.
    Slow = #{postgres => [what_was_given_up_is_tried_again_by_itself,
                          while_the_database_is_away_requests_wait_for_the_next_look]},
    [{Kind, [], Cases ++ maps:get(Kind, Slow, [])} || {group, Kind} <- db_helper:databases()].

init_per_testcase(_Case, Config) ->
    start(?config(url, Config)),
    Config.

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone().

start(Url) ->
    start(Url, #{}).

start(Url, Env) ->
    {ok, _} = node_helper:start_standalone(Env#{database => Url}),
    node_helper:remover_done(),
    pong = service_domain_db:sync_local().

%% Cases

a_node_that_starts_finishes_what_a_crash_left(Config) ->
    Url = ?config(url, Config),
    insert(?D),
    node_helper:stop_standalone(),
    db_helper:sql(Url, "UPDATE domain_settings SET status = 2"),
    start(Url),
    gone(?D).

a_failing_handler_leaves_the_domain_deleting_and_it_never_routes_again(Config) ->
    insert(?D),
    ok = mongoose_domain_hooks:add_removal_handler(broken, fun(?T, ?D) -> {error, broken} end),
    ?assertMatch({removal_failed, _}, mongoose_domain_api:delete_domain(?D, ?T)),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    ?assertEqual({error, not_found}, mongoose_domain_core:get_host_type(?D)),
    ?assertMatch({deleted, _}, mongoose_domain_api:enable_domain(?D)),
    ?assertMatch({duplicate, _}, mongoose_domain_api:insert_domain(?D, ?T)),
    node_helper:stop_standalone(),
    %% Also after a restart.
    start(?config(url, Config), #{host_types => [<<"type2">>]}),
    ?assertEqual({error, not_found}, mongoose_domain_core:get_host_type(?D)).

a_removal_is_tried_again_when_the_handler_works(_Config) ->
    insert(?D),
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(_, _) -> error(out_of_order) end),
    ?assertMatch({removal_failed, _}, mongoose_domain_api:delete_domain(?D, ?T)),
    node_helper:remover_done(),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(_, _) -> ok end),
    ?assertMatch({ok, #{status := deleted}}, mongoose_domain_api:delete_domain(?D, ?T)),
    gone(?D).

handlers_of_the_configuration_are_there_when_removals_are_resumed(Config) ->
    Url = ?config(url, Config),
    insert(?D),
    node_helper:stop_standalone(),
    db_helper:sql(Url, "UPDATE domain_settings SET status = 2"),
    true = register(removal_witness, self()),
    start(Url, #{removal_handlers => [{?MODULE, witness_removal}]}),
    receive {removed, ?T, ?D} -> ok after 60000 -> ct:fail(handler_not_called) end,
    unregister(removal_witness),
    gone(?D).

an_unknown_host_type_waits_until_it_is_configured(Config) ->
    Url = ?config(url, Config),
    insert(?D),
    node_helper:stop_standalone(),
    db_helper:sql(Url, "UPDATE domain_settings SET status = 2"),
    start(Url, #{host_types => [<<"type2">>]}),
    ?assertMatch({unknown_host_type, _}, mongoose_domain_api:delete_domain(?D, ?T)),
    mongoose_domain_remover:wake(),
    node_helper:remover_done(),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    node_helper:stop_standalone(),
    start(Url),
    gone(?D).

many_requested_removals_all_end(_Config) ->
    Domains = [<<"d", (integer_to_binary(N))/binary, ".example">> || N <- lists:seq(1, 50)],
    lists:foreach(fun insert/1, Domains),
    [?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:request_delete_domain(D, ?T))
     || D <- Domains],
    lists:foreach(fun gone/1, Domains),
    ?assertEqual([], mongoose_domain_api:get_all_domains()).

a_node_that_dies_while_a_handler_runs_leaves_the_removal_to_the_next(Config) ->
    Node = node_that_removes(?D, Config),
    _ = os:cmd("kill -9 " ++ call(Node, os, getpid, [])),
    node_helper:stop_node(Node),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    pong = checked(),
    ?assertEqual({error, not_found}, mongoose_domain_core:get_host_type(?D)),
    %% A node that starts finishes it, and runs the handler again.
    Next = start_node(Config, #{removal_handlers => [{?MODULE, note_removal}]}),
    gone(?D),
    ?assertEqual(?D, call(Next, persistent_term, get, [?MODULE])),
    node_helper:stop_node(Next).

two_nodes_that_remove_a_domain_at_once_both_succeed(Config) ->
    Node = start_node(Config),
    [begin
         insert(?D),
         Self = self(),
         Other = spawn_link(fun() ->
                     Self ! {self(), call(Node, mongoose_domain_api, delete_domain, [?D, ?T])}
                 end),
         Results = [mongoose_domain_api:delete_domain(?D, ?T),
                    receive {Other, Answer} -> Answer end],
         %% Who comes late finds nothing.
         ?assertEqual([], [Result || Result <- Results, element(1, Result) =/= ok,
                                     element(1, Result) =/= not_found]),
         ?assert(lists:keymember(ok, 1, Results)),
         gone(?D)
     end || _ <- lists:seq(1, 10)],
    node_helper:stop_node(Node).

a_domain_cannot_be_added_again_before_its_removal_is_done(_Config) ->
    insert(?D),
    ok = add_waiting_handler(),
    {ok, #{status := deleting}} = mongoose_domain_api:request_delete_domain(?D, ?T),
    test_helper:wait_until(fun() -> persistent_term:get(waiting_handler) =:= runs end),
    ?assertMatch({duplicate, _}, mongoose_domain_api:insert_domain(?D, ?T)),
    ?assertMatch({duplicate, _}, mongoose_domain_api:insert_domain(?D, <<"type2">>)),
    ?assertMatch({deleted, _}, mongoose_domain_api:enable_domain(?D)),
    ok = end_waiting_handler(),
    gone(?D),
    insert(?D).

a_late_removal_spares_a_domain_that_was_added_again(Config) ->
    Node = node_that_removes(?D, Config),
    %% While the handler runs there, this node removes the domain, and it is added again.
    {ok, #{status := deleted}} = mongoose_domain_api:delete_domain(?D, ?T),
    insert(?D),
    ok = call(Node, ?MODULE, end_waiting_handler, []),
    ok = call(Node, node_helper, remover_done, []),
    pong = checked(),
    ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(?D)),
    ?assertMatch({ok, #{status := enabled}}, mongoose_domain_api:get_domain_details(?D)),
    node_helper:stop_node(Node).

%% Handlers that hang

handlers_that_hang_hold_up_no_other_removal(_Config) ->
    %% More than run at once.
    Hanging = [numbered("hangs", N) || N <- lists:seq(1, 25)],
    ok = hang_for("hangs"),
    lists:foreach(fun insert/1, [?D | Hanging]),
    [{ok, #{status := deleting}} = mongoose_domain_api:request_delete_domain(D, ?T)
     || D <- Hanging ++ [?D]],
    gone(?D),
    ?assertEqual(lists:sort(Hanging), lists:sort([Domain || {Domain, _} <- hanging(25)])),
    [?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(D))
     || D <- Hanging],
    %% Nor one that somebody waits for.
    insert(?D),
    ?assertMatch({ok, #{status := deleted}}, mongoose_domain_api:delete_domain(?D, ?T)).

a_handler_that_hangs_is_given_up_and_the_domain_stays_deleting(Config) ->
    restart(Config, #{removal_handler_timeout => 1}),
    ok = hang_for("a."),
    insert(?D),
    ?assertEqual({removal_failed, <<"The removal handler hanging did not end within 1 s">>},
                 mongoose_domain_api:delete_domain(?D, ?T)),
    [{?D, Handler}] = hanging(1),
    test_helper:wait_until(fun() -> not is_process_alive(Handler) end),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    ?assertEqual({error, not_found}, mongoose_domain_core:get_host_type(?D)),
    %% The same where nobody waits for it.
    log_helper:capture_logs(),
    {ok, #{status := deleting}} = mongoose_domain_api:request_delete_domain(?D, ?T),
    node_helper:remover_done(),
    ?assertMatch([#{domain := ?D, host_type := ?T, level := error,
                    reason := {handler_failed, {hanging, {no_end_within, 1}}}}],
                 log_helper:logged(domain_removal_failed)),
    log_helper:release_logs(),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    ok = mongoose_domain_hooks:delete_removal_handler(hanging),
    ?assertMatch({ok, #{status := deleted}}, mongoose_domain_api:delete_domain(?D, ?T)).

what_was_given_up_is_tried_again_by_itself(Config) ->
    restart(Config, #{removal_handler_timeout => 1}),
    ok = hang_for("a."),
    insert(?D),
    ?assertMatch({removal_failed, _}, mongoose_domain_api:delete_domain(?D, ?T)),
    ok = mongoose_domain_hooks:delete_removal_handler(hanging),
    gone(?D).

while_the_database_is_away_requests_wait_for_the_next_look(Config) ->
    insert(?D),
    db_helper:sql(?config(url, Config), "UPDATE domain_settings SET status = 2"),
    _ = db_helper:control("stop", Config),
    asked_by_the_remover(true),
    %% Each would wait for the node, which cannot follow, for 15 s.
    [ok = mongoose_domain_remover:request(?T, ?D) || _ <- lists:seq(1, 20)],
    #{is_held := true, requested := []} = sys:get_state(mongoose_domain_remover, infinity),
    ?assertEqual(1, asked_by_the_remover(false)),
    _ = db_helper:control("start", Config),
    pong = node_helper:loaded(),
    %% As the timer does.
    mongoose_domain_remover ! retry,
    gone(?D).

a_removal_that_is_requested_twice_runs_once_at_a_time(_Config) ->
    ok = hang_for("a."),
    insert(?D),
    Request = fun() ->
        {ok, #{status := deleting}} = mongoose_domain_api:request_delete_domain(?D, ?T)
    end,
    Request(),
    [{?D, Handler}] = hanging(1),
    [Request() || _ <- lists:seq(1, 5)],
    ok = mongoose_domain_remover:wake(),
    _ = sys:get_state(mongoose_domain_remover),
    insert(<<"b.example">>),
    {ok, _} = mongoose_domain_api:request_delete_domain(<<"b.example">>, ?T),
    gone(<<"b.example">>),
    ?assertEqual([], hanging(0)),
    Handler ! go_on,
    gone(?D).

a_domain_that_is_removed_again_while_it_is_removed_is_gone(Config) ->
    ok = hang_for("a."),
    insert(?D),
    {ok, _} = mongoose_domain_api:request_delete_domain(?D, ?T),
    [{?D, First}] = hanging(1),
    %% As if another node had removed it meanwhile, and it had been added again.
    db_helper:sql(?config(url, Config), "DELETE FROM domain_settings"),
    insert(?D),
    {ok, _} = mongoose_domain_api:request_delete_domain(?D, ?T),
    First ! go_on,
    test_helper:wait_until(fun() ->
        element(1, mongoose_domain_api:get_domain_details(?D)) =:= not_found orelse
            [Handler ! go_on || {?D, Handler} <- hanging(0)]
    end).

the_pause_grows_while_a_handler_fails(_Config) ->
    Pause = fun() ->
        node_helper:remover_done(),
        #{timer := Timer, pause := Next} = sys:get_state(mongoose_domain_remover),
        {is_reference(Timer) andalso erlang:read_timer(Timer) > 0, Next}
    end,
    Retry = fun() ->
        %% As the timer does.
        mongoose_domain_remover ! retry,
        Pause()
    end,
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(_, _) -> error(out_of_order) end),
    ?assertEqual({false, 30000}, Pause()),
    insert(?D),
    {ok, _} = mongoose_domain_api:request_delete_domain(?D, ?T),
    ?assertEqual({true, 60000}, Pause()),
    ?assertEqual({true, 120000}, Retry()),
    [Retry() || _ <- lists:seq(1, 5)],
    ?assertEqual({true, 600000}, Retry()),
    ok = mongoose_domain_hooks:delete_removal_handler(h),
    ?assertEqual({false, 30000}, Retry()),
    gone(?D).

a_handler_ends_with_the_application(_Config) ->
    ok = hang_for("a."),
    insert(?D),
    insert(<<"a.b.example">>),
    {ok, _} = mongoose_domain_api:request_delete_domain(?D, ?T),
    Waiting = spawn(fun() -> mongoose_domain_api:delete_domain(<<"a.b.example">>, ?T) end),
    Handlers = [Handler || {_, Handler} <- hanging(2)],
    node_helper:stop_standalone(),
    exit(Waiting, kill),
    test_helper:wait_until(fun() -> not lists:any(fun is_process_alive/1, Handlers) end).

the_nodes_are_asked_once_for_a_page_of_removals(Config) ->
    Url = ?config(url, Config),
    db_helper:fill(Url, "d", ".example", 1500),
    db_helper:sql(Url, "UPDATE domain_settings SET status = 2"),
    asked_by_the_remover(true),
    ok = mongoose_domain_remover:wake(),
    test_helper:wait_until(fun() -> mongoose_domain_api:get_all_domains() =:= [] end, 300000),
    %% Pages of 1,000.
    ?assertEqual(2, asked_by_the_remover(false)).

%% How often the remover has waited for the nodes, from `true' to `false'.
asked_by_the_remover(Begins) ->
    1 = erlang:trace(whereis(mongoose_domain_remover), Begins, [call]),
    1 = erlang:trace_pattern({service_domain_db, sync_local, 0}, Begins),
    count_traces().

count_traces() ->
    receive {trace, _Remover, call, {service_domain_db, sync_local, []}} -> 1 + count_traces()
    after 0 -> 0
    end.

%% On the nodes

%% The handler waits until it is told to go on.
add_waiting_handler() ->
    persistent_term:put(waiting_handler, added),
    Wait = fun(_, _) ->
               true = register(waiting_handler, self()),
               persistent_term:put(waiting_handler, runs),
               receive go_on -> ok end
           end,
    mongoose_domain_hooks:add_removal_handler(waiting, Wait).

end_waiting_handler() ->
    waiting_handler ! go_on,
    ok.

note_removal(_HostType, Domain) ->
    persistent_term:put(?MODULE, Domain).

%% Helpers

restart(Config, Env) ->
    node_helper:stop_standalone(),
    start(?config(url, Config), Env).

numbered(Prefix, N) ->
    unicode:characters_to_binary([Prefix, integer_to_list(N), ".example"]).

%% A handler that hangs for the domains that begin so, until it is told to go on.
hang_for(Prefix) ->
    Self = self(),
    Hang = fun(?T, Domain) ->
        case string:prefix(Domain, Prefix) of
            nomatch -> ok;
            _ -> Self ! {hangs, Domain, self()}, receive go_on -> ok end
        end
    end,
    mongoose_domain_hooks:add_removal_handler(hanging, Hang).

%% At least so many domains for which it hangs, or has, and its processes.
hanging(AtLeast) ->
    receive {hangs, Domain, Pid} -> [{Domain, Pid} | hanging(AtLeast - 1)]
    after case AtLeast > 0 of true -> 60000; false -> 0 end -> []
    end.

start_node(Config) ->
    start_node(Config, #{}).

start_node(Config, Env) ->
    Node = node_helper:start_node(node, Env#{database => ?config(url, Config)}),
    pong = call(Node, service_domain_db, sync_local, []),
    Node.

%% A node on which the handler of a removal runs, and waits.
node_that_removes(Domain, Config) ->
    insert(Domain),
    Node = start_node(Config),
    ok = call(Node, ?MODULE, add_waiting_handler, []),
    {ok, #{status := deleting}} =
        call(Node, mongoose_domain_api, request_delete_domain, [Domain, ?T]),
    test_helper:wait_until(fun() ->
        call(Node, persistent_term, get, [waiting_handler]) =:= runs
    end),
    Node.

call(Node, Module, Function, Args) ->
    node_helper:call(Node, Module, Function, Args).

%% The nodes are connected by the database only.
checked() ->
    ok = service_domain_db:force_check_for_updates(),
    service_domain_db:sync_local().

insert(Domain) ->
    {ok, _} = mongoose_domain_api:insert_domain(Domain, ?T),
    pong = service_domain_db:sync_local(),
    {ok, ?T} = mongoose_domain_core:get_host_type(Domain).

gone(Domain) ->
    test_helper:wait_until(fun() ->
        case mongoose_domain_api:get_domain_details(Domain) of
            {not_found, _} -> true;
            Other -> Other
        end
    end),
    pong = checked(),
    ?assertEqual({error, not_found}, mongoose_domain_core:get_host_type(Domain)).

witness_removal(HostType, Domain) ->
    removal_witness ! {removed, HostType, Domain},
    ok.
