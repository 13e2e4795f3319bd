%% @doc The stock module, in whose place ours is put. Its process follows nothing, but is asked for
%% checks and answers pings as MongooseIM's does.
-module(service_domain_db).

-behaviour(gen_server).

-export([start/1, config_spec/0, start_link/0, enabled/0, force_check_for_updates/0]).
-export([sync_local/0, ping/1]).
-export([is_stock/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

start(_Opts) ->
    Child = #{id => ?MODULE, start => {?MODULE, start_link, []}},
    {ok, _} = supervisor:start_child(ejabberd_sup, Child),
    ok.

config_spec() ->
    Defaults = #{<<"db_pool">> => global, <<"event_cleaning_interval">> => 1800,
                 <<"event_max_age">> => 7200},
    {section, #{}, any, [], any, map, [], Defaults, default, when_present}.

start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

enabled() ->
    mongoose_service:is_loaded(?MODULE).

force_check_for_updates() ->
    lists:foreach(fun(Pid) -> Pid ! check_for_updates end, members()).

sync_local() ->
    Nodes = lists:usort([node(Pid) || Pid <- members()]),
    _ = erpc:multicall(Nodes, ?MODULE, ping, [whereis(?MODULE)]),
    pong.

ping(Pid) ->
    gen_server:call(Pid, ping, 15000).

is_stock() ->
    true.

members() ->
    pg:get_members(mim_scope, service_domain_db_group).

init([]) ->
    ok = pg:join(mim_scope, service_domain_db_group, self()),
    {ok, no_state}.

handle_call(ping, _From, State) ->
    {reply, pong, State}.

handle_cast(_Message, State) ->
    {noreply, State}.

handle_info(check_for_updates, State) ->
    ok = mongooseim_app:called(?MODULE, check_for_updates, []),
    {noreply, State}.
