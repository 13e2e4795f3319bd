%% @doc Names below the domains of one node, such as `muc.example.com'.
%%
%% Takes the place of MongooseIM's module of this name, if it is installed (doc/subdomains.md). No
%% name is stored: each is computed from the patterns that are registered and the routing table
%% (`mongoose_domain_nif'). Reads go straight there. This process changes the patterns, and tells
%% others of names that begin and end.
%%
%% It lies in the standalone application: a dependency on the other one must not bring it.
-module(mongoose_subdomain_core).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, register_subdomain/3, unregister_subdomain/2, sync/0]).
-export([add_domain/2, remove_domain/2, wants_additions/0]).
-export([get_host_type/1, get_subdomain_info/1, get_all_subdomains_for_domain/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

%% MongooseIM's tests look at what is logged here.
-ifdef(TEST).
-export([log_error/2]).
-define(ERROR(Event), ?MODULE:log_error(?FUNCTION_NAME, Event)).
-spec log_error(atom(), map()) -> ok.
log_error(_Function, Event) -> ?LOG_ERROR(Event).
-else.
-define(ERROR(Event), ?LOG_ERROR(Event)).
-endif.

-type host_type() :: mongoose_domain_core:host_type().
-type pattern() :: mongoose_domain_nif:pattern().
-type info() :: mongoose_domain_nif:subdomain().
-type state() :: mongoose_domain_subhosts:numbers().

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    _ = erlang:module_loaded(mongoose_domain_parts) orelse code:load_file(mongoose_domain_parts),
    case mongoose_domain_parts:load() of
        ok -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []);
        {error, Reason} -> {error, Reason}
    end.

%% @doc Registers a pattern, with the handler of the packets for its names. They are there when it
%% returns. Raises `badarg' for a host type or a text that no name can have.
-spec register_subdomain(host_type(), pattern(), Handler :: term()) ->
    ok | {error, already_registered | subdomain_already_exists}.
register_subdomain(HostType, {Kind, Text} = Pattern, Handler)
  when is_binary(HostType), is_binary(Text), Kind =:= prefix orelse Kind =:= fqdn ->
    Args = [HostType, Pattern, Handler],
    _ = [error(badarg, Args, mongoose_domain_error:info(Argument, Why))
         || {Argument, Name} <- [{1, HostType}, {2, Text}],
            {error, Why} <- [mongoose_domain_nif:check_name(Name)]],
    Kept = mongoose_domain_host:packet_handler(Handler, HostType),
    gen_server:call(?MODULE, {register, HostType, Pattern, Kept}, infinity).

%% @doc Takes a pattern back, if it is there. Its names are gone when it returns.
-spec unregister_subdomain(host_type(), pattern()) -> ok.
unregister_subdomain(HostType, {Kind, Text} = Pattern)
  when is_binary(HostType), is_binary(Text), Kind =:= prefix orelse Kind =:= fqdn ->
    gen_server:call(?MODULE, {unregister, HostType, Pattern}, infinity).

%% @doc Called by `mongoose_domain_core' when a domain begins to route: for each if
%% wants_additions/0 says so, else for those of which there is something to log.
-spec add_domain(host_type(), mongoose_domain_core:domain()) -> ok.
add_domain(HostType, Domain) ->
    gen_server:cast(?MODULE, {add_domain, HostType, Domain, mongoose_domain_notify:number()}).

%% @doc Called by `mongoose_domain_core' when a domain does not route any more.
-spec remove_domain(host_type(), mongoose_domain_core:domain()) -> ok.
remove_domain(HostType, Domain) ->
    Made = mongoose_domain_nif:made_subdomains(HostType, Domain),
    gen_server:cast(?MODULE, {remove_domain, HostType, Made, mongoose_domain_notify:number()}).

%% @doc Does somebody have to be told of each name that begins? No module of MongooseIM's that does
%% its work by names that are stored has this function.
-spec wants_additions() -> boolean().
wants_additions() -> mongoose_domain_host:has_subhost_handlers().

%% @doc Returns when the casts before are handled.
-spec sync() -> ok.
sync() -> gen_server:call(?MODULE, sync, infinity).
-spec get_host_type(term()) -> {ok, host_type()} | {error, not_found}.
get_host_type(Name) -> mongoose_domain_nif:subdomain_host_type(Name).
-spec get_subdomain_info(term()) -> {ok, info()} | {error, not_found}.
get_subdomain_info(Name) -> mongoose_domain_nif:subdomain_info(Name).
-spec get_all_subdomains_for_domain(mongoose_domain_core:domain() | no_parent_domain) -> [info()].
get_all_subdomains_for_domain(Domain) -> mongoose_domain_nif:subdomains_of(Domain).

%% gen_server

-spec init([]) -> {ok, state()}.
init([]) ->
    %% So that a clean stop is told from a crash, in terminate/2.
    process_flag(trap_exit, true),
    _ = mongoose_domain_nif:start_subdomains(mongoose_domain_host:supervisor()),
    {ok, #{}}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()} | {noreply, state()}.
handle_call({register, HostType, Pattern, Handler}, From, Numbers) ->
    Result = mongoose_domain_nif:register_pattern(HostType, Pattern, Handler),
    {noreply, registered(Result, HostType, Pattern, From, Numbers)};
handle_call({unregister, HostType, Pattern}, From, Numbers) ->
    Ended = case mongoose_domain_nif:unregister_pattern(HostType, Pattern) of
                {ok, Handler} -> mongoose_domain_subhosts:made_by(HostType, Pattern, Handler);
                undefined -> []
            end,
    ok = mongoose_domain_subhosts:ended(Ended, fun() -> gen_server:reply(From, ok) end),
    {noreply, maps:remove({HostType, Pattern}, Numbers)};
handle_call(sync, _From, Numbers) ->
    {reply, ok, Numbers};
handle_call(Request, From, Numbers) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request, from => From}),
    {reply, ok, Numbers}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({add_domain, HostType, Domain, Number}, Numbers) ->
    Made = mongoose_domain_nif:made_subdomains(HostType, Domain),
    Later = mongoose_domain_subhosts:later(HostType, Number, Made, Numbers),
    lists:foreach(fun name_began/1, Later),
    check_domain_name(Domain),
    {noreply, Numbers};
handle_cast({remove_domain, HostType, Made, Number}, Numbers) ->
    Later = mongoose_domain_subhosts:later(HostType, Number, Made, Numbers),
    _ = [mongoose_domain_subhosts:name_ended(Info) || {Info, _, _} <- Later],
    {noreply, Numbers};
handle_cast(Message, Numbers) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, Numbers}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info(Message, Numbers) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, Numbers}.

-spec terminate(term(), state()) -> ok.
terminate(Reason, _Numbers) ->
    _ = mongoose_domain_host:is_clean_stop(Reason) andalso mongoose_domain_nif:stop_subdomains(),
    ok.

%% The names of a prefix are there at once, so it is answered before others are told of them.
registered(ok, HostType, {prefix, _} = Pattern, From, Numbers) ->
    Ok = fun() -> gen_server:reply(From, ok) end,
    {Domains, Number} = mongoose_domain_subhosts:domains(HostType, Pattern, wants_additions(), Ok),
    _ = [name_began(Made) || Domain <- Domains,
                             Made <- mongoose_domain_subhosts:made(HostType, Domain, Pattern)],
    Numbers#{{HostType, Pattern} => Number};
registered(Result, _HostType, {_, Name}, From, Numbers) ->
    case Result of
        ok -> name_began(mongoose_domain_subhosts:fqdn(Name));
        {error, subdomain_already_exists} -> report_collision(Name);
        {error, already_registered} -> ok
    end,
    gen_server:reply(From, Result),
    Numbers.

name_began({#{subdomain := Name} = Info, IsContested, IsDomain}) ->
    _ = IsContested andalso report_collision(Name),
    _ = IsDomain andalso check_subdomain_name(Name),
    mongoose_domain_subhosts:name_began(Info, IsContested).

report_collision(Name) -> ?ERROR(#{what => subdomains_collision, subdomain => Name}).
check_subdomain_name(Name) -> ?ERROR(#{what => check_subdomain_name_failed, subdomain => Name}).

check_domain_name(Domain) ->
    case mongoose_domain_nif:subdomain_info(Domain) of
        {ok, Info} ->
            ?ERROR(#{what => check_domain_name_failed, domain => Domain}),
            mongoose_domain_host:maybe_remove_subdomain(Info);
        {error, not_found} -> ok
    end.
