%% @doc What the suites share: databases of their own, standalone nodes, waiting.
-module(test_helper).

-export([databases/0, init_database/2, end_database/1, fresh_url/1, sql/2, control/2]).
-export([mysql_server/0]).
-export([root_dir/0, make_certificates/1, certificate/2, init_tls_database/3, start_script/2]).
-export([fill/4, numbers/2, server_processes/1, kill_server/1, is_running/1, process_stat/1]).
-export([start_standalone/1, start_standalone/2, stop_standalone/0, loaded/0, remover_done/0]).
-export([start_node/2, start_peer/1, start_peer/2, start_peer/3, stop_node/1, call/4, connect/1]).
-export([node_env/2, code_paths/0]).
-export([wait_until/1, wait_until/2, attempt/1, data_name/1]).
-export([capture_logs/0, release_logs/0, logged/1, log/2]).

-include_lib("common_test/include/ct.hrl").

-define(APP, mongoose_domain_standalone).
%% Milliseconds until something that does not happen fails a test. Nothing is proved by it.
-define(WAIT, 60000).

%% Databases
%%
%% A suite runs its cases in a group per kind of database. init_per_group calls init_database/2,
%% which starts a server where one is needed; every case gets a fresh database by fresh_url/1.

-spec databases() -> [{group, atom()}].
databases() ->
    [{group, sqlite}, {group, postgres}, {group, mysql}].

%% @doc What stands for MySQL here: the one of the two that is installed, which
%% script/throwaway-mysql starts.
-spec mysql_server() -> mariadb | mysql.
mysql_server() ->
    case os:find_executable("mariadb-admin") of
        false -> mysql;
        _ -> mariadb
    end.

init_database(sqlite, Config) ->
    [{kind, sqlite} | Config];
init_database(Kind, Config) ->
    init_server(Kind, [], Config).

%% @doc Makes certificates; script/test-certificates says which.
make_certificates(Config) ->
    {ok, _} = application:ensure_all_started(public_key),
    Dir = filename:join(?config(priv_dir, Config), "certificates"),
    "" = os:cmd(filename:join([root_dir(), "script/test-certificates "]) ++ Dir),
    [{certificates, Dir} | Config].

%% @doc The file of one of them.
certificate(Name, Config) ->
    filename:join(?config(certificates, Config), Name ++ ".pem").

%% @doc As init_database/2, but the server offers TLS, by the certificates in the directory.
init_tls_database(Kind, Certificates, Config) ->
    init_server(Kind, [Certificates], Config).

init_server(Kind, Args, Config) ->
    Name = case Kind of postgres -> "throwaway-postgres"; mysql -> "throwaway-mysql" end,
    {Owner, Control, Url} = start_script(Name, Args),
    [{kind, Kind}, {owner, Owner}, {control, Control}, {server_url, Url} | Config].

end_database(Config) ->
    case ?config(owner, Config) of
        undefined -> ok;
        Owner -> Owner ! stop, wait_until(fun() -> not is_process_alive(Owner) end)
    end.

%% @doc The URL of a new, empty database with MongooseIM's tables (on MySQL without any index on the
%% domain).
fresh_url(Config) ->
    Name = data_name(domains),
    case ?config(kind, Config) of
        sqlite ->
            "sqlite:" ++ filename:join(?config(priv_dir, Config), Name);
        Kind ->
            Server = ?config(server_url, Config),
            sql(Server, "CREATE DATABASE " ++ Name),
            [Address, _] = string:split(Server, "/", trailing),
            Url = Address ++ "/" ++ Name,
            {ok, Schema} = file:read_file(schema_file(Kind)),
            sql(Url, Schema),
            Url
    end.

%% @doc Runs SQL beside our own code, with the database's own client; returns what it prints. On
%% MySQL it is read as by the others: || joins strings, and a backslash is only that.
sql(Url, Statements) ->
    Script = filename:join("/tmp", data_name(sql)),
    ok = file:write_file(Script, Statements),
    Options = Script ++ ".options",
    Output = os:cmd(lists:flatten([client(Url, Options), " < ", Script, " 2>&1; echo \"|$?\""])),
    _ = [file:delete(File) || File <- [Script, Options]],
    case string:split(Output, "|", trailing) of
        [Printed, "0\n"] -> string:trim(Printed);
        _ -> error({sql_failed, Statements, Output})
    end.

client("sqlite:" ++ File, _) ->
    ["sqlite3 -bail -cmd '.timeout 10000' ", File];
client("mysql:" ++ _ = Url, Options) ->
    #{host := Host, port := Port, userinfo := UserInfo, path := "/" ++ Name} =
        uri_string:parse(Url),
    [User, Password] = string:split(UserInfo, ":"),
    {Program, Own, OwnModes} = mysql_client(),
    ok = file:write_file(Options,
                         ["[client]\nhost=", Host, "\nport=", integer_to_list(Port),
                          "\nuser=", User, "\npassword=", Password, "\n", Own,
                          "\ndefault-character-set=utf8mb4\n"
                          "init-command=SET sql_mode='ANSI,NO_BACKSLASH_ESCAPES'", OwnModes, "\n"]),
    [Program, " --defaults-file=", Options, " --batch --raw --skip-column-names ", Name];
