%% @doc What crosses nodes: real Erlang nodes over one database, on every kind of database.
-module(cluster_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(T1, <<"type1">>).

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    db_helper:databases().

groups() ->
    Cases = [a_change_reaches_the_other_nodes,
             sync_local_waits_for_what_other_nodes_asked_for,
             writers_on_all_nodes_converge,
             a_removal_reaches_the_other_nodes_before_a_handler_runs_here,
             a_node_that_is_killed_and_started_again_catches_up,
             sync_local_does_not_wait_for_a_node_that_is_gone,
             nodes_know_how_the_others_are,
             nodes_with_other_host_types_route_only_theirs],
    %% Takes 30 s, and is the same on every database.
    Slow = #{postgres => [nodes_that_are_not_connected_converge_by_the_database]},
    [{Kind, [], Cases ++ maps:get(Kind, Slow, [])} || {group, Kind} <- db_helper:databases()].

init_per_testcase(_Case, Config) ->
    Nodes = [start(?config(url, Config)) || _ <- [1, 2]],
    [{nodes, Nodes} | Config].

end_per_testcase(_Case, Config) ->
    lists:foreach(fun node_helper:stop_node/1, ?config(nodes, Config)).

start(Url) ->
    start(Url, #{}).

start(Url, Env) ->
    Node = node_helper:start_node(node, Env#{database => Url}),
    pong = call(Node, service_domain_db, sync_local, []),
    Node.

%% Cases

a_change_reaches_the_other_nodes(Config) ->
    [A, B] = connected(Config),
    insert(A, <<"a.example">>),
    has(B, <<"a.example">>, {ok, ?T1}),
    {ok, _} = call(B, mongoose_domain_api, disable_domain, [<<"a.example">>]),
    has(A, <<"a.example">>, {error, not_found}),
    {ok, _} = call(A, mongoose_domain_api, enable_domain, [<<"a.example">>]),
    has(B, <<"a.example">>, {ok, ?T1}),
    {ok, _} = call(B, mongoose_domain_api, delete_domain, [<<"a.example">>, ?T1]),
    has(A, <<"a.example">>, {error, not_found}).

sync_local_waits_for_what_other_nodes_asked_for(Config) ->
    [A, B] = connected(Config),
    [begin
         insert(A, domain(N)),
         has(B, domain(N), {ok, ?T1})
     end || N <- lists:seq(1, 50)].

writers_on_all_nodes_converge(Config) ->
    Nodes = [A, B] = connected(Config),
    Self = self(),
    Writers = [spawn_link(fun() ->
                   call(Node, ?MODULE, write_many, [Seed, 150]),
                   Self ! {done, self()}
               end) || {Node, Seed} <- [{A, 1}, {B, 2}, {A, 3}]],
    [receive {done, Writer} -> ok end || Writer <- Writers],
    [pong = call(Node, service_domain_db, sync_local, []) || Node <- Nodes],
    Enabled = lists:sort([Domain || #{domain := Domain, status := enabled}
                                        <- call(A, mongoose_domain_api, get_all_domains, [])]),
    %% I1
    [?assertEqual(Enabled, lists:sort([Domain || {Domain, ?T1} <- dynamic(Node)]))
     || Node <- Nodes],
    ?assertNotEqual([], Enabled).

a_removal_reaches_the_other_nodes_before_a_handler_runs_here(Config) ->
    [A, B] = connected(Config),
    insert(A, <<"a.example">>),
    has(B, <<"a.example">>, {ok, ?T1}),
    ok = call(A, ?MODULE, add_waiting_handler, []),
    {ok, #{status := deleting}} =
        call(A, mongoose_domain_api, request_delete_domain, [<<"a.example">>, ?T1]),
    %% The handler does not end, and the other node has stopped routing.
    has(B, <<"a.example">>, {error, not_found}),
    {ok, #{status := deleting}} =
        call(B, mongoose_domain_api, get_domain_details, [<<"a.example">>]),
    ok = call(A, ?MODULE, end_waiting_handler, []),
    test_helper:wait_until(fun() ->
        Details = call(B, mongoose_domain_api, get_domain_details, [<<"a.example">>]),
        element(1, Details) =:= not_found
    end).

a_node_that_is_killed_and_started_again_catches_up(Config) ->
    [A, B] = connected(Config),
    insert(A, <<"before.example">>),
    kill(B),
    insert(A, <<"meanwhile.example">>),
    {ok, _} = call(A, mongoose_domain_api, delete_domain, [<<"before.example">>, ?T1]),
    C = start(?config(url, Config)),
    ?assertEqual([{<<"meanwhile.example">>, ?T1}], dynamic(C)),
    node_helper:connect([A, C]),
    insert(A, <<"after.example">>),
    has(C, <<"after.example">>, {ok, ?T1}),
    node_helper:stop_node(C).

sync_local_does_not_wait_for_a_node_that_is_gone(Config) ->
    [A, B] = connected(Config),
    kill(B),
    insert(A, <<"a.example">>),
    has(A, <<"a.example">>, {ok, ?T1}).

nodes_know_how_the_others_are(Config) ->
    [A, {_, NameB} = B] = connected(Config),
    {_, NameA} = A,
    insert(A, <<"a.example">>),
    [pong = call(Node, service_domain_db, sync_local, []) || Node <- [A, B]],
    [OfA, OfB] = [atom_to_binary(Name) || Name <- [NameA, NameB]],
    %% One that is slow to answer is seen as one that hangs.
    test_helper:wait_until(fun() ->
        case call(A, service_domain_db, members, []) of
            [{OfA, true, true, {<<"following">>, 0, 2, _}},
             {OfB, false, true, {<<"following">>, 0, 2, _}}] -> true;
            Others -> Others
        end
    end),
    %% One that hangs is not waited for.
    Pid = call(B, os, getpid, []),
    _ = os:cmd("kill -STOP " ++ Pid),
    ?assertEqual({OfB, false, false, undefined},
                 lists:last(call(A, service_domain_db, members, []))),
    _ = os:cmd("kill -CONT " ++ Pid).

nodes_with_other_host_types_route_only_theirs(Config) ->
    [A, _B] = connected(Config),
    C = start(?config(url, Config), #{host_types => [<<"type2">>]}),
    {ok, _} = call(A, mongoose_domain_api, insert_domain, [<<"one.example">>, ?T1]),
    {ok, _} = call(A, mongoose_domain_api, insert_domain, [<<"two.example">>, <<"type2">>]),
    ok = call(C, service_domain_db, force_check_for_updates, []),
    pong = call(C, service_domain_db, sync_local, []),
    ?assertEqual([{<<"two.example">>, <<"type2">>}], dynamic(C)),
    node_helper:stop_node(C).

nodes_that_are_not_connected_converge_by_the_database(Config) ->
    [A, B] = ?config(nodes, Config),
    ?assertEqual([], call(B, erlang, nodes, [])),
    insert(A, <<"a.example">>),
    %% After 30 s.
    test_helper:wait_until(fun() -> host_type(B, <<"a.example">>) =:= {ok, ?T1} end, 120000).

%% On the nodes

write_many(Seed, Count) ->
    _ = rand:seed(exsss, Seed),
    lists:foreach(fun(_) -> write(domain(rand:uniform(20)), rand:uniform(4)) end,
                  lists:seq(1, Count)).

write(Domain, 1) -> mongoose_domain_api:disable_domain(Domain);
write(Domain, 2) -> mongoose_domain_api:enable_domain(Domain);
write(Domain, 3) -> mongoose_domain_api:delete_domain(Domain, ?T1);
write(Domain, 4) -> mongoose_domain_api:insert_domain(Domain, ?T1).

add_waiting_handler() ->
    Wait = fun(_, _) ->
               true = register(waiting_handler, self()),
               receive go_on -> ok end
           end,
    mongoose_domain_hooks:add_removal_handler(waiting, Wait).

end_waiting_handler() ->
    test_helper:wait_until(fun() -> is_pid(whereis(waiting_handler)) end),
    waiting_handler ! go_on,
    ok.

%% Helpers

connected(Config) ->
    Nodes = ?config(nodes, Config),
    node_helper:connect(Nodes),
    Nodes.

insert(Node, Domain) ->
    {ok, _} = call(Node, mongoose_domain_api, insert_domain, [Domain, ?T1]).

host_type(Node, Domain) ->
    call(Node, mongoose_domain_core, get_host_type, [Domain]).

dynamic(Node) ->
    call(Node, mongoose_domain_core, get_all_dynamic, []).

%% By what it was asked to look at before now, and not by its own look after 30 s.
has(Node, Domain, Expected) ->
    pong = call(Node, service_domain_db, sync_local, []),
    ?assertEqual(Expected, host_type(Node, Domain)).

domain(N) ->
    iolist_to_binary(["d", integer_to_list(N), ".example"]).

kill(Node) ->
    Pid = call(Node, os, getpid, []),
    _ = os:cmd("kill -9 " ++ Pid),
    node_helper:stop_node(Node).

call(Node, Module, Function, Args) ->
    node_helper:call(Node, Module, Function, Args).
