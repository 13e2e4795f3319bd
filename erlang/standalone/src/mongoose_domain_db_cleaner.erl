%% @doc Deletes old events from the event log.
%%
%% Every `event_cleaning_interval' seconds it notes the newest event id, and `event_max_age' seconds
%% later it deletes the events with smaller ids: so none is deleted that is younger than that, and
%% never the noted one itself. It runs on every node; what one has deleted, the others find gone.
%%
%% Stands in for MongooseIM's module of this name.
-module(mongoose_domain_db_cleaner).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start/1, stop/0, start_link/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-ignore_xref([start_link/1]).

%% So many at a time, so that no statement takes long.
-define(CHUNK, 10000).

-type opts() :: #{event_cleaning_interval := pos_integer(), event_max_age := pos_integer(), _ => _}.

-record(state, {interval :: pos_integer(), max_age :: pos_integer()}).

%% @doc Starts it under `ejabberd_sup'.
-spec start(opts()) -> ok.
start(Opts) ->
    _ = stop(),
    ChildSpec = #{id => ?MODULE, start => {?MODULE, start_link, [Opts]}},
    {ok, _Pid} = supervisor:start_child(ejabberd_sup, ChildSpec),
    ok.

-spec stop() -> ok.
stop() ->
    _ = supervisor:terminate_child(ejabberd_sup, ?MODULE),
    _ = supervisor:delete_child(ejabberd_sup, ?MODULE),
    ok.

%% @private
-spec start_link(opts()) -> {ok, pid()} | {error, term()}.
start_link(Opts) ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, Opts, []).

%% @private
-spec init(opts()) -> {ok, #state{}}.
init(#{event_cleaning_interval := Interval, event_max_age := MaxAge}) ->
    State = #state{interval = Interval, max_age = MaxAge},
    next_note(State),
    {ok, State}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, ok, #state{}}.
handle_call(Request, _From, State) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request}),
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info(note_newest, State = #state{max_age = MaxAge}) ->
    case mongoose_domain_sql:request(newest_event) of
        {ok, Id} when is_integer(Id) ->
            _ = erlang:send_after(timer:seconds(MaxAge), self(), {delete_below, Id});
        {ok, _EmptyLog} ->
            ok;
        {error, Reason} ->
            log_failure(Reason)
    end,
    next_note(State),
    {noreply, State};
handle_info({delete_below, Id}, State) ->
    delete_below(Id),
    {noreply, State};
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

next_note(#state{interval = Interval}) ->
    _ = erlang:send_after(timer:seconds(Interval), self(), note_newest),
    ok.

%% What a failure leaves is deleted with what the next note finds.
delete_below(Id) ->
    case mongoose_domain_sql:request({delete_events_below, Id, ?CHUNK}) of
        {ok, ?CHUNK} -> delete_below(Id);
        {ok, _Rest} -> ok;
        {error, Reason} -> log_failure(Reason)
    end.

log_failure(Reason) ->
    ?LOG_WARNING(#{what => domain_event_cleaning_failed, reason => Reason}).
