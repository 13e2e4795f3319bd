%% @doc Following the log of events: every domain of a database changes in one transaction, half of
%% them by another host type, half by being disabled or enabled again, and then there is an event
%% for each, in an order that has nothing to do with the order of the rows.
%%
%% Both sides follow the same events, each from its own position, in one node. Ours looks for gaps
%% in the log, too; the reference does not. (`make bench-follow' looks closer at few events.)
-module(bench_events).

-export([databases/1, steps/2]).
-export([measure/3]).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{events := Events}) ->
    [{Kind, Events, written} || Kind <- [postgres, mysql]].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{events := Events, event_pairs := Pairs}, Urls) ->
    [{["events of ", Name],
      fun() ->
          #{{Kind, Events, written} := Url} = Urls,
          Samples = bench_node:in_fresh_node(?MODULE, measure, [Url, Events, Pairs]),
          results(Kind, ["following ", bench_report:amount(Events), " events"],
                  [Name, ", ", bench_report:amount(Events), " domains"], Samples)
      end} || {Kind, Name} <- [{postgres, "PostgreSQL"}, {mysql, "MariaDB"}]].

results(postgres, What, At, Samples) ->
    [bench_pairs:result(What, At, {time, <<"s">>}, {at_least, 5.0}, Samples)];
results(mysql, What, At, Samples) ->
    Seconds = bench_pairs:median([Ours || {_, Ours} <- Samples]),
    Result = bench_pairs:result(What, At, {time, <<"s">>}, {at_least, 2.0}, Samples),
    #{met := Met} = Result,
    [Result#{target_text => <<"≥ 2.00, < 4 s"/utf8>>, seconds => Seconds,
             met := Met andalso Seconds < 4}].

%% @private
%% @doc In a fresh node: seconds of the reference, and ours.
-spec measure(Url :: string(), Events :: pos_integer(), Pairs :: pos_integer()) ->
    [bench_pairs:pair()].
measure(Url, Events, Pairs) ->
    ok = bench_node:load_both(Url),
    Database = bench_driver:open(list_to_binary(Url)),
    [pair(Number, Url, Events, Database) || Number <- lists:seq(1, Pairs)].

pair(Number, Url, Events, Database) ->
    %% The next check that nobody asks for is 30 s away then.
    ok = follow_ours(),
    Position = (Number - 1) * Events,
    _ = db_helper:sql(Url, change(Position)),
    Reference = bench_pairs:timed(fun() -> bench_reference_loader:follow(Database, Position) end),
    Ours = bench_pairs:timed(fun follow_ours/0),
    true = lists:sort(bench_reference:get_all_dynamic())
               =:= lists:sort(mongoose_domain_core:get_all_dynamic()),
    {Reference, Ours}.

follow_ours() ->
    ok = service_domain_db:force_check_for_updates(),
    pong = node_helper:loaded(),
    ok.

%% The ids of the events are given: MariaDB leaves out thousands when it numbers so many rows
%% itself, and settling them would be work that only our side does.
change(Position) ->
    io_lib:format(
        "BEGIN; "
        "UPDATE domain_settings SET status = 1 - status WHERE id % 2 = 0; "
        "UPDATE domain_settings SET host_type = "
        "CASE host_type WHEN 'type1' THEN 'type2' ELSE 'type1' END WHERE id % 2 = 1; "
        "INSERT INTO domain_events (id, domain) "
        "SELECT ~b + ROW_NUMBER() OVER (ORDER BY MD5(domain)), domain FROM domain_settings; "
        "COMMIT;", [Position]).
