%% @doc What the benchmarks compare `mongoose_domain_core' with: the same contract in plain OTP.
%%
%% A `gen_server' owns a protected named table of `{Domain, HostType, Source}', which everybody
%% reads; every row comes and goes by a call to the process. It has the functions of
%% `mongoose_domain_core' that are measured, by the same names.
-module(bench_reference).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/2, get_host_type/1, is_static/1, is_host_type_allowed/1, domains_count/0]).
-export([get_all_dynamic/0, get_domains_by_host_type/1, for_each_domain/2, insert/3, delete/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(TABLE, bench_reference_domains).
-define(HOST_TYPES, bench_reference_host_types).
%% Domains that for_each_domain/2 reads at a time.
-define(PAGE, 100).

-type domain() :: binary().
-type host_type() :: binary().

-spec start_link([{domain(), host_type()}], [host_type()]) -> {ok, pid()} | {error, term()}.
start_link(Pairs, AllowedHostTypes) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, {Pairs, AllowedHostTypes}, []).

-spec get_host_type(domain()) -> {ok, host_type()} | {error, not_found}.
get_host_type(Domain) ->
    case ets:lookup(?TABLE, Domain) of
        [{_, HostType, _}] -> {ok, HostType};
        [] -> {error, not_found}
    end.

-spec is_static(domain()) -> boolean().
is_static(Domain) ->
    case ets:lookup(?TABLE, Domain) of
        [{_, _, static}] -> true;
        _ -> false
    end.

-spec is_host_type_allowed(host_type()) -> boolean().
is_host_type_allowed(HostType) ->
    ets:member(?HOST_TYPES, HostType).

-spec domains_count() -> non_neg_integer().
domains_count() ->
    ets:info(?TABLE, size).

-spec get_all_dynamic() -> [{domain(), host_type()}].
get_all_dynamic() ->
    Rows = ets:match(?TABLE, {'$1', '$2', '$3'}),
    [{Domain, HostType} || [Domain, HostType, Source] <- Rows, Source =/= static].

-spec get_domains_by_host_type(host_type()) -> [domain()].
get_domains_by_host_type(HostType) when is_binary(HostType) ->
    [Domain || [Domain] <- ets:match(?TABLE, {'$1', HostType, '_'})].

-spec for_each_domain(host_type(), fun((host_type(), domain()) -> any())) -> ok.
for_each_domain(HostType, Fun) ->
    true = ets:safe_fixtable(?TABLE, true),
    try
        walk(ets:match(?TABLE, {'$1', HostType, '_'}, ?PAGE), HostType, Fun)
    after
        true = ets:safe_fixtable(?TABLE, false)
    end.

-spec insert(domain(), host_type(), Source :: term()) ->
    ok | {error, unknown_host_type | static | bad_insert}.
insert(Domain, HostType, Source) ->
    gen_server:call(?MODULE, {insert, Domain, HostType, Source}, infinity).

-spec delete(domain()) -> ok | {error, static}.
delete(Domain) ->
    gen_server:call(?MODULE, {delete, Domain}, infinity).

%% gen_server

%% @private
-spec init({[{domain(), host_type()}], [host_type()]}) -> {ok, no_state}.
init({Pairs, AllowedHostTypes}) ->
    Options = [named_table, protected, set, {read_concurrency, true}],
    ?TABLE = ets:new(?TABLE, Options),
    ?HOST_TYPES = ets:new(?HOST_TYPES, Options),
    %% Of a repeated domain the first pair counts.
    true = ets:insert(?TABLE, [{Domain, Type, static} || {Domain, Type} <- lists:reverse(Pairs)]),
    true = ets:insert(?HOST_TYPES, [{HostType} || HostType <- AllowedHostTypes]),
    {ok, no_state}.

%% @private
-spec handle_call(term(), gen_server:from(), no_state) ->
    {reply, ok | {error, unknown_host_type | static | bad_insert}, no_state}.
handle_call({insert, Domain, HostType, Source}, _From, State) ->
    {reply, do_insert(Domain, HostType, Source), State};
handle_call({delete, Domain}, _From, State) ->
    {reply, do_delete(Domain), State}.

%% @private
-spec handle_cast(term(), no_state) -> {noreply, no_state}.
handle_cast(_Message, State) ->
    {noreply, State}.

%% Internal

do_insert(Domain, HostType, Source) ->
    case is_host_type_allowed(HostType) andalso ets:lookup(?TABLE, Domain) of
        false ->
            {error, unknown_host_type};
        [] ->
            true = ets:insert(?TABLE, {Domain, HostType, Source}),
            tell(added, HostType, Domain);
        [{_, _, static}] ->
            {error, static};
        [{_, HostType, _}] ->
            true = ets:insert(?TABLE, {Domain, HostType, Source}),
            ok;
        [{_, _Other, _}] ->
            {error, bad_insert}
    end.

do_delete(Domain) ->
    case ets:lookup(?TABLE, Domain) of
        [] ->
            ok;
        [{_, _, static}] ->
            {error, static};
        [{_, HostType, _}] ->
            true = ets:delete(?TABLE, Domain),
            tell(removed, HostType, Domain)
    end.

%% As the standalone application does: a cast to a process, if somebody listens.
tell(What, HostType, Domain) ->
    gen_server:cast(bench_listener, {What, HostType, Domain}).

walk('$end_of_table', _HostType, _Fun) ->
    ok;
walk({Page, Continuation}, HostType, Fun) ->
    lists:foreach(fun([Domain]) -> run(Fun, HostType, Domain) end, Page),
    walk(ets:match(Continuation), HostType, Fun).

run(Fun, HostType, Domain) ->
    try
        Fun(HostType, Domain)
    catch
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(#{what => domain_operation_failed, host_type => HostType, domain => Domain,
                         class => Class, reason => Reason, stacktrace => Stacktrace})
    end.
