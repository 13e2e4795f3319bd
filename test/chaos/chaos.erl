%% @doc `make chaos': real faults on real servers.
%%
%% Three Erlang nodes over one database, PostgreSQL and MariaDB in turn, with a small server that
%% this program starts. Writers on all nodes add, disable, enable and remove domains through the API
%% at full speed; a reader on each node looks up domains that nobody touches. One fault after the
%% other is injected. No domain that is there throughout may ever be missing (I5, I6); at the end
%% every table must equal the database (I1), every hook must have been called exactly once per
%% transition (I7), and no removal may be left undone (I10).
-module(chaos).

-export([main/0]).

%% For the faults
-export([start_node/1, connect/1]).

-define(NODES, [a, b, c]).
%% Domains that are there throughout.
-define(STABLE, 5000).
%% Milliseconds until all nodes have a change that was made after a fault.
-define(PATIENCE, 60000).
%% Milliseconds for everything.
-define(LIMIT, 1800000).

-spec main() -> no_return().
main() ->
    Kinds = [list_to_atom(Kind) || Kind <- init:get_plain_arguments()],
    {_Pid, Monitor} =
        spawn_monitor(fun() -> exit({violations, lists:sum(lists:map(fun run/1, Kinds))}) end),
    receive
        {'DOWN', Monitor, process, _, {violations, Violations}} ->
            io:format("~nchaos: ~b databases, ~b violations~n", [length(Kinds), Violations]),
            halt(min(Violations, 1));
        {'DOWN', Monitor, process, _, Reason} ->
            io:format("~nchaos: FAILED: ~tp~n", [Reason]),
            halt(1)
    after ?LIMIT ->
        io:format("~nchaos: FAILED: not done within half an hour~n"),
        halt(1)
    end.

run(Kind) ->
    io:format("~n~ts~n", [string:uppercase(atom_to_list(Kind))]),
    Server = chaos_server:start(Kind),
    chaos_server:fill(?STABLE, Server),
    Cluster = #{server => Server, retired => #{}, expected => none,
                nodes => maps:from_list([{Name, start_node(Server)} || Name <- ?NODES])},
    connect(Cluster),
    line(["fault", "times", "changes", "domains checked", "violations", "s to converge"]),
    {Last, Violations} = lists:foldl(fun fault/2, {Cluster, 0}, faults()),
    Problems = at_the_end(Last),
    _ = [io:format("VIOLATION: ~tp~n", [Problem]) || Problem <- Problems],
    #{changes := Changes, failed := Failed, checked := Checked} = totals(Last),
    io:format("~b changes made, ~b refused or failed; ~b domains checked~n",
              [Changes, Failed, Checked]),
    _ = [io:format("node ~ts: ~ts~n", [Name, describe(call(Name, service_domain_db, status, [],
                                                           Last))])
         || Name <- ?NODES],
    _ = [node_helper:stop_node(Node) || Node <- maps:values(maps:get(nodes, Last))],
    chaos_server:stop(Server),
    Violations + length(Problems).

%% With QUICK=1 each comes once.
faults() ->
    [{Name, case os:getenv("QUICK", "") of "" -> Times; _ -> 1 end, Inject}
     || {Name, Times, Inject} <- chaos_faults:all()].

%% One fault: injects it some times, and after each time waits until the nodes have converged.
fault({Name, Times, Inject}, {Before, Sum}) ->
    #{changes := Changes0, checked := Checked0, violations := Violations0} = totals(Before),
    {After, Worst} = inject(Times, Inject, Before, 0),
    #{changes := Changes, checked := Checked, violations := Violations} = totals(After),
    New = length(Violations) - length(Violations0),
    line([Name, integer_to_list(Times), integer_to_list(Changes - Changes0),
          integer_to_list(Checked - Checked0), integer_to_list(New),
          io_lib:format("~.1f", [Worst / 1000])]),
    _ = [io:format("VIOLATION: ~tp~n", [Violation])
         || Violation <- lists:sublist(Violations -- Violations0, 10)],
    {After, Sum + New}.

inject(0, _Inject, Cluster, Worst) ->
    {Cluster, Worst};
inject(Times, Inject, Cluster0, Worst) ->
    Cluster = Inject(Cluster0),
    Took = converge(Cluster),
    inject(Times - 1, Inject, Cluster, max(Took, Worst)).

%% Milliseconds from now until a change that is made now is on all nodes, and what the fault itself
%% has changed.
converge(Cluster = #{expected := Expected}) ->
    Began = erlang:monotonic_time(millisecond),
    Marker = iolist_to_binary(["marker", integer_to_list(erlang:unique_integer([positive])),
                               ".example"]),
    wait_until(fun() ->
        Result = call(a, mongoose_domain_api, insert_domain, [Marker, <<"type1">>], Cluster),
        element(1, Result) =:= ok orelse Result
    end),
    [wait_until(fun() ->
         Result = call(Name, mongoose_domain_core, get_host_type, [Domain], Cluster),
         Result =:= {ok, <<"type1">>} orelse {Name, Domain, Result}
     end) || Domain <- [Marker, Expected], Domain =/= none, Name <- ?NODES],
    erlang:monotonic_time(millisecond) - Began.

%% Everything must come out even. Returns what does not.
at_the_end(Cluster = #{server := Server}) ->
    _ = [ok = call(Name, chaos_node, stop_writers, [], Cluster) || Name <- ?NODES],
    _ = [ok = call(Name, mongoose_domain_remover, wake, [], Cluster) || Name <- ?NODES],
    Undone = problem(i10_removals_left_undone, fun() -> chaos_server:deleting(Server) =:= 0 end),
    %% One may just wait for its next try.
    _ = [pong = call(Name, node_helper, loaded, [], Cluster) || Name <- ?NODES],
    Expected = chaos_server:enabled(Server),
    Undone ++ lists:append([at_the_end(Name, Expected, Cluster) || Name <- ?NODES]).

at_the_end(Name, Expected, Cluster) ->
    #{dynamic := Dynamic, told := Told, hooks := Hooks, static := Static} =
        call(Name, chaos_node, contents, [], Cluster),
    #{reloads := Reloads} = call(Name, service_domain_db, status, [], Cluster),
    [{Name, i1_table_differs_from_database, lists:sublist(Expected -- Dynamic, 5),
      lists:sublist(Dynamic -- Expected, 5)} || Dynamic =/= Expected]
    ++ [{Name, i2_static_domain, Static} || Static =/= {ok, <<"type1">>}]
    ++ [{Name, i7_told_differs_from_table, lists:sublist(Told -- Dynamic, 5),
         lists:sublist(Dynamic -- Told, 5)} || Told =/= Dynamic]
    ++ [{Name, i7_hook, Hook} || Hook <- Hooks]
    ++ [{Name, an_audit_found_differences, Reloads} || is_map_key(differs, Reloads)]
    ++ [{Name, verify, Verdict}
        || Verdict <- [call(Name, service_domain_db, verify, [], Cluster)], Verdict =/= ok].

%% Nodes

start_node(Server) ->
    Node = node_helper:start_peer(chaos),
    ok = node_helper:call(Node, chaos_node, start, [chaos_server:url(Server), ?STABLE]),
    Node.

connect(#{nodes := Nodes}) ->
    node_helper:connect(maps:values(Nodes)).

call(Name, Module, Function, Args, #{nodes := Nodes}) ->
    node_helper:call(maps:get(Name, Nodes), Module, Function, Args).

%% What all nodes counted, also those that are gone.
totals(Cluster = #{retired := Retired}) ->
    Now = [call(Name, chaos_node, counts, [], Cluster) || Name <- ?NODES],
    lists:foldl(fun chaos_node:add_counts/2, Retired, Now).

%% Output

line(Columns) ->
    Formats = ["~-52ts", "~6ts", "~9ts", "~17ts", "~12ts", "~15ts"],
    io:format(lists:append(Formats) ++ "~n", Columns).

describe(Status) ->
    Keys = [loads, reloads, gaps_settled, dummies_written, audits, errors, domains],
    lists:join(", ", [io_lib:format("~ts ~0tp", [Key, maps:get(Key, Status)]) || Key <- Keys]).

%% Waiting

wait_until(Fun) ->
    test_helper:wait_until(Fun, ?PATIENCE).

problem(What, Fun) ->
    try
        wait_until(Fun),
        []
    catch
        error:{timeout_waiting, _, _} -> [What]
    end.
