%% @doc Section 2 of the contract: the database service of one node, on every kind of database.
-module(service_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(D, <<"a.example">>).
-define(STATIC, <<"static.example">>).
-define(T1, <<"type1">>).
-define(T2, <<"type2">>).

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    [config_spec_is_a_section_of_mongooseim | db_helper:databases()].

groups() ->
    Cases = [start_starts_the_sql_then_the_process_then_the_cleaner,
             stop_stops_the_cleaner_and_deletes_the_process,
             it_can_be_stopped_and_started_again,
             the_process_is_a_permanent_child_that_may_take_its_time_to_stop,
             it_joins_the_group_of_the_cluster,
             enabled_is_what_mongoose_service_says,
             a_change_arrives_with_check_for_updates,
             a_ping_is_answered_when_the_checks_before_it_are_done,
             many_messages_collapse_into_one_check,
             unknown_messages_are_logged_and_ignored,
             restart_loads_everything_and_removes_what_is_gone,
             restart_stops_the_process_with_reason_shutdown,
             sync_local_goes_over_a_restart,
             a_crash_of_the_service_goes_on_from_the_position,
             a_clean_restart_of_the_core_loads_at_once,
             a_crash_of_the_core_keeps_the_table_and_goes_on,
             a_log_that_went_backwards_calls_restart_by_name_and_goes_on_serving,
             an_out_of_date_node_reloads_and_writes_nothing,
             another_host_type_is_a_removal_and_an_addition,
             the_hooks_of_a_load_come_from_the_core_once_per_domain,
             domains_of_others_are_left_alone_but_not_by_a_reload,
             only_enabled_rows_of_allowed_host_types_route,
             static_domains_win_and_are_logged_once_per_kind,
             unknown_host_types_are_logged_with_a_count_and_the_first_ten,
             a_missing_id_is_settled_by_a_dummy,
             a_core_that_is_killed_while_it_tells_leaves_the_rest_to_its_successor,
             what_a_killed_core_left_is_notified_at_the_end_of_a_check,
             verify_finds_nothing_wrong_with_a_table_that_follows,
             verify_finds_what_changed_without_an_event_and_heals_it,
             verify_leaves_the_domains_of_others_alone,
             verify_knows_pending_events_from_differences,
             audits_run_by_themselves,
             a_restart_without_effect_leaves_the_differences_for_the_next_check,
             status_says_how_the_node_follows,
             the_start_returns_when_the_domains_route,
             a_missing_index_is_noticed_at_the_start_with_its_statement],
    %% The same on every database; the second takes 30 s.
    Once = #{postgres => [a_load_does_not_flood_who_is_notified,
                          the_table_is_full_before_others_are_notified_and_a_ping_waits_for_both,
                          without_messages_it_checks_by_itself,
                          the_start_returns_when_the_first_attempt_fails,
                          the_start_does_not_wait_longer_than_it_is_told],
             mysql => [the_start_returns_when_the_first_attempt_fails]},
    [{Kind, [], Cases ++ maps:get(Kind, Once, [])} || {group, Kind} <- db_helper:databases()].

init_per_testcase(config_spec_is_a_section_of_mongooseim, Config) ->
    Config;
init_per_testcase(_Case, Config) ->
    log_helper:capture_logs(),
    {ok, _} = node_helper:start_standalone(#{database => ?config(url, Config)}),
    pong = service_domain_db:sync_local(),
    Config.

end_per_testcase(_Case, _Config) ->
    test_helper:attempt(fun() -> meck:unload() end),
    node_helper:stop_standalone(),
    log_helper:release_logs().

%% Cases

config_spec_is_a_section_of_mongooseim(_Config) ->
    {section, Items, any, [], any, map, [], Defaults, default, when_present} =
        service_domain_db:config_spec(),
    Positive = {option, integer, positive, [], default},
    ?assertEqual(#{<<"db_pool">> => {option, atom, pool_name, [], default},
                   <<"event_cleaning_interval">> => Positive,
                   <<"event_max_age">> => Positive,
                   <<"audit_interval">> => Positive,
                   <<"max_connections">> => Positive,
                   <<"initial_load_timeout">> => Positive,
                   <<"http">> => http_section()}, Items),
    ?assertEqual(#{<<"db_pool">> => global, <<"event_cleaning_interval">> => 1800,
                   <<"event_max_age">> => 7200, <<"audit_interval">> => 300,
                   <<"max_connections">> => 2, <<"initial_load_timeout">> => 10}, Defaults).

