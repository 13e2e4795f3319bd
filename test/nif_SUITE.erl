%% @doc The NIF and the virtual machine: nothing crashes it, nothing is left behind, every request
%% is answered once. Each case has a node of its own: a crash of that node is a failure here.
-module(nif_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

%% By hand: Debian's package of PropEr has no proper.hrl.
-import(proper_types, [any/0, binary/0, frequency/1, integer/0, list/1, oneof/1, resize/2,
                       vector/2]).

-define(NIF, mongoose_domain_nif).
-define(CORE, mongoose_domain_core).
-define(SUP, mongoose_domain_sup).
-define(D, <<"a.example">>).
-define(T1, <<"type1">>).
-define(T2, <<"type2">>).
-define(MAX_AGE, 7200).
-define(WAIT, 60000).
%% In every URL with a password here.
-define(PASSWORD, "hunter2").

all() ->
    [{group, terms}, {group, loading}, {group, answers}, {group, threads}, {group, options},
     {group, batches}].

groups() ->
    [{terms, [],
      [no_term_passed_to_any_function_crashes_the_node]},
     {loading, [],
      [reloading_the_module_under_load_keeps_the_table,
       a_reload_does_not_disturb_a_load_in_progress,
       deleting_the_module_keeps_the_table_for_the_next_that_is_loaded]},
     {answers, [],
      [every_request_is_answered_once,
       every_caller_of_a_follower_is_answered_once,
       a_closed_database_refuses_requests_and_checks,
       what_is_in_progress_when_the_database_is_closed_is_answered_once,
       a_follower_that_is_stopped_says_so_once,
       a_follower_that_nobody_refers_to_ends,
       a_batch_for_a_table_that_is_gone_is_stale,
       changes_of_several_processes_wait_for_each_other_and_are_all_made,
       a_caller_that_is_killed_harms_nobody,
       bad_names_are_refused_before_any_sql_runs]},
     {threads, [],
      [quick_cycles_leave_no_threads_behind,
       a_database_that_nobody_refers_to_is_closed]},
     {options, [],
      [options_out_of_range_are_refused,
       no_error_of_opening_shows_a_password,
       no_error_of_a_request_shows_a_password]},
     {batches, [],
      [bulk_changes_are_told_by_the_core_once_and_in_order,
       rows_that_are_ignored_are_logged_once_per_kind]}].

init_per_group(_Group, Config) ->
    Config.

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    File = filename:join(?config(priv_dir, Config), test_helper:data_name(nif)),
    [{peer, start_peer()}, {url, "sqlite:" ++ File} | Config].

end_per_testcase(_Case, Config) ->
    stop_peer(?config(peer, Config)).

%% Terms

%% A few thousand calls. Each must return or raise; afterwards the node still answers, and a table
%% and a database still work.
no_term_passed_to_any_function_crashes_the_node(Config) ->
    Url = ?config(url, Config),
    put(peer, ?config(peer, Config)),
    Survives = fun(Calls) ->
                   try peer:call(get(peer), ?MODULE, survive, [Calls, Url], 300000) of
                       Survived -> Survived =:= length(Calls)
                   catch
                       Class:Reason ->
                           ct:pal("~p:~p after ~p", [Class, Reason, Calls]),
                           %% Another one, for the smaller counterexamples.
                           stop_peer(get(peer)),
                           put(peer, start_peer()),
                           false
                   end
               end,
    Nifs = lists:sort(?NIF:module_info(nifs)),
    ?assertMatch([_ | _], Nifs),
    %% The module has no other functions.
    ?assertEqual(Nifs, lists:sort(?NIF:module_info(exports) -- [{priv_file, 1}, {module_info, 0},
                                                                {module_info, 1}])),
    Calls = vector(30, oneof([{Function, args(Function, Arity)} || {Function, Arity} <- Nifs])),
    Result = proper:quickcheck(proper:forall(Calls, Survives),
                               [{numtests, 150}, {max_shrinks, 50}, quiet, long_result]),
    stop_peer(get(peer)),
    ?assertEqual(true, Result).

%% Loading

reloading_the_module_under_load_keeps_the_table(Config) ->
    on_peer(Config, fun() ->
        start_core(),
        ok = ?CORE:insert(?D, ?T1, source),
        Readers = [start_reader() || _ <- lists:seq(1, 4)],
        [begin
             _ = code:purge(?NIF),
             case code:load_file(?NIF) of
                 {module, ?NIF} -> ok;
                 {error, on_load_failure} -> ok
             end
         end || _ <- lists:seq(1, 20)],
        lists:foreach(fun stop_reader/1, Readers),
        table_is_there()
    end).

a_reload_does_not_disturb_a_load_in_progress(Config) ->
    Url = ?config(url, Config),
    fill(Url, 20000),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        Following = follower(Database),
        ok = apply_batch(next_batch(Following), Following),
        _ = code:purge(?NIF),
        _ = code:load_file(?NIF),
        ok = ping(Following),
        ?assertEqual(20001, ?CORE:domains_count()),
        ?assertMatch({ok, _}, ask(Database, newest_event))
    end).

