%% @doc Starts the stand-in, and keeps a record of the calls that its modules got. The configuration
%% comes first, by the `config_spec' of the services, which start last. The option `authorities' of
%% the environment names a file of certificates that the operating system is to trust.
-module(mongooseim_app).

-behaviour(application).

-export([start/2, stop/1]).
-export([called/3, calls/0]).

start(_Type, _Args) ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
    ok = gen_hook:create_table(),
    mongooseim_metrics = ets:new(mongooseim_metrics, [named_table, public]),
    Services = [{service_domain_db, configured(service_domain_db, Values)}
                || {ok, Values} <- [application:get_env(service_domain_db)]],
    {ok, Pid} = ejabberd_sup:start_link(),
    case application:get_env(authorities) of
        {ok, File} -> ok = public_key:cacerts_load(File);
        undefined -> ok
    end,
    _ = [start_service(Service, Opts) || {Service, Opts} <- Services],
    {ok, Pid}.

%% Then the node accepts clients: it has to route what it can by now.
start_service(Service, Opts) ->
    ok = mongoose_service:start(Service, Opts),
    called(?MODULE, accepts_clients, [mongoose_domain_core:domains_count()]).

%% The defaults, and what the steps `process' of the specification make of the values.
configured(Service, Values) ->
    Spec = {section, _, any, [], any, map, [], Defaults, default, when_present} =
        Service:config_spec(),
    maps:merge(with_atoms(Defaults), processed(Spec, Values)).

with_atoms(Defaults) ->
    maps:fold(fun(Key, Value, Opts) -> Opts#{binary_to_atom(Key) => Value} end, #{}, Defaults).

processed({section, Items, _, _, _, map, [], _, default, _}, Values) when is_map(Values) ->
    maps:map(fun(Key, Value) ->
                 processed(maps:get(atom_to_binary(Key), Items, none), Value)
             end, Values);
processed({option, _Type, _Validate, Process, default}, Value) when is_function(Process, 1) ->
    Process(Value);
processed(_NoStep, Value) ->
    Value.

stop(_State) ->
    ok.

called(Module, Function, Args) ->
    true = ets:insert(?MODULE, {erlang:unique_integer([monotonic]), {Module, Function, Args}}),
    ok.

%% @doc All of them, in their order.
calls() ->
    [Call || {_, Call} <- ets:tab2list(?MODULE)].
