%% @doc Runs script/mongooseim for the tests, and sees what it does. The configuration of a test has
%% `ours', the directory of ours whose script is run; `mim', the one of MongooseIM; `dir', where
%% other files may be; and `env', an environment, if it is not the usual one.
-module(installer).

-export([make_ours/1, script/2, script/3, run/3, run_in/3, kill_at/5, paused/5]).
-export([refused/3, refused/4, refused_unprivileged/3, says/2]).
-export([snapshot/1, snapshot_of/1, times/1, same/2]).
-export([mim/2, lib/2, overwrite/3, overwrite_file/2, tools/3, command/3, shell/1]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

%% @doc A copy of what the script needs of us: other people may build in our directory meanwhile.
make_ours(Dir) ->
    Root = test_helper:root_dir(),
    Ebin = filename:join([Dir, "_build/default/lib/mongoose_domain_native/ebin"]),
    Optional = filename:join([Dir, "_build/default/lib/mongoose_domain_standalone/ebin"]),
    Built = [filename:join(code:priv_dir(mongoose_domain_native), Name)
             || Name <- ["mongoose_domain_nif.so", "mongoose-domain-http"]],
    shell(["mkdir -p ", Ebin, " ", Dir, "/script ", Dir, "/erlang ", Dir, "/priv"
           " && cp ", code:lib_dir(mongoose_domain_native), "/ebin/* ", Ebin,
           " && mkdir -p ", Optional, " && cp ", code:which(mongoose_subdomain_core), " ", Optional,
           " && cp ", lists:join(" ", Built), " ", Dir, "/priv"
           " && cp ", Root, "/erlang/mongoose_domain_native.app.src ", Dir, "/erlang"
           " && mkdir -p ", Dir, "/erlang/standalone/src && cp ", Root,
           "/erlang/standalone/src/mongoose_subdomain_core.erl ", Dir, "/erlang/standalone/src"
           " && cp ", Root, "/script/mongooseim ", Dir, "/script"]).

script(Words, Config) ->
    script(Words, [], Config).

script(Words, Env, Config) ->
    run_in(mim("", Config), Words, Env, Config).

%% On another directory than the one of the configuration.
run_in(Mim, Words, Config) ->
    run_in(Mim, Words, [], Config).

run_in(Mim, Words, Env, Config) ->
    [Command | Options] = string:lexemes(Words, " "),
    run(?config(ours, Config), [Command, Mim | Options],
        Env ++ proplists:get_value(env, Config, []) ++ [{"TMPDIR", ?config(dir, Config)}]).

run(Ours, Args, Env) ->
    command(filename:join(Ours, "script/mongooseim"), Args, [{env, environment(Env)}]).

%% The first counts. Our directory is as it is made by default.
environment(Env) ->
    lists:ukeysort(1, Env ++ [{"REBAR_BASE_DIR", false}]).

command(Program, Args, Options) ->
    Port = open_port({spawn_executable, Program},
                     [{args, Args}, exit_status, stderr_to_stdout, in | Options]),
    Result = {_, Output} = output(Port, []),
    ct:log("~ts ~tp~n~ts", [Program, Args, Output]),
    Result.

output(Port, Before) ->
    receive
        {Port, {data, More}} -> output(Port, [Before, More]);
        {Port, {exit_status, Status}} -> {Status, lists:flatten(Before)}
    end.

%% Refused with these words, and nothing has been changed.
refused(Words, Expected, Config) ->
    refused(Words, Expected, Config, []).

refused(Words, Expected, Config, Env) ->
    Before = {snapshot(Config), times(Config)},
    {1, Output} = script(Words, Env, Config),
    says(Output, ["mongooseim: " | Expected]),
    ?assertEqual(Before, {snapshot(Config), times(Config)}).

says(Output, Expected) ->
    Missing = [Regex || Regex <- Expected, re:run([Output, "\n"], Regex) =:= nomatch],
    ?assertEqual({[], Output}, {Missing, Output}).

%% To root no directory is read-only, unless it is without this capability.
refused_unprivileged(Words, Expected, Config) ->
    Before = snapshot(Config),
    Script = [filename:join(?config(ours, Config), "script/mongooseim"), Words, mim("", Config)],
    [Program | Args] = case shell("id -u") of
                           "0" -> ["setpriv", "--bounding-set", "-dac_override" | Script];
                           _ -> Script
                       end,
    {1, Output} = command(os:find_executable(Program), Args, [{env, environment([])}]),
    says(Output, Expected),
    same(Before, snapshot(Config)).

%% Runs the script until its n-th call of the program.
kill_at(Program, N, Mim, Command, Config) ->
    Dir = ?config(dir, Config),
    Count = filename:join(Dir, "count"),
    ok = file:write_file(Count, "0"),
    Which = case Program of any -> "yes"; _ -> ["${0##*/} = ", Program] end,
    Killing = tools(["mkdir", "cp", "mv", "rm", "rmdir", "ln", "chmod", "chown", "sync"],
                    ["#!/bin/sh\nPATH=${PATH#*:}\n",
                     "[ ", Which, " ] || exec ${0##*/} \"$@\"\n"
                     "n=$(($(cat ", Count, ") + 1))\necho $n >", Count, "\n"
                     "[ $n -lt ", integer_to_list(N), " ] || { kill -9 $PPID; exit 1; }\n"
                     "exec ${0##*/} \"$@\"\n"], Config),
    run_in(Mim, Command, Killing, Config).

%% Runs the script, which stops at its call of the program with arguments like this pattern of the
%% shell, and goes on when `Fun' calls the function that it is given. That returns the result.
paused(Program, Pattern, Command, Config, Fun) ->
    Waits = filename:join(?config(dir, Config), "waits"),
    Goes = filename:join(?config(dir, Config), "goes"),
    shell(["rm -rf ", Waits, " ", Goes, " ", ?config(dir, Config), "/tools_", Program]),
    Env = tools([Program], ["#!/bin/sh\nPATH=${PATH#*:}\n"
                            "case \"$*\" in ", Pattern, ")\n"
                            "  >", Waits, "; until [ -e ", Goes, " ]; do sleep 0.1; done\n"
                            "esac\nexec ${0##*/} \"$@\"\n"], Config),
    Self = self(),
    Runner = spawn_link(fun() -> Self ! {self(), script(Command, Env, Config)} end),
    test_helper:wait_until(fun() -> filelib:is_file(Waits) end),
    Fun(fun() ->
            ok = file:write_file(Goes, ""),
            receive {Runner, Result} -> Result end
        end).

