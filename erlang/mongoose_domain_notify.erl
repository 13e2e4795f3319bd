%% @doc Notifies others of changes of the table, from inside the process that writes it.
%%
%% Every transition is notified exactly once, in order, after the table shows it. The table comes
%% first: a few transitions are notified at once, but when many are pending (a load), the process
%% goes on with changes, and notifies step by step when none comes for a moment, when somebody waits
%% for it, and now and then. It waits while those who are notified have many messages to handle.
%% Additions of which nobody has to be notified are left out (`mongoose_domain_host:additions/0').
%%
%% Pending transitions are kept beside the table, and so is the count of those that are done (an
%% `atomics'), so that the successor of a process that is killed goes on where it was.
-module(mongoose_domain_notify).

-export([new/0, changed/2, step/1, timeout/1, reply_at/4, number/0, split/2]).

-export_type([state/0]).

-record(state, {done :: atomics:atomics_ref(),
                %% Transitions that are pending.
                left = 0 :: non_neg_integer(),
                %% Milliseconds from now until the next step.
                pause = 0 :: non_neg_integer(),
                %% When the last step was, in milliseconds.
                last :: integer(),
                waiting = [] :: [{AtMost :: non_neg_integer(), gen_server:from(), term()}]}).

-opaque state() :: #state{}.

%% Transitions that are notified at once, and those of a step.
-define(FEW, 200).
-define(STEP, 500).
%% Of those that begin with a fresh time slice: by functions, each of which may take a while.
-define(SLICE, 10).
%% Milliseconds without a change after which the next step comes; those after which it judges again
%% at those who had many messages; and those after which it comes whatever happens.
-define(QUIET, 5).
-define(LOOK, 1).
-define(PACE, 500).

%% @doc For the table of now.
-spec new() -> state().
new() ->
    #state{done = mongoose_domain_nif:keep(atomics:new(1, [{signed, false}])), last = now_ms()}.

%% @doc The table may have changed. Are there more changes to come at once?
-spec changed(boolean(), state()) -> state().
changed(IsMore, State) ->
    case next(?FEW, State) of
        nobody -> left(0, State);
        {Whom, First, Transitions, Rest} ->
            case not IsMore andalso Rest =:= 0 orelse is_overdue(State) of
                true -> notify(Whom, First, Transitions, Rest, State);
                false -> left(length(Transitions) + Rest, State#state{pause = ?QUIET})
            end
    end.

%% @doc Notifies of some pending transitions, unless those who are notified are busy.
-spec step(state()) -> state().
step(State) ->
    case mongoose_domain_host:keep_up() orelse is_overdue(State) of
        true ->
            case next(?STEP, State) of
                nobody -> left(0, State);
                {Whom, First, Transitions, Rest} -> notify(Whom, First, Transitions, Rest, State)
            end;
        false ->
            State#state{pause = ?LOOK}
    end.

%% @doc After how many milliseconds without messages step/1 is to be called.
-spec timeout(state()) -> timeout().
timeout(#state{left = 0}) -> infinity;
timeout(#state{waiting = [_ | _], pause = ?QUIET}) -> 0;
timeout(#state{pause = Pause}) -> Pause.

%% @doc Replies when at most so many transitions are pending.
-spec reply_at(AtMost :: non_neg_integer(), gen_server:from(), Reply :: term(), state()) -> state().
reply_at(AtMost, From, Reply, State = #state{left = Left, waiting = Waiting}) ->
    left(Left, State#state{waiting = [{AtMost, From, Reply} | Waiting]}).

%% @doc The number of the transition that others are notified of just now, as
%% `mongoose_domain_nif:transitions/0' counts.
-spec number() -> non_neg_integer().
number() ->
    try mongoose_domain_nif:kept_term() of
        Done -> (mongoose_domain_nif:removals() bsr 40 bsl 40) + atomics:get(Done, 1) + 1
    catch
        %% There is no routing table.
        error:badarg -> 0
    end.

%% @doc The first ones, at most so many, and the others. Takes no longer for a list of millions.
-spec split(non_neg_integer(), [T]) -> {[T], [T]}.
split(Count, List) ->
    try lists:split(Count, List)
    catch error:badarg -> {List, []}
    end.

%% Internal

%% Whom to notify of what, and how many transitions come after that.
next(Limit, #state{done = Done}) ->
    case mongoose_domain_host:whom_to_notify() of
        nobody ->
            {First, [], 0} = mongoose_domain_nif:pending(all, 0, all),
            ok = atomics:put(Done, 1, First),
            nobody;
        Whom ->
            Additions = mongoose_domain_host:additions(),
            {First, Transitions, Rest} =
                mongoose_domain_nif:pending(atomics:get(Done, 1), Limit, Additions),
            {Whom, First, Transitions, Rest}
    end.

notify(Whom, First, Transitions, Rest, State = #state{done = Done}) ->
    ok = atomics:put(Done, 1, First),
    ok = notify(Whom, Transitions, Done),
    left(Rest, State#state{pause = 0, last = now_ms()}).

%% A process is killed when it is scheduled. With a fresh time slice that is not between notifying
%% and counting it as done: others are notified exactly once.
notify(_Whom, [], _Done) ->
    ok;
notify(functions, Transitions, Done) ->
    {Slice, Others} = split(?SLICE, Transitions),
    true = erlang:yield(),
    lists:foreach(fun(Transition) ->
                      ok = mongoose_domain_host:notify_functions(Transition),
                      ok = mongoose_domain_host:notify_listeners([Transition]),
                      atomics:add(Done, 1, 1)
                  end, Slice),
    notify(functions, Others, Done);
notify(listeners, Transitions, Done) ->
    true = erlang:yield(),
    ok = mongoose_domain_host:notify_of_collisions(Transitions),
    ok = mongoose_domain_host:notify_listeners(Transitions),
    atomics:add(Done, 1, length(Transitions)).

left(Left, State = #state{waiting = Waiting}) ->
    {Served, Others} = lists:partition(fun({AtMost, _, _}) -> Left =< AtMost end, Waiting),
    lists:foreach(fun({_, From, Reply}) -> gen_server:reply(From, Reply) end, Served),
    State#state{left = Left, waiting = Others}.

is_overdue(#state{last = Last}) ->
    now_ms() - Last >= ?PACE.

now_ms() ->
    erlang:monotonic_time(millisecond).