%% It is not there unless it is written.
http_section() ->
    Text = {option, binary, any, [], default},
    Secret = {option, binary, any, fun mongoose_domain_secret:wrap/1, default},
    {section, #{<<"ip_address">> => Text, <<"port">> => {option, integer, any, [], default},
                <<"username">> => Text, <<"password">> => Secret, <<"password_file">> => Text,
                <<"memory_limit">> => {option, integer, positive, [], default},
                <<"tls">> => {section, #{<<"certfile">> => Text, <<"keyfile">> => Text}, any,
                              [<<"certfile">>, <<"keyfile">>], any, map, [], #{}, default,
                              when_present}},
     any, [], any, map, [], #{}, default, when_present}.

start_starts_the_sql_then_the_process_then_the_cleaner(_Config) ->
    %% It uses the SQL, too, and would be killed in the middle of replaced code.
    node_helper:remover_done(),
    ok = service_domain_db:stop(),
    ok = meck:new([mongoose_domain_sql, mongoose_domain_db_cleaner], [passthrough]),
    Running = fun() -> is_pid(whereis(service_domain_db)) end,
    Self = self(),
    Note = fun(What) ->
               fun(Opts) -> Self ! {What, Opts, Running()}, meck:passthrough([Opts]) end
           end,
    ok = meck:expect(mongoose_domain_sql, start, Note(sql)),
    ok = meck:expect(mongoose_domain_db_cleaner, start, Note(cleaner)),
    ok = service_domain_db:start(opts()),
    ?assertEqual([{sql, opts(), false}, {cleaner, opts(), true}], flush()).

stop_stops_the_cleaner_and_deletes_the_process(_Config) ->
    ok = service_domain_db:stop(),
    ?assertEqual(undefined, whereis(service_domain_db)),
    ?assertEqual(undefined, whereis(mongoose_domain_db_cleaner)),
    ?assertMatch({error, not_found}, supervisor:get_childspec(ejabberd_sup, service_domain_db)),
    ?assertEqual([], pg:get_members(mim_scope, service_domain_db_group)).

it_can_be_stopped_and_started_again(_Config) ->
    insert(?D, ?T1),
    [begin
         ok = service_domain_db:stop(),
         ?assertEqual({ok, ?T1}, host_type(?D)),
         ok = service_domain_db:start(opts()),
         pong = service_domain_db:sync_local()
     end || _ <- lists:seq(1, 5)],
    ?assertEqual({ok, ?T1}, host_type(?D)).

the_process_is_a_permanent_child_that_may_take_its_time_to_stop(_Config) ->
    {ok, Spec} = supervisor:get_childspec(ejabberd_sup, service_domain_db),
    ?assertMatch(#{start := {service_domain_db, start_link, []}, restart := permanent,
                   shutdown := infinity, type := worker, modules := [service_domain_db]}, Spec).

it_joins_the_group_of_the_cluster(_Config) ->
    ?assertEqual([whereis(service_domain_db)],
                 pg:get_local_members(mim_scope, service_domain_db_group)).

enabled_is_what_mongoose_service_says(_Config) ->
    ?assert(service_domain_db:enabled()),
    ok = meck:new(mongoose_service, [non_strict]),
    ok = meck:expect(mongoose_service, is_loaded, fun(service_domain_db) -> false end),
    ?assertNot(service_domain_db:enabled()).

a_change_arrives_with_check_for_updates(Config) ->
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('a.example', 'type1');",
                 "INSERT INTO domain_events (domain) VALUES ('a.example');"]),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(?D)).

a_ping_is_answered_when_the_checks_before_it_are_done(Config) ->
    Service = whereis(service_domain_db),
    [begin
         Domain = <<"d", (integer_to_binary(N))/binary, ".example">>,
         sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('", Domain,
                      "', 'type1'); INSERT INTO domain_events (domain) VALUES ('", Domain, "');"]),
         %% One check may run already, from before the write.
         [Service ! check_for_updates || _ <- lists:seq(1, 1 + N rem 3)],
         pong = service_domain_db:ping(Service),
         ?assertEqual({ok, ?T1}, host_type(Domain))
     end || N <- lists:seq(1, 30)].

