%% @doc Finishes removals of domains that the database marks for deletion ({@link
%% mongoose_domain_removal}), some at a time.
%%
%% The marks in the database are the queue, so that nothing is lost by a crash: what is left is
%% found when the node starts, and again some time after a failure. A domain whose host type is not
%% configured here is left alone.
%%
%% Each removal runs in a process of its own. One that is slow, because its handler hangs, holds up
%% no other: it keeps its place only for a moment.
-module(mongoose_domain_remover).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, wake/0, request/2, retry_later/0]).
-export([exit_with_end/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-ignore_xref([start_link/0, exit_with_end/2]).

%% So many removals run at a time, without those that have run for longer than PATIENCE
%% (milliseconds); and so many with them.
-define(AT_ONCE, 10).
-define(PATIENCE, 1000).
-define(MOST, 1000).
%% Milliseconds after a failure, and the longest pause that it grows to while handlers fail.
-define(RETRY, 30000).
-define(LONGEST_RETRY, 600000).
%% Rows that are read, and requests that are kept, at a time.
-define(PAGE, 1000).

-type domain() :: mongoose_domain_core:domain().
-type host_type() :: mongoose_domain_core:host_type().
-type removal() :: {host_type(), domain()}.

-type state() :: #{%% Wanted, the last one first; and those that route no more.
                   requested := [removal()],
                   ready := [removal()],
                   %% The marks behind this id are to be read.
                   read_after := integer() | nothing,
                   %% Those that run. Is it to be done again, because it was requested meanwhile?
                   running := #{domain() => IsToBeDoneAgain :: boolean()},
                   workers := #{pid() => {removal(), quick | slow}},
                   quick := non_neg_integer(),
                   %% Until the marks are read again after a failure. When the database failed, or
                   %% this node could not follow it, nothing is begun until then.
                   timer := reference() | none,
                   is_held := boolean(),
                   pause := pos_integer()}.

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Asks for a look at all that is marked for deletion.
-spec wake() -> ok.
wake() ->
    gen_server:cast(?MODULE, wake).

%% @doc Asks for the removal of a domain that is marked for deletion.
-spec request(host_type(), domain()) -> ok.
request(HostType, Domain) ->
    gen_server:cast(?MODULE, {request, {HostType, Domain}}).

%% @doc A handler failed elsewhere: it is to be tried again later.
-spec retry_later() -> ok.
retry_later() ->
    gen_server:cast(?MODULE, retry_later).

%% @private
-spec exit_with_end(host_type(), domain()) -> no_return().
exit_with_end(HostType, Domain) ->
    exit({ended, mongoose_domain_removal:finish(HostType, Domain)}).

%% gen_server

%% @private
-spec init([]) -> {ok, state()}.
init([]) ->
    %% The removals end with this process, and it hears how they end.
    process_flag(trap_exit, true),
    %% After a crash of this process there may be something left to do.
    ok = wake(),
    {ok, #{requested => [], ready => [], read_after => nothing, running => #{}, workers => #{},
           quick => 0, timer => none, is_held => false, pause => ?RETRY}}.

