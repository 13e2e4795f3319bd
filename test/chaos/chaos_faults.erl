%% @doc The faults of `make chaos': each has a name, how often it is injected, and a function that
%% injects it into the cluster and ends it.
-module(chaos_faults).

-export([all/0]).

all() ->
    [{"server killed (-9) and started", 2, fun server_killed/1},
     {"server frozen (SIGSTOP) for 20 s", 1, fun server_frozen/1},
     {"server restarted in the middle of a load", 2, fun server_restarted_in_a_load/1},
     {"transaction rolled back, a gap", 10, fun gap/1},
     {"transaction held open for 10 s", 1, fun open_transaction/1},
     {"node killed (-9) and started", 2, fun node_killed/1},
     {"network between the nodes cut for 8 s", 1, fun network_cut/1},
     {"service_domain_db killed", 10, fun service_killed/1},
     {"mongoose_domain_core killed", 10, fun core_killed/1},
     {"program of the HTTP server killed, 100 times", 1, fun http_killed/1},
     {"program of the HTTP server frozen (SIGSTOP)", 3, fun http_frozen/1},
     {"log truncated behind a sleeping node", 2, fun log_truncated/1},
     {"server full, connections refused", 1, fun server_full/1}].

server_killed(Cluster = #{server := Server}) ->
    chaos_server:kill(Server),
    timer:sleep(1000),
    chaos_server:start_again(Server),
    Cluster.

server_frozen(Cluster = #{server := Server}) ->
    chaos_server:freeze(Server),
    timer:sleep(20000),
    chaos_server:thaw(Server),
    Cluster.

%% Again, until the load of some node was really cut.
server_restarted_in_a_load(Cluster = #{server := Server, nodes := Nodes}) ->
    _ = [on(Node, service_domain_db, restart, []) || Node <- maps:values(Nodes)],
    timer:sleep(rand:uniform(60)),
    chaos_server:stop_at_once(Server),
    Loading = [Node || Node <- maps:values(Nodes),
                       #{position := undefined} <- [on(Node, service_domain_db, status, [])]],
    chaos_server:start_again(Server),
    case Loading of
        [] ->
            test_helper:wait_until(fun() -> are_well(Cluster) end, 60000),
            server_restarted_in_a_load(Cluster);
        _ ->
            Cluster
    end.

gap(Cluster = #{server := Server}) ->
    _ = chaos_server:leave_gap(Server),
    Cluster.

open_transaction(Cluster = #{server := Server}) ->
    _ = chaos_server:hold_open("slow.example", 10, Server),
    Cluster#{expected := <<"slow.example">>}.

node_killed(Cluster = #{server := Server, nodes := Nodes, retired := Retired}) ->
    #{c := Node} = Nodes,
    Counts = on(Node, chaos_node, counts, []),
    _ = os:cmd("kill -9 " ++ on(Node, os, getpid, [])),
    node_helper:stop_node(Node),
    New = Cluster#{retired := chaos_node:add_counts(Counts, Retired),
                   nodes := Nodes#{c := chaos:start_node(Server)}},
    chaos:connect(New),
    New.

%% They are connected by the database only.
network_cut(Cluster = #{nodes := Nodes}) ->
    Names = [Name || {_, Name} <- maps:values(Nodes)],
    _ = [on(Node, erlang, disconnect_node, [Name])
         || {_, Own} = Node <- maps:values(Nodes), Name <- Names, Name =/= Own],
    timer:sleep(8000),
    [] = lists:append([on(Node, erlang, nodes, []) || Node <- maps:values(Nodes)]),
    chaos:connect(Cluster),
    Cluster.

service_killed(Cluster) ->
    kill(service_domain_db, Cluster).

core_killed(Cluster) ->
    kill(mongoose_domain_core, Cluster).

kill(Process, Cluster = #{nodes := Nodes}) ->
    _ = [case on(Node, erlang, whereis, [Process]) of
             undefined -> ok;
             Pid -> on(Node, erlang, exit, [Pid, kill])
         end || Node <- maps:values(Nodes)],
    Cluster.

%% On one node after the other, while all of them are asked by HTTP, too.
http_killed(Cluster) ->
    Times = case os:getenv("QUICK", "") of "" -> 100; _ -> 6 end,
    with_http(fun(Nodes) ->
        [begin
             Node = lists:nth(1 + Time rem length(Nodes), Nodes),
             %% So that it has lived for a while, as in production.
             timer:sleep(400),
             end_program("KILL", Node)
         end || Time <- lists:seq(1, Times)]
    end, Cluster).

http_frozen(Cluster) ->
    with_http(fun(Nodes) -> [end_program("STOP", Node) || Node <- Nodes] end, Cluster).

with_http(Fault, Cluster = #{nodes := Nodes}) ->
    All = maps:values(Nodes),
    _ = [ok = on(Node, chaos_node, start_http, []) || Node <- All],
    _ = Fault(All),
    _ = [ok = on(Node, chaos_node, stop_http, []) || Node <- All],
    Cluster.

%% Ends the program, and waits until another one answers.
end_program(Signal, Node) ->
    Pid = on(Node, http_helper, kill_program, [Signal]),
    test_helper:wait_until(fun() -> on(Node, chaos_node, http_answers, [Pid]) end, 60000).

%% What was done meanwhile is gone from the log when it wakes up.
log_truncated(Cluster = #{server := Server, nodes := #{b := Node}}) ->
    OsPid = on(Node, os, getpid, []),
    Before = too_old(Node),
    _ = os:cmd("kill -STOP " ++ OsPid),
    try
        timer:sleep(3000),
        %% The writers of the others may wait for it.
        _ = [chaos_server:insert(test_helper:data_name(late), Server) || _ <- lists:seq(1, 10)],
        _ = chaos_server:truncate_log(Server)
    after
        os:cmd("kill -CONT " ++ OsPid)
    end,
    test_helper:wait_until(fun() -> too_old(Node) > Before end, 60000),
    Cluster.

too_old(Node) ->
    #{reloads := Reloads} = on(Node, service_domain_db, status, []),
    maps:get(too_old, Reloads, 0).

server_full(Cluster = #{server := Server, nodes := Nodes}) ->
    Before = [errors(Node) || Node <- maps:values(Nodes)],
    _ = chaos_server:crowd(8, Server),
    %% Was it full for everybody?
    After = [errors(Node) || Node <- maps:values(Nodes)],
    {true, _, _} = {lists:all(fun({Less, More}) -> Less < More end, lists:zip(Before, After)),
                    Before, After},
    Cluster.

errors(Node) ->
    #{errors := Errors} = on(Node, service_domain_db, status, []),
    lists:sum(maps:values(Errors)).

are_well(#{nodes := Nodes}) ->
    States = [maps:get(state, on(Node, service_domain_db, status, []))
              || Node <- maps:values(Nodes)],
    lists:usort(States) =:= [following] orelse States.

on(Node, Module, Function, Args) ->
    node_helper:call(Node, Module, Function, Args).
