%% @doc The host: the application that we run in. Every call from us into it is here.
%%
%% Inside MongooseIM that is MongooseIM, and every call goes to its module by name. Standalone it is
%% the application `mongoose_domain_standalone'. What neither has is not called.
%%
%% Of MongooseIM we depend on this, in all versions from 6.3 to 6.8. {@link check/0} says which
%% functions are missing:
%%
%% - `mongoose_subdomain_core:add_domain/2', `mongoose_subdomain_core:remove_domain/2',
%%   `mongoose_lazy_routing:maybe_remove_domain/2': they are told of changes;
%% - `mongoose_domain_sql:start/1', `mongoose_domain_db_cleaner:start/1' and `stop/0': they start
%%   and stop with the service;
%% - `mongoose_service:is_loaded/1': is the service enabled?
%% - `mongoose_config:get_opt/1' with `outgoing_pools' and `mongoose_config:get_opt/2' with
%%   `{outgoing_pools, HostType}': where the database is;
%% - the supervisor `ejabberd_sup', under which the service runs, and the scope `mim_scope' of `pg'.
-module(mongoose_domain_host).

-include_lib("kernel/include/logger.hrl").

-export([check/0, domain_added/2, domain_removed/2]).
-export([start_service/2, stop_service/1, is_service_loaded/1, database/1, open_database/1]).
-export([is_clean_stop/1]).

%% Functions of MongooseIM.
-define(FUNCTIONS, [{mongoose_subdomain_core, add_domain, 2},
                    {mongoose_subdomain_core, remove_domain, 2},
                    {mongoose_lazy_routing, maybe_remove_domain, 2},
                    {mongoose_domain_sql, start, 1},
                    {mongoose_domain_db_cleaner, start, 1},
                    {mongoose_domain_db_cleaner, stop, 0},
                    {mongoose_service, is_loaded, 1},
                    {mongoose_config, get_opt, 1},
                    {mongoose_config, get_opt, 2}]).

-type domain() :: mongoose_domain_core:domain().
-type host_type() :: mongoose_domain_core:host_type().

%% @doc Loads the modules that are told of changes, so that telling them needs no look for a file.
%% Inside MongooseIM it logs which of its functions are missing.
-spec check() -> ok.
check() ->
    _ = [code:ensure_loaded(Module)
         || Module <- lists:usort([mongoose_domain_hooks | [M || {M, _, _} <- ?FUNCTIONS]])],
    Missing = [text("~s:~s/~b", [M, F, A])
               || is_mongooseim(), {M, F, A} <- ?FUNCTIONS, not erlang:function_exported(M, F, A)],
    _ = Missing =/= [] andalso
        ?LOG_ERROR(#{what => mongooseim_functions_missing, functions => Missing,
                     text => <<"mongoose_domain_native calls functions that this MongooseIM does "
                               "not have; it is made for 6.3 - 6.8">>}),
    ok.

%% @doc A domain routes now.
-spec domain_added(host_type(), domain()) -> ok.
domain_added(HostType, Domain) ->
    tell(mongoose_subdomain_core, add_domain, HostType, Domain),
    tell(mongoose_domain_hooks, domain_added, HostType, Domain).

%% @doc A domain routes no more by this host type.
-spec domain_removed(host_type(), domain()) -> ok.
domain_removed(HostType, Domain) ->
    tell(mongoose_lazy_routing, maybe_remove_domain, HostType, Domain),
    tell(mongoose_subdomain_core, remove_domain, HostType, Domain),
    tell(mongoose_domain_hooks, domain_removed, HostType, Domain).

%% @doc Starts the service's process, between the parts of the host that belong to it.
-spec start_service(supervisor:child_spec(), Opts :: map()) -> ok.
start_service(#{id := Id} = ChildSpec, Opts) ->
    _ = load_and_call(mongoose_domain_sql, start, [Opts]),
    %% One that was not stopped has other options.
    _ = supervisor:terminate_child(ejabberd_sup, Id),
    _ = supervisor:delete_child(ejabberd_sup, Id),
    {ok, _Pid} = supervisor:start_child(ejabberd_sup, ChildSpec),
    _ = load_and_call(mongoose_domain_db_cleaner, start, [Opts]),
    ok.

%% @doc Stops what {@link start_service/2} started.
-spec stop_service(Id :: atom()) -> ok.
stop_service(Id) ->
    _ = load_and_call(mongoose_domain_db_cleaner, stop, []),
    _ = supervisor:terminate_child(ejabberd_sup, Id),
    _ = supervisor:delete_child(ejabberd_sup, Id),
    ok.

%% @doc Is the service enabled? Without MongooseIM's register of services: does it run?
-spec is_service_loaded(atom()) -> boolean().
is_service_loaded(Service) ->
    _ = code:ensure_loaded(mongoose_service),
    call(mongoose_service, is_loaded, [Service], whereis(Service) =/= undefined).

%% @doc Where the database is, for a service with these options. Inside MongooseIM that is in the
%% pool of its configuration that `db_pool' names.
-spec database(#{db_pool := atom() | binary(), max_connections := pos_integer(), _ => _}) ->
    {ok, mongoose_domain_pool:database()} | {error, mongoose_domain_nif:failure()}.
database(#{db_pool := DbPool, max_connections := MaxConnections}) ->
    Found = case is_mongooseim() of
                true -> database_of_pool(DbPool);
                false -> database_of_url()
            end,
    case Found of
        {ok, #{options := Options} = Database} ->
            {ok, Database#{options := Options#{max_connections => MaxConnections}}};
        {error, Failure} ->
            {error, Failure}
    end.

%% @doc Opens the database of {@link database/1}.
-spec open_database(map()) ->
    {ok, mongoose_domain_nif:database(), mongoose_domain_pool:database()}
  | {error, mongoose_domain_nif:failure()}.
open_database(Opts) ->
    case database(Opts) of
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

%% @doc Does a process that ends for this reason end in good order, and not by a crash?
-spec is_clean_stop(Reason :: term()) -> boolean().
is_clean_stop(normal) -> true;
is_clean_stop(shutdown) -> true;
is_clean_stop({shutdown, _}) -> true;
is_clean_stop(_) -> false.

%% Internal

is_mongooseim() ->
    lists:any(fun(Module) -> code:ensure_loaded(Module) =:= {module, Module} end,
              [mongoose_config, mongoose_service]).

database_of_pool(DbPool) ->
    case mongoose_domain_pool:find(DbPool, pools(DbPool)) of
        {ok, Pool} -> mongoose_domain_pool:database(Pool);
        {error, Failure} -> {error, Failure}
    end.

pools(global) ->
    call(mongoose_config, get_opt, [outgoing_pools], []);
pools(DbPool) ->
    Key = {outgoing_pools, mongoose_domain_pool:host_type(DbPool)},
    call(mongoose_config, get_opt, [Key, []], []) ++ pools(global).

database_of_url() ->
    case application:get_env(mongoose_domain_standalone, database) of
        {ok, Url} ->
            try unicode:characters_to_binary(Url) of
                Binary when is_binary(Binary) ->
                    {ok, #{options => #{url => Binary, query_timeout => 5000,
                                        idle_timeout => 10000},
                           max_retry => 30000, notes => []}};
                _ ->
                    bad_url()
            catch
                error:badarg -> bad_url()
            end;
        undefined ->
            {error, {no_database, <<"no database is configured: set 'database' of the application "
                                    "mongoose_domain_standalone to its URL">>}}
    end.

bad_url() ->
    {error, {bad_database_url, <<"the database URL must be a string or a binary">>}}.

%% Whoever is told must not bring the table's process down, again and again.
tell(Module, Function, HostType, Domain) ->
    try
        _ = call(Module, Function, [HostType, Domain], ok),
        ok
    catch
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(#{what => domain_hook_failed, hook => {Module, Function},
                         host_type => HostType, domain => Domain, class => Class,
                         reason => Reason, stacktrace => Stacktrace})
    end.

load_and_call(Module, Function, Args) ->
    _ = code:ensure_loaded(Module),
    call(Module, Function, Args, ok).

%% Only what is there. Asking is cheap: it is done for every change of a domain.
call(Module, Function, Args, Default) ->
    case erlang:function_exported(Module, Function, length(Args)) of
        true -> apply(Module, Function, Args);
        false -> Default
    end.

text(Format, Args) ->
    unicode:characters_to_binary(io_lib:format(Format, Args)).
