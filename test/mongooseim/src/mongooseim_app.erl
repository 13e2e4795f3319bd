%% @doc Starts the stand-in, and keeps a record of the calls that its modules got.
-module(mongooseim_app).

-behaviour(application).

-export([start/2, stop/1]).
-export([called/3, calls/0]).

start(_Type, _Args) ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
    {ok, Pid} = ejabberd_sup:start_link(),
    case application:get_env(service_domain_db) of
        {ok, Opts} -> ok = service_domain_db:start(Opts);
        undefined -> ok
    end,
    {ok, Pid}.

stop(_State) ->
    ok.

called(Module, Function, Args) ->
    true = ets:insert(?MODULE, {erlang:unique_integer([monotonic]), {Module, Function, Args}}),
    ok.

%% @doc All of them, in their order.
calls() ->
    [Call || {_, Call} <- ets:tab2list(?MODULE)].
