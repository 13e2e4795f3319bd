%% @doc What nobody should send to the HTTP server: deep, wide, cut off, slow, huge, wrong. Each
%% request has an answer that says so, or none; and after each case the node's VM, in which it runs,
%% lives, and so does the program: the same one.
-module(hostile_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(WAIT, 60000).
%% The longest body of a request that is no import, in bytes.
-define(LONGEST_BODY, 65536).
-define(DEPTHS, [1, 2, 3, 10, 16, 17, 31, 32, 33, 64, 100, 127, 128, 129, 500, 1000, 1550, 2000,
                 5000, 10000, 20000, 30000, 60000]).

all() ->
    [%% Deep
     graphql_in_every_kind_of_brackets,
     graphql_with_brackets_that_are_not_closed,
     variables_of_graphql,
     json_of_rest,
     lines_of_imports,
     %% Wide
     graphql_with_many_of_everything,
     query_strings,
     heads,
     %% Cut off
     every_beginning_of_a_request,
     every_beginning_of_tls,
     %% Slow, huge, wrong
     a_byte_at_a_time,
     bodies_without_end,
     wrong_encodings,
     wrong_chunks,
     what_is_no_http,
     wrong_lines_of_imports].

init_per_suite(Config) ->
    [{ok, _} = application:ensure_all_started(App) || App <- [inets, ssl]],
    tls_helper:make_certificates(Config).

end_per_suite(_Config) ->
    ok.

init_per_testcase(every_beginning_of_tls, Config) ->
    Tls = #{certfile => tls_helper:certificate("server", Config),
            keyfile => tls_helper:certificate("server-key", Config)},
    started(#{tls => Tls}, Config);
init_per_testcase(_Case, Config) ->
    started(#{}, Config).

started(Http, Config) ->
    log_helper:capture_logs(),
    Url = db_helper:fresh_url([{kind, sqlite} | Config]),
    {ok, _} = http_helper:start(#{database => Url}, Http),
    pong = service_domain_db:sync_local(),
    [{program, http_helper:programs()}, {secure, is_map_key(tls, Http)} | Config].

end_per_testcase(_Case, Config) ->
    Lives = {http_helper:programs(), log_helper:logged(domain_http_ended),
             log_helper:logged(domain_http_panicked), health(Config)},
    node_helper:stop_standalone(),
    log_helper:release_logs(),
    case {?config(program, Config), [], [], 200} of
        Lives -> ok;
        Expected -> {fail, {Expected, Lives}}
    end.

health(Config) ->
    {_, Port} = mongoose_domain_http:address(),
    Scheme = case ?config(secure, Config) of true -> "https"; false -> "http" end,
    Url = lists:concat([Scheme, "://127.0.0.1:", Port, "/healthz"]),
    {Code, _, _} = http_helper:call(get, Url, [], none, [{ssl, [{verify, verify_none}]}]),
    Code.

%% Deep

graphql_in_every_kind_of_brackets(_Config) ->
    Kinds = [%% {Before, Open, Inside, Close, Behind, Least}: Least is the depth around them.
             {"{ ", "a { ", "b", " }", " }", 1},
             {"{ domain { domainDetails(domain: ", "[", "\\\"x\\\"", "]", ") { domain } } }", 3},
             {"{ domain { domainDetails(domain: ", "{a: ", "1", "}", ") { domain } } }", 3},
             {"{ domain { domainDetails(domain: ", "[{a: ", "1", "}]", ") { domain } } }", 3},
             {"query ($a: ", "[", "String", "]", ") { __typename }", 1},
             {"query ($a: ", "[", "String", "!]", ") { __typename }", 1},
             {"query ($a: String = ", "[", "1", "]", ") { __typename }", 1},
             {"query @a(b: ", "[", "1", "]", ") { __typename }", 1},
             {"{ __typename @include(if: ", "{a: ", "true", "}", ") }", 2},
             {"{ ", "... on Query { ", "__typename", " }", " }", 1},
             {"{ ", "... @include(if: true) { ", "__typename", " }", " }", 1},
             {"fragment f on Query { ", "a { ", "b", " }", " } { ...f }", 1},
             {"mutation { domain { addDomain(domain: ", "[", "null", "]", ", hostType: 1) {a} } }",
              3},
             {"", "(", "", ")", "", 0},
             {"type A { a(b: ", "[", "Int", "]", "): Int }", 2}],
    [begin
         Query = [Before, copies(Depth, Open), Inside, copies(Depth, Close), Behind],
         Code = code(post("/api/graphql", ["{\"query\": \"", Query, "\"}"])),
         Deepest = Depth + Least,
         ?assertEqual({Before, Open, Depth, true},
                      {Before, Open, Depth, is_expected(Code, Deepest, iolist_size(Query))})
     end || {Before, Open, Inside, Close, Behind, Least} <- Kinds, Depth <- ?DEPTHS].

%% 32 are allowed.
is_expected(Code, Depth, _Size) when Depth =< 32 -> lists:member(Code, [200, 400]);
is_expected(Code, _Depth, Size) when Size > ?LONGEST_BODY -> Code =:= 413;
is_expected(Code, _Depth, _Size) -> lists:member(Code, [400, 413]).

graphql_with_brackets_that_are_not_closed(_Config) ->
    Post = fun(Bracket, Depth) ->
               Query = ["{ a(b: ", copies(Depth, Bracket)],
               code(post("/api/graphql", ["{\"query\": \"", Query, "\"}"]))
           end,
    [?assertMatch({_, _, Code} when Code =:= 400; Code =:= 413,
                  {Bracket, Depth, Post(Bracket, Depth)})
     || Bracket <- ["[", "{", "(", "{a:", "[{a:", "...{", "@a(b:"],
        Depth <- ?DEPTHS, Depth > 32],
    %% No depth at all.
    [?assert(lists:member(Post(Bracket, Depth), [200, 400, 413]))
     || Bracket <- ["]", "}", ")", "[}", "\\\"[", "\\\"\\\"\\\"[", "#["], Depth <- ?DEPTHS].

variables_of_graphql(_Config) ->
    [begin
         Value = [copies(Depth, Open), "1", copies(Depth, Close)],
         {Code, Body} = post("/api/graphql", ["{\"query\": \"query ($a: Int) { __typename }\", "
                                              "\"", Key, "\": {\"a\": ", Value, "}}"]),
         %% serde_json's own limit is 128.
         _ = Depth > 128 andalso ?assertMatch({_, true, _}, {Depth, Code >= 400, Body}),
         ?assert(lists:member(Code, [200, 400, 413]))
     end || Key <- ["variables", "extensions", "other"],
            {Open, Close} <- [{"[", "]"}, {"{\"a\":", "}"}, {"[{\"a\":", "}]"}],
            Depth <- ?DEPTHS].

json_of_rest(_Config) ->
    [begin
         Value = [copies(Depth, Open), "1", copies(Depth, Close)],
         Body = ["{\"", Key, "\": ", Value, "}"],
         Answer = tried(Body, fun() ->
             http_helper:request(Method, "/api/domains/a.example", Body)
         end),
         ?assert(lists:member(code(Answer), [400, 413]))
     end || {Method, Key} <- [{put, "host_type"}, {patch, "enabled"}, {delete, "request"}],
            {Open, Close} <- [{"[", "]"}, {"{\"a\":", "}"}, {"[", ""}],
            Depth <- ?DEPTHS].

lines_of_imports(_Config) ->
    [begin
         Line = [copies(Depth, Open), Inside, copies(Depth, Close)],
         {Code, Body} = http_helper:post("/api/import", Type, [Line, "\n"]),
         ?assertMatch({_, _, true, _}, {Type, Depth, Code < 500, Body}),
         ?assertEqual(nomatch, binary:match(Body, <<"\"added\":1">>))
     end || {Type, Open, Inside, Close}
                <- [{"application/x-ndjson", "[", "1", "]"},
                    {"application/x-ndjson", "{\"domain\":", "1", "}"},
                    {"application/x-ndjson", "{\"domain\":[", "", ""},
                    {"text/csv", "\"", "a", "\""},
                    {"text/csv", "\"", "a", ""},
                    {"text/csv", ",", "a", ","},
                    {"text/csv", "\"\"", ",", "\"\""}],
            Depth <- ?DEPTHS].

%% Wide

graphql_with_many_of_everything(_Config) ->
    [begin
         Query = [Before, copies(Count, Many), Behind],
         Code = code(post("/api/graphql", ["{\"query\": \"", Query, "\"}"])),
         ?assert(lists:member(Code, [200, 400, 413]))
     end || {Before, Many, Behind}
                <- [{"{ ", "__typename ", "}"},
                    {"{ domain { ", "domainsByHostType(hostType: \\\"type1\\\") ", "} }"},
                    {"{ __typename ", "@include(if: true) ", "}"},
                    {"query ($a: Int", ", $b: Int", ") { __typename }"},
                    {"{ a(b: [", "1,", "]) }"},
                    {"{ a(b: {", "c: 1,", "}) }"},
                    {"{ ...f } ", "fragment f on Query { ...f } ", ""},
                    {"{ a(b: \\\"", "\\\\u0041", "\\\") }"},
                    {"{ a(b: \\\"\\\"\\\"", "\\n", "\\\"\\\"\\\") }"},
                    {"", "#", ""},
                    {"", "query q { __typename } ", ""},
                    {"{ a", "a", " }"},
                    {"{ a(b: ", "1", ") }"},
                    {"{ a(b: 1e", "9", ") }"},
                    {"{ ", "b: domain { c: __typename } ", " }"}],
            Count <- [10, 100, 1000, 5000]].

query_strings(_Config) ->
    [begin
         {ok, Answer} = asked(["GET ", Path, "?", Query, " HTTP/1.1\r\nHost: localhost\r\n"
                               "Connection: close\r\n\r\n"]),
         ?assertMatch({_, true}, {Query, lists:member(status(Answer), [200, 400, 403, 414, 431])})
     end || Path <- ["/api/domains", "/api/export"],
            Query <- ["limit=", "limit=-1", "limit=1e3", "limit=99999999999999999999", "limit=%31",
                      "after=%00", "after=%ff", "after=%", "after=%zz", "host_type=%c0%80",
                      "status=%20", "&&&&&", "=====", "?????", "a[b][c]=1", "+++", "limit=1;drop",
                      copies(100, "limit=1&"), copies(2000, "limit=1&"), copies(30000, "a"),
                      copies(10000, "%41"), copies(60000, "[")]].

heads(_Config) ->
    [begin
         Answer = asked(["GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", Lines,
                         "\r\n\r\n"]),
         ?assert(lists:member(status_of(Answer), [200, 400, 403, 408, 431, none]))
     end || Lines <- [["X: ", copies(Count, "a")] || Count <- [1, 1000, 30000, 60000]]
                     ++ [copies(Count, "X: a\r\n") || Count <- [10, 63, 64, 65, 1000, 10000]]
                     ++ ["X", ":", ": a", "X : a", " X: a", "X: a\r\n b", "X: \0", "X: \177",
                         "\377: a", "X: \377", "Content-Length: -1", "Content-Length: 1\r\n"
                         "Content-Length: 2", "Content-Length: 99999999999999999999999",
                         "Transfer-Encoding: chunked\r\nContent-Length: 3",
                         "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: what",
                         "Host: other", "Connection: upgrade\r\nUpgrade: h2c",
                         "Authorization: Basic " ++ copies(20000, "A"),
                         "Expect: 100-continue", "Expect: what", "Origin: \377",
                         "Sec-Fetch-Site: " ++ copies(1000, "x")]].

%% Cut off

every_beginning_of_a_request(_Config) ->
    Body = "{\"query\": \"{ domain { domainDetails(domain: \\\"a\\\") { status } } }\"}",
    Requests = [["PUT /api/domains/a.example HTTP/1.1\r\nHost: localhost\r\n"
                 "Content-Type: application/json\r\nContent-Length: 22\r\n\r\n"
                 "{\"host_type\": \"type1\"}"],
                ["POST /api/graphql HTTP/1.1\r\nHost: localhost\r\nContent-Length: ",
                 integer_to_list(length(Body)), "\r\n\r\n", Body],
                ["POST /api/import?dry_run=true HTTP/1.1\r\nHost: localhost\r\n"
                 "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "10\r\na.example,type1\n\r\n5\r\nb.exa\r\nb\r\nmple,type1\n\r\n0\r\n\r\n"],
                ["GET /api/export?format=csv HTTP/1.1\r\nHost: localhost\r\n\r\n"]],
    [begin
         Bytes = iolist_to_binary(Request),
         [begin
              Socket = connect(),
              ok = gen_tcp:send(Socket, binary:part(Bytes, 0, Length)),
              ok = gen_tcp:shutdown(Socket, write),
              %% Some wait for the answer, some are gone.
              _ = Length rem 2 =:= 0 andalso read(Socket, <<>>),
              gen_tcp:close(Socket)
          end || Length <- lists:seq(0, byte_size(Bytes))]
     end || Request <- Requests].

every_beginning_of_tls(_Config) ->
    Hello = client_hello(),
    ?assert(byte_size(Hello) > 100),
    rand:seed(exsss, {1, 2, 3}),
    Cut = [binary:part(Hello, 0, Length) || Length <- lists:seq(0, byte_size(Hello))],
    Changed = [begin
                   At = rand:uniform(byte_size(Hello)) - 1,
                   <<Before:At/binary, Byte, Behind/binary>> = Hello,
                   <<Before/binary, (Byte bxor rand:uniform(255)), Behind/binary>>
               end || _ <- lists:seq(1, 300)],
    Random = [rand:bytes(Length) || Length <- [1, 5, 100, 10000, 100000]],
    Others = [<<22, 3, 1, 255, 255>>, <<22, 3, 1, 0, 0>>, <<21, 3, 3, 0, 2, 2, 40>>,
              <<128, 46, 1, 0, 2>>, "GET / HTTP/1.1\r\n\r\n"],
    [begin
         Socket = connect(),
         _ = gen_tcp:send(Socket, Bytes),
         _ = gen_tcp:shutdown(Socket, write),
         _ = read(Socket, <<>>),
         gen_tcp:close(Socket)
     end || Bytes <- Cut ++ Changed ++ Random ++ Others].

%% What OTP's client says first.
client_hello() ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Listener),
    Client = spawn(fun() ->
        ssl:connect("127.0.0.1", Port, [{verify, verify_none}, {log_level, none}], 5000)
    end),
    {ok, Socket} = gen_tcp:accept(Listener),
    {ok, Hello} = gen_tcp:recv(Socket, 0),
    exit(Client, kill),
    gen_tcp:close(Socket),
    gen_tcp:close(Listener),
    Hello.

%% Slow, huge, wrong

a_byte_at_a_time(_Config) ->
    Request = "PATCH /api/domains/a.example HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
              "Content-Length: 17\r\n\r\n{\"enabled\": true}",
    Sockets = [connect() || _ <- lists:seq(1, 50)],
    [begin
         [ok = gen_tcp:send(Socket, [Byte]) || Socket <- Sockets],
         timer:sleep(1)
     end || Byte <- Request],
    [?assertEqual(404, status(read(Socket, <<>>))) || Socket <- Sockets].

bodies_without_end(_Config) ->
    Megabyte = binary:copy(<<"a">>, 1000000),
    [begin
         Answer = raw(["POST ", Path, " HTTP/1.1\r\nHost: localhost\r\nContent-Type: ", Type,
                       "\r\nContent-Length: 1000000000000\r\n\r\n"
                       | lists:duplicate(20, Megabyte)]),
         ?assertMatch({_, true}, {Path, lists:member(status_of(Answer), [200, 400, 413, none])})
     end || {Path, Type} <- [{"/api/graphql", "application/json"}, {"/api/import", "text/csv"},
                             {"/api/import", "application/x-ndjson"}, {"/api/verify", "a/b"}]].

wrong_encodings(_Config) ->
    Wrong = [<<16#e9>>, <<16#ff, 16#fe, $a, 0>>, <<16#c0, 16#80>>, <<16#ed, 16#a0, 16#80>>, <<0>>,
             <<16#f4, 16#90, 16#80, 16#80>>, <<16#ef, 16#bb, 16#bf>>,
             unicode:characters_to_binary("{\"host_type\": \"type1\"}", utf8, utf16)],
    [begin
         Json = ["{\"host_type\": \"", Bytes, "\", \"enabled\": \"", Bytes, "\"}"],
         [?assertEqual({Bytes, Method, 400},
                       {Bytes, Method, code(http_helper:request(Method, "/api/domains/a.example",
                                                                Body))})
          || Method <- [put, patch, delete], Body <- [Json, Bytes], is_wrong(Bytes)],
         ?assertMatch({400, _}, post("/api/graphql", ["{\"query\": \"{ ", Bytes, "? }\"}"])),
         {_, _} = http_helper:post("/api/import", "text/csv", [Bytes, ",type1\n"]),
         {_, _} = http_helper:post("/api/import", "application/x-ndjson",
                                   ["{\"domain\": \"", Bytes, "\", \"host_type\": \"type1\"}\n"]),
         Path = ["/api/domains/", uri_string:quote(binary_to_list(Bytes))],
         {ok, Answer} = asked(["GET ", Path, " HTTP/1.1\r\nHost: localhost\r\n"
                               "Connection: close\r\n\r\n"]),
         ?assert(lists:member(status(Answer), [400, 404]))
     end || Bytes <- Wrong].

%% A byte order mark may be a part of a name, as any character.
is_wrong(<<16#ef, 16#bb, 16#bf>>) -> false;
is_wrong(_Bytes) -> true.

wrong_chunks(_Config) ->
    [begin
         Answer = raw(["POST /api/graphql HTTP/1.1\r\nHost: localhost\r\n"
                       "Transfer-Encoding: chunked\r\n\r\n", Chunks]),
         ?assert(lists:member(status_of(Answer), [200, 400, 408, 413, none]))
     end || Chunks <- ["0\r\n\r\n", "-1\r\n", "zz\r\n", "ffffffffffffffff\r\na", "1\r\nab\r\n",
                       "1;" ++ copies(60000, "a"), copies(20000, "1\r\na\r\n"),
                       "00000000000000000000000000000001\r\na\r\n0\r\n\r\n",
                       "0\r\n" ++ copies(1000, "X: a\r\n") ++ "\r\n"]].

what_is_no_http(_Config) ->
    rand:seed(exsss, {1, 2, 3}),
    [_ = status_of(raw(Bytes))
     || Bytes <- [rand:bytes(Length) || Length <- [1, 10, 100, 1000, 100000]]
                 ++ ["\r\n\r\n\r\n", "GET", "GET /", "GET / HTTP/9.9\r\n\r\n",
                     "GET / HTTP/2.0\r\n\r\n",
                     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "get / http/1.1\r\n\r\n",
                     "GET http://[::1/ HTTP/1.1\r\n\r\n",
                     "GET //////// HTTP/1.1\r\nHost: a\r\n\r\n",
                     "GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     "CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
                     ["GET /", copies(60000, "a"), " HTTP/1.1\r\nHost: localhost\r\n\r\n"],
                     ["GET /api/domains/", copies(9000, "%2f"), " HTTP/1.1\r\n"
                      "Host: localhost\r\n\r\n"],
                     [copies(60000, "A"), " / HTTP/1.1\r\n\r\n"],
                     copies(100, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")]].

wrong_lines_of_imports(_Config) ->
    [begin
         {Code, Body} = http_helper:post("/api/import", Type, Lines),
         ?assertMatch({_, true, _}, {Lines, Code < 500, Body})
     end || Type <- ["text/csv", "application/x-ndjson"],
            Lines <- ["\n\n\n", "\r\r\r", "\0\0\0", ",,,,,", "\"", "\"\"\"", "a", "a,b,c,d,e,f",
                      "a.example,type9", "{}", "[]", "null", "{\"domain\": 1}", "{\"domain\"",
                      "{\"domain\": \"a\", \"host_type\": null}", "{} {} {}",
                      copies(20000, "a"), [copies(20000, "a"), ",type1\n"],
                      ["a.example,", copies(20000, "b"), "\n"], copies(10000, ",\n"),
                      copies(5000, "\"\n"), copies(3000, "{}\n"), "\377\377,type1\n",
                      "a b,type1\n", "a\0b,type1\n", [copies(251, "d"), ",type1\n"]]].

%% Helpers

copies(Count, Text) ->
    lists:append(lists:duplicate(Count, Text)).

post(Path, Body) ->
    tried(Body, fun() -> http_helper:post(Path, Body) end).

%% The answer; or 413, too, if the body is too long and the server has closed before all was sent.
tried(Body, Request) ->
    try Request()
    catch
        error:{no_answer, Reason} ->
            ?assertMatch({_, Size} when Size > ?LONGEST_BODY, {Reason, iolist_size(Body)}),
            {413, closed}
    end.

code({Code, _Body}) -> Code;
code(Code) -> Code.

connect() ->
    {_, Port} = mongoose_domain_http:address(),
    {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}]),
    Socket.

%% Sends bytes, of which the server need not take all, and reads until it closes; it does so by
%% itself when the client has said all that it will.
raw(Bytes) ->
    Socket = connect(),
    _ = gen_tcp:send(Socket, Bytes),
    _ = gen_tcp:shutdown(Socket, write),
    {ok, read(Socket, <<>>)}.

%% The same of a whole request, whose client stays for the answer.
asked(Bytes) ->
    Socket = connect(),
    _ = gen_tcp:send(Socket, Bytes),
    {ok, read(Socket, <<>>)}.

read(Socket, Sofar) ->
    case gen_tcp:recv(Socket, 0, ?WAIT) of
        {ok, Bytes} -> read(Socket, <<Sofar/binary, Bytes/binary>>);
        {error, timeout} -> error(it_says_nothing_and_does_not_close);
        {error, _} -> Sofar
    end.

status_of({ok, <<>>}) -> none;
status_of({ok, Answer}) -> status(Answer).

status(<<"HTTP/1.", _, " ", Code:3/binary, _/binary>>) ->
    Status = binary_to_integer(Code),
    ?assert(Status < 500),
    Status.
