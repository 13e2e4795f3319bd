%% @doc The reference's way to the database: the product's own driver (`native/bench_driver'). Each
%% call waits for one query, or two; what fails is raised.
-module(bench_driver).

-export([open/1, page/3, events/3]).

-export_type([database/0]).

-on_load(load/0).
-nifs([open/1, page/3, events/3]).

-opaque database() :: reference().

%% The Makefile puts the library beside the compiled modules.
load() ->
    erlang:load_nif(filename:join(filename:dirname(code:which(?MODULE)), ?MODULE_STRING), 0).

-spec open(Url :: binary()) -> database().
open(_Url) -> erlang:nif_error(not_loaded).

%% @doc The first enabled rows with ids above this one.
-spec page(database(), After :: integer(), Limit :: pos_integer()) ->
    [{Id :: integer(), Domain :: binary(), HostType :: binary()}].
page(_Database, _After, _Limit) -> erlang:nif_error(not_loaded).

%% @doc The first events with ids above this one, and what is to become of their domains: a host
%% type, or `undefined' if it is not to route.
-spec events(database(), After :: integer(), Limit :: pos_integer()) ->
    [{Id :: integer(), Domain :: binary(), HostType :: binary() | undefined}].
events(_Database, _After, _Limit) -> erlang:nif_error(not_loaded).
