%% @doc The sidecar beside a cluster of two nodes that are stand-ins for MongooseIM
%% (test/mongooseim), releases in embedded mode: the first has our modules, the second has none.
-module(sidecar_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(APP, mongoose_domain_standalone).
-define(API, mongoose_domain_api).
-define(SIDECAR, mongoose_domain_sidecar).
-define(D, <<"a.example">>).
-define(T, <<"type1">>).
%% A host type that only the sidecar has.
-define(T2, <<"type2">>).
%% Milliseconds; the nodes look at the event log by themselves 30 s after the last time.
-define(SOON, 20000).

all() ->
    [{group, changes}, {group, removals}, {group, trouble}, {group, http}, {group, options}].

groups() ->
    [{changes, [],
      [a_change_reaches_the_nodes_at_once,
       a_change_of_the_cluster_reaches_the_sidecar_within_seconds,
       the_cluster_does_not_see_the_sidecar,
       a_node_that_was_cut_off_is_told_when_it_is_connected_again]},
     {removals, [],
      [a_removal_runs_the_handler_on_one_node_and_not_in_the_sidecar,
       a_requested_removal_is_finished_by_the_node,
       a_refusal_of_the_node_is_that_of_the_sidecar,
       what_the_sidecar_can_refuse_asks_nobody,
       any_other_answer_is_an_error_with_a_text,
       a_password_is_changed_by_a_node_and_not_in_the_sidecar,
       a_removal_reaches_nodes_that_are_no_members_of_one_cluster,
       a_removal_right_after_the_start_connects_by_itself,
       the_sidecar_leaves_interrupted_removals_alone]},
     {trouble, [],
      [without_a_node_a_removal_is_refused_and_nothing_is_marked,
       with_one_node_away_the_other_is_asked,
       a_node_that_comes_back_is_connected_again,
       a_node_that_hangs_is_not_waited_for_and_not_asked_again,
       a_removal_whose_node_dies_is_not_begun_elsewhere_until_it_is_asked_again,
       a_wrong_cookie_is_named,
       nodes_that_cannot_remove_domains_are_passed_over,
       a_sidecar_that_crashes_goes_on]},
     {http, [],
      [the_same_by_http,
       by_http_a_removal_without_a_node_is_refused_and_says_why]},
     {options, [],
      [wrong_options_are_refused,
       a_sidecar_needs_the_database,
       a_sidecar_has_no_removal_handlers,
       a_node_that_is_not_distributed_is_refused,
       a_node_that_is_not_hidden_is_refused,
       a_sidecar_of_itself_is_refused,
       long_and_short_names_do_not_mix]}].

init_per_suite(Config0) ->
    Root = test_helper:root_dir(),
    [load(filename:join([Root, "test/mongooseim", Name])) || Name <- ["stand_in", "installer"]],
    Dir = ?config(priv_dir, Config0),
    Config = db_helper:init_database(postgres, Config0),
    [First, Second] = Mims = [filename:join(Dir, Name) || Name <- ["mim1", "mim2"]],
    Ours = filename:join(Dir, "ours"),
    stand_in:build(Second, "6.4.0"),
    installer:shell(["cp -a ", Second, " ", First]),
    installer:make_ours(Ours),
    {0, _} = installer:run(Ours, ["install", First], []),
    [{mims, Mims}, {asker, hidden_peer(asker)} | Config].

%% Not compiled with the suites.
load(File) ->
    {ok, Module, Code} = compile:file(File, [binary, report]),
    {module, Module} = code:load_binary(Module, File, Code).

end_per_suite(Config) ->
    node_helper:stop_node(?config(asker, Config)),
    db_helper:end_database(Config).

init_per_group(Group, Config) ->
    [{group, Group} | Config].

end_per_group(_Group, _Config) ->
    ok.

init_per_testcase(a_removal_reaches_nodes_that_are_no_members_of_one_cluster, Config) ->
    with_nodes([{url, db_helper:fresh_url(Config)} | Config]);
init_per_testcase(_Case, Config) ->
    case ?config(group, Config) of
        options -> Config;
        _ -> with_cluster([{url, db_helper:fresh_url(Config)} | Config])
    end.

with_cluster(Config0) ->
    Config = with_nodes(Config0),
    [First, Second] = ?config(nodes, Config),
    connect(First, Second),
    Config.

%% They share the database only.
with_nodes(Config) ->
    Nodes = [start_mim(Dir, Config) || Dir <- ?config(mims, Config)],
    [{nodes, Nodes}, {sidecar, hidden_peer(sidecar)} | Config].

end_per_testcase(_Case, Config) ->
    node_helper:stop_standalone(),
    [node_helper:stop_node(Sidecar) || Sidecar <- [?config(sidecar, Config)],
                                       Sidecar =/= undefined],
    %% Also one that hangs.
    [stand_in:signal("KILL", Node) || Node <- proplists:get_value(nodes, Config, []),
                                      is_alive(Node)],
    ok.

%% Changes

a_change_reaches_the_nodes_at_once(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    [begin
         Told = times_told(Second),
         {ok, _} = call(Sidecar, ?API, Function, Args),
         soon(fun() -> host_type(First, ?D) =:= Expected end),
         %% Nothing of ours is there, and its process is told, once.
         soon(fun() -> times_told(Second) =:= Told + 1 end)
     end || {Function, Args, Expected} <- [{insert_domain, [?D, ?T], {ok, ?T}},
                                           {disable_domain, [?D], {error, not_found}},
                                           {enable_domain, [?D], {ok, ?T}}]],
    %% What changes nothing tells nobody.
    Told = times_told(Second),
    {ok, _} = call(Sidecar, ?API, insert_domain, [?D, ?T]),
    {static, _} = call(Sidecar, ?API, disable_domain, [<<"static.example">>]),
    ?assertEqual(Told, times_told(Second)).

a_change_of_the_cluster_reaches_the_sidecar_within_seconds(Config) ->
    [_, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    insert(Sidecar),
    {ok, _} = mim_call(Second, ?API, delete_domain, [?D, ?T]),
    soon(fun() -> host_type(Sidecar, ?D) =:= {error, not_found} end).

the_cluster_does_not_see_the_sidecar(Config) ->
    [First, Second] = Nodes = ?config(nodes, Config),
    {_, Name} = Sidecar = sidecar(Config),
    insert(Sidecar),
    Names = [stand_in:name(Node) || Node <- Nodes],
    [begin
         ?assertEqual([stand_in:name(Other)], mim_call(Node, erlang, nodes, [])),
         ?assert(lists:member(Name, mim_call(Node, erlang, nodes, [hidden]))),
         Services = mim_call(Node, pg, get_members, [mim_scope, service_domain_db_group]),
         ?assertEqual(lists:sort(Names), lists:sort([node(Pid) || Pid <- Services])),
         %% So it waits for nobody else.
         pong = mim_call(Node, service_domain_db, sync_local, [])
     end || {Node, Other} <- [{First, Second}, {Second, First}]],
    ?assertEqual([], call(Sidecar, erlang, nodes, [])).

a_node_that_was_cut_off_is_told_when_it_is_connected_again(Config) ->
    [_, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    Told = times_told(Second),
    true = call(Sidecar, erlang, disconnect_node, [stand_in:name(Second)]),
    soon(fun() -> times_told(Second) > Told end),
    soon(fun() -> reachable(Sidecar) =:= [true, true] end).

%% Removals

a_removal_runs_the_handler_on_one_node_and_not_in_the_sidecar(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    insert(Sidecar),
    ok = call(Sidecar, ?MODULE, add_handler, []),
    soon(fun() -> host_type(First, ?D) =:= {ok, ?T} end),
    Told = times_told(Second),
    ?assertEqual({ok, details(?D, ?T, deleted)}, call(Sidecar, ?API, delete_domain, [?D, ?T])),
    ?assertEqual([{?T, ?D}], removed_on(First)),
    ?assertEqual([], removed_on(Second)),
    ?assertEqual(not_called, call(Sidecar, persistent_term, get, [?MODULE])),
    ?assertEqual("", rows(Config)),
    soon(fun() -> host_type(First, ?D) =:= {error, not_found} end),
    soon(fun() -> host_type(Sidecar, ?D) =:= {error, not_found} end),
    soon(fun() -> times_told(Second) > Told end),
    ?assertMatch({not_found, _}, call(Sidecar, ?API, get_domain_details, [?D])).

a_requested_removal_is_finished_by_the_node(Config) ->
    [First, _] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    insert(Sidecar),
    removals(waits, First),
    ?assertEqual({ok, details(?D, ?T, deleting)},
                 call(Sidecar, ?API, request_delete_domain, [?D, ?T])),
    soon(fun() -> removed_on(First) =:= [{?T, ?D}] end),
    ?assertEqual({ok, details(?D, ?T, deleting)}, call(Sidecar, ?API, get_domain_details, [?D])),
    ?assertMatch({deleted, _}, call(Sidecar, ?API, enable_domain, [?D])),
    ?assertEqual({error, not_found}, host_type(First, ?D)),
    soon(fun() -> host_type(Sidecar, ?D) =:= {error, not_found} end),
    removals(works, First),
    soon(fun() -> rows(Config) =:= "" end).

a_refusal_of_the_node_is_that_of_the_sidecar(Config) ->
    Sidecar = sidecar(Config),
    insert(Sidecar),
    Before = rows_and_events(Config),
    [begin
         ?assertEqual({not_found, <<"Given domain does not exist">>},
                      call(Sidecar, ?API, Delete, [<<"b.example">>, ?T])),
         db_helper:sql(?config(url, Config), "UPDATE domain_settings SET host_type = 'other'"),
         ?assertEqual({wrong_host_type, <<"Wrong host type was provided">>},
                      call(Sidecar, ?API, Delete, [?D, ?T])),
         db_helper:sql(?config(url, Config), "UPDATE domain_settings SET host_type = 'type1'"),
         %% The nodes do not have it.
         ?assertEqual({unknown_host_type, <<"Unknown host type">>},
                      call(Sidecar, ?API, Delete, [?D, ?T2]))
     end || Delete <- [delete_domain, request_delete_domain]],
    ?assertEqual(Before, rows_and_events(Config)).

what_the_sidecar_can_refuse_asks_nobody(Config) ->
    Nodes = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    [removals({answers, asked}, Node) || Node <- Nodes],
    [?assertMatch({Reason, _}, call(Sidecar, ?API, Delete, [Domain, HostType]))
     || Delete <- [delete_domain, request_delete_domain],
        {Reason, Domain, HostType} <- [{static, <<"static.example">>, ?T},
                                       {unknown_host_type, ?D, <<"type9">>},
                                       {invalid_domain, <<>>, ?T},
                                       {invalid_host_type, ?D, <<255>>}]].

any_other_answer_is_an_error_with_a_text(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    insert(Sidecar),
    Name = atom_to_binary(stand_in:name(First)),
    [begin
         removals(Removal, First),
         Answer = call(Sidecar, ?API, delete_domain, [?D, ?T]),
         Expected = {db_error, unicode:characters_to_binary(string:replace(Text, "NODE", Name))},
         ?assertEqual({Removal, Expected}, {Removal, Answer})
     end || {Removal, Text} <-
                [{{answers, ok}, "NODE answered something that this version does not know"},
                 {{answers, {ok, ?D}}, "NODE answered something that this version does not know"},
                 {{answers, {ok, details(?D, ?T, enabled)}},
                  "NODE answered something that this version does not know"},
                 {{answers, {tuesday, ["no ", <<"removals">>]}},
                  "NODE answered tuesday: no removals"},
                 {{answers, {not_found, {no, text}}}, "NODE answered not_found"},
                 {{answers, {db_error, "the pool is gone"}}, "the pool is gone"},
                 {crashes, "The removal failed on NODE (out_of_order)"}]],
    %% More than what a node may say is not shown.
    removals({answers, {ok, (details(?D, ?T, deleted))#{more => 1}}}, First),
    ?assertEqual({ok, details(?D, ?T, deleted)}, call(Sidecar, ?API, delete_domain, [?D, ?T])),
    ?assertEqual([], removed_on(Second)).

a_password_is_changed_by_a_node_and_not_in_the_sidecar(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    Set = fun() -> call(Sidecar, ?API, set_domain_password, [?D, <<"s3cret">>]) end,
    ?assertEqual({not_found, <<"Given domain does not exist">>}, Set()),
    insert(Sidecar),
    ?assertEqual({ok, <<"Domain password set">>}, Set()),
    ?assertEqual({not_found, <<"Domain password does not exist">>},
                 call(Sidecar, ?API, delete_domain_password, [?D])),
    Args = [?D, <<"s3cret">>],
    ?assertEqual([[{set_domain_password, Args}, {set_domain_password, Args},
                   {delete_domain_password, [?D]}], []],
                 [[{Function, Of} || {admins, Function, Of} <- calls(Node)]
                  || Node <- [First, Second]]),
    ?assertEqual("0", db_helper:sql(?config(url, Config), "SELECT COUNT(*) FROM domain_admins")),
    %% What a node keeps of a password the sidecar cannot read.
    db_helper:sql(?config(url, Config),
                  "INSERT INTO domain_admins (domain, pass_details) VALUES ('a.example', 'own')"),
    {unreadable_password, Text} = call(Sidecar, ?API, check_domain_password, Args),
    says(Text, ["only that can check it"]).

a_removal_reaches_nodes_that_are_no_members_of_one_cluster(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(#{nodes => [stand_in:name(Second), stand_in:name(First)]}, Config),
    ?assertEqual([], mim_call(First, erlang, nodes, [])),
    [begin
         insert(Sidecar),
         soon(fun() -> host_type(First, ?D) =:= {ok, ?T} end),
         ?assertEqual({ok, details(?D, ?T, Status)}, call(Sidecar, ?API, Delete, [?D, ?T])),
         %% By its own look it would be 30 s.
         soon(fun() -> host_type(First, ?D) =:= {error, not_found} end)
     end || {Delete, Status} <- [{delete_domain, deleted}, {request_delete_domain, deleting}]],
    ?assertEqual([{?T, ?D}, {?T, ?D}], removed_on(Second)),
    ?assertEqual([], removed_on(First)).

a_removal_right_after_the_start_connects_by_itself(Config) ->
    db_helper:sql(?config(url, Config), "INSERT INTO domain_settings (domain, host_type)"
                                        " VALUES ('a.example', 'type1')"),
    ?assertEqual({ok, details(?D, ?T, deleted)},
                 call(?config(sidecar, Config), ?MODULE, start_and_remove,
                      [sidecar_env(#{}, Config)])).

the_sidecar_leaves_interrupted_removals_alone(Config) ->
    db_helper:sql(?config(url, Config),
                  "INSERT INTO domain_settings (domain, host_type, status)"
                  " VALUES ('a.example', 'type1', 2)"),
    Sidecar = sidecar(Config),
    ok = call(Sidecar, ?MODULE, add_handler, []),
    ?assertEqual(undefined, call(Sidecar, erlang, whereis, [mongoose_domain_remover])),
    ok = call(Sidecar, mongoose_domain_remover, wake, []),
    insert(Sidecar, <<"b.example">>),
    timer:sleep(500),
    ?assertEqual("a.example|type1|2\nb.example|type1|1", rows(Config)),
    ?assertEqual(not_called, call(Sidecar, persistent_term, get, [?MODULE])),
    %% Whoever asks for it has it finished by a node.
    ?assertMatch({ok, #{status := deleted}}, call(Sidecar, ?API, delete_domain, [?D, ?T])).

%% Trouble

without_a_node_a_removal_is_refused_and_nothing_is_marked(Config) ->
    Nodes = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    insert(Sidecar),
    [kill(Node) || Node <- Nodes],
    [begin
         Before = rows_and_events(Config),
         {unreachable, Text} = call(Sidecar, ?API, Delete, [?D, ?T]),
         says(Text, ["^No node of MongooseIM could be asked for the removal: "
                     | [atom_to_list(stand_in:name(Node)) ++ ": " || Node <- Nodes]]),
         ?assertEqual(Before, rows_and_events(Config))
     end || Delete <- [delete_domain, request_delete_domain]],
    soon(fun() ->
        {unreachable, Text} = call(Sidecar, ?API, delete_domain, [?D, ?T]),
        re:run(Text, "it does not run: epmd at 127.0.0.1 does not know it") =/= nomatch
    end),
    %% All else goes on.
    ?assertEqual({ok, ?T}, host_type(Sidecar, ?D)),
    ?assertMatch({ok, _}, call(Sidecar, ?API, disable_domain, [?D])),
    insert(Sidecar, <<"b.example">>).

with_one_node_away_the_other_is_asked(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    insert(Sidecar),
    kill(First),
    ?assertEqual({ok, details(?D, ?T, deleted)}, call(Sidecar, ?API, delete_domain, [?D, ?T])),
    ?assertEqual([{?T, ?D}], removed_on(Second)),
    soon(fun() -> reachable(Sidecar) =:= [false, true] end).

a_node_that_comes_back_is_connected_again(Config) ->
    [First, _] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    kill(First),
    soon(fun() -> reachable(Sidecar) =:= [false, true] end),
    insert(Sidecar),
    Name = atom_to_list(stand_in:name(First)),
    Again = start_mim(hd(?config(mims, Config)), Name, Config),
    try
        soon(fun() -> reachable(Sidecar) =:= [true, true] end),
        {ok, _} = call(Sidecar, ?API, disable_domain, [?D]),
        soon(fun() -> host_type(Again, ?D) =:= {error, not_found} end),
        {ok, _} = call(Sidecar, ?API, delete_domain, [?D, ?T]),
        ?assertEqual([{?T, ?D}], removed_on(Again))
    after
        stand_in:stop(Again)
    end.

a_node_that_hangs_is_not_waited_for_and_not_asked_again(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(#{removal_timeout => 2}, Config),
    insert(Sidecar),
    removals(waits, First),
    Removal = in_background(Sidecar, delete_domain, [?D, ?T]),
    soon(fun() -> removed_on(First) =:= [{?T, ?D}] end),
    stand_in:signal("STOP", First),
    {unreachable, Text} = answer(Removal),
    says(Text, [atom_to_list(stand_in:name(First)) ++ " has not answered within 2 s",
                "It may go on there", "Try again"]),
    ?assertEqual([], removed_on(Second)),
    %% Changes do not wait for it: it goes on only at the end.
    insert(Sidecar, <<"b.example">>),
    %% A real removal would wait there: the cluster waits for all its members.
    removals({answers, {not_found, "this is the second"}}, Second),
    ?assertEqual({not_found, <<"this is the second">>},
                 call(Sidecar, ?API, delete_domain, [<<"b.example">>, ?T])),
    soon(fun() -> reachable(Sidecar) =:= [false, true] end),
    [#{reason := <<"it does not answer within 3 s">>}, _] = status(Sidecar),
    stand_in:signal("CONT", First),
    test_helper:wait_until(fun() -> reachable(Sidecar) =:= [true, true] end).

a_removal_whose_node_dies_is_not_begun_elsewhere_until_it_is_asked_again(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = sidecar(Config),
    insert(Sidecar),
    removals(waits, First),
    Removal = in_background(Sidecar, delete_domain, [?D, ?T]),
    soon(fun() -> removed_on(First) =:= [{?T, ?D}] end),
    kill(First),
    {unreachable, Text} = answer(Removal),
    says(Text, ["the connection to " ++ atom_to_list(stand_in:name(First)) ++ " was lost",
                "Try again"]),
    ?assertEqual([], removed_on(Second)),
    ?assertEqual("a.example|type1|2", rows(Config)),
    ?assertEqual({ok, details(?D, ?T, deleted)}, call(Sidecar, ?API, delete_domain, [?D, ?T])),
    ?assertEqual([{?T, ?D}], removed_on(Second)).

a_wrong_cookie_is_named(Config) ->
    Nodes = ?config(nodes, Config),
    Sidecar = ?config(sidecar, Config),
    true = call(Sidecar, erlang, set_cookie, [wrong]),
    start_sidecar(Sidecar, #{}, Config),
    insert(Sidecar),
    soon(fun() ->
        [re:run(Reason, "is the cookie the same \\(-setcookie\\)") =/= nomatch
         || #{reason := Reason} <- status(Sidecar)] =:= [true, true]
    end),
    {unreachable, Text} = call(Sidecar, ?API, delete_domain, [?D, ?T]),
    says(Text, [atom_to_list(stand_in:name(Node)) ++ ": .*cookie" || Node <- Nodes]),
    ?assertEqual("a.example|type1|1", rows(Config)).

nodes_that_cannot_remove_domains_are_passed_over(Config) ->
    [_, Second] = ?config(nodes, Config),
    {_, NoMim} = Peer = hidden_peer(no_mim),
    ok = call(Peer, ?MODULE, forget_functions, [service_domain_db]),
    {_, NoApi} = Other = hidden_peer(no_api),
    ok = call(Other, ?MODULE, forget_functions, [?API]),
    {ok, _} = call(Other, node_helper, start_standalone, [#{database => ?config(url, Config)}]),
    Sidecar = ?config(sidecar, Config),
    start_sidecar(Sidecar, #{nodes => [NoMim, NoApi, stand_in:name(Second)]}, Config),
    Text = <<"it is not a node of MongooseIM: it has no service_domain_db:enabled/0">>,
    soon(fun() ->
        status(Sidecar) =:= [#{node => NoMim, reachable => false, reason => Text},
                             #{node => NoApi, reachable => true},
                             #{node => stand_in:name(Second), reachable => true}]
    end),
    insert(Sidecar),
    ?assertEqual({ok, details(?D, ?T, deleted)}, call(Sidecar, ?API, delete_domain, [?D, ?T])),
    ?assertEqual([{?T, ?D}], removed_on(Second)),
    mim_call(Second, application, unset_env, [mongooseim, service_domain_db]),
    {unreachable, Reasons} = call(Sidecar, ?API, delete_domain, [?D, ?T]),
    says(Reasons, ["no service_domain_db:enabled/0; ", "no mongoose_domain_api:delete_domain/2; ",
                   "service_domain_db is not enabled there$"]),
    [node_helper:stop_node(Node) || Node <- [Peer, Other]].

a_sidecar_that_crashes_goes_on(Config) ->
    Sidecar = sidecar(Config),
    Pid = call(Sidecar, erlang, whereis, [?SIDECAR]),
    true = call(Sidecar, erlang, exit, [Pid, kill]),
    soon(fun() ->
        not lists:member(call(Sidecar, erlang, whereis, [?SIDECAR]), [Pid, undefined])
    end),
    soon(fun() -> reachable(Sidecar) =:= [true, true] end),
    %% Messages that are not known change nothing.
    call(Sidecar, ?MODULE, send_nonsense, []),
    insert(Sidecar),
    ?assertMatch({ok, _}, call(Sidecar, ?API, delete_domain, [?D, ?T])).

%% HTTP

the_same_by_http(Config) ->
    [First, Second] = ?config(nodes, Config),
    Sidecar = http_sidecar(Config),
    204 = http(Sidecar, put, "/api/domains/a.example", "{\"host_type\": \"type1\"}"),
    soon(fun() -> host_type(First, ?D) =:= {ok, ?T} end),
    Nodes = nodes_by_http(Sidecar),
    ?assertMatch(#{<<"this">> := true}, maps:get(element(2, Sidecar), Nodes)),
    ?assertMatch(#{<<"this">> := false, <<"reachable">> := true,
                   <<"status">> := #{<<"state">> := <<"following">>}},
                 maps:get(stand_in:name(First), Nodes)),
    %% It has no status of ours, but it is there.
    ?assertMatch(#{<<"this">> := false, <<"reachable">> := true, <<"status">> := null},
                 maps:get(stand_in:name(Second), Nodes)),
    204 = http(Sidecar, delete, "/api/domains/a.example", "{\"host_type\": \"type1\"}"),
    ?assertEqual([{?T, ?D}], removed_on(First) ++ removed_on(Second)),
    soon(fun() -> host_type(First, ?D) =:= {error, not_found} end).

by_http_a_removal_without_a_node_is_refused_and_says_why(Config) ->
    Nodes = ?config(nodes, Config),
    Sidecar = http_sidecar(Config),
    insert(Sidecar),
    [kill(Node) || Node <- Nodes],
    Before = rows_and_events(Config),
    [begin
         {503, Body} = http(Sidecar, delete, "/api/domains/a.example",
                            ["{\"host_type\": \"type1\"", Request, "}"]),
         ?assertMatch(#{<<"what">> := <<"No node of MongooseIM could be asked for the removal: ",
                                        _/binary>>}, json_helper:decode(Body))
     end || Request <- ["", ", \"request\": true"]],
    [begin
         {200, Body} = http(Sidecar, post, "/api/graphql",
                            ["{\"query\": \"mutation { domain { ", Field, "(domain: "
                             "\\\"a.example\\\", hostType: \\\"type1\\\") { domain } } }\"}"]),
         #{<<"errors">> := [#{<<"message">> := Message, <<"extensions">> := Extensions}]} =
             json_helper:decode(Body),
         says(Message, ["^No node of MongooseIM could be asked for the removal: "]),
         ?assertMatch(#{<<"code">> := <<"unreachable">>}, Extensions)
     end || Field <- ["removeDomain", "requestRemoveDomain"]],
    ?assertEqual(Before, rows_and_events(Config)),
    204 = http(Sidecar, patch, "/api/domains/a.example", "{\"enabled\": false}"),
    List = nodes_by_http(Sidecar),
    [?assertMatch(#{<<"this">> := false, <<"reachable">> := false},
                  maps:get(stand_in:name(Node), List)) || Node <- Nodes].

nodes_by_http(Sidecar) ->
    {200, Body} = http(Sidecar, get, "/api/nodes", none),
    #{<<"nodes">> := Nodes} = json_helper:decode(Body),
    maps:from_list([{binary_to_atom(Name), Node} || Node = #{<<"node">> := Name} <- Nodes]).

http_sidecar(Config) ->
    Sidecar = ?config(sidecar, Config),
    {ok, _} = call(Sidecar, http_helper, start, [sidecar_env(#{}, Config), #{}]),
    soon(fun() -> reachable(Sidecar) =:= [true, true] end),
    Sidecar.

http(Sidecar, Method, Path, Body) ->
    call(Sidecar, http_helper, request, [Method, Path, Body]).

%% Options

wrong_options_are_refused(_Config) ->
    Nodes = ['mim@a.example'],
    [{sidecar, Text} = refused(#{sidecar => Wrong, database => "sqlite:x"})
     || Wrong <- [undefined, none, [], Nodes, [{nodes, Nodes}], #{node => Nodes},
                  #{nodes => 'mim@a.example'}, #{nodes => undefined},
                  #{nodes => ["mim@a.example"]}, #{nodes => [<<"mim@a.example">>]},
                  #{nodes => [mim]}, #{nodes => ['mim@']}, #{nodes => ['@a.example']},
                  #{nodes => ['a@b@c']}, #{nodes => Nodes ++ 'mim@b.example'},
                  #{nodes => Nodes, removal_timeout => 0},
                  #{nodes => Nodes, removal_timeout => 86401},
                  #{nodes => Nodes, removal_timeout => 1.5},
                  #{nodes => Nodes, timeout => 60}],
        Text <- [<<"must be a map of nodes, a list of names such as 'mongooseim@host', and "
                   "removal_timeout, in seconds from 1 to 86400">>]],
    %% Without nodes it is a node as any other.
    [begin
         {ok, _} = node_helper:start_standalone(#{sidecar => Right}),
         ?assert(is_pid(whereis(mongoose_domain_remover))),
         ?assertEqual(undefined, whereis(?SIDECAR)),
         ?assertEqual([], ?SIDECAR:status()),
         node_helper:stop_standalone()
     end || Right <- [#{}, #{nodes => []}, #{nodes => [], removal_timeout => 1}]].

a_sidecar_needs_the_database(_Config) ->
    {sidecar, Text} = refused(#{sidecar => #{nodes => ['mim@a.example']}}),
    says(Text, ["needs the option database"]).

a_sidecar_has_no_removal_handlers(_Config) ->
    {removal_handlers, Text} = refused(#{sidecar => #{nodes => ['mim@a.example']},
                                         database => "sqlite:x",
                                         removal_handlers => [{?MODULE, handler}]}),
    says(Text, ["must be \\[\\] in a sidecar"]).

a_node_that_is_not_distributed_is_refused(_Config) ->
    nonode@nohost = node(),
    {sidecar, Text} = refused(#{sidecar => #{nodes => ['mim@a.example']}, database => "sqlite:x"}),
    says(Text, ["-name NAME@HOST -setcookie COOKIE -hidden"]).

a_node_that_is_not_hidden_is_refused(_Config) ->
    [begin
         Peer = node_helper:start_peer(visible, [], Args),
         {sidecar, Text} = refused(Peer, #{nodes => ['mim@127.0.0.1']}),
         says(Text, ["start it with -hidden"]),
         node_helper:stop_node(Peer)
     end || Args <- [[], ["-hidden", "false"]]].

a_sidecar_of_itself_is_refused(_Config) ->
    {_, Name} = Peer = node_helper:start_peer(hidden, [], ["-hidden", "true"]),
    {sidecar, Text} = refused(Peer, #{nodes => ['mim@127.0.0.1', Name]}),
    ?assertEqual(<<(atom_to_binary(Name))/binary, " is this node itself">>, Text),
    {sidecar, Twice} = refused(Peer, #{nodes => ['mim@127.0.0.1', 'mim@127.0.0.1']}),
    ?assertEqual(<<"a node is given twice">>, Twice),
    node_helper:stop_node(Peer).

long_and_short_names_do_not_mix(_Config) ->
    Peer = hidden_peer(long),
    {sidecar, Text} = refused(Peer, #{nodes => ['mim@127.0.0.1', 'mim@a']}),
    says(Text, ["^mim@a has a short name and this node a long one"]),
    node_helper:stop_node(Peer).

%% On the nodes

start_and_remove(Env) ->
    {ok, _} = node_helper:start_standalone(Env),
    ?API:delete_domain(?D, ?T).

add_handler() ->
    persistent_term:put(?MODULE, not_called),
    mongoose_domain_hooks:add_removal_handler(?MODULE, fun handler/2).

handler(_HostType, _Domain) ->
    persistent_term:put(?MODULE, called).

forget_functions(Module) ->
    {ok, Module, Code} = compile:forms([{attribute, 1, module, Module}]),
    {module, Module} = code:load_binary(Module, "none", Code),
    ok.

send_nonsense() ->
    ok = gen_server:call(?SIDECAR, nonsense),
    ok = gen_server:cast(?SIDECAR, nonsense),
    _ = ?SIDECAR ! nonsense,
    ok.

%% Nodes

hidden_peer(Name) ->
    node_helper:start_peer(Name, [], ["-hidden"]).

start_mim(Dir, Config) ->
    start_mim(Dir, test_helper:data_name(mongooseim) ++ "@127.0.0.1", Config).

start_mim(Dir, Name, Config) ->
    Url = ?config(url, Config),
    #{conn_opts := Opts} = WithTls = stand_in:pool(postgres, Url, #{}),
    Pool = WithTls#{conn_opts => maps:remove(tls, Opts)},
    Env = #{service_domain_db => #{}, config => #{outgoing_pools => [Pool]}, database_url => Url},
    stand_in:start(Dir, Name, Env, ?config(asker, Config)).

connect(First, Second) ->
    true = mim_call(First, net_kernel, connect_node, [stand_in:name(Second)]),
    soon(fun() ->
        [2, 2] =:= [length(mim_call(Node, pg, get_members, [mim_scope, service_domain_db_group]))
                    || Node <- [First, Second]]
    end).

kill(Node) ->
    stand_in:signal("KILL", Node),
    soon(fun() -> not is_alive(Node) end).

is_alive({_Asker, _Name, Pid}) ->
    filelib:is_dir("/proc/" ++ integer_to_list(Pid)).

%% The sidecar of the case, when it has reached the nodes and they know of nothing any more.
sidecar(Config) ->
    sidecar(#{}, Config).

sidecar(Options, Config) ->
    Sidecar = ?config(sidecar, Config),
    start_sidecar(Sidecar, Options, Config),
    soon(fun() -> reachable(Sidecar) =:= [true, true] end),
    [_, Second] = ?config(nodes, Config),
    soon(fun() -> times_told(Second) > 0 end),
    Sidecar.

start_sidecar(Sidecar, Options, Config) ->
    {ok, _} = call(Sidecar, node_helper, start_standalone, [sidecar_env(Options, Config)]),
    pong = call(Sidecar, service_domain_db, sync_local, []).

sidecar_env(Options, Config) ->
    Nodes = [stand_in:name(Node) || Node <- ?config(nodes, Config)],
    #{database => ?config(url, Config), sidecar => maps:merge(#{nodes => Nodes}, Options)}.

status(Sidecar) ->
    call(Sidecar, ?SIDECAR, status, []).

reachable(Sidecar) ->
    [IsReachable || #{reachable := IsReachable} <- status(Sidecar)].

call(Node, Module, Function, Args) ->
    node_helper:call(Node, Module, Function, Args).

mim_call(Node, Module, Function, Args) ->
    stand_in:call(Node, Module, Function, Args).

in_background(Sidecar, Function, Args) ->
    {_, Monitor} = spawn_monitor(fun() -> exit({answer, call(Sidecar, ?API, Function, Args)}) end),
    Monitor.

answer(Monitor) ->
    receive {'DOWN', Monitor, process, _, {answer, Answer}} -> Answer end.

%% What the stand-ins do with removals, and what they did.
removals(What, Node) ->
    ok = mim_call(Node, application, set_env, [mongooseim, removal, What]).

removed_on(Node) ->
    [{HostType, Domain} || {removal_handler, remove_domain, [HostType, Domain]} <- calls(Node)].

times_told(Node) ->
    length([told || {service_domain_db, check_for_updates, []} <- calls(Node)]).

calls(Node) ->
    mim_call(Node, mongooseim_app, calls, []).

host_type({_, _, _} = Mim, Domain) ->
    mim_call(Mim, mongoose_domain_core, get_host_type, [Domain]);
host_type(Sidecar, Domain) ->
    call(Sidecar, mongoose_domain_core, get_host_type, [Domain]).

insert(Sidecar) ->
    insert(Sidecar, ?D).

insert(Sidecar, Domain) ->
    {ok, #{status := enabled}} = call(Sidecar, ?API, insert_domain, [Domain, ?T]),
    ok.

%% Options

%% On the node of the tests.
refused(Env) ->
    Result = node_helper:start_standalone(Env),
    node_helper:stop_standalone(),
    bad_option(Result).

refused(Peer, Options) ->
    bad_option(call(Peer, node_helper, start_standalone,
                    [#{sidecar => Options, database => "sqlite:x"}])).

bad_option({error, {?APP, {{bad_option, Option, Text}, _}}}) ->
    {Option, Text}.

%% Helpers

soon(Fun) ->
    test_helper:wait_until(Fun, ?SOON).

says(Text, Expected) ->
    Missing = [Regex || Regex <- Expected, re:run(Text, Regex) =:= nomatch],
    ?assertEqual({[], Text}, {Missing, Text}).

details(Domain, HostType, Status) ->
    #{domain => Domain, host_type => HostType, status => Status}.

rows(Config) ->
    db_helper:sql(?config(url, Config), "SELECT domain, host_type, status FROM domain_settings"
                                        " ORDER BY domain").

rows_and_events(Config) ->
    {rows(Config), db_helper:sql(?config(url, Config), "SELECT count(*) FROM domain_events")}.
