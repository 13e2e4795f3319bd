%% @doc `make shell', `make serve' and `make schema'. The URL of the database is in the environment,
%% as DATABASE: it may hold a password, and everybody can see the arguments of a program.
-module(mongoose_domain_shell).

-export([shell/0, serve/1, schema/0, create_schema/1, take_database/0]).

-ignore_xref([shell/0, serve/1, schema/0]).

%% @doc Starts the standalone application, with this database if there is a URL, and says what to
%% try.
-spec shell() -> ok.
shell() ->
    App = load(),
    case application:ensure_all_started(App) of
        {ok, _} ->
            io:put_chars(["\nA standalone node runs, with the configuration of config/sys.config. "
                          "Try:\n\n",
                          "  mongoose_domain_api:insert_domain(<<\"example.com\">>, "
                          "<<\"type1\">>).\n",
                          "  mongoose_domain_core:get_host_type(<<\"example.com\">>).\n",
                          "  mongoose_domain_api:disable_domain(<<\"example.com\">>).\n",
                          "  mongoose_domain_api:get_all_domains().\n",
                          "  mongoose_domain_api:delete_domain(<<\"example.com\">>, "
                          "<<\"type1\">>).\n\n"]);
        {error, Reason} ->
            io:format("~nThe node could not be started: ~tp~n", [Reason])
    end.

%% @doc Starts the standalone application and says where it serves; ends the VM if it cannot.
-spec serve([string()]) -> ok | no_return().
serve([Port]) ->
    App = load(),
    {ok, Configured} = application:get_env(App, http),
    Http = with_port(Port, Configured),
    ok = application:set_env(App, http, Http),
    case application:ensure_all_started(App) of
        {ok, _} when Http =:= disabled ->
            stop("The HTTP server is disabled: see http in config/sys.config.", []);
        {ok, _} ->
            serving(mongoose_domain_http:address(), Http);
        {error, {App, {{bad_option, Option, Wrong}, _Start}}} ->
            stop("~ts: ~ts", [Option, what_is_wrong(Wrong)]);
        {error, Reason} ->
            stop("The node could not be started: ~tp", [Reason])
    end.

load() ->
    App = mongoose_domain_standalone,
    _ = application:load(App),
    Database = take_database(),
    _ = [application:set_env(App, database, Database) || Database =/= ""],
    App.

%% @doc The URL; programs that are started from here do not get it.
-spec take_database() -> string().
take_database() ->
    Database = os:getenv("DATABASE", ""),
    true = os:unsetenv("DATABASE"),
    Database.

%% What is no port or no map is left to the check of the options.
with_port(Port, Http) when Port =/= "", is_map(Http) ->
    case string:to_integer(Port) of
        {Number, ""} -> Http#{port => Number};
        _ -> Http#{port => Port}
    end;
with_port(_Port, Http) ->
    Http.

what_is_wrong({_Reason, Text}) when is_binary(Text) -> Text;
what_is_wrong(Text) when is_binary(Text) -> Text;
what_is_wrong(Wrong) -> io_lib:format("~tp", [Wrong]).

serving(undefined, _Http) ->
    stop("The HTTP server did not start; the log says why. If the port is in use, choose "
         "another one: make serve PORT=8089", []);
serving({IpAddress, Port}, Http) ->
    Scheme = case Http of
                 #{tls := #{certfile := _}} -> "https";
                 _ -> "http"
             end,
    Host = case string:find(IpAddress, ":") of
               nomatch -> IpAddress;
               _ -> [$[, IpAddress, $]]
           end,
    io:format("Serving ~ts://~ts:~b/ - end with Ctrl-C~n", [Scheme, Host, Port]).

-spec stop(io:format(), [term()]) -> no_return().
stop(Format, Args) ->
    %% The log comes first.
    _ = logger_std_h:filesync(default),
    io:format(Format ++ "~n", Args),
    halt(1).

%% @doc Creates MongooseIM's tables and ends the VM with exit code 0, or 1 after saying what is
%% wrong.
-spec schema() -> no_return().
schema() ->
    case create_schema(take_database()) of
        ok ->
            io:put_chars("MongooseIM's domain tables exist now.\n"),
            halt(0);
        {error, Text} ->
            io:format("~ts~n", [Text]),
            halt(1)
    end.

%% @doc Creates the tables that are missing.
-spec create_schema(string()) -> ok | {error, Text :: binary()}.
create_schema(Url) ->
    Options = #{url => unicode:characters_to_binary(Url), max_connections => 1,
                query_timeout => 5000, idle_timeout => 60000},
    case mongoose_domain_nif:open_database(Options) of
        {ok, Database} ->
            Result = create_schema_in(Database),
            ok = mongoose_domain_nif:close_database(Database),
            Result;
        {error, {_Reason, Text}} ->
            {error, Text}
    end.

create_schema_in(Database) ->
    Ref = make_ref(),
    ok = mongoose_domain_nif:request(Database, create_schema, Ref),
    receive
        {mongoose_domain_nif, Ref, {ok, done}} -> ok;
        {mongoose_domain_nif, Ref, {error, {_Reason, Text}}} -> {error, Text}
    end.
