%% @doc Servers whose default isolation level is stricter than usual, and writers on several nodes
%% at the same time: no change is lost, nothing fails, and the nodes agree with the database.
-module(isolation_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(T1, <<"type1">>).
-define(ROUNDS, 15).

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    [{group, postgres}, {group, mysql}].

groups() ->
    Cases = [transactions_of_ours_say_their_level,
             writers_on_several_nodes_lose_nothing,
             imports_at_the_same_time_lose_nothing,
             removals_at_the_same_time_come_to_their_end,
             a_gap_is_settled_when_its_transaction_ends,
             events_are_cleaned_by_several_nodes],
    Levels = [{Level, [], Cases} || Level <- [serializable, repeatable_read]],
    [{Kind, [], [{group, Level} || {Level, _, _} <- Levels]} || Kind <- [postgres, mysql]]
        ++ Levels.

init_per_group(Kind, Config) when Kind =:= postgres; Kind =:= mysql ->
    Config;
init_per_group(Level, Config) ->
    Name = string:replace(string:uppercase(atom_to_list(Level)), "_", " "),
    Statement = case ?config(kind, Config) of
                    postgres -> ["ALTER ROLE domains SET default_transaction_isolation = '", Name,
                                 "'"];
                    mysql -> ["SET GLOBAL TRANSACTION ISOLATION LEVEL ", Name]
                end,
    "" = db_helper:sql(?config(server_url, Config), Statement),
    Config.

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    {ok, _} = http_helper:start(#{database => ?config(url, Config)}, #{}),
    Nodes = [node_helper:start_node(node, #{database => ?config(url, Config)}) || _ <- [1, 2]],
    node_helper:connect(Nodes),
    [pong = call(Node, service_domain_db, sync_local, []) || Node <- Nodes],
    [{nodes, Nodes} | Config].

end_per_testcase(_Case, Config) ->
    lists:foreach(fun node_helper:stop_node/1, ?config(nodes, Config)),
    node_helper:stop_standalone().

%% Cases

%% Whatever the default is. Each write leaves an event; a trigger takes none of another level.
transactions_of_ours_say_their_level(Config) ->
    "" = sql(trigger(?config(kind, Config), Config), Config),
    ?assertError({sql_failed, _, _}, sql("INSERT INTO domain_events (domain) VALUES ('')", Config)),
    {ok, _} = mongoose_domain_api:insert_domain(<<"a.example">>, ?T1),
    {ok, _} = mongoose_domain_api:disable_domain(<<"a.example">>),
    {200, _} = http_helper:post("/api/import", "text/csv", "domain,host_type\nb.example,type1\n"),
    {ok, _} = mongoose_domain_api:delete_domain(<<"a.example">>, ?T1),
    ?assertEqual([<<"b.example">>], agreed(Config)).

trigger(postgres, _Config) ->
    "CREATE FUNCTION check_level() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF current_setting('transaction_isolation') <> 'read committed' THEN "
    "RAISE 'wrong level'; END IF; RETURN NULL; END $$;"
    "CREATE TRIGGER check_level AFTER INSERT ON domain_events "
    "FOR EACH STATEMENT EXECUTE FUNCTION check_level()";
trigger(mysql, Config) ->
    %% Its name depends on the version. The client's sessions have another time limit, too.
    [Variable | _] = string:lexemes(sql("SHOW VARIABLES LIKE '%_isolation'", Config), "\t"),
    ["CREATE TRIGGER check_level BEFORE INSERT ON domain_events FOR EACH ROW SET NEW.domain = "
     "IF(@@session.", Variable, " = 'REPEATABLE-READ' AND @@session.innodb_lock_wait_timeout = 1, ",
     "NEW.domain, NULL)"].

%% Each writes domains of its own, and those that all write.
writers_on_several_nodes_lose_nothing(Config) ->
    Writers = [{Node, Seed} || Seed <- [1, 2], Node <- [here | ?config(nodes, Config)]],
    at_once([fun() -> call(Node, ?MODULE, write, [name("own", {Node, Seed})]) end
             || {Node, Seed} <- Writers]
            ++ [fun() -> foreign_writer(Config) end]),
    Expected = lists:sort([name("own", Writer) || Writer <- Writers] ++ [<<"shared.example">>]
                          ++ [name("foreign", N) || N <- lists:seq(1, ?ROUNDS)]),
    {ok, _} = mongoose_domain_api:enable_domain(<<"shared.example">>),
    ?assertEqual(Expected, agreed(Config)).

%% Each change is made, in its order: the last one enables.
write(Own) ->
    [begin
         {ok, _} = mongoose_domain_api:insert_domain(Domain, ?T1),
         {ok, _} = mongoose_domain_api:disable_domain(Domain),
         {ok, _} = mongoose_domain_api:enable_domain(Domain)
     end || _ <- lists:seq(1, ?ROUNDS), Domain <- [Own, <<"shared.example">>]],
    ok.

%% As stock nodes and people write, who may have to repeat it.
foreign_writer(Config) ->
    [repeat(["BEGIN;",
             "INSERT INTO domain_settings (domain, host_type) VALUES ('", Name, "', 'type1');",
             "INSERT INTO domain_events (domain) VALUES ('", Name, "');"
             "COMMIT;"], Config)
     || N <- lists:seq(1, ?ROUNDS), Name <- [name("foreign", N)]].

repeat(Statements, Config) ->
    try "" = sql(Statements, Config)
    catch
        error:{sql_failed, _, Output} ->
            %% Or a reader has taken the event's id for a gap before its row was there.
            Refused = "could not serialize|[Dd]eadlock|1213|1020|domain_events.(PRIMARY|pkey)",
            ?assertMatch({_, {match, _}}, {Output, re:run(Output, Refused)}),
            repeat(Statements, Config)
    end.

%% Of the same lines, and of others.
imports_at_the_same_time_lose_nothing(Config) ->
    Body = fun(Prefix) -> ["domain,host_type,status\n",
                           [[name(Prefix, N), ",type1,enabled\n"] || N <- lists:seq(1, 1500)],
                           [[name("both", N), ",type1,enabled\n"] || N <- lists:seq(1, 1500)]]
           end,
    at_once([fun() -> {200, Answer} = http_helper:post("/api/import", "text/csv", Body(Prefix)),
                      ?assertMatch({match, _}, re:run(Answer, "\"done\":.*\"rejected\":0"))
             end || Prefix <- ["one", "two", "one"]]
            ++ [fun() -> call(Node, ?MODULE, write, [name("own", Node)]) end
                || Node <- ?config(nodes, Config)]),
    ?assertEqual(1500 * 3 + 3, length(agreed(Config))),
    %% One event for each that was added, or another one was lost.
    Events = "SELECT COUNT(*) FROM domain_events WHERE domain LIKE 'both%'",
    ?assertEqual("1500", sql(Events, Config)).

removals_at_the_same_time_come_to_their_end(Config) ->
    Nodes = [here | ?config(nodes, Config)],
    Domains = [name("d", N) || N <- lists:seq(1, 12)],
    [{ok, _} = mongoose_domain_api:insert_domain(D, ?T1) || D <- Domains ++ [<<"stays.example">>]],
    at_once([fun() -> call(Node, ?MODULE, remove, [Domains]) end || Node <- Nodes]),
    test_helper:wait_until(fun() ->
        sql("SELECT domain FROM domain_settings", Config) =:= "stays.example"
    end),
    ?assertEqual([<<"stays.example">>], agreed(Config)).

%% Others may have removed it, or be about to.
remove(Domains) ->
    [case mongoose_domain_api:delete_domain(D, ?T1) of
         {ok, _} -> ok;
         {not_found, _} -> ok;
         {deleting, _} -> ok
     end || D <- Domains],
    ok.

%% Nodes wait for it, each with a transaction of its own, and none of them fails.
a_gap_is_settled_when_its_transaction_ends(Config) ->
    {ok, _} = mongoose_domain_api:insert_domain(<<"a.example">>, ?T1),
    Gate = filename:join(?config(priv_dir, Config), test_helper:data_name(gate)),
    "" = os:cmd("mkfifo " ++ Gate),
    at_once([fun() ->
                 "" = sql(["BEGIN;\n"
                           "INSERT INTO domain_settings (domain, host_type) ",
                           "VALUES ('slow.example', 'type1');",
                           "INSERT INTO domain_events (domain) VALUES ('slow.example');\n"
                           "\\! touch ", Gate, ".begun && cat ", Gate, "\nCOMMIT;"], Config)
             end,
             fun() ->
                 test_helper:wait_until(fun() -> filelib:is_file(Gate ++ ".begun") end),
                 {ok, _} = mongoose_domain_api:insert_domain(<<"quick.example">>, ?T1),
                 [test_helper:wait_until(fun() ->
                      ok = call(Node, service_domain_db, force_check_for_updates, []),
                      {ok, ?T1} =:= call(Node, mongoose_domain_core, get_host_type,
                                         [<<"quick.example">>])
                  end) || Node <- [here | ?config(nodes, Config)]],
                 "" = os:cmd(": > " ++ Gate)
             end]),
    ok = service_domain_db:force_check_for_updates(),
    ?assertEqual([<<"a.example">>, <<"quick.example">>, <<"slow.example">>], agreed(Config)),
    ?assertEqual("0", sql("SELECT COUNT(*) FROM domain_events WHERE domain = ''", Config)).

events_are_cleaned_by_several_nodes(Config) ->
    [{ok, _} = mongoose_domain_api:insert_domain(name("d", N), ?T1) || N <- lists:seq(1, 60)],
    _ = agreed(Config),
    Delete = fun() -> mongoose_domain_sql:request({delete_events_below, 60, 7}) end,
    at_once([fun() -> [{ok, _} = Delete() || _ <- lists:seq(1, 10)] end || _ <- [1, 2, 3, 4]]),
    ?assertEqual("60", sql("SELECT id FROM domain_events", Config)),
    {ok, _} = mongoose_domain_api:insert_domain(<<"after.example">>, ?T1),
    ?assertEqual(61, length(agreed(Config))).

%% Helpers

%% All of them, at the same time.
at_once(Funs) ->
    Workers = [spawn_monitor(Fun) || Fun <- Funs],
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end
     || {Pid, Monitor} <- Workers].

%% The domains that each node routes: those of the database, and by events alone, without an error.
agreed(Config) ->
    Nodes = [here | ?config(nodes, Config)],
    Rows = sql("SELECT domain FROM domain_settings WHERE status = 1", Config),
    Expected = lists:sort([list_to_binary(Row) || Row <- string:lexemes(Rows, "\n")]),
    [begin
         ok = call(Node, service_domain_db, force_check_for_updates, []),
         pong = call(Node, service_domain_db, sync_local, []),
         Domains = call(Node, mongoose_domain_core, get_all_dynamic, []),
         ?assertEqual({Node, Expected}, {Node, lists:sort([D || {D, _} <- Domains])}),
         ?assertEqual({Node, ok}, {Node, call(Node, service_domain_db, verify, [])}),
         ?assertMatch({_, #{loads := 1, errors := Errors, reloads := Reloads}}
                          when Errors =:= #{} andalso Reloads =:= #{},
                      {Node, call(Node, service_domain_db, status, [])})
     end || Node <- Nodes],
    Expected.

call(here, M, F, A) -> apply(M, F, A);
call(Node, M, F, A) -> node_helper:call(Node, M, F, A).

sql(Statements, Config) ->
    db_helper:sql(?config(url, Config), Statements).

name(Prefix, N) ->
    Number = case N of _ when is_integer(N) -> N; _ -> erlang:phash2(N) end,
    iolist_to_binary([Prefix, integer_to_list(Number), ".example"]).
