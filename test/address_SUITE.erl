%% @doc Where servers can be: IPv6, sockets of the file system, names; and what is said when they
%% are not there.
-module(address_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

all() ->
    [{group, postgres}, {group, mysql}, {group, http}].

groups() ->
    Cases = [a_url_may_have_an_ipv6_address,
             a_pool_may_have_an_ipv6_address,
             tls_verifies_an_ipv6_address,
             an_address_that_is_not_known_is_named,
             who_refuses_the_connection_is_named,
             a_failed_login_shows_no_password],
    [{postgres, [], Cases ++ [a_socket_is_found_as_by_libpq,
                              a_password_that_scram_does_not_allow_is_said]},
     {mysql, [], Cases ++ [a_socket_may_be_a_parameter]},
     {http, [], [the_http_server_may_listen_on_ipv6,
                 an_address_that_is_none_is_refused]}].

init_per_group(http, Config) ->
    Config;
init_per_group(Kind, Config) ->
    WithCertificates = tls_helper:make_certificates(Config),
    Dir = ?config(certificates, WithCertificates),
    db_helper:init_tls_database(Kind, Dir, WithCertificates).

end_per_group(_Kind, Config) ->
    db_helper:end_database(Config).

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone().

%% Databases

a_url_may_have_an_ipv6_address(Config) ->
    Url = fresh_url("127.0.0.1", "[::1]", Config),
    {ok, _} = http_helper:start(#{database => Url}, #{}),
    {ok, _} = mongoose_domain_api:insert_domain(<<"a.example">>, <<"type1">>),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, <<"type1">>}, mongoose_domain_core:get_host_type(<<"a.example">>)),
    %% The HTTP server has connections of its own.
    ?assertEqual({200, <<"domain,host_type,status\na.example,type1,enabled\n">>},
                 http_helper:get("/api/export")).

