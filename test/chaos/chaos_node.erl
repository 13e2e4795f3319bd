%% @doc What runs on each node of `make chaos': writers, a reader, and the record of the hooks.
-module(chaos_node).

-export([start/2, stop_writers/0, counts/0, add_counts/2, contents/0, hook/3]).
-export([start_http/0, stop_http/0, http_answers/1]).

%% Who owns the tables, reads and writes.
-export([own_tables/1]).

-define(COUNTS, chaos_counts).
-define(TOLD, chaos_told).
-define(VIOLATIONS, chaos_violations).
-define(WRITERS, 2).
-define(CLIENTS, 3).
%% The domains that the writers of all nodes fight for.
-define(BUSY, 60).

%% @doc Starts the standalone application, waits for its first load, then starts to write and read.
start(Url, Stable) ->
    ok = logger:set_primary_config(level, none),
    Self = self(),
    _ = spawn(?MODULE, own_tables, [Self]),
    receive tables_are_there -> ok end,
    Service = #{event_cleaning_interval => 1800, event_max_age => 7200, audit_interval => 10},
    {ok, _} = node_helper:start_standalone(#{database => Url, service => Service}),
    pong = node_helper:loaded(),
    _ = spawn(fun() -> read(Stable) end),
    _ = [spawn(fun writer/0) || _ <- lists:seq(1, ?WRITERS)],
    ok.

%% @doc Tells the writers to stop, and waits until they have.
stop_writers() ->
    true = ets:insert(?COUNTS, {stop, true}),
    test_helper:wait_until(fun() -> ets:lookup_element(?COUNTS, stopped, 2) =:= ?WRITERS end,
                           120000).

%% @doc What was counted here so far.
counts() ->
    #{changes => count(changes), failed => count(failed), checked => count(checked),
      violations => [Violation || {_, Violation} <- ets:tab2list(?VIOLATIONS)]}.

add_counts(Counts, Others) ->
    maps:merge_with(fun(violations, A, B) -> A ++ B;
                       (_Key, A, B) -> A + B
                    end, Counts, Others).

%% @doc The table, what the hooks say is in it, and what was wrong with the hooks.
contents() ->
    Static = mongoose_domain_core:get_all_static(),
    Told = [{Domain, HostType} || {Domain, {routes, HostType}} <- ets:tab2list(?TOLD)],
    #{dynamic => lists:sort(mongoose_domain_core:get_all_dynamic()),
      told => lists:sort(Told),
      hooks => [Wrong || {Wrong} <- ets:tab2list(chaos_wrong_hooks)],
      static => mongoose_domain_core:get_host_type(element(1, hd(Static)))}.

%% @doc Records a hook. It is called by the process of the core.
hook(What, HostType, Domain) ->
    Before = case ets:lookup(?TOLD, Domain) of
                 [{_, State}] -> State;
                 [] -> absent
             end,
    After = case {What, Before} of
                {add, absent} -> {routes, HostType};
                {maybe_remove, {routes, HostType}} -> {leaves, HostType};
                {remove, {leaves, HostType}} -> absent;
                _ -> wrong
            end,
    case After of
        wrong -> ets:insert(chaos_wrong_hooks, {{What, HostType, Domain, Before}});
        _ -> ets:insert(?TOLD, {Domain, After})
    end,
    ok.

%% @doc Starts the HTTP server, and three processes that ask it.
start_http() ->
    {ok, _} = application:ensure_all_started(inets),
    ok = mongoose_domain_http:start(#{port => 0}, #{db_pool => global}),
    true = ets:insert(?COUNTS, [{http_stop, false}, {http_stopped, 0}, {answered, 0}]),
    _ = [spawn(fun client/0) || _ <- lists:seq(1, ?CLIENTS)],
    test_helper:wait_until(fun() -> ets:lookup_element(?COUNTS, answered, 2) > 0 end, 60000).

%% @doc Stops both.
stop_http() ->
    true = ets:insert(?COUNTS, {http_stop, true}),
    test_helper:wait_until(fun() ->
        ets:lookup_element(?COUNTS, http_stopped, 2) =:= ?CLIENTS
    end, 120000),
    mongoose_domain_http:stop().

%% @doc Does a program answer, and another one than this?
http_answers(Pid) ->
    try http_helper:programs() -- [Pid] =/= [] andalso http_helper:get("/healthz") of
        {200, _} -> true;
        Other -> Other
    catch
        _:NotYet -> NotYet
    end.

%% Tables

own_tables(Starter) ->
    Tables = [{?COUNTS, set}, {?TOLD, set}, {?VIOLATIONS, set}, {chaos_wrong_hooks, set}],
    _ = [ets:new(Table, [named_table, public, Type]) || {Table, Type} <- Tables],
    true = ets:insert(?COUNTS, [{changes, 0}, {failed, 0}, {checked, 0}, {stopped, 0}]),
    Starter ! tables_are_there,
    timer:sleep(infinity).

count(What) ->
    ets:lookup_element(?COUNTS, What, 2).

count(What, Number) ->
    ets:update_counter(?COUNTS, What, Number).

%% The reader

read(Stable) ->
    Step = 1 + rand:uniform(97),
    read(Stable, Step, rand:uniform(Stable)).

%% Pauses, to leave the two cores to the others.
read(Stable, Step, N) ->
    Numbers = [1 + (N + I * Step) rem Stable || I <- lists:seq(1, 200)],
    lists:foreach(fun check/1, Numbers),
    _ = count(checked, length(Numbers)),
    timer:sleep(4),
    read(Stable, Step, lists:last(Numbers)).

check(N) ->
    Domain = <<"stable", (integer_to_binary(N))/binary, ".example">>,
    Expected = {ok, <<"type1">>},
    try mongoose_domain_core:get_host_type(Domain) of
        Expected -> ok;
        Other -> violation({Domain, Other})
    catch
        Class:Reason -> violation({Domain, Class, Reason})
    end.

violation(What) ->
    true = ets:insert(?VIOLATIONS, {erlang:unique_integer(),
                                    {node(), calendar:local_time(), What}}),
    ok.

%% Clients of the HTTP server

client() ->
    case ets:lookup_element(?COUNTS, http_stop, 2) of
        true ->
            count(http_stopped, 1);
        false ->
            ask(rand:uniform(4)),
            client()
    end.

%% A domain that is there must be there by HTTP, too, if there is an answer at all.
ask(What) ->
    Busy = "/api/domains/busy" ++ integer_to_list(rand:uniform(?BUSY)) ++ ".example",
    try ask(What, Busy) of
        {404, _} when What =:= 1 -> violation(not_found_by_http);
        _Answer -> count(answered, 1)
    catch
        _:_NoAnswer -> timer:sleep(10)
    end.

ask(1, _Busy) -> http_helper:get("/api/domains/stable1.example");
ask(2, Busy) -> http_helper:put(Busy, "{\"host_type\": \"type1\"}");
ask(3, Busy) -> http_helper:patch(Busy, "{\"enabled\": false}");
ask(4, Busy) -> http_helper:delete(Busy, "{\"host_type\": \"type1\"}").

%% Writers

writer() ->
    case ets:member(?COUNTS, stop) of
        true ->
            count(stopped, 1);
        false ->
            Domain = <<"busy", (integer_to_binary(rand:uniform(?BUSY)))/binary, ".example">>,
            HostType = case rand:uniform(5) of 1 -> <<"type2">>; _ -> <<"type1">> end,
            case write(rand:uniform(7), Domain, HostType) of
                {ok, _} ->
                    _ = count(changes, 1);
                {Reason, _} when Reason =:= db_error; Reason =:= removal_failed ->
                    _ = count(failed, 1),
                    timer:sleep(50);
                {_Refused, _} ->
                    _ = count(failed, 1)
            end,
            writer()
    end.

%% A core or a service that is just being killed cannot answer.
write(What, Domain, HostType) ->
    try do_write(What, Domain, HostType)
    catch exit:Reason -> {exit, Reason}
    end.

do_write(1, Domain, HostType) -> mongoose_domain_api:delete_domain(Domain, HostType);
do_write(2, Domain, HostType) -> mongoose_domain_api:request_delete_domain(Domain, HostType);
do_write(3, Domain, _) -> mongoose_domain_api:disable_domain(Domain);
do_write(4, Domain, _) -> mongoose_domain_api:enable_domain(Domain);
do_write(_, Domain, HostType) -> mongoose_domain_api:insert_domain(Domain, HostType).