%% Deleted, it is gone until the old code is purged and the module loaded again. The table is not,
%% and the handles of before can still be dropped.
deleting_the_module_keeps_the_table_for_the_next_that_is_loaded(Config) ->
    Url = ?config(url, Config),
    on_peer(Config, fun() ->
        start_core(),
        ok = ?CORE:insert(?D, ?T1, source),
        {ok, Old} = open(Url),
        {ok, nil} = ask(Old, newest_event),
        true = code:delete(?NIF),
        _ = code:purge(?NIF),
        table_is_there(),
        {ok, New} = open(Url),
        ?assertEqual({ok, nil}, ask(New, newest_event)),
        ?assert(is_reference(Old))
    end).

%% Answers

every_request_is_answered_once(Config) ->
    Url = ?config(url, Config),
    on_peer(Config, fun() ->
        {ok, Database} = open(Url),
        Names = [iolist_to_binary(["d", integer_to_list(N)]) || N <- lists:seq(1, 50)],
        Requests = [create_schema, newest_event, {select_page, any, 0, 10},
                    {delete_events_below, 0, 10}]
                   ++ [{insert_domain, Name, ?T1} || Name <- Names]
                   ++ [{select_domain, Name} || Name <- Names],
        Refs = [send(Database, Request) || Request <- Requests],
        [?assertMatch({ok, _}, final(Ref)) || Ref <- Refs],
        ok = ?NIF:close_database(Database),
        no_more_messages()
    end).

every_caller_of_a_follower_is_answered_once(Config) ->
    Url = ?config(url, Config),
    fill(Url, 5000),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        {Follower, Ref} = Following = follower(Database),
        Callers = [{Call, N} || Call <- [await_first_load, ping, verify], N <- lists:seq(1, 20)],
        [ok = ?NIF:send_to_follower(Follower, {Call, {Call, N}}) || {Call, N} <- Callers],
        Answers = [{ok, {await_first_load, N}} || N <- lists:seq(1, 20)]
                  ++ [{pong, {ping, N}} || N <- lists:seq(1, 20)]
                  ++ [{ok, {verify, N}} || N <- lists:seq(1, 20)],
        ?assertEqual(lists:sort(Answers), lists:sort(answers(length(Callers), Following))),
        ?assertEqual(5001, ?CORE:domains_count()),
        ok = check(Following),
        ok = ?NIF:stop_follower(Follower),
        ?assertMatch({error, {stopped, _}}, final(Ref)),
        %% It has ended: nothing has an effect any more.
        ok = ?NIF:stop_follower(Follower),
        ok = ?NIF:send_to_follower(Follower, {ping, nobody}),
        ok = ?NIF:close_database(Database),
        no_more_messages(),
        receive {?NIF, Ref, {answer, _, _} = More} -> error(More) after 0 -> ok end
    end).

a_closed_database_refuses_requests_and_checks(Config) ->
    Url = ?config(url, Config),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        ?assertEqual(ok, ?NIF:close_database(Database)),
        ?assertMatch({error, {stopped, _}}, ?NIF:request(Database, newest_event, make_ref())),
        {Follower, Ref} = Following = follower(Database),
        ?assertMatch(#{reason := stopped}, check_failed(Following)),
        ?assertEqual(ok, ?NIF:close_database(Database)),
        ok = ?NIF:stop_follower(Follower),
        ?assertMatch({error, {stopped, _}}, final(Ref)),
        no_more_messages()
    end).

%% The load waits for the first batches to be applied, which nobody does.
what_is_in_progress_when_the_database_is_closed_is_answered_once(Config) ->
    Url = ?config(url, Config),
    fill(Url, 20000),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        {Follower, Ref, _Batch} = waiting_load(Database),
        Refs = [send(Database, Request) || _ <- lists:seq(1, 50),
                                           Request <- [newest_event, {select_page, any, 0, 1000}]],
        ok = ?NIF:close_database(Database),
        ok = ?NIF:stop_follower(Follower),
        ?assertMatch({error, {stopped, _}}, final(Ref)),
        [?assertMatch({Answer, _} when Answer =:= ok orelse Answer =:= error, final(One))
         || One <- Refs],
        no_more_messages()
    end).

a_follower_that_is_stopped_says_so_once(Config) ->
    Url = ?config(url, Config),
    fill(Url, 20000),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        {Follower, Ref, Batch} = waiting_load(Database),
        ?assertEqual(ok, ?NIF:stop_follower(Follower)),
        ?assertMatch({error, {stopped, _}}, final(Ref)),
        ?assertEqual(ok, ?NIF:stop_follower(Follower)),
        %% What came before can be applied; the database goes on.
        ?assertEqual(ok, ?CORE:apply_batch(Batch)),
        ?assertMatch({ok, [_]}, ask(Database, {select_page, any, 0, 1})),
        ok = ?NIF:close_database(Database),
        no_more_messages()
    end).

a_follower_that_nobody_refers_to_ends(Config) ->
    Url = ?config(url, Config),
    fill(Url, 20000),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        Ref = without_follower(waiting_load(Database)),
        true = erlang:garbage_collect(),
        ?assertMatch({error, {stopped, _}}, final(Ref)),
        ok = ?NIF:close_database(Database),
        no_more_messages()
    end).

