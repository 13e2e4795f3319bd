%% @doc Reads of one domain: how many a second, by one process and by several at once.
%%
%% Both tables live in one node and hold the same domains. Every process has a list of random keys
%% of its own, laid out afresh in the order in which it looks them up: a real caller has just
%% parsed the name, so it is in the processor's cache. What a lookup returns becomes garbage, and
%% collecting it is part of the measurement, on both sides.
-module(bench_lookups).

-export([databases/1, steps/2]).
-export([measure/3]).

%% Words. What a process throws away fits into a cache, so that is not measured instead of the
%% table.
-define(HEAP, 32768).
%% The fewest keys that the processes of a sample have together.
-define(KEYS, 100000).

%% Calls a function of one argument for each key.
-define(WALK(Name, Module, Function),
        Name([Key | Keys]) -> _ = Module:Function(Key), Name(Keys);
        Name([]) -> ok).
%% Calls a function without arguments as often.
-define(WALK0(Name, Module, Function),
        Name([_ | Keys]) -> _ = Module:Function(), Name(Keys);
        Name([]) -> ok).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{sizes := Sizes}) ->
    [{postgres, Size, shared} || Size <- Sizes].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{sizes := Sizes} = Plan, Urls) ->
    [{["lookups among ", bench_report:amount(Size)],
      fun() ->
          #{{postgres, Size, shared} := Url} = Urls,
          bench_node:in_fresh_node(?MODULE, measure, [Size, Url, Plan])
      end} || Size <- Sizes].

%% @private
%% @doc In a fresh node.
-spec measure(Size :: pos_integer(), Url :: string(), bench:plan()) -> [bench_pairs:result()].
measure(Size, Url, #{processes := Processes, middle := Middle} = Plan) ->
    ok = bench_node:load_both(Url),
    lists:append([with_scaling(Kind, Size, [get_host_type(Kind, Size, Count, Plan)
                                           || Count <- Processes]) || Kind <- [hit, miss]])
    ++ [other(Function, Size, Plan) || Size =:= Middle,
                                       Function <- [is_static, is_host_type_allowed,
                                                    domains_count]].

get_host_type(Kind, Size, Processes, Plan) ->
    At = io_lib:format("~ts domains, ~b ~ts",
                       [bench_report:amount(Size), Processes,
                        case Processes of 1 -> "process"; _ -> "processes" end]),
    Key = case Kind of
              hit -> fun bench_database:name/1;
              miss -> fun bench_database:missing_name/1
          end,
    result(io_lib:format("get_host_type, ~ts", [Kind]), At, {at_least, target(Kind, Size)},
           fun() -> Key(rand:uniform(Size)) end, Size, Processes, get_host_type, Plan).

target(hit, Size) when Size > 100000 -> 2.7;
target(hit, _Size) -> 3.0;
target(miss, Size) when Size < 100000 -> 2.5;
target(miss, _Size) -> 4.0.

%% How much two processes of ours look up together, to one alone.
with_scaling(Kind, Size, [#{ours := One}, #{ours := Two} | _] = Results) ->
    Factors = lists:zipwith(fun(Alone, Together) -> Together / Alone end, One, Two),
    Scaling = bench_pairs:finding(io_lib:format("get_host_type, ~ts, 2 processes to 1", [Kind]),
                                  [bench_report:amount(Size), " domains"], <<"times">>,
                                  {at_least, 1.7}, bench_pairs:median(Factors), Factors),
    Results ++ [Scaling].

other(Function, Size, Plan) ->
    Key = case Function of
              is_host_type_allowed -> random_host_type();
              _ -> fun() -> bench_database:name(rand:uniform(Size)) end
          end,
    At = io_lib:format("~ts domains, 1 process", [bench_report:amount(Size)]),
    result(atom_to_list(Function), At, {at_least, 1.3}, Key, Size, 1, Function, Plan).

random_host_type() ->
    HostTypes = list_to_tuple(bench_database:host_types()),
    fun() -> binary:copy(element(rand:uniform(tuple_size(HostTypes)), HostTypes)) end.

result(What, At, Target, Key, Size, Processes, Function, Plan) ->
    #{pairs := Pairs, sample := Milliseconds} = Plan,
    {Reference, Ours} = walks(Function),
    Count = max(?KEYS, Size) div Processes,
    Workers = [start_worker(Key, Count) || _ <- lists:seq(1, Processes)],
    Rate = fun(Walk) ->
               _WarmUp = seconds(Walk, 1, Workers),
               Rounds = ceil(Milliseconds / 1000 / seconds(Walk, 1, Workers)),
               fun() -> Rounds * Count * Processes / seconds(Walk, Rounds, Workers) end
           end,
    Samples = bench_pairs:samples(Pairs, Rate(Reference), Rate(Ours)),
    lists:foreach(fun stop_worker/1, Workers),
    bench_pairs:result(What, At, {rate, <<"1/s">>}, Target, Samples).

%% Processes that walk their keys when they are told.

start_worker(Key, Count) ->
    Parent = self(),
    Worker = spawn_opt(fun() ->
                           Keys = [Key() || _ <- lists:seq(1, Count)],
                           %% Puts each key behind its cell of the list.
                           true = erlang:garbage_collect(),
                           Parent ! {self(), done},
                           work(Keys, Parent)
                       end, [link, {min_heap_size, ?HEAP}]),
    done(Worker).

stop_worker(Worker) ->
    Worker ! stop,
    done(Worker).

work(Keys, Parent) ->
    receive
        {walk, Walk, Rounds} ->
            lists:foreach(fun(_) -> Walk(Keys) end, lists:seq(1, Rounds)),
            Parent ! {self(), done},
            work(Keys, Parent);
        stop ->
            Parent ! {self(), done}
    end.

done(Worker) ->
    receive {Worker, done} -> Worker end.

%% From the signal to the last one's end.
seconds(Walk, Rounds, Workers) ->
    bench_pairs:timed(fun() ->
        lists:foreach(fun(Worker) -> Worker ! {walk, Walk, Rounds} end, Workers),
        lists:foreach(fun done/1, Workers)
    end).

%% The loops, written out for each module: a call by a variable would cost something of its own.

walks(get_host_type) -> {fun reference_get_host_type/1, fun our_get_host_type/1};
walks(is_static) -> {fun reference_is_static/1, fun our_is_static/1};
walks(is_host_type_allowed) -> {fun reference_is_allowed/1, fun our_is_allowed/1};
walks(domains_count) -> {fun reference_domains_count/1, fun our_domains_count/1}.

?WALK(reference_get_host_type, bench_reference, get_host_type).
?WALK(our_get_host_type, mongoose_domain_core, get_host_type).
?WALK(reference_is_static, bench_reference, is_static).
?WALK(our_is_static, mongoose_domain_core, is_static).
?WALK(reference_is_allowed, bench_reference, is_host_type_allowed).
?WALK(our_is_allowed, mongoose_domain_core, is_host_type_allowed).
?WALK0(reference_domains_count, bench_reference, domains_count).
?WALK0(our_domains_count, mongoose_domain_core, domains_count).
