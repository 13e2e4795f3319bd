%% @doc The options of the HTTP server, as people give them and as its program takes them.
%%
%% Types and names are checked here; what an option means is checked by the program.
-module(mongoose_domain_http_options).

-export([read/1]).

-export_type([opts/0, options/0, failure/0]).

%% MiB.
-define(MEMORY_LIMIT, 1024).
-define(LEAST_MEMORY, 32).
-define(MOST_MEMORY, 1048576).

%% Texts may be strings or binaries.
-type opts() :: #{%% Default: 127.0.0.1. Anything but loopback needs a password.
                  ip_address => text(),
                  %% Default: 8088. 0: any that is free.
                  port => inet:port_number(),
                  %% Both or none; the password itself, or a file with it in its first line.
                  username => text(), password => mongoose_domain_secret:secret(),
                  password_file => file:name_all(),
                  %% PEM files. Without them: plain HTTP.
                  tls => #{certfile => file:name_all(), keyfile => file:name_all()},
                  %% The most memory that the program may have, in MiB. Default: 1024.
                  memory_limit => pos_integer()}.
-type text() :: string() | binary().

-type options() :: #{node := binary(), ip_address := binary(), port := inet:port_number(),
                     username := binary() | undefined, password := binary() | undefined,
                     certfile := binary() | undefined, keyfile := binary() | undefined,
                     memory_limit := pos_integer()}.

-type failure() :: {Reason :: atom(), Text :: binary()}.

%% @doc The options for the program.
-spec read(term()) -> {ok, options()} | {error, failure()}.
read(Opts) when is_map(Opts) ->
    Known = [ip_address, port, username, password, password_file, tls, memory_limit],
    case {maps:keys(maps:without(Known, Opts)), mongoose_domain_secret:with_password(Opts)} of
        {[], {ok, Given}} ->
            typed(maps:merge(#{ip_address => "127.0.0.1", port => 8088, tls => #{},
                               memory_limit => ?MEMORY_LIMIT}, Given));
        {[], {error, Text}} -> wrong("~ts", [Text]);
        {[Key | _], _} ->
            wrong("~tp is not an option; the options are ~0tp~ts",
                  [Key, Known, mongoose_domain_error:did_you_mean([Key], Known)])
    end;
read(_Opts) ->
    wrong("must be a map of ip_address, port, username, password, password_file, tls and "
          "memory_limit", []).

typed(#{tls := Tls}) when not is_map(Tls) ->
    wrong("tls must be a map of certfile and keyfile", []);
typed(#{port := Port}) when not is_integer(Port); Port < 0; Port > 65535 ->
    wrong("port must be 0 to 65535", []);
typed(#{memory_limit := Limit})
        when not is_integer(Limit); Limit < ?LEAST_MEMORY; Limit > ?MOST_MEMORY ->
    wrong("memory_limit must be a number of MiB, from ~b to ~b", [?LEAST_MEMORY, ?MOST_MEMORY]);
typed(#{port := Port, tls := Tls, memory_limit := Limit} = Opts) ->
    Texts = maps:merge(maps:with([ip_address, username, password], Opts),
                       maps:with([certfile, keyfile], Tls)),
    Wrong = [Key || {Key, Value} <- maps:to_list(Texts), text(Value) =:= error],
    case {Wrong, maps:keys(maps:without([certfile, keyfile], Tls))} of
        {[], []} ->
            Empty = #{username => undefined, password => undefined, certfile => undefined,
                      keyfile => undefined},
            Given = maps:map(fun(_Key, Value) -> text(Value) end, Texts),
            {ok, maps:merge(Empty, Given#{port => Port, memory_limit => Limit,
                                          node => atom_to_binary(node())})};
        {[Key | _], _} -> wrong("~ts must be a string", [Key]);
        {[], [Key | _]} ->
            wrong("~tp is not an option of tls; the options are certfile and keyfile", [Key])
    end.

%% No value in an error: it may be the password.
text(Value) when is_binary(Value); is_list(Value) ->
    try unicode:characters_to_binary(Value) of
        Text when is_binary(Text) -> Text;
        _ -> error
    catch
        error:badarg -> error
    end;
text(_Value) ->
    error.

wrong(Format, Args) ->
    {error, {bad_http_option, unicode:characters_to_binary(io_lib:format(Format, Args))}}.
