%% @doc Reports that are logged during a case.
-module(log_helper).

-export([capture_logs/0, release_logs/0, logged/1, log/2]).

%% @doc Keeps the reports that are logged from now on, until release_logs/0.
capture_logs() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set]),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all}).

release_logs() ->
    _ = logger:remove_handler(?MODULE),
    test_helper:attempt(fun() -> ets:delete(?MODULE) end).

%% @doc The reports with this `what', in their order.
logged(What) ->
    [Report#{level => Level}
     || {_, #{level := Level, msg := {report, Report = #{what := W}}}} <- ets:tab2list(?MODULE),
        W =:= What].

%% Called by logger.
log(Event, _Config) ->
    Number = erlang:unique_integer([monotonic]),
    test_helper:attempt(fun() -> ets:insert(?MODULE, {Number, Event}) end).
