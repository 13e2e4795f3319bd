%% @doc A stand-in for MongooseIM, of modules with the names that ours meet there: as a release, and
%% as a source tree for rebar3. Its node can be started and asked.
-module(stand_in).

-export([pool/3, build/2, copy_tree/1, start/3, start/4, stop/1, signal/2, name/1, call/4]).

%% @doc A pool as the configuration of MongooseIM 6.8 delivers it, with every option that it has by
%% default; those of `tls' come in place of, or beside, the defaults.
pool(Kind, Url, Tls) ->
    #{host := Host, port := Port, path := "/" ++ Database} = uri_string:parse(Url),
    Driver = case Kind of postgres -> pgsql; mysql -> mysql end,
    #{scope => global, tag => default, type => rdbms,
      opts => #{strategy => best_worker, workers => 5, call_timeout => 60000},
      conn_opts => #{driver => Driver, port => Port, host => Host, username => "domains",
                     password => "secret", database => Database, max_start_interval => 30,
                     query_timeout => 5000, tls => maps:merge(tls(Driver), Tls)}}.

tls(pgsql) ->
    #{verify_mode => peer, crl_files => [], disconnect_on_failure => true, required => true,
      server_name_indication => #{enabled => false, protocol => default}};
tls(mysql) ->
    #{verify_mode => peer, crl_files => [], disconnect_on_failure => true,
      versions => ['tlsv1.2', 'tlsv1.3'],
      server_name_indication => #{enabled => true, protocol => default}}.

%% @doc Builds a release of this version, with a VM of its own.
build(Dir, Version) ->
    Parts = Dir ++ ".parts",
    Ebin = filename:join(Parts, "ebin"),
    Start = filename:join(Parts, "start"),
    Releases = filename:join(Dir, "releases"),
    Options = [{path, [Ebin]}, {outdir, Parts}, silent],
    lists:foreach(fun(Path) -> ok = filelib:ensure_dir(filename:join(Path, ".")) end,
                  [Ebin, filename:join(Dir, "bin")]),
    compile(Ebin, Version),
    make_script(filename:join(Parts, "start_clean"), [], Version, Options),
    make_script(Start, [crypto, asn1, public_key, mongooseim], Version, Options),
    {ok, _, _} = systools:make_tar(Start, [{erts, code:root_dir()} | Options]),
    ok = erl_tar:extract(Start ++ ".tar.gz", [{cwd, Dir}, compressed]),
    run("cp", [filename:join(Parts, "start_clean.boot"), filename:join(Releases, Version)]),
    run("cp", [source("mongooseimctl"), filename:join(Dir, "bin")]),
    ok = file:write_file(filename:join(Releases, "start_erl.data"),
                         [erlang:system_info(version), " ", Version, "\n"]),
    run("rm", ["-r", Parts]).

compile(Ebin, Version) ->
    Files = filelib:wildcard(source("src/**/*.erl")),
    Modules = [begin
                   {ok, Module} = compile:file(File, [debug_info, report, {outdir, Ebin}]),
                   Module
               end || File <- Files],
    {ok, [{application, Name, Keys}]} = file:consult(source("src/mongooseim.app.src")),
    write_term(filename:join(Ebin, "mongooseim.app"),
               {application, Name, [{modules, Modules}
                                    | lists:keyreplace(vsn, 1, Keys, {vsn, Version})]}).

make_script(Name, Apps, Version, Options) ->
    Versions = [{App, version(App, Version)} || App <- [kernel, stdlib | Apps]],
    write_term(Name ++ ".rel", {release, {"mongooseim", Version},
                                {erts, erlang:system_info(version)}, Versions}),
    {ok, _, _} = systools:make_script(Name, Options).

version(mongooseim, Version) ->
    Version;
version(App, _Version) ->
    _ = application:load(App),
    {ok, Version} = application:get_key(App, vsn),
    Version.

%% @doc Copies the source tree.
copy_tree(Dir) ->
    ok = filelib:ensure_dir(Dir),
    run("cp", ["-r", source(""), Dir]).

%% @doc Starts the node of a release in embedded mode, with this environment of its application. It
%% is asked over distribution, by a node that node_helper:start_peer/1 has started.
start(Dir, Env, Asker) ->
    start(Dir, test_helper:data_name(mongooseim) ++ "@127.0.0.1", Env, Asker).

%% @doc The same, with this name.
start(Dir, Name, Env, Asker) ->
    write_term(Dir ++ ".config", [{mongooseim, maps:to_list(Env)}]),
    Args = [filename:join(Dir, "bin/mongooseimctl"), "-name", Name, "-setcookie", "domains",
            "-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-config", Dir ++ ".config"],
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", "exec \"$0\" \"$@\" >" ++ Dir ++ ".log 2>&1" | Args]},
                      exit_status, {env, [{"ERL_CRASH_DUMP", "/dev/null"},
                             {"ERL_EPMD_ADDRESS", "127.0.0.1"}]}]),
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    Node = {Asker, list_to_atom(Name), Pid},
    test_helper:wait_until(fun() -> is_up(Node) orelse not is_alive(Node) end),
    is_alive(Node) orelse error({no_start, file:read_file(Dir ++ ".log")}),
    Node.

%% One that ends while it is asked is not up; its log is whole when it is not alive either.
is_up({Asker, Name, _Pid} = Node) ->
    try
        node_helper:call(Asker, net_kernel, connect_node, [Name]) andalso
            lists:keymember(mongooseim, 1, call(Node, application, which_applications, []))
    catch
        _:_ -> false
    end.

%% @doc Stops it in good order.
stop(Node) ->
    signal("TERM", Node),
    test_helper:wait_until(fun() -> not is_alive(Node) end).

signal(Signal, {_Asker, _Name, Pid}) ->
    "" = os:cmd(lists:concat(["kill -", Signal, " ", Pid])),
    ok.

name({_Asker, Name, _Pid}) ->
    Name.

is_alive({_Asker, _Name, Pid}) ->
    filelib:is_dir("/proc/" ++ integer_to_list(Pid)).

call({Asker, Name, _Pid}, M, F, A) ->
    node_helper:call(Asker, erpc, call, [Name, M, F, A]).

%% Internal

%% The compiled module is elsewhere.
source(Path) ->
    filename:join(filename:dirname(proplists:get_value(source, module_info(compile))), Path).

write_term(File, Term) ->
    ok = file:write_file(File, io_lib:format("~tp.~n", [Term])).

run(Program, Args) ->
    Port = open_port({spawn_executable, os:find_executable(Program)}, [{args, Args}, exit_status]),
    receive {Port, {exit_status, 0}} -> ok end.
