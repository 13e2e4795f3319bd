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
    %% Starts epmd, too.
    Other = node_helper:start_peer(other),
    ok = application:set_env(kernel, inet_dist_use_interface, {127, 0, 0, 1}),
    {ok, _} = net_kernel:start([list_to_atom(test_helper:data_name(page) ++ "@127.0.0.1"),
                                longnames]),
    true = erlang:set_cookie(domains),
    Url = db_helper:fresh_url([{kind, sqlite} | Config]),
    [{dir, Dir}, {other, Other}, {url, Url} | Config].

end_per_testcase(_Case, Config) ->
    node_helper:stop_standalone(),
    node_helper:stop_node(?config(other, Config)),
    net_kernel:stop().

a_person_does_everything_on_the_page(Config) ->
    start(#{}, Config),
    run_page(http_helper:url(), ["control"], Config).

with_a_password_the_page_is_the_same(Config) ->
    start(#{username => "admin", password => "secret"}, Config),
    "http://" ++ Address = http_helper:url(),
    run_page("http://admin:secret@" ++ Address, ["uncontrolled", "Password", "LookUp"], Config).

%% Helpers

start(Http, Config) ->
    {ok, _} = http_helper:start(env(Config), Http),
    pong = service_domain_db:sync_local().

env(Config) ->
    #{database => ?config(url, Config),
      host_types => [<<"type1">>, <<"type2">>, <<"<b>type3</b>">>]}.

%% Its output is kept beside its screenshots, and fails the test with it.
run_page(Url, Args, Config) ->
    Script = filename:join(test_helper:root_dir(), "test/page/page.py"),
    Dir = ?config(dir, Config),
    Port = open_port({spawn_executable, ?PYTHON},
                     [{args, [Script, Url, Dir | Args]}, {line, 1000}, exit_status,
                      stderr_to_stdout]),
    {Status, Output} = follow(Port, Config, []),
    ok = file:write_file(filename:join(Dir, "output"), Output),
    ct:pal("~ts", [Output]),
    case Status of
        0 -> ok;
        _ -> ct:fail("page.py: exit status ~b~n~ts", [Status, Output])
    end.

follow(Port, Config, Lines) ->
    receive
        {Port, {data, {eol, "please " ++ What}}} ->
            control(What, Config),
            port_command(Port, "done\n"),
            follow(Port, Config, Lines);
        {Port, {data, {eol, Line}}} ->
            follow(Port, Config, [Lines, Line, $\n]);
        {Port, {data, {noeol, Part}}} ->
            follow(Port, Config, [Lines, Part]);
        {Port, {exit_status, Status}} ->
            {Status, iolist_to_binary(Lines)}
    end.

%% The node stays; its server goes, and comes back on the same port.
control("stop", _Config) ->
    {_, Port} = mongoose_domain_http:address(),
    put(port, Port),
    ok = mongoose_domain_http:stop();
control("start", _Config) ->
    case get(port) of
        undefined -> ok;
        Port -> ok = mongoose_domain_http:start(#{port => Port}, #{db_pool => global})
    end,
    erase(port);
%% Another node of the cluster. One that hangs answers nothing, and is still known.
control("add_node", Config) ->
    {_, Name} = Other = ?config(other, Config),
    {ok, _} = node_helper:call(Other, node_helper, start_standalone, [env(Config)]),
    true = net_kernel:connect_node(Name),
    pong = node_helper:call(Other, service_domain_db, sync_local, []),
    put(other_pid, node_helper:call(Other, os, getpid, []));
control("hang_node", _Config) ->
    "" = os:cmd("kill -STOP " ++ get(other_pid));
control("remove_node", Config) ->
    "" = os:cmd("kill -CONT " ++ get(other_pid)),
    ok = node_helper:call(?config(other, Config), node_helper, stop_standalone, []);
control("write_row", Config) ->
    "" = db_helper:sql(?config(url, Config), "INSERT INTO domain_settings (domain, host_type) "
                                             "VALUES ('UPPER.Example', 'type1')");
%% Without the event log every check fails.
control("break_database", Config) ->
    put(broken, true),
    rename_events("domain_events", "lost_events", Config),
    await_state(retrying);
control("mend_database", Config) ->
    _ = erase(broken) =:= true andalso rename_events("lost_events", "domain_events", Config),
    await_state(following).

rename_events(From, To, Config) ->
    "" = db_helper:sql(?config(url, Config), ["ALTER TABLE ", From, " RENAME TO ", To]),
    ok = service_domain_db:force_check_for_updates().

await_state(State) ->
    test_helper:wait_until(fun() -> maps:get(state, service_domain_db:status()) =:= State end).
