%% @doc The routing table of one node: which host type is this domain?
%%
%% Takes the place of MongooseIM's module of this name. The table itself is in Rust
%% (`mongoose_domain_nif'); reads go straight there. This process is the only one that writes it, so
%% that other modules learn of the changes in the order in which they happened.
%%
%% A read raises `badarg' before the process has started and after it has stopped cleanly. When it
%% crashes, the table goes on answering, and the restarted process takes it over.
-module(mongoose_domain_core).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

%% API
-export([start_link/2]).
-export([get_host_type/1, is_static/1, is_host_type_allowed/1, domains_count/0]).
-export([get_all_static/0, get_all_dynamic/0, get_all_outdated/1, get_domains_by_host_type/1]).
-export([for_each_domain/2, insert/3, delete/1, get_start_args/0]).

%% For service_domain_db
-export([apply_batch/1]).

%% gen_server
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% The texts of its errors (EEP 54)
-export([format_error/2]).

-ignore_xref([format_error/2]).

%% So that the error is raised by the function that was called.
-compile({inline, [bad_argument/3]}).

-export_type([domain/0, host_type/0, pair/0, source/0]).

-type domain() :: binary().
-type host_type() :: binary().
-type pair() :: {domain(), host_type()}.
%% Who inserted a dynamic domain.
-type source() :: term().

%% Our other modules. A release loads what its boot script names and nothing later: MongooseIM's
%% does not know these.
-define(PARTS, [mongoose_domain_nif, mongoose_domain_host, mongoose_domain_config,
                mongoose_domain_pool, mongoose_domain_database, mongoose_domain_cluster,
                mongoose_domain_status, mongoose_domain_metrics, mongoose_domain_http,
                mongoose_domain_service]).

%% The most transitions of which others are told in one time slice: by calls of their functions, and
%% by one message.
-define(FEW, 10).
-define(MANY, 200).

%% The most changes applied before other calls get their turn.
-define(SLICE, 1000).
%% Applied at a time: so many fit into a small part of a time slice.
-define(BIT, 200).

%% @doc Starts with exactly these static domains. Their host types need not be allowed; of a
%% repeated domain the first pair counts. Raises `badarg' for anything but pairs and names.
-spec start_link([pair()], [host_type()]) -> {ok, pid()} | {error, term()}.
start_link(Pairs, AllowedHostTypes) ->
    case load(?PARTS) of
        ok -> start_loaded(Pairs, AllowedHostTypes);
        {error, Reason} -> {error, Reason}
    end.

start_loaded(Pairs, AllowedHostTypes) ->
    case mongoose_domain_nif:check_start_args(Pairs, AllowedHostTypes) of
        ok ->
            gen_server:start_link({local, ?MODULE}, ?MODULE, {Pairs, AllowedHostTypes}, []);
        {error, Argument, Text} ->
            bad_argument([Pairs, AllowedHostTypes], Argument, Text)
    end.

%% @doc A read of one name takes any term: what is no name of a domain is not found.
-spec get_host_type(term()) -> {ok, host_type()} | {error, not_found}.
get_host_type(Domain) ->
    mongoose_domain_nif:get_host_type(Domain).

-spec is_static(term()) -> boolean().
is_static(Domain) ->
    mongoose_domain_nif:is_static(Domain).

-spec is_host_type_allowed(term()) -> boolean().
is_host_type_allowed(HostType) ->
    mongoose_domain_nif:is_host_type_allowed(HostType).

%% @doc The number of domains, static and dynamic.
-spec domains_count() -> non_neg_integer().
domains_count() ->
    mongoose_domain_nif:domains_count().

-spec get_all_static() -> [pair()].
get_all_static() ->
    mongoose_domain_nif:get_all_static().

-spec get_all_dynamic() -> [pair()].
get_all_dynamic() ->
    mongoose_domain_nif:get_all_dynamic().

%% @doc The dynamic domains of other sources than this one.
-spec get_all_outdated(source()) -> [pair()].
get_all_outdated(Source) ->
    mongoose_domain_nif:get_all_outdated(Source).

-spec get_domains_by_host_type(host_type()) -> [domain()].
get_domains_by_host_type(HostType) when is_binary(HostType) ->
    mongoose_domain_nif:get_domains_by_host_type(HostType).

%% @doc Runs the function in the calling process for each domain of the host type. Domains may come
%% and go meanwhile, by the function itself, too: one that stays is visited exactly once, one that
%% is deleted before its turn is not. A crash of the function is logged and the walk goes on.
-spec for_each_domain(host_type(), fun((host_type(), domain()) -> any())) -> ok.
for_each_domain(HostType, Fun) when is_binary(HostType), is_function(Fun, 2) ->
    Visit = fun(Domain) ->
                case mongoose_domain_nif:has_host_type(Domain, HostType) of
                    true -> run(Fun, HostType, Domain);
                    false -> ok
                end
            end,
    lists:foreach(Visit, get_domains_by_host_type(HostType)).

%% @doc Inserts a dynamic domain. One that is there with the same host type only gets the new
%% source. Raises `badarg' for a name that no domain can have.
-spec insert(domain(), host_type(), source()) ->
    ok | {error, unknown_host_type | static | bad_insert}.
insert(Domain, HostType, Source) when is_binary(Domain), is_binary(HostType) ->
    case mongoose_domain_nif:check_name(Domain) of
        ok -> gen_server:call(?MODULE, {insert, Domain, HostType, Source}, infinity);
        {error, Text} -> bad_argument([Domain, HostType, Source], 1, Text)
    end.

%% @doc Deletes a dynamic domain, if it is there; so any term will do.
-spec delete(term()) -> ok | {error, static}.
delete(Domain) ->
    gen_server:call(?MODULE, {delete, Domain}, infinity).

%% @doc The arguments of `start_link/2', as given.
-spec get_start_args() -> [term()].
get_start_args() ->
    mongoose_domain_nif:get_start_args().

%% @private
%% @doc Applies a batch of changes from the database. Between slices other calls get their turn, and
%% whoever is told of the changes can catch up.
-spec apply_batch(mongoose_domain_nif:batch()) -> ok | {error, stale}.
apply_batch(Batch) ->
    case gen_server:call(?MODULE, {apply_batch, Batch}, infinity) of
        more -> mongoose_domain_host:let_catch_up(), apply_batch(Batch);
        done -> mongoose_domain_host:let_catch_up();
        {error, stale} -> {error, stale}
    end.

%% gen_server

%% @private
-spec init({[pair()], [host_type()]}) -> {ok, no_state, {continue, table_started}}.
init({Pairs, AllowedHostTypes}) ->
    %% So that a clean stop is told from a crash, in terminate/2.
    process_flag(trap_exit, true),
    ok = mongoose_domain_host:check(),
    case mongoose_domain_nif:start_table(Pairs, AllowedHostTypes, supervisor_pid()) of
        fresh -> ok;
        kept -> ?LOG_NOTICE(#{what => domain_table_taken_over,
                              domains => mongoose_domain_nif:domains_count()})
    end,
    {ok, no_state, {continue, table_started}}.

%% @private
-spec handle_continue(table_started, no_state) -> {noreply, no_state}.
handle_continue(table_started, State) ->
    %% What a crashed predecessor did not come to.
    ok = tell(),
    %% A fresh table has no domains of the database yet: the service must not wait with the load.
    case whereis(service_domain_db) of
        undefined -> ok;
        Service -> Service ! check_for_updates, ok
    end,
    {noreply, State}.

%% @private
-spec handle_call(term(), gen_server:from(), no_state) -> {reply, term(), no_state}.
handle_call({insert, Domain, HostType, Source}, _From, State) ->
    Reply = case insert_now_or_later(Domain, HostType, Source) of
                inserted -> tell();
                refreshed -> ok;
                {error, Reason} -> {error, Reason}
            end,
    {reply, Reply, State};
handle_call({delete, Domain}, _From, State) ->
    Reply = case delete_now_or_later(Domain) of
                removed -> tell();
                absent -> ok;
                {error, static} -> {error, static}
            end,
    {reply, Reply, State};
handle_call({apply_batch, Batch}, _From, State) ->
    {reply, apply_slice(Batch, ?SLICE), State};
handle_call(Request, From, State) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request, from => From}),
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), no_state) -> {noreply, no_state}.
handle_cast(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec handle_info(term(), no_state) -> {noreply, no_state}.
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec terminate(term(), no_state) -> ok.
terminate(Reason, _State) ->
    case mongoose_domain_host:is_clean_stop(Reason) of
        true -> mongoose_domain_nif:stop_table();
        false -> ok
    end.

%% @private
-spec format_error(term(), [tuple()]) -> #{pos_integer() => unicode:chardata()}.
format_error(_Reason, [{_Module, _Function, _Args, Info} | _]) ->
    #{cause := Texts} = proplists:get_value(error_info, Info, #{cause => #{}}),
    Texts.

%% Internal

load([]) ->
    ok;
load([Module | Modules]) ->
    case erlang:module_loaded(Module) orelse code:load_file(Module) of
        {error, Reason} -> {error, {cannot_load, Module, Reason}};
        _Loaded -> load(Modules)
    end.

%% Applies so many changes, a few at a time, and tells others of them.
apply_slice(_Batch, 0) ->
    more;
apply_slice(Batch, Left) ->
    Applied = case mongoose_domain_nif:try_apply_batch(Batch, ?BIT) of
                  busy -> mongoose_domain_nif:apply_batch(Batch, ?BIT);
                  Done -> Done
              end,
    ok = tell(),
    case Applied of
        more -> apply_slice(Batch, Left - ?BIT);
        _ -> Applied
    end.

insert_now_or_later(Domain, HostType, Source) ->
    case mongoose_domain_nif:try_insert(Domain, HostType, Source) of
        busy -> mongoose_domain_nif:insert(Domain, HostType, Source);
        Done -> Done
    end.

delete_now_or_later(Domain) ->
    case mongoose_domain_nif:try_delete(Domain) of
        busy -> mongoose_domain_nif:delete(Domain);
        Done -> Done
    end.

%% Tells others of what changed. The transitions are kept beside the table until they are told, so
%% that the successor of a process that is killed goes on where it was.
-spec tell() -> ok.
tell() ->
    case mongoose_domain_host:who_is_told() of
        nobody -> mongoose_domain_nif:told(all);
        functions -> tell(?FEW, fun tell_one_by_one/1);
        listeners -> tell(?MANY, fun tell_together/1)
    end.

%% A process is killed when it is scheduled. With a fresh time slice that is not between telling and
%% counting it as told: others are told exactly once.
tell(Limit, Tell) ->
    case mongoose_domain_nif:untold(Limit) of
        [] ->
            ok;
        Transitions ->
            true = erlang:yield(),
            Tell(Transitions),
            tell(Limit, Tell)
    end.

tell_one_by_one(Transitions) ->
    lists:foreach(fun(Transition) ->
                      ok = mongoose_domain_host:tell_functions(Transition),
                      tell_together([Transition])
                  end, Transitions).

tell_together(Transitions) ->
    ok = mongoose_domain_host:tell_listeners(Transitions),
    mongoose_domain_nif:told(length(Transitions)).

-spec run(fun((host_type(), domain()) -> any()), host_type(), domain()) -> ok.
run(Fun, HostType, Domain) ->
    try
        _ = Fun(HostType, Domain),
        ok
    catch
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(#{what => domain_operation_failed, host_type => HostType, domain => Domain,
                         class => Class, reason => Reason, stacktrace => Stacktrace})
    end.

%% The supervisor's pid, also where it is known by its name.
-spec supervisor_pid() -> pid() | undefined.
supervisor_pid() ->
    case get('$ancestors') of
        [Pid | _] when is_pid(Pid) -> Pid;
        [Name | _] -> whereis(Name);
        _ -> undefined
    end.

-spec bad_argument([term()], pos_integer(), binary()) -> no_return().
bad_argument(Args, Argument, Text) ->
    erlang:error(badarg, Args, [{error_info, #{cause => #{Argument => Text}}}]).
