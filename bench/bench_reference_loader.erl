%% @doc What the benchmarks compare `service_domain_db' with: pages of 1,000 rows by one query each,
%% every row applied by one call to `bench_reference'.
%%
%% In its favour it does not look for gaps in the log of events, which ours does, and it does not
%% join the events with the settings, which on MariaDB without an index would take minutes: a page
%% of events is one query by id and one for the settings of the domains that it names.
-module(bench_reference_loader).

-export([load/1, follow/2]).

-define(PAGE, 1000).

%% @doc Inserts all enabled domains; returns when that is done.
-spec load(bench_driver:database()) -> ok.
load(Database) ->
    load(Database, 0).

%% @doc Applies the events after this position; returns the id of the last one.
-spec follow(bench_driver:database(), Position :: integer()) -> integer().
follow(Database, Position) ->
    case bench_driver:events(Database, Position, ?PAGE) of
        [] ->
            Position;
        Events ->
            lists:foreach(fun apply_event/1, Events),
            {Last, _, _} = lists:last(Events),
            follow(Database, Last)
    end.

load(Database, After) ->
    case bench_driver:page(Database, After, ?PAGE) of
        [] ->
            ok;
        Rows ->
            lists:foreach(fun({_, Domain, HostType}) -> insert(Domain, HostType) end, Rows),
            {Last, _, _} = lists:last(Rows),
            load(Database, Last)
    end.

insert(Domain, HostType) ->
    ok = bench_reference:insert(Domain, HostType, self()).

apply_event({_Id, Domain, undefined}) ->
    ok = bench_reference:delete(Domain);
apply_event({_Id, Domain, HostType}) ->
    case bench_reference:insert(Domain, HostType, self()) of
        ok ->
            ok;
        {error, bad_insert} ->
            ok = bench_reference:delete(Domain),
            insert(Domain, HostType)
    end.
