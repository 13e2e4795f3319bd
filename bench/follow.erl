%% @doc `make bench-follow': following 1,000 new events among 100,000 domains, and an audit of them.
%%
%% On PostgreSQL and on MariaDB, with MongooseIM's schema as it is: on MariaDB nothing finds a
%% domain by its name but a look at the whole table. Beside it, on the same data in the same run,
%% what a follower does that joins the events with the settings.
-module(follow).

-export([main/0]).

-define(DOMAINS, bench_pairs:quick(100000, 2000)).
-define(EVENTS, bench_pairs:quick(1000, 20)).
%% The join takes so long on MariaDB that it gets only some of them.
-define(JOINED, #{postgres => ?EVENTS, mysql => bench_pairs:quick(100, 2)}).
-define(ROUNDS, bench_pairs:quick(5, 1)).

-spec main() -> no_return().
main() ->
    ok = logger:set_primary_config(level, error),
    lists:foreach(fun run/1, [postgres, mysql]),
    halt(0).

run(Kind) ->
    Config = db_helper:init_database(Kind, []),
    Url = db_helper:fresh_url(Config),
    _ = db_helper:fill(Url, "d", ".example.com", ?DOMAINS),
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    pong = node_helper:loaded(),
    io:format("~n~ts, ~b domains, ~b new events, ~b rounds~n",
              [string:uppercase(atom_to_list(Kind)), ?DOMAINS, ?EVENTS, ?ROUNDS]),
    #{Kind := Joined} = ?JOINED,
    Rounds = [round(N, Joined, Url, Config) || N <- lists:seq(1, ?ROUNDS)],
    {Walls, Servers, Nodes, Audits, Joins} = unzip5(Rounds),
    io:format("medians: followed in ~b ms (server ~b ms, node ~b ms of processor time); an audit "
              "~b ms~n", [bench_pairs:median(Times) || Times <- [Walls, Servers, Nodes, Audits]]),
    Ratios = [(Join / Joined) / (max(1, Wall) / ?EVENTS) || {Wall, _, _, _, Join} <- Rounds],
    io:format("a join of ~b of them takes ~b ms; per event it takes ~.1f times as long "
              "(median; ~.1f to ~.1f)~n",
              [Joined, bench_pairs:median(Joins), bench_pairs:median(Ratios), lists:min(Ratios),
               lists:max(Ratios)]),
    node_helper:stop_standalone(),
    db_helper:end_database(Config).

%% Milliseconds: the whole, the server's and the node's processor time; an audit; the join.
round(N, Joined, Url, Config) ->
    Before = mongoose_domain_core:domains_count(),
    _ = db_helper:sql(Url, change(N)),
    #{position := Position} = service_domain_db:status(),
    Cpu0 = {server_cpu(Config), cpu(os:getpid())},
    T0 = erlang:monotonic_time(microsecond),
    ok = service_domain_db:force_check_for_updates(),
    pong = service_domain_db:sync_local(),
    T1 = erlang:monotonic_time(microsecond),
    Cpu1 = {server_cpu(Config), cpu(os:getpid())},
    Events = Before - mongoose_domain_core:domains_count(),
    true = Events =:= ?EVENTS,
    ok = service_domain_db:verify(),
    T2 = erlang:monotonic_time(microsecond),
    _ = db_helper:sql(Url, join(Position, Joined)),
    T3 = erlang:monotonic_time(microsecond),
    %% What starting the client takes.
    _ = db_helper:sql(Url, "SELECT 1"),
    T4 = erlang:monotonic_time(microsecond),
    Row = {milliseconds(T0, T1), element(1, Cpu1) - element(1, Cpu0),
           element(2, Cpu1) - element(2, Cpu0), milliseconds(T1, T2),
           max(1, milliseconds(T2, T3) - milliseconds(T3, T4))},
    io:format("round ~b: followed in ~b ms (server ~b ms, node ~b ms of processor time), audit ~b "
              "ms, join ~b ms~n", [N | tuple_to_list(Row)]),
    Row.

%% Disables a thousand domains, spread over the table.
change(N) ->
    Chosen = io_lib:format("id % ~b = ~b", [?DOMAINS div ?EVENTS, N]),
    ["BEGIN; UPDATE domain_settings SET status = 0 WHERE ", Chosen, "; ",
     "INSERT INTO domain_events (domain) SELECT domain FROM domain_settings WHERE ", Chosen,
     " ORDER BY id; COMMIT;"].

join(Position, Joined) ->
    io_lib:format("SELECT e.id, e.domain, s.host_type FROM domain_events e LEFT JOIN "
                  "domain_settings s ON s.domain = e.domain AND s.status = 1 "
                  "WHERE e.id > ~b AND e.id <= ~b ORDER BY e.id", [Position, Position + Joined]).

%% Measuring

%% Milliseconds of processor time that the server has used so far.
server_cpu(Config) ->
    lists:sum([cpu(Pid) || Pid <- db_helper:server_processes(Config)]).

%% utime and stime of /proc/PID/stat, in hundredths of a second.
cpu(Pid) ->
    case program_helper:process_stat(filename:join(["/proc", Pid, "stat"])) of
        {_Pid, Fields} ->
            10 * lists:sum([binary_to_integer(lists:nth(N, Fields)) || N <- [12, 13]]);
        gone ->
            0
    end.

milliseconds(From, To) ->
    (To - From) div 1000.

unzip5(Rows) ->
    list_to_tuple([[element(N, Row) || Row <- Rows] || N <- lists:seq(1, 5)]).
