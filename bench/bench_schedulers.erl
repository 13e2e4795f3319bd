%% @doc Does any call keep a normal scheduler for longer than a millisecond?
%%
%% `erlang:system_monitor' tells of every process that ran for so long without a pause
%% (`long_schedule'). Every exported function of `mongoose_domain_core' and of
%% `mongoose_domain_nif' is called by a process of its own, which does nothing else, with random
%% terms and, where they are known, with right ones, while lists are made and everything is loaded
%% again and again; then lists run beside reads and writes, everything is loaded again, and the
%% table is dropped and made anew, while somebody reads.
%%
%% The time is that of the clock on the wall: a process also ran long when the operating system
%% took the processor away meanwhile. So a control process, which reads a small ETS table, runs
%% beside each part, and everything is done in several rounds. An offence is a process that in every
%% round either ran long in one part more than twice as often as the control process did, give or
%% take a few, or more than twice as long as the control process ever did. On an idle machine the
%% control process hardly ever runs long, and then anything that repeats is an offence.
-module(bench_schedulers).

-export([databases/1, steps/2]).
-export([measure/3]).

%% Milliseconds.
-define(LONG, 1).
%% Milliseconds for which each function is called, and for which lists, reads and writes run.
-define(CALLS, 30).
-define(TOGETHER, 500).
%% A reader reads for so many microseconds and then, while domains load, pauses for so many
%% milliseconds: a load is many steps of several processes, which wait for one that never pauses.
-define(READS, 500).
-define(PAUSE, 1).
%% Long runs that may be chance.
-define(FEW, 2).
%% Functions that would change the table behind the back of the process that owns it. Its restart
%% and that of the service call them.
-define(OWNERS, [start_table, stop_table, pending, forget_position, module_info]).
%% Static domains, and names that come and go.
-define(STATIC, 1000).
-define(NEW, 1000).
-define(OUR_PROCESSES, [mongoose_domain_core, service_domain_db, mongoose_domain_hooks]).
-define(OUR_MODULES, [mongoose_domain_nif, mongoose_domain_host | ?OUR_PROCESSES]).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{large := Large}) ->
    [{postgres, Large, shared}].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{large := Large, scheduler_rounds := Rounds}, Urls) ->
    #{{postgres, Large, shared} := Url} = Urls,
    [{["schedulers, with ", bench_report:amount(Large)],
      fun() ->
          Events = bench_node:in_fresh_node(?MODULE, measure, [Url, Large, Rounds]),
          [result(bench_report:amount(Large), Events)]
      end}].

result(Amount, Rounds) ->
    Offences = offences(Rounds),
    Finding = bench_pairs:finding("calls that keep a normal scheduler over 1 ms",
                                  [Amount, " domains, all functions; beside a control process"],
                                  <<"events">>, {at_most, 0}, length(Offences),
                                  [count(fun is_binary/1, Round) || Round <- Rounds]),
    Finding#{target_text => <<"none">>, notes => Offences,
             reference => [count(fun(Who) -> Who =:= control end, Round) || Round <- Rounds]}.

count(IsMeant, Round) ->
    lists:sum([length(Times) || {{_Part, Who}, Times} <- maps:to_list(Round), IsMeant(Who)]).

offences([First | _] = Rounds) ->
    [offence(Part, Who, Rounds)
     || {Part, Who} <- maps:keys(First), is_binary(Who),
        lists:all(fun(Round) -> is_offence(Part, Who, Round) end, Rounds)].

offence(Part, Who, Rounds) ->
    Runs = [io_lib:format("~b of up to ~b ms (control: ~b of up to ~b)",
                          [length(Times), longest(Times), length(Control), longest(Control)])
            || Round <- Rounds,
               {Times, Control} <- [{times(Part, Who, Round), times(Part, control, Round)}]],
    iolist_to_binary([Part, ": ", Who, " ran long ", lists:join(", ", Runs)]).

is_offence(Part, Who, Round) ->
    Times = times(Part, Who, Round),
    OfControl = lists:append([Ran || {{_Part, control}, Ran} <- maps:to_list(Round)]),
    length(Times) > 2 * length(times(Part, control, Round)) + ?FEW
        orelse longest(Times) > 2 * longest(OfControl).

%% Milliseconds of each long run.
times(Part, Who, Round) ->
    maps:get({Part, Who}, Round, []).

longest(Times) ->
    lists:max([0 | Times]).

%% @private
%% @doc In a fresh node: for each round the milliseconds of every long run, by the part of the round
%% and who ran.
-spec measure(Url :: string(), Size :: pos_integer(), Rounds :: pos_integer()) ->
    [#{{Part :: binary(), Who :: binary() | control | other} => [pos_integer()]}].
measure(Url, Size, Rounds) ->
    %% Supervisors report the restarts that are part of it.
    ok = logger:set_primary_config(level, none),
    Static = [{bench_database:missing_name(N), <<"type1">>} || N <- lists:seq(1, ?STATIC)],
    ok = bench_node:start(ours, Url, Static, told),
    ok = bench_node:load(ours, Url),
    ok = bench_node:settle(),
    ?MODULE = ets:new(?MODULE, [named_table]),
    true = ets:insert(?MODULE, [{bench_database:name(N)} || N <- lists:seq(1, ?STATIC)]),
    Watch = spawn_link(fun() -> watch(#{}, []) end),
    _ = erlang:system_monitor(Watch, [{long_schedule, ?LONG}]),
    [round(Size, Watch) || _ <- lists:seq(1, Rounds)].

round(Size, Watch) ->
    Calls = [{function_name(Function), fun() -> call(Function, Size, Watch) end}
             || Function <- functions()],
    Others = [{<<"lists beside reads and writes">>, fun() -> together(Size, Watch) end},
              {<<"loading again">>,
               fun() -> reload(fun service_domain_db:restart/0, Size, Watch) end},
              {<<"a new table">>, fun() -> reload(fun restart_core/0, Size, Watch) end}],
    Beside = [actor(<<"lists">>, fun mongoose_domain_core:get_all_dynamic/0, Watch),
              actor(<<"loads">>, fun load_again/0, Watch)],
    OfCalls = [part(Part, Watch) || Part <- Calls],
    lists:foreach(fun stop/1, Beside),
    load_again(),
    maps:from_list(lists:append(OfCalls ++ [part(Part, Watch) || Part <- Others])).

%% Takes what the calls have inserted, too.
load_again() ->
    ok = service_domain_db:restart(),
    pong = node_helper:loaded().

functions() ->
    [{Module, Function, Arity} || Module <- [mongoose_domain_core, mongoose_domain_nif],
                                  {Function, Arity} <- Module:module_info(exports),
                                  not lists:member(Function, ?OWNERS)].

function_name({Module, Function, Arity}) ->
    iolist_to_binary(io_lib:format("~ts:~ts/~b", [Module, Function, Arity])).

part({Part, Do}, Watch) ->
    Control = reader(control, fun(Name) -> ets:member(?MODULE, Name) end, 0, ?STATIC, Watch),
    Do(),
    stop(Control),
    Watch ! {take, self()},
    receive
        {Watch, Events} ->
            ByWho = lists:foldl(fun({Who, Time}, Acc) ->
                                    maps:update_with(Who, fun(Times) -> [Time | Times] end, [Time],
                                                     Acc)
                                end, #{}, Events),
            [{{Part, Who}, Times} || {Who, Times} <- maps:to_list(ByWho)]
    end.

%% The parts of a round

call({Module, Function, Arity}, Size, Watch) ->
    Random = fun() -> [random_term(3) || _ <- lists:seq(1, Arity)] end,
    Caller = actor(<<"caller">>, fun() ->
                 attempt(Module, Function, Random()),
                 lists:foreach(fun(Args) -> attempt(Module, Function, Args) end,
                               right_arguments(Module, Function, Arity, Size))
             end, Watch),
    timer:sleep(?CALLS),
    stop(Caller).

together(Size, Watch) ->
    Actors = [actor(<<"lists">>, fun() ->
                                     _ = mongoose_domain_core:get_all_dynamic(),
                                     mongoose_domain_core:get_domains_by_host_type(<<"type1">>)
                                 end, Watch),
              actor(<<"writes">>, fun() ->
                                      Name = new_name(rand:uniform(?NEW)),
                                      ok = mongoose_domain_core:insert(Name, <<"type1">>, bench),
                                      ok = mongoose_domain_core:delete(Name)
                                  end, Watch),
              reader(<<"reads">>, fun mongoose_domain_core:get_host_type/1, 0, Size, Watch)],
    timer:sleep(?TOGETHER),
    lists:foreach(fun stop/1, Actors),
    lists:foreach(fun(N) -> ok = mongoose_domain_core:delete(new_name(N)) end, lists:seq(1, ?NEW)),
    %% Nothing that was called has harmed the table.
    Count = Size + ?STATIC,
    Count = mongoose_domain_core:domains_count().

reload(Restart, Size, Watch) ->
    Reader = reader(<<"reads">>, fun mongoose_domain_core:get_host_type/1, ?PAUSE, Size, Watch),
    %% When they are gone they cannot be asked for their names.
    lists:foreach(fun(Name) -> Watch ! {who, whereis(Name), atom_to_binary(Name)} end,
                  ?OUR_PROCESSES),
    Restart(),
    pong = node_helper:loaded(),
    bench_node:wait_until(fun() -> mongoose_domain_core:domains_count() =:= Size + ?STATIC end),
    stop(Reader).

restart_core() ->
    {ok, _} = mongoose_domain_sup:restart_core(mongoose_domain_core:get_start_args()).

reader(Who, Read, Pause, Size, Watch) ->
    actor(Who, fun() ->
                   read_until(erlang:monotonic_time(microsecond) + ?READS, Read, Size),
                   timer:sleep(Pause)
               end, Watch).

read_until(Deadline, Read, Size) ->
    _ = read(Read, Size),
    case erlang:monotonic_time(microsecond) < Deadline of
        true -> read_until(Deadline, Read, Size);
        false -> ok
    end.

%% Between two tables a read raises.
read(Read, Size) ->
    try Read(bench_database:name(rand:uniform(Size)))
    catch error:badarg -> no_table
    end.

%% Arguments

attempt(Module, Function, Args) ->
    try
        _ = apply(Module, Function, Args),
        ok
    catch
        _:_ -> ok
    end.

right_arguments(_Module, Function, 1, Size)
  when Function =:= get_host_type; Function =:= is_static; Function =:= check_name ->
    [[bench_database:name(rand:uniform(Size))]];
right_arguments(_Module, Function, 1, _Size)
  when Function =:= is_host_type_allowed; Function =:= get_domains_by_host_type ->
    [[<<"hundred">>], [<<"type1">>]];
right_arguments(_Module, get_all_outdated, 1, _Size) ->
    [[bench]];
right_arguments(_Module, Function, 2, _Size)
  when Function =:= start_link; Function =:= check_start_args ->
    [mongoose_domain_core:get_start_args()];
right_arguments(mongoose_domain_core, for_each_domain, 2, _Size) ->
    [[<<"type1">>, fun(_HostType, _Domain) -> ok end]];
right_arguments(mongoose_domain_core, insert, 3, _Size) ->
    [[new_name(rand:uniform(?NEW)), <<"type1">>, bench]];
right_arguments(mongoose_domain_core, delete, 1, _Size) ->
    [[new_name(rand:uniform(?NEW))]];
right_arguments(_Module, _Function, _Arity, _Size) ->
    [].

new_name(Number) ->
    bench_database:missing_name(?STATIC + Number).

random_term(0) ->
    random_leaf(rand:uniform(10));
random_term(Depth) ->
    case rand:uniform(5) of
        1 -> random_terms(Depth);
        2 -> list_to_tuple(random_terms(Depth));
        3 -> [random_term(Depth - 1) | random_term(Depth - 1)];
        4 -> #{random_term(Depth - 1) => random_term(Depth - 1)};
        5 -> random_term(0)
    end.

random_terms(Depth) ->
    [random_term(Depth - 1) || _ <- lists:seq(1, rand:uniform(4) - 1)].

random_leaf(1) -> rand:uniform(1000) - 500;
random_leaf(2) -> rand:uniform(1000) bsl rand:uniform(1000);
random_leaf(3) -> rand:normal();
random_leaf(4) -> lists:nth(rand:uniform(3), [true, undefined, type1]);
random_leaf(5) -> rand:bytes(rand:uniform(300));
random_leaf(6) -> binary:copy(rand:bytes(100), 1000);
random_leaf(7) -> <<(rand:bytes(3))/binary, 1:3>>;
random_leaf(8) -> [{bench_database:name(N), <<"type1">>} || N <- lists:seq(1, 1000)];
random_leaf(9) -> self();
random_leaf(10) -> make_ref().

%% Processes that do one thing until they are stopped

actor(Who, Act, Watch) ->
    Pid = spawn_link(fun() -> act(Act) end),
    Watch ! {who, Pid, Who},
    Pid.

act(Act) ->
    _ = Act(),
    receive
        {stop, From} -> From ! {self(), stopped}
    after 0 ->
        act(Act)
    end.

stop(Actor) ->
    Actor ! {stop, self()},
    receive {Actor, stopped} -> ok end.

%% The process that is told of long runs

watch(Actors, Events) ->
    receive
        {who, Pid, Who} ->
            watch(Actors#{Pid => Who}, Events);
        {monitor, Pid, long_schedule, Info} ->
            Known = maps:get(Pid, Actors, by_name(Pid, Info)),
            watch(Actors, [{Known, proplists:get_value(timeout, Info)} | Events]);
        {take, From} ->
            From ! {self(), Events},
            watch(Actors, [])
    end.

by_name(Pid, Info) when is_pid(Pid) ->
    case process_info(Pid, registered_name) of
        {registered_name, Name} -> ours(lists:member(Name, ?OUR_PROCESSES), Name);
        _NoNameOrGone -> by_function(Info)
    end;
by_name(_Port, _Info) ->
    other.

by_function(Info) ->
    Modules = [Module || {_, {Module, _, _}} <- Info, lists:member(Module, ?OUR_MODULES)],
    case Modules of
        [Module | _] -> ours(true, Module);
        [] -> other
    end.

ours(true, Name) -> atom_to_binary(Name);
ours(false, _Name) -> other.
