%% @doc The routing table of one node, as MongooseIM sees it: section 1 of the contract, with the
%% real process under a real supervisor, and with neither a service nor a database.
-module(core_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("stdlib/include/assert.hrl").

%% By hand: Debian's package of PropEr has no proper.hrl.
-import(proper_types, [frequency/1, list/1, oneof/1]).

-define(CORE, mongoose_domain_core).
-define(SUP, mongoose_domain_sup).
-define(STATIC, <<"static.example">>).
-define(D, <<"a.example">>).
-define(T1, <<"type1">>).
-define(T2, <<"type2">>).
%% The host type of a static domain, which no dynamic domain may have.
-define(ONLY_STATIC, <<"only static">>).
-define(PAIRS, [{?STATIC, ?ONLY_STATIC}]).
-define(TYPES, [?T1, ?T2]).
-define(WAIT, 60000).

all() ->
    [{group, start}, {group, reads}, {group, changes}, {group, walks}, {group, hooks},
     {group, messages}, {group, restarts}, {group, bad_input}, {group, replacing}].

groups() ->
    [{start, [],
      [it_starts_with_static_domains_whose_host_types_need_not_be_allowed,
       both_lists_may_be_empty,
       of_a_repeated_domain_the_first_pair_counts,
       the_start_arguments_are_given_back_as_they_were_given,
       the_process_has_its_name_and_there_is_only_one]},
     {reads, [],
      [reads_are_answered_in_any_process_while_the_core_is_busy,
       every_read_raises_badarg_before_the_start,
       every_read_raises_badarg_after_a_clean_stop,
       any_term_may_be_looked_for,
       domains_are_listed_by_host_type,
       the_list_of_a_host_type_takes_only_a_binary,
       domains_are_counted_static_and_dynamic]},
     {changes, [],
      [an_inserted_domain_routes,
       insert_checks_in_the_order_of_the_contract,
       a_refused_insert_changes_nothing,
       a_refresh_changes_only_the_source,
       outdated_domains_are_those_of_another_source,
       a_deleted_domain_routes_no_more,
       a_static_domain_cannot_be_deleted,
       changes_go_through_the_process,
       any_changes_leave_what_a_simple_model_has]},
     {walks, [],
      [a_walk_visits_each_domain_of_the_host_type_once_in_the_caller,
       a_domain_that_is_deleted_before_its_turn_is_not_visited,
       a_domain_that_lost_the_host_type_before_its_turn_is_not_visited,
       a_walk_visits_what_stays_exactly_once_whatever_its_function_changes,
       a_walk_visits_what_stays_exactly_once_whatever_others_change,
       no_lock_is_held_while_the_function_runs,
       a_crash_of_the_function_is_logged_and_the_walk_goes_on]},
     {hooks, [],
      [an_insert_is_told_once_by_the_core_when_the_table_shows_it,
       a_removal_is_told_once_to_each_in_order_when_the_table_shows_it,
       a_refresh_is_not_told,
       refusals_are_not_told,
       every_transition_of_a_domain_is_told_in_order,
       a_hook_that_crashes_is_logged_and_the_others_are_told]},
     {messages, [],
      [an_unknown_call_is_answered_ok_and_logged_at_warning,
       an_unknown_cast_is_logged_and_ignored,
       an_unknown_message_is_logged_and_ignored]},
     {restarts, [],
      [a_clean_restart_begins_with_exactly_its_own_static_pairs,
       a_clean_restart_with_the_same_arguments_has_no_dynamic_domains,
       after_a_crash_domains_go_on_routing_and_no_read_fails,
       a_crash_that_runs_terminate_keeps_domains_as_well,
       a_crash_keeps_domains_also_under_a_supervisor_without_a_name,
       a_new_supervisor_begins_without_dynamic_domains,
       a_new_supervisor_begins_without_the_domains_of_a_killed_one]},
     {bad_input, [],
      [start_link_refuses_what_can_be_no_table_and_says_why,
       insert_refuses_what_can_be_no_domain_and_says_why,
       a_supervisor_with_bad_arguments_does_not_start,
       names_of_250_characters_pass,
       nothing_that_is_no_name_crashes_a_function]},
     {replacing, [],
      [drop_in_modules_are_plain_erlang_with_debug_info,
       the_service_restarts_itself_by_its_full_name,
       functions_of_the_core_can_be_replaced_at_run_time,
       functions_of_the_service_can_be_replaced_at_run_time]}].

init_per_group(_Group, Config) ->
    Config.

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    {ok, _} = ?SUP:start_link(?PAIRS, ?TYPES),
    Config.

end_per_testcase(_Case, _Config) ->
    _ = logger:remove_handler(?MODULE),
    meck:unload(),
    stop_sup().

%% Start

it_starts_with_static_domains_whose_host_types_need_not_be_allowed(_Config) ->
    ?assertEqual({ok, ?ONLY_STATIC}, ?CORE:get_host_type(?STATIC)),
    ?assert(?CORE:is_static(?STATIC)),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()),
    ?assertEqual([], ?CORE:get_all_dynamic()),
    ?assertNot(?CORE:is_host_type_allowed(?ONLY_STATIC)),
    ?assert(?CORE:is_host_type_allowed(?T1)),
    ?assert(?CORE:is_host_type_allowed(?T2)).

both_lists_may_be_empty(_Config) ->
    {ok, _} = ?SUP:restart_core([[], []]),
    ?assertEqual(0, ?CORE:domains_count()),
    ?assertEqual([], ?CORE:get_all_static()),
    ?assertNot(?CORE:is_host_type_allowed(?T1)),
    ?assertEqual({error, not_found}, ?CORE:get_host_type(?STATIC)),
    {ok, _} = ?SUP:restart_core([[], ?TYPES]),
    ?assertEqual(ok, ?CORE:insert(?D, ?T1, source)),
    {ok, _} = ?SUP:restart_core([?PAIRS, []]),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()),
    ?assertEqual({error, unknown_host_type}, ?CORE:insert(?D, ?T1, source)).

