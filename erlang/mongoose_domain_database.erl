%% @doc The database of the service: where it is, and opening it.
%%
%% Inside MongooseIM it is that of the pool which `db_pool' names; standalone, that of the URL in
%% the environment of the application.
-module(mongoose_domain_database).

-include_lib("kernel/include/logger.hrl").

-export([find/1, open/1, open/0, check/1]).

%% Milliseconds, for a URL.
-define(QUERY_TIMEOUT, 5000).
-define(IDLE_TIMEOUT, 10000).
-define(MAX_RETRY, 30000).

%% @doc Where the database is, for a service with these options.
-spec find(#{db_pool := atom() | binary(), max_connections := pos_integer(), _ => _}) ->
    {ok, mongoose_domain_pool:database()} | {error, mongoose_domain_nif:failure()}.
find(#{db_pool := DbPool, max_connections := MaxConnections}) ->
    Found = case mongoose_domain_host:is_mongooseim() of
                true -> of_pool(DbPool);
                false -> of_url(mongoose_domain_host:database_url())
            end,
    case Found of
        {ok, #{options := Options} = Database} ->
            {ok, Database#{options := Options#{max_connections => MaxConnections}}};
        {error, Failure} ->
            {error, Failure}
    end.

%% @doc Opens it; connects only when the first request needs it.
-spec open(map()) ->
    {ok, mongoose_domain_nif:database(), mongoose_domain_pool:database()}
  | {error, mongoose_domain_nif:failure()}.
open(Opts) ->
    case find(Opts) of
        {ok, #{options := Options} = Found} ->
            %% An error that it raises would show its argument, with the password.
            try mongoose_domain_nif:open_database(Options) of
                {ok, Database} -> {ok, Database, Found};
                {error, Failure} -> {error, Failure}
            catch
                error:Reason when is_atom(Reason) ->
                    {error, {Reason, <<"mongoose_domain_nif:open_database/1 does not take the "
                                       "options of the database, or is not loaded">>}}
            end;
        {error, Failure} ->
            {error, Failure}
    end.

%% @doc Opens it with the options in use, and says so as the follower wants to hear it.
-spec open() -> {opened, mongoose_domain_nif:database(), MaxRetry :: pos_integer()}
              | {not_opened, mongoose_domain_nif:failure()}.
open() ->
    case open(mongoose_domain_config:used()) of
        {ok, Database, #{max_retry := MaxRetry}} -> {opened, Database, MaxRetry};
        {error, Failure} -> {not_opened, Failure}
    end.

%% @doc Can it be opened? Raises `{database, Failure}' if what the configuration says is wrong or
%% cannot be done; whether the database is there does not matter. Logs which one it is.
-spec check(map()) -> ok.
check(Opts) ->
    case open(Opts) of
        {ok, Database, Found} ->
            ok = mongoose_domain_nif:close_database(Database),
            log(Found);
        {error, Failure} ->
            error({database, Failure})
    end.

%% One of a pool. No password and no key here.
log(#{options := #{host := Host, port := Port, database := Name, tls := #{mode := Tls}},
      notes := Notes}) ->
    ?LOG_NOTICE(#{what => domain_database, host => Host, port => Port, database => Name,
                  tls => Tls, notes => Notes});
log(_OfUrl) ->
    ok.

of_pool(DbPool) ->
    case mongoose_domain_pool:find(DbPool, pools(DbPool)) of
        {ok, Pool} -> mongoose_domain_pool:database(Pool);
        {error, Failure} -> {error, Failure}
    end.

pools(global) ->
    mongoose_domain_host:pools(global);
pools(DbPool) ->
    mongoose_domain_host:pools(mongoose_domain_pool:host_type(DbPool))
        ++ mongoose_domain_host:pools(global).

of_url(undefined) ->
    {error, {no_database, <<"no database is configured: set 'database' of the application "
                            "mongoose_domain_standalone to its URL">>}};
of_url(Url) ->
    try unicode:characters_to_binary(Url) of
        Binary when is_binary(Binary) ->
            {ok, #{options => #{url => Binary, query_timeout => ?QUERY_TIMEOUT,
                                idle_timeout => ?IDLE_TIMEOUT},
                   max_retry => ?MAX_RETRY, notes => []}};
        _ ->
            bad_url()
    catch
        error:badarg -> bad_url()
    end.

bad_url() ->
    {error, {bad_database_url, <<"the database URL must be a string or a binary">>}}.
