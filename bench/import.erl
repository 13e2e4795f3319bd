%% @doc `make bench-import': a million domains by `/api/import' into PostgreSQL, and how another
%% node follows meanwhile.
%%
%% curl sends one CSV file to a standalone node; the other node is a peer that is told of changes,
%% as in a cluster. How far it is behind is the number of domains that the import has reported as
%% done, less those that it routes.
-module(import).

-export([main/0]).

-ignore_xref(?MODULE).

-define(COUNT, 1000000).
%% Milliseconds between two looks at the second node.
-define(LOOK, 50).

main() ->
    ok = logger:set_primary_config(level, error),
    Config = test_helper:init_database(postgres, []),
    try run(test_helper:fresh_url(Config))
    after test_helper:end_database(Config)
    end,
    halt(0).

run(Url) ->
    {ok, _} = net_kernel:start(['import@127.0.0.1', longnames]),
    true = erlang:set_cookie(domains),
    Follower = test_helper:start_node(follower, #{database => Url}),
    {ok, _} = http_helper:start(#{database => Url}, #{}),
    true = net_kernel:connect_node(element(2, Follower)),
    test_helper:wait_until(fun() ->
        length(pg:get_members(mim_scope, service_domain_db_group)) =:= 2
    end),
    File = "/tmp/" ++ test_helper:data_name("import") ++ ".csv",
    ok = file:write_file(File, [["d", integer_to_list(N), ".example,type1\n"]
                                || N <- lists:seq(1, ?COUNT)]),
    {Seconds, Lags} = import(File, Follower),
    Before = erlang:monotonic_time(millisecond),
    test_helper:wait_until(fun() -> routed(Follower) =:= ?COUNT end, 60000),
    Converged = erlang:monotonic_time(millisecond) - Before,
    {RepeatSeconds, _} = import(File, Follower),
    ok = file:delete(File),
    io:format("~b domains by one import into PostgreSQL: ~.1f s, ~b per second~n"
              "the second node was behind by ~b domains (median), ~b at most, and had all ~b ms "
              "after the end~n"
              "the same file again, nothing to change: ~.1f s, ~b per second~n",
              [?COUNT, Seconds, round(?COUNT / Seconds), bench_pairs:median(Lags), lists:max(Lags),
               Converged, RepeatSeconds, round(?COUNT / RepeatSeconds)]),
    test_helper:stop_node(Follower),
    test_helper:stop_standalone().

%% How long it took, and how far the second node was behind while it ran.
import(File, Follower) ->
    Command = ["curl -sS -X POST -H 'Content-Type: text/csv' --data-binary @", File, " ",
               http_helper:url(), "/api/import"],
    Port = open_port({spawn, lists:flatten(Command)}, [exit_status, {line, 1000}]),
    Begun = erlang:monotonic_time(millisecond),
    Lags = follow(Port, Follower, 0, []),
    {(erlang:monotonic_time(millisecond) - Begun) / 1000, Lags}.

follow(Port, Follower, Done, Lags) ->
    receive
        {Port, {data, {eol, Line}}} ->
            case re:run(Line, "\"lines\":([0-9]+),\"added\":([0-9]+)", [{capture, [2], list}]) of
                {match, [Added]} -> follow(Port, Follower, list_to_integer(Added), Lags);
                nomatch -> error({import, Line})
            end;
        {Port, {exit_status, 0}} ->
            [0 | Lags]
    after ?LOOK ->
        follow(Port, Follower, Done, [max(0, Done - routed(Follower)) | Lags])
    end.

%% Without the static one.
routed(Follower) ->
    test_helper:call(Follower, mongoose_domain_core, domains_count, []) - 1.