of_a_repeated_domain_the_first_pair_counts(_Config) ->
    Pairs = [{?STATIC, ?T2}, {?STATIC, ?T1}, {?D, ?T1}, {?STATIC, ?T2}, {?D, ?T1}],
    {ok, _} = ?SUP:restart_core([Pairs, ?TYPES]),
    ?assertEqual({ok, ?T2}, ?CORE:get_host_type(?STATIC)),
    ?assertEqual([{?D, ?T1}, {?STATIC, ?T2}], lists:sort(?CORE:get_all_static())),
    ?assertEqual([?D], ?CORE:get_domains_by_host_type(?T1)),
    ?assertEqual(2, ?CORE:domains_count()).

the_start_arguments_are_given_back_as_they_were_given(_Config) ->
    ?assertEqual([?PAIRS, ?TYPES], ?CORE:get_start_args()),
    Args = [[{<<"b">>, ?T1}, {<<"a">>, ?T2}, {<<"b">>, ?T2}], [?T2, ?T1, ?T2]],
    {ok, _} = ?SUP:restart_core(Args),
    ok = ?CORE:insert(?D, ?T1, source),
    ?assertEqual(Args, ?CORE:get_start_args()).

the_process_has_its_name_and_there_is_only_one(_Config) ->
    Pid = core(),
    ?assertEqual({error, {already_started, Pid}}, ?CORE:start_link([], [])),
    ?assertEqual(Pid, core()),
    ?assertEqual([?PAIRS, ?TYPES], ?CORE:get_start_args()).

%% Reads

reads_are_answered_in_any_process_while_the_core_is_busy(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    ok = sys:suspend(?CORE),
    Read = fun() ->
               [{ok, ?T1} = ?CORE:get_host_type(?D),
                false = ?CORE:is_static(?D),
                true = ?CORE:is_host_type_allowed(?T1),
                ?PAIRS = ?CORE:get_all_static(),
                [{?D, ?T1}] = ?CORE:get_all_dynamic(),
                [{?D, ?T1}] = ?CORE:get_all_outdated(other),
                [?D] = ?CORE:get_domains_by_host_type(?T1),
                2 = ?CORE:domains_count(),
                ok = ?CORE:for_each_domain(?T1, fun(?T1, ?D) -> ok end),
                [?PAIRS, ?TYPES] = ?CORE:get_start_args()]
           end,
    ?assertMatch({ok, _}, in_another_process(Read)),
    ok = sys:resume(?CORE).

%% On a node of its own, where no table ever was.
every_read_raises_badarg_before_the_start(_Config) ->
    Paths = [Path || Path <- code:get_path(), string:find(Path, "_build") =/= nomatch],
    {ok, Peer, _Node} = peer:start(#{connection => standard_io, wait_boot => 60000,
                                     name => test_helper:data_name(core),
                                     args => ["-pa" | Paths]}),
    ?assertEqual(all_badarg(), peer:call(Peer, ?MODULE, outcomes_of_reads, [])),
    peer:stop(Peer).