many_messages_collapse_into_one_check(_Config) ->
    Service = whereis(service_domain_db),
    pong = service_domain_db:ping(Service),
    #{checks := Before} = service_domain_db:status(),
    ok = sys:suspend(Service),
    [Service ! check_for_updates || _ <- lists:seq(1, 1000)],
    ok = sys:resume(Service),
    pong = service_domain_db:ping(Service),
    #{checks := After} = service_domain_db:status(),
    ?assert(After - Before >= 1 andalso After - Before =< 3).

without_messages_it_checks_by_itself(Config) ->
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('a.example', 'type1');",
                 "INSERT INTO domain_events (domain) VALUES ('a.example');"]),
    %% After 30 s.
    test_helper:wait_until(fun() -> host_type(?D) =:= {ok, ?T1} end, 120000).

unknown_messages_are_logged_and_ignored(_Config) ->
    Service = whereis(service_domain_db),
    Service ! hello,
    gen_server:cast(Service, hello),
    ok = gen_server:call(Service, hello),
    pong = service_domain_db:ping(Service),
    [?assertMatch([#{level := warning}], log_helper:logged(What))
     || What <- [unexpected_message, unexpected_cast, unexpected_call]].

restart_loads_everything_and_removes_what_is_gone(Config) ->
    insert(?D, ?T1),
    insert(<<"stays.example">>, ?T1),
    %% Without an event: only a reload can notice.
    sql(Config, "DELETE FROM domain_settings WHERE domain = 'a.example'"),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(?D)),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    ?assertEqual({error, not_found}, host_type(?D)),
    ?assertEqual({ok, ?T1}, host_type(<<"stays.example">>)).

restart_stops_the_process_with_reason_shutdown(_Config) ->
    Service = whereis(service_domain_db),
    Monitor = monitor(process, Service),
    ok = service_domain_db:restart(),
    receive {'DOWN', Monitor, process, Service, Reason} -> ?assertEqual(shutdown, Reason) end,
    test_helper:wait_until(fun() -> is_pid(whereis(service_domain_db)) end).

sync_local_goes_over_a_restart(_Config) ->
    [begin
         ok = service_domain_db:restart(),
         pong = service_domain_db:sync_local()
     end || _ <- lists:seq(1, 5)].

a_crash_of_the_service_goes_on_from_the_position(Config) ->
    insert(?D, ?T1),
    insert(<<"b.example">>, ?T1),
    Loads = length(log_helper:logged(domains_loaded)),
    ok = sys:suspend(service_domain_db),
    %% One change without an event, which only a load would see, and one with.
    sql(Config, ["DELETE FROM domain_settings WHERE domain = 'a.example';",
                 "DELETE FROM domain_settings WHERE domain = 'b.example';",
                 "INSERT INTO domain_events (domain) VALUES ('b.example');"]),
    kill(service_domain_db),
    pong = service_domain_db:sync_local(),
    ?assertEqual({error, not_found}, host_type(<<"b.example">>)),
    ?assertEqual({ok, ?T1}, host_type(?D)),
    ?assertEqual(Loads, length(log_helper:logged(domains_loaded))).

a_clean_restart_of_the_core_loads_at_once(_Config) ->
    insert(?D, ?T1),
    Args = mongoose_domain_core:get_start_args(),
    {ok, _} = mongoose_domain_sup:restart_core(Args),
    %% When the core has begun to serve, it has asked for the load.
    _ = sys:get_state(mongoose_domain_core),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(?D)),
    {ok, _} = mongoose_domain_sup:restart_core([[{<<"other.example">>, ?T1}], [?T2]]),
    _ = sys:get_state(mongoose_domain_core),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{<<"other.example">>, ?T1}], mongoose_domain_core:get_all_static()),
    ?assertEqual([], mongoose_domain_core:get_all_dynamic()).

a_crash_of_the_core_keeps_the_table_and_goes_on(_Config) ->
    insert(?D, ?T1),
    Loads = length(log_helper:logged(domains_loaded)),
    kill(mongoose_domain_core),
    ?assertEqual({ok, ?T1}, host_type(?D)),
    insert(<<"b.example">>, ?T1),
    ?assertEqual(Loads, length(log_helper:logged(domains_loaded))).

