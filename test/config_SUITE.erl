%% @doc The configuration of the standalone application: wrong in itself, wrong only at run time,
%% and right, many times in one virtual machine. No password is ever shown.
-module(config_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(APP, mongoose_domain_standalone).
-define(D, <<"a.example">>).
-define(STATIC, <<"static.example">>).
-define(T, <<"type1">>).
%% In every URL here that has a password, the password has this in it.
-define(SECRET, "secret").

all() ->
    [%% Wrong in itself
     static_domains_must_be_a_list_of_pairs_of_names,
     host_types_must_be_a_list_of_names,
     service_options_must_be_known_and_in_range,
     a_static_domain_must_not_have_two_host_types,
     static_domains_must_be_names_that_nameprep_allows,
     removal_handlers_must_be_functions_by_name,
     the_time_of_removal_handlers_must_be_in_range,
     listeners_must_be_functions_by_name,
     the_database_must_be_a_string,
     the_database_must_be_of_a_known_kind,
     a_database_url_with_a_typo_is_refused,
     an_unknown_parameter_of_a_database_url_is_refused,
     a_database_url_must_name_something_to_share,
     what_is_wrong_with_an_element_is_said_with_its_place,
     an_option_that_is_not_known_is_named_and_so_is_what_was_probably_meant,
     the_first_wrong_option_stops_the_start_and_nothing_runs,
     %% Wrong at run time
     a_wrong_password_is_named_but_not_shown,
     missing_tables_are_named,
     a_database_that_does_not_exist_is_named,
     a_refused_connection_is_named,
     a_file_that_is_no_database_is_named,
     a_directory_that_does_not_exist_is_named,
     a_file_that_must_exist_is_not_made,
     a_database_opened_read_only_is_read_but_not_written,
     a_database_that_becomes_right_loads_by_itself,
     %% Right
     without_a_database_static_domains_route,
     without_any_option_it_starts_and_nothing_routes,
     urls_may_be_strings_and_binaries,
     special_characters_of_a_password_are_written_with_percent,
     static_domains_are_nameprepped_and_may_be_there_twice,
     handlers_and_listeners_of_the_configuration_are_called,
     the_example_configuration_has_every_option_and_starts,
     it_starts_and_stops_many_times_with_other_databases_and_arguments,
     it_stops_while_the_database_is_out_of_reach].

%% PostgreSQL, unless a case asks for the others, too.
init_per_suite(Config) ->
    Mysql = db_helper:init_database(mysql, Config),
    [{mysql, Mysql} | db_helper:init_database(postgres, Config)].

end_per_suite(Config) ->
    db_helper:end_database(Config),
    db_helper:end_database(?config(mysql, Config)).

init_per_testcase(_Case, Config) ->
    [{log, collect_log()} | Config].

end_per_testcase(_Case, Config) ->
    node_helper:stop_standalone(),
    stop_collecting(?config(log, Config)).

%% Wrong in itself

static_domains_must_be_a_list_of_pairs_of_names(Config) ->
    Pair = {?STATIC, ?T},
    Wrong = [not_a_list, ?STATIC, Pair, [Pair | improper], [Pair | Pair], #{?STATIC => ?T},
             [?STATIC], [{?STATIC}], [{?STATIC, ?T, extra}], [Pair, not_a_pair], undefined]
            ++ [[Pair, {Name, ?T}] || Name <- bad_names()]
            ++ [[Pair, {?D, Name}] || Name <- bad_names()],
    refused(static_domains, Wrong, Config).

host_types_must_be_a_list_of_names(Config) ->
    Wrong = [not_a_list, ?T, [?T | improper], [?T | ?T], [{?T, ?T}], undefined]
            ++ [[?T, Name] || Name <- bad_names()],
    refused(host_types, Wrong, Config).

service_options_must_be_known_and_in_range(Config) ->
    Wrong = [not_a_map, [], [{event_max_age, 10}], undefined, #{unknown => 1},
             #{"event_max_age" => 10}, #{<<"event_max_age">> => 10}, #{db_pool => "global"}]
            ++ [#{Key => Value} || Key <- [event_cleaning_interval, event_max_age],
                                   Value <- [0, -1, 2592001, 1 bsl 70, 1.0, infinity, "10",
                                             <<"10">>, undefined]]
            ++ [#{event_cleaning_interval => 10, event_max_age => 0},
                #{event_max_age => 10, event_max_aeg => 10}],
    refused(service, Wrong, Config).

a_static_domain_must_not_have_two_host_types(Config) ->
    T2 = <<"type2">>,
    Upper = <<"Static.EXAMPLE">>,
    [?assertMatch({error, {?APP, {{bad_option, static_domains, Text}, _}}},
                  start_error(#{static_domains => Pairs}))
     || {Pairs, Text} <-
            [{[{?STATIC, ?T}, {?D, ?T}, {?STATIC, T2}],
              <<"element 3: static.example has the host type type2 here, and type1 in element 1">>},
             {[{Upper, ?T}, {?STATIC, T2}],
              <<"element 2: static.example has the host type type2 here, and type1 in element 1">>},
             {[{<<"stra\x{df}e.example"/utf8>>, T2}, {<<"strasse.example">>, ?T}],
              <<"element 2: strasse.example has the host type type1 here, and type2 in element 1">>
             }]],
    refused(static_domains, [[{?STATIC, ?T}, {?D, ?T}, {?STATIC, T2}], [{Upper, ?T}, {?STATIC, T2}],
                             [{?STATIC, T2}, {?STATIC, T2}, {?STATIC, ?T}]], Config).

static_domains_must_be_names_that_nameprep_allows(Config) ->
    [?assertMatch({error, {?APP, {{bad_option, static_domains, Text}, _}}},
                  start_error(#{static_domains => [{?D, ?T}, {Name, ?T}]}))
     || {Name, Text} <- lists:zip(forbidden_names(),
                                  [<<"element 2: the domain cannot be nameprepped: prohibited "
                                     "character `\x{e000}`"/utf8>>,
                                   <<"element 2: the domain must not be empty">>,
                                   <<"element 2: the domain must not be longer than 250 "
                                     "characters">>])],
    refused(static_domains, [[{Name, ?T}] || Name <- forbidden_names()], Config).

%% A private character; one that nameprep takes away; some that it makes long.
forbidden_names() ->
    [<<"\x{e000}.example"/utf8>>, <<"\x{ad}"/utf8>>,
     unicode:characters_to_binary(lists:duplicate(100, 16#FDFA))].

removal_handlers_must_be_functions_by_name(Config) ->
    refused(removal_handlers, wrong_callbacks(), Config).

the_time_of_removal_handlers_must_be_in_range(Config) ->
    refused(removal_handler_timeout, [0, -1, 86401, 1.0, infinity, "10", undefined], Config).

listeners_must_be_functions_by_name(Config) ->
    refused(listeners, wrong_callbacks(), Config).

the_database_must_be_a_string(Config) ->
    Url = "postgres://user:secret@127.0.0.1/db",
    refused(database, [undefined, 5432, {url, Url}, #{url => Url}, [Url | improper], [{Url}],
                       [Url, -1], [Url, 16#D800], <<255, "postgres://user:secret@127.0.0.1/db">>],
            Config).

the_database_must_be_of_a_known_kind(Config) ->
    refused(database, ["", <<>>, "domains.db", "/var/lib/domains.db", "user:secret@127.0.0.1/db",
                       "postgress://user:secret@127.0.0.1/db", "http://user:secret@127.0.0.1/db",
                       "postgres//user:secret@127.0.0.1/db", " sqlite:domains.db",
                       "oracle://user:secret@127.0.0.1/db", "://user:secret@127.0.0.1/db"],
            Config).

a_database_url_with_a_typo_is_refused(Config) ->
    refused(database, ["postgres://user:secret@host:port/db",
                       "postgres://user:secret@host:5432x/db",
                       "postgres://user:secret@host:65536/db", "postgres://user:secret@/db",
                       "postgres:user:secret@127.0.0.1/db", "postgres://user:secret@[::1/db",
                       "postgres://user:sec#secret@127.0.0.1/db",
                       "postgres://user:%ff-secret@127.0.0.1/db",
                       "postgres://user:1?secret@host/db", "postgres://user:1#secret@host/db",
                       <<"postgres://user:secret@host:port/db">>,
                       "mysql://user:secret@host:port/db", "mysql://user:secret@/db",
                       "mysql://user:secret@host", "mysql://user:secret@host/",
                       "mysql://user:%ff-secret@127.0.0.1/db",
                       "mariadb://user:1?secret@host/db", "mariadb://user:1#secret@host/db"],
            Config).

an_unknown_parameter_of_a_database_url_is_refused(Config) ->
    Postgres = "postgres://user:secret@127.0.0.1/db?",
    Wrong = [Postgres ++ Parameters || Parameters <- ["ssl_mode=require", "sslmode=maybe",
                                                      "port=many", "sslmode=disable&prot=5432"]],
    Mysql = "mysql://user:secret@127.0.0.1/db?",
    WrongMysql = [Mysql ++ Parameters || Parameters <- ["ssl_mode=REQUIRED", "ssl-mode=maybe",
                                                        "charset=latin1"]],
    Error = start_error(#{database => Postgres ++ "ssl_mode=require"}),
    %% The text has the wrong name and the right one.
    ?assertNotEqual(nomatch, string:find(text(Error), "ssl_mode")),
    ?assertNotEqual(nomatch, string:find(text(Error), "sslmode")),
    refused(database, ["sqlite:domains.db?mod=ro", "sqlite:domains.db?mode=readonly"
                       | Wrong ++ WrongMysql], Config).

a_database_url_must_name_something_to_share(Config) ->
    refused(database, ["sqlite:", "sqlite://", "sqlite:?mode=ro", "sqlite::memory:",
                       "sqlite:domains.db?mode=memory"], Config).

what_is_wrong_with_an_element_is_said_with_its_place(_Config) ->
    Pair = {?STATIC, ?T},
    [?assertMatch({error, {?APP, {{bad_option, Option, Text}, _}}}, start_error(#{Option => Value}))
     || {Option, Value, Text} <-
            [{static_domains, [Pair, {<<>>, ?T}], <<"element 2: the domain must not be empty">>},
             {static_domains, [{?D, ?T}, Pair, {?D, <<255>>}],
              <<"element 3: the host type must be valid UTF-8">>},
             {static_domains, [Pair, ?D], <<"element 2: not a pair {Domain, HostType}">>},
             {static_domains, [Pair | ?D], <<"not a proper list">>},
             {host_types, [?T, "type2"], <<"element 2: must be a binary">>}]].

an_option_that_is_not_known_is_named_and_so_is_what_was_probably_meant(_Config) ->
    Options = <<"is not an option; the options are [static_domains,host_types,database,service,"
                "http,removal_handlers,removal_handler_timeout,listeners,sidecar]">>,
    Service = <<"must be a map of event_cleaning_interval, event_max_age, audit_interval and "
                "initial_load_timeout, in "
                "seconds from 1 to 2592000, and max_connections, from 1 to 100">>,
    [?assertMatch({error, {?APP, {{bad_option, Option, Text}, _}}}, start_error(Env))
     || {Env, Option, Text} <-
            [{#{static_domain => []}, static_domain, Options},
             {#{'host-types' => []}, 'host-types',
              <<Options/binary, ": did you mean host_types instead of 'host-types'?">>},
             {#{hostTypes => []}, hostTypes,
              <<Options/binary, ": did you mean host_types instead of hostTypes?">>},
             {#{service => #{auditInterval => 1}}, service,
              {bad_options, [auditInterval],
               <<Service/binary, ": did you mean audit_interval instead of auditInterval?">>}},
             {#{http => #{'IP-Address' => "127.0.0.1"}}, http,
              {bad_http_option, <<"'IP-Address' is not an option; the options are [ip_address,port,"
                                  "username,password,password_file,tls,memory_limit]: did you mean "
                                  "ip_address instead of 'IP-Address'?">>}}]],
    Sidecar = start_error(#{sidecar => #{'Nodes' => []}}),
    ?assertNotEqual(nomatch, string:find(text(Sidecar), "did you mean nodes instead of 'Nodes'?")).

the_first_wrong_option_stops_the_start_and_nothing_runs(Config) ->
    Names = [ejabberd_sup, mongoose_domain_sup, mongoose_domain_core, mongoose_domain_hooks,
             mongoose_domain_remover, mongoose_domain_sql, service_domain_db, mim_scope],
    Running = fun() -> [Name || Name <- Names, whereis(Name) =/= undefined] end,
    [begin
         _ = start_error(Env),
         test_helper:wait_until(fun() -> Running() =:= [] end),
         ?assertError(badarg, mongoose_domain_core:get_host_type(?STATIC)),
         ?assertNot(lists:keymember(?APP, 1, application:which_applications()))
     end || Env <- [#{static_domains => wrong}, #{host_types => wrong}, #{service => wrong},
                    #{listeners => wrong}, #{removal_handlers => wrong}, #{database => "wrong"}]],
    {ok, _} = node_helper:start_standalone(#{database => sqlite_url(Config), service => #{},
                                             listeners => [], removal_handlers => []}),
    ?assertEqual(Names -- [mongoose_domain_db_cleaner], Running()).

%% Wrong at run time

a_wrong_password_is_named_but_not_shown(Config) ->
    [begin
         Url = db_helper:fresh_url(Server),
         Wrong = string:replace(Url, ":secret@", ":my-secret-password@"),
         fails_at_run_time(lists:flatten(Wrong), access_denied, Text, Url, Config)
     end || {Server, Text} <- [{Config, "password authentication failed"},
                               {?config(mysql, Config), "Access denied for user"}]].

missing_tables_are_named(Config) ->
    [fails_at_run_time(other_database(empty_database(Server), Server), missing_tables,
                       "make schema", db_helper:fresh_url(Server), Config)
     || Server <- [Config, ?config(mysql, Config)]].

a_database_that_does_not_exist_is_named(Config) ->
    [fails_at_run_time(other_database("there_is_none", Server), access_denied, Text,
                       db_helper:fresh_url(Server), Config)
     || {Server, Text} <- [{Config, "database \"there_is_none\" does not exist"},
                           {?config(mysql, Config), "Unknown database 'there_is_none'"}]].

a_refused_connection_is_named(Config) ->
    %% Nobody listens there, nor will.
    Address = "://domains:secret@127.0.0.1:1/domains",
    [fails_at_run_time(Scheme ++ Address, database_unavailable, "Connection refused",
                       db_helper:fresh_url(Server), Config)
     || {Server, Scheme} <- [{Config, "postgres"}, {?config(mysql, Config), "mysql"}]].

a_file_that_is_no_database_is_named(Config) ->
    File = data_file(Config),
    Text = binary:copy(<<"This is a text and not a database.\n">>, 1000),
    ok = file:write_file(File, Text),
    fails_at_run_time("sqlite:" ++ File, not_a_database, "the file is not an SQLite database",
                      sqlite_url(Config), Config),
    ?assertEqual({ok, Text}, file:read_file(File)).

a_directory_that_does_not_exist_is_named(Config) ->
    Directory = data_file(Config),
    fails_at_run_time("sqlite:" ++ filename:join(Directory, "domains.db"), database_unavailable,
                      "the database file cannot be opened", sqlite_url(Config), Config),
    ?assertNot(filelib:is_file(Directory)).

a_file_that_must_exist_is_not_made(Config) ->
    [begin
         File = data_file(Config),
         fails_at_run_time("sqlite:" ++ File ++ "?mode=" ++ Mode, database_unavailable,
                           "the database file cannot be opened", sqlite_url(Config), Config),
         ?assertNot(filelib:is_file(File))
     end || Mode <- ["ro", "rw"]].

a_database_opened_read_only_is_read_but_not_written(Config) ->
    Url = sqlite_url(Config),
    add_row(Url, ?D),
    {ok, _} = node_helper:start_standalone(#{database => Url ++ "?mode=ro",
                                             service => #{event_cleaning_interval => 1,
                                                          event_max_age => 1}}),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(?D)),
    ?assertMatch({ok, #{status := enabled}}, mongoose_domain_api:get_domain_details(?D)),
    Domain = <<"b.example">>,
    [begin
         {db_error, Text} = Result,
         ?assertNotEqual(nomatch, string:find(Text, "the database is read-only"))
     end || Result <- [mongoose_domain_api:insert_domain(Domain, ?T),
                       mongoose_domain_api:disable_domain(?D),
                       mongoose_domain_api:delete_domain(?D, ?T)]],
    %% The cleaner would write, too.
    wait_for_log(read_only, Config),
    ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(?D)),
    start_again_well(Url),
    ?assertMatch({ok, _}, mongoose_domain_api:insert_domain(Domain, ?T)).

a_database_that_becomes_right_loads_by_itself(Config) ->
    Name = empty_database(Config),
    Url = other_database(Name, Config),
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    wait_for_log(missing_tables, Config),
    File = filename:join(test_helper:root_dir(), "priv/schema/postgres.sql"),
    {ok, Schema} = file:read_file(File),
    %% At once: a load between the tables and the row would look again only after 30 s.
    "" = db_helper:sql(Url, ["BEGIN;", Schema, insert_row(?D), "COMMIT;"]),
    test_helper:wait_until(fun() -> {ok, ?T} =:= mongoose_domain_core:get_host_type(?D) end),
    no_secret(logged(Config)).

%% Right

without_a_database_static_domains_route(Config) ->
    {ok, _} = node_helper:start_standalone(#{}),
    ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(?STATIC)),
    ?assertMatch({service_disabled, _}, mongoose_domain_api:insert_domain(?D, ?T)),
    ?assertEqual(undefined, whereis(service_domain_db)),
    ?assertEqual([], problems(Config)).

without_any_option_it_starts_and_nothing_routes(_Config) ->
    {ok, _} = application:ensure_all_started(?APP),
    ?assertEqual(0, mongoose_domain_core:domains_count()),
    ?assertEqual([[], []], mongoose_domain_core:get_start_args()).

urls_may_be_strings_and_binaries(Config) ->
    Postgres = db_helper:fresh_url(Config),
    "postgres:" ++ OfPostgres = Postgres,
    Mysql = indexed_url(?config(mysql, Config)),
    "mysql:" ++ OfMysql = Mysql,
    File = data_file(Config),
    Chardata = ["sqlite", $:, [list_to_binary(File)]],
    Urls = [Postgres, "postgresql:" ++ OfPostgres, Postgres ++ "?sslmode=disable",
            Mysql, "mariadb:" ++ OfMysql, Mysql ++ "?ssl-mode=DISABLED",
            "sqlite:" ++ data_file(Config), "sqlite://" ++ data_file(Config),
            "sqlite:" ++ data_file(Config) ++ "?mode=rwc",
            "sqlite:" ++ filename:join(?config(priv_dir, Config), "прüfung_"
                                       ++ filename:basename(data_file(Config)))],
    [begin
         {ok, _} = node_helper:start_standalone(#{database => As}),
         {ok, _} = mongoose_domain_api:insert_domain(?D, ?T),
         pong = service_domain_db:sync_local(),
         ?assertEqual({As, {ok, ?T}}, {As, mongoose_domain_core:get_host_type(?D)}),
         node_helper:stop_standalone()
     end || Url <- Urls ++ [Chardata], As <- [Url, unicode:characters_to_binary(Url)]],
    ?assert(filelib:is_regular(File)),
    ?assertEqual([], problems(Config)),
    no_secret(logged(Config)).

special_characters_of_a_password_are_written_with_percent(Config) ->
    Users = [{Config, <<"CREATE ROLE \"us@er\" SUPERUSER LOGIN "
                        "PASSWORD 's@:/?#%é secret'"/utf8>>},
             {?config(mysql, Config), <<"CREATE USER 'us@er'@'127.0.0.1' "
                                        "IDENTIFIED BY 's@:/?#%é secret';"
                                        "GRANT ALL ON *.* TO 'us@er'@'127.0.0.1'"/utf8>>}],
    [begin
         Url = indexed_url(Server),
         "" = db_helper:sql(Url, Create),
         Encoded = "us%40er:s%40%3A%2F%3F%23%25%C3%A9%20secret@",
         Special = lists:flatten(string:replace(Url, "domains:secret@", Encoded)),
         ?assertNotEqual(Url, Special),
         start_again_well(Special)
     end || {Server, Create} <- Users],
    ?assertEqual([], problems(Config)),
    no_secret(logged(Config)).

static_domains_are_nameprepped_and_may_be_there_twice(_Config) ->
    Other = <<"Not allowed">>,
    Pairs = [{<<"Static.EXAMPLE">>, Other}, {?STATIC, Other}, {?D, ?T},
             {<<"stra\x{df}e.example"/utf8>>, ?T}],
    {ok, _} = node_helper:start_standalone(#{static_domains => Pairs}),
    ?assertEqual([{?D, ?T}, {?STATIC, Other}, {<<"strasse.example">>, ?T}],
                 lists:sort(mongoose_domain_core:get_all_static())),
    ?assertEqual({ok, Other}, mongoose_domain_api:get_host_type(?STATIC)),
    ?assertMatch({static, _}, mongoose_domain_api:insert_domain(?STATIC, ?T)).

handlers_and_listeners_of_the_configuration_are_called(Config) ->
    true = register(config_witness, self()),
    {ok, _} = node_helper:start_standalone(#{database => sqlite_url(Config),
                                             removal_handlers => [{?MODULE, witness_removal}],
                                             listeners => [{?MODULE, witness_change}]}),
    {ok, _} = mongoose_domain_api:insert_domain(?D, ?T),
    pong = service_domain_db:sync_local(),
    ?assertEqual({added, ?T, ?D}, witnessed()),
    {ok, _} = mongoose_domain_api:delete_domain(?D, ?T),
    %% The handler and the listener run in two processes.
    ?assertEqual([{removed, ?T, ?D}, {removing, ?T, ?D}], lists:sort([witnessed(), witnessed()])),
    unregister(config_witness).

the_example_configuration_has_every_option_and_starts(Config) ->
    {ok, [Example]} = file:consult(filename:join(test_helper:root_dir(), "config/sys.config")),
    ?assertMatch([{?APP, _}], Example),
    [{?APP, Options}] = Example,
    ok = application:load(?APP),
    Known = [Option || {Option, _} <- application:get_all_env(?APP)],
    ?assertEqual(lists:usort([database | Known]), lists:sort([Option || {Option, _} <- Options])),
    ok = application:set_env(Example),
    {ok, Directory} = file:get_cwd(),
    Place = data_file(Config),
    ok = filelib:ensure_dir(filename:join([Place, "data", "domains.db"])),
    ok = file:set_cwd(Place),
    try
        {ok, _} = application:ensure_all_started(?APP),
        {ok, _} = mongoose_domain_api:insert_domain(?D, <<"type2">>),
        pong = service_domain_db:sync_local(),
        ?assertEqual({ok, <<"type2">>}, mongoose_domain_core:get_host_type(?D)),
        ?assertEqual({ok, <<"type1">>}, mongoose_domain_core:get_host_type(<<"localhost">>)),
        node_helper:stop_standalone()
    after
        ok = file:set_cwd(Directory)
    end,
    ?assert(filelib:is_regular(filename:join([Place, "data", "domains.db"]))),
    ?assertEqual([], problems(Config)).

it_starts_and_stops_many_times_with_other_databases_and_arguments(Config) ->
    Urls = [db_helper:fresh_url(Config), sqlite_url(Config),
            db_helper:fresh_url(?config(mysql, Config)), sqlite_url(Config)],
    Databases = lists:zip(Urls, [<<"w.example">>, <<"x.example">>, <<"y.example">>,
                                 <<"z.example">>]),
    [add_row(Url, Domain) || {Url, Domain} <- Databases],
    [begin
         {Url, Domain} = lists:nth(1 + N rem 4, Databases),
         Static = <<"static", (integer_to_binary(N))/binary, ".example">>,
         %% Every third time the rows' host type is not configured.
         {HostTypes, Dynamic} = case N rem 3 of
                                    0 -> {[<<"type2">>], []};
                                    _ -> {[<<"type2">>, ?T], [{Domain, ?T}]}
                                end,
         {ok, _} = node_helper:start_standalone(#{static_domains => [{Static, ?T}],
                                                  host_types => HostTypes, database => Url}),
         pong = service_domain_db:sync_local(),
         ?assertEqual({N, [{Static, ?T}]}, {N, mongoose_domain_core:get_all_static()}),
         ?assertEqual({N, Dynamic}, {N, mongoose_domain_core:get_all_dynamic()}),
         ?assertEqual({N, lists:member(?T, HostTypes)},
                      {N, mongoose_domain_core:is_host_type_allowed(?T)}),
         ?assertEqual([Domain], [D || #{domain := D} <- mongoose_domain_api:get_all_domains()]),
         ok = application:stop(?APP),
         ?assertError(badarg, mongoose_domain_core:get_host_type(Static)),
         ok = application:unload(?APP)
     end || N <- lists:seq(1, 20)],
    no_secret(logged(Config)).

it_stops_while_the_database_is_out_of_reach(Config) ->
    Url = db_helper:fresh_url(Config),
    %% It takes connections and never says a word.
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    Silent = "://domains:secret@127.0.0.1:" ++ integer_to_list(Port) ++ "/domains",
    [begin
         {ok, _} = node_helper:start_standalone(#{database => Scheme ++ Silent}),
         {ok, Connection} = gen_tcp:accept(Socket, 60000),
         ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(?STATIC)),
         ok = application:stop(?APP),
         ok = gen_tcp:close(Connection),
         start_again_well(Url),
         node_helper:stop_standalone()
     end || Scheme <- ["postgres", "mysql", "postgres"]],
    ok = gen_tcp:close(Socket),
    no_secret(logged(Config)).

%% Helpers

bad_names() ->
    [<<>>, "example", example, 1, <<1:3>>, binary:copy(<<"a">>, 251), <<255>>, <<"a", 0, "b">>].

wrong_callbacks() ->
    [not_a_list, {lists, append}, [{lists, append} | improper], [lists], [{lists, append, 2}],
     [{lists, append}, fun lists:append/2], [{"lists", append}], [{lists, <<"append">>}],
     [{1, 2}], undefined].

%% Each of the wrong values is refused by its option's name, and then a right configuration starts.
refused(Option, WrongValues, Config) ->
    Url = sqlite_url(Config),
    add_row(Url, ?D),
    lists:foreach(
        fun(Wrong) ->
            Error = start_error(#{Option => Wrong}),
            ?assertMatch({Wrong, {error, {?APP, {{bad_option, Option, _Text}, _}}}},
                         {Wrong, Error}),
            ?assertNot(lists:keymember(?APP, 1, application:which_applications())),
            ?assertError(badarg, mongoose_domain_core:get_host_type(?STATIC)),
            no_secret([text(Error)])
        end, WrongValues),
    start_again_well(Url),
    ?assertNotEqual([], problems(Config)),
    no_secret(logged(Config)).

start_error(Env) ->
    nothing_runs(),
    {error, _} = Error = node_helper:start_standalone(Env),
    nothing_runs(),
    ok = application:unload(?APP),
    Error.

nothing_runs() ->
    ?assertEqual(undefined, whereis(ejabberd_sup)).

%% Stops, and starts with a database that has the domain and works.
start_again_well(Url) ->
    node_helper:stop_standalone(),
    {ok, _} = node_helper:start_standalone(#{database => Url}),
    {ok, _} = mongoose_domain_api:insert_domain(?D, ?T),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{?STATIC, ?T}], mongoose_domain_core:get_all_static()),
    ?assertEqual([{?D, ?T}], mongoose_domain_core:get_all_dynamic()).

%% With the wrong URL the application starts, says what is wrong, and can be started again with the
%% good one, whose domain then routes.
fails_at_run_time(Wrong, Reason, Text, Good, Config) ->
    add_row(Good, ?D),
    {ok, _} = node_helper:start_standalone(#{database => Wrong}),
    ?assertEqual({ok, ?T}, mongoose_domain_core:get_host_type(?STATIC)),
    ?assertEqual([], mongoose_domain_core:get_all_dynamic()),
    [begin
         {db_error, Said} = Result,
         ?assertMatch({true, _}, {string:find(Said, Text) =/= nomatch, Said}),
         no_secret([text(Result)])
     end || Result <- [mongoose_domain_api:get_domain_details(?D),
                       mongoose_domain_api:insert_domain(?D, ?T),
                       mongoose_domain_api:get_all_domains()]],
    wait_for_log(Reason, Config),
    ?assert(lists:keymember(?APP, 1, application:which_applications())),
    ok = application:stop(?APP),
    {ok, _} = node_helper:start_standalone(#{database => Good}),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{?D, ?T}], mongoose_domain_core:get_all_dynamic()),
    node_helper:stop_standalone(),
    no_secret(logged(Config)).

witness_removal(HostType, Domain) ->
    config_witness ! {removing, HostType, Domain},
    ok.

witness_change(What, HostType, Domain) ->
    config_witness ! {What, HostType, Domain}.

witnessed() ->
    receive Witnessed -> Witnessed
    after 60000 -> nothing
    end.

%% Databases

data_file(Config) ->
    filename:join(?config(priv_dir, Config), test_helper:data_name(config)).

%% A new database with the tables: those that the node makes by itself.
sqlite_url(Config) ->
    Url = "sqlite:" ++ data_file(Config),
    {ok, Schema} = file:read_file(filename:join(test_helper:root_dir(), "priv/schema/sqlite.sql")),
    "" = db_helper:sql(Url, Schema),
    Url.

%% Nothing is to be said about a database that has the index on the domain.
indexed_url(Config) ->
    Url = db_helper:fresh_url(Config),
    "" = db_helper:sql(Url, "CREATE INDEX i ON domain_settings (domain)"),
    Url.

empty_database(Config) ->
    Name = test_helper:data_name(empty),
    "" = db_helper:sql(?config(server_url, Config), "CREATE DATABASE " ++ Name),
    Name.

other_database(Name, Config) ->
    [Address, _] = string:split(?config(server_url, Config), "/", trailing),
    Address ++ "/" ++ Name.

add_row(Url, Domain) ->
    "" = db_helper:sql(Url, insert_row(Domain)).

insert_row(Domain) ->
    ["INSERT INTO domain_settings (domain, host_type) VALUES ('", Domain, "', 'type1');"
     "INSERT INTO domain_events (domain) VALUES ('", Domain, "');"].

%% The log
%%
%% Every event of every level, as the term that it is and as people see it.

collect_log() ->
    Table = ets:new(?MODULE, [public, ordered_set]),
    #{level := Level} = logger:get_primary_config(),
    %% So many events are only for this suite.
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => all, config => #{table => Table}}),
    Others = [{Id, maps:get(level, Other)} || Other = #{id := Id} <- logger:get_handler_config(),
                                              Id =/= ?MODULE],
    [ok = logger:set_handler_config(Id, level, Level) || {Id, all} <- Others],
    ok = logger:set_primary_config(level, all),
    #{table => Table, level => Level, others => Others}.

stop_collecting(#{level := Level, others := Others}) ->
    ok = logger:set_primary_config(level, Level),
    [ok = logger:set_handler_config(Id, level, all) || {Id, all} <- Others],
    ok = logger:remove_handler(?MODULE).

%% @private A callback of the logger.
log(Event = #{level := Level}, #{config := #{table := Table}}) ->
    Formatted = logger_formatter:format(Event, #{}),
    Text = unicode:characters_to_list([Formatted, text(Event)]),
    ets:insert(Table, {erlang:unique_integer([monotonic]), Level, Text}).

logged(Config) ->
    #{table := Table} = ?config(log, Config),
    [Text || {_, _, Text} <- ets:tab2list(Table)].

%% What an operator would look at.
problems(Config) ->
    #{table := Table} = ?config(log, Config),
    [Text || {_, Level, Text} <- ets:tab2list(Table),
             logger:compare_levels(Level, warning) =/= lt].

wait_for_log(Reason, Config) ->
    Name = atom_to_list(Reason),
    test_helper:wait_until(fun() ->
        lists:any(fun(Text) -> string:find(Text, Name) =/= nomatch end, problems(Config))
    end).

text(Term) ->
    lists:flatten(io_lib:format("~0tp", [Term])).

no_secret(Texts) ->
    ?assertEqual([], [Text || Text <- Texts, string:find(Text, ?SECRET) =/= nomatch]).
