%% @doc Databases for the suites: servers of their own, a fresh database for each case, and SQL
%% beside our own code. Most suites need only db_cth, which calls it.
-module(db_helper).

-export([databases/0, mysql_server/0, init_database/2, init_tls_database/3, end_database/1]).
-export([fresh_url/1, sql/2, fill/4, numbers/2]).
-export([control/2, server_processes/1, kill_server/1]).

-include_lib("common_test/include/ct.hrl").

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

%% @doc As init_database/2, but the server offers TLS, by the certificates in the directory.
init_tls_database(Kind, Certificates, Config) ->
    init_server(Kind, [Certificates], Config).

init_server(Kind, Args, Config) ->
    Name = case Kind of postgres -> "throwaway-postgres"; mysql -> "throwaway-mysql" end,
    {Owner, Control, Url} = program_helper:start_script(Name, Args),
    [{kind, Kind}, {owner, Owner}, {control, Control}, {server_url, Url} | Config].

end_database(Config) ->
    case ?config(owner, Config) of
        undefined -> ok;
        Owner -> Owner ! stop, test_helper:wait_until(fun() -> not is_process_alive(Owner) end)
    end.

%% @doc The URL of a new, empty database with MongooseIM's tables (on MySQL without any index on the
%% domain).
fresh_url(Config) ->
    Name = test_helper:data_name(domains),
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
    Script = filename:join("/tmp", test_helper:data_name(sql)),
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
    case program_helper:process_stat(File) of
        {Pid, [_State, Parent | _]} -> [{Pid, binary_to_list(Parent)}];
        gone -> []
    end.

%% @doc Kills the server, and waits for the end of all its processes: those of PostgreSQL, one per
%% connection, go on for a moment, and each answers what it is asked meanwhile.
kill_server(Config) ->
    Pids = server_processes(Config),
    _ = control("kill", Config),
    test_helper:wait_until(fun() -> not lists:any(fun program_helper:is_running/1, Pids) end).

schema_file(Kind) ->
    filename:join([test_helper:root_dir(), "priv/schema", atom_to_list(Kind) ++ ".sql"]).
