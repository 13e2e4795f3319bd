%% @doc The page for operators, as a person uses it, in a headless Chromium: page/page.py says how.
-module(page_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").

-define(PYTHON, "/usr/bin/python3").

suite() ->
    [{timetrap, {minutes, 20}}].

all() ->
    [a_person_does_everything_on_the_page,
     with_a_password_the_page_is_the_same].

init_per_testcase(Case, Config) ->
    Dir = filename:join(?config(priv_dir, Config), Case),
    ok = file:make_dir(Dir),
    [{dir, Dir}, {url, test_helper:fresh_url([{kind, sqlite} | Config])} | Config].

end_per_testcase(_Case, _Config) ->
    test_helper:stop_standalone().

a_person_does_everything_on_the_page(Config) ->
    start(#{}, Config),
    run_page(http_helper:url(), ["control"], Config).

with_a_password_the_page_is_the_same(Config) ->
    start(#{username => "admin", password => "secret"}, Config),
    "http://" ++ Address = http_helper:url(),
    run_page("http://admin:secret@" ++ Address, ["uncontrolled", "Password", "LookUp"], Config).

%% Helpers

start(Http, Config) ->
    {ok, _} = http_helper:start(#{database => ?config(url, Config),
                                  host_types => [<<"type1">>, <<"type2">>, <<"<b>type3</b>">>]},
                                Http),
    pong = service_domain_db:sync_local().

%% Its output is kept beside its screenshots, and fails the test with it.
run_page(Url, Args, Config) ->
    Script = filename:join(test_helper:root_dir(), "test/page/page.py"),
    Dir = ?config(dir, Config),
    Port = open_port({spawn_executable, ?PYTHON},
                     [{args, [Script, Url, Dir | Args]}, {line, 1000}, exit_status,
                      stderr_to_stdout]),
    {Status, Output} = follow(Port, []),
    ok = file:write_file(filename:join(Dir, "output"), Output),
    ct:pal("~ts", [Output]),
    case Status of
        0 -> ok;
        _ -> ct:fail("page.py: exit status ~b~n~ts", [Status, Output])
    end.

follow(Port, Lines) ->
    receive
        {Port, {data, {eol, "please " ++ What}}} ->
            control(What),
            port_command(Port, "done\n"),
            follow(Port, Lines);
        {Port, {data, {eol, Line}}} ->
            follow(Port, [Lines, Line, $\n]);
        {Port, {data, {noeol, Part}}} ->
            follow(Port, [Lines, Part]);
        {Port, {exit_status, Status}} ->
            {Status, iolist_to_binary(Lines)}
    end.

%% The node stays; its server goes, and comes back on the same port.
control("stop") ->
    {_, Port} = mongoose_domain_http:address(),
    put(port, Port),
    ok = mongoose_domain_http:stop();
control("start") ->
    case get(port) of
        undefined -> ok;
        Port -> ok = mongoose_domain_http:start(#{port => Port}, #{db_pool => global})
    end,
    erase(port).
