%% @doc A real PgBouncer between us and PostgreSQL. In session mode each connection of ours has a
%% connection to the server, in transaction mode each transaction has another one.
-module(pooler_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(API, mongoose_domain_api).
-define(T1, <<"type1">>).
-define(CSV, "text/csv").

all() ->
    [{group, session}, {group, transaction}].

groups() ->
    Cases = [a_node_loads_and_follows,
             gaps_are_settled,
             every_change_is_made,
             the_cleaner_deletes_old_events,
             an_interrupted_removal_is_resumed,
             domains_are_imported_listed_and_exported,
             everything_at_the_same_time,
             the_pool_of_mongooseim_connects,
             a_refused_login_is_said],
    [{session, [], Cases}, {transaction, [], Cases ++ [nothing_stays_in_a_session]}].

init_per_suite(Config) ->
    db_helper:init_database(postgres, Config).

end_per_suite(Config) ->
    db_helper:end_database(Config).

init_per_group(Mode, Config) ->
    Server = ?config(server_url, Config),
    {Pooler, _, Url} =
        program_helper:start_script("throwaway-pgbouncer", [atom_to_list(Mode), Server]),
    [{pooler, Pooler}, {pooler_url, Url} | Config].

end_per_group(_Mode, Config) ->
    db_helper:end_database([{owner, ?config(pooler, Config)}]).

init_per_testcase(_Case, Config) ->
    log_helper:capture_logs(),
    Url = db_helper:fresh_url(Config),
    [Pooler, _] = string:split(?config(pooler_url, Config), "/", trailing),
    [_, Name] = string:split(Url, "/", trailing),
    [{url, Url}, {pooled, Pooler ++ "/" ++ Name} | Config].

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone(),
    log_helper:release_logs().

%% Cases

a_node_loads_and_follows(Config) ->
    db_helper:fill(?config(url, Config), "d", ".example", 2500),
    start(Config),
    ?assertEqual(2500, length(mongoose_domain_core:get_all_dynamic())),
    [insert(name("new", N)) || N <- lists:seq(1, 20)],
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) ",
                 "SELECT 'far' || n || '.example', 'type1' FROM generate_series(1, 3000) AS n;",
                 "INSERT INTO domain_events (domain) ",
                 "SELECT 'far' || n || '.example' FROM generate_series(1, 3000) AS n;"]),
    ok = service_domain_db:force_check_for_updates(),
    follows(Config),
    ?assertEqual(5520, length(mongoose_domain_core:get_all_dynamic())).

