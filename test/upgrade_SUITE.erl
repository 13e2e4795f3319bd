%% @doc Our modules are loaded again and purged on a live node: nothing is lost, and the node goes
%% on following the database.
-module(upgrade_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(STATIC, <<"static.example">>).
-define(T, <<"type1">>).
-define(ROUNDS, 50).

all() ->
    [loading_and_purging_softly_under_load_kills_nobody,
     whoever_a_hard_purge_kills_comes_back_and_nothing_is_lost,
     the_loaded_library_stays_until_the_node_restarts].

init_per_testcase(_Case, Config) ->
    Url = db_helper:fresh_url([{kind, sqlite} | Config]),
    [{node, node_helper:start_node(upgrade, node_helper:node_env(Url, #{}))} | Config].

end_per_testcase(_Case, Config) ->
    node_helper:stop_node(?config(node, Config)).

loading_and_purging_softly_under_load_kills_nobody(Config) ->
    on_node(Config, fun() ->
        pong = service_domain_db:sync_local(),
        Pids = pids(),
        load_and_purge_under_load(fun(Module) ->
            test_helper:wait_until(fun() -> code:soft_purge(Module) end)
        end),
        ?assertEqual(Pids, pids()),
        ?assertMatch(#{state := following, loads := 1, errors := Errors} when Errors =:= #{},
                     service_domain_db:status())
    end).

%% That is who is just in the middle of old code: the core, as who is told of changes holds it up,
%% and the service, which waits for the core.
whoever_a_hard_purge_kills_comes_back_and_nothing_is_lost(Config) ->
    on_node(Config, fun() ->
        pong = service_domain_db:sync_local(),
        Pids = pids(),
        ok = meck:new(mongoose_subdomain_core, [non_strict, no_link]),
        ok = meck:expect(mongoose_subdomain_core, add_domain, fun(_, _) -> hold_up_once() end),
        {ok, _} = mongoose_domain_api:insert_domain(<<"a.example">>, ?T),
        test_helper:wait_until(fun() -> persistent_term:get(?MODULE, free) =:= held_up end),
        [{module, Module} = code:load_file(Module) || Module <- drop_ins()],
        %% The service first: it would leave the old code when the core is gone.
        [code:purge(Module) || Module <- lists:reverse(lists:sort(drop_ins()))],
        test_helper:wait_until(fun() -> pids() -- Pids =:= pids() end),
        node_helper:loaded(),
        ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(<<"a.example">>)),
        ?assertEqual(ok, service_domain_db:verify()),
        ?assertMatch(#{state := following, loads := 1}, service_domain_db:status())
    end).

hold_up_once() ->
    case persistent_term:get(?MODULE, free) of
        free -> persistent_term:put(?MODULE, held_up), timer:sleep(infinity);
        held_up -> ok
    end.

%% A module with a library refuses to be loaded beside itself; the code that runs goes on.
the_loaded_library_stays_until_the_node_restarts(Config) ->
    on_node(Config, fun() ->
        pong = service_domain_db:sync_local(),
        {ok, _} = mongoose_domain_api:insert_domain(<<"a.example">>, ?T),
        pong = service_domain_db:sync_local(),
        [begin
             code:purge(mongoose_domain_nif),
             ?assertEqual({error, on_load_failure}, code:load_file(mongoose_domain_nif))
         end || _ <- lists:seq(1, 5)],
        ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(<<"a.example">>)),
        ?assertEqual(ok, service_domain_db:verify())
    end).

%% Helpers

on_node(Config, Fun) ->
    node_helper:call(?config(node, Config), erlang, apply, [Fun, []]).

%% All of the application but the one with the library.
drop_ins() ->
    {ok, Modules} = application:get_key(mongoose_domain_native, modules),
    ?assertEqual([], [mongoose_domain_core, service_domain_db] -- Modules),
    Modules -- [mongoose_domain_nif].

load_and_purge_under_load(Purge) ->
    Reader = spawn_monitor(fun() -> read(0) end),
    Reload = fun(Module) -> {module, Module} = code:load_file(Module), Purge(Module) end,
    [begin
         Domain = <<"d", (integer_to_binary(N))/binary, ".example">>,
         {ok, _} = mongoose_domain_api:insert_domain(Domain, ?T),
         %% While the service looks for it, and again when it is done.
         lists:foreach(Reload, drop_ins()),
         node_helper:loaded(),
         lists:foreach(Reload, drop_ins()),
         ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(Domain))
     end || N <- lists:seq(1, ?ROUNDS)],
    stop_reader(Reader),
    node_helper:loaded(),
    ?assertEqual(ok, service_domain_db:verify()),
    ?assertEqual(?ROUNDS + 1, mongoose_domain_core:domains_count()).

pids() ->
    [whereis(Name) || Name <- [mongoose_domain_core, service_domain_db]].

read(Count) ->
    {ok, ?T} = mongoose_domain_core:get_host_type(?STATIC),
    true = mongoose_domain_core:is_static(?STATIC),
    receive
        stop -> exit({stopped, Count + 1})
    after 0 ->
        read(Count + 1)
    end.

stop_reader({Pid, Monitor}) ->
    Pid ! stop,
    receive
        {'DOWN', Monitor, process, Pid, Reason} -> ?assertMatch({stopped, N} when N > 0, Reason)
    end.
