%% @doc Failover: the server becomes read-only or ends, a replica takes its place under the same
%% name, with all that was written or without the newest of it (invariant I11).
%%
%% The name is a real one, for one node of its own: the library nss_wrapper gives it a file of
%% hosts.
-module(failover_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(T1, <<"type1">>).
-define(NAME, "db.test").

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    [{group, postgres}, {group, mysql}, {group, replica}].

groups() ->
    ReadOnly = [connections_to_a_read_only_server_are_not_kept],
    [{postgres, [], ReadOnly}, {mysql, [], ReadOnly},
     {replica, [], [a_node_follows_from_a_read_only_primary_to_the_promoted_replica,
                    a_node_follows_on_when_the_primary_ends,
                    what_the_replica_lost_is_gone_from_the_table]}].

init_per_testcase(connections_to_a_read_only_server_are_not_kept, Config) ->
    {ok, _} = node_helper:start_standalone(#{database => ?config(url, Config)}),
    pong = service_domain_db:sync_local(),
    Config;
init_per_testcase(_Case, Config) ->
    start_replicated(Config).

end_per_testcase(connections_to_a_read_only_server_are_not_kept, _Config) ->
    node_helper:stop_standalone();
end_per_testcase(_Case, Config) ->
    node_helper:stop_node(?config(node, Config)),
    [db_helper:end_database([{owner, Owner}]) || Owner <- ?config(owners, Config)].

%% Cases

%% As long as it is read-only each operation has a connection of its own, which looks up the name.
connections_to_a_read_only_server_are_not_kept(Config) ->
    kept(Config),
    read_only(true, Config),
    Before = check(Config),
    _ = check(Config),
    %% The server may take a moment to see that they are closed.
    test_helper:wait_until(fun() -> Before -- connections(Config) =:= Before end),
    read_only(false, Config),
    kept(Config).

kept(Config) ->
    test_helper:wait_until(fun() -> check(Config) =:= check(Config) end).

%% Reading alone would never tell that the old one is not the primary any more.
a_node_follows_from_a_read_only_primary_to_the_promoted_replica(Config) ->
    insert(<<"a.example">>, Config),
    replayed(Config),
    sql(primary, "ALTER SYSTEM SET default_transaction_read_only = on; SELECT pg_reload_conf()",
        Config),
    promote(Config),
    point_name_to("127.0.0.2", Config),
    insert_there(<<"new.example">>, Config),
    wait_for(<<"new.example">>, {ok, ?T1}, Config),
    insert(<<"b.example">>, Config),
    ?assertEqual("1", sql(replica, "SELECT count(*) FROM domain_settings "
                                   "WHERE domain = 'b.example'", Config)),
    ?assertEqual({ok, ?T1}, routes(<<"a.example">>, Config)),
    ?assertEqual(ok, call(service_domain_db, verify, [], Config)).

a_node_follows_on_when_the_primary_ends(Config) ->
    insert(<<"a.example">>, Config),
    replayed(Config),
    end_primary(Config),
    ok = call(service_domain_db, force_check_for_updates, [], Config),
    test_helper:wait_until(fun() ->
        maps:get(state, call(service_domain_db, status, [], Config)) =:= retrying
    end),
    ?assertEqual({ok, ?T1}, routes(<<"a.example">>, Config)),
    promote(Config),
    point_name_to("127.0.0.2", Config),
    insert_there(<<"new.example">>, Config),
    wait_for(<<"new.example">>, {ok, ?T1}, Config),
    insert(<<"b.example">>, Config),
    %% Followed, not loaded again.
    ?assertMatch(#{loads := 1}, call(service_domain_db, status, [], Config)).

what_the_replica_lost_is_gone_from_the_table(Config) ->
    insert(<<"a.example">>, Config),
    {ok, _} = call(mongoose_domain_api, insert_domain, [<<"off.example">>, ?T1], Config),
    replayed(Config),
    stop_replication(Config),
    insert(<<"lost.example">>, Config),
    {ok, _} = call(mongoose_domain_api, disable_domain, [<<"off.example">>], Config),
    wait_for(<<"off.example">>, {error, not_found}, Config),
    end_primary(Config),
    promote(Config),
    point_name_to("127.0.0.2", Config),
    %% Whether ids come again or are left out.
    wait_for(<<"lost.example">>, {error, not_found}, Config),
    wait_for(<<"off.example">>, {ok, ?T1}, Config),
    insert(<<"new.example">>, Config),
    ?assertEqual({ok, ?T1}, routes(<<"a.example">>, Config)),
    ?assertMatch(#{reloads := #{went_backwards := 1}},
                 call(service_domain_db, status, [], Config)),
    ?assertEqual(ok, call(service_domain_db, verify, [], Config)).

%% A primary, its replica, and a node that knows them by one name

start_replicated(Config) ->
    {Primary, _, Url} = program_helper:start_script("throwaway-postgres", []),
    {ok, Schema} = file:read_file(filename:join(test_helper:root_dir(),
                                                "priv/schema/postgres.sql")),
    db_helper:sql(Url, Schema),
    {Replica, _, ReplicaUrl} =
        program_helper:start_script("throwaway-postgres", ["--replica", Url]),
    Hosts = filename:join(?config(priv_dir, Config), test_helper:data_name(hosts)),
    Started = [{owners, [Primary, Replica]}, {primary, Url}, {replica, ReplicaUrl},
               {hosts, Hosts} | Config],
    point_name_to("127.0.0.1", Started),
    [Wrapper] = filelib:wildcard("/usr/lib/*/libnss_wrapper.so"),
    Node = node_helper:start_peer(node, [{"LD_PRELOAD", Wrapper}, {"NSS_WRAPPER_HOSTS", Hosts}]),
    Named = lists:flatten(string:replace(Url, "127.0.0.1", ?NAME)),
    {ok, _} = node_helper:call(Node, node_helper, start_standalone, [#{database => Named}]),
    pong = node_helper:call(Node, service_domain_db, sync_local, []),
    [{node, Node} | Started].

point_name_to(Address, Config) ->
    Hosts = ?config(hosts, Config),
    Before = filelib:last_modified(Hosts),
    ok = file:write_file(Hosts, [Address, " " ?NAME "\n"]),
    %% It is read again when it has another time, in whole seconds.
    _ = is_integer(Before) orelse Before =:= 0 orelse
        begin
            Seconds = calendar:datetime_to_gregorian_seconds(Before) + 10,
            ok = file:change_time(Hosts, calendar:gregorian_seconds_to_datetime(Seconds))
        end,
    ok.

replayed(Config) ->
    Written = sql(primary, "SELECT pg_current_wal_lsn()", Config),
    test_helper:wait_until(fun() ->
        sql(replica, ["SELECT pg_last_wal_replay_lsn() >= '", Written, "'"], Config) =:= "t"
    end).

stop_replication(Config) ->
    sql(replica, "ALTER SYSTEM SET primary_conninfo = ''", Config),
    sql(replica, "SELECT pg_reload_conf()", Config),
    test_helper:wait_until(fun() ->
        sql(replica, "SELECT count(*) FROM pg_stat_wal_receiver", Config) =:= "0"
    end).

promote(Config) ->
    "t" = sql(replica, "SELECT pg_promote()", Config).

end_primary(Config) ->
    [Primary, _] = ?config(owners, Config),
    db_helper:end_database([{owner, Primary}]),
    %% The script ends it when its input ends.
    test_helper:wait_until(fun() ->
        try sql(primary, "SELECT 1", Config), false
        catch error:{sql_failed, _, _} -> true
        end
    end).

%% Helpers

%% By somebody else, on the new primary.
insert_there(Domain, Config) ->
    sql(replica, ["INSERT INTO domain_settings (domain, host_type) ",
                  "VALUES ('", Domain, "', 'type1');",
                  "INSERT INTO domain_events (domain) VALUES ('", Domain, "');"], Config).

insert(Domain, Config) ->
    {ok, _} = call(mongoose_domain_api, insert_domain, [Domain, ?T1], Config),
    pong = call(service_domain_db, sync_local, [], Config),
    ?assertEqual({ok, ?T1}, routes(Domain, Config)).

routes(Domain, Config) ->
    call(mongoose_domain_core, get_host_type, [Domain], Config).

%% By itself, or by the next check.
wait_for(Domain, Expected, Config) ->
    test_helper:wait_until(fun() ->
        ok = call(service_domain_db, force_check_for_updates, [], Config),
        routes(Domain, Config) =:= Expected
    end, 120000).

call(M, F, A, Config) ->
    node_helper:call(?config(node, Config), M, F, A).

sql(Server, Statements, Config) ->
    db_helper:sql(?config(Server, Config), Statements).

%% After a check: the connections that are there.
check(Config) ->
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    {not_found, _} = mongoose_domain_api:get_domain_details(<<"a.example">>),
    connections(Config).

connections(Config) ->
    Ids = db_helper:sql(?config(server_url, Config), sessions(Config)),
    lists:sort(string:lexemes(Ids, "\n")).

sessions(Config) ->
    case ?config(kind, Config) of
        postgres -> "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'domains_%'";
        mysql -> "SELECT id FROM information_schema.processlist WHERE db LIKE 'domains_%'"
    end.

read_only(On, Config) ->
    Server = ?config(server_url, Config),
    case ?config(kind, Config) of
        postgres ->
            Value = case On of true -> "on"; false -> "off" end,
            db_helper:sql(Server, "ALTER SYSTEM SET default_transaction_read_only = " ++ Value),
            db_helper:sql(Server, "SELECT pg_reload_conf()"),
            test_helper:wait_until(fun() ->
                db_helper:sql(Server, "SHOW default_transaction_read_only") =:= Value
            end);
        mysql ->
            Value = case On of true -> "1"; false -> "0" end,
            db_helper:sql(Server, "SET GLOBAL read_only = " ++ Value)
    end.
