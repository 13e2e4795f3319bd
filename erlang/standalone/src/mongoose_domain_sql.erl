%% @doc Requests to the database, made by the process that calls.
%%
%% Stands in for MongooseIM's module of this name.
-module(mongoose_domain_sql).

-export([start/1, stop/0, request/1]).

-define(DATABASE, {?MODULE, database}).

%% @doc Opens the database; connects only with the first request. Raises `{database, Failure}' if the
%% configuration is wrong.
-spec start(Opts :: map()) -> ok.
start(Opts) ->
    case open(Opts) of
        {ok, Database} ->
            ok = stop(),
            persistent_term:put(?DATABASE, Database);
        {error, Failure} ->
            error({database, Failure})
    end.

-spec stop() -> ok.
stop() ->
    case persistent_term:get(?DATABASE, undefined) of
        undefined ->
            ok;
        Database ->
            _ = persistent_term:erase(?DATABASE),
            mongoose_domain_nif:close_database(Database)
    end.

%% @doc Makes a request and waits for its reply, which always comes: see
%% {@link mongoose_domain_nif:request()}.
-spec request(mongoose_domain_nif:request()) ->
    {ok, term()} | {error, mongoose_domain_nif:failure() | service_disabled}.
request(Request) ->
    case persistent_term:get(?DATABASE, undefined) of
        undefined -> {error, service_disabled};
        Database -> request(Database, Request)
    end.

request(Database, Request) ->
    Ref = make_ref(),
    case mongoose_domain_nif:request(Database, Request, Ref) of
        ok -> receive {mongoose_domain_nif, Ref, Reply} -> Reply end;
        {error, Failure} -> {error, Failure}
    end.

open(Opts) ->
    case mongoose_domain_host:database_options(Opts) of
        {ok, Options} -> mongoose_domain_nif:open_database(Options);
        {error, Failure} -> {error, Failure}
    end.