every_read_raises_badarg_after_a_clean_stop(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    ok = supervisor:terminate_child(?SUP, ?CORE),
    ?assertEqual(all_badarg(), outcomes_of_reads()).

%% As in an ETS table: MongooseIM asks for `null' when an argument was left out.
any_term_may_be_looked_for(_Config) ->
    Terms = [null, undefined, 1, 1.5, [], "a.example", [?D], {?D}, #{}, self(), make_ref(), <<1:3>>,
             fun() -> ok end, <<>>, <<255>>, <<0>>, binary:copy(<<"a">>, 100000)],
    [begin
         ?assertEqual({Term, {error, not_found}}, {Term, ?CORE:get_host_type(Term)}),
         ?assertEqual({Term, false}, {Term, ?CORE:is_static(Term)}),
         ?assertEqual({Term, false}, {Term, ?CORE:is_host_type_allowed(Term)}),
         ?assertEqual({Term, ok}, {Term, ?CORE:delete(Term)})
     end || Term <- Terms],
    ?assertEqual(1, ?CORE:domains_count()).

domains_are_listed_by_host_type(_Config) ->
    {ok, _} = ?SUP:restart_core([[{?STATIC, ?T1}], ?TYPES]),
    ok = ?CORE:insert(?D, ?T1, source),
    ok = ?CORE:insert(<<"b.example">>, ?T2, source),
    ?assertEqual([?D, ?STATIC], lists:sort(?CORE:get_domains_by_host_type(?T1))),
    ?assertEqual([<<"b.example">>], ?CORE:get_domains_by_host_type(?T2)),
    ?assertEqual([], ?CORE:get_domains_by_host_type(<<"unknown">>)).

the_list_of_a_host_type_takes_only_a_binary(_Config) ->
    [?assertError(function_clause, ?CORE:get_domains_by_host_type(HostType))
     || HostType <- [type1, "type1", 1, <<1:3>>, undefined, [?T1]]].

domains_are_counted_static_and_dynamic(_Config) ->
    ?assertEqual(1, ?CORE:domains_count()),
    ok = ?CORE:insert(?D, ?T1, source),
    ?assertEqual(2, ?CORE:domains_count()),
    ok = ?CORE:insert(?D, ?T1, refreshed),
    {error, bad_insert} = ?CORE:insert(?D, ?T2, source),
    {error, static} = ?CORE:insert(?STATIC, ?T1, source),
    ?assertEqual(2, ?CORE:domains_count()),
    ok = ?CORE:delete(?D),
    ok = ?CORE:delete(?D),
    ?assertEqual(1, ?CORE:domains_count()).

%% Changes

an_inserted_domain_routes(_Config) ->
    ?assertEqual({error, not_found}, ?CORE:get_host_type(?D)),
    ?assertEqual(ok, ?CORE:insert(?D, ?T1, source)),
    ?assertEqual({ok, ?T1}, ?CORE:get_host_type(?D)),
    ?assertNot(?CORE:is_static(?D)),
    ?assertEqual([{?D, ?T1}], ?CORE:get_all_dynamic()),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()).

insert_checks_in_the_order_of_the_contract(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    %% A host type that is not allowed comes first, also for a static or a present domain, even if
    %% it is the host type of that very static domain.
    ?assertEqual({error, unknown_host_type}, ?CORE:insert(?STATIC, ?ONLY_STATIC, source)),
    ?assertEqual({error, unknown_host_type}, ?CORE:insert(?D, ?ONLY_STATIC, source)),
    ?assertEqual({error, unknown_host_type}, ?CORE:insert(<<"b.example">>, <<"no">>, source)),
    ?assertEqual({error, static}, ?CORE:insert(?STATIC, ?T1, source)),
    ?assertEqual({error, bad_insert}, ?CORE:insert(?D, ?T2, source)),
    ?assertEqual(ok, ?CORE:insert(?D, ?T1, source)).

a_refused_insert_changes_nothing(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    Before = contents(source),
    {error, bad_insert} = ?CORE:insert(?D, ?T2, other),
    {error, unknown_host_type} = ?CORE:insert(?D, ?ONLY_STATIC, other),
    {error, static} = ?CORE:insert(?STATIC, ?T2, other),
    ?assertEqual(Before, contents(source)).

a_refresh_changes_only_the_source(_Config) ->
    ok = ?CORE:insert(?D, ?T1, old),
    ?assertEqual({[], [{?D, ?T1}]}, {?CORE:get_all_outdated(old), ?CORE:get_all_outdated(new)}),
    Before = contents(none),
    ?assertEqual(ok, ?CORE:insert(?D, ?T1, new)),
    ?assertEqual({[{?D, ?T1}], []}, {?CORE:get_all_outdated(old), ?CORE:get_all_outdated(new)}),
    ?assertEqual(Before, contents(none)).

%% Each domain has its own source; asked for any of them, the others are those with `=/='.
outdated_domains_are_those_of_another_source(_Config) ->
    Sources = lists:enumerate(sources()),
    [ok = ?CORE:insert(numbered(N), ?T1, Source) || {N, Source} <- Sources],
    Outdated = fun(Asked) ->
                   lists:sort([{numbered(N), ?T1} || {N, Source} <- Sources, Source =/= Asked])
               end,
    [?assertEqual({Asked, Outdated(Asked)}, {Asked, lists:sort(?CORE:get_all_outdated(Asked))})
     || Asked <- sources() ++ [self(), none]].

a_deleted_domain_routes_no_more(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    ?assertEqual(ok, ?CORE:delete(?D)),
    ?assertEqual({error, not_found}, ?CORE:get_host_type(?D)),
    ?assertEqual([], ?CORE:get_all_dynamic()),
    ?assertEqual([], ?CORE:get_domains_by_host_type(?T1)),
    %% An absent one, too, is answered ok.
    ?assertEqual(ok, ?CORE:delete(?D)),
    %% Its name is free for another host type.
    ?assertEqual(ok, ?CORE:insert(?D, ?T2, source)),
    ?assertEqual({ok, ?T2}, ?CORE:get_host_type(?D)).

a_static_domain_cannot_be_deleted(_Config) ->
    ?assertEqual({error, static}, ?CORE:delete(?STATIC)),
    ?assertEqual({ok, ?ONLY_STATIC}, ?CORE:get_host_type(?STATIC)),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()).

%% While the process is suspended they wait, and the table stays as it is.
changes_go_through_the_process(_Config) ->
    ok = ?CORE:insert(<<"b.example">>, ?T1, source),
    ok = sys:suspend(?CORE),
    {_, Insert} = spawn_monitor(fun() -> exit({result, ?CORE:insert(?D, ?T1, source)}) end),
    {_, Delete} = spawn_monitor(fun() -> exit({result, ?CORE:delete(<<"b.example">>)}) end),
    test_helper:wait_until(fun() -> {message_queue_len, 2} =:=
                                        process_info(core(), message_queue_len) end),
    ?assertEqual([{<<"b.example">>, ?T1}], ?CORE:get_all_dynamic()),
    ok = sys:resume(?CORE),
    [receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual({result, ok}, Reason) end
     || Monitor <- [Insert, Delete]],
    ?assertEqual([{?D, ?T1}], ?CORE:get_all_dynamic()).

any_changes_leave_what_a_simple_model_has(_Config) ->
    Same = fun(Changes) ->
               {ok, _} = ?SUP:restart_core([?PAIRS, ?TYPES]),
               _ = lists:foldl(fun change_both/2, #{}, Changes),
               true
           end,
    %% Either true or the counterexample.
    ?assertEqual(true, proper:quickcheck(proper:forall(list(change()), Same),
                                         [{numtests, 200}, quiet, long_result])).

%% Walks

a_walk_visits_each_domain_of_the_host_type_once_in_the_caller(_Config) ->
    {ok, _} = ?SUP:restart_core([[{?STATIC, ?T1}], ?TYPES]),
    Domains = insert_many(1, 100),
    ok = ?CORE:insert(?D, ?T2, source),
    ?assertEqual(ok, ?CORE:for_each_domain(?T1, note_visit())),
    Visits = visits(),
    ?assertEqual([self()], lists:usort([Pid || {Pid, _, _} <- Visits])),
    ?assertEqual([?T1], lists:usort([HostType || {_, HostType, _} <- Visits])),
    ?assertEqual(lists:sort([?STATIC | Domains]), visited(Visits)),
    %% Nothing to visit is fine as well.
    ?assertEqual(ok, ?CORE:for_each_domain(<<"unknown">>, note_visit())),
    ?assertEqual([], visits()).

a_domain_that_is_deleted_before_its_turn_is_not_visited(_Config) ->
    Domains = insert_many(1, 50),
    Note = note_visit(),
    DeleteOthers = fun(HostType, Domain) ->
                       Note(HostType, Domain),
                       [ok = ?CORE:delete(Other) || Other <- Domains, Other =/= Domain]
                   end,
    ok = ?CORE:for_each_domain(?T1, DeleteOthers),
    ?assertMatch([_], visits()).

a_domain_that_lost_the_host_type_before_its_turn_is_not_visited(_Config) ->
    Domains = insert_many(1, 50),
    Note = note_visit(),
    MoveOthers = fun(HostType, Domain) ->
                     Note(HostType, Domain),
                     [begin
                          ok = ?CORE:delete(Other),
                          ok = ?CORE:insert(Other, ?T2, source)
                      end || Other <- Domains, Other =/= Domain]
                 end,
    ok = ?CORE:for_each_domain(?T1, MoveOthers),
    ?assertMatch([_], visits()).

a_walk_visits_what_stays_exactly_once_whatever_its_function_changes(_Config) ->
    Staying = insert_many(1, 200),
    Going = insert_many(201, 300),
    Note = note_visit(),
    Change = fun(HostType, Domain) ->
                 Note(HostType, Domain),
                 ok = ?CORE:insert(<<"new.", Domain/binary>>, HostType, source),
                 lists:member(Domain, Going) andalso ?CORE:delete(Domain)
             end,
    ok = ?CORE:for_each_domain(?T1, Change),
    Visited = visited(visits()),
    ?assertEqual(lists:usort(Visited), Visited),
    ?assertEqual([], Staying -- Visited),
    ?assertEqual([], Going -- Visited),
    ?assertEqual([], ordsets:intersection(Going, ?CORE:get_domains_by_host_type(?T1))).

a_walk_visits_what_stays_exactly_once_whatever_others_change(_Config) ->
    Staying = insert_many(1, 200),
    Note = note_visit(),
    Writer = spawn_link(fun() -> insert_and_delete(201, 300) end),
    [begin
         ok = ?CORE:for_each_domain(?T1, Note),
         Visited = visited(visits()),
         ?assertEqual(lists:usort(Visited), Visited),
         ?assertEqual([], Staying -- Visited)
     end || _ <- lists:seq(1, 50)],
    stop_linked(Writer).

no_lock_is_held_while_the_function_runs(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    OthersWork = fun(HostType, Domain) ->
                     {ok, _} = in_another_process(
                                 fun() ->
                                     ok = ?CORE:insert(<<"b.example">>, HostType, source),
                                     ok = ?CORE:delete(Domain),
                                     [<<"b.example">>] = ?CORE:get_domains_by_host_type(HostType),
                                     ok = ?CORE:for_each_domain(HostType, fun(_, _) -> ok end)
                                 end),
                     note_visit(HostType, Domain)
                 end,
    ok = ?CORE:for_each_domain(?T1, OthersWork),
    ?assertEqual([?D], visited(visits())).

a_crash_of_the_function_is_logged_and_the_walk_goes_on(_Config) ->
    capture_logs(),
    Classes = #{numbered(1) => error, numbered(2) => exit, numbered(3) => throw},
    Domains = insert_many(1, 4),
    Crash = fun(HostType, Domain) ->
                note_visit(HostType, Domain),
                case Classes of
                    #{Domain := Class} -> erlang:raise(Class, on_purpose, []);
                    #{} -> ok
                end
            end,
    ?assertEqual(ok, ?CORE:for_each_domain(?T1, Crash)),
    ?assertEqual(Domains, visited(visits())),
    Logged = [{Domain, Class} || #{msg := {report, #{what := domain_operation_failed,
                                                     host_type := ?T1, domain := Domain,
                                                     class := Class, reason := on_purpose}}}
                                 <- logged()],
    ?assertEqual(lists:sort(maps:to_list(Classes)), lists:sort(Logged)).

