%% @doc Fresh nodes to measure in, and the two sides that are started there.
%%
%% in_fresh_node/3 is for the node of `make bench'; the others are called inside a fresh node.
-module(bench_node).

-export([in_fresh_node/3, prepare/0]).
-export([start/4, load/2, load_both/1, module/1]).
-export([in_fresh_process/1, wait_until/1, resident/0, settle/0]).

-export_type([side/0, listening/0]).

-define(APP, mongoose_domain_standalone).
%% Milliseconds between two looks at what is waited for.
-define(LOOK, 2).

-type side() :: reference | ours.
%% Is somebody told of every domain that is added? Then bench_listener counts.
-type listening() :: notified | nobody.

%% @doc Applies the function in a node of its own, which is gone when this returns.
-spec in_fresh_node(module(), atom(), [term()]) -> term().
in_fresh_node(Module, Function, Args) ->
    {Peer, _} = Node = node_helper:start_peer(bench),
    try
        ok = peer:call(Peer, ?MODULE, prepare, []),
        peer:call(Peer, Module, Function, Args, infinity)
    after
        node_helper:stop_node(Node)
    end.

%% @private
%% @doc Loads all code, which is not what is measured.
-spec prepare() -> ok.
prepare() ->
    ok = logger:set_primary_config(level, error),
    {ok, _} = application:ensure_all_started(mongoose_domain_native),
    ok = application:load(?APP),
    ok = code:ensure_modules_loaded([bench_driver, bench_reference, bench_reference_loader,
                                     bench_reference_subdomains
                                     | modules(mongoose_domain_native) ++ modules(?APP)]).

%% @doc Starts a side with these static domains. Ours begins to load at once.
-spec start(side(), Url :: string(), [{binary(), binary()}], listening()) -> ok.
start(reference, _Url, Pairs, Listening) ->
    ok = bench_listener:reset(),
    _ = Listening =:= notified andalso bench_listener:start_link(),
    {ok, _} = bench_reference:start_link(Pairs, bench_database:host_types()),
    ok;
start(ours, Url, Pairs, Listening) ->
    ok = bench_listener:reset(),
    Listeners = [{bench_listener, notified} || Listening =:= notified],
    {ok, _} = node_helper:start_standalone(#{database => Url, static_domains => Pairs,
                                             host_types => bench_database:host_types(),
                                             listeners => Listeners}),
    ok.

%% @doc Returns when a side that was started has all domains.
-spec load(side(), Url :: string()) -> ok.
load(reference, Url) ->
    bench_reference_loader:load(bench_driver:open(list_to_binary(Url)));
load(ours, _Url) ->
    pong = node_helper:loaded(),
    ok.

%% @doc Starts both sides, with the same domains.
-spec load_both(Url :: string()) -> ok.
load_both(Url) ->
    lists:foreach(fun(Side) ->
                      ok = start(Side, Url, [], nobody),
                      ok = load(Side, Url)
                  end, [reference, ours]),
    Count = bench_reference:domains_count(),
    Count = mongoose_domain_core:domains_count(),
    settle().

%% @doc The table of a side.
-spec module(side()) -> module().
module(reference) -> bench_reference;
module(ours) -> mongoose_domain_core.

%% @doc What the function returns when it is called in a process that lives no longer.
-spec in_fresh_process(fun(() -> Result)) -> Result.
in_fresh_process(Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> exit({result, Fun()}) end),
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> error(Reason)
    end.

-spec wait_until(fun(() -> boolean())) -> ok.
wait_until(Fun) ->
    case Fun() of
        true -> ok;
        false -> timer:sleep(?LOOK), wait_until(Fun)
    end.

%% @doc Bytes of memory that this node has of the operating system's.
-spec resident() -> non_neg_integer().
resident() ->
    {ok, Status} = file:read_file("/proc/self/status"),
    {match, [KiB]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, [1], binary}]),
    1024 * binary_to_integer(KiB).

%% @doc Collects all garbage and lets the node come to rest.
-spec settle() -> ok.
settle() ->
    lists:foreach(fun erlang:garbage_collect/1, processes()),
    timer:sleep(300).

modules(App) ->
    {ok, Modules} = application:get_key(App, modules),
    Modules.
