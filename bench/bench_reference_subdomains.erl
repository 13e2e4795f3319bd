%% @doc What the benchmarks compare `mongoose_subdomain_core' with: the same contract in plain OTP.
%%
%% A `gen_server' owns a protected named table with a row for each name below the domains of
%% `bench_reference', which everybody reads. It has the functions of `mongoose_subdomain_core' that
%% are measured, by the same names.
-module(bench_reference_subdomains).

-behaviour(gen_server).

-export([start_link/0, register_subdomain/3, unregister_subdomain/2, add_domain/2]).
-export([remove_domain/2, sync/0, get_host_type/1, get_subdomain_info/1, memory/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_continue/2]).

-define(TABLE, ?MODULE).

-type pattern() :: {prefix, binary()}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec register_subdomain(binary(), pattern(), Handler :: term()) -> ok.
register_subdomain(HostType, Pattern, Handler) ->
    gen_server:call(?MODULE, {register, HostType, Pattern, Handler}, infinity).

-spec unregister_subdomain(binary(), pattern()) -> ok.
unregister_subdomain(HostType, Pattern) ->
    gen_server:call(?MODULE, {unregister, HostType, Pattern}, infinity).

-spec add_domain(binary(), binary()) -> ok.
add_domain(HostType, Domain) ->
    gen_server:cast(?MODULE, {add, HostType, Domain}).

-spec remove_domain(binary(), binary()) -> ok.
remove_domain(HostType, Domain) ->
    gen_server:cast(?MODULE, {remove, HostType, Domain}).

-spec sync() -> ok.
sync() ->
    gen_server:call(?MODULE, sync, infinity).

-spec get_host_type(binary()) -> {ok, binary()} | {error, not_found}.
get_host_type(Name) ->
    case ets:lookup(?TABLE, Name) of
        [{_, HostType, _, _, _}] -> {ok, HostType};
        [] -> {error, not_found}
    end.

-spec get_subdomain_info(binary()) -> {ok, map()} | {error, not_found}.
get_subdomain_info(Name) ->
    case ets:lookup(?TABLE, Name) of
        [{_, HostType, Pattern, Domain, Handler}] ->
            {ok, #{host_type => HostType, subdomain => Name, subdomain_pattern => Pattern,
                   parent_domain => Domain, packet_handler => Handler}};
        [] ->
            {error, not_found}
    end.

%% @doc Bytes.
-spec memory() -> non_neg_integer().
memory() ->
    ets:info(?TABLE, memory) * erlang:system_info(wordsize).

%% gen_server: the state is `#{{HostType, Pattern} => Handler}'.

%% @private
-spec init([]) -> {ok, map()}.
init([]) ->
    ?TABLE = ets:new(?TABLE, [named_table, protected, set, {read_concurrency, true}]),
    {ok, #{}}.

%% @private
-spec handle_call(term(), gen_server:from(), map()) ->
    {reply, ok, map()} | {reply, ok, map(), {continue, term()}}.
handle_call({register, HostType, Pattern, Handler}, _From, Patterns) ->
    {reply, ok, Patterns#{{HostType, Pattern} => Handler},
     {continue, {go_through, HostType, Pattern, Handler}}};
handle_call({unregister, HostType, Pattern}, _From, Patterns) ->
    true = ets:match_delete(?TABLE, {'_', HostType, Pattern, '_', '_'}),
    {reply, ok, maps:remove({HostType, Pattern}, Patterns)};
handle_call(sync, _From, Patterns) ->
    {reply, ok, Patterns}.

%% @private
-spec handle_continue(term(), map()) -> {noreply, map()}.
handle_continue({go_through, HostType, Pattern, Handler}, Patterns) ->
    ok = bench_reference:for_each_domain(HostType, fun(_, Domain) ->
                                                       add(HostType, Pattern, Handler, Domain)
                                                   end),
    {noreply, Patterns}.

%% @private
-spec handle_cast(term(), map()) -> {noreply, map()}.
handle_cast({add, HostType, Domain}, Patterns) ->
    _ = [add(HostType, Pattern, Handler, Domain)
         || {{Of, Pattern}, Handler} <- maps:to_list(Patterns), Of =:= HostType],
    {noreply, Patterns};
handle_cast({remove, HostType, Domain}, Patterns) ->
    %% Others are told of each of them.
    _ = [ets:delete(?TABLE, Name)
         || [Name] <- ets:match(?TABLE, {'$1', HostType, '_', Domain, '_'})],
    {noreply, Patterns}.

add(HostType, {prefix, Prefix} = Pattern, Handler, Domain) ->
    Name = <<Prefix/binary, Domain/binary>>,
    ets:insert_new(?TABLE, {Name, HostType, Pattern, Domain, Handler}).