client(Url, _) ->
    ["psql -X -q -A -t -v ON_ERROR_STOP=1 '", Url, "'"].

%% Its name, and what it needs: options, and settings of the session.
mysql_client() ->
    case mysql_server() of
        mariadb -> {"mariadb", "skip-ssl", ""};
        %% For caching_sha2_password without TLS, and `\!'; for numbers/2.
        mysql -> {"mysql", "get-server-public-key\ncommands\nsystem-command",
                  ", cte_max_recursion_depth=4294967295"}
    end.

%% @doc Inserts enabled domains, without events: the prefix, the numbers from 1 on, the suffix.
fill(Url, Prefix, Suffix, Count) ->
    sql(Url, ["INSERT INTO domain_settings (domain, host_type) SELECT '", Prefix,
              "' || n.seq || '", Suffix, "', 'type1' FROM ", numbers(Url, Count)]).

%% @doc The numbers from 1 on, in SQL, as `n.seq'.
numbers("mysql:" ++ _, Count) ->
    case mysql_server() of
        mariadb -> io_lib:format("seq_1_to_~b AS n", [Count]);
        mysql -> numbers_by_recursion(Count)
    end;
numbers("sqlite:" ++ _, Count) ->
    numbers_by_recursion(Count);
numbers(_Url, Count) ->
    io_lib:format("generate_series(1, ~b) AS n(seq)", [Count]).

numbers_by_recursion(Count) ->
    io_lib:format("(WITH RECURSIVE numbers(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 "
                  "FROM numbers WHERE seq < ~b) SELECT seq FROM numbers) AS n", [Count]).

%% @doc Runs the server's control script: "start", "stop" (at once), "kill" or "pid".
control(What, Config) ->
    os:cmd(?config(control, Config) ++ " " ++ What).

%% @doc The server's process and those that it has started, by the pids of the operating system.
server_processes(Config) ->
    Pid = string:trim(control("pid", Config)),
    [Pid | [Child || File <- filelib:wildcard("/proc/[0-9]*/stat"),
                     {Child, Parent} <- parent(File), Parent =:= Pid]].

parent(File) ->
    case process_stat(File) of
        {Pid, [_State, Parent | _]} -> [{Pid, binary_to_list(Parent)}];
        gone -> []
    end.

%% @doc Kills the server, and waits for the end of all its processes: those of PostgreSQL, one per
%% connection, go on for a moment, and each answers what it is asked meanwhile.
kill_server(Config) ->
    Pids = server_processes(Config),
    _ = control("kill", Config),
    wait_until(fun() -> not lists:any(fun is_running/1, Pids) end).

is_running(Pid) ->
    case process_stat(filename:join(["/proc", Pid, "stat"])) of
        {_Pid, [<<"Z">> | _]} -> false;
        {_Pid, _Fields} -> true;
        gone -> false
    end.

%% @doc The pid and the fields behind the name of a file /proc/PID/stat (proc(5)).
process_stat(File) ->
    case file:read_file(File) of
        {ok, Stat} ->
            %% pid (name) state ppid …; the name may have spaces.
            [Pid, _] = string:split(Stat, " ("),
            [_, AfterName] = string:split(Stat, ") ", trailing),
            {binary_to_list(Pid), string:split(AfterName, " ", all)};
        {error, _} ->
            gone
    end.

data_name(Prefix) ->
    lists:concat([Prefix, "_", os:getpid(), "_", erlang:unique_integer([positive])]).

%% @doc Starts a server by one of our scripts. A process of its own holds its standard input: it
%% lives as long as its group of cases, or until end_database/1.
start_script(Name, Args) ->
    Parent = self(),
    Script = filename:join([root_dir(), "script", Name]),
    Owner = spawn(fun() ->
                      Port = open_port({spawn_executable, Script},
                                       [{args, Args}, {line, 1000}, exit_status]),
                      own_server(Port, Parent, #{})
                  end),
    receive
        {Owner, #{"control" := Control, "url" := Url}} -> {Owner, Control, Url};
        {Owner, {exit_status, Status}} -> error({Name, Status})
    after 300000 ->
        error({Name, timeout})
    end.

own_server(Port, Parent, Facts) ->
    receive
        {Port, {data, {eol, Line}}} ->
            [Key, Value] = string:split(Line, " "),
            NewFacts = Facts#{Key => Value},
            _ = [Parent ! {self(), NewFacts} || Key =:= "url"],
            own_server(Port, Parent, NewFacts);
        {Port, {exit_status, Status}} ->
            Parent ! {self(), {exit_status, Status}};
        stop ->
            port_close(Port)
    end.

%% @doc The project's directory: the compiled suites lie in _build.
root_dir() ->
    find_root(filename:dirname(code:which(?MODULE))).

find_root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "script/throwaway-postgres")) of
        true -> Dir;
        false -> find_root(filename:dirname(Dir))
    end.

