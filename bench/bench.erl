%% @doc `make bench': our modules against a reference that does in plain OTP what their contract
%% asks for (`bench_reference', `bench_reference_loader').
%%
%% Both sides use the same database driver and are measured in turns on the same machine, so that
%% only the design differs. Every group of measurements is a module; it says which databases it
%% needs and lists its steps, each of which runs in fresh nodes and returns results.
%%
%% `QUICK=1' measures the same with smaller sizes and fewer samples. `ONLY="lookups loads"' runs
%% only these groups and writes no files.
-module(bench).

-export([main/1]).

-export_type([plan/0, database/0, urls/0, step/0]).

%% How much is measured.
-type plan() :: #{sizes := [pos_integer()],          %% of tables, for lookups
                  middle := pos_integer(),
                  large := pos_integer(),
                  processes := [pos_integer()],      %% that look up at once
                  sample := pos_integer(),           %% milliseconds, at least
                  pairs := pos_integer(),
                  list_pairs := pos_integer(),
                  load_pairs := pos_integer(),
                  writes := pos_integer(),
                  events := pos_integer(),
                  event_pairs := pos_integer(),
                  scheduler_rounds := pos_integer(),
                  cycles := {Cycles :: pos_integer(), Domains :: pos_integer()}}.
%% Groups share a database unless they write it.
-type database() :: {bench_database:kind(), Domains :: pos_integer(), shared | written}.
-type urls() :: #{database() => string()}.
-type step() :: {Title :: iodata(), fun(() -> [bench_pairs:result()])}.

-define(GROUPS, [{"lookups", bench_lookups}, {"lists", bench_lists}, {"writes", bench_writes},
                 {"loads", bench_loads}, {"latency", bench_latency}, {"follow", bench_events},
                 {"schedulers", bench_schedulers}, {"cycles", bench_cycles},
                 {"subdomains", bench_subdomains}]).

-spec main([string()]) -> no_return().
main([Quick, Only]) ->
    ok = logger:set_primary_config(level, error),
    ok = io:setopts([{encoding, unicode}]),
    try
        main(case Quick of "" -> full; _ -> quick end, Only),
        halt(0)
    catch
        Class:Reason:Stacktrace ->
            io:format("~tp~n", [{Class, Reason, Stacktrace}]),
            halt(1)
    end.

main(Name, Only) ->
    Began = erlang:monotonic_time(second),
    {Machine, Results} = run(plan(Name), groups(string:lexemes(Only, ", "))),
    Minutes = (erlang:monotonic_time(second) - Began) / 60,
    bench_report:print(Results),
    Facts = Machine#{minutes => Minutes, run => atom_to_binary(Name)},
    _ = Only =:= "" andalso bench_report:write(Name, Facts, Results),
    io:format("~.1f minutes~n", [Minutes]).

plan(full) ->
    #{sizes => [1000, 100000, 1000000], middle => 100000, large => 1000000,
      processes => [1, 2, 8], sample => 300, pairs => 7, list_pairs => 5, load_pairs => 3,
      writes => 50000, events => 100000, event_pairs => 3, scheduler_rounds => 3,
      cycles => {50, 200000}};
plan(quick) ->
    #{sizes => [1000, 100000], middle => 100000, large => 100000,
      processes => [1, 2, 8], sample => 100, pairs => 3, list_pairs => 3, load_pairs => 1,
      writes => 20000, events => 10000, event_pairs => 2, scheduler_rounds => 3,
      cycles => {12, 50000}}.

groups([]) ->
    [Module || {_, Module} <- ?GROUPS];
groups(Names) ->
    [case lists:keyfind(Name, 1, ?GROUPS) of
         {_, Module} -> Module;
         false -> unknown_group(Name)
     end || Name <- Names].

-spec unknown_group(string()) -> no_return().
unknown_group(Name) ->
    Known = lists:join(" ", [Known || {Known, _} <- ?GROUPS]),
    io:format("ONLY: there is no group ~ts, but ~ts~n", [Name, Known]),
    halt(1).

run(Plan, Groups) ->
    Needed = lists:usort(lists:append([Group:databases(Plan) || Group <- Groups])),
    progress("starting servers", []),
    Servers = bench_database:start(lists:usort([Kind || {Kind, _, _} <- Needed])),
    Urls = maps:from_list([{Database, fill(Database, Servers)} || Database <- Needed]),
    Steps = lists:append([Group:steps(Plan, Urls) || Group <- Groups]),
    Results = lists:append([step(Step) || Step <- Steps]),
    Machine = bench_machine:describe(maps:to_list(Urls)),
    ok = bench_database:stop(Servers),
    {Machine, Results}.

fill({Kind, Count, _Use}, Servers) ->
    progress("filling ~ts with ~ts domains", [Kind, bench_report:amount(Count)]),
    bench_database:fill(Kind, Count, Servers).

step({Title, Run}) ->
    progress("~ts", [Title]),
    Results = Run(),
    lists:foreach(fun(Result) -> io:format("    ~ts~n", [bench_report:line(Result)]) end, Results),
    Results.

progress(Format, Args) ->
    {_Date, {Hour, Minute, Second}} = calendar:local_time(),
    io:format("~2..0b:~2..0b:~2..0b " ++ Format ++ "~n", [Hour, Minute, Second | Args]).
