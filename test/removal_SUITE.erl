%% @doc Removals that a crash or a failure interrupts (invariant I10), on every kind of database.
-module(removal_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(D, <<"a.example">>).
-define(T, <<"type1">>).

all() ->
    test_helper:databases().

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
             a_late_removal_spares_a_domain_that_was_added_again],
    [{Kind, [], Cases} || {group, Kind} <- test_helper:databases()].

init_per_group(Kind, Config) ->
    test_helper:init_database(Kind, Config).

end_per_group(_Kind, Config) ->
    test_helper:end_database(Config).

init_per_testcase(_Case, Config) ->
    Url = test_helper:fresh_url(Config),
    start(Url),
    [{url, Url} | Config].

end_per_testcase(_Case, _Config) ->
    test_helper:stop_standalone().

start(Url) ->
    start(Url, #{}).

start(Url, Env) ->
    {ok, _} = test_helper:start_standalone(Env#{database => Url}),
    test_helper:remover_done(),
    pong = service_domain_db:sync_local().

%% Cases

a_node_that_starts_finishes_what_a_crash_left(Config) ->
    Url = ?config(url, Config),
    insert(?D),
    test_helper:stop_standalone(),
    test_helper:sql(Url, "UPDATE domain_settings SET status = 2"),
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
    test_helper:stop_standalone(),
    %% Also after a restart.
    start(?config(url, Config), #{host_types => [<<"type2">>]}),
    ?assertEqual({error, not_found}, mongoose_domain_core:get_host_type(?D)).

a_removal_is_tried_again_when_the_handler_works(_Config) ->
    insert(?D),
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(_, _) -> error(out_of_order) end),
    ?assertMatch({removal_failed, _}, mongoose_domain_api:delete_domain(?D, ?T)),
    test_helper:remover_done(),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(_, _) -> ok end),
    ?assertMatch({ok, #{status := deleted}}, mongoose_domain_api:delete_domain(?D, ?T)),
    gone(?D).

handlers_of_the_configuration_are_there_when_removals_are_resumed(Config) ->
    Url = ?config(url, Config),
    insert(?D),
    test_helper:stop_standalone(),
    test_helper:sql(Url, "UPDATE domain_settings SET status = 2"),
    true = register(removal_witness, self()),
    start(Url, #{removal_handlers => [{?MODULE, witness_removal}]}),
    receive {removed, ?T, ?D} -> ok after 60000 -> ct:fail(handler_not_called) end,
    unregister(removal_witness),
    gone(?D).

an_unknown_host_type_waits_until_it_is_configured(Config) ->
    Url = ?config(url, Config),
    insert(?D),
    test_helper:stop_standalone(),
    test_helper:sql(Url, "UPDATE domain_settings SET status = 2"),
    start(Url, #{host_types => [<<"type2">>]}),
    ?assertMatch({unknown_host_type, _}, mongoose_domain_api:delete_domain(?D, ?T)),
    mongoose_domain_remover:wake(),
    test_helper:remover_done(),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    test_helper:stop_standalone(),
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
    test_helper:stop_node(Node),
    ?assertMatch({ok, #{status := deleting}}, mongoose_domain_api:get_domain_details(?D)),
    pong = checked(),
    ?assertEqual({error, not_found}, mongoose_domain_core:get_host_type(?D)),
    %% A node that starts finishes it, and runs the handler again.
    Next = start_node(Config, #{removal_handlers => [{?MODULE, note_removal}]}),
    gone(?D),
    ?assertEqual(?D, call(Next, persistent_term, get, [?MODULE])),
    test_helper:stop_node(Next).

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
    test_helper:stop_node(Node).

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
    ok = call(Node, test_helper, remover_done, []),
    pong = checked(),
    ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(?D)),
    ?assertMatch({ok, #{status := enabled}}, mongoose_domain_api:get_domain_details(?D)),
    test_helper:stop_node(Node).

%% On the nodes

%% The handler runs in the remover, and waits until it is told to go on.
add_waiting_handler() ->
    persistent_term:put(waiting_handler, added),
    Wait = fun(_, _) ->
               persistent_term:put(waiting_handler, runs),
               receive go_on -> ok end
           end,
    mongoose_domain_hooks:add_removal_handler(waiting, Wait).

end_waiting_handler() ->
    mongoose_domain_remover ! go_on,
    ok.

note_removal(_HostType, Domain) ->
    persistent_term:put(?MODULE, Domain).

%% Helpers

start_node(Config) ->
    start_node(Config, #{}).

start_node(Config, Env) ->
    Node = test_helper:start_node(node, Env#{database => ?config(url, Config)}),
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
    test_helper:call(Node, Module, Function, Args).

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
