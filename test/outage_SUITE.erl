%% @doc The database goes away and comes back (invariant I6), on every kind that has a server.
-module(outage_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(T1, <<"type1">>).

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    db_helper:databases() -- [{group, sqlite}].

groups() ->
    Cases = [a_refused_connection_is_said_at_once_and_why,
             routing_goes_on_and_a_change_made_meanwhile_arrives_by_itself,
             a_server_that_hangs_does_not_block_the_node,
             a_node_that_starts_without_its_database_loads_when_it_comes,
             an_open_transaction_holds_up_nobody_else,
             connections_cut_by_the_server_are_replaced,
             requests_by_http_say_in_time_that_the_database_failed],
    [{Kind, [], Cases} || {group, Kind} <- all()].

init_per_testcase(_Case, Config) ->
    log_helper:capture_logs(),
    {ok, _} = http_helper:start(#{database => ?config(url, Config)}, #{}),
    {ok, _} = mongoose_domain_api:insert_domain(<<"a.example">>, ?T1),
    pong = service_domain_db:sync_local(),
    Config.

end_per_testcase(_Case, Config) ->
    node_helper:stop_standalone(),
    log_helper:release_logs(),
    _ = db_helper:control("start", Config).

%% Cases

%% And not when a time limit is over, which would be all that could be said then.
a_refused_connection_is_said_at_once_and_why(Config) ->
    _ = db_helper:control("stop", Config),
    ok = service_domain_db:force_check_for_updates(),
    test_helper:wait_until(fun() -> log_helper:logged(domain_check_failed) =/= [] end),
    ?assertMatch(#{state := retrying}, service_domain_db:status()),
    ok = service_domain_db:force_check_for_updates(),
    test_helper:wait_until(fun() -> length(log_helper:logged(domain_check_failed)) >= 2 end),
    [Last | _] = lists:reverse(log_helper:logged(domain_check_failed)),
    ?assertMatch(#{reason := database_unavailable}, Last),
    ?assertNotEqual({Last, nomatch}, {Last, string:find(maps:get(text, Last), "refused")}),
    {db_error, Text} = mongoose_domain_api:get_domain_details(<<"b.example">>),
    ?assertNotEqual({Text, nomatch}, {Text, string:find(Text, "refused")}).

routing_goes_on_and_a_change_made_meanwhile_arrives_by_itself(Config) ->
    Reader = start_reader(<<"a.example">>),
    Service = whereis(service_domain_db),
    db_helper:kill_server(Config),
    ok = service_domain_db:force_check_for_updates(),
    test_helper:wait_until(fun() -> log_helper:logged(domain_check_failed) =/= [] end),
    ?assertMatch({db_error, _}, mongoose_domain_api:disable_domain(<<"a.example">>)),
    _ = db_helper:control("start", Config),
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('b.example', 'type1');",
                 "INSERT INTO domain_events (domain) VALUES ('b.example');"]),
    wait_for(<<"b.example">>, {ok, ?T1}),
    ?assert(stop_reader(Reader) > 0),
    ?assertEqual(Service, whereis(service_domain_db)),
    ?assertEqual(1, length(log_helper:logged(domains_loaded))),
    [?assertEqual(nomatch, string:find(Text, "secret"))
     || #{text := Text} <- log_helper:logged(domain_check_failed)].

a_server_that_hangs_does_not_block_the_node(Config) ->
    Reader = start_reader(<<"a.example">>),
    Suspended = serving(Config),
    signal("STOP", Suspended),
    ok = service_domain_db:force_check_for_updates(),
    %% While the check waits for its answer.
    ok = mongoose_domain_core:insert(<<"other.example">>, ?T1, somebody_else),
    ok = mongoose_domain_core:delete(<<"other.example">>),
    test_helper:wait_until(fun() -> log_helper:logged(domain_check_failed) =/= [] end),
    signal("CONT", Suspended),
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('b.example', 'type1');",
                 "INSERT INTO domain_events (domain) VALUES ('b.example');"]),
    wait_for(<<"b.example">>, {ok, ?T1}),
    ?assert(stop_reader(Reader) > 0).

a_node_that_starts_without_its_database_loads_when_it_comes(Config) ->
    node_helper:stop_standalone(),
    _ = db_helper:control("stop", Config),
    {ok, _} = node_helper:start_standalone(#{database => ?config(url, Config)}),
    ?assertEqual({ok, ?T1}, mongoose_domain_core:get_host_type(<<"static.example">>)),
    ?assertMatch({db_error, _}, mongoose_domain_api:get_domain_details(<<"a.example">>)),
    _ = db_helper:control("start", Config),
    wait_for(<<"a.example">>, {ok, ?T1}).

an_open_transaction_holds_up_nobody_else(Config) ->
    Open = open_transaction(["INSERT INTO domain_settings (domain, host_type) ",
                             "VALUES ('slow.example', 'type1');",
                             "INSERT INTO domain_events (domain) VALUES ('slow.example');"],
                            Config),
    {ok, _} = mongoose_domain_api:insert_domain(<<"quick.example">>, ?T1),
    wait_for(<<"quick.example">>, {ok, ?T1}),
    commit(Open),
    wait_for(<<"slow.example">>, {ok, ?T1}),
    ?assertEqual("0", sql(Config, "SELECT COUNT(*) FROM domain_events WHERE domain = ''")).

connections_cut_by_the_server_are_replaced(Config) ->
    [begin
         cut_connections(Config),
         Domain = iolist_to_binary(["d", integer_to_list(N), ".example"]),
         {ok, _} = mongoose_domain_api:insert_domain(Domain, ?T1),
         pong = service_domain_db:sync_local(),
         ?assertEqual({ok, ?T1}, mongoose_domain_core:get_host_type(Domain))
     end || N <- lists:seq(1, 5)].

requests_by_http_say_in_time_that_the_database_failed(Config) ->
    Reader = start_reader(<<"a.example">>),
    Answers = ets:new(answers, [public, duplicate_bag]),
    Clients = [start_client(N, Answers) || N <- lists:seq(1, 8)],
    Failed = {500, #{<<"what">> => <<"database error">>}},
    wait_for_answer(204, Answers),
    db_helper:kill_server(Config),
    wait_for_answer(Failed, Answers),
    _ = db_helper:control("start", Config),
    wait_for_answer(204, Answers),
    Frozen = lists:join("\n", db_helper:server_processes(Config)),
    signal("STOP", Frozen),
    %% It comes from the time limit of a statement. What took 15 s would be answered by 503.
    wait_for_answer(Failed, Answers),
    signal("CONT", Frozen),
    test_helper:wait_until(fun() ->
        http_helper:put("/api/domains/after.example", "{\"host_type\": \"type1\"}") =:= 204
    end),
    lists:foreach(fun stop_client/1, Clients),
    Codes = lists:usort([Answer || {_, Answer} <- ets:tab2list(Answers)]),
    ?assertEqual([], [Code || Code <- Codes, not lists:member(Code, [200, 204, Failed])]),
    ?assert(stop_reader(Reader) > 0),
    wait_for(<<"after.example">>, {ok, ?T1}).

%% Adds, disables, shows and removes a domain, until it is stopped.
start_client(N, Answers) ->
    Path = "/api/domains/client" ++ integer_to_list(N) ++ ".example",
    Type = "{\"host_type\": \"type1\"}",
    spawn_link(fun() -> client(Path, [{put, Type}, {patch, "{\"enabled\": false}"},
                                      {put, Type}, {delete, Type}], Answers) end).

client(Path, [{Method, Body} = Request | Requests], Answers) ->
    receive
        {stop, From} -> From ! {self(), stopped}
    after 0 ->
        Begun = erlang:monotonic_time(),
        Answer = case http_helper:decoded(http_helper:request(Method, Path, Body)) of
                     %% It could not be added before.
                     {404, _} -> 200;
                     %% Its removal was cut off.
                     {409, _} -> 200;
                     {403, #{<<"what">> := <<"domain is being removed">>}} -> 200;
                     Other -> Other
                 end,
        true = ets:insert(Answers, {Begun, Answer}),
        client(Path, Requests ++ [Request], Answers)
    end.

%% Waits for such an answer to a request that begins now or later.
wait_for_answer(Expected, Answers) ->
    Now = erlang:monotonic_time(),
    test_helper:wait_until(fun() ->
        lists:any(fun({Begun, Answer}) -> Begun >= Now andalso Answer =:= Expected end,
                  ets:tab2list(Answers))
    end).

stop_client(Client) ->
    Client ! {stop, self()},
    receive {Client, stopped} -> ok end.

%% Helpers

sql(Config, Statements) ->
    db_helper:sql(?config(url, Config), Statements).

%% The next try may come after 30 s.
wait_for(Domain, Expected) ->
    test_helper:wait_until(fun() -> mongoose_domain_core:get_host_type(Domain) =:= Expected end,
                           120000).

%% A transaction of the database's own client, which waits behind the statements until commit/1.
open_transaction(Statements, Config) ->
    Gate = filename:join(?config(priv_dir, Config), test_helper:data_name(gate)),
    Begun = Gate ++ ".begun",
    "" = os:cmd("mkfifo " ++ Gate),
    {_, Monitor} = spawn_monitor(fun() ->
        "" = sql(Config, ["BEGIN;\n", Statements, "\n\\! touch ", Begun, " && cat ", Gate,
                          "\nCOMMIT;"])
    end),
    test_helper:wait_until(fun() -> filelib:is_file(Begun) end),
    {Gate, Monitor}.

commit({Gate, Monitor}) ->
    "" = os:cmd(": > " ++ Gate),
    receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason) end.

%% The processes that serve this test's database. Those of PostgreSQL serve one connection each, so
%% there a new connection still works.
serving(Config) ->
    case ?config(kind, Config) of
        postgres ->
            sql(Config, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
                        "AND pid <> pg_backend_pid()");
        mysql ->
            db_helper:control("pid", Config)
    end.

signal(Signal, Pids) ->
    ?assertNotEqual("", Pids),
    _ = os:cmd("kill -" ++ Signal ++ " " ++ lists:flatten(string:replace(Pids, "\n", " ", all))).

%% Returns when they are closed.
cut_connections(Config) ->
    case ?config(kind, Config) of
        postgres ->
            sql(Config, "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid()");
        mysql ->
            Ids = connections(Config),
            %% One may have ended by itself meanwhile.
            [test_helper:attempt(fun() -> sql(Config, "KILL " ++ Id) end) || Id <- Ids],
            test_helper:wait_until(fun() -> Ids -- connections(Config) =:= Ids end)
    end.

connections(Config) ->
    string:lexemes(sql(Config, "SELECT id FROM information_schema.processlist "
                               "WHERE db = DATABASE() AND id <> CONNECTION_ID()"), "\n").

%% Reads one domain over and over; a miss kills the test.
start_reader(Domain) ->
    spawn_link(fun() -> read(Domain, 0) end).

read(Domain, Count) ->
    {ok, _} = mongoose_domain_core:get_host_type(Domain),
    receive
        {stop, From} -> From ! {reads, Count + 1}
    after 0 ->
        Count rem 1000 =:= 0 andalso timer:sleep(1),
        read(Domain, Count + 1)
    end.

stop_reader(Reader) ->
    Reader ! {stop, self()},
    receive {reads, Count} -> Count end.
