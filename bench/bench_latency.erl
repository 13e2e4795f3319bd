%% @doc How long a lookup takes while a load runs.
%%
%% One process looks up static domains, which are there from the start, one after the other, and
%% notes the time of each, while its side loads from PostgreSQL and tells of every domain. Each side
%% is measured under its own load. A time includes reading the clock, and whatever the scheduler or
%% the operating system puts in between, as for any caller.
-module(bench_latency).

-export([databases/1, steps/2]).
-export([measure/2]).

-define(STATIC, 1000).
%% A histogram has 32 buckets for each power of two of nanoseconds: it is exact to 3 %.
-define(BUCKETS, 2048).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{large := Large}) ->
    [{postgres, Large, shared}].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{large := Large, load_pairs := Pairs}, Urls) ->
    #{{postgres, Large, shared} := Url} = Urls,
    [{["lookups while ", bench_report:amount(Large), " load"],
      fun() -> results(bench_report:amount(Large), Pairs, Url) end}].

results(Amount, Count, Url) ->
    In = fun(Side) -> fun() -> bench_node:in_fresh_node(?MODULE, measure, [Side, Url]) end end,
    Samples = bench_pairs:samples(Count, In(reference), In(ours)),
    [bench_pairs:result("latency of a lookup during a load", [Name, " while ", Amount, " load"],
                        {time, <<"ns">>}, {at_least, 1.0},
                        [{maps:get(Name, Reference), maps:get(Name, Ours)}
                         || {Reference, Ours} <- Samples])
     || Name <- [<<"p50">>, <<"p99">>, <<"p99.9">>]].

%% @private
%% @doc In a fresh node.
-spec measure(bench_node:side(), Url :: string()) -> #{binary() => non_neg_integer()}.
measure(Side, Url) ->
    Names = [<<"static", (integer_to_binary(100000 + N))/binary, ".example.com">>
             || N <- lists:seq(1, ?STATIC)],
    ok = bench_node:start(Side, Url, [{Name, <<"type1">>} || Name <- Names], told),
    Histogram = counters:new(?BUCKETS, []),
    Reader = spawn_link(fun() -> read(bench_node:module(Side), Names, Histogram) end),
    ok = bench_node:load(Side, Url),
    Reader ! {stop, self()},
    receive {Reader, stopped} -> ok end,
    Counts = [counters:get(Histogram, N) || N <- lists:seq(1, ?BUCKETS)],
    #{<<"p50">> => percentile(0.5, Counts), <<"p99">> => percentile(0.99, Counts),
      <<"p99.9">> => percentile(0.999, Counts)}.

read(Module, Names, Histogram) ->
    lists:foreach(fun(Name) -> look_up(Module, Name, Histogram) end, Names),
    receive
        {stop, From} -> From ! {self(), stopped}
    after 0 ->
        read(Module, Names, Histogram)
    end.

look_up(Module, Name, Histogram) ->
    Began = erlang:monotonic_time(nanosecond),
    {ok, _} = Module:get_host_type(Name),
    Ended = erlang:monotonic_time(nanosecond),
    counters:add(Histogram, bucket(Ended - Began), 1).

%% The buckets, from 1 on: the first 64 are of one nanosecond each, the next 32 of two, and so on.
bucket(Nanoseconds) when Nanoseconds < 64 ->
    Nanoseconds + 1;
bucket(Nanoseconds) ->
    Doubled = floor(math:log2(Nanoseconds)) - 5,
    Doubled * 32 + (Nanoseconds bsr Doubled) + 1.

%% The least number of a bucket.
nanoseconds(Bucket) when Bucket =< 64 ->
    Bucket - 1;
nanoseconds(Bucket) ->
    Doubled = (Bucket - 1) div 32 - 1,
    (Bucket - 1 - Doubled * 32) bsl Doubled.

percentile(Part, Counts) ->
    percentile(ceil(Part * lists:sum(Counts)), 1, Counts).

percentile(Rank, Bucket, [Count | _]) when Rank =< Count -> nanoseconds(Bucket);
percentile(Rank, Bucket, [Count | Counts]) -> percentile(Rank - Count, Bucket + 1, Counts).
