%% @doc The connection by MongooseIM's own pools: which pool is taken, what becomes of each option,
%% and what is refused, with its name, before anything starts. TLS to real servers is in tls_SUITE.
-module(pool_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(MODULES, [mongoose_config, mongoose_service, mongoose_domain_sql,
                  mongoose_domain_db_cleaner, mongoose_subdomain_core, mongoose_lazy_routing]).

all() ->
    [%% Which pool
     global_means_the_global_pool,
     a_host_type_means_its_own_pool_then_one_of_each_host_type_then_the_global_one,
     only_default_pools_of_rdbms_count,
     a_missing_pool_is_an_error_with_its_name,
     %% What becomes of the options
     the_plain_options_are_taken_over,
     strings_may_be_lists_and_binaries,
     absent_options_have_defaults,
     time_limits_are_taken_over,
     an_unknown_option_is_noted,
     without_tls_there_is_none,
     tls_that_verifies_the_server,
     without_a_file_of_authorities_those_of_the_system_are_trusted,
     what_mongooseim_configures_by_itself_is_accepted,
     tls_that_does_not_verify_the_server,
     what_does_not_mean_quite_the_same_is_noted,
     a_client_certificate_may_hold_its_key,
     an_encrypted_key_is_decrypted,
     paths_are_relative_to_the_working_directory,
     %% What is refused
     wrong_options_are_refused_with_their_name,
     tls_options_that_cannot_be_done_are_refused_with_their_name,
     files_that_are_wrong_are_refused_with_their_name,
     no_refusal_shows_a_password,
     what_would_leak_in_from_the_environment_is_refused,
     %% The start of the service
     a_wrong_option_refuses_the_start_and_nothing_runs,
     a_missing_pool_refuses_the_start,
     too_many_connections_refuse_the_start,
     options_that_the_library_does_not_take_show_no_password,
     a_database_that_is_away_does_not_refuse_the_start,
     another_start_takes_the_new_options,
     the_start_says_which_database_and_no_password,
     retries_are_as_far_apart_as_the_pool_says,
     %% The check of MongooseIM
     missing_functions_are_named_in_one_line_of_the_log,
     a_complete_mongooseim_is_not_mentioned].

init_per_suite(Config) ->
    tls_helper:make_certificates(Config).

end_per_suite(_Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    log_helper:capture_logs(),
    Config.

end_per_testcase(_Case, _Config) ->
    stop_mongooseim(),
    log_helper:release_logs().

%% Which pool

global_means_the_global_pool(_Config) ->
    Pools = [named(<<"type1">>), named(host_type), named(global)],
    ?assertEqual({ok, named(global)}, mongoose_domain_pool:find(global, Pools)).

a_host_type_means_its_own_pool_then_one_of_each_host_type_then_the_global_one(_Config) ->
    Pools = [named(global), named(<<"type2">>), named(host_type), named(<<"type1">>)],
    Order = [<<"type1">>, host_type, global],
    [?assertEqual({ok, named(Scope)},
                  mongoose_domain_pool:find(type1, [P || P = #{scope := S} <- Pools,
                                                         not lists:member(S, Without)]))
     || {Scope, Without} <- [{S, lists:takewhile(fun(Other) -> Other =/= S end, Order)}
                             || S <- Order]],
    %% By the configuration that MongooseIM gives: of the host type, and of all.
    start_mongooseim(#{outgoing_pools => [named(global), named(host_type)],
                       {outgoing_pools, <<"type1">>} => [named(<<"type1">>)]}),
    [?assertMatch({DbPool, {ok, #{options := #{database := Database}}}},
                  {DbPool, mongoose_domain_database:find(opts(DbPool))})
     || {DbPool, Database} <- [{global, <<"db of global">>}, {type1, <<"db of type1">>},
                               {type2, <<"db of host_type">>}]].

only_default_pools_of_rdbms_count(_Config) ->
    Others = [(named(global))#{tag => other}, (named(global))#{type => redis}],
    ?assertMatch({error, {no_database, _}}, mongoose_domain_pool:find(global, Others)),
    ?assertEqual({ok, named(global)},
                 mongoose_domain_pool:find(global, Others ++ [named(global)])),
    ?assertEqual({ok, named(<<"type1">>)},
                 mongoose_domain_pool:find(<<"type1">>, [named(global), named(<<"type1">>)])).

a_missing_pool_is_an_error_with_its_name(_Config) ->
    ?assertEqual({error, {no_database, <<"there is no pool for db_pool = type1: outgoing_pools has "
                                         "none of type rdbms with the tag default and the scope "
                                         "type1 or host_type or global">>}},
                 mongoose_domain_pool:find(type1, [named(<<"type2">>)])).

%% What becomes of the options

the_plain_options_are_taken_over(_Config) ->
    [?assertMatch({ok, #{options := #{driver := Driver, host := <<"db.example">>, port := 1234,
                                      database := <<"mim">>, username := <<"mongoose">>,
                                      password := <<"pass word">>},
                         notes := []}},
                  database(#{driver => Configured, port => 1234}))
     || {Configured, Driver} <- [{pgsql, postgres}, {cockroachdb, postgres}, {mysql, mysql}]].

strings_may_be_lists_and_binaries(_Config) ->
    [?assertMatch({ok, #{options := #{username := <<"grün Ü"/utf8>>}}},
                  database(#{username => Value}))
     || Value <- ["grün Ü", <<"grün Ü"/utf8>>, binary_to_list(<<"grün Ü"/utf8>>)]],
    ?assertMatch({ok, #{options := #{password := <<1, 127, "€"/utf8>>}}},
                 database(#{password => [1, 127, $€]})).

absent_options_have_defaults(_Config) ->
    [?assertMatch({ok, #{options := #{port := Port, query_timeout := 5000, idle_timeout := 10000},
                         max_retry := 30000}},
                  database(#{driver => Driver}))
     || {Driver, Port} <- [{pgsql, 5432}, {cockroachdb, 26257}, {mysql, 3306}]].

time_limits_are_taken_over(_Config) ->
    ?assertMatch({ok, #{options := #{query_timeout := 1234, idle_timeout := 5000},
                        max_retry := 7000}},
                 database(#{query_timeout => 1234, keepalive_interval => 5,
                            max_start_interval => 7})),
    %% Longer ones than ours are no reason to wait longer.
    ?assertMatch({ok, #{options := #{idle_timeout := 10000}, max_retry := 30000}},
                 database(#{keepalive_interval => 600, max_start_interval => 600})).

an_unknown_option_is_noted(_Config) ->
    ?assertMatch({ok, #{notes := [<<"colour: unknown here, and ignored">>]}},
                 database(#{colour => red})).

without_tls_there_is_none(_Config) ->
    [?assertMatch({ok, #{options := #{tls := #{mode := off}}}}, database(#{driver => Driver}))
     || Driver <- [pgsql, cockroachdb, mysql]].

tls_that_verifies_the_server(Config) ->
    Ca = #{cacertfile => file("ca", Config)},
    Path = list_to_binary(file("ca", Config)),
    Https = #{server_name_indication => #{enabled => true, host => "db.example",
                                          protocol => https}},
    Required = #{required => true, versions => ['tlsv1.3', 'tlsv1.2', 'tlsv1.1']},
    [?assertEqual({Driver, #{mode => verify_full, ca => {file, Path}}, []},
                  {Driver, tls(Driver, maps:merge(Tls, Required)),
                   notes(Driver, maps:merge(maps:merge(Tls, Required), Https))})
     || Driver <- [pgsql, cockroachdb, mysql],
        Tls <- [Ca, Ca#{verify_mode => peer}, Ca#{ciphers => []}]].

%% The file of the system, less the authorities that have expired.
without_a_file_of_authorities_those_of_the_system_are_trusted(Config) ->
    #{cert := Expired} = public_key:pkix_test_root_cert("Expired", [{validity, {{2020, 1, 1},
                                                                              {2021, 1, 1}}}]),
    [{_, Der, _}] = Ours = pem(file("ca", Config)),
    Decoded = [{cert, D, public_key:pkix_decode_cert(D, otp)} || D <- [Expired, Der]],
    with_system_authorities(fun() -> Decoded end, fun() ->
        [begin
             #{mode := verify_full, ca := {pem, Pem}} = tls(Driver, Tls),
             ?assertEqual(Ours, public_key:pem_decode(Pem))
         end || Driver <- [pgsql, cockroachdb, mysql],
                Tls <- [#{}, #{verify_mode => peer}, #{verify_mode => selfsigned_peer}]]
    end),
    None = [fun() -> [] end, fun() -> [hd(Decoded)] end,
            fun() -> error({failed_load_cacerts, enoent}) end],
    [with_system_authorities(Get, fun() ->
         refused("tls.cacertfile", database(#{tls => #{verify_mode => peer}}))
     end) || Get <- None],
    %% Nothing is verified, nobody is asked.
    with_system_authorities(fun() -> error(asked) end, fun() ->
        ?assertEqual(#{mode => required}, tls(mysql, #{verify_mode => none}))
    end).

%% As delivered by MongooseIM 6.8, but for the paths.
what_mongooseim_configures_by_itself_is_accepted(Config) ->
    Tls = #{cacertfile => file("ca", Config), verify_mode => peer, crl_files => [],
            disconnect_on_failure => true},
    Postgres = Tls#{required => true,
                    server_name_indication => #{enabled => false, protocol => default}},
    Mysql = Tls#{versions => ['tlsv1.2', 'tlsv1.3'],
                 server_name_indication => #{enabled => true, protocol => default}},
    ?assertMatch(#{mode := verify_ca}, tls(pgsql, Postgres)),
    ?assertMatch(#{mode := verify_full}, tls(mysql, Mysql)),
    ?assertMatch([<<"tls.server_name_indication.enabled", _/binary>>], notes(pgsql, Postgres)),
    ?assertMatch([<<"tls.server_name_indication.protocol", _/binary>>], notes(mysql, Mysql)),
    ?assertMatch({ok, #{notes := []}}, database(#{max_start_interval => 30, port => 5432,
                                                  query_timeout => 5000})).

tls_that_does_not_verify_the_server(_Config) ->
    None = #{verify_mode => none},
    ?assertEqual(#{mode => required}, tls(mysql, None)),
    ?assertEqual(#{mode => required}, tls(pgsql, None#{required => true})),
    %% As in MongooseIM: only if the server offers it.
    ?assertEqual(#{mode => preferred}, tls(pgsql, None)),
    ?assertEqual(#{mode => preferred}, tls(cockroachdb, None#{required => false})).

what_does_not_mean_quite_the_same_is_noted(Config) ->
    Ca = #{cacertfile => file("ca", Config), required => true,
           server_name_indication => #{protocol => https}},
    Notes = fun(Changes) ->
                [hd(binary:split(Note, <<":">>)) || Note <- notes(pgsql, maps:merge(Ca, Changes))]
            end,
    ?assertEqual([], Notes(#{})),
    ?assertEqual([<<"tls.verify_mode">>], Notes(#{verify_mode => selfsigned_peer})),
    ?assertEqual([<<"tls.required">>], Notes(#{required => false})),
    ?assertEqual([<<"tls.server_name_indication.protocol">>],
                 Notes(#{server_name_indication => #{}})),
    ?assertEqual([<<"tls.server_name_indication.enabled">>],
                 Notes(#{server_name_indication => #{enabled => false}})).

a_client_certificate_may_hold_its_key(Config) ->
    [Both, Certificate, Key] = [list_to_binary(file(Name, Config))
                                || Name <- ["client-and-key", "client", "client-key"]],
    None = #{verify_mode => none},
    ?assertMatch(#{client := {Both, {file, Both}}}, tls(mysql, None#{certfile => Both})),
    ?assertMatch(#{client := {Certificate, {file, Key}}},
                 tls(mysql, None#{certfile => Certificate, keyfile => Key})).

an_encrypted_key_is_decrypted(Config) ->
    [begin
         Tls = #{verify_mode => none, certfile => file("client", Config),
                 keyfile => file(Key, Config), password => "key secret"},
         #{client := {_, {pem, Pem}}} = tls(mysql, Tls),
         ?assertMatch([{_, _, not_encrypted}], public_key:pem_decode(Pem))
     end || Key <- ["client-key-encrypted", "client-key-old"]].

paths_are_relative_to_the_working_directory(_Config) ->
    Path = list_to_binary(filename:absname("priv/ca.pem")),
    ?assertMatch(#{ca := {file, Path}}, tls(mysql, #{cacertfile => "priv/ca.pem"})).

%% What is refused

wrong_options_are_refused_with_their_name(_Config) ->
    Wrong = [{Option, #{Option => Value}}
             || {Option, Values} <- [{driver, [odbc, "pgsql"]}, {port, [0, 65536, "5432"]},
                                     {host, [undefined, {127, 0, 0, 1}, <<"h", 255>>]},
                                     {database, [mim]},
                                     {username, [1]}, {password, [secret, [secret]]},
                                     {query_timeout, [0, -1, infinity, 1.5]},
                                     {keepalive_interval, [0, undefined]},
                                     {max_start_interval, [0, never]}, {tls, [true, []]}],
                Value <- Values],
    [refused(Option, database(Change)) || {Option, Change} <- Wrong],
    [refused(Option, mongoose_domain_pool:database(
                         #{conn_opts => maps:remove(Option, conn_opts(#{}))}))
     || Option <- [driver, host, database, username, password]].

tls_options_that_cannot_be_done_are_refused_with_their_name(Config) ->
    Ca = #{cacertfile => file("ca", Config)},
    Sni = fun(Change) -> Ca#{server_name_indication => Change} end,
    Refused = [{"tls.ciphers", Ca#{ciphers => ["ECDHE-RSA-AES256-GCM-SHA384"]}},
               {"tls.ciphers", Ca#{ciphers => "ALL"}},
               {"tls.versions", Ca#{versions => ['tlsv1.3']}},
               {"tls.versions", Ca#{versions => ['tlsv1.2']}},
               {"tls.versions", Ca#{versions => ['tlsv1.1', tlsv1]}},
               {"tls.versions", Ca#{versions => 'tlsv1.3'}},
               {"tls.verify_mode", Ca#{verify_mode => sometimes}},
               {"tls.cacertfile", #{cacertfile => undefined}},
               {"tls.cacertfile", #{cacertfile => ""}},
               {"tls.server_name_indication", Ca#{server_name_indication => undefined}},
               {"tls.server_name_indication.host",
                #{verify_mode => none, server_name_indication => #{host => "other.example"}}},
               {"tls.server_name_indication.host",
                Sni(#{enabled => false, host => "other.example"})},
               {"tls.keyfile", #{verify_mode => none, keyfile => file("client-key", Config)}},
               {"tls.server_name_indication.host", Sni(#{host => "other.example"})},
               {"tls.server_name_indication.protocol", Sni(#{protocol => smtp})},
               {"tls.server_name_indication.enabled", Sni(#{enabled => sometimes})},
               {"tls.server_name_indication.colour", Sni(#{colour => red})},
               {"tls.colour", Ca#{colour => red}},
               {"tls.crl_files", Ca#{crl_files => ["priv/ssl/crl.pem"]}},
               {"tls.crl_files", Ca#{crl_files => undefined}},
               {"tls.disconnect_on_failure", Ca#{disconnect_on_failure => false}},
               {"tls.disconnect_on_failure", Ca#{disconnect_on_failure => sometimes}}],
    [refused(Option, database(#{driver => Driver, tls => Tls}))
     || {Option, Tls} <- Refused, Driver <- [pgsql, cockroachdb, mysql]],
    refused("tls.required", database(#{driver => pgsql, tls => Ca#{required => maybe_so}})).

%% What Rust reads is refused when the service opens the database.
files_that_are_wrong_are_refused_with_their_name(Config) ->
    [begin
         Bundle = filename:join(?config(priv_dir, Config), "bundle.pem"),
         #{cert := Authority} =
             public_key:pkix_test_root_cert("Authority", [{validity, {{Year, 1, 1},
                                                                      {Year + 1, 1, 1}}}]),
         {ok, Valid} = file:read_file(file("ca", Config)),
         Pem = public_key:pem_encode([{'Certificate', Authority, not_encrypted}]),
         ok = file:write_file(Bundle, [Valid, Pem]),
         refused("tls.cacertfile", database(#{tls => #{cacertfile => Bundle}}))
     end || Year <- [2020, 2200]],
    NoKey = #{verify_mode => none, certfile => file("client", Config)},
    refused("tls.keyfile", database(#{tls => NoKey})),
    refused("tls.keyfile", database(#{tls => NoKey#{keyfile => "/no/such.pem"}})),
    refused("tls.password",
            database(#{tls => NoKey#{keyfile => file("client-key-old", Config)}})),
    [begin
         {ok, #{options := Options}} = database(#{tls => Tls}),
         {error, {bad_database_option, Text}} =
             mongoose_domain_nif:open_database(Options#{max_connections => 1}),
         ?assertEqual({Text, Expected}, {Text, string:prefix(Text, "the file ")})
     end || {Tls, Expected} <-
                [{#{cacertfile => "/no/such.pem"},
                  <<"/no/such.pem cannot be read: No such file or directory (os error 2)">>},
                 {#{cacertfile => "/dev/null"},
                  <<"/dev/null has no certificate in it (PEM, not encrypted)">>},
                 {#{verify_mode => none, certfile => "/no/such.pem",
                    keyfile => file("client-key", Config)},
                  <<"/no/such.pem cannot be read: No such file or directory (os error 2)">>}]].

no_refusal_shows_a_password(Config) ->
    Secret = "secret",
    Wrong = [#{password => <<"secret", 255>>}, #{password => [list_to_atom(Secret)]},
             #{password => {Secret}},
             #{password => Secret, tls => Secret}, #{password => Secret, port => 0},
             #{tls => #{password => Secret, versions => ['tlsv1.3']}},
             #{tls => #{verify_mode => none, certfile => file("client", Config), password => Secret,
                        keyfile => file("client-key-encrypted", Config)}},
             #{tls => #{verify_mode => none, certfile => file("client", Config),
                        password => {Secret}, keyfile => file("client-key-encrypted", Config)}}],
    [begin
         {error, {bad_database_option, Text}} = database(Change),
         ?assertEqual({Text, nomatch}, {Text, string:find(Text, Secret)})
     end || Change <- Wrong],
    %% What is not even a map of options.
    ?assertMatch({error, {bad_database_option, _}},
                 mongoose_domain_pool:database((pool(#{}))#{conn_opts => [{password, Secret}]})).

what_would_leak_in_from_the_environment_is_refused(Config) ->
    Client = #{verify_mode => none, certfile => file("client-and-key", Config)},
    [begin
         Node = node_helper:start_peer(environment, [{Variable, "value"}]),
         Open = fun(Opts) -> node_helper:call(Node, ?MODULE, outcome_of_opening, [Opts]) end,
         Text = iolist_to_binary(["the environment variable ", Variable, " would change the "
                                  "connection to the database: start the node without it"]),
         ?assertEqual({error, {bad_database_option, Text}}, Open(Changes)),
         ?assertEqual(ok, Open(#{driver => mysql})),
         _ = [?assertEqual(ok, Open(#{tls => Client})) || Variable =:= "PGSSLCERT"],
         node_helper:stop_node(Node)
     end || {Variable, Changes} <- [{"PGOPTIONS", #{}}, {"PGSSLCERT", #{}}, {"PGSSLKEY", #{}},
                                    {"PGPASSWORD", #{password => ""}}]].

outcome_of_opening(Changes) ->
    {ok, #{options := Options}} = database(Changes),
    case mongoose_domain_nif:open_database(Options#{max_connections => 1}) of
        {ok, Database} -> mongoose_domain_nif:close_database(Database);
        {error, Failure} -> {error, Failure}
    end.

%% The start of the service

a_wrong_option_refuses_the_start_and_nothing_runs(_Config) ->
    start_mongooseim(#{outgoing_pools => [pool(#{tls => #{versions => ['tlsv1.3']}})]}),
    {database, {bad_database_option, Text}} = start_error(#{}),
    ?assertMatch(<<"the option tls.versions of the connection in outgoing_pools.rdbms", _/binary>>,
                 Text),
    ?assertEqual(undefined, whereis(service_domain_db)),
    ?assertNot(lists:keymember(service_domain_db, 1, supervisor:which_children(ejabberd_sup))),
    ?assertEqual(0, meck:num_calls(mongoose_domain_sql, start, '_')),
    ?assertEqual(0, meck:num_calls(mongoose_domain_db_cleaner, start, '_')).

a_missing_pool_refuses_the_start(_Config) ->
    start_mongooseim(#{outgoing_pools => []}),
    ?assertMatch({database, {no_database, _}}, start_error(#{})).

too_many_connections_refuse_the_start(_Config) ->
    start_mongooseim(#{outgoing_pools => [pool(#{})]}),
    ?assertMatch({database, {bad_database_option, <<"max_connections must be 1 to 100">>}},
                 start_error(#{max_connections => 101})).

options_that_the_library_does_not_take_show_no_password(_Config) ->
    start_mongooseim(#{outgoing_pools => [pool(#{password => "secret"})]}),
    {database, {badarg, Text}} = start_error(#{max_connections => many}),
    ?assertEqual(nomatch, string:find(Text, "secret")).

another_start_takes_the_new_options(_Config) ->
    Away = fun(Name) -> pool(#{host => "127.0.0.1", port => 1, database => Name}) end,
    start_mongooseim(#{outgoing_pools => [Away("one"), (Away("two"))#{scope => <<"type1">>}]}),
    ok = service_domain_db:start(#{}),
    First = whereis(service_domain_db),
    ok = service_domain_db:start(#{db_pool => type1}),
    ?assertNotEqual(First, whereis(service_domain_db)),
    ?assertMatch([#{database := <<"one">>}, #{database := <<"two">>}],
                 log_helper:logged(domain_database)),
    ok = service_domain_db:stop().

a_database_that_is_away_does_not_refuse_the_start(_Config) ->
    start_mongooseim(#{outgoing_pools => [pool(#{host => "127.0.0.1", port => 1})]}),
    ok = service_domain_db:start(#{}),
    test_helper:wait_until(fun() -> log_helper:logged(domain_check_failed) =/= [] end),
    ?assertEqual(1, meck:num_calls(mongoose_domain_sql, start, '_')),
    ?assertEqual(1, meck:num_calls(mongoose_domain_db_cleaner, start, '_')),
    ok = service_domain_db:stop().

the_start_says_which_database_and_no_password(_Config) ->
    Away = #{host => "127.0.0.1", port => 1, password => "secret", colour => red},
    start_mongooseim(#{outgoing_pools => [pool(Away)]}),
    ok = service_domain_db:start(#{}),
    ?assertMatch([#{level := notice, host := <<"127.0.0.1">>, port := 1, database := <<"mim">>,
                    tls := off, notes := [<<"colour: unknown here, and ignored">>]}],
                 log_helper:logged(domain_database)),
    Everything = io_lib:format("~p", [[log_helper:logged(domain_database),
                                       log_helper:logged(domain_check_failed)]]),
    ?assertEqual(nomatch, string:find(Everything, "secret")),
    ok = service_domain_db:stop().

retries_are_as_far_apart_as_the_pool_says(_Config) ->
    start_mongooseim(#{outgoing_pools => [pool(#{host => "127.0.0.1", port => 1,
                                                 query_timeout => 100,
                                                 max_start_interval => 1})]}),
    ok = service_domain_db:start(#{}),
    %% By now they would be 4 s apart.
    test_helper:wait_until(fun() -> length(log_helper:logged(domain_check_failed)) >= 4 end),
    Waits = [Wait || #{retry_after_milliseconds := Wait} <-
                         log_helper:logged(domain_check_failed)],
    ?assert(lists:max(Waits) =< 1000),
    ok = service_domain_db:stop().

%% The check of MongooseIM

missing_functions_are_named_in_one_line_of_the_log(_Config) ->
    start_mongooseim(#{outgoing_pools => []}, [{mongoose_lazy_routing, maybe_remove_domain, 2},
                                               {mongoose_domain_db_cleaner, stop, 0}]),
    ?assertMatch([#{level := error, functions := [<<"mongoose_lazy_routing:maybe_remove_domain/2">>,
                                                  <<"mongoose_domain_db_cleaner:stop/0">>]}],
                 log_helper:logged(mongooseim_functions_missing)).

a_complete_mongooseim_is_not_mentioned(_Config) ->
    start_mongooseim(#{outgoing_pools => []}),
    ?assertEqual([], log_helper:logged(mongooseim_functions_missing)).

%% Helpers

named(Scope) ->
    (pool(#{database => lists:flatten(io_lib:format("db of ~s", [Scope]))}))#{scope => Scope}.

pool(Changes) ->
    #{type => rdbms, scope => global, tag => default, opts => #{workers => 10},
      conn_opts => conn_opts(Changes)}.

conn_opts(Changes) ->
    maps:merge(#{driver => pgsql, host => "db.example", database => "mim", username => "mongoose",
                 password => "pass word"}, Changes).

database(Changes) ->
    mongoose_domain_pool:database(pool(Changes)).

tls(Driver, Tls) ->
    {ok, #{options := #{tls := Options}}} = database(#{driver => Driver, tls => Tls}),
    Options.

notes(Driver, Tls) ->
    {ok, #{notes := Notes}} = database(#{driver => Driver, tls => Tls}),
    Notes.

pem(File) ->
    {ok, Pem} = file:read_file(File),
    public_key:pem_decode(Pem).

with_system_authorities(Get, Test) ->
    ok = meck:new(public_key, [unstick, passthrough, no_link]),
    ok = meck:expect(public_key, cacerts_get, Get),
    try Test() after meck:unload(public_key) end.

refused(Option, Answer) ->
    Format = "the option ~s of the connection in outgoing_pools.rdbms: ",
    Start = iolist_to_binary(io_lib:format(Format, [Option])),
    {error, {bad_database_option, Text}} = Answer,
    ?assertNotEqual({Start, Text, nomatch}, {Start, Text, string:prefix(Text, Start)}).

file(Name, Config) ->
    tls_helper:certificate(Name, Config).

opts(DbPool) ->
    #{db_pool => DbPool, max_connections => 2}.

start_error(Opts) ->
    try service_domain_db:start(Opts) of
        ok -> started
    catch
        error:Reason -> Reason
    end.

%% The modules of MongooseIM that we call, its supervisor, and our core with a static domain.
start_mongooseim(Pools) ->
    start_mongooseim(Pools, []).

start_mongooseim(Pools, Without) ->
    Get = fun(Key, Default) -> maps:get(Key, Pools, Default) end,
    Functions = [{mongoose_config, get_opt, fun(Key) -> maps:get(Key, Pools) end},
                 {mongoose_config, get_opt, Get},
                 {mongoose_service, is_loaded, fun(_) -> true end},
                 {mongoose_domain_sql, start, fun(_) -> ok end},
                 {mongoose_domain_db_cleaner, start, fun(_) -> ok end},
                 {mongoose_domain_db_cleaner, stop, fun() -> ok end},
                 {mongoose_subdomain_core, add_domain, fun(_, _) -> ok end},
                 {mongoose_subdomain_core, remove_domain, fun(_, _) -> ok end},
                 {mongoose_lazy_routing, maybe_remove_domain, fun(_, _) -> ok end}],
    lists:foreach(fun(Module) -> ok = meck:new(Module, [non_strict, no_link]) end, ?MODULES),
    [ok = meck:expect(M, F, Fun) || {M, F, Fun} <- Functions,
                                    not lists:member({M, F, arity(Fun)}, Without)],
    {ok, Sup} = supervisor:start_link({local, ejabberd_sup}, ?MODULE, []),
    true = unlink(Sup).

%% The supervisor.
init([]) ->
    Children = [#{id => mim_scope, start => {pg, start_link, [mim_scope]}},
                #{id => mongoose_domain_core,
                  start => {mongoose_domain_core, start_link, [[], []]}}],
    {ok, {#{}, Children}}.

stop_mongooseim() ->
    case whereis(ejabberd_sup) of
        undefined ->
            ok;
        Sup ->
            Monitor = monitor(process, Sup),
            exit(Sup, shutdown),
            receive {'DOWN', Monitor, process, Sup, _} -> ok end
    end,
    test_helper:attempt(fun() -> meck:unload(?MODULES) end).

arity(Fun) ->
    {arity, Arity} = erlang:fun_info(Fun, arity),
    Arity.
