%% @doc The host: the application that we run in. Every call from us into it is here.
%%
%% Inside MongooseIM that is MongooseIM, and every call goes to its module by name. Standalone it is
%% the application `mongoose_domain_standalone'. What neither has is not called.
%%
%% Functions of MongooseIM that we depend on, all of them in 6.3 - 6.8:
%%
%% - `mongoose_subdomain_core:add_domain/2', `mongoose_subdomain_core:remove_domain/2',
%%   `mongoose_lazy_routing:maybe_remove_domain/2': they are told of changes;
%% - `mongoose_domain_sql:start/1', `mongoose_domain_db_cleaner:start/1' and `stop/0': they start
%%   and stop with the service;
%% - `mongoose_service:is_loaded/1': is the service enabled?
%% - the supervisor `ejabberd_sup', under which the service runs.
-module(mongoose_domain_host).

-include_lib("kernel/include/logger.hrl").

-export([load_modules/0, domain_added/2, domain_removed/2]).
-export([start_service/2, stop_service/1, is_service_loaded/1, database_options/1]).
-export([is_clean_stop/1]).

-type domain() :: mongoose_domain_core:domain().
-type host_type() :: mongoose_domain_core:host_type().

%% @doc Loads the modules that are told of changes, so that telling them needs no look for a file.
-spec load_modules() -> ok.
load_modules() ->
    Modules = [mongoose_subdomain_core, mongoose_lazy_routing, mongoose_domain_hooks],
    lists:foreach(fun code:ensure_loaded/1, Modules).

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
    ok = case supervisor:start_child(ejabberd_sup, ChildSpec) of
             {ok, _Pid} -> ok;
             {error, {already_started, _Pid}} -> ok;
             {error, already_present} -> restart_child(Id, ChildSpec);
             {error, Reason} -> {error, Reason}
         end,
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

%% @doc Where the database is, for a service with these options.
-spec database_options(Opts :: map()) ->
    {ok, mongoose_domain_nif:database_options()} | {error, mongoose_domain_nif:failure()}.
database_options(_Opts) ->
    case first_env(database, [mongoose_domain_standalone, mongoose_domain_native]) of
        {ok, Url} ->
            try unicode:characters_to_binary(Url) of
                Binary when is_binary(Binary) ->
                    {ok, #{url => Binary, max_connections => 2, query_timeout => 5000}};
                _ ->
                    bad_url()
            catch
                error:badarg -> bad_url()
            end;
        undefined ->
            {error, {no_database, <<"no database is configured: set 'database' of the application "
                                    "mongoose_domain_native to its URL "
                                    "(MongooseIM's own pools are not supported yet)">>}}
    end.

%% @doc Does a process that ends for this reason end in good order, and not by a crash?
-spec is_clean_stop(Reason :: term()) -> boolean().
is_clean_stop(normal) -> true;
is_clean_stop(shutdown) -> true;
is_clean_stop({shutdown, _}) -> true;
is_clean_stop(_) -> false.

%% Internal

bad_url() ->
    {error, {bad_database_url, <<"the database URL must be a string or a binary">>}}.

restart_child(Id, ChildSpec) ->
    ok = supervisor:delete_child(ejabberd_sup, Id),
    {ok, _Pid} = supervisor:start_child(ejabberd_sup, ChildSpec),
    ok.

first_env(_Key, []) ->
    undefined;
first_env(Key, [App | Apps]) ->
    case application:get_env(App, Key) of
        undefined -> first_env(Key, Apps);
        Found -> Found
    end.

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
