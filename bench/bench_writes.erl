%% @doc Domains that come and go one by one, through the process: one caller, new names.
-module(bench_writes).

-export([databases/1, steps/2]).
-export([measure/3]).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{middle := Middle}) ->
    [{postgres, Middle, shared}].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{middle := Middle} = Plan, Urls) ->
    #{{postgres, Middle, shared} := Url} = Urls,
    [{["writes among ", bench_report:amount(Middle)],
      fun() -> bench_node:in_fresh_node(?MODULE, measure, [Middle, Url, Plan]) end}].

%% @private
%% @doc In a fresh node.
-spec measure(Size :: pos_integer(), Url :: string(), bench:plan()) -> [bench_pairs:result()].
measure(Size, Url, #{pairs := Pairs, writes := Count}) ->
    ok = bench_node:load_both(Url),
    Names = [bench_database:missing_name(N) || N <- lists:seq(1, Count)],
    _WarmUp = write(bench_reference, Names),
    _ = write(mongoose_domain_core, Names),
    Samples = bench_pairs:samples(Pairs, fun() -> write(bench_reference, Names) end,
                                  fun() -> write(mongoose_domain_core, Names) end),
    At = [bench_report:amount(Size), " domains"],
    [bench_pairs:result(What, At, {rate, <<"1/s">>}, {at_least, 1.0},
                        [{element(N, Reference), element(N, Ours)} || {Reference, Ours} <- Samples])
     || {N, What} <- [{1, "insert"}, {2, "delete"}]].

%% How many inserts, and how many deletes, a second.
write(Module, Names) ->
    Insert = fun(Name) -> ok = Module:insert(Name, <<"type1">>, bench) end,
    Delete = fun(Name) -> ok = Module:delete(Name) end,
    {rate(Insert, Names), rate(Delete, Names)}.

rate(Write, Names) ->
    length(Names) / bench_pairs:timed(fun() -> lists:foreach(Write, Names) end).
