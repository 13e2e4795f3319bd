%% @doc Names below the domains of one node, as MongooseIM sees them: section 6 of the contract,
%% with the real processes under a real supervisor. Modules of MongooseIM that are called record it.
-module(subdomain_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("stdlib/include/assert.hrl").

%% By hand: Debian's package of PropEr has no proper.hrl.
-import(proper_types, [frequency/1, list/1, oneof/1]).

-define(SUBDOMAINS, mongoose_subdomain_core).
-define(CORE, mongoose_domain_core).
-define(SUP, mongoose_domain_sup).
-define(NIF, mongoose_domain_nif).
-define(STATIC, <<"static.example">>).
-define(A, <<"a.example">>).
-define(B, <<"b.example">>).
-define(T1, <<"type1">>).
-define(T2, <<"type2">>).
-define(MUC, {prefix, <<"muc.">>}).
-define(WHOLE, {fqdn, <<"whole.example">>}).
-define(WAIT, 60000).

all() ->
    [{group, patterns}, {group, reads}, {group, told}, {group, handlers}, {group, collisions},
     {group, life}, {group, bad_input}, {group, model}].

groups() ->
    [{patterns, [],
      [a_prefix_makes_a_subdomain_of_each_domain_of_its_host_type,
       a_whole_name_is_there_whatever_the_domains,
       the_same_pattern_of_the_same_host_type_is_already_registered,
       a_whole_name_that_is_taken_counts_as_registered_all_the_same,
       a_name_that_was_there_keeps_its_right_for_good,
       the_handler_is_kept_as_the_packet_handlers_module_returns_it,
       a_prefix_is_answered_before_the_domains_are_gone_through,
       the_names_of_a_pattern_are_gone_when_it_is_unregistered,
       what_is_not_registered_can_be_unregistered]},
     {reads, [],
      [subdomains_come_and_go_with_their_domains,
       subdomains_of_a_domain_are_listed,
       reads_are_answered_while_both_processes_are_busy,
       any_term_may_be_looked_for,
       sync_returns_when_the_casts_before_are_handled]},
     {told, [],
      [each_name_that_begins_or_ends_is_told_by_the_process,
       each_name_of_a_pattern_is_told_by_the_process,
       what_is_on_its_way_at_a_registration_is_told_once,
       a_domain_that_comes_back_is_told_of_twice,
       another_host_type_ends_names_and_begins_others,
       whoever_is_told_and_crashes_is_logged_and_harms_nobody,
       those_who_are_told_of_many_names_are_not_flooded]},
     {handlers, [],
      [without_a_handler_an_addition_costs_no_message,
       a_handler_in_a_table_is_seen_when_it_comes_and_goes,
       a_handler_in_a_persistent_term_is_seen,
       where_handlers_are_kept_unseen_each_name_is_told,
       a_load_of_which_nobody_needs_to_know_is_told_to_nobody,
       listeners_of_the_standalone_application_are_told_as_before]},
     {collisions, [],
      [two_patterns_of_one_name_are_logged_and_the_whole_name_keeps_it,
       of_two_prefixes_the_longer_wins_and_it_is_logged,
       a_subdomain_that_is_a_domain_is_logged_and_both_stay,
       a_domain_that_is_a_subdomain_is_logged_and_told_to_lazy_routing,
       collisions_are_noticed_without_a_handler,
       collisions_are_noticed_in_a_table_that_was_restarted,
       errors_are_logged_by_the_function_for_tests]},
     {life, [],
      [it_runs_by_the_child_specification_of_mongooseim,
       registrations_stay_when_the_core_is_restarted_alone,
       registrations_stay_after_a_crash_of_the_process,
       a_clean_stop_ends_all,
       a_new_supervisor_begins_without_patterns,
       unknown_messages_are_logged_and_ignored,
       functions_can_be_replaced_at_run_time]},
     {bad_input, [],
      [what_can_be_no_pattern_is_refused_with_a_text,
       nothing_that_is_no_pattern_crashes_the_process]},
     {model, [],
      [any_history_gives_the_same_answers_as_names_that_are_stored]}].

init_per_group(_Group, Config) ->
    Config.

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(a_load_of_which_nobody_needs_to_know_is_told_to_nobody, Config) ->
    record_calls(),
    log_helper:capture_logs(),
    Config;
init_per_testcase(listeners_of_the_standalone_application_are_told_as_before, Config) ->
    log_helper:capture_logs(),
    Config;
init_per_testcase(_Case, Config) ->
    record_calls(),
    log_helper:capture_logs(),
    {ok, _} = ?SUP:start_link([{?STATIC, ?T1}], [?T1, ?T2]),
    Config.

end_per_testcase(_Case, _Config) ->
    log_helper:release_logs(),
    test_helper:attempt(fun() -> persistent_term:erase(gen_hook) end),
    node_helper:stop_standalone(),
    stop_sup(),
    meck:unload().

%% Patterns

a_prefix_makes_a_subdomain_of_each_domain_of_its_host_type(_Config) ->
    insert([{?A, ?T1}, {?B, ?T2}]),
    ok = add(?T1, ?MUC),
    [?assertEqual({{ok, info(?T1, Name, ?MUC, Domain)}, {ok, ?T1}}, found(Name))
     || {Name, Domain} <- [{<<"muc.a.example">>, ?A}, {<<"muc.static.example">>, ?STATIC}]],
    [?assertEqual(not_found(), found(Name))
     || Name <- [<<"muc.b.example">>, <<"muc.">>, ?A, <<"muc.muc.a.example">>,
                 <<"xmuc.a.example">>]],
    ok = add(?T2, ?MUC),
    ?assertEqual({{ok, info(?T2, <<"muc.b.example">>, ?MUC, ?B)}, {ok, ?T2}},
                 found(<<"muc.b.example">>)).

a_whole_name_is_there_whatever_the_domains(_Config) ->
    {_, Name} = ?WHOLE,
    ok = add(?T2, ?WHOLE),
    ?assertEqual({{ok, info(?T2, Name, ?WHOLE, no_parent_domain)}, {ok, ?T2}}, found(Name)),
    %% The host type need not be known.
    ok = add(<<"other">>, {fqdn, <<"other.example">>}),
    ?assertEqual({ok, <<"other">>}, ?SUBDOMAINS:get_host_type(<<"other.example">>)).

the_same_pattern_of_the_same_host_type_is_already_registered(_Config) ->
    [begin
         ok = add(?T1, Pattern),
         ?assertEqual({error, already_registered},
                      ?SUBDOMAINS:register_subdomain(?T1, Pattern, other))
     end || Pattern <- [?MUC, ?WHOLE]],
    {ok, #{packet_handler := Kept}} = ?SUBDOMAINS:get_subdomain_info(<<"muc.static.example">>),
    ?assertEqual({with_extra, handler, #{host_type => ?T1}}, Kept).

a_whole_name_that_is_taken_counts_as_registered_all_the_same(_Config) ->
    {_, Name} = ?WHOLE,
    ok = add(?T1, ?WHOLE),
    ?assertEqual({error, subdomain_already_exists}, add(?T2, ?WHOLE)),
    ?assertEqual({error, already_registered}, add(?T2, ?WHOLE)),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(Name)),
    ?assertEqual([#{level => error, what => subdomains_collision, subdomain => Name}],
                 log_helper:logged(subdomains_collision)),
    ok = ?SUBDOMAINS:unregister_subdomain(?T2, ?WHOLE),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(Name)).

a_name_that_was_there_keeps_its_right_for_good(_Config) ->
    Name = <<"muc.static.example">>,
    ok = add(?T1, ?MUC),
    ?assertEqual({error, subdomain_already_exists}, add(?T2, {fqdn, Name})),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(Name)),
    ok = ?SUBDOMAINS:unregister_subdomain(?T1, ?MUC),
    ?assertEqual({error, not_found}, ?SUBDOMAINS:get_host_type(Name)).

the_handler_is_kept_as_the_packet_handlers_module_returns_it(_Config) ->
    ok = ?SUBDOMAINS:register_subdomain(?T1, ?MUC, {some, #{term => self()}}),
    {ok, #{packet_handler := Kept}} = ?SUBDOMAINS:get_subdomain_info(<<"muc.static.example">>),
    ?assertEqual({with_extra, {some, #{term => self()}}, #{host_type => ?T1}}, Kept).

a_prefix_is_answered_before_the_domains_are_gone_through(_Config) ->
    hold_up(register_subhost),
    ok = add(?T1, ?MUC),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.static.example">>)),
    let_go().

the_names_of_a_pattern_are_gone_when_it_is_unregistered(_Config) ->
    insert([{?A, ?T1}, {?B, ?T2}]),
    [ok = add(Type, Pattern) || {Type, Pattern} <- [{?T1, ?MUC}, {?T2, ?MUC}, {?T1, ?WHOLE}]],
    ok = ?SUBDOMAINS:unregister_subdomain(?T1, ?MUC),
    ok = ?SUBDOMAINS:unregister_subdomain(?T1, ?WHOLE),
    [?assertEqual(not_found(), found(Name))
     || Name <- [<<"muc.a.example">>, <<"muc.static.example">>, <<"whole.example">>]],
    ?assertEqual([], ?SUBDOMAINS:get_all_subdomains_for_domain(?A)),
    ?assertEqual([], ?SUBDOMAINS:get_all_subdomains_for_domain(no_parent_domain)),
    ?assertEqual({ok, ?T2}, ?SUBDOMAINS:get_host_type(<<"muc.b.example">>)),
    [?assertEqual(ok, add(?T1, Pattern)) || Pattern <- [?MUC, ?WHOLE]].

what_is_not_registered_can_be_unregistered(_Config) ->
    [?assertEqual(ok, ?SUBDOMAINS:unregister_subdomain(?T1, Pattern))
     || Pattern <- [?MUC, ?WHOLE, {prefix, <<>>}, {fqdn, <<255>>}]].

%% Reads

subdomains_come_and_go_with_their_domains(_Config) ->
    ok = add(?T1, ?MUC),
    ?assertEqual(not_found(), found(<<"muc.a.example">>)),
    insert([{?A, ?T1}]),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.a.example">>)),
    ok = ?CORE:delete(?A),
    ?assertEqual(not_found(), found(<<"muc.a.example">>)).

subdomains_of_a_domain_are_listed(_Config) ->
    insert([{?A, ?T1}, {?B, ?T2}]),
    Pubsub = {prefix, <<"pubsub.">>},
    [ok = add(Type, Pattern)
     || {Type, Pattern} <- [{?T1, ?MUC}, {?T1, Pubsub}, {?T1, ?WHOLE}, {?T2, {fqdn, <<"x">>}}]],
    All = fun(Domain) -> lists:sort(?SUBDOMAINS:get_all_subdomains_for_domain(Domain)) end,
    ?assertEqual(lists:sort([info(?T1, <<"muc.a.example">>, ?MUC, ?A),
                             info(?T1, <<"pubsub.a.example">>, Pubsub, ?A)]), All(?A)),
    ?assertEqual(lists:sort([info(?T1, <<"whole.example">>, ?WHOLE, no_parent_domain),
                             info(?T2, <<"x">>, {fqdn, <<"x">>}, no_parent_domain)]),
                 All(no_parent_domain)),
    [?assertEqual([], All(Other)) || Other <- [?B, <<"absent.example">>, <<"whole.example">>]].

reads_are_answered_while_both_processes_are_busy(_Config) ->
    ok = add(?T1, ?MUC),
    [ok = sys:suspend(Name) || Name <- [?CORE, ?SUBDOMAINS]],
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.static.example">>)),
    ?assertMatch({ok, #{parent_domain := ?STATIC}},
                 ?SUBDOMAINS:get_subdomain_info(<<"muc.static.example">>)),
    ?assertMatch([_], ?SUBDOMAINS:get_all_subdomains_for_domain(?STATIC)),
    [ok = sys:resume(Name) || Name <- [?CORE, ?SUBDOMAINS]].

any_term_may_be_looked_for(_Config) ->
    [ok = add(?T1, Pattern) || Pattern <- [?MUC, ?WHOLE]],
    Terms = [null, undefined, 1, 1.5, [], "muc.static.example", {?A}, #{}, self(), make_ref(),
             <<1:3>>, fun() -> ok end, <<>>, <<255>>, <<"muc.", 255>>, <<0>>,
             binary:copy(<<"muc.">>, 1000000)],
    [begin
         ?assertEqual({Term, not_found()}, {Term, found(Term)}),
         ?assertEqual({Term, []}, {Term, ?SUBDOMAINS:get_all_subdomains_for_domain(Term)})
     end || Term <- Terms].

sync_returns_when_the_casts_before_are_handled(_Config) ->
    ok = add(?T1, ?MUC),
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    ok = sys:suspend(?SUBDOMAINS),
    insert([{?A, ?T1}]),
    Case = self(),
    _ = spawn_link(fun() -> Case ! {synced, ?SUBDOMAINS:sync()} end),
    test_helper:wait_until(fun() -> mailbox() =:= 2 end),
    ?assertEqual([], told()),
    ok = sys:resume(?SUBDOMAINS),
    receive {synced, ok} -> ok after ?WAIT -> ct:fail(not_synced) end,
    ?assertEqual([{register_subhost, [<<"muc.a.example">>, false]}], told()).

%% Told

each_name_that_begins_or_ends_is_told_by_the_process(_Config) ->
    ok = add(?T1, ?MUC),
    ok = add(?T1, {prefix, <<"pubsub.">>}),
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    Infos = [info(?T1, <<"muc.a.example">>, ?MUC, ?A),
             info(?T1, <<"pubsub.a.example">>, {prefix, <<"pubsub.">>}, ?A)],
    insert([{?A, ?T1}]),
    ok = ?CORE:insert(?A, ?T1, another_source),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual(lists:sort([{register_subhost, [Name, false]} || #{subdomain := Name} <- Infos]),
                 lists:sort(told())),
    ok = ?CORE:delete(?A),
    ok = ?SUBDOMAINS:sync(),
    ended(Infos, told()),
    %% All of that from inside the process.
    ?assertEqual([whereis(?SUBDOMAINS)], lists:usort(tellers())).

each_name_of_a_pattern_is_told_by_the_process(_Config) ->
    insert([{?A, ?T1}, {?B, ?T2}]),
    ok = add(?T1, ?MUC),
    ok = add(?T2, ?WHOLE),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([{register_subhost, [<<"muc.a.example">>, false]},
                  {register_subhost, [<<"muc.static.example">>, false]},
                  {register_subhost, [<<"whole.example">>, false]}], lists:sort(told())),
    ok = ?SUBDOMAINS:unregister_subdomain(?T1, ?MUC),
    ended([info(?T1, <<"muc.a.example">>, ?MUC, ?A),
           info(?T1, <<"muc.static.example">>, ?MUC, ?STATIC)], told()),
    ok = ?SUBDOMAINS:unregister_subdomain(?T2, ?WHOLE),
    ended([info(?T2, <<"whole.example">>, ?WHOLE, no_parent_domain)], told()),
    ?assertEqual([whereis(?SUBDOMAINS)], lists:usort(tellers())).

%% The table is ahead of what the process has been told.
what_is_on_its_way_at_a_registration_is_told_once(_Config) ->
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ok = sys:suspend(?SUBDOMAINS),
    ok = ?CORE:delete(?A),
    _ = spawn_link(fun() -> ok = add(?T1, ?MUC) end),
    test_helper:wait_until(fun() -> mailbox() =:= 2 end),
    insert([{?B, ?T1}]),
    ok = sys:resume(?SUBDOMAINS),
    ok = ?SUBDOMAINS:sync(),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([{register_subhost, [<<"muc.a.example">>, false]},
                  {register_subhost, [<<"muc.b.example">>, false]},
                  {register_subhost, [<<"muc.static.example">>, false]}],
                 lists:sort(told_of_names())).

a_domain_that_comes_back_is_told_of_twice(_Config) ->
    ok = add(?T1, ?MUC),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    replaced_while_it_waits(?A, ?T1),
    Info = info(?T1, <<"muc.a.example">>, ?MUC, ?A),
    ?assertEqual([{unregister_subhost, [<<"muc.a.example">>]}, {maybe_remove_subdomain, [Info]},
                  {register_subhost, [<<"muc.a.example">>, false]}], told_of_names()).

%% The process comes to both changes late.
replaced_while_it_waits(Domain, HostType) ->
    ok = sys:suspend(?SUBDOMAINS),
    ok = ?CORE:delete(Domain),
    insert([{Domain, HostType}]),
    ok = sys:resume(?SUBDOMAINS),
    ok = ?SUBDOMAINS:sync().

another_host_type_ends_names_and_begins_others(_Config) ->
    ok = add(?T1, ?MUC),
    ok = add(?T2, {prefix, <<"other.">>}),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    ok = ?CORE:delete(?A),
    insert([{?A, ?T2}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([{unregister_subhost, [<<"muc.a.example">>]},
                  {maybe_remove_subdomain, [info(?T1, <<"muc.a.example">>, ?MUC, ?A)]},
                  {register_subhost, [<<"other.a.example">>, false]}], told_of_names()),
    %% Also where the same prefix makes the same name, and the process comes to it late.
    ok = add(?T1, {prefix, <<"other.">>}),
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    replaced_while_it_waits(?A, ?T1),
    Name = <<"other.a.example">>,
    ?assertEqual([{unregister_subhost, [Name]},
                  {maybe_remove_subdomain, [info(?T2, Name, {prefix, <<"other.">>}, ?A)]},
                  {register_subhost, [<<"muc.a.example">>, false]},
                  {register_subhost, [Name, false]}], lists:sort(fun in_order/2, told_of_names())).

%% Those of one domain come in any order.
in_order({register_subhost, One}, {register_subhost, Other}) -> One =< Other;
in_order(_, _) -> true.

whoever_is_told_and_crashes_is_logged_and_harms_nobody(_Config) ->
    Pid = whereis(?SUBDOMAINS),
    [ok = meck:expect(Module, Function, fun(_) -> error(crash) end)
     || {Module, Function} <- [{mongoose_hooks, unregister_subhost},
                               {mongoose_lazy_routing, maybe_remove_subdomain}]],
    ok = meck:expect(mongoose_hooks, register_subhost, fun(_, _) -> error(crash) end),
    ok = add(?T1, ?MUC),
    ok = ?SUBDOMAINS:unregister_subdomain(?T1, ?MUC),
    ?assertEqual([{mongoose_hooks, register_subhost}, {mongoose_hooks, unregister_subhost},
                  {mongoose_lazy_routing, maybe_remove_subdomain}],
                 [Hook || #{hook := Hook, level := error}
                              <- log_helper:logged(domain_hook_failed)]),
    ?assertEqual(Pid, whereis(?SUBDOMAINS)).

%% Answered when a few are told; the others are told step by step, while lazy routing keeps up.
those_who_are_told_of_many_names_are_not_flooded(_Config) ->
    Pairs = [{<<"d", (integer_to_binary(N))/binary>>, ?T1} || N <- lists:seq(1, 3000)],
    {ok, _} = ?SUP:restart_core([Pairs, [?T1]]),
    _ = gen_hook_table([]),
    ok = add(?T1, ?MUC),
    ok = ?SUBDOMAINS:sync(),
    Slow = spawn_link(fun() -> read_slowly(0) end),
    true = register(mongoose_lazy_routing, Slow),
    ok = meck:expect(mongoose_lazy_routing, maybe_remove_subdomain,
                     fun(Info) -> Slow ! Info, ok end),
    Case = self(),
    _ = spawn_link(fun() -> sample_mailbox(Case, Slow, 0) end),
    ok = ?SUBDOMAINS:unregister_subdomain(?T1, ?MUC),
    ok = ?SUBDOMAINS:sync(),
    Slow ! {count, self()},
    receive {counted, Count} -> ?assertEqual(3000, Count) after ?WAIT -> ct:fail(not_counted) end,
    receive {most, Most} -> ?assert(Most =< 1700) after ?WAIT -> ct:fail(no_sample) end.

read_slowly(Count) ->
    receive
        {count, Case} -> Case ! {counted, Count};
        _Info ->
            _ = Count rem 100 =:= 0 andalso timer:sleep(5),
            read_slowly(Count + 1)
    end.

sample_mailbox(Case, Pid, Most) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> timer:sleep(1), sample_mailbox(Case, Pid, max(Most, Length));
        undefined -> Case ! {most, Most}
    end.

%% Handlers

without_a_handler_an_addition_costs_no_message(_Config) ->
    _ = gen_hook_table([{{some_hook, ?T1}, [handler]}]),
    ok = add(?T1, ?MUC),
    ok = ?SUBDOMAINS:sync(),
    ok = sys:suspend(?SUBDOMAINS),
    Domains = [<<"d", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 1000)],
    insert([{Domain, ?T1} || Domain <- Domains]),
    ok = ?CORE:await_notified(),
    ?assertEqual(0, mailbox()),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.d1000">>)),
    %% A removal is told to lazy routing.
    _ = told(),
    ok = ?CORE:delete(<<"d7">>),
    ?assertEqual([{maybe_remove_domain, [?T1, <<"d7">>]}], told()),
    ?assertEqual(1, mailbox()),
    ok = sys:resume(?SUBDOMAINS),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([{unregister_subhost, [<<"muc.d7">>]},
                  {maybe_remove_subdomain, [info(?T1, <<"muc.d7">>, ?MUC, <<"d7">>)]}], told()).

a_handler_in_a_table_is_seen_when_it_comes_and_goes(_Config) ->
    Table = gen_hook_table([{{some_hook, ?T1}, [handler]}, {{register_subhost, global}, []}]),
    ok = add(?T1, ?MUC),
    ?assertNot(?SUBDOMAINS:wants_additions()),
    insert([{?A, ?T1}]),
    true = ets:insert(Table, {{register_subhost, global}, [handler]}),
    insert([{?B, ?T1}]),
    true = ets:delete(Table, {register_subhost, global}),
    insert([{<<"c.example">>, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([{register_subhost, [<<"muc.b.example">>, false]}], told()).

a_handler_in_a_persistent_term_is_seen(_Config) ->
    persistent_term:put(gen_hook, #{some_hook => [handler]}),
    ?assertNot(?SUBDOMAINS:wants_additions()),
    persistent_term:put(gen_hook, #{some_hook => [handler],
                                    {register_subhost, global} => [handler]}),
    ?assert(?SUBDOMAINS:wants_additions()).

where_handlers_are_kept_unseen_each_name_is_told(_Config) ->
    ?assert(?SUBDOMAINS:wants_additions()),
    Case = self(),
    Keeper = spawn_link(fun() ->
                            gen_hook = ets:new(gen_hook, [named_table, private]),
                            Case ! made,
                            receive stop -> ok end
                        end),
    receive made -> ok end,
    ?assert(?SUBDOMAINS:wants_additions()),
    Keeper ! stop.

%% By the service: a load, a removal, all followed.
a_load_of_which_nobody_needs_to_know_is_told_to_nobody(Config0) ->
    Config = db_helper:init_database(sqlite, Config0),
    _ = gen_hook_table([]),
    Url = db_helper:fresh_url(Config),
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    [{ok, _} = mongoose_domain_api:insert_domain(Domain, ?T1) || Domain <- [?A, ?B]],
    pong = service_domain_db:sync_local(),
    ok = add(?T1, ?MUC),
    ok = add(?T2, {prefix, <<"a.">>}),
    ok = ?SUBDOMAINS:sync(),
    ok = sys:suspend(?SUBDOMAINS),
    ok = service_domain_db:restart(),
    pong = node_helper:loaded(),
    ?assertEqual(0, mailbox()),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.b.example">>)),
    %% One that collides is told.
    {ok, _} = mongoose_domain_api:insert_domain(<<"example">>, ?T2),
    pong = service_domain_db:sync_local(),
    ?assertEqual(1, mailbox()),
    ok = sys:resume(?SUBDOMAINS),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([#{level => error, what => check_subdomain_name_failed, subdomain => ?A}],
                 log_helper:logged(check_subdomain_name_failed)).

%% Without MongooseIM's modules.
listeners_of_the_standalone_application_are_told_as_before(Config0) ->
    Config = db_helper:init_database(sqlite, Config0),
    Url = db_helper:fresh_url(Config),
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    Case = self(),
    ok = mongoose_domain_hooks:add_listener(?MODULE, fun(What, Type, Domain) ->
                                                Case ! {told, {What, [Type, Domain]}, self()}
                                            end),
    ok = add(?T1, ?MUC),
    {ok, _} = mongoose_domain_api:insert_domain(?A, ?T1),
    {ok, _} = mongoose_domain_api:insert_domain(<<"muc.a.example">>, ?T1),
    pong = service_domain_db:sync_local(),
    %% It looks while there is still a collision.
    ok = ?SUBDOMAINS:sync(),
    {ok, _} = mongoose_domain_api:delete_domain(?A, ?T1),
    _ = sys:get_state(mongoose_domain_hooks),
    ?assertEqual([{added, [?T1, ?A]}, {added, [?T1, <<"muc.a.example">>]}, {removed, [?T1, ?A]}],
                 told()),
    ?assertEqual([#{level => error, what => check_domain_name_failed,
                    domain => <<"muc.a.example">>}],
                 log_helper:logged(check_domain_name_failed)),
    %% Nor does anybody have to be told, and nothing stays pending.
    ok = mongoose_domain_hooks:delete_listener(?MODULE),
    ok = ?CORE:insert(?B, ?T1, source),
    ?assertMatch({_, [], 0}, ?NIF:pending(0, 10, all)).

%% Collisions

two_patterns_of_one_name_are_logged_and_the_whole_name_keeps_it(_Config) ->
    Name = <<"muc.a.example">>,
    ok = add(?T2, {fqdn, Name}),
    ok = add(?T1, ?MUC),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual({ok, ?T2}, ?SUBDOMAINS:get_host_type(Name)),
    ?assertEqual([#{level => error, what => subdomains_collision, subdomain => Name}],
                 log_helper:logged(subdomains_collision)),
    ?assertEqual(1, length([Name || {register_subhost, [N, false]} <- told(), N =:= Name])),
    %% The other way round: the prefix comes second.
    ok = ?SUBDOMAINS:unregister_subdomain(?T1, ?MUC),
    ok = add(?T1, ?MUC),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual(2, length(log_helper:logged(subdomains_collision))),
    ?assertNot(lists:member({unregister_subhost, [Name]}, told())).

of_two_prefixes_the_longer_wins_and_it_is_logged(_Config) ->
    Name = <<"m.x.a.example">>,
    ok = add(?T1, {prefix, <<"m.">>}),
    ok = add(?T2, {prefix, <<"m.x.">>}),
    insert([{<<"x.a.example">>, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([], log_helper:logged(subdomains_collision)),
    _ = told(),
    insert([{?A, ?T2}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual({ok, ?T2}, ?SUBDOMAINS:get_host_type(Name)),
    ?assertEqual([#{level => error, what => subdomains_collision, subdomain => Name}],
                 log_helper:logged(subdomains_collision)),
    %% The name was there before. Lazy routing must forget by whom.
    Won = info(?T2, Name, {prefix, <<"m.x.">>}, ?A),
    ?assertEqual([{maybe_remove_subdomain, [Won]}], told()),
    ?assertEqual([], ?SUBDOMAINS:get_all_subdomains_for_domain(<<"x.a.example">>)),
    ok = ?CORE:delete(?A),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(Name)),
    ?assertEqual([{maybe_remove_domain, [?T2, ?A]}, {maybe_remove_subdomain, [Won]}], told()).

a_subdomain_that_is_a_domain_is_logged_and_both_stay(_Config) ->
    Name = <<"muc.static.example">>,
    insert([{Name, ?T2}, {<<"muc.a.example">>, ?T2}, {<<"whole.example">>, ?T2}]),
    ok = add(?T1, ?MUC),
    ok = add(?T1, ?WHOLE),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([#{level => error, what => check_subdomain_name_failed, subdomain => It}
                  || It <- [Name, <<"whole.example">>, <<"muc.a.example">>]],
                 log_helper:logged(check_subdomain_name_failed)),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(Name)),
    ?assertEqual({ok, ?T2}, ?CORE:get_host_type(Name)).

a_domain_that_is_a_subdomain_is_logged_and_told_to_lazy_routing(_Config) ->
    Name = <<"muc.static.example">>,
    ok = add(?T1, ?MUC),
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    insert([{Name, ?T2}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([#{level => error, what => check_domain_name_failed, domain => Name}],
                 log_helper:logged(check_domain_name_failed)),
    ?assertEqual([{maybe_remove_subdomain, [info(?T1, Name, ?MUC, ?STATIC)]}], told()),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(Name)).

collisions_are_noticed_without_a_handler(Config) ->
    _ = gen_hook_table([]),
    ok = add(?T2, {fqdn, <<"p.b.example">>}),
    ok = add(?T2, {prefix, <<"p.">>}),
    ok = ?SUBDOMAINS:sync(),
    insert([{?B, ?T2}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([#{level => error, what => subdomains_collision, subdomain => <<"p.b.example">>}],
                 log_helper:logged(subdomains_collision)),
    a_subdomain_that_is_a_domain_is_logged_and_both_stay(Config).

collisions_are_noticed_in_a_table_that_was_restarted(_Config) ->
    _ = gen_hook_table([]),
    ok = add(?T1, ?MUC),
    {ok, _} = ?SUP:restart_core([[{<<"muc.a.example">>, ?T2}], [?T1]]),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([#{level => error, what => check_subdomain_name_failed,
                    subdomain => <<"muc.a.example">>}],
                 log_helper:logged(check_subdomain_name_failed)).

errors_are_logged_by_the_function_for_tests(_Config) ->
    Case = self(),
    ok = meck:new(?SUBDOMAINS, [passthrough, no_link]),
    ok = meck:expect(?SUBDOMAINS, log_error, fun(Function, #{what := What}) ->
                                                 Case ! {logged, Function, What}, ok
                                             end),
    ok = add(?T1, ?WHOLE),
    {error, subdomain_already_exists} = add(?T2, ?WHOLE),
    receive
        {logged, Function, subdomains_collision} -> ?assert(is_atom(Function))
    after ?WAIT -> ct:fail(not_logged)
    end,
    ?assertEqual([], log_helper:logged(subdomains_collision)).

%% Life

it_runs_by_the_child_specification_of_mongooseim(_Config) ->
    stop_sup(),
    {ok, Sup} = supervisor:start_link({local, ?SUP}, ?MODULE, []),
    ok = add(?T1, ?MUC),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.static.example">>)),
    stop_process(Sup).

registrations_stay_when_the_core_is_restarted_alone(_Config) ->
    [ok = add(?T1, Pattern) || Pattern <- [?MUC, ?WHOLE]],
    insert([{?A, ?T1}]),
    {ok, _} = ?SUP:restart_core([[{?B, ?T1}], [?T1]]),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.b.example">>)),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"whole.example">>)),
    ?assertEqual(not_found(), found(<<"muc.a.example">>)),
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([{register_subhost, [<<"muc.a.example">>, false]}], told()),
    %% Whole names are there without a table.
    ok = supervisor:terminate_child(?SUP, ?CORE),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"whole.example">>)),
    ?assertEqual(not_found(), found(<<"muc.b.example">>)).

registrations_stay_after_a_crash_of_the_process(_Config) ->
    ok = add(?T1, ?MUC),
    Old = whereis(?SUBDOMAINS),
    exit(Old, kill),
    test_helper:wait_until(fun() -> not lists:member(whereis(?SUBDOMAINS), [Old, undefined]) end),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual({ok, ?T1}, ?SUBDOMAINS:get_host_type(<<"muc.static.example">>)),
    ?assertEqual({error, already_registered}, add(?T1, ?MUC)),
    _ = told(),
    insert([{?A, ?T1}]),
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([{register_subhost, [<<"muc.a.example">>, false]}], told()).

%% As when a table is gone. The core goes on.
a_clean_stop_ends_all(_Config) ->
    ok = add(?T1, ?MUC),
    ok = supervisor:terminate_child(?SUP, ?SUBDOMAINS),
    ?assertError(badarg, ?SUBDOMAINS:get_host_type(<<"muc.static.example">>)),
    ?assertError(badarg, ?SUBDOMAINS:get_subdomain_info(<<"muc.static.example">>)),
    ?assertError(badarg, ?SUBDOMAINS:get_all_subdomains_for_domain(?STATIC)),
    insert([{?A, ?T1}]),
    ok = ?CORE:delete(?A),
    ?assertEqual([], log_helper:logged(domain_hook_failed)),
    {ok, _} = supervisor:restart_child(?SUP, ?SUBDOMAINS),
    ?assertEqual(not_found(), found(<<"muc.static.example">>)).

a_new_supervisor_begins_without_patterns(_Config) ->
    ok = add(?T1, ?MUC),
    exit(whereis(?SUBDOMAINS), kill),
    stop_sup(),
    {ok, _} = ?SUP:start_link([{?STATIC, ?T1}], [?T1]),
    ?assertEqual(not_found(), found(<<"muc.static.example">>)),
    ?assertEqual(ok, add(?T1, ?MUC)).

unknown_messages_are_logged_and_ignored(_Config) ->
    Pid = whereis(?SUBDOMAINS),
    ?assertEqual(ok, gen_server:call(?SUBDOMAINS, unknown)),
    ok = gen_server:cast(?SUBDOMAINS, unknown),
    ?SUBDOMAINS ! unknown,
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual([warning, warning, warning],
                 [Level || What <- [unexpected_call, unexpected_cast, unexpected_message],
                           #{level := Level, server := ?SUBDOMAINS} <- log_helper:logged(What)]),
    ?assertEqual(Pid, whereis(?SUBDOMAINS)).

functions_can_be_replaced_at_run_time(_Config) ->
    Pid = whereis(?SUBDOMAINS),
    ok = meck:new(?SUBDOMAINS, [passthrough, no_link]),
    ok = meck:expect(?SUBDOMAINS, get_host_type, fun(_) -> {ok, <<"replaced">>} end),
    ?assertEqual({ok, <<"replaced">>}, ?SUBDOMAINS:get_host_type(<<"x">>)),
    ok = add(?T1, ?MUC),
    ?assertMatch({ok, _}, ?SUBDOMAINS:get_subdomain_info(<<"muc.static.example">>)),
    ?assertEqual(Pid, whereis(?SUBDOMAINS)).

%% Bad input

what_can_be_no_pattern_is_refused_with_a_text(_Config) ->
    Bad = [{<<>>, "must not be empty"}, {binary:copy(<<"a">>, 251), "must not be longer than 250"},
           {<<255>>, "must be valid UTF-8"}, {<<"a", 0>>, "must not contain a NUL"}],
    [?assertMatch({match, _, _}, refused(HostType, Pattern, Argument, Text))
     || {Name, Text} <- Bad,
        {HostType, Pattern, Argument} <- [{Name, ?MUC, 1}, {?T1, {prefix, Name}, 2},
                                          {?T1, {fqdn, Name}, 2}]],
    ?assertEqual([], ?SUBDOMAINS:get_all_subdomains_for_domain(?STATIC)).

refused(HostType, Pattern, Argument, Text) ->
    try ?SUBDOMAINS:register_subdomain(HostType, Pattern, handler) of
        Answer -> {answered, Answer}
    catch
        error:badarg:Stacktrace ->
            Exception = erl_error:format_exception(error, badarg, Stacktrace),
            Said = unicode:characters_to_list(Exception),
            Expected = ["argument ", integer_to_list(Argument), ": [^*]*", Text],
            case re:run(Said, Expected, [unicode]) of
                {match, _} -> {match, Argument, Text};
                nomatch -> {no, Said}
            end
    end.

nothing_that_is_no_pattern_crashes_the_process(_Config) ->
    Pid = whereis(?SUBDOMAINS),
    [begin
         ?assertError(function_clause, ?SUBDOMAINS:register_subdomain(HostType, Pattern, handler)),
         ?assertError(function_clause, ?SUBDOMAINS:unregister_subdomain(HostType, Pattern))
     end || {HostType, Pattern} <- [{?T1, prefix}, {?T1, {prefix, "muc."}},
                                    {?T1, {suffix, <<"x">>}},
                                    {type1, ?MUC}, {?T1, {prefix, <<1:3>>}}, {?T1, {fqdn, a}},
                                    {?T1, [?MUC]}, {?T1, {prefix, <<"x">>, y}}]],
    %% Casts of anything.
    [ok = ?SUBDOMAINS:Function(HostType, Domain)
     || Function <- [add_domain, remove_domain],
        {HostType, Domain} <- [{a, b}, {<<255>>, <<255>>}, {?T1, "a"}, {<<>>, <<>>}, {1, #{}}]],
    ok = ?SUBDOMAINS:sync(),
    ?assertEqual(Pid, whereis(?SUBDOMAINS)).

%% Model

%% Histories in which no two make the same name, against a map of names that are stored.
any_history_gives_the_same_answers_as_names_that_are_stored(_Config) ->
    Property = proper:forall(list(operation()), fun agree/1),
    ?assertEqual(true, proper:quickcheck(Property, [{numtests, 500}, {max_size, 60}, quiet,
                                                    long_result])).

operation() ->
    frequency([{3, {insert, domain(), host_type()}}, {2, {delete, domain()}},
               {3, {register, host_type(), pattern()}}, {2, {unregister, host_type(), pattern()}}]).

domain() -> oneof([<<"a">>, <<"b">>, <<"c">>, <<"ä"/utf8>>]).
host_type() -> oneof([?T1, ?T2]).
pattern() -> oneof([?MUC, {prefix, <<"pubsub.">>}, {fqdn, <<"w">>}, {fqdn, <<"x">>}]).

agree(Operations) ->
    [begin
         ok = ?SUBDOMAINS:unregister_subdomain(Type, Pattern),
         ok = ?CORE:delete(Domain)
     end || Type <- [?T1, ?T2], Domain <- [<<"a">>, <<"b">>, <<"c">>, <<"ä"/utf8>>],
            Pattern <- [?MUC, {prefix, <<"pubsub.">>}, {fqdn, <<"w">>}, {fqdn, <<"x">>}]],
    ok = ?SUBDOMAINS:sync(),
    _ = told(),
    {Names, _, _} = lists:foldl(fun operate/2, {#{}, #{?STATIC => ?T1}, #{}}, Operations),
    ok = ?SUBDOMAINS:sync(),
    %% Those who are told know the same names.
    Told = lists:foldl(fun({register_subhost, [Name, false]}, Known) ->
                               false = lists:member(Name, Known),
                               [Name | Known];
                          ({unregister_subhost, [Name]}, Known) ->
                               true = lists:member(Name, Known),
                               Known -- [Name];
                          (_, Known) -> Known
                       end, [], told()),
    lists:sort(Told) =:= lists:sort(maps:keys(Names)).

%% {Name => Info, Domain => HostType, {HostType, Pattern} => makes names?}
operate({insert, Domain, Type}, {Names, Domains, Patterns}) ->
    Result = ?CORE:insert(Domain, Type, source),
    case Domains of
        #{Domain := Type} -> ok = Result, {Names, Domains, Patterns};
        #{Domain := _} -> {error, bad_insert} = Result, {Names, Domains, Patterns};
        _ ->
            ok = Result,
            New = [stored(Of, Pattern, Domain)
                   || {Of, {prefix, _} = Pattern} <- maps:keys(Patterns), Of =:= Type],
            check({maps:merge(Names, maps:from_list(New)), Domains#{Domain => Type}, Patterns})
    end;
operate({delete, Domain}, {Names, Domains, Patterns}) ->
    ok = ?CORE:delete(Domain),
    Left = maps:filter(fun(_, #{parent_domain := Parent}) -> Parent =/= Domain end, Names),
    check({Left, maps:remove(Domain, Domains), Patterns});
operate({register, Type, Pattern}, {Names, Domains, Patterns} = Model) ->
    Result = add(Type, Pattern),
    case {Patterns, Pattern} of
        {#{{Type, Pattern} := _}, _} ->
            {error, already_registered} = Result,
            Model;
        {_, {prefix, _}} ->
            ok = Result,
            New = [stored(Type, Pattern, Domain)
                   || {Domain, Of} <- maps:to_list(Domains), Of =:= Type],
            check({maps:merge(Names, maps:from_list(New)), Domains,
                   Patterns#{{Type, Pattern} => true}});
        {_, {fqdn, Name}} when is_map_key(Name, Names) ->
            {error, subdomain_already_exists} = Result,
            check({Names, Domains, Patterns#{{Type, Pattern} => false}});
        {_, {fqdn, Name}} ->
            ok = Result,
            Info = info(Type, Name, Pattern, no_parent_domain),
            check({Names#{Name => Info}, Domains, Patterns#{{Type, Pattern} => true}})
    end;
operate({unregister, Type, Pattern}, {Names, Domains, Patterns}) ->
    ok = ?SUBDOMAINS:unregister_subdomain(Type, Pattern),
    Left = maps:filter(fun(_, #{host_type := OfType, subdomain_pattern := Of}) ->
                           {OfType, Of} =/= {Type, Pattern}
                       end, Names),
    check({Left, Domains, maps:remove({Type, Pattern}, Patterns)}).

stored(Type, {prefix, Prefix} = Pattern, Domain) ->
    Name = <<Prefix/binary, Domain/binary>>,
    {Name, info(Type, Name, Pattern, Domain)}.

check({Names, Domains, _} = Model) ->
    Asked = [<<Prefix/binary, Domain/binary>>
             || Prefix <- [<<"muc.">>, <<"pubsub.">>],
                Domain <- [?STATIC, <<"a">>, <<"b">>, <<"c">>, <<"ä"/utf8>>]] ++ [<<"w">>, <<"x">>],
    [case Names of
         #{Name := Info} -> {{ok, Info}, {ok, _}} = found(Name);
         _ -> {{error, not_found}, {error, not_found}} = found(Name)
     end || Name <- Asked],
    [begin
         Below = [Info || #{parent_domain := Of} = Info <- maps:values(Names), Of =:= Parent],
         Sorted = lists:sort(Below),
         Sorted = lists:sort(?SUBDOMAINS:get_all_subdomains_for_domain(Parent))
     end || Parent <- [no_parent_domain, <<"absent">> | maps:keys(Domains)]],
    Model.

%% Helpers

init([]) ->
    Child = fun(Module, Args) ->
                {Module, {Module, start_link, Args}, permanent, 5000, worker, [Module]}
            end,
    {ok, {{one_for_one, 10, 1}, [Child(?CORE, [[{?STATIC, ?T1}], [?T1]]), Child(?SUBDOMAINS, [])]}}.

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

insert(Pairs) ->
    [ok = ?CORE:insert(Domain, HostType, source) || {Domain, HostType} <- Pairs],
    ok.

add(HostType, Pattern) ->
    ?SUBDOMAINS:register_subdomain(HostType, Pattern, handler).

found(Name) ->
    {?SUBDOMAINS:get_subdomain_info(Name), ?SUBDOMAINS:get_host_type(Name)}.

not_found() ->
    {{error, not_found}, {error, not_found}}.

info(HostType, Name, Pattern, Parent) ->
    #{host_type => HostType, subdomain => Name, subdomain_pattern => Pattern,
      parent_domain => Parent, packet_handler => {with_extra, handler, #{host_type => HostType}}}.

mailbox() ->
    {message_queue_len, Length} = process_info(whereis(?SUBDOMAINS), message_queue_len),
    Length.

%% MongooseIM's modules, which tell the test what they are called with, and by whom.
record_calls() ->
    Case = self(),
    Tell = fun(Function, Args) -> Case ! {told, {Function, Args}, self()}, held_up(Function) end,
    ok = meck:new([mongoose_hooks, mongoose_lazy_routing, mongoose_packet_handler],
                  [non_strict, no_link]),
    ok = meck:expect(mongoose_hooks, register_subhost,
                     fun(Name, IsHidden) -> Tell(register_subhost, [Name, IsHidden]) end),
    ok = meck:expect(mongoose_hooks, unregister_subhost,
                     fun(Name) -> Tell(unregister_subhost, [Name]) end),
    ok = meck:expect(mongoose_lazy_routing, maybe_remove_domain,
                     fun(HostType, Domain) -> Tell(maybe_remove_domain, [HostType, Domain]) end),
    ok = meck:expect(mongoose_lazy_routing, maybe_remove_subdomain,
                     fun(Info) -> Tell(maybe_remove_subdomain, [Info]) end),
    ok = meck:expect(mongoose_packet_handler, add_extra,
                     fun(Handler, Extra) -> {with_extra, Handler, Extra} end).

%% The calls until now.
told() ->
    receive
        {told, Call, Pid} ->
            _ = element(1, Call) =/= maybe_remove_domain andalso put(tellers, [Pid | tellers()]),
            [Call | told()]
    after 0 -> []
    end.

%% But for what the core tells lazy routing.
told_of_names() ->
    [Call || {Function, _} = Call <- told(), Function =/= maybe_remove_domain].

tellers() ->
    case get(tellers) of undefined -> []; Pids -> Pids end.

%% First the hook, then lazy routing, for each of them.
ended(Infos, Told) ->
    Calls = lists:keydelete(maybe_remove_domain, 1, Told),
    ?assertEqual(length(Infos) * 2, length(Calls)),
    [begin
         Hook = {unregister_subhost, [Name]},
         ?assertMatch([Hook, {maybe_remove_subdomain, [Info]}],
                      [Call || Call <- Calls,
                               lists:member(Call, [Hook, {maybe_remove_subdomain, [Info]}])])
     end || #{subdomain := Name} = Info <- Infos].

hold_up(Function) ->
    persistent_term:put(?MODULE, Function).

let_go() ->
    persistent_term:erase(?MODULE).

held_up(Function) ->
    case persistent_term:get(?MODULE, undefined) of
        Function -> timer:sleep(1), held_up(Function);
        _ -> ok
    end.

%% What gen_hook keeps, as far as anybody can see it.
gen_hook_table(Rows) ->
    Table = ets:new(gen_hook, [named_table, public]),
    true = ets:insert(Table, Rows),
    Table.
