%% @doc Starts a node without MongooseIM: the routing table, and, if a database is configured, the
%% service that follows it.
%%
%% The configuration is the environment of the application; `config/sys.config' explains it.
-module(mongoose_domain_standalone_app).

-behaviour(application).

-export([start/2, stop/1]).

-define(APP, mongoose_domain_standalone).
-define(OPTIONS, [static_domains, host_types, database, service, http, removal_handlers,
                  removal_handler_timeout, listeners, sidecar]).
%% OTP's own is among them.
-define(NAMES, [included_applications | ?OPTIONS]).
-define(SERVICE_OPTS, [event_cleaning_interval, event_max_age, audit_interval,
                       initial_load_timeout, max_connections]).
%% 30 days: the VM has no longer timers than 49.
-define(MAX_SECONDS, 2592000).
%% A day.
-define(MAX_HANDLER_SECONDS, 86400).

%% @private
-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    case check_options() of
        ok -> start_supervisor();
        {error, Option, Text} -> {error, {bad_option, Option, Text}}
    end.

%% @private
-spec stop(term()) -> ok.
stop(_State) ->
    ok.

start_supervisor() ->
    case mongoose_domain_standalone_sup:start_link() of
        {ok, Pid} -> start_services(Pid, application:get_env(?APP, database));
        {error, Reason} -> {error, Reason}
    end.

start_services(Pid, undefined) ->
    ok = start_http(undefined),
    {ok, Pid};
start_services(Pid, {ok, _Url}) ->
    {ok, Opts} = application:get_env(?APP, service),
    try service_domain_db:start(Opts) of
        ok ->
            ok = mongoose_domain_remover:wake(),
            ok = start_http(maps:merge(#{db_pool => global}, Opts)),
            {ok, Pid}
    catch
        error:{database, Failure} ->
            stop_supervisor(Pid),
            {error, {bad_option, database, Failure}}
    end.

start_http(ServiceOpts) ->
    case application:get_env(?APP, http) of
        {ok, disabled} -> ok;
        {ok, Opts} -> mongoose_domain_http:start(Opts, ServiceOpts)
    end.

%% Returns when its name is free again.
stop_supervisor(Pid) ->
    Monitor = monitor(process, Pid),
    unlink(Pid),
    exit(Pid, shutdown),
    receive {'DOWN', Monitor, process, Pid, _Reason} -> ok end.

%% Options

check_options() ->
    first_error([fun check_names/0, fun check_domains/0, fun check_service/0, fun check_http/0,
                 fun() -> check_callbacks(removal_handlers) end,
                 fun check_removal_handler_timeout/0,
                 fun() -> check_callbacks(listeners) end,
                 fun mongoose_domain_sidecar:check_options/0]).

first_error([]) -> ok;
first_error([Check | Checks]) ->
    case Check() of
        ok -> first_error(Checks);
        Error -> Error
    end.

check_names() ->
    case [Name || {Name, _} <- application:get_all_env(?APP), not lists:member(Name, ?NAMES)] of
        [] -> ok;
        [Name | _] ->
            Meant = mongoose_domain_error:did_you_mean([Name], ?NAMES),
            Text = io_lib:format("is not an option; the options are ~0tp~ts", [?OPTIONS, Meant]),
            {error, Name, unicode:characters_to_binary(Text)}
    end.

check_domains() ->
    {ok, Pairs} = application:get_env(?APP, static_domains),
    {ok, HostTypes} = application:get_env(?APP, host_types),
    case mongoose_domain_nif:check_start_args(Pairs, HostTypes) of
        ok -> check_static_domains(Pairs);
        {error, 1, Text} -> {error, static_domains, Text};
        {error, 2, Text} -> {error, host_types, Text}
    end.

check_static_domains(Pairs) ->
    case mongoose_domain_static:prepare(Pairs) of
        {ok, _Prepared} -> ok;
        {error, Text} -> {error, static_domains, Text}
    end.

check_service() ->
    case application:get_env(?APP, service) of
        {ok, Opts} when is_map(Opts) ->
            Wrong = [Key || {Key, Value} <- maps:to_list(Opts), not is_service_opt(Key, Value)],
            case Wrong of
                [] -> ok;
                _ ->
                    Meant = mongoose_domain_error:did_you_mean(Wrong, ?SERVICE_OPTS),
                    Text = <<(service_opts_text())/binary, Meant/binary>>,
                    {error, service, {bad_options, Wrong, Text}}
            end;
        _ ->
            {error, service, service_opts_text()}
    end.

check_http() ->
    case application:get_env(?APP, http) of
        {ok, disabled} ->
            ok;
        {ok, Opts} ->
            case mongoose_domain_http:check(Opts) of
                ok -> ok;
                {error, Failure} -> {error, http, Failure}
            end
    end.

is_service_opt(db_pool, Value) -> is_atom(Value);
is_service_opt(event_cleaning_interval, Value) -> is_seconds(Value);
is_service_opt(event_max_age, Value) -> is_seconds(Value);
is_service_opt(audit_interval, Value) -> is_seconds(Value);
is_service_opt(initial_load_timeout, Value) -> is_seconds(Value);
is_service_opt(max_connections, Value) -> is_integer(Value) andalso Value > 0 andalso Value =< 100;
is_service_opt(_Key, _Value) -> false.

is_seconds(Value) ->
    is_integer(Value) andalso Value > 0 andalso Value =< ?MAX_SECONDS.

service_opts_text() ->
    <<"must be a map of event_cleaning_interval, event_max_age, audit_interval and "
      "initial_load_timeout, in seconds from 1 to 2592000, and max_connections, from 1 to 100">>.

check_removal_handler_timeout() ->
    case application:get_env(?APP, removal_handler_timeout) of
        {ok, Seconds} when is_integer(Seconds), Seconds > 0, Seconds =< ?MAX_HANDLER_SECONDS ->
            ok;
        _ ->
            {error, removal_handler_timeout, <<"must be 1 to 86400, in seconds">>}
    end.

check_callbacks(Option) ->
    {ok, Callbacks} = application:get_env(?APP, Option),
    case are_callbacks(Callbacks) of
        true -> ok;
        false -> {error, Option, <<"must be a list of {Module, Function}">>}
    end.

are_callbacks([{Module, Function} | Callbacks]) when is_atom(Module), is_atom(Function) ->
    are_callbacks(Callbacks);
are_callbacks(Rest) ->
    Rest =:= [].
