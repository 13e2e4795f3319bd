%% @doc Passwords that no log shows.
%%
%% The host logs the options of a service that does not start. So a password of the configuration is
%% wrapped in a function as soon as it is read, and stands in the options as that; or only the name
%% of a file with it does.
-module(mongoose_domain_secret).

-export([wrap/1, with_password/1]).

-export_type([secret/0]).

%% The most that is read of a file.
-define(LONGEST, 4096).

-type secret() :: string() | binary() | fun(() -> string() | binary()).

%% @doc What stands for it in the options.
-spec wrap(Password) -> fun(() -> Password) when Password :: string() | binary().
wrap(Password) ->
    fun() -> Password end.

%% @doc The same options with the password itself, wherever it comes from: `password', wrapped or
%% not, or the first line of `password_file'.
-spec with_password(map()) -> {ok, map()} | {error, Text :: iodata()}.
with_password(#{password := _, password_file := _}) ->
    {error, "password and password_file: only one of them can be set"};
with_password(#{password := Secret} = Opts) when is_function(Secret, 0) ->
    try {ok, Opts#{password := Secret()}}
    catch
        %% Its reason may hold the password.
        _:_ -> {error, "password: the function that should return it failed"}
    end;
with_password(#{password_file := File} = Opts) ->
    case of_file(File) of
        {ok, Password} -> {ok, (maps:remove(password_file, Opts))#{password => Password}};
        {error, Text} -> {error, Text}
    end;
with_password(Opts) ->
    {ok, Opts}.

of_file(File) when is_binary(File); is_list(File) ->
    case read(File) of
        {ok, Text} ->
            case string:split(Text, "\n") of
                [_] when byte_size(Text) =:= ?LONGEST ->
                    {error, io_lib:format("~ts: its first line is longer than a password can be",
                                          [File])};
                [Line | _] when Line =/= <<>>, Line =/= <<"\r">> ->
                    {ok, string:trim(Line, trailing, "\r")};
                _ ->
                    {error, io_lib:format("~ts has no password in its first line", [File])}
            end;
        {error, Reason} ->
            {error, io_lib:format("~ts: ~ts", [File, file:format_error(Reason)])}
    end;
of_file(_File) ->
    {error, "password_file must be a string"}.

read(File) ->
    case file:open(File, [read, raw, binary]) of
        {ok, Device} ->
            Read = file:read(Device, ?LONGEST),
            ok = file:close(Device),
            case Read of
                eof -> {ok, <<>>};
                _ -> Read
            end;
        {error, Reason} ->
            {error, Reason}
    end.