a_log_that_went_backwards_calls_restart_by_name_and_goes_on_serving(Config) ->
    insert(?D, ?T1),
    Service = restart_without_effect(),
    sql(Config, ["DELETE FROM domain_settings; DELETE FROM domain_events;"]),
    [begin
         Service ! check_for_updates,
         pong = service_domain_db:ping(Service),
         ?assertEqual(Times, meck:num_calls(service_domain_db, restart, [])),
         ?assertEqual({ok, ?T1}, host_type(?D)),
         ?assertEqual("0", sql(Config, "SELECT COUNT(*) FROM domain_events"))
     end || Times <- [1, 2, 3]],
    ?assertEqual(Service, whereis(service_domain_db)),
    restart_with_effect(Service),
    Service ! check_for_updates,
    test_helper:wait_until(fun() -> host_type(?D) =:= {error, not_found} end),
    ?assertNotEqual(Service, whereis(service_domain_db)).

an_out_of_date_node_reloads_and_writes_nothing(Config) ->
    insert(?D, ?T1),
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('b.example', 'type1');",
                 "DELETE FROM domain_settings WHERE domain = 'a.example';",
                 "DELETE FROM domain_events;",
                 "INSERT INTO domain_events (id, domain) VALUES (50000, 'b.example');"]),
    ok = service_domain_db:force_check_for_updates(),
    %% The domains come first, and who is gone is swept after them.
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(<<"b.example">>)),
    ?assertEqual({error, not_found}, host_type(?D)),
    ?assertEqual("1", sql(Config, "SELECT COUNT(*) FROM domain_events")),
    ?assertMatch([#{reason := too_old}], log_helper:logged(domains_must_be_reloaded)).

another_host_type_is_a_removal_and_an_addition(Config) ->
    insert(?D, ?T1),
    witness_hooks(),
    sql(Config, ["UPDATE domain_settings SET host_type = 'type2';",
                 "INSERT INTO domain_events (domain) VALUES ('a.example');"]),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    Core = whereis(mongoose_domain_core),
    ?assertEqual([{Core, maybe_remove_domain, ?T1, ?D}, {Core, remove_domain, ?T1, ?D},
                  {Core, add_domain, ?T2, ?D}], flush()),
    ?assertEqual({ok, ?T2}, host_type(?D)).

the_hooks_of_a_load_come_from_the_core_once_per_domain(Config) ->
    Values = lists:join(",", [io_lib:format("('d~b.example', 'type1')", [N])
                              || N <- lists:seq(1, 2500)]),
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ", Values]),
    witness_hooks(),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    Core = whereis(mongoose_domain_core),
    Told = flush(),
    Expected = [{Core, add_domain, ?T1, iolist_to_binary(["d", integer_to_list(N), ".example"])}
                || N <- lists:seq(1, 2500)],
    ?assertEqual(lists:sort(Expected), lists:sort(Told)),
    %% A reload refreshes, and nobody is told.
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    ?assertEqual([], flush()).

a_load_does_not_flood_who_is_notified(Config) ->
    %% MongooseIM's process of this name, that takes its time with each message (I7).
    Longest = counters:new(1, []),
    Told = counters:new(1, []),
    Slow = spawn_link(fun Loop() ->
                          {message_queue_len, Length} = process_info(self(), message_queue_len),
                          Length > counters:get(Longest, 1)
                              andalso counters:put(Longest, 1, Length),
                          receive {add_domain, _Domain} -> counters:add(Told, 1, 1) end,
                          Until = erlang:monotonic_time(microsecond) + 20,
                          (fun Busy() ->
                               erlang:monotonic_time(microsecond) < Until andalso Busy()
                           end)(),
                          Loop()
                      end),
    in_place_of_ours(Slow),
    ok = meck:new(mongoose_subdomain_core, [non_strict, no_link]),
    ok = meck:expect(mongoose_subdomain_core, add_domain,
                     fun(_HostType, Domain) -> Slow ! {add_domain, Domain}, ok end),
    Count = 20000,
    "" = db_helper:fill(?config(url, Config), "d", ".example", Count),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    test_helper:wait_until(fun() -> counters:get(Told, 1) =:= Count end),
    %% A step of 500, what was left of the one before, and 200 that are notified at once.
    ?assert(counters:get(Longest, 1) =< 800),
    true = unlink(Slow),
    true = exit(Slow, kill).

in_place_of_ours(Process) ->
    true = unregister(mongoose_subdomain_core),
    true = register(mongoose_subdomain_core, Process).

the_table_is_full_before_others_are_notified_and_a_ping_waits_for_both(Config) ->
    %% MongooseIM's process of this name, that handles nothing until it is told to.
    Handled = counters:new(1, []),
    Waiting = spawn_link(fun() ->
                             receive go -> ok end,
                             (fun Loop() ->
                                  receive {add_domain, _Domain} -> counters:add(Handled, 1, 1) end,
                                  Loop()
                              end)()
                         end),
    in_place_of_ours(Waiting),
    ok = meck:new(mongoose_subdomain_core, [non_strict, no_link]),
    ok = meck:expect(mongoose_subdomain_core, add_domain,
                     fun(_HostType, Domain) -> Waiting ! {add_domain, Domain}, ok end),
    Count = 20000,
    Before = mongoose_domain_core:domains_count(),
    "" = db_helper:fill(?config(url, Config), "d", ".example", Count),
    ok = service_domain_db:restart(),
    {Pinging, Monitor} = spawn_monitor(fun() -> pong = service_domain_db:sync_local() end),
    test_helper:wait_until(fun() -> mongoose_domain_core:domains_count() =:= Before + Count end),
    ?assertEqual(0, counters:get(Handled, 1)),
    ?assert(is_process_alive(Pinging)),
    Waiting ! go,
    receive {'DOWN', Monitor, process, Pinging, Reason} -> ?assertEqual(normal, Reason) end,
    test_helper:wait_until(fun() -> counters:get(Handled, 1) =:= Count end),
    true = unlink(Waiting),
    true = exit(Waiting, kill).

what_a_killed_core_left_is_notified_at_the_end_of_a_check(_Config) ->
    %% As if it had been killed while its insertion ran on a dirty scheduler (I7).
    witness_hooks(),
    inserted = mongoose_domain_nif:insert(?D, ?T1, somebody),
    ?assertEqual([], flush()),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    Core = whereis(mongoose_domain_core),
    ?assertEqual([{Core, add_domain, ?T1, ?D}], flush()).

domains_of_others_are_left_alone_but_not_by_a_reload(_Config) ->
    ok = mongoose_domain_core:insert(<<"foreign.example">>, ?T1, somebody_else),
    insert(?D, ?T1),
    ?assertEqual({ok, ?T1}, host_type(<<"foreign.example">>)),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    ?assertEqual({error, not_found}, host_type(<<"foreign.example">>)),
    ?assertEqual({ok, ?T1}, host_type(?D)),
    ?assertEqual([], mongoose_domain_core:get_all_outdated(whereis(service_domain_db))).

only_enabled_rows_of_allowed_host_types_route(Config) ->
    sql(Config, ["INSERT INTO domain_settings (domain, host_type, status) VALUES ",
                 "('disabled.example', 'type1', 0), ('enabled.example', 'type1', 1), ",
                 "('deleting.example', 'nobody', 2), ('elsewhere.example', 'nobody', 1);"]),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{<<"enabled.example">>, ?T1}], mongoose_domain_core:get_all_dynamic()),
    sql(Config, ["UPDATE domain_settings SET status = 1 WHERE domain = 'disabled.example';",
                 "INSERT INTO domain_events (domain) VALUES ('disabled.example');",
                 "UPDATE domain_settings SET status = 0 WHERE domain = 'enabled.example';",
                 "INSERT INTO domain_events (domain) VALUES ('enabled.example');"]),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{<<"disabled.example">>, ?T1}], mongoose_domain_core:get_all_dynamic()).

