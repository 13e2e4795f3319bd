%% @doc The program of the HTTP server: it is killed, it hangs, it has no memory, it or the node
%% says what nobody understands. The node goes on, and the program comes back. What the node does
%% with a program that is not ours is seen on a node of its own, with scripts in its place.
-module(http_program_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

%% Milliseconds until the program must be back.
-define(WAIT, 60000).
-define(TYPE1, "{\"host_type\": \"type1\"}").
-define(PROGRAM, "mongoose-domain-http").

all() ->
    [%% Its end
     killed_under_load_it_comes_back_and_nothing_else_notices,
     stopped_under_load_it_is_killed_and_comes_back,
     without_memory_it_ends_and_comes_back,
     signals_to_end_are_for_the_node,
     a_change_that_was_begun_goes_on_when_the_program_ends,
     one_that_ends_again_and_again_is_started_ever_later,
     a_node_that_is_killed_leaves_no_program_and_no_port,
     a_node_that_is_killed_while_the_program_is_stopped_leaves_none_either,
     what_was_asked_is_answered_before_it_stops,
     %% Frames
     frames_that_the_program_does_not_understand_end_it,
     frames_that_the_node_does_not_understand_end_the_program,
     a_flood_of_questions_ends_the_program,
     compressed_frames_are_refused_before_they_are_large,
     long_answers_come_in_parts,
     %% Others in its place
     a_program_that_says_nothing_is_killed,
     a_program_of_another_version_says_so,
     without_a_program_the_node_routes_and_says_so,
     by_hand_it_says_that_it_needs_a_node].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(inets),
    Config.

end_per_suite(_Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    log_helper:capture_logs(),
    [{url, db_helper:fresh_url([{kind, sqlite} | Config])} | Config].

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone(),
    log_helper:release_logs().

%% Its end

killed_under_load_it_comes_back_and_nothing_else_notices(Config) ->
    start(#{}, Config),
    Core = whereis(mongoose_domain_core),
    Service = whereis(service_domain_db),
    Load = start_load(),
    [begin
         Pid = http_helper:kill_program("KILL"),
         await_other_than(Pid),
         ?assertEqual({ok, <<"type1">>}, mongoose_domain_core:get_host_type(<<"static.example">>))
     end || _ <- lists:seq(1, 5)],
    ?assert(stop_load(Load) > 0),
    Ends = log_helper:logged(domain_http_ended),
    %% The second: a ping was just being written.
    Killed = [Reason || #{level := error, reason := Reason, retry_after_milliseconds := _} <- Ends,
                        lists:member(Reason, [{signal, 9}, {port_closed, epipe}])],
    ?assertEqual(5, length(Killed)),
    ?assertEqual({Core, Service}, {whereis(mongoose_domain_core), whereis(service_domain_db)}),
    ?assertMatch({200, _}, http_helper:get("/readyz")),
    ?assertEqual(204, http_helper:put("/api/domains/after.example", ?TYPE1)),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, <<"type1">>}, mongoose_domain_core:get_host_type(<<"after.example">>)).

stopped_under_load_it_is_killed_and_comes_back(Config) ->
    start(#{}, Config),
    Load = start_load(),
    Pid = http_helper:kill_program("STOP"),
    await_other_than(Pid),
    ?assert(stop_load(Load) > 0),
    ?assertMatch([#{reason := unresponsive}], log_helper:logged(domain_http_ended)),
    ?assertNot(filelib:is_dir("/proc/" ++ Pid)).

%% The answer would be many megabytes more than it may have.
without_memory_it_ends_and_comes_back(Config) ->
    start(#{memory_limit => 32}, Config),
    [Pid] = http_helper:programs(),
    db_helper:fill(?config(url, Config), lists:duplicate(150, $d), ".example", 150000),
    pong = service_domain_db:sync_local(),
    Query = "{\"query\": \"{ domain { allDomains {domain hostType status type} } }\"}",
    ?assertError({no_answer, _}, http_helper:post("/api/graphql", Query)),
    await_other_than(Pid),
    [#{reason := Reason} | _] = log_helper:logged(domain_http_ended),
    ?assert(element(1, Reason) =:= signal orelse Reason =:= {port_closed, epipe}),
    ?assertEqual({ok, <<"type1">>}, mongoose_domain_core:get_host_type(<<"static.example">>)),
    ?assertMatch({200, _}, http_helper:get("/api/domains?limit=10")).

%% As the end of a service does, which signals all of its processes.
signals_to_end_are_for_the_node(Config) ->
    start(#{}, Config),
    Programs = http_helper:programs(),
    [begin
         _ = http_helper:kill_program(Signal),
         ?assertMatch({200, _}, http_helper:get("/readyz"))
     end || Signal <- ["TERM", "INT", "HUP"]],
    ?assertEqual(Programs, http_helper:programs()),
    ?assertEqual([], log_helper:logged(domain_http_ended)).

a_change_that_was_begun_goes_on_when_the_program_ends(Config) ->
    start(#{}, Config),
    ?assertEqual(204, http_helper:put("/api/domains/a.example", ?TYPE1)),
    add_slow_handler(),
    _ = spawn(fun() -> http_helper:delete("/api/domains/a.example", ?TYPE1) end),
    Handler = receive {handler, It} -> It end,
    Pid = http_helper:kill_program("KILL"),
    await_other_than(Pid),
    Handler ! go_on,
    test_helper:wait_until(fun() ->
        {404, #{<<"what">> => <<"domain not found">>}}
            =:= http_helper:decoded(http_helper:get("/api/domains/a.example"))
    end).

%% It waits for go_on.
add_slow_handler() ->
    Self = self(),
    ok = mongoose_domain_hooks:add_removal_handler(slow, fun(_, _) ->
        Self ! {handler, self()},
        receive go_on -> ok end
    end).

one_that_ends_again_and_again_is_started_ever_later(Config) ->
    start(#{}, Config),
    [begin
         %% Before it has lived for long.
         test_helper:wait_until(fun() -> http_helper:programs() =/= [] end),
         _ = http_helper:kill_program("KILL"),
         test_helper:wait_until(fun() ->
             length(log_helper:logged(domain_http_ended)) >= Time
         end)
     end || Time <- lists:seq(1, 4)],
    Pauses = [Pause || #{retry_after_milliseconds := Pause}
                           <- log_helper:logged(domain_http_ended)],
    ?assertEqual([2 * Pause || Pause <- lists:droplast(Pauses)], tl(Pauses)),
    test_helper:wait_until(fun is_back/0).

a_node_that_is_killed_leaves_no_program_and_no_port(Config) ->
    {_, Port} = Address = killed_node(fun(_Program) -> ok end, Config),
    %% On a busy machine somebody else may have it for a while.
    test_helper:wait_until(fun() -> is_free(Port) end),
    ct:log("~p is free", [Address]).

a_node_that_is_killed_while_the_program_is_stopped_leaves_none_either(Config) ->
    Stop = fun(Program) ->
               "" = os:cmd("kill -STOP " ++ Program),
               ok
           end,
    _ = killed_node(Stop, Config).

is_free(Port) ->
    case gen_tcp:listen(Port, [{ip, {127, 0, 0, 1}}, {reuseaddr, true}]) of
        {ok, Socket} -> ok = gen_tcp:close(Socket), true;
        {error, eaddrinuse} -> false
    end.

%% Kills a node that has an HTTP server, and waits for the end of its program.
killed_node(Before, Config) ->
    Env = node_helper:node_env(?config(url, Config), #{http => #{port => 0}}),
    Node = node_helper:start_node(victim, Env),
    Address = node_helper:call(Node, mongoose_domain_http, address, []),
    [Program] = node_helper:call(Node, http_helper, programs, []),
    NodePid = node_helper:call(Node, os, getpid, []),
    ok = Before(Program),
    "" = os:cmd("kill -9 " ++ NodePid),
    test_helper:wait_until(fun() -> not is_running(Program) end),
    node_helper:stop_node(Node),
    Address.

what_was_asked_is_answered_before_it_stops(Config) ->
    start(#{}, Config),
    ?assertEqual(204, http_helper:put("/api/domains/a.example", ?TYPE1)),
    Self = self(),
    add_slow_handler(),
    _ = spawn_link(fun() ->
        Self ! {answer, http_helper:delete("/api/domains/a.example", ?TYPE1)}
    end),
    Handler = receive {handler, It} -> It end,
    Stopper = spawn_monitor(fun() -> ok = mongoose_domain_http:stop() end),
    test_helper:wait_until(fun() -> is_refused() end),
    Handler ! go_on,
    ?assertEqual(204, receive {answer, Answer} -> Answer end),
    {Pid, Monitor} = Stopper,
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
    ?assertEqual([], http_helper:programs()).

is_refused() ->
    %% The port is not known any more when the server stops.
    try sys:get_state(mongoose_domain_http, 10) of
        _ -> false
    catch
        exit:_ -> true
    end.

%% Frames

frames_that_the_program_does_not_understand_end_it(Config) ->
    Deep = iolist_to_binary([131, lists:duplicate(1000000, [104, 1]), 106]),
    Wrong = [<<-1:32>>,
             <<(16#1000000):32>>,
             <<0:32>>,
             <<4:32, "what">>,
             framed(<<131, 100, 0, 3, "yes">>),
             framed(term_to_binary({answer, -1, done})),
             framed(term_to_binary({answer, 0, {names, [1, 2, 3]}})),
             framed(term_to_binary({start, 1, #{}, undefined})),
             framed(term_to_binary([lists:duplicate(1000, pong)], [compressed])),
             framed(Deep)],
    Start = framed(term_to_binary({start, 1, check_options(), undefined})),
    [?assertNotEqual({Bytes, 0}, {Bytes, how_it_ends([First, Bytes])})
     || Bytes <- Wrong, First <- [<<>>, Start]],
    %% One that is not whole is no frame, and the end of the input is the end.
    start(#{}, Config),
    [Pid] = http_helper:programs(),
    [Port] = ports(),
    true = port_command(Port, <<4:32, "what">>),
    await_other_than(Pid),
    %% The second: a ping was just being written.
    [#{reason := Reason}] = log_helper:logged(domain_http_ended),
    ?assert(lists:member(Reason, [{exit_status, 1}, {port_closed, epipe}])).

how_it_ends(Bytes) ->
    {ok, {Port, _}} = mongoose_domain_http_port:open(),
    true = port_command(Port, Bytes),
    await_exit(Port).

await_exit(Port) ->
    receive
        {Port, {exit_status, Status}} -> Status;
        {Port, {data, _}} -> await_exit(Port)
    after ?WAIT ->
        error(it_goes_on)
    end.

frames_that_the_node_does_not_understand_end_the_program(Config) ->
    Unknown = ["\\203d\\000\\030no_atom_of_this_name_her"],
    [#{reason := {wrong_frame, _}} = in_its_place(["printf '", Bytes, "'; exec sleep 1000"],
                                                  domain_http_ended, Config)
     || Bytes <- ["\\377\\377\\377\\377", "\\000\\100\\000\\001", "\\000\\000\\000\\004what",
                      "\\000\\000\\000\\000", "GET / HTTP/1.1\\r\\n",
                      %% hello
                      "\\000\\000\\000\\011\\203d\\000\\005hello",
                      ["\\000\\000\\000\\034" | Unknown],
                      %% {listening, 1, 2}
                      "\\000\\000\\000\\023\\203h\\003d\\000\\011listeninga\\001a\\002",
                      %% more than the term
                      "\\000\\000\\000\\011\\203d\\000\\004pingx"]].

a_flood_of_questions_ends_the_program(Config) ->
    %% {question, 1, verify}, which is not answered while there is no service.
    Question = "\\000\\000\\000\\031\\203h\\003d\\000\\010questiona\\001d\\000\\006verify",
    Script = ["printf '", Question, "' >$0.1; i=1;"
              " while [ $i -lt 14 ]; do cat $0.$i $0.$i >$0.$((i+1)); i=$((i+1)); done;"
              " cat $0.14 $0.14 $0.14 $0.14; exec sleep 1000"],
    #{reason := Reason} = in_its_place(Script, domain_http_ended, Config),
    ?assertEqual(too_many_questions, Reason).

compressed_frames_are_refused_before_they_are_large(_Config) ->
    Large = term_to_binary(binary:copy(<<0>>, 50000000), [{compressed, 9}]),
    ?assert(byte_size(Large) < 100000),
    ?assertEqual({error, not_understood},
                 mongoose_domain_http_port:received(<<>>, framed(Large))),
    <<First:2/binary, Rest/binary>> = framed(term_to_binary(pong)),
    ?assertEqual({ok, [pong], <<0, 0>>},
                 mongoose_domain_http_port:received(First, <<Rest/binary, 0, 0>>)).

long_answers_come_in_parts(Config) ->
    start(#{}, Config),
    db_helper:fill(?config(url, Config), "d", ".example", 12345),
    ok = service_domain_db:restart(),
    test_helper:wait_until(fun() -> mongoose_domain_core:domains_count() =:= 12346 end),
    {200, Body} = http_helper:post("/api/graphql",
                                   "{\"query\": \"{ domain { domainsByHostType(hostType: "
                                   "\\\"type1\\\") } }\"}"),
    ?assertEqual(12346, length(binary:matches(Body, <<".example">>))).

%% Others in its place

a_program_that_says_nothing_is_killed(Config) ->
    #{reason := unresponsive} = in_its_place("exec sleep 1000", domain_http_ended, Config).

a_program_of_another_version_says_so(_Config) ->
    {ok, Answer} = mongoose_domain_http_port:call({check, 2, check_options()}),
    {failed, <<"http_failed">>, Text} = Answer,
    ?assertMatch({_, _}, binary:match(Text, <<"install both from one version">>)).

without_a_program_the_node_routes_and_says_so(Config) ->
    #{text := Text, reason := http_failed} =
        in_its_place(none, domain_http_failed, Config),
    ?assertMatch({_, _}, binary:match(Text, <<?PROGRAM ": enoent">>)).

by_hand_it_says_that_it_needs_a_node(_Config) ->
    Program = mongoose_domain_nif:priv_file(?PROGRAM),
    ?assertEqual(?PROGRAM ": it is started by an Erlang node, not by hand\n1\n",
                 os:cmd(Program ++ " </dev/null; echo $?")),
    ?assertEqual(?PROGRAM ": a frame of 1212501071 bytes is too long\n1\n",
                 os:cmd("echo HELO | " ++ Program ++ "; echo $?")).

%% Helpers

start(Http, Config) ->
    {ok, _} = http_helper:start(#{database => ?config(url, Config)}, Http),
    pong = service_domain_db:sync_local().

check_options() ->
    {ok, Options} = mongoose_domain_http_options:read(#{port => 0}),
    Options.

framed(Bytes) ->
    <<(byte_size(Bytes)):32, Bytes/binary>>.

ports() ->
    [Port || Port <- erlang:ports(),
             {name, Name} <- [erlang:port_info(Port, name)],
             filename:basename(Name) =:= ?PROGRAM].

await_other_than(Pid) ->
    test_helper:wait_until(fun() -> http_helper:programs() -- [Pid] =/= [] andalso is_back() end,
                           ?WAIT).

is_back() ->
    try http_helper:get("/healthz") of
        {200, _} -> true;
        _ -> false
    catch
        _:_NoAddressOrNoAnswer -> false
    end.

is_running(Pid) ->
    case program_helper:process_stat("/proc/" ++ Pid ++ "/stat") of
        {_, [<<"Z">> | _]} -> false;
        {_, _} -> true;
        gone -> false
    end.

%% Requests without a pause, by four processes, whatever comes of them; and look-ups, which must be
%% right.
start_load() ->
    Counter = counters:new(1, []),
    Request = fun() ->
                  try http_helper:get("/api/domains/static.example") of
                      {200, _} -> counters:add(Counter, 1, 1);
                      _ -> timer:sleep(5)
                  catch
                      _:_ -> timer:sleep(5)
                  end
              end,
    LookUp = fun() ->
                 {ok, <<"type1">>} = mongoose_domain_core:get_host_type(<<"static.example">>)
             end,
    Pids = [spawn_link(fun() -> repeat(Work) end)
            || Work <- [Request, Request, Request, Request, LookUp]],
    test_helper:wait_until(fun() -> counters:get(Counter, 1) > 0 end),
    counters:put(Counter, 1, 0),
    {Counter, Pids}.

repeat(Work) ->
    receive
        {stop, From} -> From ! {stopped, self()}
    after 0 ->
        _ = Work(),
        repeat(Work)
    end.

%% How many requests were answered.
stop_load({Counter, Pids}) ->
    [begin
         Pid ! {stop, self()},
         receive {stopped, Pid} -> ok end
     end || Pid <- Pids],
    counters:get(Counter, 1).

%% The first log event of this kind on a node that has a shell script in the place of the program,
%% or nothing. The node must go on, and have no more memory.
in_its_place(Script, What, Config) ->
    Dir = filename:join([?config(priv_dir, Config), test_helper:data_name(place),
                         "mongoose_domain_native"]),
    Program = filename:join([Dir, "priv", ?PROGRAM]),
    ok = filelib:ensure_dir(Program),
    Lib = code:lib_dir(mongoose_domain_native),
    "" = os:cmd("cp -rL " ++ filename:join(Lib, "ebin") ++ " " ++ Dir),
    ok = file:make_symlink(mongoose_domain_nif:priv_file("mongoose_domain_nif.so"),
                           filename:join([Dir, "priv", "mongoose_domain_nif.so"])),
    _ = Script =/= none andalso
        begin
            ok = file:write_file(Program, ["#!/bin/sh\n", Script, "\n"]),
            ok = file:change_mode(Program, 8#755)
        end,
    Node = node_helper:start_peer(place),
    try
        true = node_helper:call(Node, code, add_patha, [filename:join(Dir, "ebin")]),
        _ = node_helper:call(Node, ?MODULE, keep_logs, []),
        Before = node_helper:call(Node, erlang, memory, [total]),
        {ok, _} = node_helper:call(Node, node_helper, start_standalone,
                                   [#{http => #{port => 0}}]),
        test_helper:wait_until(fun() -> logged(Node, What) =/= [] end),
        ?assertEqual({ok, <<"type1">>},
                     node_helper:call(Node, mongoose_domain_core, get_host_type,
                                      [<<"static.example">>])),
        After = node_helper:call(Node, erlang, memory, [total]),
        ?assert(After - Before < 100000000),
        hd(logged(Node, What))
    after
        node_helper:stop_node(Node)
    end.

logged(Node, What) ->
    node_helper:call(Node, log_helper, logged, [What]).

%% The table of the logs needs an owner that stays.
keep_logs() ->
    Self = self(),
    _ = spawn(fun() ->
        log_helper:capture_logs(),
        Self ! captured,
        timer:sleep(infinity)
    end),
    receive captured -> ok end.
