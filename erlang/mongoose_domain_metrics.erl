%% @doc The service's state among MongooseIM's own metrics.
%%
%% MongooseIM's registry, `mongoose_instrument', asks this module at the operator's interval and
%% gives the answers to Prometheus, Exometer or the log; in Prometheus as
%% `service_domain_db_domains' and so on. Where there is no registry, nothing is done.
-module(mongoose_domain_metrics).

-include_lib("kernel/include/logger.hrl").

-export([start/0, stop/0, probe/2, probe/3]).

-ignore_xref([probe/2, probe/3]).

-define(EVENT, service_domain_db).
-define(METRICS, [domains, followed, position, lag, seconds_since_check, checks, loads, reloads,
                  audits, gaps_settled, dummies_written, errors]).

%% @doc Registers the metrics.
-spec start() -> ok.
start() ->
    %% To register what is registered, as after a crash, is an error.
    ok = stop(),
    try mongoose_domain_host:set_up_metrics(registration())
    catch
        Class:Reason:Stacktrace ->
            %% Nothing to keep a node from routing.
            ?LOG_ERROR(#{what => domain_metrics_failed, class => Class, reason => Reason,
                         stacktrace => Stacktrace})
    end.

%% @doc Takes them back.
-spec stop() -> ok.
stop() ->
    try mongoose_domain_host:tear_down_metrics(registration())
    catch
        %% They were not there.
        _:_ -> ok
    end.

%% @doc The values at this moment, as MongooseIM 6.3 - 6.7 asks for them. What is not known is
%% left out.
-spec probe(EventName :: atom(), Labels :: #{}) -> #{atom() => integer()}.
probe(?EVENT, _Labels) ->
    try mongoose_domain_status:status() of
        Status -> maps:filtermap(fun value/2, maps:with(?METRICS, Status))
    catch
        %% There is no routing table.
        error:badarg -> #{}
    end.

%% @doc The same for MongooseIM 6.8.
-spec probe(EventName :: atom(), Labels :: #{}, Extra :: map()) -> #{atom() => integer()}.
probe(EventName, Labels, _Extra) ->
    probe(EventName, Labels).

registration() ->
    [{?EVENT, #{}, #{metrics => maps:from_list([{Name, gauge} || Name <- ?METRICS]),
                  probe => #{module => ?MODULE}}}].

value(_Name, undefined) -> false;
value(_Name, ByReason) when is_map(ByReason) -> {true, lists:sum(maps:values(ByReason))};
value(_Name, Value) -> {true, round(Value)}.