a_batch_for_a_table_that_is_gone_is_stale(Config) ->
    Url = ?config(url, Config),
    fill(Url, 20000),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        {Follower, _Ref, Batch} = waiting_load(Database),
        ?assertEqual(more, ?NIF:apply_batch(Batch, 1)),
        ?assertMatch({0, [{_, undefined, ?T1}], 0}, ?NIF:pending(0, 10, all)),
        {ok, _} = ?SUP:restart_core(?CORE:get_start_args()),
        ?assertEqual({error, stale}, ?CORE:apply_batch(Batch)),
        ok = supervisor:terminate_child(?SUP, ?CORE),
        ?assertEqual({error, stale}, ?NIF:apply_batch(Batch, 1)),
        ?assertMatch(#{reason := no_table}, check_failed(follower(Database))),
        ok = ?NIF:stop_follower(Follower)
    end).

changes_of_several_processes_wait_for_each_other_and_are_all_made(Config) ->
    %% What would wait goes on on a dirty scheduler, and has the same answers.
    on_peer(Config, fun() ->
        start_core(),
        Before = ?NIF:domains_count(),
        Write = fun(Worker) ->
                    lists:foreach(fun(N) ->
                        Domain = <<(integer_to_binary(N))/binary, ".", Worker/binary>>,
                        inserted = ?NIF:insert(Domain, ?T1, Worker),
                        refreshed = ?NIF:insert(Domain, ?T1, other),
                        {error, bad_insert} = ?NIF:insert(Domain, ?T2, other),
                        N rem 2 =:= 0 andalso (removed = ?NIF:delete(Domain))
                    end, lists:seq(1, 2000))
                end,
        Workers = [spawn_monitor(fun() -> Write(Worker) end)
                   || Worker <- [<<"a">>, <<"b">>, <<"c">>]],
        [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end
         || {Pid, Monitor} <- Workers],
        ?assertEqual(Before + 3 * 1000, ?NIF:domains_count()),
        ?assertMatch({0, [], 9000}, ?NIF:pending(0, 0, all)),
        ?assertMatch({9000, [], 0}, ?NIF:pending(all, 10, all))
    end).

a_caller_that_is_killed_harms_nobody(Config) ->
    Url = ?config(url, Config),
    fill(Url, 20000),
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        Case = self(),
        [begin
             {Pid, Monitor} = spawn_monitor(fun() ->
                 Load = waiting_load(Database),
                 Refs = [send(Database, {select_page, any, 0, 1000}) || _ <- lists:seq(1, 20)],
                 Case ! {busy, self()},
                 receive never -> {Load, Refs} end
             end),
             receive {busy, Pid} -> exit(Pid, kill) end,
             receive {'DOWN', Monitor, process, Pid, killed} -> ok end
         end || _ <- lists:seq(1, 10)],
        %% Its loads hold no connection for good.
        ?assertMatch({ok, [_]}, ask(Database, {select_page, any, 0, 1})),
        {Follower, Ref} = Following = follower(Database),
        ok = ping(Following),
        ?assertEqual(20001, ?CORE:domains_count()),
        ok = ?NIF:stop_follower(Follower),
        ?assertMatch({error, {stopped, _}}, final(Ref)),
        ok = ?NIF:close_database(Database),
        no_more_messages()
    end).

bad_names_are_refused_before_any_sql_runs(Config) ->
    Url = ?config(url, Config),
    "sqlite:" ++ File = Url,
    on_peer(Config, fun() ->
        {ok, Database} = open(Url),
        Bad = [<<>>, binary:copy(<<"a">>, 251), <<"a", 0, "b">>],
        [?assertMatch({_, {error, {invalid_name, _}}},
                      {Request, ?NIF:request(Database, Request, make_ref())})
         || Name <- Bad,
            Request <- [{insert_domain, Name, ?T1}, {insert_domain, ?D, Name},
                        {enable_domain, Name}, {disable_domain, Name},
                        {mark_deleting, Name, ?T1}, {mark_deleting, ?D, Name},
                        {delete_domain, Name, ?T1}, {delete_domain, ?D, Name},
                        {select_domain, Name}]],
        %% There was no connection yet, which would have made the file.
        ?assertNot(filelib:is_file(File)),
        ok = ?NIF:close_database(Database),
        no_more_messages()
    end).

%% Threads

quick_cycles_leave_no_threads_behind(Config) ->
    Url = ?config(url, Config),
    OsPid = on_peer(Config, fun os:getpid/0),
    ?assertEqual([], threads(OsPid)),
    on_peer(Config, fun() ->
        Refs = [begin
                    {ok, Database} = open(Url),
                    Ref = send(Database, newest_event),
                    ok = ?NIF:close_database(Database),
                    Ref
                end || _ <- lists:seq(1, 200)],
        [?assertMatch({Answer, _} when Answer =:= ok orelse Answer =:= error, final(Ref))
         || Ref <- Refs]
    end),
    no_threads(OsPid),
    %% They come again when they are needed.
    on_peer(Config, fun() ->
        {ok, Database} = open(Url),
        ?assertMatch({ok, nil}, ask(Database, newest_event)),
        ?assertMatch([_ | _], threads(os:getpid())),
        ok = ?NIF:close_database(Database)
    end),
    no_threads(OsPid).

