%% @doc Paired samples, and what is made of them.
%%
%% The two sides are measured in turns, A B A B, so that a machine that is slow for a while is slow
%% for both; each pair gives one ratio. A result is the median of the ratios and their spread.
-module(bench_pairs).

-export([samples/3, result/5, finding/6, median/1, timed/1, quick/2]).

-export_type([result/0, unit/0, target/0, pair/0]).

%% {Of the reference, of ours}
-type pair() :: {number(), number()}.
%% How the ratio reads: of a `rate' and a `time' how many times as fast ours is, of a `share' what
%% part of the reference's ours is.
-type unit() :: {rate | time | share, Name :: binary()}.
-type target() :: {at_least | at_most, number()} | none.
%% The numbers are in the unit, in the order in which they were measured.
-type result() :: #{what := binary(), at := binary(), target := target(), target_text => binary(),
                    unit := binary(), ratio := number() | undefined, ratios := [number()],
                    met := boolean() | undefined, reference := [number()], ours := [number()],
                    notes => [binary()], atom() => term()}.

%% @doc Measures the sides in turns, so many times each.
-spec samples(pos_integer(), Reference :: fun(() -> Sample), Ours :: fun(() -> Sample)) ->
    [{Sample, Sample}].
samples(Count, Reference, Ours) ->
    [{Reference(), Ours()} || _ <- lists:seq(1, Count)].

%% @doc The result of pairs of numbers.
-spec result(What :: iodata(), At :: iodata(), unit(), target(), [pair()]) -> result().
result(What, At, {Kind, Unit}, Target, Pairs) ->
    Ratios = [ratio(Kind, Pair) || Pair <- Pairs],
    Ratio = median(Ratios),
    {Reference, Ours} = lists:unzip(Pairs),
    #{what => iolist_to_binary(What), at => iolist_to_binary(At), target => Target, unit => Unit,
      ratio => Ratio, ratios => Ratios, met => met(Target, Ratio), reference => Reference,
      ours => Ours}.

%% @doc The result of something that is not compared with the reference: a number, which is in the
%% place of the ratio, and the samples that it comes from.
-spec finding(What :: iodata(), At :: iodata(), Unit :: binary(), target(), number(),
              Samples :: [number()]) -> result().
finding(What, At, Unit, Target, Number, Samples) ->
    #{what => iolist_to_binary(What), at => iolist_to_binary(At), target => Target, unit => Unit,
      ratio => Number, ratios => [], met => met(Target, Number), reference => [],
      ours => Samples}.

%% @doc Of an even number of samples the mean of the two in the middle.
-spec median([number(), ...]) -> number().
median(Numbers) ->
    Sorted = lists:sort(Numbers),
    Half = length(Sorted) div 2,
    case length(Sorted) rem 2 of
        1 -> lists:nth(Half + 1, Sorted);
        0 -> (lists:nth(Half, Sorted) + lists:nth(Half + 1, Sorted)) / 2
    end.

%% @doc Seconds that the function takes.
-spec timed(fun(() -> any())) -> float().
timed(Fun) ->
    Began = erlang:monotonic_time(),
    _ = Fun(),
    Ended = erlang:monotonic_time(),
    (Ended - Began) / erlang:convert_time_unit(1, second, native).

%% @doc How much is measured: with `QUICK=1' the second, which only shows that it can be measured.
-spec quick(Full, Quick) -> Full | Quick.
quick(Full, Quick) ->
    case os:getenv("QUICK", "") of
        "" -> Full;
        _ -> Quick
    end.

%% What was too short for the clock still has a ratio.
ratio(time, {Reference, Ours}) -> Reference / max(Ours, 1.0e-9);
ratio(_RateOrShare, {Reference, Ours}) -> Ours / max(Reference, 1.0e-9).

met(none, _Ratio) -> undefined;
met({at_least, Target}, Ratio) -> Ratio >= Target;
met({at_most, Target}, Ratio) -> Ratio =< Target.