static_domains_win_and_are_logged_once_per_kind(Config) ->
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ",
                 "('static.example', 'type1');"]),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    sql(Config, "UPDATE domain_settings SET host_type = 'type2';"),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(?STATIC)),
    ?assertMatch([#{level := warning, count := 1, domains := [?STATIC]}],
                 log_helper:logged(domain_static_but_in_db)),
    ?assertMatch([#{level := warning, count := 1, core_host_type := [?T1], db_host_type := [?T2]}],
                 log_helper:logged(ignore_domain_from_db_with_different_host_type)),
    sql(Config, ["DELETE FROM domain_settings;",
                 "INSERT INTO domain_events (domain) VALUES ('static.example');"]),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(?STATIC)),
    ?assertMatch([#{count := 1, domains := [?STATIC]}],
                 log_helper:logged(domain_static_but_was_in_db)).

unknown_host_types_are_logged_with_a_count_and_the_first_ten(Config) ->
    Values = lists:join(",", [io_lib:format("('d~b.example', 'nobody')", [N])
                              || N <- lists:seq(1, 2500)]),
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ", Values]),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    [#{count := 2500, domains := First}] =
        log_helper:logged(ignore_domain_from_db_with_unknown_host_type),
    ?assertEqual(10, length(First)).

a_missing_id_is_settled_by_a_dummy(Config) ->
    insert(?D, ?T1),
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('b.example', 'type1');",
                 "INSERT INTO domain_events (id, domain) VALUES (4, 'b.example');"]),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(<<"b.example">>)),
    ?assertEqual("2\n3", sql(Config, "SELECT id FROM domain_events WHERE domain = '' ORDER BY id")).