%% What it leaves

%% Every file with its type, mode, owner and contents.
snapshot(Config) ->
    snapshot_of(mim("", Config)).

snapshot_of(Dir) ->
    string:lexemes(shell(["cd ", Dir, " && find . -printf '%p %y %m %u %g %l\\n'"
                          " && find . -type f -exec sha256sum {} +"]), "\n").

same(Before, After) ->
    ?assertEqual({[], []}, {Before -- After, After -- Before}).

%% When each file was written.
times(Config) ->
    shell(["cd ", mim("", Config), " && find . -printf '%p %i %T@\\n' | sort"]).

%% Files

mim(File, Config) ->
    filename:join(?config(mim, Config), File).

lib(File, Config) ->
    mim("lib/mongooseim-6.4.0/" ++ File, Config).

overwrite(File, Contents, Config) ->
    overwrite_file(lib(File, Config), Contents).

overwrite_file(File, Contents) ->
    ok = file:write_file(File, Contents).

%% Programs that come first in the PATH of this environment.
tools(Names, Script, Config) ->
    Dir = filename:join(?config(dir, Config), "tools_" ++ hd(Names)),
    shell(["mkdir -p ", Dir]),
    [begin
         File = filename:join(Dir, Name),
         ok = file:write_file(File, Script),
         ok = file:change_mode(File, 8#755)
     end || Name <- Names],
    [{"PATH", Dir ++ ":" ++ path(Config)}].

path(Config) ->
    proplists:get_value("PATH", proplists:get_value(env, Config, []), os:getenv("PATH")).

shell(Command) ->
    case command("/bin/sh", ["-c", lists:flatten(Command)], []) of
        {0, Output} -> string:trim(Output);
        Failed -> error({failed, Command, Failed})
    end.