a_pool_may_have_an_ipv6_address(Config) ->
    ?assertEqual(ok, connect(#{host => "::1"}, Config)),
    ?assertEqual(ok, connect(#{host => <<"::1">>}, Config)).

tls_verifies_an_ipv6_address(Config) ->
    Tls = fun(Ca) -> #{verify_mode => peer, cacertfile => tls_helper:certificate(Ca, Config)} end,
    ?assertEqual(ok, connect(#{host => "::1", tls => Tls("ca")}, Config)),
    ?assertMatch({error, {tls_failed, _}},
                 connect(#{host => "::1", tls => Tls("other-ca")}, Config)),
    {Mode, Ca} = case ?config(kind, Config) of
                     postgres -> {"?sslmode=verify-full", "&sslrootcert="};
                     mysql -> {"?ssl-mode=VERIFY_IDENTITY", "&ssl-ca="}
                 end,
    Url = fresh_url("127.0.0.1", "[::1]", Config) ++ Mode ++ Ca,
    ?assertEqual(ok, connect_url(Url ++ tls_helper:certificate("ca", Config))),
    ?assertMatch({error, {tls_failed, _}},
                 connect_url(Url ++ tls_helper:certificate("other-ca", Config))).

an_address_that_is_not_known_is_named(Config) ->
    [begin
         ?assertMatch({error, {database_unavailable, _}}, Answer),
         {error, {_, Text}} = Answer,
         ?assertNotEqual({Text, nomatch}, {Text, string:find(Text, " no-such-host.invalid:")})
     end || Answer <- [connect(#{host => "no-such-host.invalid"}, Config),
                       connect_url(fresh_url("127.0.0.1", "no-such-host.invalid", Config))]].

who_refuses_the_connection_is_named(Config) ->
    [?assertMatch({error, {database_unavailable, <<"no connection to the database server ",
                                                   Named:Size/binary, ": Connection refused",
                                                   _/binary>>}},
                  connect(#{host => Host, port => 1}, Config))
     || {Host, Named} <- [{"127.0.0.1", <<"127.0.0.1:1">>}, {"::1", <<"[::1]:1">>}],
        Size <- [byte_size(Named)]].

a_failed_login_shows_no_password(Config) ->
    {error, {access_denied, Text}} = connect(#{password => "geheim"}, Config),
    ?assertEqual({Text, nomatch}, {Text, string:find(Text, "geheim")}).

a_socket_is_found_as_by_libpq(Config) ->
    Dir = filename:dirname(?config(control, Config)),
    Url = db_helper:fresh_url(Config),
    #{port := Port, path := Path} = uri_string:parse(Url),
    PortText = integer_to_list(Port),
    Directory = "?host=" ++ Dir,
    Encoded = lists:flatten(string:replace(Dir, "/", "%2F", all)),
    %% libpq says whether we understood it right.
    [begin
         ?assertEqual({Same, "1"}, {Same, db_helper:sql(Same, "SELECT 1")}),
         ?assertEqual({Same, ok}, {Same, connect_url(Same)})
     end || Same <- ["postgres://domains:secret@" ++ Path ++ Directory ++ "&port=" ++ PortText,
                     "postgres://domains:secret@:" ++ PortText ++ Path ++ Directory,
                     "postgres://domains:secret@nowhere.invalid:" ++ PortText ++ Path ++ Directory,
                     "postgres://domains:secret@" ++ Encoded ++ ":" ++ PortText ++ Path,
                     "postgresql://" ++ Path ++ Directory ++ "&port=" ++ PortText
                         ++ "&user=domains&password=secret"]],
    ?assertMatch({error, {database_unavailable, <<"no connection to the database server "
                                                  "/nowhere:5432:", _/binary>>}},
                 connect_url("postgres://domains:secret@" ++ Path ++ "?host=/nowhere")).

a_socket_may_be_a_parameter(Config) ->
    Fresh = db_helper:fresh_url(Config),
    #{path := Path} = uri_string:parse(Fresh),
    Socket = filename:join(filename:dirname(?config(control, Config)), "socket"),
    db_helper:sql(Fresh, "CREATE USER IF NOT EXISTS domains@localhost IDENTIFIED BY 'secret';"
                       "GRANT ALL ON *.* TO domains@localhost"),
    Url = fun(User) -> "mysql://" ++ User ++ Path ++ "?socket=" ++ Socket end,
    [?assertEqual({User, ok}, {User, connect_url(Url(User))})
     || User <- ["domains:secret@", "domains:secret@localhost"]].

%% libpq takes such a password as it is.
a_password_that_scram_does_not_allow_is_said(Config) ->
    db_helper:sql(?config(server_url, Config), "ALTER ROLE certified PASSWORD 'geheim'"),
    {error, {access_denied, Text}} = connect(#{password => "geheim\x{1}"}, Config),
    ?assertNotEqual({Text, nomatch}, {Text, string:find(Text, "SASLprep")}),
    ?assertEqual({Text, nomatch}, {Text, string:find(Text, "geheim")}),
    ?assertEqual({Text, nomatch}, {Text, string:find(Text, "u{1}")}).

%% The HTTP server

the_http_server_may_listen_on_ipv6(_Config) ->
    [begin
         {ok, _} = http_helper:start(#{}, Http#{ip_address => Address}),
         {Address, Port} = listening(),
         [?assertMatch({_, <<"HTTP/1.1 200 ", _/binary>>}, {Host, health(Host, Port)})
          || Host <- Hosts],
         node_helper:stop_standalone()
     end || {Address, Http, Hosts} <- [{"::1", #{}, ["::1"]},
                                       {"::", #{username => "admin", password => "geheim"},
                                        ["::1", "127.0.0.1"]}]].

%% OTP's client does not speak IPv6 and IPv4.
health(Host, Port) ->
    {ok, Address} = inet:parse_address(Host),
    Family = case tuple_size(Address) of 4 -> inet; 8 -> inet6 end,
    {ok, Socket} = gen_tcp:connect(Address, Port, [Family, binary, {active, false}]),
    ok = gen_tcp:send(Socket, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    {ok, Answer} = gen_tcp:recv(Socket, 0, 5000),
    ok = gen_tcp:close(Socket),
    Answer.

listening() ->
    {Address, Port} = mongoose_domain_http:address(),
    {binary_to_list(Address), Port}.

an_address_that_is_none_is_refused(_Config) ->
    [?assertMatch({error, _}, http_helper:start(#{}, #{ip_address => Address}))
     || Address <- ["[::1]", "localhost", "::1::"]].

%% Helpers

fresh_url(Address, Instead, Config) ->
    lists:flatten(string:replace(db_helper:fresh_url(Config), Address, Instead)).

connect(Changes, Config) ->
    #{port := Port, path := "/" ++ Name} = uri_string:parse(db_helper:fresh_url(Config)),
    Driver = case ?config(kind, Config) of postgres -> pgsql; mysql -> mysql end,
    Opts = #{driver => Driver, host => "127.0.0.1", port => Port, database => Name,
             username => "domains", password => "secret", query_timeout => 60000},
    Pool = #{type => rdbms, scope => global, tag => default, opts => #{},
             conn_opts => maps:merge(Opts, Changes)},
    {ok, #{options := Options}} = mongoose_domain_pool:database(Pool),
    ask(Options#{max_connections => 1}).

connect_url(Url) ->
    ask(#{url => unicode:characters_to_binary(Url), max_connections => 1,
          query_timeout => 60000, idle_timeout => 60000}).

ask(Options) ->
    {ok, Database} = mongoose_domain_nif:open_database(Options),
    Ref = make_ref(),
    ok = mongoose_domain_nif:request(Database, newest_event, Ref),
    Answer = receive {mongoose_domain_nif, Ref, Reply} -> Reply end,
    ok = mongoose_domain_nif:close_database(Database),
    case Answer of
        {ok, nil} -> ok;
        {error, Failure} -> {error, Failure}
    end.
