%% @doc Reads of many domains, each in a fresh process, which throws its heap away with the list.
-module(bench_lists).

-export([databases/1, steps/2]).
-export([measure/3]).

%% Seconds; a call that takes less is repeated so long, and the mean counts.
-define(LONG_ENOUGH, 0.02).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{middle := Middle, large := Large}) ->
    [{postgres, Size, shared} || Size <- [Middle, Large]].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{middle := Middle, large := Large} = Plan, Urls) ->
    [{["lists of ", bench_report:amount(Size)],
      fun() ->
          #{{postgres, Size, shared} := Url} = Urls,
          bench_node:in_fresh_node(?MODULE, measure, [Size, Url, Plan])
      end} || Size <- lists:usort([Middle, Large])].

%% @private
%% @doc In a fresh node.
-spec measure(Size :: pos_integer(), Url :: string(), bench:plan()) -> [bench_pairs:result()].
measure(Size, Url, #{list_pairs := Pairs}) ->
    ok = bench_node:load_both(Url),
    Amount = bench_report:amount(Size),
    Most = [bench_report:amount(Size - 100), " of ", Amount],
    Ignore = fun(_HostType, _Domain) -> ok end,
    [result(What, At, Target, Call, Pairs)
     || {What, At, Target, Call} <-
            [{"get_domains_by_host_type", ["100 of ", Amount], few_target(Size),
              fun(Module) -> Module:get_domains_by_host_type(<<"hundred">>) end},
             {"get_domains_by_host_type", Most, 2.0,
              fun(Module) -> Module:get_domains_by_host_type(<<"type1">>) end},
             {"get_all_dynamic", Amount, 2.0,
              fun(Module) -> Module:get_all_dynamic() end},
             {"for_each_domain, empty fun", Most, 1.0,
              fun(Module) -> Module:for_each_domain(<<"type1">>, Ignore) end}]].

%% The reference reads all domains.
few_target(Size) when Size > 100000 -> 1000;
few_target(_Size) -> 100.

result(What, At, Target, Call, Pairs) ->
    true = same(Call(bench_reference), Call(mongoose_domain_core)),
    Seconds = fun(Module) ->
                  fun() -> bench_node:in_fresh_process(fun() -> mean(fun() -> Call(Module) end) end)
                  end
              end,
    Samples = bench_pairs:samples(Pairs, Seconds(bench_reference), Seconds(mongoose_domain_core)),
    bench_pairs:result(What, At, {time, <<"s">>}, {at_least, Target}, Samples).

same(ok, ok) -> true;
same(Reference, Ours) -> lists:sort(Reference) =:= lists:sort(Ours).

mean(Call) ->
    mean(Call, 0, 0.0).

mean(_Call, Times, Seconds) when Seconds >= ?LONG_ENOUGH ->
    Seconds / Times;
mean(Call, Times, Seconds) ->
    mean(Call, Times + 1, Seconds + bench_pairs:timed(Call)).
