%% @doc Starting and stopping the database service with all that belongs to it: its process, the
%% parts of the host, the HTTP server and the metrics.
-module(mongoose_domain_service).

-include_lib("kernel/include/logger.hrl").

-export([start/2, stop/1, restart/1]).

%% Seconds: call/3 takes no more than 49 days.
-define(LONGEST_WAIT, 30 * 86400).

%% @doc See `service_domain_db:start/1'. `Name' is the module of the process, and its name.
-spec start(Name :: module(), mongoose_domain_config:opts()) -> ok.
start(Name, SomeOpts) ->
    Opts = mongoose_domain_config:with_defaults(SomeOpts),
    ok = mongoose_domain_database:check(Opts),
    ok = check_http(Opts),
    ok = stop_http(),
    ok = mongoose_domain_config:use(Opts),
    ChildSpec = #{id => Name, start => {Name, start_link, []}, restart => permanent,
                  shutdown => infinity, type => worker, modules => [Name]},
    ok = mongoose_domain_host:start_service(ChildSpec, mongoose_domain_config:of_host(Opts)),
    ok = mongoose_domain_metrics:start(),
    ok = start_http(Opts),
    await_first_load(Name, Opts).

-spec stop(Name :: module()) -> ok.
stop(Name) ->
    ok = stop_http(),
    ok = mongoose_domain_metrics:stop(),
    mongoose_domain_host:stop_service(Name).

%% @doc Returns when the process has stopped; at once if it is the process itself that calls.
-spec restart(pid() | undefined) -> ok.
restart(undefined) ->
    ok;
restart(Pid) when Pid =:= self() ->
    gen_server:cast(Pid, restart);
restart(Pid) ->
    Monitor = monitor(process, Pid),
    gen_server:cast(Pid, restart),
    receive {'DOWN', Monitor, process, Pid, _Reason} -> ok end.

%% The process may be restarted meanwhile: no reason to wait again.
await_first_load(Name, #{initial_load_timeout := Seconds}) ->
    Milliseconds = timer:seconds(min(Seconds, ?LONGEST_WAIT)),
    try gen_server:call(Name, await_first_load, Milliseconds)
    catch
        exit:{timeout, _} ->
            ?LOG_WARNING(#{what => first_load_takes_long, seconds => Seconds,
                           text => <<"the node starts now; domains that are not loaded yet route "
                                     "as soon as they are">>});
        exit:_ -> ok
    end.

check_http(#{http := Http}) ->
    case mongoose_domain_http:check(Http) of
        ok -> ok;
        {error, Failure} -> error({http, Failure})
    end;
check_http(_Opts) ->
    ok.

start_http(#{http := Http} = Opts) ->
    mongoose_domain_http:start(Http, Opts);
start_http(_Opts) ->
    ok.

%% The one that the service started; a standalone node has one of its own.
stop_http() ->
    case is_map_key(http, mongoose_domain_config:used()) of
        true -> mongoose_domain_http:stop();
        false -> ok
    end.
