%% @doc The registry of metrics. It asks for values by probe/2, as MongooseIM 6.3 - 6.7, or by
%% probe/3, as 6.8: the option `probe_arity' of the environment says by which.
-module(mongoose_instrument).

-export([set_up/1, tear_down/1, values/0]).

set_up(Specs) ->
    lists:foreach(fun({Event, Labels, #{metrics := Metrics, probe := #{module := Module}}}) ->
                      [gauge] = lists:usort(maps:values(Metrics)),
                      ets:insert_new(table(), {{Event, Labels}, maps:keys(Metrics), Module})
                          orelse error(#{what => event_already_registered, event_name => Event})
                  end, Specs).

tear_down(Specs) ->
    lists:foreach(fun({Event, Labels, _}) ->
                      [_] = ets:take(table(), {Event, Labels})
                  end, Specs).

%% @doc The value of each metric of each event, as Prometheus would show it.
values() ->
    maps:from_list([{lists:concat([Event, "_", Name]), Value}
                    || {{Event, Labels}, Names, Module} <- ets:tab2list(table()),
                       {Name, Value} <- maps:to_list(probe(Module, Event, Labels)),
                       lists:member(Name, Names), is_integer(Value)]).

probe(Module, Event, Labels) ->
    case application:get_env(mongooseim, probe_arity, 3) of
        2 -> Module:probe(Event, Labels);
        3 -> Module:probe(Event, Labels, #{})
    end.

table() ->
    mongooseim_metrics.
