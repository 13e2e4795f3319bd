%% @doc The HTTP server of a node, for operators: REST, GraphQL, metrics and a page.
%%
%% It is a program of its own, in Rust: what reads bytes of strangers must not be able to end the
%% VM. This process starts it, and again when it ends, for whatever reason; a process for each of
%% its questions answers ({@link mongoose_domain_http_node}). A change that was begun goes on when
%% the program ends.
%%
%% Options that are wrong are refused at the start. A port that is taken, or a database that cannot
%% be opened, is not a reason to keep a node from routing: then it is tried again.
%%
%% The options are kept in a persistent term: those in a child specification or in the state of a
%% process are logged when it crashes, and the password with them.
-module(mongoose_domain_http).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([check/1, start/2, stop/0, address/0]).
-export([start_link/0]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export([format_status/1]).

-ignore_xref([start_link/0, address/0]).

-export_type([opts/0]).

%% What is said over the port.
-define(VERSION, 1).
%% Milliseconds until the next try to listen.
-define(RETRY, 5000).
%% Milliseconds until a program that ended is started again: at first; then twice as long each time
%% that it lives less than ten times as long; at most.
-define(FIRST_PAUSE, 100).
-define(LONGEST_PAUSE, 10000).
%% Milliseconds between two pings. A program that has not answered for so many of them hangs, and so
%% does one whose threads do nothing for so many milliseconds, or that does not listen so soon.
-define(PING, 200).
-define(PINGS, 5).
-define(LONGEST_START, 10000).
%% Milliseconds that the start of the service waits for it.
-define(FIRST_TRY, 5000).
-define(LONGEST_TURN, 10000).
%% Milliseconds that the program gets to stop: it lets requests in progress go on for 2 s.
-define(STOP, 3500).
%% The most questions at a time. The program asks fewer.
-define(QUESTIONS, 2000).
%% The connections to the database for what is read and imported.
-define(CONNECTIONS, 4).

-type opts() :: mongoose_domain_http_options:opts().

-record(state, {program :: mongoose_domain_http_port:program() | undefined,
                %% When it was started.
                started = 0 :: integer(),
                %% `failed': it has said why. `stopping': it was told to.
                phase = starting :: starting | listening | failed | stopping,
                address :: {IpAddress :: binary(), inet:port_number()} | undefined,
                buffer = <<>> :: mongoose_domain_http_port:buffer(),
                %% Pings since it was last heard of.
                pings = 0 :: non_neg_integer(),
                pause = ?FIRST_PAUSE :: pos_integer(),
                %% Why it does not listen, so that it is not said again and again.
                failure :: mongoose_domain_http_options:failure() | undefined,
                %% Who wants to know the address as soon as it is known.
                waiting = [] :: [gen_server:from()],
                %% Those who answer questions.
                workers = #{} :: #{reference() => {port(), Number :: non_neg_integer()}}}).

%% @doc Are the options right, as far as one can know without listening?
-spec check(term()) -> ok | {error, mongoose_domain_http_options:failure()}.
check(Opts) ->
    case mongoose_domain_http_options:read(Opts) of
        {ok, Options} -> check_by_program(Options);
        {error, Failure} -> {error, Failure}
    end.

%% A program that cannot be asked is a failure of the moment: it is tried again, and logged.
check_by_program(Options) ->
    case mongoose_domain_http_port:call({check, ?VERSION, Options}) of
        {ok, {failed, <<"bad_http_option">>, Text}} -> {error, {bad_http_option, Text}};
        _CheckedOrNot -> ok
    end.

%% @doc Starts it. `ServiceOpts' say which database, as for `service_domain_db'; `undefined': none.
%% Raises `{http, Failure}' if the options are wrong.
-spec start(opts(), ServiceOpts :: map() | undefined) -> ok.
start(Opts, ServiceOpts) ->
    case check(Opts) of
        ok ->
            {ok, Options} = mongoose_domain_http_options:read(Opts),
            persistent_term:put({?MODULE, options}, {Options, ServiceOpts}),
            ChildSpec = #{id => ?MODULE, start => {?MODULE, start_link, []}, shutdown => 5000,
                          modules => [?MODULE]},
            ok = mongoose_domain_host:start_process(ChildSpec),
            wait_for_first_try();
        {error, Failure} ->
            error({http, Failure})
    end.

%% Not in init/1, where the host's supervisor would wait.
wait_for_first_try() ->
    try address(?FIRST_TRY) of
        _ -> ok
    catch
        exit:_ItCrashedOrIsSlow -> ok
    end.

-spec stop() -> ok.
stop() ->
    ok = mongoose_domain_host:stop_process(?MODULE),
    _ = persistent_term:erase({?MODULE, options}),
    ok.

%% @doc Where it listens; `undefined' as long as it could not. A start is waited for.
-spec address() -> {IpAddress :: binary(), inet:port_number()} | undefined.
address() ->
    address(2 * ?LONGEST_START).

address(Timeout) ->
    gen_server:call(?MODULE, address, Timeout).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% gen_server

%% @private
-spec init([]) -> {ok, #state{}, {continue, start}}.
init([]) ->
    process_flag(trap_exit, true),
    {ok, #state{}, {continue, start}}.

%% @private
-spec handle_continue(start, #state{}) -> {noreply, #state{}}.
handle_continue(start, State) ->
    {noreply, start_program(State)}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) ->
    {reply, term(), #state{}} | {noreply, #state{}}.
handle_call(address, From, State = #state{phase = starting, failure = undefined}) ->
    {noreply, State#state{waiting = [From | State#state.waiting]}};
handle_call(address, _From, State = #state{address = Address}) ->
    {reply, Address, State};
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
handle_info({Port, {data, Data}}, State = #state{program = {Port, _}, buffer = Buffer}) ->
    case mongoose_domain_http_port:received(Buffer, Data) of
        {ok, Frames, Rest} -> {noreply, frames(Frames, State#state{buffer = Rest, pings = 0})};
        {error, Reason} -> {noreply, kill({wrong_frame, Reason}, State)}
    end;
handle_info({Port, {exit_status, Status}}, State = #state{program = {Port, _}}) ->
    {noreply, ended(exit_reason(Status), State)};
handle_info({'EXIT', Port, Reason}, State = #state{program = {Port, _}}) ->
    {noreply, kill({port_closed, Reason}, State)};
handle_info({'DOWN', Monitor, process, _Pid, Reason}, State = #state{workers = Workers})
        when is_map_key(Monitor, Workers) ->
    {{Port, Number}, Others} = maps:take(Monitor, Workers),
    _ = Reason =/= normal andalso mongoose_domain_http_node:refuse(Port, Number),
    {noreply, State#state{workers = Others}};
handle_info({ping, Port}, State = #state{program = {Port, _}}) ->
    {noreply, ping(Port, State)};
handle_info({ping, _OfAnother}, State) ->
    {noreply, State};
handle_info(start, State) ->
    {noreply, start_program(State)};
handle_info({'EXIT', Port, _Reason}, State) when is_port(Port) ->
    %% Of a program that ended.
    {noreply, State};
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
%% @doc Frames may hold passwords: they are in no log of a crash.
-spec format_status(gen_server:format_status()) -> gen_server:format_status().
format_status(Status) ->
    maps:map(fun(state, State = #state{}) -> State#state{buffer = <<>>};
                (Key, _Frames) when Key =:= message; Key =:= log -> hidden;
                (_Key, Value) -> Value
             end, Status).

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{program = undefined}) ->
    ok;
terminate(_Reason, State = #state{program = {Port, _}}) ->
    _ = mongoose_domain_http_port:send_if_it_reads(Port, stop),
    Deadline = erlang:monotonic_time(millisecond) + ?STOP,
    await_end(Deadline, State#state{phase = stopping}).

%% Its last questions are answered meanwhile.
await_end(_Deadline, #state{program = undefined}) ->
    ok;
await_end(Deadline, State = #state{program = Program}) ->
    receive
        Message ->
            {noreply, New} = handle_info(Message, State),
            await_end(Deadline, New)
    after max(0, Deadline - erlang:monotonic_time(millisecond)) ->
        mongoose_domain_http_port:kill(Program)
    end.

%% The program

start_program(State) ->
    {Options, ServiceOpts} = persistent_term:get({?MODULE, options}),
    case database(ServiceOpts) of
        {ok, Database} -> start_program(Options, Database, State);
        {error, Failure} -> failed(Failure, State)
    end.

start_program(Options, Database, State) ->
    case mongoose_domain_http_port:open() of
        {ok, Program = {Port, _OsPid}} ->
            _ = mongoose_domain_http_port:send(Port, {start, ?VERSION, Options, Database}),
            ping_later(Port),
            State#state{program = Program, started = erlang:monotonic_time(millisecond),
                        phase = starting, buffer = <<>>, pings = 0};
        {error, Failure} ->
            failed(Failure, State)
    end.

%% As the program takes it.
database(undefined) ->
    {ok, undefined};
database(ServiceOpts) ->
    case mongoose_domain_database:find(ServiceOpts#{max_connections => ?CONNECTIONS}) of
        {ok, #{options := Options}} ->
            At = case Options of
                     #{url := Url} -> {url, Url};
                     _ -> {server, Options}
                 end,
            Limits = maps:with([max_connections, query_timeout, idle_timeout], Options),
            {ok, Limits#{at => At}};
        {error, Failure} ->
            {error, Failure}
    end.

%% Each ping comes after the one before was handled: a VM that stood still for a while does not take
%% the program for one that hangs.
ping(Port, State = #state{pings = Pings}) ->
    case hangs(State) of
        true ->
            kill(unresponsive, State);
        false ->
            _ = mongoose_domain_http_port:send_if_it_reads(Port, ping),
            ping_later(Port),
            State#state{pings = Pings + 1}
    end.

hangs(#state{phase = starting, started = Started}) ->
    erlang:monotonic_time(millisecond) - Started > ?LONGEST_START;
hangs(#state{pings = Pings}) ->
    Pings >= ?PINGS.

ping_later(Port) ->
    _ = erlang:send_after(?PING, self(), {ping, Port}),
    ok.

kill(Reason, State = #state{program = Program}) ->
    ok = mongoose_domain_http_port:kill(Program),
    ended(Reason, State).

ended(_Reason, State = #state{phase = stopping}) ->
    State#state{program = undefined};
ended(_Reason, State = #state{phase = failed}) ->
    start_later(?RETRY, State);
ended(Reason, State = #state{started = Started, pause = LastPause}) ->
    Lived = erlang:monotonic_time(millisecond) - Started,
    Pause = case Lived >= 10 * LastPause of
                true -> ?FIRST_PAUSE;
                false -> min(2 * LastPause, ?LONGEST_PAUSE)
            end,
    ?LOG_ERROR(#{what => domain_http_ended, reason => Reason,
                 text => <<"the program of the HTTP server ended; it is started again">>,
                 lived_milliseconds => Lived, retry_after_milliseconds => Pause}),
    start_later(Pause, State#state{pause = Pause}).

exit_reason(Status) when Status > 128 -> {signal, Status - 128};
exit_reason(Status) -> {exit_status, Status}.

failed(Failure, State) ->
    start_later(?RETRY, said(Failure, State)).

said(Failure = {Reason, Text}, State = #state{failure = Last, waiting = Waiting}) ->
    _ = Failure =/= Last andalso
        ?LOG_ERROR(#{what => domain_http_failed, reason => Reason, text => Text,
                     retry_after_milliseconds => ?RETRY}),
    _ = [gen_server:reply(From, undefined) || From <- Waiting],
    State#state{failure = Failure, waiting = []}.

%% Others on the way can read what is sent to another machine, the password too.
warn_if_in_clear(IpAddress) ->
    {#{certfile := Certificate}, _} = persistent_term:get({?MODULE, options}),
    IsLoopback = case inet:parse_address(binary_to_list(IpAddress)) of
                     {ok, {127, _, _, _}} -> true;
                     {ok, {0, 0, 0, 0, 0, 0, 0, 1}} -> true;
                     _ -> false
                 end,
    _ = Certificate =:= undefined andalso not IsLoopback andalso
        ?LOG_WARNING(#{what => domain_http_without_tls, ip_address => IpAddress,
                       text => <<"passwords are sent to this address without encryption: set tls, "
                                 "or listen on a loopback address behind a proxy">>}),
    ok.

start_later(Pause, State) ->
    _ = erlang:send_after(Pause, self(), start),
    State#state{program = undefined, phase = starting, address = undefined}.

%% Frames

frames([Frame | Frames], State = #state{program = {_, _}}) ->
    frames(Frames, frame(Frame, State));
frames(_Frames, State) ->
    State.

frame({pong, Milliseconds}, State)
        when is_integer(Milliseconds), Milliseconds < ?LONGEST_TURN ->
    State;
frame({pong, _Milliseconds}, State) ->
    kill(unresponsive, State);
frame({question, Number, Question}, State = #state{program = {Port, _}, workers = Workers})
        when is_integer(Number) ->
    %% Those of programs that ended may still be at work.
    case length([Port || {Of, _} <- maps:values(Workers), Of =:= Port]) < ?QUESTIONS of
        true ->
            Answer = fun() -> mongoose_domain_http_node:answer(Port, Number, Question) end,
            {_Pid, Monitor} = spawn_monitor(Answer),
            State#state{workers = Workers#{Monitor => {Port, Number}}};
        false ->
            kill(too_many_questions, State)
    end;
frame({listening, _IpAddress, _IpPort}, State = #state{phase = stopping}) ->
    State;
frame({listening, IpAddress, IpPort}, State = #state{waiting = Waiting})
        when is_binary(IpAddress), is_integer(IpPort) ->
    Address = {IpAddress, IpPort},
    ?LOG_NOTICE(#{what => domain_http_listens, ip_address => IpAddress, port => IpPort}),
    warn_if_in_clear(IpAddress),
    _ = [gen_server:reply(From, Address) || From <- Waiting],
    State#state{phase = listening, address = Address, failure = undefined, waiting = []};
frame({failed, _Reason, _Text}, State = #state{phase = stopping}) ->
    State;
frame({failed, Reason, Text}, State) when is_binary(Reason), is_binary(Text) ->
    said({mongoose_domain_http_node:reason(Reason), Text}, State#state{phase = failed});
frame({panicked, Text}, State) when is_binary(Text) ->
    ?LOG_ERROR(#{what => domain_http_panicked, text => Text}),
    State;
frame(_Other, State) ->
    kill({wrong_frame, not_known}, State).
