%% @doc What hex would get of us (`files' of the application) is enough for a project elsewhere.
-module(package_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(APP, "mongoose_domain_native").

all() ->
    [a_project_elsewhere_is_built_without_rust_from_what_hex_gets,
     without_rust_and_library_a_build_says_what_to_do]
        ++ [hex_gets_all_that_cargo_builds_from || os:find_executable("cargo") =/= false].

%% With rebar3, in an environment that has no cargo.
a_project_elsewhere_is_built_without_rust_from_what_hex_gets(Config) ->
    Project = project(Config),
    put_built(Project),
    {0, Said} = build(Project, Config),
    ?assertMatch({match, _}, re:run(Said, "cargo not found; priv/ is used as it is")),
    Ebins = filelib:wildcard(filename:join(Project, "_build/default/{lib,checkouts}/*/ebin")),
    {0, Loaded} = run("erl", ["-noinput", "-pa" | Ebins]
                      ++ ["-eval", "io:format(\"~p\", [mongoose_domain_nif:module_info(module)]),"
                                   " halt()."], []),
    ?assertEqual("mongoose_domain_nif", Loaded).

without_rust_and_library_a_build_says_what_to_do(Config) ->
    {1, Said} = build(project(Config), Config),
    [?assertMatch({match, _}, re:run(Said, Words))
     || Words <- ["cargo not found; install Rust [0-9.]+ or newer",
                  "MONGOOSE_DOMAIN_NATIVE_LIBRARY to priv/mongoose_domain_nif.so of a package"]].

%% Cargo knows each file of its workspace: without one of the members it refuses.
hex_gets_all_that_cargo_builds_from(Config) ->
    Ours = filename:join([project(Config), "_checkouts", ?APP]),
    {0, Graph} = run("cargo", ["tree", "--locked", "--offline", "-p", "domain_nif"],
                     [{cd, Ours}, {env, []}]),
    ?assertMatch({match, _}, re:run(Graph, "domain_nif v[0-9.]+ .*_checkouts")).

%% Helpers

%% A project of rebar3 with us in _checkouts, as hex would deliver us, but for what is built.
project(Config) ->
    Project = filename:join(?config(priv_dir, Config), atom_to_list(?FUNCTION_NAME)
                            ++ integer_to_list(erlang:unique_integer([positive]))),
    Ours = filename:join([Project, "_checkouts", ?APP]),
    ok = filelib:ensure_dir(filename:join(Ours, ".")),
    ok = filelib:ensure_dir(filename:join([Project, "src", "."])),
    ok = file:write_file(filename:join(Project, "rebar.config"),
                         "{deps, [mongoose_domain_native]}.\n"),
    ok = file:write_file(filename:join(Project, "src/elsewhere.app.src"),
                         "{application, elsewhere, [{vsn, \"1\"}, {applications, [" ?APP "]}]}.\n"),
    [copy(File, Ours) || File <- files(), not is_built(File)],
    Project.

%% What the application tells hex, as rebar3_hex reads it.
files() ->
    Root = test_helper:root_dir(),
    {ok, [{application, _, Keys}]} =
        file:consult(filename:join(Root, "erlang/" ?APP ".app.src")),
    Paths = [filelib:wildcard(Path, Root) || Path <- proplists:get_value(files, Keys)],
    ?assertNot(lists:member([], Paths)),
    lists:append([below(Path, Root) || Path <- lists:append(Paths)]).

below(Path, Root) ->
    case filelib:is_dir(filename:join(Root, Path)) of
        true -> [File || Name <- filelib:wildcard(Path ++ "/*", Root), File <- below(Name, Root)];
        false -> [Path]
    end.

is_built(File) ->
    re:run(File, "^priv/[^/]*$") =/= nomatch.

copy(File, To) ->
    ok = filelib:ensure_dir(filename:join(To, File)),
    From = filename:join(test_helper:root_dir(), File),
    {ok, _} = file:copy(From, filename:join(To, File)),
    {ok, Info} = file:read_file_info(From),
    ok = file:write_file_info(filename:join(To, File), Info).

put_built(Project) ->
    Priv = filename:join([Project, "_checkouts", ?APP, "priv"]),
    [{ok, _} = file:copy(filename:join(code:priv_dir(mongoose_domain_native), Name),
                         filename:join(Priv, Name))
     || Name <- ["mongoose_domain_nif.so", "mongoose-domain-http"]].

build(Project, Config) ->
    run("rebar3", ["compile"], [{cd, Project}, {env, without_rust(Config)}]).

%% A path and a home in which there is no cargo, and no library elsewhere.
without_rust(Config) ->
    Path = [Dir || Dir <- string:lexemes(os:getenv("PATH"), ":"),
                   not filelib:is_file(filename:join(Dir, "cargo"))],
    [{"HOME", ?config(priv_dir, Config)}, {"PATH", lists:flatten(lists:join(":", Path))},
     {"MONGOOSE_DOMAIN_NATIVE_LIBRARY", false}, {"REBAR_BASE_DIR", false}].

run(Program, Args, Options) ->
    Port = open_port({spawn_executable, os:find_executable(Program)},
                     [{args, Args}, exit_status, stderr_to_stdout | Options]),
    output(Port, []).

output(Port, Before) ->
    receive
        {Port, {data, More}} -> output(Port, [Before, More]);
        {Port, {exit_status, Status}} ->
            Output = lists:flatten(Before),
            ct:log("~ts", [Output]),
            {Status, Output}
    end.
