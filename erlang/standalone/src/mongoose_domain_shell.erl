%% @doc `make shell', `make serve' and `make schema'.
-module(mongoose_domain_shell).

-export([shell/1, serve/1, schema/1, create_schema/1]).

-ignore_xref([shell/1, serve/1, schema/1]).

%% @doc Starts the standalone application, with this database if the URL is not empty, and says what
%% to try.
-spec shell([string()]) -> ok.
shell([Database]) ->
    App = mongoose_domain_standalone,
    _ = application:load(App),
    _ = [application:set_env(App, database, Database) || Database =/= ""],
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
serve([Port, Database]) ->
    App = mongoose_domain_standalone,
    _ = application:load(App),
    _ = [application:set_env(App, database, Database) || Database =/= ""],
    {ok, Http} = application:get_env(App, http),
    _ = [application:set_env(App, http, Http#{port => list_to_integer(Port)}) || Port =/= ""],
    case application:ensure_all_started(App) of
        {ok, _} ->
            serving(mongoose_domain_http:address());
        {error, Reason} ->
            io:format("The node could not be started: ~tp~n", [Reason]),
            halt(1)
    end.

serving(undefined) ->
    %% Why is in the log.
    io:put_chars("It cannot listen there. Take another port: make serve PORT=8089\n"),
    halt(1);
serving({IpAddress, Port}) ->
    io:format("Serving http://~ts:~b/ - end with Ctrl-C~n", [IpAddress, Port]).

%% @doc Creates MongooseIM's tables and ends the VM with exit code 0, or 1 after saying what is
%% wrong.
-spec schema([string()]) -> no_return().
schema([Database]) ->
    case create_schema(Database) of
        ok ->
            io:put_chars("MongooseIM's domain tables are there.\n"),
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