a_database_that_nobody_refers_to_is_closed(Config) ->
    Url = ?config(url, Config),
    OsPid = on_peer(Config, fun os:getpid/0),
    on_peer(Config, fun() ->
        {_, Monitor} = spawn_monitor(fun() ->
            {ok, Database} = open(Url),
            {ok, nil} = ask(Database, newest_event),
            [_ | _] = threads(OsPid),
            %% Until here it is referred to.
            {ok, nil} = ask(Database, newest_event),
            exit(ended)
        end),
        receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(ended, Reason) end
    end),
    no_threads(OsPid).

%% Options

options_out_of_range_are_refused(Config) ->
    Url = ?config(url, Config),
    on_peer(Config, fun() ->
        [?assertMatch({_, {error, {bad_database_option, <<_, _/binary>>}}},
                      {Options, open(Url, Options)})
         || Options <- [#{max_connections => 0}, #{max_connections => 101},
                        #{max_connections => 16#ffffffff}, #{query_timeout => 0},
                        #{max_connections => -1}, #{max_connections => 1 bsl 70},
                        #{query_timeout => -1}, #{query_timeout => 1 bsl 70},
                        #{query_timeout => 3600001}, #{query_timeout => 16#ffffffffffffffff},
                        #{idle_timeout => 0}, #{idle_timeout => 3600001}]],
        [?assertMatch({_, {ok, _}}, {Options, open(Url, Options)})
         || Options <- [#{max_connections => 1}, #{max_connections => 100},
                        #{query_timeout => 1}, #{query_timeout => 3600000}]],
        [?assertError(badarg, open(Url, Options))
         || Options <- [#{max_connections => many}, #{query_timeout => 1.0}, #{url => undefined}]]
    end).

no_error_of_opening_shows_a_password(Config) ->
    on_peer(Config, fun() ->
        Login = "domains:" ++ ?PASSWORD,
        [begin
             {error, {Reason, Text}} = open(Url),
             shows_no_password(Url, {Reason, Text})
         end || Url <- ["postgres://" ++ Login ++ "@localhost:port/db",
                        "postgres://" ++ Login ++ "@localhost:123456/db",
                        "postgres://" ++ Login ++ "@[::1/db",
                        "postgres://" ++ Login ++ "@local host/db",
                        "postgres://" ++ Login ++ "%ff@localhost/db",
                        "postgres://" ++ Login ++ "@localhost/db?unknown=1",
                        "postgres://" ++ Login ++ "@localhost/db?sslmode=unknown",
                        "postgres://localhost/db?unknown=1&password=" ++ ?PASSWORD,
                        "postgres//" ++ Login ++ "@localhost/db",
                        "mysql://" ++ Login ++ "@localhost",
                        "mysql://" ++ Login ++ "@localhost:port/db",
                        "mariadb://" ++ Login ++ "@localhost/db?unknown=1",
                        "oracle://" ++ Login ++ "@localhost/db",
                        Login ++ "@localhost/db",
                        "sqlite::memory:?password=" ++ ?PASSWORD]]
    end).

no_error_of_a_request_shows_a_password(Config) ->
    [begin
         Server = db_helper:init_database(Kind, Config),
         Failures = failures_of_wrong_urls(?config(server_url, Server), Config),
         db_helper:end_database(Server),
         ?assertEqual([access_denied, access_denied, access_denied, missing_tables,
                       database_unavailable, database_unavailable], Failures)
     end || Kind <- [postgres, mysql]].

failures_of_wrong_urls(Good, Config) ->
    Login = "domains:" ++ ?PASSWORD,
    Replaced = fun(From, To) -> lists:flatten(string:replace(Good, From, To)) end,
    Wrong = Replaced("domains:secret@", Login ++ "@"),
    Stranger = Replaced("domains:secret@", "stranger:" ++ ?PASSWORD ++ "@"),
    NoDatabase = Good ++ "_absent",
    [Scheme, _] = string:split(Good, ":"),
    Nowhere = [Scheme ++ "://" ++ Login ++ "@" ++ Host ++ "/db"
               || Host <- ["127.0.0.1:1", "nowhere.invalid"]],
    on_peer(Config, fun() ->
        [begin
             {ok, Database} = open(Url, #{query_timeout => Timeout}),
             {error, Failure} = ask(Database, newest_event),
             shows_no_password(Url, Failure),
             element(1, Failure)
         end || {Urls, Timeout} <- [{[Wrong, Stranger, NoDatabase, Good], 60000}, {Nowhere, 500}],
                Url <- Urls]
    end).

%% Batches

bulk_changes_are_told_by_the_core_once_and_in_order(Config) ->
    Url = ?config(url, Config),
    Domains = [iolist_to_binary(["d", integer_to_list(N)]) || N <- lists:seq(1, 25)],
    on_peer(Config, fun() ->
        start_core(),
        {ok, Database} = open(Url),
        [{ok, inserted} = ask(Database, {insert_domain, D, ?T1}) || D <- Domains],
        %% Not of the database: the load removes it.
        ok = ?CORE:insert(<<"stray">>, ?T1, other_source),
        capture_hooks(),
        Core = whereis(?CORE),
        Following = follower(Database),
        ok = ping(Following),
        Gone = {error, not_found},
        Loaded = [{add_domain, ?T1, D, Core, {ok, ?T1}} || D <- Domains],
        Swept = [{maybe_remove_domain, ?T1, <<"stray">>, Core, Gone},
                 {remove_domain, ?T1, <<"stray">>, Core, Gone}],
        Told = told(),
        ?assertEqual(Swept, [Call || Call <- Told, element(3, Call) =:= <<"stray">>]),
        ?assertEqual(lists:sort(Loaded), lists:sort(Told -- Swept)),
        %% A load that finds the same again tells nothing.
        ok = ?NIF:forget_position(),
        ok = check(Following),
        ?assertEqual([], told()),
        [First, Second | _] = Domains,
        {ok, done} = ask(Database, {disable_domain, First}),
        ok = check(Following),
        ?assertEqual([{maybe_remove_domain, ?T1, First, Core, Gone},
                      {remove_domain, ?T1, First, Core, Gone}], told()),
        "" = db_helper:sql(Url, ["UPDATE domain_settings SET host_type = 'type2' ",
                                 "WHERE domain = '", Second, "'; ",
                                 "INSERT INTO domain_events (domain) VALUES ('", Second, "');"]),
        ok = check(Following),
        ?assertMatch([{maybe_remove_domain, ?T1, Second, Core, _},
                      {remove_domain, ?T1, Second, Core, _},
                      {add_domain, ?T2, Second, Core, {ok, ?T2}}], told())
    end).

%% One event per kind, with a count and the first ten domains.
rows_that_are_ignored_are_logged_once_per_kind(Config) ->
    Url = ?config(url, Config),
    Numbered = [{N, iolist_to_binary(["static", integer_to_list(N)])} || N <- lists:seq(1, 26)],
    Statics = [{Domain, ?T1} || {_, Domain} <- Numbered],
    fill(Url, 12),
    InDb = fun(N) when N =< 11 -> ?T1; (_) -> ?T2 end,
    "" = db_helper:sql(Url, [["INSERT INTO domain_settings (domain, host_type) VALUES ('", D,
                              "', '", InDb(N), "');"] || {N, D} <- Numbered]),
    "" = db_helper:sql(Url, "UPDATE domain_settings SET host_type = 'unknown' "
                            "WHERE domain LIKE 'many%'"),
    on_peer(Config, fun() ->
        ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}, level => all}),
        {ok, _} = node_helper:start_standalone(#{database => Url, static_domains => Statics}),
        pong = service_domain_db:sync_local(),
        ?assertEqual(lists:sort(Statics), lists:sort(?CORE:get_all_static())),
        ?assertEqual([], ?CORE:get_all_dynamic()),
        Logged = logged(),
        [begin
             ?assertMatch({_, [#{count := Count}]}, {What, [R || #{what := W} = R <- Logged,
                                                                 W =:= What]}),
             [#{domains := Some}] = [R || #{what := W} = R <- Logged, W =:= What],
             ?assertEqual(10, length(lists:usort(Some)))
         end || {What, Count} <- [{domain_static_but_in_db, 11},
                                  {ignore_domain_from_db_with_different_host_type, 15},
                                  {ignore_domain_from_db_with_unknown_host_type, 12}]],
        [#{core_host_type := OfCore, db_host_type := OfDb}] =
            [R || #{what := ignore_domain_from_db_with_different_host_type} = R <- Logged],
        ?assertEqual({[?T1], [?T2]}, {lists:usort(OfCore), lists:usort(OfDb)}),
        %% It was in the database, and is no more.
        {Static, _} = hd(Statics),
        "" = db_helper:sql(Url, ["DELETE FROM domain_settings WHERE domain = '", Static,
                                 "'; INSERT INTO domain_events (domain) VALUES ('", Static,
                                 "');"]),
        service_domain_db:force_check_for_updates(),
        pong = service_domain_db:sync_local(),
        ?assertMatch([#{what := domain_static_but_was_in_db, count := 1, domains := [Static]}],
                     [R || #{what := W, count := _} = R <- logged(), is_atom(W)]),
        ?assertEqual({ok, ?T1}, ?CORE:get_host_type(Static))
    end).

%% Helpers: nodes

start_peer() ->
    Paths = [Path || Path <- code:get_path(), string:find(Path, "_build") =/= nomatch],
    {ok, Peer, _Node} = peer:start(#{name => test_helper:data_name(nif), connection => standard_io,
                                     wait_boot => 60000, args => ["-pa" | Paths]}),
    Peer.

stop_peer(Peer) ->
    test_helper:attempt(fun() -> peer:stop(Peer) end).

%% Runs there, in a process of its own.
on_peer(Config, Fun) ->
    peer:call(?config(peer, Config), erlang, apply, [Fun, []], 600000).

%% Linked to the process of the case there.
start_core() ->
    {ok, _} = ?SUP:start_link([{<<"static.example">>, ?T1}], [?T1, ?T2]),
    ok.

%% Helpers: databases

open(Url) ->
    open(Url, #{}).

open(Url, Options) ->
    Defaults = #{url => iolist_to_binary(Url), max_connections => 2, query_timeout => 60000,
                 idle_timeout => 60000},
    ?NIF:open_database(maps:merge(Defaults, Options)).

send(Database, Request) ->
    Ref = make_ref(),
    ok = ?NIF:request(Database, Request, Ref),
    Ref.

ask(Database, Request) ->
    final(send(Database, Request)).

%% The final reply. Batches are left alone.
final(Ref) ->
    receive
        {?NIF, Ref, {Class, _} = Reply} when Class =:= ok; Class =:= error -> Reply
    after ?WAIT ->
        error({no_answer, process_info(self(), messages)})
    end.

%% A follower with this database, as its process starts it, and what its messages are marked with.
follower(Database) ->
    Ref = make_ref(),
    {ok, Follower} = ?NIF:start_follower(#{max_age => ?MAX_AGE, audit_interval => 86400}, Ref),
    receive {?NIF, Ref, open} -> ok after ?WAIT -> error(no_open) end,
    ok = ?NIF:send_to_follower(Follower, {opened, Database, 30000}),
    {Follower, Ref}.

%% Another check, to its end.
check({Follower, _Ref} = Following) ->
    ok = ?NIF:send_to_follower(Follower, check_for_updates),
    ping(Following).

%% Does what the follower asks for, until what was requested is done.
ping({Follower, _Ref} = Following) ->
    ok = ?NIF:send_to_follower(Follower, {ping, self()}),
    [{pong, Self}] = answers(1, Following),
    ?assertEqual(self(), Self).

%% The next answers, and to whom.
answers(0, _Following) ->
    [];
answers(Count, {_Follower, Ref} = Following) ->
    receive
        {?NIF, Ref, {apply, Batch}} -> apply_batch(Batch, Following), answers(Count, Following);
        {?NIF, Ref, {answer, From, Answer}} -> [{Answer, From} | answers(Count - 1, Following)]
    after ?WAIT ->
        error({no_answer, process_info(self(), messages)})
    end.

apply_batch(Batch, {Follower, _Ref}) ->
    ok = ?CORE:apply_batch(Batch),
    ?NIF:send_to_follower(Follower, {applied, done}).

%% What it logs of its first check that fails.
check_failed({_Follower, Ref}) ->
    receive {?NIF, Ref, {log, error, #{what := domain_check_failed} = Report}} -> Report
    after ?WAIT -> error(no_failure)
    end.

%% A load that waits for its first batches to be applied; with the first of them that has rows. (Of
%% 20 that it is to make: it does not make the last ones before the first ones are applied.)
waiting_load(Database) ->
    {Follower, Ref} = Following = follower(Database),
    ok = apply_batch(next_batch(Following), Following),
    {Follower, Ref, next_batch(Following)}.

next_batch({_Follower, Ref}) ->
    receive {?NIF, Ref, {apply, Batch}} -> Batch after ?WAIT -> error(no_batch) end.

without_follower({_Follower, Ref, _Batch}) ->
    Ref.

%% When the threads are gone, nobody can send any more.
no_more_messages() ->
    no_threads(os:getpid()),
    receive
        {?NIF, _, {Class, _} = Reply} when Class =:= ok; Class =:= error ->
            error({one_too_many, Reply})
    after 0 ->
        ok
    end.

%% A database with this many domains.
fill(Url, Count) ->
    {ok, Schema} = file:read_file(filename:join(schema_dir(), "sqlite.sql")),
    "" = db_helper:sql(Url, [Schema,
                             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
                             "WHERE i < ", integer_to_list(Count), ") "
                             "INSERT INTO domain_settings (domain, host_type) "
                             "SELECT 'many' || i, 'type1' FROM n;"]).

schema_dir() ->
    filename:join(code:priv_dir(mongoose_domain_native), "schema").

%% Helpers: threads

%% The names of our threads in a process of the operating system.
threads(OsPid) ->
    Files = filelib:wildcard(filename:join(["/proc", OsPid, "task", "*", "comm"])),
    [Name || File <- Files, {ok, Name} <- [file:read_file(File)],
             string:prefix(Name, "domain-") =/= nomatch orelse
                 string:prefix(Name, "sqlx") =/= nomatch].

no_threads(OsPid) ->
    test_helper:wait_until(fun() ->
        case threads(OsPid) of
            [] -> true;
            Threads -> Threads
        end
    end).

%% Helpers: the module under load

start_reader() ->
    Count = counters:new(1, []),
    Pid = spawn_link(fun() -> read_on(Count) end),
    test_helper:wait_until(fun() -> counters:get(Count, 1) > 0 end),
    Pid.

%% A miss or a crash ends it, and with it the case.
read_on(Count) ->
    {ok, ?T1} = ?CORE:get_host_type(?D),
    {error, not_found} = ?CORE:get_host_type(<<"absent.example">>),
    [{?D, ?T1}] = ?CORE:get_all_dynamic(),
    counters:add(Count, 1, 1),
    receive stop -> ok after 0 -> read_on(Count) end.

stop_reader(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end.

table_is_there() ->
    ?assertEqual({ok, ?T1}, ?CORE:get_host_type(?D)),
    ?assertEqual([{?D, ?T1}], ?CORE:get_all_dynamic()),
    ?assertEqual({error, bad_insert}, ?CORE:insert(?D, ?T2, source)),
    ?assertEqual(ok, ?CORE:insert(<<"b.example">>, ?T2, source)),
    ?assertEqual({ok, ?T2}, ?CORE:get_host_type(<<"b.example">>)).

%% Helpers: hooks and logs

capture_hooks() ->
    Case = self(),
    [begin
         test_helper:attempt(fun() -> meck:new(Module, [non_strict, no_link]) end),
         Tell = fun(HostType, Domain) ->
                    Routes = ?CORE:get_host_type(Domain),
                    Case ! {told, {Function, HostType, Domain, self(), Routes}}
                end,
         ok = meck:expect(Module, Function, Tell)
     end || {Module, Function} <- [{mongoose_subdomain_core, add_domain},
                                   {mongoose_subdomain_core, remove_domain},
                                   {mongoose_lazy_routing, maybe_remove_domain}]],
    ok.

told() ->
    receive {told, Call} -> [Call | told()] after 0 -> [] end.

log(#{msg := {report, #{what := _} = Report}}, #{config := #{to := Case}}) ->
    Case ! {logged, Report},
    ok;
log(_Event, _Config) ->
    ok.

logged() ->
    receive {logged, Report} -> [Report | logged()] after 0 -> [] end.

shows_no_password(Url, Failure) ->
    {Reason, <<_, _/binary>> = Text} = Failure,
    true = is_atom(Reason),
    [?assertEqual({Url, Text, nomatch}, {Url, Text, string:find(Text, Password)})
     || Password <- [?PASSWORD, "secret"]].

%% Helpers: random calls. What exists only on the node there (resources, pids, …) is named by an
%% atom or a tagged tuple here and put in its place there.

args(Function, Arity) ->
    Anything = [anything() || _ <- lists:seq(1, Arity)],
    case fitting(Function) of
        Fitting when length(Fitting) =:= Arity ->
            frequency([{1, Anything},
                       {2, Fitting},
                       {3, [frequency([{2, Type}, {1, anything()}]) || Type <- Fitting]}]);
        _ ->
            Anything
    end.

%% Types of arguments that go further than the first check.
fitting(start_table) -> [pairs(), names(), anything()];
fitting(check_start_args) -> [pairs(), names()];
fitting(insert) -> [name(), name(), anything()];
fitting(open_database) -> [options()];
fitting(close_database) -> ['$database'];
fitting(request) -> ['$database', request(), '$ref'];
fitting(start_follower) ->
    [{'$map', [{max_age, number()}, {audit_interval, number()}]}, '$ref'];
fitting(send_to_follower) ->
    ['$follower', oneof([check_for_updates, restart_requested, restart_without_effect,
                         {oneof([ping, verify, await_first_load]), anything()},
                         {opened, '$database', number()}, {not_opened, {timeout, name()}},
                         {applied, oneof([done, table_replaced, no_table])}])];
fitting(stop_follower) -> ['$follower'];
fitting(count_error) -> [oneof([timeout, '', query_failed]), binary()];
fitting(apply_batch) -> ['$batch', number()];
fitting(pending) -> [oneof([all, number()]), number(), oneof([all, colliding])];
fitting(keep) -> [anything()];
fitting(start_subdomains) -> [anything()];
fitting(register_pattern) -> [name(), pattern(), anything()];
fitting(unregister_pattern) -> [name(), pattern()];
fitting(Function) when Function =:= subdomain_host_type; Function =:= subdomain_info;
                       Function =:= subdomains_of ->
    [oneof([name(), no_parent_domain, <<"muc.a.example">>, '$huge'])];
fitting(Function) when Function =:= made_subdomains; Function =:= collides ->
    [name(), name()];
fitting(colliding_domains) -> [name(), oneof([<<"muc.">>, name()])];
fitting(domains_and_transitions) -> [name()];
fitting(get_all_outdated) -> [anything()];
fitting(Function) when Function =:= check_name; Function =:= get_host_type;
                       Function =:= prepare_name; Function =:= is_prepared;
                       Function =:= is_static; Function =:= is_host_type_allowed;
                       Function =:= get_domains_by_host_type; Function =:= delete -> [name()];
fitting(_Function) -> [].

anything() ->
    frequency([{3, resize(8, any())},
               {1, binary()},
               {1, number()},
               {2, oneof(['$database', '$follower', '$batch', '$ref', '$pid', '$port', '$fun',
                          '$external', '$huge', '$deep'])},
               {1, {'$improper', resize(5, list(any())), oneof([tail, <<"tail">>, '$ref'])}},
               {1, {'$improper', [{?D, ?T1}], {?D, ?T1}}},
               {1, {'$map', resize(5, list({oneof([any(), '$ref']), oneof([any(), '$batch'])}))}},
               {1, oneof([<<1:1>>, <<0>>, <<255, 254>>, [], {}, -0.0, ok, undefined])},
               {1, ['$ref', {'$pid', '$follower'}, '$fun', oneof([[], '$database'])]}]).

name() ->
    frequency([{3, oneof([?D, ?T1, ?T2])}, {2, binary()}, {1, oneof([<<>>, <<0>>, '$huge'])}]).

pattern() ->
    {oneof([prefix, fqdn, anything()]), oneof([<<"muc.">>, <<"muc.a.example">>, name()])}.

pairs() ->
    oneof([[{<<"static">>, ?T2}, {?D, ?T1}], list({name(), name()})]).

names() ->
    oneof([[?T1, ?T2], list(name())]).

number() ->
    frequency([{2, integer()},
               {1, oneof([0, 1, -1, 1 bsl 31, 1 bsl 32, 1 bsl 63, (1 bsl 64) - 1, 1 bsl 64,
                          -(1 bsl 63), -(1 bsl 63) - 1, 1 bsl 3000, 1.0, 1.0e308])}]).

options() ->
    Url = oneof(['$url', binary(), <<"sqlite:">>, <<"sqlite::memory:">>, <<"postgres://">>,
                 <<"postgres://u:p@127.0.0.1:1/d">>, <<"mysql://d">>, <<"sqlite:\0">>, '$huge']),
    Tls = {'$map', [{mode, oneof([off, preferred, verify_full, name()])}, {ca, name()},
                    {client, oneof([name(), {name(), {oneof([file, pem]), name()}}])}]},
    Server = [{driver, oneof([postgres, mysql, oracle])}, {host, name()}, {port, number()},
              {database, name()}, {username, name()}, {password, name()}, {tls, Tls}],
    Limits = [{max_connections, number()}, {query_timeout, number()}, {idle_timeout, number()}],
    oneof([{'$map', [{url, Url} | Limits]}, {'$map', Server ++ Limits}]).

request() ->
    Named = [{Function, name()} || Function <- [enable_domain, disable_domain, select_domain]]
            ++ [{Function, name(), name()} || Function <- [insert_domain, mark_deleting,
                                                           delete_domain]],
    oneof([create_schema, newest_event, missing_index,
           {select_page, oneof([any, enabled, deleting, other]), number(), number()},
           {delete_events_below, number(), number()} | Named]).

%% There: makes the calls, and returns how many when everything still works.
survive(Calls, Url) ->
    Things = things(Url),
    [test_helper:attempt(fun() -> apply(?NIF, Function, replace(Args, Things)) end)
     || {Function, Args} <- Calls],
    %% A table.
    fresh = ?NIF:start_table([{<<"static">>, ?T2}], [?T1], make_ref()),
    inserted = ?NIF:insert(?D, ?T1, source),
    {ok, ?T1} = ?NIF:get_host_type(?D),
    {ok, ?T2} = ?NIF:get_host_type(<<"static">>),
    [{?D, ?T1}] = ?NIF:get_all_outdated(other),
    2 = ?NIF:domains_count(),
    %% A database, and the load of it.
    {ok, Database} = open(Url),
    {ok, _} = ask(Database, newest_event),
    {Follower, Ref} = follower(Database),
    ok = ?NIF:send_to_follower(Follower, {ping, survived}),
    ok = load(Follower, Ref),
    ok = ?NIF:stop_follower(Follower),
    ok = ?NIF:close_database(Database),
    ok = ?NIF:close_database(maps:get('$database', Things)),
    length(Calls).

load(Follower, Ref) ->
    receive
        {?NIF, Ref, {apply, Batch}} ->
            done = ?NIF:apply_batch(Batch, 10000),
            ok = ?NIF:send_to_follower(Follower, {applied, done}),
            load(Follower, Ref);
        {?NIF, Ref, {answer, survived, pong}} ->
            ok
    after ?WAIT ->
        error(no_answer)
    end.

things(Url) ->
    fresh = ?NIF:start_table([{<<"static">>, ?T1}], [?T1, ?T2], make_ref()),
    {ok, Database} = open(Url),
    %% One is there; it may be disabled or marked for deletion.
    {ok, _} = ask(Database, {insert_domain, ?D, ?T1}),
    {Follower, Ref} = Following = follower(Database),
    Batch = next_batch(Following),
    #{'$database' => Database, '$follower' => Follower, '$batch' => Batch, '$ref' => Ref,
      '$pid' => self(),
      '$port' => hd(erlang:ports()), '$fun' => fun() -> Ref end, '$external' => fun lists:map/2,
      '$url' => iolist_to_binary(Url), '$huge' => binary:copy(<<"huge">>, 1000000),
      '$deep' => lists:foldl(fun(N, Deep) -> [{N, Deep}] end, [], lists:seq(1, 100000))}.

replace(Thing, Things) when is_map_key(Thing, Things) ->
    maps:get(Thing, Things);
replace({'$improper', List, Tail}, Things) ->
    replace(List, Things) ++ replace(Tail, Things);
replace({'$map', Pairs}, Things) ->
    maps:from_list(replace(Pairs, Things));
replace([Head | Tail], Things) ->
    [replace(Head, Things) | replace(Tail, Things)];
replace(Tuple, Things) when is_tuple(Tuple) ->
    list_to_tuple(replace(tuple_to_list(Tuple), Things));
replace(Term, _Things) ->
    Term.
