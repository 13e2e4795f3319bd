%% @doc Does memory stay flat when the table is loaded and dropped again and again? One node starts
%% and stops the standalone application; after each stop its resident memory is read.
-module(bench_cycles).

-export([databases/1, steps/2]).
-export([measure/2]).

%% The memory that the first cycles leave is what the others are compared with.
-define(FIRST, 5).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{cycles := {_Cycles, Size}}) ->
    [{postgres, Size, shared}].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{cycles := {Cycles, Size}}, Urls) ->
    #{{postgres, Size, shared} := Url} = Urls,
    [{"cycles of loading and dropping",
      fun() ->
          Samples = bench_node:in_fresh_node(?MODULE, measure, [Url, Cycles]),
          {First, Later} = lists:split(?FIRST, Samples),
          At = io_lib:format("~b cycles of ~ts", [Cycles, bench_report:amount(Size)]),
          [bench_pairs:finding("resident memory, most of the later cycles to the 5th", At,
                               <<"MiB">>, {at_most, 1.1}, lists:max(Later) / lists:last(First),
                               Samples)]
      end}].

%% @private
%% @doc In a fresh node: MiB of resident memory after each cycle.
-spec measure(Url :: string(), Cycles :: pos_integer()) -> [float()].
measure(Url, Cycles) ->
    [cycle(Url) || _ <- lists:seq(1, Cycles)].

cycle(Url) ->
    ok = bench_node:start(ours, Url, [], nobody),
    ok = bench_node:load(ours, Url),
    ok = node_helper:stop_standalone(),
    ok = bench_node:settle(),
    bench_node:resident() / 1048576.
