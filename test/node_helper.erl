%% @doc The standalone application on the node of the tests, and nodes beside it.
-module(node_helper).

-export([start_standalone/1, start_standalone/2, stop_standalone/0, loaded/0, remover_done/0]).
-export([start_node/2, start_peer/1, start_peer/2, start_peer/3, stop_node/1, call/4, connect/1]).
-export([node_env/2, code_paths/0]).

-define(APP, mongoose_domain_standalone).

%% On the node of the tests

%% @doc Starts the standalone application; the environment is `#{Option => Value}' over one static
%% domain and two host types.
start_standalone(Env) ->
    start_standalone(Env, fun(App) -> application:ensure_all_started(App) end).

start_standalone(Env, Start) ->
    _ = application:load(?APP),
    lists:foreach(fun({Key, Value}) -> application:set_env(?APP, Key, Value) end,
                  maps:to_list(maps:merge(default_env(), Env))),
    Start(?APP).

stop_standalone() ->
    _ = application:stop(?APP),
    _ = application:unload(?APP),
    ok.

%% @doc Waits for the first load. The server may be away.
loaded() ->
    try service_domain_db:sync_local()
    catch exit:_ -> loaded()
    end.

%% @doc Waits for the end of what the remover does now: it looks for interrupted removals at its
%% start and when a removal fails, and would come in between.
remover_done() ->
    test_helper:wait_until(fun() ->
        case sys:get_state(mongoose_domain_remover, infinity) of
            #{requested := [], ready := [], read_after := nothing, running := Running} ->
                map_size(Running) =:= 0 orelse Running;
            Busy ->
                Busy
        end
    end).

default_env() ->
    #{static_domains => [{<<"static.example">>, <<"type1">>}],
      host_types => [<<"type1">>, <<"type2">>],
      http => disabled}.

%% Nodes of their own

%% @doc Starts a node with the standalone application. The nodes talk on the loopback interface; the
%% tests talk to them by call/4, not by distribution, so it works also when that is cut.
start_node(Name, Env) ->
    Node = start_peer(Name),
    {ok, _} = call(Node, ?MODULE, start_standalone, [Env]),
    Node.

%% @doc Starts a node. It connects to others only when it is told to.
start_peer(Name) ->
    start_peer(Name, []).

%% @doc The same with these variables in its environment.
start_peer(Name, Env) ->
    start_peer(Name, Env, ["-connect_all", "false", "-kernel", "dist_auto_connect", "never"]).

%% @doc The same with these arguments, which say how it connects.
start_peer(Name, Env, Args) ->
    {ok, Peer, Node} =
        peer:start(#{name => test_helper:data_name(Name), host => "127.0.0.1", longnames => true,
                     connection => standard_io, wait_boot => 60000,
                     env => [{"ERL_EPMD_ADDRESS", "127.0.0.1"} | Env],
                     args => ["-setcookie", "domains" | Args]
                             ++ ["-kernel", "inet_dist_use_interface", "{127,0,0,1}",
                                 "-pa" | code_paths()]}),
    {Peer, Node}.

stop_node({Peer, _Node}) ->
    test_helper:attempt(fun() -> peer:stop(Peer) end).

call({Peer, _Node}, M, F, A) ->
    call(Peer, M, F, A);
call(Peer, M, F, A) ->
    peer:call(Peer, M, F, A, 600000).

%% @doc Connects the nodes with each other.
connect(Nodes) ->
    Names = [Node || {_, Node} <- Nodes],
    _ = [true = call(Peer, net_kernel, connect_node, [Other])
         || {Peer, Node} <- Nodes, Other <- Names, Other =/= Node],
    Known = fun({Peer, _}) ->
                Pids = call(Peer, pg, get_members, [mim_scope, service_domain_db_group]),
                length(Pids) =:= length(Nodes)
            end,
    test_helper:wait_until(fun() -> lists:all(Known, Nodes) end).

node_env(Url, Env) ->
    Env#{database => Url}.

code_paths() ->
    [Path || Path <- code:get_path(), string:find(Path, "_build") =/= nomatch].
