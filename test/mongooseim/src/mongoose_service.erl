-module(mongoose_service).

-export([is_loaded/1]).

is_loaded(Service) ->
    application:get_env(mongooseim, Service) =/= undefined.