%% Hooks

an_insert_is_told_once_by_the_core_when_the_table_shows_it(_Config) ->
    capture_hooks(),
    ok = ?CORE:insert(?D, ?T1, source),
    ?assertEqual([{mongoose_subdomain_core, add_domain, ?T1, ?D, core(), {ok, ?T1}}], told()).

a_removal_is_told_once_to_each_in_order_when_the_table_shows_it(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    capture_hooks(),
    ok = ?CORE:delete(?D),
    Gone = {error, not_found},
    ?assertEqual([{mongoose_lazy_routing, maybe_remove_domain, ?T1, ?D, core(), Gone},
                  {mongoose_subdomain_core, remove_domain, ?T1, ?D, core(), Gone}], told()).

a_refresh_is_not_told(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    capture_hooks(),
    ok = ?CORE:insert(?D, ?T1, source),
    ok = ?CORE:insert(?D, ?T1, other),
    ?assertEqual([], told()).

refusals_are_not_told(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    capture_hooks(),
    {error, bad_insert} = ?CORE:insert(?D, ?T2, source),
    {error, unknown_host_type} = ?CORE:insert(<<"b.example">>, <<"unknown">>, source),
    {error, static} = ?CORE:insert(?STATIC, ?T1, source),
    {error, static} = ?CORE:delete(?STATIC),
    ok = ?CORE:delete(<<"absent.example">>),
    ?assertEqual([], told()).

a_hook_that_crashes_is_logged_and_the_others_are_told(_Config) ->
    capture_hooks(),
    capture_logs(),
    ok = meck:expect(mongoose_lazy_routing, maybe_remove_domain, fun(_, _) -> error(broken) end),
    Core = core(),
    ok = ?CORE:insert(?D, ?T1, source),
    ok = ?CORE:delete(?D),
    ?assertMatch([{_, add_domain, ?T1, ?D, Core, _}, {_, remove_domain, ?T1, ?D, Core, _}], told()),
    ?assertMatch([#{level := error, msg := {report, #{what := domain_hook_failed,
                                                      domain := ?D, reason := broken}}}], logged()),
    ?assertEqual(Core, core()).

every_transition_of_a_domain_is_told_in_order(_Config) ->
    capture_hooks(),
    Core = core(),
    [begin ok = ?CORE:insert(?D, HostType, source), ok = ?CORE:delete(?D) end
     || HostType <- [?T1, ?T2, ?T1]],
    Expected = [[{add_domain, HostType, Core}, {maybe_remove_domain, HostType, Core},
                 {remove_domain, HostType, Core}] || HostType <- [?T1, ?T2, ?T1]],
    ?assertEqual(lists:append(Expected),
                 [{Function, HostType, Pid} || {_, Function, HostType, ?D, Pid, _} <- told()]).

%% Messages

