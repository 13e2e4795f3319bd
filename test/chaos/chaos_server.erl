%% @doc The database server of `make chaos', and what is asked of it beside our own code.
-module(chaos_server).

-export([start/1, stop/1, url/1, fill/2, enabled/1, deleting/1]).
-export([kill/1, start_again/1, stop_at_once/1, freeze/1, thaw/1]).
-export([leave_gap/1, insert/2, hold_open/3, truncate_log/1, crowd/2]).

-include_lib("common_test/include/ct.hrl").

%% So many connections the server has; few, so that it can be filled.
-define(CONNECTIONS, 30).

start(Kind) ->
    Config = db_helper:init_database(Kind, []),
    Server = #{kind => Kind, config => Config},
    Server1 = Server#{url => db_helper:fresh_url(Config)},
    prepare_for_crowds(Server1),
    Server1.

prepare_for_crowds(Server = #{kind := postgres}) ->
    sql(Server, ["ALTER SYSTEM SET max_connections = ", integer_to_list(?CONNECTIONS), ";",
                 "ALTER SYSTEM SET superuser_reserved_connections = 0;"]),
    stop_at_once(Server),
    start_again(Server);
prepare_for_crowds(Server = #{kind := mysql}) ->
    %% It limits them while it runs: see crowd/2.
    sql(Server, cut_connections_procedure()).

stop(#{config := Config}) ->
    db_helper:end_database(Config).

url(#{url := Url}) ->
    Url.

%% @doc Domains that are there before the nodes, and that nobody touches.
fill(Count, Server) ->
    db_helper:fill(url(Server), "stable", ".example", Count).

%% @doc What should route: of each domain the newest row, if it is enabled.
enabled(Server) ->
    Text = sql(Server, "SELECT CONCAT(domain, ' ', host_type, ' ', status) FROM domain_settings "
                       "ORDER BY id"),
    Rows = [list_to_tuple(string:split(Line, " ", all)) || Line <- string:split(Text, "\n", all)],
    Newest = maps:from_list([{Domain, {HostType, Status}} || {Domain, HostType, Status} <- Rows]),
    lists:sort([{list_to_binary(Domain), list_to_binary(HostType)}
                || {Domain, {HostType, "1"}} <- maps:to_list(Newest)]).

%% @doc How many removals are not finished.
deleting(Server) ->
    list_to_integer(sql(Server, "SELECT COUNT(*) FROM domain_settings WHERE status = 2")).

%% Faults

kill(#{config := Config}) ->
    _ = db_helper:control("kill", Config),
    ok.

stop_at_once(#{config := Config}) ->
    _ = db_helper:control("stop", Config),
    ok.

start_again(#{config := Config}) ->
    _ = db_helper:control("start", Config),
    ok.

freeze(Server) -> signal("STOP", Server).

thaw(Server) -> signal("CONT", Server).

signal(Signal, #{config := Config}) ->
    Pids = lists:join(" ", db_helper:server_processes(Config)),
    "" = os:cmd(lists:flatten(["kill -", Signal, " ", Pids])),
    ok.

%% @doc A transaction that takes an event id and rolls back.
leave_gap(Server) ->
    write(Server,
          ["BEGIN; INSERT INTO domain_events (domain) VALUES ('never.example'); ROLLBACK;"]).

%% @doc Adds a domain.
insert(Domain, Server) ->
    hold_open(Domain, 0, Server).

%% @doc Adds a domain by a transaction that takes an event id, and commits so many seconds later.
hold_open(Domain, Seconds, Server = #{kind := Kind}) ->
    write(Server, ["BEGIN; INSERT INTO domain_settings (domain, host_type) VALUES ('", Domain,
                   "', 'type1'); INSERT INTO domain_events (domain) VALUES ('", Domain, "'); ",
                   sleep(Seconds, Kind), "COMMIT;"]).

%% Like any writer: again, when a reader took the event's id for a gap before its row was there.
write(Server, Transaction) ->
    try sql(Server, Transaction)
    catch
        error:{sql_failed, _, "ERROR:  duplicate key" ++ _} -> write(Server, Transaction);
        error:{sql_failed, _, "ERROR 1062" ++ _} -> write(Server, Transaction)
    end.

newest_event(Server) ->
    list_to_integer(sql(Server, "SELECT MAX(id) FROM domain_events")).

%% @doc Only the newest event stays, as the cleaner leaves it.
truncate_log(Server) ->
    sql(Server, ["DELETE FROM domain_events WHERE id < ", integer_to_list(newest_event(Server))]).

%% @doc Takes all connections of the server for so many seconds, and cuts those that others have.
crowd(Seconds, Server = #{kind := Kind}) ->
    _ = [sql(Server, ["SET GLOBAL max_connections = ", integer_to_list(?CONNECTIONS)])
         || Kind =:= mysql],
    %% It connects before the others: when the server is full, nobody gets in.
    Cutter = in_background(fun() -> sql(Server, lists:duplicate(12, cut_connections(Kind))) end),
    test_helper:wait_until(fun() -> is_cutting(Server) end),
    Holders = [in_background(fun() -> hold_connection(Seconds, Server, 100) end)
               || _ <- lists:seq(1, ?CONNECTIONS)],
    _ = [receive {Pid, ended} -> ok end || Pid <- [Cutter | Holders]],
    _ = [sql(Server, "SET GLOBAL max_connections = 100") || Kind =:= mysql],
    ok.

in_background(Job) ->
    Self = self(),
    spawn_link(fun() -> Job(), Self ! {self(), ended} end).

%% Tries again until one is free.
hold_connection(_Seconds, _Server, 0) ->
    refused;
hold_connection(Seconds, Server = #{kind := Kind}, Tries) ->
    try sql(Server, sleep(Seconds, Kind))
    catch
        error:{sql_failed, _, _} ->
            timer:sleep(50),
            hold_connection(Seconds, Server, Tries - 1)
    end.

%% After a while, all but our own and those that hold.
cut_connections(postgres) ->
    [sleep(0.3, postgres),
     "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
     "AND backend_type = 'client backend' AND query NOT LIKE '%pg_sleep%';\n"];
cut_connections(mysql) ->
    [sleep(0.3, mysql), "CALL cut_connections();\n"].

%% For MySQL and MariaDB alike. 1094: one that has just ended by itself.
cut_connections_procedure() ->
    "DELIMITER //\n"
    "CREATE PROCEDURE cut_connections() BEGIN "
    "DECLARE its_id BIGINT UNSIGNED; "
    "DECLARE connections CURSOR FOR SELECT id FROM information_schema.processlist "
    "WHERE id <> CONNECTION_ID() AND user = 'domains' AND COALESCE(info, '') NOT LIKE '%SLEEP%'; "
    "DECLARE EXIT HANDLER FOR NOT FOUND BEGIN END; "
    "DECLARE CONTINUE HANDLER FOR 1094 BEGIN END; "
    "OPEN connections; "
    "LOOP FETCH connections INTO its_id; KILL its_id; END LOOP; END//\n"
    "DELIMITER ;\n".

%% It begins by sleeping. Whoever is cut knows as well.
is_cutting(Server = #{kind := Kind}) ->
    try sql(Server, sleepers(Kind)) =/= "0"
    catch error:{sql_failed, _, _} -> true
    end.

%% The number of sessions that sleep.
sleepers(postgres) ->
    "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' "
    "AND pid <> pg_backend_pid()";
sleepers(mysql) ->
    "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE '%SLEEP%' "
    "AND id <> CONNECTION_ID()".

sleep(Seconds, postgres) -> io_lib:format("SELECT pg_sleep(~w);~n", [Seconds]);
sleep(Seconds, mysql) -> io_lib:format("SELECT SLEEP(~w);~n", [Seconds]).

sql(Server, Statements) ->
    db_helper:sql(url(Server), Statements).
