%% @doc `make bench-http': the HTTP server of a node, over PostgreSQL.
%%
%% - Requests per second of one domain, by 16 connections of wrk: one of the database, and a static
%%   one, for which only the node is asked.
%% - How long a question to the node takes, by the server's own histogram.
%% - The same requests, one connection, while an import and two exports run: the slowest of a
%%   hundred.
%% - How soon the server answers again when its program is killed, and when it hangs.
-module(http_load).

-export([main/0]).

-ignore_xref(?MODULE).

-define(DOMAINS, bench_pairs:quick(300000, 2000)).
%% Seconds of a run of wrk, and how many of them make a median.
-define(SECONDS, bench_pairs:quick(5, 1)).
-define(RUNS, bench_pairs:quick(5, 1)).
-define(KILLS, bench_pairs:quick(9, 1)).
%% Pings of a program that hangs are waited for a second.
-define(STOPS, bench_pairs:quick(5, 1)).

-define(DYNAMIC, "/api/domains/d1000.example").
-define(STATIC, "/api/domains/static.example").

main() ->
    ok = logger:set_primary_config(level, none),
    Config = db_helper:init_database(postgres, []),
    try run(db_helper:fresh_url(Config))
    after db_helper:end_database(Config)
    end,
    halt(0).

run(Url) ->
    db_helper:fill(Url, "d", ".example", ?DOMAINS),
    {ok, _} = http_helper:start(#{database => Url}, #{}),
    pong = service_domain_db:sync_local(),
    _ = [io:format("~ts: ~b requests per second~n", [Path, round(median(Path, rate))])
         || Path <- [?DYNAMIC, ?STATIC, "/healthz"]],
    Before = questions(),
    Alone = [wrk(?DYNAMIC, 1) || _ <- lists:seq(1, ?RUNS)],
    io:format("a question to the node: ~ts~n", [describe(Before, questions())]),
    say("alone", Alone),
    say("beside an import and two exports", beside_bulk(fun() -> wrk(?DYNAMIC, 1) end)),
    say("the same, 16 connections", beside_bulk(fun() -> wrk(?DYNAMIC, 16) end)),
    _ = http_helper:programs() =/= [] andalso
        begin
            back("killed (-9)", "KILL", ?KILLS),
            back("stopped (-STOP)", "STOP", ?STOPS)
        end,
    node_helper:stop_standalone().

say(What, Samples) ->
    Median = fun(Key) -> bench_pairs:median([maps:get(Key, Sample) || Sample <- Samples]) end,
    io:format("one domain, ~ts: ~b per second, ~.2f ms (median), ~.2f ms (99 %)~n",
              [What, round(Median(rate)), Median(p50), Median(p99)]).

median(Path, Key) ->
    bench_pairs:median([maps:get(Key, wrk(Path, 16)) || _ <- lists:seq(1, ?RUNS)]).

%% Times in milliseconds.
wrk(Path, Connections) ->
    Output = os:cmd(lists:flatten(io_lib:format("wrk -t1 -c~b -d~bs --latency '~ts~ts'",
                                                [Connections, ?SECONDS, http_helper:url(),
                                                 Path]))),
    nomatch = string:find(Output, "Non-2xx"),
    {match, [Rate]} = re:run(Output, "Requests/sec: +([0-9.]+)", [{capture, [1], list}]),
    #{rate => list_to_float(Rate), p50 => latency("50", Output), p99 => latency("99", Output)}.

latency(Percent, Output) ->
    {match, [Number, Unit]} = re:run(Output, " " ++ Percent ++ "% +([0-9.]+)(us|ms|s)",
                                     [{capture, [1, 2], list}]),
    list_to_float(Number) * maps:get(Unit, #{"us" => 0.001, "ms" => 1.0, "s" => 1000.0}).

%% The histogram of questions at the table: how many took at most so many seconds.
questions() ->
    {200, Metrics} = http_helper:get("/metrics"),
    case re:run(Metrics, "question_duration_seconds_bucket{le=\"([0-9.]+)\"} ([0-9]+)",
                [global, {capture, [1, 2], list}]) of
        {match, Buckets} -> [{Limit, list_to_integer(Count)} || [Limit, Count] <- Buckets];
        nomatch -> []
    end.

describe([], []) ->
    "in the same process";
describe(Before, After) ->
    Counts = [{Limit, Now - Then} || {{Limit, Then}, {Limit, Now}} <- lists:zip(Before, After)],
    {_, All} = lists:last(Counts),
    [{Limit, _} | _] = [Bucket || Bucket = {_, Count} <- Counts, 2 * Count >= All],
    Within = proplists:get_value("0.0002", Counts),
    io_lib:format("half of them took less than ~ts s; ~.1f % of ~b less than 0.0002 s",
                  [Limit, 100 * Within / max(All, 1), All]).

%% While an import and two exports run, each again and again.
beside_bulk(Measure) ->
    Url = http_helper:url(),
    File = "/tmp/" ++ test_helper:data_name("load") ++ ".csv",
    ok = file:write_file(File, [["new", integer_to_list(N), "-", os:getpid(), ".example,type1\n"]
                                || N <- lists:seq(1, ?DOMAINS)]),
    Export = ["curl -sS --noproxy '*' -o /dev/null ", Url, "/api/export"],
    Import = ["curl -sS --noproxy '*' -o /dev/null -H 'Content-Type: text/csv' --data-binary @",
              File, " ", Url, "/api/import"],
    Ports = [open_port({spawn_executable, "/bin/sh"},
                       [{args, ["-c", lists:flatten(["while [ -e ", File, " ]; do ", Command,
                                                     "; done"])]}, exit_status])
             || Command <- [Import, Export, Export]],
    timer:sleep(500),
    Samples = [Measure() || _ <- lists:seq(1, ?RUNS)],
    ok = file:delete(File),
    _ = [receive {Port, {exit_status, _}} -> ok end || Port <- Ports],
    Samples.

%% How soon a request is answered again.
back(What, Signal, Times) ->
    Samples = [begin
                   %% It has lived for a while, as in production.
                   timer:sleep(bench_pairs:quick(1500, 100)),
                   Begun = erlang:monotonic_time(millisecond),
                   Pid = http_helper:kill_program(Signal),
                   test_helper:wait_until(fun() ->
                       http_helper:programs() -- [Pid] =/= [] andalso answers()
                   end),
                   erlang:monotonic_time(millisecond) - Begun
               end || _ <- lists:seq(1, Times)],
    io:format("~ts, it answers again after ~b ms (median), ~b ms at most~n",
              [What, round(bench_pairs:median(Samples)), lists:max(Samples)]).

answers() ->
    try http_helper:get("/healthz") of
        {200, _} -> true
    catch
        _:_NotYet -> false
    end.