an_unknown_call_is_answered_ok_and_logged_at_warning(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    capture_logs(),
    Core = core(),
    ?assertEqual(ok, gen_server:call(?CORE, surprise)),
    ?assertEqual(ok, gen_server:call(?CORE, {insert, too, few})),
    ?assertMatch([#{level := warning, msg := {report, #{what := _, request := surprise}}},
                  #{level := warning, msg := {report, #{what := _, request := {insert, _, _}}}}],
                 logged()),
    serves_as_before(Core).

an_unknown_cast_is_logged_and_ignored(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    capture_logs(),
    Core = core(),
    gen_server:cast(?CORE, surprise),
    ?assertMatch(#{msg := {report, #{what := _, message := surprise}}}, next_logged()),
    serves_as_before(Core).

an_unknown_message_is_logged_and_ignored(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    capture_logs(),
    Core = core(),
    %% An exit signal, too: the process traps exits.
    exit(Core, surprise),
    ?assertMatch(#{msg := {report, #{what := _, message := {'EXIT', _, surprise}}}},
                 next_logged()),
    Core ! surprise,
    ?assertMatch(#{msg := {report, #{what := _, message := surprise}}}, next_logged()),
    serves_as_before(Core).

%% Restarts

a_clean_restart_begins_with_exactly_its_own_static_pairs(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    Pairs = [{<<"new.example">>, ?T2}],
    {ok, _} = ?SUP:restart_core([Pairs, [?T2]]),
    ?assertEqual(Pairs, ?CORE:get_all_static()),
    ?assertEqual([], ?CORE:get_all_dynamic()),
    ?assertEqual(1, ?CORE:domains_count()),
    ?assertEqual({error, not_found}, ?CORE:get_host_type(?STATIC)),
    ?assertEqual({error, not_found}, ?CORE:get_host_type(?D)),
    ?assertNot(?CORE:is_host_type_allowed(?T1)),
    ?assertEqual([Pairs, [?T2]], ?CORE:get_start_args()),
    ?assertEqual({error, unknown_host_type}, ?CORE:insert(?D, ?T1, source)).

a_clean_restart_with_the_same_arguments_has_no_dynamic_domains(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    {ok, _} = ?SUP:restart_core([?PAIRS, ?TYPES]),
    ?assertEqual([], ?CORE:get_all_dynamic()),
    ok = ?CORE:insert(?D, ?T2, source),
    ok = supervisor:terminate_child(?SUP, ?CORE),
    {ok, _} = supervisor:restart_child(?SUP, ?CORE),
    ?assertEqual([], ?CORE:get_all_dynamic()),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()).

after_a_crash_domains_go_on_routing_and_no_read_fails(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    Before = contents(source),
    Readers = [start_reader(fun() -> Before = contents(source), outcomes_of_reads() end,
                            all_fine())
               || _ <- lists:seq(1, 4)],
    [begin
         kill_core(),
         ?assertEqual(Before, contents(source))
     end || _ <- lists:seq(1, 5)],
    lists:foreach(fun stop_reader/1, Readers),
    %% The successor writes the same table.
    capture_hooks(),
    ?assertEqual({error, bad_insert}, ?CORE:insert(?D, ?T2, source)),
    ?assertEqual(ok, ?CORE:delete(?D)),
    ?assertMatch([{_, maybe_remove_domain, ?T1, ?D, _, _}, {_, remove_domain, ?T1, ?D, _, _}],
                 told()),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()).

a_crash_that_runs_terminate_keeps_domains_as_well(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    Before = contents(source),
    Reader = start_reader(fun() -> Before = contents(source), outcomes_of_reads() end, all_fine()),
    replaced_after(fun() -> sys:terminate(?CORE, on_purpose) end),
    stop_reader(Reader),
    ?assertEqual(Before, contents(source)).

a_crash_keeps_domains_also_under_a_supervisor_without_a_name(_Config) ->
    stop_sup(),
    {ok, Sup} = supervisor:start_link(?MODULE, [?PAIRS, ?TYPES]),
    ok = ?CORE:insert(?D, ?T1, source),
    kill_core(),
    ?assertEqual({ok, ?T1}, ?CORE:get_host_type(?D)),
    stop_process(Sup),
    ?assertError(badarg, ?CORE:get_host_type(?D)).

a_new_supervisor_begins_without_dynamic_domains(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    stop_sup(),
    ?assertError(badarg, ?CORE:get_host_type(?D)),
    {ok, _} = ?SUP:start_link(?PAIRS, ?TYPES),
    ?assertEqual([], ?CORE:get_all_dynamic()),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()).

%% Killed, it leaves a table behind, as a crashed core does. Its successor is another one.
a_new_supervisor_begins_without_the_domains_of_a_killed_one(_Config) ->
    ok = ?CORE:insert(?D, ?T1, source),
    Monitor = monitor(process, core()),
    Sup = whereis(?SUP),
    unlink(Sup),
    exit(Sup, kill),
    receive {'DOWN', Monitor, process, _, killed} -> ok after ?WAIT -> ct:fail(core_lives_on) end,
    test_helper:wait_until(fun() -> whereis(?SUP) =:= undefined end),
    {ok, _} = ?SUP:start_link(?PAIRS, ?TYPES),
    ?assertEqual([], ?CORE:get_all_dynamic()),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()).

%% Bad input

start_link_refuses_what_can_be_no_table_and_says_why(_Config) ->
    Core = core(),
    ok = ?CORE:insert(?D, ?T1, source),
    [begin
         ?assertMatch({_, _, match}, {Name, Text, refused([[{Name, ?T1}], []], 1, Text)}),
         ?assertMatch({_, _, match}, {Name, Text, refused([[{?D, Name}], []], 1, Text)}),
         ?assertMatch({_, _, match}, {Name, Text, refused([[{?D, ?T1}], [?T1, Name]], 2, Text)})
     end || {Name, Text} <- bad_names()],
    [?assertMatch({_, match}, {Bad, refused([Bad, []], 1, "not a proper list")})
     || Bad <- bad_lists([{?D, ?T1}])],
    [?assertMatch({_, match}, {Bad, refused([[], Bad], 2, "not a proper list")})
     || Bad <- bad_lists([?T1])],
    [?assertMatch({_, match}, {Bad, refused([[{?D, ?T1}, Bad], []], 1, "element 2: not a pair")})
     || Bad <- [{?D}, {?D, ?T1, ?T2}, {}, ?D, [?D, ?T1], pair, 1, #{?D => ?T1}]],
    serves_as_before(Core).

insert_refuses_what_can_be_no_domain_and_says_why(_Config) ->
    Core = core(),
    ok = ?CORE:insert(?D, ?T1, source),
    [?assertMatch({_, _, match}, {Name, Text, refused_insert(Name, Text)})
     || {Name, Text} <- bad_names(), is_binary(Name)],
    [begin
         ?assertError(function_clause, ?CORE:insert(Name, ?T1, source)),
         ?assertError(function_clause, ?CORE:insert(<<"b.example">>, Name, source))
     end || {Name, _} <- bad_names(), not is_binary(Name)],
    %% No bad name can be allowed as a host type.
    [?assertEqual({error, unknown_host_type}, ?CORE:insert(<<"b.example">>, Name, source))
     || {Name, _} <- bad_names(), is_binary(Name)],
    serves_as_before(Core).

a_supervisor_with_bad_arguments_does_not_start(_Config) ->
    stop_sup(),
    process_flag(trap_exit, true),
    [?assertMatch({error, {shutdown, {failed_to_start_child, ?CORE, _}}},
                  ?SUP:start_link(Pairs, Types))
     || {Pairs, Types} <- [{[{<<>>, ?T1}], []}, {[], [<<>>]}, {[?D | ?T1], []}, {none, none}]],
    process_flag(trap_exit, false),
    ?assertError(badarg, ?CORE:domains_count()),
    {ok, _} = ?SUP:start_link(?PAIRS, ?TYPES),
    ?assertEqual(1, ?CORE:domains_count()).

names_of_250_characters_pass(_Config) ->
    Names = [binary:copy(Char, 250)
             || Char <- [<<"a">>, <<"é"/utf8>>, <<"語"/utf8>>, <<"😀"/utf8>>]],
    [begin
         {ok, _} = ?SUP:restart_core([[], [Name]]),
         ?assert(?CORE:is_host_type_allowed(Name)),
         ?assertEqual(ok, ?CORE:insert(Name, Name, source)),
         ?assertEqual({ok, Name}, ?CORE:get_host_type(Name)),
         ?assert(lists:member(Name, ?CORE:get_domains_by_host_type(Name)))
     end || Name <- Names],
    %% As static ones, too.
    {ok, _} = ?SUP:restart_core([[{Name, Name} || Name <- Names], []]),
    ?assertEqual(lists:sort([{Name, Name} || Name <- Names]), lists:sort(?CORE:get_all_static())).

nothing_that_is_no_name_crashes_a_function(_Config) ->
    Core = core(),
    ok = ?CORE:insert(?D, ?T1, source),
    Any = fun(_, _) -> ok end,
    NoNames = [a, 1, 1.5, "a.example", [], [?D | ?D], {?D}, #{}, self(), make_ref(), Any, <<1:7>>,
               1 bsl 100],
    [begin
         refuses(fun() -> ?CORE:get_domains_by_host_type(Bad) end),
         refuses(fun() -> ?CORE:for_each_domain(Bad, Any) end),
         refuses(fun() -> ?CORE:insert(Bad, ?T1, source) end),
         refuses(fun() -> ?CORE:insert(?D, Bad, source) end)
     end || Bad <- NoNames],
    [refuses(fun() -> ?CORE:for_each_domain(?T1, Bad) end)
     || Bad <- [a, fun() -> ok end, fun(_) -> ok end, {?MODULE, note_visit}]],
    %% A binary that can be no name is only an unknown one.
    [begin
         ?assertEqual({error, not_found}, ?CORE:get_host_type(Name)),
         ?assertNot(?CORE:is_static(Name)),
         ?assertNot(?CORE:is_host_type_allowed(Name)),
         ?assertEqual([], ?CORE:get_domains_by_host_type(Name)),
         ?assertEqual(ok, ?CORE:for_each_domain(Name, Any)),
         ?assertEqual(ok, ?CORE:delete(Name))
     end || {Name, _} <- bad_names(), is_binary(Name)],
    serves_as_before(Core).

%% Replacing

drop_in_modules_are_plain_erlang_with_debug_info(_Config) ->
    [begin
         Forms = forms(Module),
         Names = [Name || {attribute, _, Name, _} <- Forms],
         ?assertEqual([], [Name || Name <- [on_load, nifs], lists:member(Name, Names)]),
         {ok, {Module, [{imports, Imports}]}} = beam_lib:chunks(beam(Module), [imports]),
         ?assertEqual([], [Import || Import = {erlang, Function, _} <- Imports,
                                     Function =:= load_nif orelse Function =:= nif_error]),
         ?assertEqual([], Module:module_info(nifs))
     end || Module <- [?CORE, service_domain_db, mongoose_subdomain_core]].

the_service_restarts_itself_by_its_full_name(_Config) ->
    Calls = calls_of_restart(forms(service_domain_db)),
    ?assertMatch([_ | _], Calls),
    ?assertEqual([remote], lists:usort(Calls)).

functions_of_the_core_can_be_replaced_at_run_time(_Config) ->
    Core = core(),
    ok = meck:new(?CORE, [passthrough, no_link]),
    ok = meck:expect(?CORE, get_host_type, fun(_) -> {ok, <<"replaced">>} end),
    ?assertEqual({ok, <<"replaced">>}, ?CORE:get_host_type(?D)),
    %% The others go on, with the process that was there.
    ?assertEqual(ok, ?CORE:insert(?D, ?T1, source)),
    ?assertEqual([{?D, ?T1}], ?CORE:get_all_dynamic()),
    ok = meck:expect(?CORE, insert, fun(A, B, C) -> meck:passthrough([A, B, C]) end),
    ?assertEqual({error, bad_insert}, ?CORE:insert(?D, ?T2, source)),
    ?assertEqual(Core, core()),
    ok = meck:unload(?CORE),
    serves_as_before(Core).

functions_of_the_service_can_be_replaced_at_run_time(_Config) ->
    ok = meck:new(service_domain_db, [passthrough, no_link]),
    ok = meck:expect(service_domain_db, restart, fun() -> replaced end),
    ?assertEqual(replaced, service_domain_db:restart()),
    ?assertNot(service_domain_db:enabled()),
    ok = meck:unload(service_domain_db),
    ?assertEqual(ok, service_domain_db:restart()).

%% Helpers: the process and its supervisor

core() ->
    whereis(?CORE).

%% For a supervisor of our own, with the very child specification of MongooseIM.
init([Pairs, Types]) ->
    {ok, {{one_for_one, 10, 1},
          [{?CORE, {?CORE, start_link, [Pairs, Types]}, permanent, 5000, worker, [?CORE]}]}}.

stop_sup() ->
    case whereis(?SUP) of
        undefined -> ok;
        Sup -> stop_process(Sup)
    end.

stop_process(Pid) ->
    Monitor = monitor(process, Pid),
    unlink(Pid),
    exit(Pid, shutdown),
    receive {'DOWN', Monitor, process, Pid, _} -> ok after ?WAIT -> ct:fail({runs_on, Pid}) end.

kill_core() ->
    replaced_after(fun() -> exit(core(), kill) end).

%% Returns when the successor serves.
replaced_after(Crash) ->
    Old = core(),
    _ = Crash(),
    test_helper:wait_until(fun() -> not lists:member(core(), [Old, undefined]) end),
    _ = sys:get_state(?CORE),
    ok.

serves_as_before(Core) ->
    ?assertEqual(Core, core()),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()),
    ?assertEqual([{?D, ?T1}], ?CORE:get_all_dynamic()),
    ?assertEqual(ok, ?CORE:insert(<<"again.example">>, ?T2, source)),
    ?assertEqual({ok, ?T2}, ?CORE:get_host_type(<<"again.example">>)),
    ?assertEqual(ok, ?CORE:delete(<<"again.example">>)).

%% Helpers: reads

reads() ->
    [{get_host_type, [?D]}, {is_static, [?D]}, {is_host_type_allowed, [?T1]},
     {get_host_type, [null]}, {is_static, [null]}, {is_host_type_allowed, [null]},
     {get_all_static, []},
     {get_all_dynamic, []}, {get_all_outdated, [source]}, {get_domains_by_host_type, [?T1]},
     {domains_count, []}, {for_each_domain, [?T1, fun(_, _) -> ok end]}, {get_start_args, []}].

outcomes_of_reads() ->
    [try apply(?CORE, Function, Args) of
         _ -> {Function, fine}
     catch
         Class:Reason -> {Function, Class, Reason}
     end || {Function, Args} <- reads()].

all_badarg() ->
    [{Function, error, badarg} || {Function, _} <- reads()].

all_fine() ->
    [{Function, fine} || {Function, _} <- reads()].

contents(Source) ->
    [lists:sort(?CORE:get_all_static()), lists:sort(?CORE:get_all_dynamic()),
     lists:sort(?CORE:get_all_outdated(Source)), ?CORE:domains_count(), ?CORE:get_start_args(),
     [{HostType, lists:sort(?CORE:get_domains_by_host_type(HostType)),
       ?CORE:is_host_type_allowed(HostType)} || HostType <- [?ONLY_STATIC | ?TYPES]],
     [{Domain, ?CORE:get_host_type(Domain), ?CORE:is_static(Domain)} || Domain <- [?D, ?STATIC]]].

%% A linked process that reads over and over again; anything but what is expected ends it, and with
%% it the case.
start_reader(Read, Expected) ->
    Count = counters:new(1, []),
    Pid = spawn_link(fun() -> read_on(Read, Expected, Count) end),
    test_helper:wait_until(fun() -> counters:get(Count, 1) > 0 end),
    Pid.

read_on(Read, Expected, Count) ->
    Expected = Read(),
    counters:add(Count, 1, 1),
    receive stop -> ok after 0 -> read_on(Read, Expected, Count) end.

stop_reader(Pid) ->
    stop_linked(Pid).

stop_linked(Pid) ->
    Monitor = monitor(process, Pid),
    Pid ! stop,
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end.

in_another_process(Fun) ->
    {_, Monitor} = spawn_monitor(fun() -> exit({ok, Fun()}) end),
    receive {'DOWN', Monitor, process, _, Result} -> Result after ?WAIT -> timeout end.

%% Helpers: changes

numbered(N) ->
    iolist_to_binary(io_lib:format("d~5..0b.example", [N])).

insert_many(From, To) ->
    Domains = [numbered(N) || N <- lists:seq(From, To)],
    [ok = ?CORE:insert(Domain, ?T1, source) || Domain <- Domains],
    Domains.

insert_and_delete(From, To) ->
    Domains = insert_many(From, To),
    [ok = ?CORE:delete(Domain) || Domain <- Domains],
    receive stop -> ok after 0 -> insert_and_delete(From, To) end.

%% Terms of every type, many of them nearly the same. Made anew by each call: equal, not identical
%% in memory (but for the references and the pid).
sources() ->
    Big = binary:copy(<<"big">>, 100000),
    Map = maps:from_list([{N, {N}} || N <- lists:seq(1, 100)]),
    N = byte_size(Big),
    [1, 1.0, 0, 0.0, -0.0, 1 bsl 70, -(1 bsl 70), float(1 bsl 70), a, 'A', "a", <<"a">>, [a], {a},
     [], {}, #{}, <<>>, <<1:1>>, <<1:2>>, Big, <<Big/binary, "1">>, binary:part(Big, 3, N - 3),
     #{a => 1}, #{a => 1.0}, #{1 => a}, #{1.0 => a}, Map, Map#{1 := {1.0}}, Map#{101 => {101}},
     [1, 2 | 3], [1, 2, 3], [1, 2 | 3.0], {1, {2, [3]}}, {1, {2, [3.0]}},
     persistent(self, fun() -> spawn(fun() -> ok end) end),
     persistent(ref, fun make_ref/0), persistent(another_ref, fun make_ref/0),
     {persistent(ref, fun make_ref/0)}, hd(erlang:ports()),
     fun erlang:node/0, fun erlang:node/1, fun() -> N end, fun() -> N + 1 end,
     fun(X) -> X + N end, fun ?MODULE:sources/0].

%% What the function made the first time that this process asked for it.
persistent(Key, Make) ->
    case get(Key) of
        undefined -> put(Key, Make()), get(Key);
        Made -> Made
    end.

%% Helpers: the model, `#{Domain => {HostType, Source}}' of the dynamic domains

change() ->
    Domain = oneof([?STATIC | [numbered(N) || N <- lists:seq(1, 4)]]),
    frequency([{3, {insert, Domain, oneof([?ONLY_STATIC, ?T1, ?T2]), oneof([1, 1.0, source])}},
               {1, {delete, Domain}}]).

change_both({insert, Domain, HostType, Source} = Change, Model) ->
    {Expected, NewModel} = model_insert(Domain, HostType, Source, Model),
    compare(Change, Expected, ?CORE:insert(Domain, HostType, Source), NewModel);
change_both({delete, ?STATIC} = Change, Model) ->
    compare(Change, {error, static}, ?CORE:delete(?STATIC), Model);
change_both({delete, Domain} = Change, Model) ->
    compare(Change, ok, ?CORE:delete(Domain), maps:remove(Domain, Model)).

model_insert(Domain, HostType, Source, Model) ->
    case Model of
        _ when HostType =:= ?ONLY_STATIC -> {{error, unknown_host_type}, Model};
        _ when Domain =:= ?STATIC -> {{error, static}, Model};
        #{Domain := {Other, _}} when Other =/= HostType -> {{error, bad_insert}, Model};
        #{} -> {ok, Model#{Domain => {HostType, Source}}}
    end.

compare(Change, Expected, Answer, Model) ->
    ?assertEqual({Change, Expected}, {Change, Answer}),
    Rows = [{Domain, HostType, Source} || {Domain, {HostType, Source}} <- maps:to_list(Model)],
    ?assertEqual(lists:sort([{D, T} || {D, T, _} <- Rows]), lists:sort(?CORE:get_all_dynamic())),
    ?assertEqual(?PAIRS, ?CORE:get_all_static()),
    ?assertEqual(map_size(Model) + 1, ?CORE:domains_count()),
    [?assertEqual(lists:sort([D || {D, T, _} <- Rows, T =:= HostType]),
                  lists:sort(?CORE:get_domains_by_host_type(HostType))) || HostType <- ?TYPES],
    [?assertEqual(lists:sort([{D, T} || {D, T, S} <- Rows, S =/= Source]),
                  lists:sort(?CORE:get_all_outdated(Source))) || Source <- [1, 1.0, source]],
    [?assertEqual({ok, HostType}, ?CORE:get_host_type(Domain)) || {Domain, HostType, _} <- Rows],
    Model.

%% Helpers: visits of a walk

note_visit() ->
    fun ?MODULE:note_visit/2.

note_visit(HostType, Domain) ->
    put(visits, [{self(), HostType, Domain} | visits_so_far()]).

%% In order; begins anew.
visits() ->
    Visits = lists:reverse(visits_so_far()),
    erase(visits),
    Visits.

visits_so_far() ->
    case get(visits) of
        undefined -> [];
        Visits -> Visits
    end.

visited(Visits) ->
    lists:sort([Domain || {_, _, Domain} <- Visits]).

%% Helpers: hooks. They are called by the process that answers us, so they have come when it has
%% answered.

capture_hooks() ->
    Case = self(),
    [begin
         test_helper:attempt(fun() -> meck:new(Module, [non_strict, no_link]) end),
         Tell = fun(HostType, Domain) ->
                    Routes = ?CORE:get_host_type(Domain),
                    Case ! {told, {Module, Function, HostType, Domain, self(), Routes}}
                end,
         ok = meck:expect(Module, Function, Tell)
     end || {Module, Function} <- [{mongoose_subdomain_core, add_domain},
                                   {mongoose_subdomain_core, remove_domain},
                                   {mongoose_lazy_routing, maybe_remove_domain}]],
    ok.

told() ->
    receive {told, Call} -> [Call | told()] after 0 -> [] end.

%% Helpers: logs

capture_logs() ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{to => self()}, level => all}).

%% The handler runs in the process that logs.
log(Event, #{config := #{to := Case}}) ->
    Case ! {logged, Event},
    ok.

%% What processes that have answered since have logged.
logged() ->
    receive {logged, Event} -> [Event | logged()] after 0 -> [] end.

next_logged() ->
    receive {logged, Event} -> Event after ?WAIT -> ct:fail(not_logged) end.

%% Helpers: bad input

%% With what is to be said of them.
bad_names() ->
    [{<<>>, "must not be empty"},
     {binary:copy(<<"a">>, 251), "must not be longer than 250 characters"},
     {binary:copy(<<"é"/utf8>>, 251), "must not be longer than 250 characters"},
     {binary:copy(<<"a">>, 10000000), "must not be longer than 250 characters"},
     {<<255, ".example">>, "must be valid UTF-8"},
     {<<"a", 0, "b">>, "must not contain a NUL character"},
     {"a.example", "must be a binary"},
     {a, "must be a binary"},
     {1, "must be a binary"},
     {<<1:3>>, "must be a binary"},
     {[?D | ?D], "must be a binary"}].

bad_lists(Good) ->
    [none, 1, {}, #{}, <<"list">>, hd(Good), Good ++ improper, [hd(Good) | hd(Good)]].

%% `match' if the error of start_link is a badarg whose text says this of this argument.
refused(Args, Argument, Text) ->
    try apply(?CORE, start_link, Args) of
        Started -> {started, Started}
    catch
        error:badarg:Stacktrace -> explains(Stacktrace, Argument, Text)
    end.

refused_insert(Domain, Text) ->
    try ?CORE:insert(Domain, ?T1, source) of
        Inserted -> {inserted, Inserted}
    catch
        error:badarg:Stacktrace -> explains(Stacktrace, 1, Text)
    end.

explains(Stacktrace, Argument, Text) ->
    Exception = unicode:characters_to_list(erl_error:format_exception(error, badarg, Stacktrace)),
    Pattern = ["\\*\\*\\* argument ", integer_to_list(Argument), ": [^*]*", Text],
    case re:run(Exception, Pattern, [{capture, none}, unicode, dotall]) of
        match -> match;
        nomatch -> {no, Exception}
    end.

refuses(Call) ->
    try Call() of
        Answer -> ct:fail({answered, Answer})
    catch
        error:badarg -> ok;
        error:function_clause -> ok
    end.

%% Helpers: modules

beam(Module) ->
    code:which(Module).

forms(Module) ->
    {ok, {Module, [{abstract_code, {raw_abstract_v1, Forms}}]}} =
        beam_lib:chunks(beam(Module), [abstract_code]),
    Forms.

calls_of_restart({call, _, {atom, _, restart}, []}) ->
    [local];
calls_of_restart({call, _, {remote, _, {atom, _, service_domain_db}, {atom, _, restart}}, []}) ->
    [remote];
calls_of_restart(Form) when is_tuple(Form) ->
    calls_of_restart(tuple_to_list(Form));
calls_of_restart([Form | Forms]) ->
    calls_of_restart(Form) ++ calls_of_restart(Forms);
calls_of_restart(_) ->
    [].
