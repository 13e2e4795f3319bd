%% @doc How a node logs in to MySQL or MariaDB (the one that is installed) without TLS, by a URL and
%% by a pool of MongooseIM: what works, and what is said of what does not.
-module(login_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

all() ->
    [an_empty_password_works,
     a_wrong_password_and_an_unknown_user_are_named,
     a_locked_user_is_named,
     an_expired_password_is_named,
     a_refused_login_is_counted_and_works_when_it_is_mended,
     a_server_of_another_kind_is_named
     | of_server(db_helper:mysql_server())].

of_server(mariadb) ->
    [a_password_of_ed25519_is_named,
     a_login_by_pam_is_named,
     an_expired_password_is_named_when_the_server_lets_the_user_change_it,
     a_user_that_is_blocked_for_wrong_passwords_is_named];
of_server(mysql) ->
    [caching_sha2_password_works_for_a_fresh_user_and_for_a_cached_one,
     caching_sha2_password_works_for_passwords_of_many_bytes,
     sha256_password_works,
     an_empty_password_of_sha256_password_is_named,
     a_user_that_is_blocked_for_wrong_passwords_is_named,
     a_server_that_demands_tls_is_named].

init_per_suite(Config) ->
    db_helper:init_database(mysql, Config).

end_per_suite(Config) ->
    db_helper:end_database(Config).

init_per_testcase(_Case, Config) ->
    Url = db_helper:fresh_url(Config),
    [{url, Url}, {user, test_helper:data_name(user)} | Config].

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone().

%% Both

an_empty_password_works(Config) ->
    user("IDENTIFIED BY ''", Config),
    ?assertEqual([ok, ok], logins("", Config)),
    ?assertEqual(ok, login(url(":@", Config))).

a_wrong_password_and_an_unknown_user_are_named(Config) ->
    user("IDENTIFIED BY 'secret'", Config),
    Advice = "check the user's name and password",
    refused(["Access denied for user", Advice], logins("wrong-secret", Config)),
    refused(["Access denied for user", "using password: NO", Advice], logins("", Config)),
    Unknown = lists:keystore(user, 1, Config, {user, "nobody"}),
    refused(["Access denied for user 'nobody'@", Advice], logins("secret", Unknown)).

a_locked_user_is_named(Config) ->
    user("IDENTIFIED BY 'secret' ACCOUNT LOCK", Config),
    refused(["locked: unlock it (ALTER USER"], logins("secret", Config)).

an_expired_password_is_named(Config) ->
    user("IDENTIFIED BY 'secret' PASSWORD EXPIRE", Config),
    %% MySQL's default.
    [sql("SET GLOBAL disconnect_on_expired_password = ON", Config)
     || db_helper:mysql_server() =:= mariadb],
    refused(["Your password has expired", "set a new password"], logins("secret", Config)).

a_refused_login_is_counted_and_works_when_it_is_mended(Config) ->
    user("IDENTIFIED BY 'secret' ACCOUNT LOCK", Config),
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('a.example', 'type1')", Config),
    {ok, _} = node_helper:start_standalone(#{database => url(":secret@", Config)}),
    test_helper:wait_until(fun() ->
        case service_domain_db:status() of
            #{errors := #{access_denied := Count}} -> Count >= 2;
            _ -> false
        end
    end),
    sql(["ALTER USER ", ?config(user, Config), "@'127.0.0.1' ACCOUNT UNLOCK"], Config),
    test_helper:wait_until(fun() ->
        {ok, <<"type1">>} =:= mongoose_domain_core:get_host_type(<<"a.example">>)
    end),
    ?assertEqual([access_denied], maps:keys(maps:get(errors, service_domain_db:status()))).

a_server_of_another_kind_is_named(Config) ->
    "mysql:" ++ OfMysql = ?config(url, Config),
    {error, {query_failed, Said}} = login("postgres:" ++ OfMysql),
    says(["unexpected answer from the database server: "], Said).

%% MariaDB

a_password_of_ed25519_is_named(Config) ->
    plugin("auth_ed25519", Config),
    user("IDENTIFIED VIA ed25519 USING PASSWORD('secret')", Config),
    refused(["the user's authentication plugin client_ed25519 is not supported here: "
             "change it to ", "mysql_native_password"], logins("secret", Config)).

a_login_by_pam_is_named(Config) ->
    plugin("auth_pam", Config),
    user("IDENTIFIED VIA pam", Config),
    refused(["the user's authentication plugin dialog is not supported here"],
            logins("secret", Config)).

%% The default of MariaDB.
an_expired_password_is_named_when_the_server_lets_the_user_change_it(Config) ->
    user("IDENTIFIED BY 'secret' PASSWORD EXPIRE", Config),
    sql("SET GLOBAL disconnect_on_expired_password = OFF", Config),
    refused(["the user's password has expired: set a new password"],
            logins("secret", Config)).

%% Both, each in its own way

a_user_that_is_blocked_for_wrong_passwords_is_named(Config) ->
    case db_helper:mysql_server() of
        mariadb ->
            user("IDENTIFIED BY 'secret'", Config),
            sql("SET GLOBAL max_password_errors = 2", Config);
        mysql ->
            user("IDENTIFIED BY 'secret' FAILED_LOGIN_ATTEMPTS 2 PASSWORD_LOCK_TIME 1", Config)
    end,
    refused(["Access denied for user"], logins("wrong-secret", Config)),
    refused(["locked", "too many wrong passwords"], logins("secret", Config)),
    sql(["ALTER USER ", ?config(user, Config), "@'127.0.0.1' ACCOUNT UNLOCK; "
         "FLUSH PRIVILEGES"], Config),
    ?assertEqual([ok, ok], logins("secret", Config)).

%% MySQL

caching_sha2_password_works_for_a_fresh_user_and_for_a_cached_one(Config) ->
    user("IDENTIFIED WITH caching_sha2_password BY 'secret'", Config),
    ByPool = pool("secret", Config),
    ByUrl = url(":secret@", Config),
    [begin
         %% It forgets who has logged in.
         sql("FLUSH PRIVILEGES", Config),
         refused(["Access denied for user"], [login(pool("wrong-secret", Config))]),
         ?assertEqual({fresh, ok}, {fresh, login(First)}),
         ?assertEqual({cached, ok}, {cached, login(Second)}),
         refused(["Access denied for user"], [login(pool("wrong-secret", Config))])
     end || {First, Second} <- [{ByPool, ByUrl}, {ByUrl, ByPool}]].

%% The key of a server has 2,048 bits: it encrypts 214 bytes.
caching_sha2_password_works_for_passwords_of_many_bytes(Config) ->
    Long = lists:duplicate(213, $a),
    user(["IDENTIFIED BY '", Long, "'"], Config),
    ?assertEqual([ok, ok], logins(Long, Config)),
    TooLong = [$a | Long],
    sql(["ALTER USER ", ?config(user, Config), "@'127.0.0.1' IDENTIFIED BY '", TooLong, "'"],
        Config),
    refused(["the password is too long to be encrypted by the server's public key: turn on TLS"],
            logins(TooLong, Config)).

sha256_password_works(Config) ->
    user("IDENTIFIED WITH sha256_password BY 'secret'", Config),
    ?assertEqual([ok, ok], logins("secret", Config)),
    refused(["Access denied for user"], logins("wrong-secret", Config)).

an_empty_password_of_sha256_password_is_named(Config) ->
    user("IDENTIFIED WITH sha256_password BY ''", Config),
    refused(["Access denied for user"], logins("", Config)).

a_server_that_demands_tls_is_named(Config) ->
    Certificates = tls_helper:make_certificates(Config),
    Server = db_helper:init_tls_database(mysql, ?config(certificates, Certificates), Config),
    Other = lists:keystore(url, 1, Server, {url, db_helper:fresh_url(Server)}),
    user("IDENTIFIED BY 'secret'", Other),
    sql("SET GLOBAL require_secure_transport = ON", Other),
    {error, {tls_failed, Said}} = login(pool("secret", Other)),
    says(["Connections using insecure transport are prohibited", "Turn on TLS"], Said),
    ?assertEqual(ok, login(url(":secret@", Other))),
    db_helper:end_database(Server).

%% Helpers

%% Creates the user of the test.
user(Identified, Config) ->
    User = ?config(user, Config),
    [_, Database] = string:split(?config(url, Config), "/", trailing),
    sql(["CREATE USER ", User, "@'127.0.0.1' ", Identified, "; "
         "GRANT ALL ON ", Database, ".* TO ", User, "@'127.0.0.1'"], Config).

plugin(Library, Config) ->
    sql(["INSTALL SONAME '", Library, "'"], Config).

sql(Statements, Config) ->
    "" = db_helper:sql(?config(url, Config), Statements),
    ok.

%% What becomes of a login of the user of the test by a URL and by a pool.
logins(Password, Config) ->
    Login = case Password of "" -> "@"; _ -> ":" ++ Password ++ "@" end,
    [login(url(Login, Config)), login(pool(Password, Config))].

url(Login, Config) ->
    lists:flatten(string:replace(?config(url, Config), "domains:secret@",
                                 ?config(user, Config) ++ Login)).

pool(Password, Config) ->
    #{port := Port, path := "/" ++ Database} = uri_string:parse(?config(url, Config)),
    #{driver => mysql, host => "127.0.0.1", port => Port, database => Database,
      username => ?config(user, Config), password => Password, query_timeout => 60000}.

login(#{} = ConnOpts) ->
    Pool = #{type => rdbms, scope => global, tag => default, opts => #{}, conn_opts => ConnOpts},
    {ok, #{options := Options}} = mongoose_domain_pool:database(Pool),
    open_and_ask(Options);
login(Url) ->
    open_and_ask(#{url => list_to_binary(Url), query_timeout => 60000, idle_timeout => 60000}).

open_and_ask(Options) ->
    {ok, Database} = mongoose_domain_nif:open_database(Options#{max_connections => 1}),
    Ref = make_ref(),
    ok = mongoose_domain_nif:request(Database, newest_event, Ref),
    Answer = receive
                 {mongoose_domain_nif, Ref, {ok, _}} -> ok;
                 {mongoose_domain_nif, Ref, {error, Failure}} -> {error, Failure}
             end,
    ok = mongoose_domain_nif:close_database(Database),
    Answer.

%% Each is refused, and these words are in the text.
refused(Words, Logins) ->
    [begin
         {error, {access_denied, Said}} = Login,
         says(["the database server refuses access: " | Words], Said)
     end || Login <- Logins].

says(Words, Said) ->
    [?assertMatch({_, _, {_, _}}, {Part, Said, binary:match(Said, list_to_binary(Part))})
     || Part <- Words],
    [?assertEqual({nomatch, Said}, {binary:match(Said, Part), Said})
     || Part <- [<<"sqlx">>, <<".rs">>, <<"secret">>]].
