%% @doc Who may ask the HTTP server and how: credentials, other origins, limits, TLS; its options,
%% and how it starts, fails and comes back.
-module(http_server_SUITE).

-compile([export_all, nowarn_export_all, {no_auto_import, [get/1, put/2]}]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(http_helper, [basic/2]).

%% Milliseconds until the server must have done something: longer than any limit of its own.
-define(WAIT, 60000).
-define(TYPE1, "{\"host_type\": \"type1\"}").

all() ->
    [%% Credentials
     without_credentials_nothing_but_the_probes_is_answered,
     credentials_must_be_the_right_ones,
     no_credentials_are_logged,
     a_password_comes_from_a_file_or_a_function,
     a_password_in_clear_is_warned_of,
     %% Other origins
     a_page_of_another_origin_changes_nothing,
     without_a_password_the_server_must_be_called_by_its_address,
     answers_forbid_what_pages_of_others_would_do,
     %% Limits
     heads_that_are_too_long_are_refused,
     a_client_that_is_slow_with_its_head_is_cut_off,
     a_client_that_is_slow_with_its_body_is_told_so,
     a_connection_that_nobody_uses_is_closed,
     probes_are_answered_when_all_places_are_taken,
     %% TLS
     with_files_it_speaks_https,
     wrong_files_are_refused,
     certificates_are_read_again_when_they_change,
     %% Options
     wrong_options_are_refused,
     what_is_open_to_others_needs_a_password,
     without_a_database_only_static_domains_are_there,
     disabled_no_port_is_open,
     the_server_of_a_service_goes_with_its_section,
     %% Life
     a_port_that_is_taken_does_not_keep_the_node_from_routing,
     a_server_that_is_killed_comes_back_on_its_port,
     what_is_asked_of_a_process_that_dies_is_answered,
     stopped_its_port_is_free,
     a_server_full_of_connections_answers_and_stops_all_the_same].

init_per_suite(Config) ->
    {ok, _} = application:ensure_all_started(ssl),
    tls_helper:make_certificates(Config).

end_per_suite(_Config) ->
    ok.

init_per_testcase(_Case, Config) ->
    log_helper:capture_logs(),
    [{url, db_helper:fresh_url([{kind, sqlite} | Config])} | Config].

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone(),
    log_helper:release_logs().

%% Credentials

without_credentials_nothing_but_the_probes_is_answered(Config) ->
    start(secret(), Config),
    [begin
         {Code, Headers, Body} = http_helper:call(get, http_helper:url() ++ Path, [], none, []),
         ?assertEqual({Path, {401, what("basic auth is required")}},
                      {Path, http_helper:decoded({Code, Body})}),
         ?assertMatch("Basic " ++ _, proplists:get_value("www-authenticate", Headers))
     end || Path <- ["/", "/api/domains", "/api/domains/a.example", "/api/status", "/metrics",
                     "/api/openapi.json", "/api/docs", "/assets/style.css", "/nothing"]],
    ?assertMatch({401, _}, put("/api/domains/a.example", ?TYPE1)),
    ?assertMatch({200, _}, get("/healthz")),
    ?assertMatch({_, #{<<"status">> := _}}, get("/readyz")).

credentials_must_be_the_right_ones(Config) ->
    start(secret(), Config),
    Get = fun(Header) -> request(get, "/api/domains", [Header], none) end,
    ?assertMatch({200, _}, Get(basic("admin", "secret"))),
    Wrong = {401, what("basic auth provided, invalid password")},
    [?assertEqual(Wrong, Get(basic(Name, Password)))
     || {Name, Password} <- [{"admin", "Secret"}, {"admin", ""}, {"admin", "secret "},
                             {"other", "secret"}, {"", ""}, {"admin", "secret:"}]],
    Required = {401, what("basic auth is required")},
    [?assertEqual(Required, Get({"authorization", Value}))
     || Value <- ["", "Basic", "Basic %%%", "Bearer abc",
                  "Basic " ++ base64:encode_to_string("x")]],
    ?assertMatch({200, _}, Get({"authorization", "basic YWRtaW46c2VjcmV0"})).

no_credentials_are_logged(Config) ->
    ok = logger:set_primary_config(level, info),
    start(secret(), Config),
    _ = request(get, "/api/domains", [basic("admin", "wrong-one")], none),
    kill_http(),
    %% And a crash, whose report has the state.
    Crashed = whereis(mongoose_domain_http),
    no_state = sys:replace_state(Crashed, fun(_) -> no_state end),
    Crashed ! start,
    wait_for_other_than(Crashed),
    ok = logger:set_primary_config(level, notice),
    Text = lists:flatten(io_lib:format("~tp", [ets:tab2list(log_helper)])),
    [?assertNotEqual({Report, nomatch}, {Report, string:find(Text, Report)})
     || Report <- ["progress", "child_terminated", "killed", "no_state"]],
    ?assertEqual(nomatch, string:find(Text, "secret")),
    ?assertEqual(nomatch, string:find(Text, "wrong-one")).

a_password_comes_from_a_file_or_a_function(Config) ->
    File = filename:join(?config(priv_dir, Config), "password"),
    Code = fun(Password) ->
               {Code, _} = request(get, "/api/status", [basic("admin", Password)], none),
               Code
           end,
    ok = file:write_file(File, "from-a-file\r\nsecond line\n"),
    Ways = [{#{password_file => File}, "from-a-file"},
            {#{password_file => list_to_binary(File)}, "from-a-file"},
            {#{password => mongoose_domain_secret:wrap(<<"wrapped">>)}, "wrapped"}],
    [begin
         start(Given#{username => "admin"}, Config),
         ?assertEqual({Given, [200, 401]}, {Given, [Code(Password), Code("second line")]}),
         node_helper:stop_standalone()
     end || {Given, Password} <- Ways],
    Refused = fun(Given, Text) -> refused(Given#{username => "admin"}, Text, Config) end,
    Refused(#{password_file => File, password => "a"}, "only one of them can be set"),
    Refused(#{password_file => "/nowhere/password"}, "/nowhere/password: no such file"),
    Refused(#{password_file => 1}, "password_file must be a string"),
    Refused(#{password => fun() -> error("the-secret") end}, "should return it failed"),
    refused(#{password_file => File}, "must be set both", Config),
    [begin
         ok = file:write_file(File, Text),
         Refused(#{password_file => File}, "has no password in its first line")
     end || Text <- ["", "\n", "\r\nx"]].

a_password_in_clear_is_warned_of(Config) ->
    [begin
         start((secret())#{ip_address => Address}, Config),
         ?assertEqual([], log_helper:logged(domain_http_without_tls)),
         node_helper:stop_standalone()
     end || Address <- ["127.0.0.1", "::1"]],
    Files = #{certfile => tls_helper:certificate("server", Config),
              keyfile => tls_helper:certificate("server-key", Config)},
    start((secret())#{ip_address => "0.0.0.0", tls => Files}, Config),
    ?assertEqual([], log_helper:logged(domain_http_without_tls)),
    node_helper:stop_standalone(),
    start((secret())#{ip_address => "0.0.0.0"}, Config),
    ?assertMatch([#{text := _, ip_address := <<"0.0.0.0">>}],
                 log_helper:logged(domain_http_without_tls)).

%% Other origins

a_page_of_another_origin_changes_nothing(Config) ->
    start(#{}, Config),
    Refused = {403, what("request from another origin")},
    Put = fun(Headers) -> request(put, "/api/domains/a.example", Headers, ?TYPE1) end,
    [?assertEqual(Refused, Put(Headers))
     || Headers <- [[{"origin", "http://evil.example"}], [{"origin", "null"}], [{"origin", "x"}],
                    [{"sec-fetch-site", "cross-site"}], [{"sec-fetch-site", "same-site"}],
                    [{"origin", http_helper:url()}, {"sec-fetch-site", "cross-site"}]]],
    ?assertMatch({404, _}, get("/api/domains/a.example")),
    ?assertEqual(204, Put([{"origin", http_helper:url()}])),
    ?assertEqual(204, Put([{"sec-fetch-site", "same-origin"}])),
    ?assertEqual(204, Put([{"sec-fetch-site", "none"}])).

without_a_password_the_server_must_be_called_by_its_address(Config) ->
    start(#{}, Config),
    {_, Port} = mongoose_domain_http:address(),
    Get = fun(Host) ->
        raw(["GET /api/domains HTTP/1.1\r\nHost: ", Host, "\r\nConnection: close\r\n\r\n"])
    end,
    [?assertMatch(<<"HTTP/1.1 200 ", _/binary>>, Get(Host ++ Suffix))
     || Host <- ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"],
        Suffix <- ["", ":" ++ integer_to_list(Port)]],
    [?assertMatch(<<"HTTP/1.1 403 ", _/binary>>, Get(Host))
     || Host <- ["evil.example", "evil.example:8088", "localhost.evil.example", "1.2.3.4.evil"]].

answers_forbid_what_pages_of_others_would_do(Config) ->
    start(#{}, Config),
    [begin
         {_, Headers, _} = http_helper:call(get, http_helper:url() ++ Path, [], none, []),
         ?assertEqual("default-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
                      "form-action 'self'",
                      proplists:get_value("content-security-policy", Headers)),
         ?assertEqual("nosniff", proplists:get_value("x-content-type-options", Headers)),
         ?assertEqual(undefined, proplists:get_value("access-control-allow-origin", Headers))
     end || Path <- ["/", "/api/docs", "/api/status", "/nothing"]].

%% Limits

heads_that_are_too_long_are_refused(Config) ->
    start(#{}, Config),
    Long = lists:duplicate(100000, $a),
    ?assertMatch(<<"HTTP/1.1 431 ", _/binary>>,
                 raw(["GET / HTTP/1.1\r\nHost: localhost\r\nX: ", Long, "\r\n\r\n"])),
    Many = [io_lib:format("X-~b: 1\r\n", [N]) || N <- lists:seq(1, 200)],
    ?assertMatch(<<"HTTP/1.1 431 ", _/binary>>,
                 raw(["GET / HTTP/1.1\r\nHost: localhost\r\n", Many, "\r\n"])),
    ?assertMatch({200, _}, get("/healthz")).

a_client_that_is_slow_with_its_head_is_cut_off(Config) ->
    start(#{}, Config),
    Socket = connect(),
    ok = gen_tcp:send(Socket, "GET /healthz HTTP/1.1\r\nHost: local"),
    ?assertEqual(closed, how_it_ends(Socket)).

a_client_that_is_slow_with_its_body_is_told_so(Config) ->
    start(#{}, Config),
    Socket = connect(),
    ok = gen_tcp:send(Socket, "PUT /api/domains/a.example HTTP/1.1\r\nHost: localhost\r\n"
                              "Content-Length: 100\r\n\r\n{"),
    {ok, Answer} = gen_tcp:recv(Socket, 0, ?WAIT),
    ?assertMatch(<<"HTTP/1.1 408 ", _/binary>>, Answer).

a_connection_that_nobody_uses_is_closed(Config) ->
    start(#{}, Config),
    Silent = connect(),
    Used = connect(),
    ok = gen_tcp:send(Used, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    {ok, <<"HTTP/1.1 200 ", _/binary>>} = gen_tcp:recv(Used, 0, ?WAIT),
    ?assertEqual(closed, how_it_ends(Silent)),
    ?assertEqual(closed, how_it_ends(Used)).

probes_are_answered_when_all_places_are_taken(Config) ->
    start(secret(), Config),
    {Slow, Refused} = take_all_places([]),
    [Head, Body] = binary:split(Refused, <<"\r\n\r\n">>),
    ?assertMatch({_, _}, binary:match(Head, <<"retry-after: 1\r\n">>)),
    ?assertEqual(what("too many connections"), json_helper:decode(Body)),
    %% Some who say nothing do not matter either.
    Silent = [connect() || _ <- lists:seq(1, 16)],
    ?assertEqual({200, #{<<"status">> => <<"ok">>}}, get("/healthz")),
    ?assertEqual({200, #{<<"status">> => <<"ready">>, <<"state">> => <<"following">>}},
                 get("/readyz")),
    [ok = gen_tcp:close(Socket) || Socket <- Slow ++ Silent],
    test_helper:wait_until(fun() ->
        element(1, request(get, "/api/status", [basic("admin", "secret")], none)) =:= 200
    end).

%% By requests whose bodies do not come, until another one is refused.
take_all_places(Slow) ->
    %% httpc would ask again, after a second.
    {Name, Value} = basic("admin", "secret"),
    case raw(["GET /api/status HTTP/1.1\r\nHost: localhost\r\n", Name, ": ", Value,
              "\r\nConnection: close\r\n\r\n"]) of
        <<"HTTP/1.1 503 ", _/binary>> = Refused -> {Slow, Refused};
        <<"HTTP/1.1 200 ", _/binary>> ->
            take_all_places([slow_request() || _ <- lists:seq(1, 256)] ++ Slow)
    end.

slow_request() ->
    Socket = connect(),
    {Name, Value} = basic("admin", "secret"),
    ok = gen_tcp:send(Socket, ["PUT /api/domains/a.example HTTP/1.1\r\nHost: localhost\r\n",
                               Name, ": ", Value, "\r\nContent-Length: 100\r\n\r\n{"]),
    Socket.

%% TLS

with_files_it_speaks_https(Config) ->
    Files = #{certfile => tls_helper:certificate("server", Config),
              keyfile => tls_helper:certificate("server-key", Config)},
    start((secret())#{tls => Files}, Config),
    {_, Port} = mongoose_domain_http:address(),
    Url = "https://127.0.0.1:" ++ integer_to_list(Port) ++ "/healthz",
    Options = [{verify, verify_peer}, {cacertfile, tls_helper:certificate("ca", Config)},
               %% httpc takes the address for a name.
               {server_name_indication, disable}],
    ?assertMatch({200, _, _}, http_helper:call(get, Url, [], none, [{ssl, Options}])),
    %% Plain HTTP is not understood, and a client that says nothing is cut off.
    ?assertEqual(nomatch, string:find(raw("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                                      "200 OK")),
    ?assertEqual(closed, how_it_ends(connect())).

wrong_files_are_refused(Config) ->
    Good = #{certfile => tls_helper:certificate("server", Config),
             keyfile => tls_helper:certificate("server-key", Config)},
    [refused(#{tls => maps:merge(Good, Wrong)}, Text, Config)
     || {Wrong, Text} <- [{#{certfile => "/nowhere.pem"}, "/nowhere.pem"},
                          {#{keyfile => "/nowhere.pem"}, "/nowhere.pem"},
                          {#{certfile => maps:get(keyfile, Good)}, "no certificate"},
                          {#{keyfile => maps:get(certfile, Good)}, "server.pem"}]],
    refused(#{tls => #{certfile => maps:get(certfile, Good)}}, "must be set both", Config).

certificates_are_read_again_when_they_change(Config) ->
    [Cert, Key] = Files = [filename:join(?config(priv_dir, Config), Name)
                           || Name <- ["reload.pem", "reload-key.pem"]],
    Put = fun(Names) ->
              [{ok, _} = file:copy(tls_helper:certificate(Name, Config), File)
               || {Name, File} <- lists:zip(Names, Files)]
          end,
    Put(["server", "server-key"]),
    start((secret())#{tls => #{certfile => Cert, keyfile => Key}}, Config),
    ?assertEqual(der("server", Config), served()),
    %% A pair that does not fit together is logged, once, and the old one is kept.
    Put(["client", "server-key"]),
    Logged = fun(What) -> length(log_helper:logged(What)) end,
    test_helper:wait_until(fun() -> Logged(domain_http_certificates_broken) =:= 1 end),
    ?assertEqual(der("server", Config), served()),
    %% A file that is gone, too.
    ok = file:delete(Key),
    test_helper:wait_until(fun() -> Logged(domain_http_certificates_broken) =:= 2 end),
    ?assertEqual(der("server", Config), served()),
    ?assertEqual(0, Logged(domain_http_certificates_changed)),
    Put(["client", "client-key"]),
    test_helper:wait_until(fun() -> Logged(domain_http_certificates_changed) =:= 1 end),
    ?assertEqual(der("client", Config), served()),
    ?assertEqual(2, Logged(domain_http_certificates_broken)).

%% The certificate that a client is shown.
served() ->
    {_, Port} = mongoose_domain_http:address(),
    {ok, Socket} = ssl:connect("127.0.0.1", Port, [{verify, verify_none}]),
    {ok, Der} = ssl:peercert(Socket),
    ok = ssl:close(Socket),
    Der.

der(Name, Config) ->
    {ok, Pem} = file:read_file(tls_helper:certificate(Name, Config)),
    [{'Certificate', Der, not_encrypted} | _] = public_key:pem_decode(Pem),
    Der.

%% Options

wrong_options_are_refused(Config) ->
    [refused(Http, Text, Config)
     || {Http, Text} <- [{#{ip_address => "localhost"}, "is not an IP address"},
                         {#{port => 65536}, "port must be 0 to 65535"},
                         {#{port => "8088"}, "port must be 0 to 65535"},
                         {#{memory_limit => 31}, "memory_limit must be a number of MiB"},
                         {#{memory_limit => "1"}, "memory_limit must be a number of MiB"},
                         {#{username => "a"}, "must be set both"},
                         {#{password => "a"}, "must be set both"},
                         {#{username => "a:b", password => "c"}, "must not contain a colon"},
                         {#{username => "", password => "c"}, "must not be empty"},
                         {#{username => "a", password => ""}, "must not be empty"},
                         {#{username => a, password => "c"}, "username must be a string"},
                         {#{certfile => "a"}, "certfile is not an option"},
                         {#{tls => "a"}, "tls must be a map"},
                         {#{tls => #{file => "a"}}, "file is not an option of tls"},
                         {yes, "must be a map"}]].

what_is_open_to_others_needs_a_password(Config) ->
    [refused(#{ip_address => Address}, "set a username and a password", Config)
     || Address <- ["0.0.0.0", "::", "192.0.2.1"]],
    start(#{ip_address => "::1"}, Config),
    {<<"::1">>, _} = mongoose_domain_http:address(),
    node_helper:stop_standalone(),
    start((secret())#{ip_address => "0.0.0.0"}, Config),
    ?assertMatch({<<"0.0.0.0">>, _}, mongoose_domain_http:address()).

without_a_database_only_static_domains_are_there(_Config) ->
    {ok, _} = http_helper:start(#{}, #{}),
    Disabled = {403, what("service disabled")},
    ?assertEqual(Disabled, put("/api/domains/a.example", ?TYPE1)),
    ?assertEqual(Disabled, request(patch, "/api/domains/a.example", [], "{\"enabled\":true}")),
    ?assertEqual(Disabled, request(delete, "/api/domains/a.example", [], ?TYPE1)),
    ?assertEqual(Disabled, request(post, "/api/verify", [], "")),
    ?assertEqual({404, what("domain not found")}, get("/api/domains/a.example")),
    Static = #{<<"domain">> => <<"static.example">>, <<"host_type">> => <<"type1">>,
               <<"status">> => <<"enabled">>, <<"enabled">> => true, <<"type">> => <<"static">>},
    ?assertEqual({200, #{<<"domains">> => [Static], <<"next">> => null}}, get("/api/domains")),
    ?assertEqual({200, #{<<"status">> => <<"ready">>, <<"state">> => <<"disabled">>}},
                 get("/readyz")),
    ?assertMatch({200, #{<<"state">> := <<"disabled">>}}, get("/api/status")).

disabled_no_port_is_open(Config) ->
    Before = listening(),
    {ok, _} = node_helper:start_standalone(#{database => ?config(url, Config), http => disabled}),
    ?assertEqual(undefined, whereis(mongoose_domain_http)),
    ?assertEqual(Before, listening()),
    node_helper:stop_standalone(),
    start(#{}, Config),
    ?assertMatch([_], listening() -- Before).

the_server_of_a_service_goes_with_its_section(Config) ->
    {ok, _} = node_helper:start_standalone(#{database => ?config(url, Config), http => disabled}),
    Http = #{http => #{port => 0}},
    [begin
         ok = service_domain_db:start(Http),
         ?assertMatch({200, _}, get("/readyz")),
         ok = Without(),
         ?assertEqual(undefined, whereis(mongoose_domain_http))
     end || Without <- [fun() -> service_domain_db:start(#{}) end,
                        fun() -> service_domain_db:stop() end]].

%% Life

a_port_that_is_taken_does_not_keep_the_node_from_routing(Config) ->
    {ok, Taken} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Taken),
    start(#{port => Port}, Config),
    ?assertEqual(undefined, mongoose_domain_http:address()),
    ?assertMatch([#{text := _, reason := http_failed}], log_helper:logged(domain_http_failed)),
    ?assertEqual({ok, <<"type1">>}, mongoose_domain_core:get_host_type(<<"static.example">>)),
    ok = gen_tcp:close(Taken),
    test_helper:wait_until(fun() -> mongoose_domain_http:address() =/= undefined end),
    ?assertMatch({200, _}, get("/healthz")).

a_server_that_is_killed_comes_back_on_its_port(Config) ->
    start(#{}, Config),
    {_, Port} = mongoose_domain_http:address(),
    node_helper:stop_standalone(),
    %% Somebody else may have the port for a moment: then it is tried again.
    Listens = fun() ->
                  case mongoose_domain_http:address() of
                      {_, Port} -> true;
                      Other -> Other
                  end
              end,
    start(#{port => Port}, Config),
    test_helper:wait_until(Listens),
    kill_http(),
    test_helper:wait_until(Listens),
    ?assertMatch({200, _}, get("/healthz")).

what_is_asked_of_a_process_that_dies_is_answered(Config) ->
    start(#{}, Config),
    ?assertEqual(204, put("/api/domains/a.example", ?TYPE1)),
    Self = self(),
    ok = mongoose_domain_hooks:add_removal_handler(suicide, fun(_, _) ->
        Self ! {handler, self()},
        timer:sleep(infinity)
    end),
    spawn_link(fun() ->
        Self ! {answer, request(delete, "/api/domains/a.example", [], ?TYPE1)}
    end),
    Handler = receive {handler, Pid} -> Pid end,
    %% It runs for a process that runs for the one that answers.
    {parent, Keeper} = process_info(Handler, parent),
    {parent, Answering} = process_info(Keeper, parent),
    exit(Answering, kill),
    ?assertMatch({500, _}, receive {answer, Answer} -> Answer after ?WAIT -> none end).

stopped_its_port_is_free(Config) ->
    Before = listening(),
    start(#{}, Config),
    ?assertMatch([_], listening() -- Before),
    %% One that waits does not hold it up.
    _Socket = connect(),
    node_helper:stop_standalone(),
    ?assertEqual(Before, listening()).

a_server_full_of_connections_answers_and_stops_all_the_same(Config) ->
    start(#{}, Config),
    Silent = [connect() || _ <- lists:seq(1, 256)],
    ?assertMatch({200, _}, get("/healthz")),
    {_, Port} = mongoose_domain_http:address(),
    Begun = [begin
                 Socket = connect(),
                 ok = gen_tcp:send(Socket, ["POST /api/import HTTP/1.1\r\nHost: localhost\r\n"
                                            "Content-Type: text/csv\r\n"
                                            "Content-Length: 1000\r\n\r\na"]),
                 Socket
             end || _ <- lists:seq(1, 260)],
    Server = monitor(process, mongoose_domain_http),
    node_helper:stop_standalone(),
    ?assertEqual(shutdown, receive {'DOWN', Server, process, _, Reason} -> Reason end),
    ?assertEqual({error, econnrefused}, gen_tcp:connect("127.0.0.1", Port, [])),
    [gen_tcp:close(Socket) || Socket <- Silent ++ Begun].

%% Helpers

kill_http() ->
    Killed = whereis(mongoose_domain_http),
    exit(Killed, kill),
    wait_for_other_than(Killed).

wait_for_other_than(Pid) ->
    test_helper:wait_until(fun() -> not lists:member(whereis(mongoose_domain_http),
                                                     [undefined, Pid])
                           end).

%% Requests: JSON is answered decoded.

get(Path) -> request(get, Path, [], none).
put(Path, Body) -> request(put, Path, [], Body).

request(Method, Path, Headers, Body) ->
    http_helper:decoded(http_helper:request(Method, Path, Headers, Body)).

what(Text) ->
    #{<<"what">> => list_to_binary(Text)}.

secret() ->
    #{username => "admin", password => "secret"}.

start(Http, Config) ->
    {ok, _} = http_helper:start(#{database => ?config(url, Config)}, Http).

refused(Http, Expected, Config) ->
    {error, {mongoose_domain_standalone, {{bad_option, http, {bad_http_option, Text}}, _}}} =
        node_helper:start_standalone(#{database => ?config(url, Config), http => Http}),
    ?assertMatch({_, {_, _}}, {Text, binary:match(Text, list_to_binary(Expected))}).

connect() ->
    {_, Port} = mongoose_domain_http:address(),
    {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}]),
    Socket.

%% Sends bytes and reads until the server closes.
raw(Bytes) ->
    Socket = connect(),
    _ = gen_tcp:send(Socket, Bytes),
    read(Socket, <<>>).

read(Socket, Sofar) ->
    case gen_tcp:recv(Socket, 0, ?WAIT) of
        {ok, Bytes} -> read(Socket, <<Sofar/binary, Bytes/binary>>);
        {error, _} -> Sofar
    end.

how_it_ends(Socket) ->
    case gen_tcp:recv(Socket, 0, ?WAIT) of
        {error, closed} -> closed;
        %% hyper says 408 before it closes.
        {ok, _} -> how_it_ends(Socket);
        {error, Reason} -> Reason
    end.

%% The TCP ports that this VM and its programs listen on, by the file descriptors of the processes.
listening() ->
    Own = [os:cmd("ls -l /proc/" ++ Pid ++ "/fd 2>/dev/null")
           || Pid <- [os:getpid() | http_helper:programs()]],
    {ok, Table} = file:read_file("/proc/net/tcp"),
    Rows = [string:lexemes(Line, " ") || Line <- string:split(binary_to_list(Table), "\n", all)],
    [Address || [_, Address, _, "0A", _, _, _, _, _, Inode | _] <- Rows,
                string:find(Own, "socket:[" ++ Inode ++ "]") =/= nomatch].