a_core_that_is_killed_while_it_tells_leaves_the_rest_to_its_successor(Config) ->
    %% The one that is killed has told of some, and is about to tell of the next (I7).
    Self = self(),
    Domains = [iolist_to_binary(["d", integer_to_list(N), ".example"]) || N <- lists:seq(1, 200)],
    witness_hooks(),
    ok = meck:expect(mongoose_subdomain_core, add_domain,
                     fun(_HostType, <<"d100.example">>) ->
                             case whereis(witness_killed) of
                                 undefined ->
                                     register(witness_killed, Self),
                                     exit(self(), kill),
                                     timer:sleep(infinity);
                                 _ ->
                                     Self ! {told, <<"d100.example">>}
                             end;
                        (_HostType, Domain) ->
                             Self ! {told, Domain}
                     end),
    sql(Config, ["INSERT INTO domain_settings (domain, host_type) VALUES ('",
                 lists:join("', 'type1'), ('", Domains), "', 'type1');"]),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    true = unregister(witness_killed),
    ?assertEqual(lists:sort(Domains), lists:sort([Domain || {told, Domain} <- flush()])).

verify_finds_nothing_wrong_with_a_table_that_follows(Config) ->
    sql(Config, ["INSERT INTO domain_settings (domain, host_type, status) VALUES ",
                 "('disabled.example', 'type1', 0), ('deleting.example', 'type1', 2), ",
                 "('elsewhere.example', 'nobody', 1), ('static.example', 'type2', 1);"]),
    ok = service_domain_db:restart(),
    [insert(<<"d", (integer_to_binary(N))/binary, ".example">>, ?T1) || N <- lists:seq(1, 20)],
    ?assertEqual(ok, service_domain_db:verify()),
    #{audits := Audits, reloads := Reloads} = service_domain_db:status(),
    ?assertEqual(1, Audits),
    ?assertNot(is_map_key(differs, Reloads)).

