%% @doc What `make' hands over to the programs that it starts.
-module(make_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

all() ->
    [a_suite_runs_by_its_name_alone,
     every_target_is_in_the_help,
     no_recipe_names_the_database,
     a_node_takes_its_database_from_the_environment,
     without_one_make_schema_says_what_to_do].

%% With nothing compiled before: rebar3 leaves out the second application then.
a_suite_runs_by_its_name_alone(Config) ->
    Command = "rebar3 ct --suite core_SUITE --case both_lists_may_be_empty",
    Said = run("sh", ["-c", Command], [{"REBAR_BASE_DIR", ?config(priv_dir, Config)},
                                       {"MONGOOSE_DOMAIN_NATIVE_LIBRARY", library()}]),
    ?assertMatch({match, _}, re:run(Said, "All 1 tests passed")).

library() ->
    filename:join(test_helper:root_dir(), "priv/mongoose_domain_nif.so").

every_target_is_in_the_help(_Config) ->
    {ok, Makefile} = file:read_file(filename:join(test_helper:root_dir(), "Makefile")),
    Options = [global, multiline, {capture, all_but_first, list}],
    {match, Targets} = re:run(Makefile, "^([a-z][a-z0-9-]*):", Options),
    {match, Helped} = re:run(make(["help"], ""), "^([a-z][a-z0-9-]*) +[A-Z0-9]", Options),
    ?assertEqual(lists:sort(Targets), lists:sort(Helped)).

%% Arguments are seen by everybody (ps); make itself prints here what it would run.
no_recipe_names_the_database(_Config) ->
    [begin
         Recipe = make(["-n", Target, "PORT=0"], "postgres://user:a-very-secret-one@host/database"),
         ?assertMatch({Target, {match, _}}, {Target, re:run(Recipe, "erl .*mongoose_domain_")}),
         ?assertEqual({Target, nomatch}, {Target, re:run(Recipe, "very-secret")})
     end || Target <- ["serve", "shell", "demo", "schema"]].

a_node_takes_its_database_from_the_environment(Config) ->
    File = filename:join(?config(priv_dir, Config), "a-very-secret-one"),
    Paths = lists:append([["-pa", Path] || Path <- node_helper:code_paths()]),
    Port = open_port({spawn_executable, os:find_executable("erl")},
                     [{args, ["-noinput" | Paths]
                             ++ ["-run", "mongoose_domain_shell", "serve", "0"]},
                      {env, [{"DATABASE", "sqlite:" ++ File}]}, {line, 1000}, exit_status,
                      stderr_to_stdout]),
    "Serving http://" ++ _ = wait_for_line("Serving ", Port),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    ?assert(filelib:is_regular(File)),
    {ok, Arguments} = file:read_file(["/proc/", integer_to_list(Pid), "/cmdline"]),
    ?assertEqual(nomatch, binary:match(Arguments, <<"very-secret">>)),
    "" = os:cmd("kill " ++ integer_to_list(Pid)).

without_one_make_schema_says_what_to_do(_Config) ->
    Said = make(["-o", "build", "schema"], ""),
    ?assertMatch({match, _}, re:run(Said, "usage: DATABASE=url make schema")).

%% Helpers

make(Args, Database) ->
    run("make", Args, [{"DATABASE", Database}]).

run(Program, Args, Env) ->
    Port = open_port({spawn_executable, os:find_executable(Program)},
                     [{args, Args}, {env, Env}, {cd, test_helper:root_dir()}, exit_status,
                      stderr_to_stdout]),
    said(Port, []).

said(Port, Sofar) ->
    receive
        {Port, {data, Data}} -> said(Port, [Sofar, Data]);
        {Port, {exit_status, _}} -> unicode:characters_to_list(Sofar)
    end.

wait_for_line(Beginning, Port) ->
    receive
        {Port, {data, {_, Line}}} ->
            case lists:prefix(Beginning, Line) of
                true -> Line;
                false -> wait_for_line(Beginning, Port)
            end;
        {Port, {exit_status, Status}} ->
            ct:fail("exit status ~b", [Status])
    end.