schema_file(Kind) ->
    filename:join([root_dir(), "priv/schema", atom_to_list(Kind) ++ ".sql"]).

%% Standalone, on the node of the tests

%% @doc Starts the standalone application; the environment is `#{Option => Value}' over one static
%% domain and two host types.
start_standalone(Env) ->
    start_standalone(Env, fun(App) -> application:ensure_all_started(App) end).

start_standalone(Env, Start) ->
    _ = application:load(?APP),
    lists:foreach(fun({Key, Value}) -> application:set_env(?APP, Key, Value) end,
                  maps:to_list(maps:merge(default_env(), Env))),
    Start(?APP).

stop_standalone() ->
    _ = application:stop(?APP),
    _ = application:unload(?APP),
    ok.

%% @doc Waits for the first load. The server may be away.
loaded() ->
    try service_domain_db:sync_local()
    catch exit:_ -> loaded()
    end.

%% @doc Waits for the end of what the remover does now: it looks for interrupted removals at its
%% start and when a removal fails, and would come in between.
remover_done() ->
    wait_until(fun() ->
        case sys:get_state(mongoose_domain_remover, infinity) of
            #{requested := [], ready := [], read_after := nothing, running := Running} ->
                map_size(Running) =:= 0 orelse Running;
            Busy ->
                Busy
        end
    end).

default_env() ->
    #{static_domains => [{<<"static.example">>, <<"type1">>}],
      host_types => [<<"type1">>, <<"type2">>],
      http => disabled}.

%% Nodes of their own

%% @doc Starts a node with the standalone application. The nodes talk on the loopback interface; the
%% tests talk to them by call/4, not by distribution, so it works also when that is cut.
start_node(Name, Env) ->
    Node = start_peer(Name),
    {ok, _} = call(Node, ?MODULE, start_standalone, [Env]),
    Node.

%% @doc Starts a node. It connects to others only when it is told to.
start_peer(Name) ->
    start_peer(Name, []).

%% @doc The same with these variables in its environment.
start_peer(Name, Env) ->
    start_peer(Name, Env, ["-connect_all", "false", "-kernel", "dist_auto_connect", "never"]).

%% @doc The same with these arguments, which say how it connects.
start_peer(Name, Env, Args) ->
    {ok, Peer, Node} =
        peer:start(#{name => data_name(Name), host => "127.0.0.1", longnames => true,
                     connection => standard_io, wait_boot => 60000,
                     env => [{"ERL_EPMD_ADDRESS", "127.0.0.1"} | Env],
                     args => ["-setcookie", "domains" | Args]
                             ++ ["-kernel", "inet_dist_use_interface", "{127,0,0,1}",
                                 "-pa" | code_paths()]}),
    {Peer, Node}.

stop_node({Peer, _Node}) ->
    attempt(fun() -> peer:stop(Peer) end).

call({Peer, _Node}, M, F, A) ->
    call(Peer, M, F, A);
call(Peer, M, F, A) ->
    peer:call(Peer, M, F, A, 600000).

%% @doc Connects the nodes with each other.
connect(Nodes) ->
    Names = [Node || {_, Node} <- Nodes],
    _ = [true = call(Peer, net_kernel, connect_node, [Other])
         || {Peer, Node} <- Nodes, Other <- Names, Other =/= Node],
    Known = fun({Peer, _}) ->
                Pids = call(Peer, pg, get_members, [mim_scope, service_domain_db_group]),
                length(Pids) =:= length(Nodes)
            end,
    wait_until(fun() -> lists:all(Known, Nodes) end).

node_env(Url, Env) ->
    Env#{database => Url}.

code_paths() ->
    [Path || Path <- code:get_path(), string:find(Path, "_build") =/= nomatch].

%% Waiting

wait_until(Fun) ->
    wait_until(Fun, ?WAIT).

wait_until(Fun, Milliseconds) ->
    wait_until_deadline(Fun, erlang:monotonic_time(millisecond) + Milliseconds).

wait_until_deadline(Fun, Deadline) ->
    case Fun() of
        true ->
            ok;
        Other ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> timer:sleep(10), wait_until_deadline(Fun, Deadline);
                false -> error({timeout_waiting, Fun, Other})
            end
    end.

%% @doc Runs it, and whatever it raises does not matter.
-spec attempt(fun(() -> term())) -> ok.
attempt(Fun) ->
    try Fun() of
        _ -> ok
    catch
        _:_ -> ok
    end.

%% Logs

%% @doc Keeps the reports that are logged from now on, until release_logs/0.
capture_logs() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all}).

release_logs() ->
    _ = logger:remove_handler(?MODULE),
    attempt(fun() -> ets:delete(?MODULE) end).

%% @doc The reports with this `what', in their order.
logged(What) ->
    [Report#{level => Level}
     || {_, #{level := Level, msg := {report, Report = #{what := W}}}} <- ets:tab2list(?MODULE),
        W =:= What].

%% Called by logger.
log(Event, _Config) ->
    attempt(fun() -> ets:insert(?MODULE, {erlang:unique_integer([monotonic]), Event}) end).