%% @private
-spec handle_call(term(), gen_server:from(), state()) -> {reply, ok, state()}.
handle_call(Request, _From, State) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request}),
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast(wake, State) ->
    {noreply, go_on(State#{read_after := 0, is_held := false})};
handle_cast({request, Removal}, State) ->
    {noreply, go_on(requested(Removal, State))};
handle_cast(retry_later, State) ->
    {noreply, handler_failed(State)};
handle_cast(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info(retry, State) ->
    {noreply, go_on(State#{read_after := 0, is_held := false, timer := none})};
handle_info({is_slow, Pid}, State) ->
    {noreply, go_on(give_up_place(Pid, State))};
handle_info({'EXIT', Pid, Reason}, State = #{workers := Workers}) when is_map_key(Pid, Workers) ->
    {noreply, go_on(ended(Pid, Reason, State))};
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

%% Internal

%% Begins what may run now.
go_on(State = #{quick := Quick}) when Quick >= ?AT_ONCE ->
    State;
go_on(State = #{ready := [Removal | Ready]}) ->
    go_on(start(Removal, State#{ready := Ready}));
go_on(State = #{requested := [_ | _] = Requested}) ->
    go_on(make_ready(lists:reverse(Requested), State#{requested := []}));
go_on(State = #{read_after := Id}) when is_integer(Id) ->
    go_on(read(Id, State));
go_on(State = #{workers := Workers, timer := none}) when map_size(Workers) =:= 0 ->
    State#{pause := ?RETRY};
go_on(State) ->
    State.

requested(_Removal, State = #{is_held := true}) ->
    State;
requested({_, Domain}, State = #{running := Running}) when is_map_key(Domain, Running) ->
    State#{running := Running#{Domain := true}};
requested(_Removal, State = #{requested := Requested}) when length(Requested) >= ?PAGE ->
    %% They are not kept twice.
    State#{read_after := 0};
requested(Removal, State = #{requested := Requested}) ->
    State#{requested := [Removal | Requested]}.

read(Id, State = #{running := Running}) ->
    case mongoose_domain_sql:request({select_page, deleting, Id, ?PAGE}) of
        {ok, []} ->
            State#{read_after := nothing};
        {ok, Rows} ->
            {LastId, _, _, _} = lists:last(Rows),
            Removals = [{HostType, Domain}
                        || {_, Domain, HostType, _} <- Rows, not is_map_key(Domain, Running),
                           mongoose_domain_core:is_host_type_allowed(HostType)],
            make_ready(Removals, State#{read_after := LastId});
        {error, service_disabled} ->
            State#{read_after := nothing};
        {error, Failure} ->
            hold(Failure, State)
    end.

%% Once for all of them: the nodes are asked for it.
make_ready([], State) ->
    State;
make_ready(Removals, State) ->
    %% The mark may be of a node that is not connected to this one.
    ok = service_domain_db:force_check_for_updates(),
    case mongoose_domain_removal:await_no_routing() of
        ok ->
            State#{ready := Removals};
        {error, Failure} ->
            hold(Failure, State)
    end.

%% The marks stay, and are read then.
hold(Failure, State) ->
    ?LOG_WARNING(#{what => domain_removal_failed, reason => Failure}),
    read_in(?RETRY, State#{requested := [], read_after := nothing, is_held := true}).

start({_, Domain}, State = #{running := Running}) when is_map_key(Domain, Running) ->
    State;
start({HostType, Domain} = Removal, State) ->
    #{running := Running, workers := Workers, quick := Quick} = State,
    Pid = spawn_link(?MODULE, exit_with_end, [HostType, Domain]),
    _ = erlang:send_after(?PATIENCE, self(), {is_slow, Pid}),
    State#{running := Running#{Domain => false}, workers := Workers#{Pid => {Removal, quick}},
           quick := Quick + 1}.

give_up_place(Pid, State = #{workers := Workers, quick := Quick}) ->
    case Workers of
        #{Pid := {Removal, quick}} when map_size(Workers) < ?MOST ->
            State#{workers := Workers#{Pid := {Removal, slow}}, quick := Quick - 1};
        _ ->
            State
    end.

ended(Pid, Reason, State0 = #{running := Running0, workers := Workers0, quick := Quick0}) ->
    {{{_, Domain} = Removal, Speed}, Workers} = maps:take(Pid, Workers0),
    {IsToBeDoneAgain, Running} = maps:take(Domain, Running0),
    Quick = case Speed of quick -> Quick0 - 1; slow -> Quick0 end,
    State = State0#{running := Running, workers := Workers, quick := Quick},
    case Reason of
        {ended, ok} when IsToBeDoneAgain ->
            requested(Removal, State);
        {ended, ok} ->
            State;
        {ended, {error, {database, _} = Failure}} ->
            log(Removal, Failure),
            read_in(?RETRY, State);
        {ended, {error, Failure}} ->
            log(Removal, Failure),
            handler_failed(State);
        Crash ->
            log(Removal, Crash),
            handler_failed(State)
    end.

log({HostType, Domain}, Reason) ->
    ?LOG_ERROR(#{what => domain_removal_failed, host_type => HostType, domain => Domain,
                 reason => Reason}).

%% Each time that the marks are read again because of handlers the pause is longer.
handler_failed(State = #{timer := none, pause := Pause}) ->
    read_in(Pause, State#{pause := min(2 * Pause, ?LONGEST_RETRY)});
handler_failed(State) ->
    State.

%% Reads the marks again in so many milliseconds, or sooner.
read_in(Pause, State = #{timer := Timer}) ->
    case Timer =/= none andalso erlang:read_timer(Timer) of
        Left when is_integer(Left), Left =< Pause ->
            State;
        _ ->
            _ = Timer =/= none andalso erlang:cancel_timer(Timer),
            State#{timer := erlang:send_after(Pause, self(), retry)}
    end.