verify_finds_what_changed_without_an_event_and_heals_it(Config) ->
    Gone = [<<"gone", (integer_to_binary(N))/binary, ".example">> || N <- lists:seq(1, 12)],
    lists:foreach(fun(Domain) -> insert(Domain, ?T1) end, [?D | Gone]),
    Service = whereis(service_domain_db),
    sql(Config, ["DELETE FROM domain_settings WHERE domain LIKE 'gone%';",
                 "UPDATE domain_settings SET host_type = 'type2' WHERE domain = 'a.example';",
                 "INSERT INTO domain_settings (domain, host_type) VALUES ",
                 "('new.example', 'type1');"]),
    {differs, 14, First} = service_domain_db:verify(),
    ?assertEqual(10, length(First)),
    Expected = [{?D, ?T1, ?T2}, {<<"new.example">>, undefined, ?T1}
                | [{Domain, ?T1, undefined} || Domain <- Gone]],
    ?assertEqual([], First -- Expected),
    ?assertMatch([#{level := error, count := 14, domains := [_, _, _, _, _, _, _, _, _, _]}],
                 log_helper:logged(domains_differ_from_database)),
    test_helper:wait_until(fun() -> whereis(service_domain_db) =/= Service end),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{?D, ?T2}, {<<"new.example">>, ?T1}],
                 lists:sort(mongoose_domain_core:get_all_dynamic())),
    ?assertMatch(#{reloads := #{differs := 1}, loads := 2}, service_domain_db:status()),
    ?assertEqual(ok, service_domain_db:verify()).

verify_leaves_the_domains_of_others_alone(Config) ->
    ok = mongoose_domain_core:insert(<<"foreign.example">>, ?T1, somebody_else),
    ok = mongoose_domain_core:insert(<<"other.example">>, ?T1, somebody_else),
    sql(Config, "INSERT INTO domain_settings (domain, host_type) VALUES "
                "('other.example', 'type2')"),
    ?assertEqual(ok, service_domain_db:verify()),
    ?assertEqual({ok, ?T1}, host_type(<<"foreign.example">>)),
    ?assertEqual({ok, ?T1}, host_type(<<"other.example">>)),
    ?assertEqual([], log_helper:logged(domains_differ_from_database)).

verify_knows_pending_events_from_differences(Config) ->
    insert(?D, ?T1),
    %% Nobody has asked for a check since.
    sql(Config, ["UPDATE domain_settings SET status = 0;",
                 "INSERT INTO domain_events (domain) VALUES ('a.example');"]),
    ?assertEqual(ok, service_domain_db:verify()),
    ?assertEqual({error, not_found}, host_type(?D)),
    ?assertEqual([], log_helper:logged(domains_differ_from_database)).

audits_run_by_themselves(Config) ->
    Url = ?config(url, Config),
    insert(?D, ?T1),
    node_helper:stop_standalone(),
    {ok, _} = node_helper:start_standalone(#{database => Url, service => #{audit_interval => 1}}),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, host_type(?D)),
    sql(Config, "DELETE FROM domain_settings"),
    test_helper:wait_until(fun() -> host_type(?D) =:= {error, not_found} end),
    ?assertMatch([#{count := 1, domains := [?D]}],
                 log_helper:logged(domains_differ_from_database)).

a_restart_without_effect_leaves_the_differences_for_the_next_check(Config) ->
    insert(?D, ?T1),
    sql(Config, "DELETE FROM domain_settings"),
    Service = restart_without_effect(),
    {differs, 1, [{?D, ?T1, undefined}]} = service_domain_db:verify(),
    [begin
         Service ! check_for_updates,
         pong = service_domain_db:ping(Service),
         ?assertEqual(1 + Times, meck:num_calls(service_domain_db, restart, [])),
         ?assertEqual({ok, ?T1}, host_type(?D))
     end || Times <- [1, 2]],
    restart_with_effect(Service),
    Service ! check_for_updates,
    test_helper:wait_until(fun() -> host_type(?D) =:= {error, not_found} end).

status_says_how_the_node_follows(Config) ->
    Asked = erlang:monotonic_time(),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    {Checks, Status} = maps:take(checks, service_domain_db:status()),
    ?assert(Checks >= 1),
    {Seconds0, Status0} = maps:take(seconds_since_check, Status),
    Passed = erlang:convert_time_unit(erlang:monotonic_time() - Asked, native, millisecond),
    ?assertEqual(#{state => following, position => 0, newest_event => undefined, lag => 0,
                   loads => 1, reloads => #{}, errors => #{}, last_error => undefined,
                   gaps_settled => 0, dummies_written => 0, audits => 0,
                   domains => 1, followed => 0}, Status0),
    %% Erlang's clock is not exactly the one of the library.
    ?assert(Seconds0 >= 0.0 andalso Seconds0 =< Passed / 1000 + 1),
    insert(?D, ?T1),
    sql(Config, "INSERT INTO domain_events (id, domain) VALUES (4, 'a.example')"),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    ?assertMatch(#{state := following, position := 4, newest_event := 4, lag := 0,
                   gaps_settled := 2, dummies_written := 2, domains := 2, followed := 1},
                 service_domain_db:status()),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    ?assertMatch(#{loads := 2, reloads := #{requested := 1}}, service_domain_db:status()),
    sql(Config, "DROP TABLE domain_events; DROP TABLE domain_settings;"),
    ok = service_domain_db:force_check_for_updates(),
    test_helper:wait_until(fun() ->
        case service_domain_db:status() of
            #{state := retrying, errors := #{missing_tables := N}} -> N >= 1;
            Other -> Other
        end
    end),
    #{last_error := {missing_tables, Text}} = service_domain_db:status(),
    ?assert(is_binary(Text)),
    ?assertMatch({error, {missing_tables, _}}, service_domain_db:verify()),
    ok = service_domain_db:stop(),
    ?assertMatch(#{state := stopped}, service_domain_db:status()).

%% Not a look-up comes between the first start and the last.
the_start_returns_when_the_domains_route(Config) ->
    db_helper:fill(?config(url, Config), "d", ".example", 20000),
    [begin
         ok = service_domain_db:stop(),
         {ok, _} = mongoose_domain_sup:restart_core([[{?STATIC, ?T1}], [?T1, ?T2]]),
         ok = service_domain_db:start(Opts),
         ?assertEqual(20001, mongoose_domain_core:domains_count())
     end || Opts <- [(opts())#{initial_load_timeout => Seconds} || Seconds <- [600, 1000000000]]].

the_start_returns_when_the_first_attempt_fails(Config) ->
    sql(Config, "DROP TABLE domain_events; DROP TABLE domain_settings;"),
    ok = service_domain_db:stop(),
    ok = service_domain_db:start((opts())#{initial_load_timeout => 1000000000}),
    ?assertMatch([#{reason := missing_tables} | _], log_helper:logged(domain_check_failed)),
    ?assertMatch(#{state := retrying}, service_domain_db:status()).

%% The load cannot end while the core does nothing.
the_start_does_not_wait_longer_than_it_is_told(Config) ->
    ok = service_domain_db:stop(),
    db_helper:fill(?config(url, Config), "d", ".example", 1),
    ok = sys:suspend(mongoose_domain_core),
    try
        ok = service_domain_db:start((opts())#{initial_load_timeout => 1}),
        ?assertMatch([#{level := warning, seconds := 1}],
                     log_helper:logged(first_load_takes_long)),
        ?assertMatch(#{state := loading}, service_domain_db:status())
    after
        ok = sys:resume(mongoose_domain_core)
    end,
    pong = service_domain_db:sync_local(),
    ?assertMatch(#{state := following}, service_domain_db:status()).

%% Once, whatever is restarted; so on a node of its own.
a_missing_index_is_noticed_at_the_start_with_its_statement(Config) ->
    Node = node_helper:start_peer(index),
    %% MongooseIM's schema for MySQL has none on the domain.
    Count = case ?config(kind, Config) of mysql -> 1; _ -> 0 end,
    Noticed = node_helper:call(Node, ?MODULE, notices_of_a_missing_index,
                               [?config(url, Config), Count]),
    node_helper:stop_node(Node),
    case Count of
        1 ->
            [#{statement := Statement}] = Noticed,
            sql(Config, Statement),
            insert(?D, ?T1);
        0 ->
            ?assertEqual([], Noticed)
    end.

%% Waits for so many; were there more, an audit would take longer than the look for the index.
notices_of_a_missing_index(Url, Count) ->
    log_helper:capture_logs(),
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    test_helper:wait_until(fun() ->
        length(log_helper:logged(domain_settings_without_index)) >= Count
    end),
    ok = service_domain_db:verify(),
    ok = service_domain_db:restart(),
    pong = service_domain_db:sync_local(),
    ok = service_domain_db:verify(),
    node_helper:stop_standalone(),
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    ok = service_domain_db:verify(),
    node_helper:stop_standalone(),
    log_helper:logged(domain_settings_without_index).

%% Helpers

opts() ->
    #{db_pool => global, event_cleaning_interval => 1800, event_max_age => 7200}.

sql(Config, Statements) ->
    db_helper:sql(?config(url, Config), Statements).

insert(Domain, HostType) ->
    {ok, _} = mongoose_domain_api:insert_domain(Domain, HostType),
    pong = service_domain_db:sync_local(),
    {ok, HostType} = host_type(Domain).

host_type(Domain) ->
    mongoose_domain_core:get_host_type(Domain).

kill(Name) ->
    Pid = whereis(Name),
    exit(Pid, kill),
    test_helper:wait_until(fun() ->
        New = whereis(Name),
        is_pid(New) andalso New =/= Pid
    end).

%% To replace code kills who is in the middle of it, so the process has to be between two messages.
restart_without_effect() ->
    Service = whereis(service_domain_db),
    _ = sys:get_state(Service),
    ok = meck:new(service_domain_db, [passthrough]),
    ok = meck:expect(service_domain_db, restart, fun() -> ok end),
    Service.

restart_with_effect(Service) ->
    _ = sys:get_state(Service),
    ok = meck:unload(service_domain_db).

%% MongooseIM's modules that are told of changes, as far as a test needs them.
witness_hooks() ->
    Self = self(),
    Note = fun(Name) ->
               fun(HostType, Domain) -> Self ! {self(), Name, HostType, Domain}, ok end
           end,
    ok = meck:new([mongoose_subdomain_core, mongoose_lazy_routing], [non_strict, no_link]),
    ok = meck:expect(mongoose_subdomain_core, add_domain, Note(add_domain)),
    ok = meck:expect(mongoose_subdomain_core, remove_domain, Note(remove_domain)),
    ok = meck:expect(mongoose_lazy_routing, maybe_remove_domain, Note(maybe_remove_domain)).

flush() ->
    receive Message -> [Message | flush()] after 0 -> [] end.
