%% @doc `make bench-start': how long the start of the service takes, and a change after a quiet
%% time.
%%
%% Three domains, with TLS to the database and without, in turns, on PostgreSQL and on MariaDB.
%% The start is service_domain_db:start/1, which returns when the first load is in the table. A
%% change is written by the database's own client; its time is that from check_for_updates until
%% it routes, once after another change and once after 30 s without any.
-module(start).

-export([main/0]).

-include_lib("common_test/include/ct.hrl").

-define(ROUNDS, bench_pairs:quick(15, 1)).
-define(QUIET_ROUNDS, bench_pairs:quick(3, 1)).
%% Milliseconds.
-define(QUIET, bench_pairs:quick(30000, 100)).

-spec main() -> no_return().
main() ->
    ok = logger:set_primary_config(level, error),
    Config = tls_helper:make_certificates([{priv_dir, filename:absname("_build/bench")}]),
    lists:foreach(fun(Kind) -> run(Kind, Config) end, [postgres, mysql]),
    halt(0).

run(Kind, Config) ->
    Server = db_helper:init_tls_database(Kind, ?config(certificates, Config), Config),
    Url = db_helper:fresh_url(Server),
    "" = db_helper:fill(Url, "d", ".example", 3),
    Encrypted = Url ++ verified(Kind, tls_helper:certificate("ca", Config)),
    Pairs = bench_pairs:samples(?ROUNDS, fun() -> start_time(Url ++ plain(Kind)) end,
                                fun() -> start_time(Encrypted) end),
    {Plain, Tls} = lists:unzip(Pairs),
    io:format("~ts, ~b rounds~n"
              "start until three domains route: ~.1f ms without TLS, ~.1f ms with; ~.1f ms more~n",
              [Kind, ?ROUNDS, bench_pairs:median(Plain), bench_pairs:median(Tls),
               bench_pairs:median([B - A || {A, B} <- Pairs])]),
    {ok, _} = node_helper:start_standalone(#{database => Encrypted}),
    Changes = [{change_time(Url), quiet(fun() -> change_time(Url) end)}
               || _ <- lists:seq(1, ?QUIET_ROUNDS)],
    {Busy, Quiet} = lists:unzip(Changes),
    io:format("a change, with TLS: ~.1f ms after another one, ~.1f ms after ~.1f s of quiet "
              "(medians of ~b)~n",
              [bench_pairs:median(Busy), bench_pairs:median(Quiet), ?QUIET / 1000, ?QUIET_ROUNDS]),
    node_helper:stop_standalone(),
    db_helper:end_database(Server).

verified(postgres, Ca) -> "?sslmode=verify-full&sslrootcert=" ++ Ca;
verified(mysql, Ca) -> "?ssl-mode=VERIFY_IDENTITY&ssl-ca=" ++ Ca.

plain(postgres) -> "?sslmode=disable";
plain(mysql) -> "?ssl-mode=DISABLED".

%% Milliseconds.
start_time(Url) ->
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    ok = service_domain_db:stop(),
    ok = service_domain_db:restart(),
    Time = milliseconds(fun() -> ok = service_domain_db:start(#{}) end),
    4 = mongoose_domain_core:domains_count(),
    node_helper:stop_standalone(),
    Time.

%% The change before it has just arrived.
change_time(Url) ->
    _ = routed(Url),
    routed(Url).

routed(Url) ->
    Domain = test_helper:data_name("d") ++ ".example",
    _ = db_helper:sql(Url, ["BEGIN; INSERT INTO domain_settings (domain, host_type) VALUES ('",
                            Domain, "', 'type1'); INSERT INTO domain_events (domain) VALUES ('",
                            Domain, "'); COMMIT;"]),
    milliseconds(fun() ->
        ok = service_domain_db:force_check_for_updates(),
        wait_for(list_to_binary(Domain))
    end).

quiet(Change) ->
    timer:sleep(?QUIET),
    Change().

wait_for(Domain) ->
    case mongoose_domain_core:get_host_type(Domain) of
        {ok, <<"type1">>} -> ok;
        {error, not_found} -> erlang:yield(), wait_for(Domain)
    end.

milliseconds(Fun) ->
    1000 * bench_pairs:timed(Fun).