gaps_are_settled(Config) ->
    start(Config),
    insert(<<"a.example">>),
    sql(Config, "SELECT nextval('domain_events_id_seq') FROM generate_series(1, 7)"),
    insert(<<"b.example">>),
    follows(Config),
    ?assertMatch(#{gaps_settled := 7, dummies_written := 7}, service_domain_db:status()),
    ?assertEqual("7", sql(Config, "SELECT count(*) FROM domain_events WHERE domain = ''")).

every_change_is_made(Config) ->
    start(Config),
    D = <<"a.example">>,
    [begin
         insert(D),
         {ok, #{status := disabled}} = ?API:disable_domain(D),
         {error, not_found} = routes(D),
         {ok, #{status := enabled}} = ?API:enable_domain(D),
         {ok, ?T1} = routes(D),
         {ok, _} = ?API:set_domain_password(D, <<"secret">>),
         ok = ?API:check_domain_password(D, <<"secret">>),
         {ok, _} = ?API:delete_domain_password(D),
         {not_found, _} = ?API:check_domain_password(D, <<"secret">>),
         {ok, _} = ?API:delete_domain(D, ?T1),
         {error, not_found} = routes(D),
         {not_found, _} = ?API:get_domain_details(D)
     end || _ <- [1, 2, 3]],
    follows(Config).

the_cleaner_deletes_old_events(Config) ->
    start(Config, #{service => #{event_cleaning_interval => 1, event_max_age => 1}}),
    [insert(name("d", N)) || N <- lists:seq(1, 5)],
    test_helper:wait_until(fun() ->
        sql(Config, "SELECT string_agg(domain, ',') FROM domain_events") =:= "d5.example"
    end),
    insert(<<"after.example">>),
    follows(Config).

an_interrupted_removal_is_resumed(Config) ->
    sql(Config, "INSERT INTO domain_settings (domain, host_type, status) "
                "VALUES ('a.example', 'type1', 2), ('b.example', 'type1', 1)"),
    start(Config),
    node_helper:remover_done(),
    ?assertEqual("b.example", sql(Config, "SELECT domain FROM domain_settings")),
    follows(Config).

domains_are_imported_listed_and_exported(Config) ->
    start(Config),
    Body = ["domain,host_type,status\n",
            [["d", integer_to_list(N), ".example,type1,enabled\n"] || N <- lists:seq(1001, 3500)]],
    [begin
         {200, Answer} = http_helper:post("/api/import", ?CSV, Body),
         ?assertMatch({match, _}, re:run(Answer, "\"done\":.*" ++ Done))
     end || Done <- ["\"added\":2500,", "\"unchanged\":2500,"]],
    follows(Config),
    {200, Exported} = http_helper:get("/api/export"),
    ?assertEqual(iolist_to_binary(Body), Exported),
    {200, _} = http_helper:get("/api/domains?host_type=type1&limit=100"),
    {200, _} = http_helper:get("/api/domains/d2000.example").

everything_at_the_same_time(Config) ->
    start(Config, #{service => #{audit_interval => 1, max_connections => 10}}),
    Self = self(),
    Clients = [spawn_link(fun() -> client(N), Self ! {done, self()} end) || N <- lists:seq(1, 8)],
    [receive {done, Client} -> ok end || Client <- Clients],
    ok = service_domain_db:verify(),
    follows(Config),
    ?assertEqual(lists:sort([name("client", N) || N <- lists:seq(1, 8)]),
                 lists:sort([D || {D, ?T1} <- mongoose_domain_core:get_all_dynamic()])).

client(N) ->
    D = name("client", N),
    Path = "/api/domains/" ++ binary_to_list(D),
    [begin
         204 = http_helper:put(Path, "{\"host_type\": \"type1\"}"),
         {200, _} = http_helper:get(Path),
         204 = http_helper:patch(Path, "{\"enabled\": false}"),
         {ok, _} = ?API:enable_domain(D),
         {200, _} = http_helper:get("/api/export"),
         pong = service_domain_db:sync_local()
     end || _ <- lists:seq(1, 20)].

the_pool_of_mongooseim_connects(Config) ->
    #{port := Port, path := "/" ++ Name} = uri_string:parse(?config(pooled, Config)),
    Pool = #{type => rdbms, scope => global, tag => default, opts => #{},
             conn_opts => #{driver => pgsql, host => "127.0.0.1", port => Port, database => Name,
                            username => "domains", password => "secret"}},
    {ok, #{options := Options}} = mongoose_domain_pool:database(Pool),
    {ok, Database} = mongoose_domain_nif:open_database(Options#{max_connections => 2}),
    [begin
         Ref = make_ref(),
         ok = mongoose_domain_nif:request(Database, Request, Ref),
         receive {mongoose_domain_nif, Ref, Reply} -> ?assertEqual({ok, Expected}, Reply) end
     end || {Request, Expected} <- [{newest_event, nil},
                                    {{insert_domain, <<"a.example">>, ?T1}, inserted},
                                    {newest_event, 1}]],
    ok = mongoose_domain_nif:close_database(Database).

%% Though the pooler says so by the code of a broken protocol.
a_refused_login_is_said(Config) ->
    Url = ?config(pooled, Config),
    [begin
         {ok, _} = node_helper:start_standalone(#{database => lists:flatten(Wrong)}),
         ?assertMatch({db_error, <<"the database server refuses access: ", _/binary>>},
                      ?API:get_domain_details(<<"a.example">>)),
         test_helper:wait_until(fun() ->
             maps:is_key(access_denied, maps:get(errors, service_domain_db:status()))
         end),
         node_helper:stop_standalone()
     end || Wrong <- [string:replace(Url, "secret", "geheim"),
                      string:replace(Url, "domains:", "no:")]].

%% Or another client that comes to it would meet it there.
nothing_stays_in_a_session(Config) ->
    start(Config),
    everything_at_the_same_time(Config),
    gaps(Config),
    node_helper:stop_standalone(),
    Sessions = lists:usort([begin
                                [Pid, Prepared, Locks, Settings] = state_of_a_session(Config),
                                ?assertEqual({"0", "0", "read committed"},
                                             {Prepared, Locks, Settings}),
                                Pid
                            end || _ <- lists:seq(1, 30)]),
    %% They come by turns, so each that there is was looked at.
    ?assert(length(Sessions) > 1).

gaps(Config) ->
    sql(Config, "SELECT nextval('domain_events_id_seq') FROM generate_series(1, 7)"),
    insert(<<"b.example">>).

%% By the pooler.
state_of_a_session(Config) ->
    Line = db_helper:sql(?config(pooled, Config),
                         "SELECT pg_backend_pid(), "
                         "(SELECT count(*) FROM pg_prepared_statements), "
                         "(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() "
                         "AND locktype = 'advisory'), "
                         "current_setting('default_transaction_isolation')"),
    string:split(Line, "|", all).

%% Helpers

start(Config) ->
    start(Config, #{}).

start(Config, Env) ->
    node_helper:stop_standalone(),
    {ok, _} = http_helper:start(Env#{database => ?config(pooled, Config)}, #{}),
    pong = service_domain_db:sync_local().

insert(Domain) ->
    {ok, #{status := enabled}} = ?API:insert_domain(Domain, ?T1),
    {ok, ?T1} = routes(Domain).

routes(Domain) ->
    pong = service_domain_db:sync_local(),
    mongoose_domain_core:get_host_type(Domain).

%% Nothing went wrong, and the table is as the database says.
follows(Config) ->
    pong = service_domain_db:sync_local(),
    ?assertMatch(#{state := following, loads := 1, reloads := Reloads, errors := Errors}
                     when Reloads =:= #{} andalso Errors =:= #{},
                 service_domain_db:status()),
    ?assertEqual([], [Report || What <- [domain_check_failed, domain_audit_failed,
                                         domain_http_database_failed, domain_removal_failed],
                                Report <- log_helper:logged(What)]),
    Rows = sql(Config, "SELECT domain FROM domain_settings WHERE status = 1"),
    ?assertEqual(lists:sort(string:lexemes(Rows, "\n")),
                 lists:sort([binary_to_list(D)
                             || {D, _} <- mongoose_domain_core:get_all_dynamic()])).

%% Past the pooler.
sql(Config, Statements) ->
    db_helper:sql(?config(url, Config), Statements).

name(Prefix, N) ->
    iolist_to_binary([Prefix, integer_to_list(N), ".example"]).
