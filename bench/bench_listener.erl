%% @doc Who is notified of added and removed domains in the benchmarks, and only counts.
%%
%% On our side `notified/3' is a listener of the standalone application, which calls it in a
%% process of its own. The reference's process sends casts to this one, which calls the same
%% function.
-module(bench_listener).

-behaviour(gen_server).

-export([reset/0, count/0, notified/3, start_link/0, mailbox_of/1, longest/1]).
-export([init/1, handle_call/3, handle_cast/2]).

%% Milliseconds between two looks at a mailbox.
-define(LOOK, 5).

%% @doc Begins to count; once before the first domain.
-spec reset() -> ok.
reset() ->
    persistent_term:put(?MODULE, counters:new(1, [])).

-spec count() -> non_neg_integer().
count() ->
    counters:get(persistent_term:get(?MODULE), 1).

-spec notified(added | removed, HostType :: binary(), Domain :: binary()) -> ok.
notified(_What, _HostType, _Domain) ->
    counters:add(persistent_term:get(?MODULE), 1, 1).

%% @doc The process that the reference tells.
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Watches how long the mailbox of the process of this name gets.
-spec mailbox_of(atom()) -> pid().
mailbox_of(Name) ->
    spawn_link(fun() -> watch(Name, 0) end).

%% @doc The longest that it was; ends the watch.
-spec longest(pid()) -> non_neg_integer().
longest(Watch) ->
    Watch ! {longest, self()},
    receive {Watch, Longest} -> Longest end.

%% gen_server

%% @private
-spec init([]) -> {ok, no_state}.
init([]) ->
    {ok, no_state}.

%% @private
-spec handle_call(term(), gen_server:from(), no_state) -> {reply, ok, no_state}.
handle_call(_Request, _From, State) ->
    {reply, ok, State}.

%% @private
-spec handle_cast({added | removed, binary(), binary()}, no_state) -> {noreply, no_state}.
handle_cast({What, HostType, Domain}, State) ->
    ok = notified(What, HostType, Domain),
    {noreply, State}.

%% Internal

watch(Name, Longest) ->
    Now = mailbox(whereis(Name)),
    receive
        {longest, From} -> From ! {self(), max(Now, Longest)}
    after ?LOOK ->
        watch(Name, max(Now, Longest))
    end.

mailbox(undefined) ->
    0;
mailbox(Pid) ->
    case process_info(Pid, message_queue_len) of
        {message_queue_len, Length} -> Length;
        undefined -> 0
    end.
