%% @doc TLS to real servers, by the options of MongooseIM's pools: who is trusted, who is not, and
%% that nothing is weaker than it was asked for.
-module(tls_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").
-include_lib("public_key/include/public_key.hrl").

all() ->
    [{group, postgres}, {group, mysql}].

groups() ->
    Cases = [the_right_authority_is_trusted,
             a_wrong_authority_is_not_trusted,
             the_authorities_of_the_system_are_not_trusted_beside_others,
             without_others_the_authorities_of_the_system_are_trusted,
             authorities_of_the_system_that_are_of_no_use_do_no_harm,
             a_wrong_host_name_is_refused,
             a_wrong_host_name_is_accepted_without_server_name_indication,
             without_verification_any_certificate_is_accepted,
             small_messages_are_not_held_back,
             a_client_certificate_is_shown,
             a_client_certificate_and_its_key_may_be_in_one_file,
             an_encrypted_key_is_decrypted_by_its_password,
             a_key_encrypted_the_old_way_is_decrypted_by_its_password,
             without_the_client_certificate_the_server_refuses,
             a_self_signed_certificate_that_is_configured_is_trusted,
             a_self_signed_certificate_that_is_not_configured_is_not_trusted,
             without_tls_no_tls_is_used,
             tls_that_is_required_but_not_offered_is_an_error,
             tls_that_must_be_verified_but_is_not_offered_is_an_error,
             a_renewed_authority_is_trusted_by_the_next_connection,
             urls_verify_the_server,
             urls_with_verification_need_the_authorities],
    [{postgres, Cases ++ [tls_that_is_not_required_and_not_offered_is_not_used]}, {mysql, Cases}].

init_per_suite(Config) ->
    tls_helper:make_certificates(Config).

end_per_suite(_Config) ->
    ok.

init_per_group(Kind, Config) ->
    Dir = ?config(certificates, Config),
    SelfSigned = db_helper:init_tls_database(Kind, filename:join(Dir, "self-signed"), Config),
    Plain = db_helper:init_database(Kind, Config),
    [{self_signed, SelfSigned}, {plain, Plain} | db_helper:init_tls_database(Kind, Dir, Config)].

end_per_group(_Kind, Config) ->
    [db_helper:end_database(C)
     || C <- [Config, ?config(self_signed, Config), ?config(plain, Config)]].

init_per_testcase(_Case, Config) ->
    Config.

end_per_testcase(_Case, _Config) ->
    ok.

%% The server

the_right_authority_is_trusted(Config) ->
    [?assertEqual({Mode, ok}, {Mode, connect(verified(Mode, Config), Config)})
     || Mode <- [peer, selfsigned_peer]],
    %% It is the default.
    ?assertEqual(ok, connect(maps:remove(verify_mode, verified(peer, Config)), Config)).

a_wrong_authority_is_not_trusted(Config) ->
    [?assertMatch({error, {tls_failed, <<"the TLS connection to the database server failed: ",
                                        _/binary>>}},
                  connect(Tls#{cacertfile => file("other-ca", Config)}, Config))
     || Tls <- [verified(peer, Config), verified(selfsigned_peer, Config), any_host(Config)]].

%% Else it would be enough to be certified by any of them. For this node ours is one.
the_authorities_of_the_system_are_not_trusted_beside_others(Config) ->
    Node = node_helper:start_peer(system, [{"SSL_CERT_FILE", file("ca", Config)}]),
    Pools = [pool(verified(peer, Config, Ca), Config) || Ca <- ["ca", "other-ca"]],
    Answers = [node_helper:call(Node, ?MODULE, connect_pool, [Pool]) || Pool <- Pools],
    node_helper:stop_node(Node),
    ?assertMatch([ok, {error, {tls_failed, _}}], Answers).

%% As in MongooseIM since 6.4.
without_others_the_authorities_of_the_system_are_trusted(Config) ->
    ?assertEqual(ok, connect_trusting([file("ca", Config)], Config)),
    ?assertMatch({error, {tls_failed, _}}, connect_trusting([file("other-ca", Config)], Config)),
    %% The real ones.
    ?assertMatch({error, {tls_failed, _}}, connect(#{verify_mode => peer}, Config)).

%% One that rustls does not take: it says twice by which algorithm it is signed, and not the same.
authorities_of_the_system_that_are_of_no_use_do_no_harm(Config) ->
    Odd = filename:join(?config(priv_dir, Config), "odd.pem"),
    #{cert := Good} = public_key:pkix_test_root_cert("Authority", []),
    #'Certificate'{} = Certificate = public_key:pkix_decode_cert(Good, plain),
    Other = #'AlgorithmIdentifier'{algorithm = ?'ecdsa-with-SHA384', parameters = asn1_NOVALUE},
    OddCertificate = Certificate#'Certificate'{signatureAlgorithm = Other},
    Der = public_key:der_encode('Certificate', OddCertificate),
    ok = file:write_file(Odd, public_key:pem_encode([{'Certificate', Der, not_encrypted}])),
    ?assertMatch({error, {tls_failed, _}},
                 connect((verified(peer, Config))#{cacertfile => Odd}, Config)),
    ?assertEqual(ok, connect_trusting([Odd, file("ca", Config)], Config)),
    ?assertMatch({error, {bad_database_option, _}}, connect_trusting([Odd], Config)).

a_wrong_host_name_is_refused(Config) ->
    {error, {tls_failed, Text}} = connect(verified(peer, Config), #{host => "localhost"}, Config),
    ?assertNotEqual(nomatch, string:find(Text, "not valid for name")).

a_wrong_host_name_is_accepted_without_server_name_indication(Config) ->
    ?assertEqual(ok, connect(any_host(Config), #{host => "localhost"}, Config)).

without_verification_any_certificate_is_accepted(Config) ->
    Tls = #{verify_mode => none},
    ?assertEqual(ok, connect(Tls, #{host => "localhost"}, Config)),
    ?assertEqual(ok, connect(Tls, ?config(self_signed, Config))),
    ?assert(is_encrypted(Tls, Config)).

%% Or each connection would wait 40 ms, twice, for nothing: no message of the TLS handshake is
%% large.
small_messages_are_not_held_back(Config) ->
    #{port := Port} = uri_string:parse(?config(server_url, Config)),
    %% Those of other cases may just be closed.
    test_helper:wait_until(fun() -> sockets_to(Port) =:= [] end),
    {ok, Database} = open(pool(verified(peer, Config), Config)),
    ok = ask(Database),
    Ours = sockets_to(Port),
    ?assertMatch([_ | _], Ours),
    [begin
         {ok, Socket} = socket:open(Fd, #{dup => true}),
         ?assertEqual({ok, true}, socket:getopt(Socket, {tcp, nodelay})),
         ok = socket:close(Socket)
     end || Fd <- Ours],
    ok = mongoose_domain_nif:close_database(Database).

%% Of this VM, which are connected with the port: their file descriptors, by /proc (proc(5)).
sockets_to(Port) ->
    {ok, Table} = file:read_file("/proc/net/tcp"),
    Remote = iolist_to_binary(io_lib:format(":~4.16.0B", [Port])),
    Inodes = ["socket:[" ++ binary_to_list(Inode) ++ "]"
              || Line <- binary:split(Table, <<"\n">>, [global, trim_all]),
                 [_, _, Peer, <<"01">>, _, _, _, _, _, Inode | _]
                     <- [binary:split(Line, <<" ">>, [global, trim_all])],
                 binary:longest_common_suffix([Peer, Remote]) =:= 5],
    [list_to_integer(filename:basename(File))
     || File <- filelib:wildcard("/proc/self/fd/*"),
        {ok, Link} <- [file:read_link(File)], lists:member(Link, Inodes)].

%% Ourselves

a_client_certificate_is_shown(Config) ->
    ?assertEqual(ok, connect_certified(client(Config), Config)),
    Unverified = maps:merge(client(Config), #{verify_mode => none}),
    ?assertEqual(ok, connect_certified(Unverified, Config)).

a_client_certificate_and_its_key_may_be_in_one_file(Config) ->
    Tls = (verified(peer, Config))#{certfile => file("client-and-key", Config)},
    ?assertEqual(ok, connect_certified(Tls, Config)).

an_encrypted_key_is_decrypted_by_its_password(Config) ->
    decrypts("client-key-encrypted", Config).

a_key_encrypted_the_old_way_is_decrypted_by_its_password(Config) ->
    decrypts("client-key-old", Config).

decrypts(Key, Config) ->
    Tls = (client(Config))#{keyfile => file(Key, Config)},
    ?assertEqual(ok, connect_certified(Tls#{password => "key secret"}, Config)),
    Refusals = [{Tls, "missing"}, {Tls#{password => "other"}, "does not decrypt"}],
    [begin
         {error, {bad_database_option, Text}} = connect_certified(Wrong, Config),
         ?assertMatch({_, <<_/binary>>}, {Text, string:find(Text, Expected)}),
         ?assertMatch({_, <<_/binary>>}, {Text, string:find(Text, "tls.password")})
     end || {Wrong, Expected} <- Refusals].

without_the_client_certificate_the_server_refuses(Config) ->
    {error, {Reason, _}} = connect_certified(verified(peer, Config), Config),
    ?assert(lists:member(Reason, [access_denied, tls_failed])).

%% Servers that vouch for themselves

%% By a name, where the other servers have an address.
a_self_signed_certificate_that_is_configured_is_trusted(Config) ->
    Tls = #{verify_mode => selfsigned_peer, cacertfile => file("self-signed/server", Config)},
    Server = ?config(self_signed, Config),
    ?assertEqual(ok, connect(Tls, #{host => "localhost"}, Server)),
    ?assertMatch({error, {tls_failed, _}}, connect(Tls, #{host => "127.0.0.1"}, Server)).

a_self_signed_certificate_that_is_not_configured_is_not_trusted(Config) ->
    ?assertMatch({error, {tls_failed, _}},
                 connect(verified(selfsigned_peer, Config), #{host => "localhost"},
                         ?config(self_signed, Config))).

%% Servers without TLS

without_tls_no_tls_is_used(Config) ->
    ?assertEqual(ok, connect(undefined, ?config(plain, Config))),
    ?assertNot(is_encrypted(undefined, Config)).

tls_that_is_required_but_not_offered_is_an_error(Config) ->
    Tls = #{verify_mode => none, required => true},
    ?assertMatch({error, {tls_failed, <<"the TLS connection to the database server failed: "
                                        "server does not support TLS">>}},
                 connect(Tls, ?config(plain, Config))).

tls_that_must_be_verified_but_is_not_offered_is_an_error(Config) ->
    ?assertMatch({error, {tls_failed, _}},
                 connect(verified(peer, Config), ?config(plain, Config))).

tls_that_is_not_required_and_not_offered_is_not_used(Config) ->
    ?assertEqual(ok, connect(#{verify_mode => none}, ?config(plain, Config))),
    ?assertEqual(ok, connect(#{verify_mode => none, required => false}, ?config(plain, Config))),
    %% Offered, it is used.
    ?assert(is_encrypted(#{verify_mode => none}, Config)).

%% Files

a_renewed_authority_is_trusted_by_the_next_connection(Config) ->
    File = filename:join(?config(priv_dir, Config), "renewed.pem"),
    {ok, _} = file:copy(file("other-ca", Config), File),
    Tls = (verified(peer, Config))#{cacertfile => File},
    {ok, Database} = open(pool(Tls, Config)),
    ?assertMatch({error, {tls_failed, _}}, ask(Database)),
    {ok, _} = file:copy(file("ca", Config), File),
    ?assertEqual(ok, ask(Database)),
    ok = mongoose_domain_nif:close_database(Database).

%% URLs

urls_verify_the_server(Config) ->
    Ca = file("ca", Config),
    Other = file("other-ca", Config),
    {Mode, Name} = case ?config(kind, Config) of
                       postgres -> {"?sslmode=verify-full", "&sslrootcert="};
                       mysql -> {"?ssl-mode=VERIFY_IDENTITY", "&ssl-ca="}
                   end,
    Url = ?config(server_url, Config) ++ Mode ++ Name,
    ?assertEqual(ok, connect_url(Url ++ Ca)),
    ?assertMatch({error, {tls_failed, _}}, connect_url(Url ++ Other)),
    ?assertMatch({error, {tls_failed, _}},
                 connect_url(lists:flatten(string:replace(Url, "127.0.0.1", "localhost")) ++ Ca)),
    ?assertMatch({error, {bad_database_option, <<"the file /no/such.pem cannot be read",
                                                 _/binary>>}},
                 connect_url(Url ++ "/no/such.pem")).

urls_with_verification_need_the_authorities(Config) ->
    Modes = case ?config(kind, Config) of
                postgres -> ["?sslmode=verify-full", "?sslmode=verify-ca"];
                mysql -> ["?ssl-mode=VERIFY_IDENTITY", "?ssl-mode=VERIFY_CA"]
            end,
    [?assertMatch({error, {bad_database_url, <<"the database URL is not valid: to verify the "
                                               "server, the URL needs ", _/binary>>}},
                  connect_url(?config(server_url, Config) ++ Mode)) || Mode <- Modes].

%% Helpers

verified(Mode, Config) ->
    verified(Mode, Config, "ca").

verified(Mode, Config, Ca) ->
    #{verify_mode => Mode, cacertfile => file(Ca, Config)}.

any_host(Config) ->
    (verified(peer, Config))#{server_name_indication => #{enabled => false}}.

client(Config) ->
    (verified(peer, Config))#{certfile => file("client", Config),
                              keyfile => file("client-key", Config)}.

file(Name, Config) ->
    tls_helper:certificate(Name, Config).

%% The connection of a pool to the server of the configuration.
pool(Tls, Config) ->
    pool(Tls, #{}, Config).

pool(Tls, Changes, Config) ->
    #{port := Port, path := "/" ++ Database} = uri_string:parse(?config(server_url, Config)),
    Driver = case ?config(kind, Config) of postgres -> pgsql; mysql -> mysql end,
    Opts = #{driver => Driver, host => "127.0.0.1", port => Port, database => Database,
             username => "domains", password => "secret", query_timeout => 60000},
    maps:merge(case Tls of undefined -> Opts; _ -> Opts#{tls => Tls} end, Changes).

connect(Tls, Config) ->
    connect(Tls, #{}, Config).

connect_certified(Tls, Config) ->
    connect(Tls, #{username => "certified"}, Config).

connect(Tls, Changes, Config) ->
    connect_pool(pool(Tls, Changes, Config)).

%% On a node whose system trusts the certificates of these files.
connect_trusting(Files, Config) ->
    Bundle = filename:join(?config(priv_dir, Config), "bundle.pem"),
    ok = file:write_file(Bundle, [element(2, file:read_file(File)) || File <- Files]),
    Node = node_helper:start_peer(system),
    ok = node_helper:call(Node, public_key, cacerts_load, [Bundle]),
    Pool = pool(#{verify_mode => peer}, Config),
    Answer = node_helper:call(Node, ?MODULE, connect_pool, [Pool]),
    node_helper:stop_node(Node),
    Answer.

connect_pool(Opts) ->
    case open(Opts) of
        {ok, Database} -> ask_and_close(Database);
        {error, Failure} -> {error, Failure}
    end.

open(Opts) ->
    Pool = #{type => rdbms, scope => global, tag => default, opts => #{}, conn_opts => Opts},
    case mongoose_domain_pool:database(Pool) of
        {ok, #{options := Options}} ->
            mongoose_domain_nif:open_database(Options#{max_connections => 1});
        {error, Failure} ->
            {error, Failure}
    end.

connect_url(Url) ->
    Options = #{url => unicode:characters_to_binary(Url), max_connections => 1,
                query_timeout => 60000, idle_timeout => 60000},
    case mongoose_domain_nif:open_database(Options) of
        {ok, Database} -> ask_and_close(Database);
        {error, Failure} -> {error, Failure}
    end.

ask_and_close(Database) ->
    Answer = ask(Database),
    ok = mongoose_domain_nif:close_database(Database),
    Answer.

ask(Database) ->
    Ref = make_ref(),
    ok = mongoose_domain_nif:request(Database, create_schema, Ref),
    receive {mongoose_domain_nif, Ref, Reply} -> outcome(Reply) end.

outcome({ok, done}) -> ok;
outcome({error, Failure}) -> {error, Failure}.

%% Asks the server, as a user that nobody else is.
is_encrypted(Tls, Config) ->
    User = test_helper:data_name(encrypted),
    is_encrypted(?config(kind, Config), User, pool(Tls, #{username => User}, Config), Config).

is_encrypted(postgres, User, Pool, Config) ->
    Server = ?config(server_url, Config),
    db_helper:sql(Server, ["CREATE ROLE ", User, " SUPERUSER LOGIN PASSWORD 'secret'"]),
    {ok, Database} = open(Pool),
    ok = ask(Database),
    Answer = db_helper:sql(Server, ["SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity "
                                    "USING (pid) WHERE usename = '", User, "'"]),
    ok = mongoose_domain_nif:close_database(Database),
    Answer =:= "t";
is_encrypted(mysql, User, Pool, Config) ->
    db_helper:sql(?config(server_url, Config),
                  ["CREATE USER ", User, "@'127.0.0.1' IDENTIFIED BY 'secret' REQUIRE SSL;",
                   "GRANT ALL ON *.* TO ", User, "@'127.0.0.1'"]),
    case connect_pool(Pool) of
        ok -> true;
        {error, {access_denied, _}} -> false
    end.
