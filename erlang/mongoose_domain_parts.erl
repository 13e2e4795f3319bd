%% @doc Loads our other modules. A release loads what its boot script names and nothing later
%% (`-mode embedded'), and MongooseIM's does not know these.
-module(mongoose_domain_parts).

-export([load/0]).

-define(PARTS, [mongoose_domain_nif, mongoose_domain_host, mongoose_domain_config,
                mongoose_domain_pool, mongoose_domain_database, mongoose_domain_cluster,
                mongoose_domain_status, mongoose_domain_metrics, mongoose_domain_notify,
                mongoose_domain_walk, mongoose_domain_error, mongoose_domain_secret,
                mongoose_domain_http, mongoose_domain_http_node, mongoose_domain_http_options,
                mongoose_domain_http_port, mongoose_domain_service,
                mongoose_domain_handlers, mongoose_domain_subhosts]).

-spec load() -> ok | {error, {cannot_load, module(), term()}}.
load() ->
    lists:foldl(fun load/2, ok, ?PARTS).

load(Module, ok) ->
    case erlang:module_loaded(Module) orelse code:load_file(Module) of
        {error, Reason} -> {error, {cannot_load, Module, Reason}};
        _Loaded -> ok
    end;
load(_Module, Error) ->
    Error.
