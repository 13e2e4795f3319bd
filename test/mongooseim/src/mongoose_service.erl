%% @doc Starts a service as MongooseIM does: when that fails its options are in the log.
-module(mongoose_service).

-include_lib("kernel/include/logger.hrl").

-export([start/2, is_loaded/1]).

start(Service, Opts) ->
    try Service:start(Opts)
    catch
        Class:Reason:Stacktrace ->
            ?LOG_CRITICAL(#{what => service_startup_failed, service => Service, opts => Opts,
                            class => Class, reason => Reason, stacktrace => Stacktrace}),
            erlang:raise(Class, Reason, Stacktrace)
    end.

is_loaded(Service) ->
    application:get_env(mongooseim, Service) =/= undefined.
