%% @doc The program of the HTTP server as an Erlang port, and the frames that go over it: see
%% doc/http_port.md.
%%
%% A frame is as `{packet, 4}' makes it: four bytes that say how long it is, and a term. But the
%% emulator would set aside as much memory as these bytes say, up to 4 GiB. So they are read here,
%% and a frame that is too long is an error before it has come.
-module(mongoose_domain_http_port).

-include_lib("kernel/include/logger.hrl").

-export([open/0, kill/1, call/1]).
-export([send/2, send_if_it_reads/2, received/2]).

-export_type([program/0, buffer/0]).

%% Bytes. The program takes no longer one either.
-define(LONGEST, 4194304).
-define(PROGRAM, "mongoose-domain-http").
%% Milliseconds that a program gets to answer its first frame and end.
-define(CALL_TIMEOUT, 5000).

-type program() :: {port(), OsPid :: pos_integer()}.

%% What has come of the next frame.
-type buffer() :: binary().

%% @doc Starts the program. Its messages go to the calling process.
-spec open() -> {ok, program()} | {error, mongoose_domain_http_options:failure()}.
open() ->
    File = mongoose_domain_nif:priv_file(?PROGRAM),
    try
        Port = open_port({spawn_executable, File}, [{args, []}, binary, exit_status, use_stdio]),
        case erlang:port_info(Port, os_pid) of
            {os_pid, OsPid} ->
                {ok, {Port, OsPid}};
            undefined ->
                flush(Port),
                cannot_start(File, <<"it ended at once">>)
        end
    catch
        error:Reason -> cannot_start(File, io_lib:format("~tp", [Reason]))
    end.

cannot_start(File, Why) ->
    Text = unicode:characters_to_binary(["cannot start ", File, ": ", Why]),
    {error, {http_failed, Text}}.

%% @doc Ends the program at once, also one that is stopped or does not listen. No message comes of
%% it any more.
-spec kill(program()) -> ok.
kill({Port, OsPid}) ->
    %% It may be gone just now; its number is nobody else's so soon.
    _ = try os:cmd("kill -9 " ++ integer_to_list(OsPid))
        catch
            %% No file or process to be had: the end of its input must do.
            error:Reason -> ?LOG_ERROR(#{what => domain_http_not_killed, os_pid => OsPid,
                                         reason => Reason})
        end,
    true = unlink(Port),
    _ = try port_close(Port) catch error:badarg -> closed end,
    flush(Port).

flush(Port) ->
    receive
        {Port, _} -> flush(Port);
        {'EXIT', Port, _} -> flush(Port)
    after 0 ->
        ok
    end.

%% @doc Starts the program, sends one frame, and returns its answer. Must not be called by a process
%% that has a port of its own to care for.
-spec call(term()) -> {ok, term()} | {error, mongoose_domain_http_options:failure()}.
call(Frame) ->
    Caller = self(),
    {Pid, Monitor} = spawn_monitor(fun() -> Caller ! {self(), do_call(Frame)} end),
    receive
        {Pid, Answer} ->
            true = demonitor(Monitor, [flush]),
            Answer;
        {'DOWN', Monitor, process, Pid, Reason} ->
            {error, failure(Reason)}
    end.

do_call(Frame) ->
    case open() of
        {ok, {Port, _} = Program} ->
            try
                ok = send(Port, Frame),
                answer(Port, <<>>)
            after
                kill(Program)
            end;
        {error, Failure} ->
            {error, Failure}
    end.

answer(Port, Buffer) ->
    receive
        {Port, {data, Data}} ->
            case received(Buffer, Data) of
                {ok, [Answer | _], _Rest} -> {ok, Answer};
                {ok, [], Rest} -> answer(Port, Rest);
                {error, Reason} -> {error, failure(Reason)}
            end;
        {Port, {exit_status, Status}} ->
            {error, failure({exit_status, Status})}
    after ?CALL_TIMEOUT ->
        {error, failure(timeout)}
    end.

failure(Reason) ->
    {http_failed, unicode:characters_to_binary(io_lib:format(?PROGRAM ": ~0tp", [Reason]))}.

%% @doc Sends a frame, by any process. Waits while the program does not read.
-spec send(port(), term()) -> ok | {error, too_long | closed}.
send(Port, Term) ->
    command(Port, Term, []).

%% @doc The same, but it never waits.
-spec send_if_it_reads(port(), term()) -> ok | {error, too_long | closed | busy}.
send_if_it_reads(Port, Term) ->
    command(Port, Term, [nosuspend]).

command(Port, Term, Options) ->
    case term_to_binary(Term) of
        Frame when byte_size(Frame) > ?LONGEST ->
            {error, too_long};
        Frame ->
            try port_command(Port, [<<(byte_size(Frame)):32>>, Frame], Options) of
                true -> ok;
                false -> {error, busy}
            catch
                error:badarg -> {error, closed}
            end
    end.

%% @doc The frames that are whole now, and what is left.
-spec received(buffer(), Data :: binary()) ->
    {ok, [term()], buffer()} | {error, {too_long, pos_integer()} | not_understood}.
received(Buffer, Data) ->
    frames(<<Buffer/binary, Data/binary>>, []).

frames(<<Length:32, _/binary>>, _Frames) when Length > ?LONGEST ->
    {error, {too_long, Length}};
frames(<<_:32, 131, 80, _/binary>>, _Frames) ->
    %% Compressed: it may be far larger than it is long.
    {error, not_understood};
frames(<<Length:32, Frame:Length/binary, Rest/binary>>, Frames) ->
    try binary_to_term(Frame, [safe, used]) of
        {Term, Length} -> frames(Rest, [Term | Frames]);
        {_Term, _Shorter} -> {error, not_understood}
    catch
        error:badarg -> {error, not_understood}
    end;
frames(Rest, Frames) ->
    {ok, lists:reverse(Frames), Rest}.
