%% @doc Requests to the database, made by the process that calls.
%%
%% Stands in for MongooseIM's module of this name.
-module(mongoose_domain_sql).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start/1, request/1, start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-ignore_xref([start_link/1]).

%% The process keeps the handle of the database in a table. Not in a persistent_term: when one is
%% erased while its value is the argument of a running NIF, OTP 25 frees the resource too early.
-define(TABLE, ?MODULE).

%% @doc Opens the database, under `ejabberd_sup'; connects only with the first request. Raises
%% `{database, Failure}' if the configuration is wrong.
-spec start(Opts :: map()) -> ok.
start(Opts) ->
    _ = supervisor:terminate_child(ejabberd_sup, ?MODULE),
    _ = supervisor:delete_child(ejabberd_sup, ?MODULE),
    ChildSpec = #{id => ?MODULE, start => {?MODULE, start_link, [Opts]}},
    case supervisor:start_child(ejabberd_sup, ChildSpec) of
        {ok, _Pid} -> ok;
        {error, {{database, Failure}, _Child}} -> error({database, Failure});
        {error, {database, Failure}} -> error({database, Failure})
    end.

%% @doc Makes a request and waits for its reply, which always comes: see
%% {@link mongoose_domain_nif:request()}.
-spec request(mongoose_domain_nif:request()) ->
    {ok, term()} | {error, mongoose_domain_nif:failure() | service_disabled}.
request(Request) ->
    case database() of
        undefined -> {error, service_disabled};
        Database -> request(Database, Request)
    end.

request(Database, Request) ->
    Ref = make_ref(),
    case mongoose_domain_nif:request(Database, Request, Ref) of
        ok -> receive {mongoose_domain_nif, Ref, Reply} -> Reply end;
        {error, Failure} -> {error, Failure}
    end.

database() ->
    try ets:lookup_element(?TABLE, database, 2)
    catch error:badarg -> undefined
    end.

%% gen_server

%% @private
-spec start_link(map()) -> {ok, pid()} | {error, term()}.
start_link(Opts) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Opts, []).

%% @private
-spec init(map()) -> {ok, mongoose_domain_nif:database()} | {stop, term()}.
init(Opts) ->
    process_flag(trap_exit, true),
    case open(Opts) of
        {ok, Database} ->
            ?TABLE = ets:new(?TABLE, [named_table, {read_concurrency, true}]),
            true = ets:insert(?TABLE, {database, Database}),
            {ok, Database};
        {error, Failure} ->
            {stop, {database, Failure}}
    end.

%% @private
-spec handle_call(term(), gen_server:from(), Database) -> {reply, ok, Database}.
handle_call(Request, _From, Database) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request}),
    {reply, ok, Database}.

%% @private
-spec handle_cast(term(), Database) -> {noreply, Database}.
handle_cast(Message, Database) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, Database}.

%% @private
-spec handle_info(term(), Database) -> {noreply, Database}.
handle_info(Message, Database) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, Database}.

%% @private
-spec terminate(term(), mongoose_domain_nif:database()) -> ok.
terminate(_Reason, Database) ->
    mongoose_domain_nif:close_database(Database).

open(Opts) ->
    case mongoose_domain_database:open(maps:merge(#{max_connections => 2}, Opts)) of
        {ok, Database, _Found} -> {ok, Database};
        {error, Failure} -> {error, Failure}
    end.
