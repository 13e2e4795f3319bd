%% @doc `make bench-import': a million domains by `/api/import' into PostgreSQL, and how another
%% node follows meanwhile.
%%
%% curl sends one CSV file to a standalone node; the other node is a peer that is told of changes,
%% as in a cluster. How far it is behind is the newest event of the log, asked of the server, less
%% the position of the node, which is asked first: so rather too much than too little.
-module(import).

-export([main/0]).

-ignore_xref(?MODULE).

-define(COUNT, bench_pairs:quick(1000000, 2000)).
%% Milliseconds between two looks at the second node.
-define(LOOK, 200).

main() ->
    ok = logger:set_primary_config(level, error),
    Config = db_helper:init_database(postgres, []),
    try run(db_helper:fresh_url(Config))
    after db_helper:end_database(Config)
    end,
    halt(0).

run(Url) ->
    %% Starts epmd, too.
    Follower = node_helper:start_node(follower, #{database => Url}),
    {ok, _} = net_kernel:start(['import@127.0.0.1', longnames]),
    true = erlang:set_cookie(domains),
    {ok, _} = http_helper:start(#{database => Url}, #{}),
    true = net_kernel:connect_node(element(2, Follower)),
    test_helper:wait_until(fun() ->
        length(pg:get_members(mim_scope, service_domain_db_group)) =:= 2
    end),
    File = "/tmp/" ++ test_helper:data_name("import") ++ ".csv",
    ok = file:write_file(File, [["d", integer_to_list(N), ".example,type1\n"]
                                || N <- lists:seq(1, ?COUNT)]),
    {Seconds, Lags} = import(File, Url, Follower),
    Before = erlang:monotonic_time(millisecond),
    test_helper:wait_until(fun() -> routed(Follower) =:= ?COUNT end, 60000),
    Converged = erlang:monotonic_time(millisecond) - Before,
    {RepeatSeconds, _} = import(File, Url, Follower),
    ok = file:delete(File),
    io:format("~b domains by one import into PostgreSQL: ~.1f s, ~b per second~n"
              "the second node was behind by ~b events (median), ~b at most, and had all domains "
              "~b ms after the end~n"
              "the same file again, nothing to change: ~.1f s, ~b per second~n",
              [?COUNT, Seconds, round(?COUNT / Seconds), round(bench_pairs:median(Lags)),
               lists:max(Lags), Converged, RepeatSeconds, round(?COUNT / RepeatSeconds)]),
    node_helper:stop_node(Follower),
    node_helper:stop_standalone().

%% How long it took, and how far the second node was behind while it ran.
import(File, Url, Follower) ->
    Command = ["curl -sS --noproxy '*' -X POST -H 'Content-Type: text/csv' --data-binary @", File,
               " ", http_helper:url(), "/api/import"],
    Port = open_port({spawn, lists:flatten(Command)}, [exit_status, {line, 1000}]),
    Begun = erlang:monotonic_time(millisecond),
    look_later(Port),
    {Last, Lags} = watch(Port, Url, Follower, none, []),
    _ = string:prefix(Last, "{\"done\":{\"lines\":" ++ integer_to_list(?COUNT)) =/= nomatch
        orelse error({not_done, Last}),
    {(erlang:monotonic_time(millisecond) - Begun) / 1000, Lags}.

watch(Port, Url, Follower, Last, Lags) ->
    receive
        {Port, {data, {eol, Line}}} ->
            watch(Port, Url, Follower, Line, Lags);
        {look, Port} ->
            look_later(Port),
            watch(Port, Url, Follower, Last, [lag(Url, Follower) | Lags]);
        {Port, {exit_status, _Status}} ->
            {Last, [lag(Url, Follower) | Lags]}
    end.

look_later(Port) ->
    erlang:send_after(?LOOK, self(), {look, Port}).

lag(Url, Follower) ->
    #{position := Position} = node_helper:call(Follower, service_domain_db, status, []),
    Newest = db_helper:sql(Url, "SELECT COALESCE(MAX(id), 0) FROM domain_events"),
    list_to_integer(Newest) - Position.

%% Without the static one.
routed(Follower) ->
    node_helper:call(Follower, mongoose_domain_core, domains_count, []) - 1.
