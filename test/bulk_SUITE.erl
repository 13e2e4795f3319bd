%% @doc Many domains at once, by HTTP: imports and exports, on every kind of database.
-module(bulk_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(json_helper, [decode/1]).

-import(http_helper, [post/3]).

-define(CSV, "text/csv").
-define(NDJSON, "application/x-ndjson").
%% A pattern of the last line of an import; done/5 is its value.
-define(DONE(Lines, Added, Changed, Unchanged, Rejected),
        #{<<"done">> := #{<<"lines">> := Lines, <<"added">> := Added, <<"changed">> := Changed,
                          <<"unchanged">> := Unchanged, <<"rejected">> := Rejected}}).

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    db_helper:databases().

groups() ->
    Cases = [lines_of_csv_are_imported,
             lines_of_json_are_imported,
             the_same_import_again_changes_nothing,
             an_import_changes_the_status_of_what_is_there,
             a_record_without_a_status_leaves_the_status_alone,
             files_may_have_any_ends_of_lines_and_any_order_of_columns,
             unknown_columns_and_keys_end_an_import_before_anything_is_written,
             another_encoding_is_said_in_one_answer,
             names_that_the_database_cannot_hold_are_rejected,
             what_cannot_be_imported_is_rejected_with_its_reason,
             a_domain_that_comes_twice_has_the_status_of_the_later_line,
             a_dry_run_says_what_would_be_done_and_does_nothing,
             many_lines_are_done_in_transactions_and_other_nodes_follow,
             a_body_that_breaks_off_changes_nothing,
             a_failing_database_says_how_much_is_done,
             wrong_imports_are_refused_before_anything_is_read,
             what_is_exported_can_be_imported,
             an_export_of_a_name_that_can_never_route_is_not_imported_beside_it,
             an_export_of_such_names_makes_one_domain_of_each_elsewhere,
             exports_have_filters,
             an_export_says_how_long_it_is,
             an_export_that_fails_is_an_error_and_no_file],
    %% On the others the domain is a key.
    OfMysql = [of_duplicates_the_row_that_counts_is_exported],
    [{Kind, [], Cases ++ [Case || Case <- OfMysql, Kind =:= mysql]}
     || {group, Kind} <- db_helper:databases()].

init_per_testcase(_Case, Config) ->
    {ok, _} = http_helper:start(#{database => ?config(url, Config)}, #{}),
    pong = service_domain_db:sync_local(),
    Config.

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone().

%% Imports

lines_of_csv_are_imported(Config) ->
    Body = "domain,host_type,status\r\n"
           "A.example,type1\r\n"
           "b.example,type2,enabled\r\n"
           "\r\n"
           "\"c.example\",\"type1\",disabled\n"
           "d.example , type1,",
    ?assertEqual([progress(6, 4, 0, 0, 0), done(6, 4, 0, 0, 0)], import(?CSV, Body)),
    ?assertEqual("a.example|type1|1\nb.example|type2|1\nc.example|type1|0\nd.example|type1|1",
                 rows(Config)),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{<<"a.example">>, <<"type1">>}, {<<"b.example">>, <<"type2">>},
                  {<<"d.example">>, <<"type1">>}],
                 lists:sort(mongoose_domain_core:get_all_dynamic())).

lines_of_json_are_imported(Config) ->
    Body = "{\"domain\": \"a.example\", \"host_type\": \"type1\"}\n"
           "{\"host_type\": \"type2\", \"domain\": \"b\\u0021.example\", "
           "\"status\": \"disabled\"}\n",
    ?assertMatch([_, ?DONE(2, 2, _, _, _)], import(?NDJSON, Body)),
    ?assertEqual("a.example|type1|1\nb!.example|type2|0", rows(Config)).

the_same_import_again_changes_nothing(Config) ->
    Body = "a.example,type1\nb.example,type1,disabled\n",
    _ = import(?CSV, Body),
    Events = events(Config),
    ?assertMatch([_, ?DONE(2, 0, 0, 2, _)],
                 import(?CSV, Body)),
    ?assertEqual(Events, events(Config)).

an_import_changes_the_status_of_what_is_there(Config) ->
    _ = import(?CSV, "a.example,type1\nb.example,type1,disabled\n"),
    ?assertMatch([_, ?DONE(2, 0, 2, 0, _)],
                 import(?CSV, "a.example,type1,disabled\nb.example,type1,enabled\n")),
    ?assertEqual("a.example|type1|0\nb.example|type1|1", rows(Config)),
    pong = service_domain_db:sync_local(),
    ?assertEqual([{<<"b.example">>, <<"type1">>}], mongoose_domain_core:get_all_dynamic()).

a_record_without_a_status_leaves_the_status_alone(Config) ->
    _ = import(?CSV, "a.example,type1\nb.example,type1,disabled\n"),
    Events = events(Config),
    [?assertMatch([_, ?DONE(2, 0, 0, 2, _)],
                  import(Type, Body))
     || {Type, Body} <- [{?CSV, "a.example,type1\nb.example,type1,\n"},
                         {?NDJSON, "{\"domain\": \"a.example\", \"host_type\": \"type1\"}\n"
                                   "{\"domain\": \"b.example\", \"host_type\": \"type1\", "
                                   "\"status\": null}\n"}]],
    ?assertEqual("a.example|type1|1\nb.example|type1|0", rows(Config)),
    ?assertEqual(Events, events(Config)).

files_may_have_any_ends_of_lines_and_any_order_of_columns(Config) ->
    Bodies = ["\xEF\xBB\xBF\"Status\", \"HOST_TYPE\" ,Domain\r\n,type1,a.example\r\n"
              "disabled,type2,\"b\n.example\"\r\n",
              "a.example,type1\r\"b\n.example\",type2,disabled\r",
              "# a comment\r\n\n\"a.example\",type1\n\n \"b\" ,type1\n\"b\n.example\",type2,"
              "disabled"],
    [begin
         sql("DELETE FROM domain_settings", Config),
         ?assertMatch(?DONE(_, 2, _, _, _), lists:last(import(Type, list_to_binary(Body)))),
         ?assertEqual("a.example|type1|1\nb\n.example|type2|0", rows(Config))
     end || Body <- Bodies, Type <- [?CSV, "TEXT/Csv; Charset=\"utf-8\""]],
    %% The line that a record begins in.
    Marks = "quotation marks must be around a whole field, and doubled inside of it",
    ?assertEqual([rejected(4, " \"b\" ,type1", Marks),
                  rejected(5, "\"c\n.example\",type9", "unknown host type")],
                 lists:sublist(import(?CSV, "\"a\n.example\",type1\r\n\r\n \"b\" ,type1\n"
                                            "\"c\n.example\",type9\n"), 2)).

unknown_columns_and_keys_end_an_import_before_anything_is_written(Config) ->
    Failed = fun(What) -> [failed(What)] end,
    ?assertEqual(Failed("line 1: unknown column 'hostType': did you mean 'host_type'?"),
                 import(?CSV, "domain,hostType\na.example,type1\n")),
    ?assertEqual(Failed("line 1: unknown column 'owner': the known ones are domain, "
                        "host_type, status"),
                 import(?CSV, "domain,host_type,owner\na.example,type1,me\n")),
    ?assertEqual(Failed("line 2: unknown key 'Status': did you mean 'status'?"),
                 import(?NDJSON, "{\"domain\": \"a.example\", \"host_type\": \"type1\"}\n"
                                 "{\"domain\": \"b.example\", \"host_type\": \"type1\", "
                                 "\"Status\": \"disabled\"}\n")),
    %% Behind many transactions, too.
    Json = ["{\"domain\": \"a.example\", \"host_type\": \"type1\"}\n" || _ <- lists:seq(1, 3500)],
    ?assertEqual(Failed("line 3501: unknown key 'owner': the known ones are domain, "
                        "host_type, status"),
                 import(?NDJSON, [Json, "{\"domain\": \"b.example\", \"owner\": 1}\n", Json])),
    Csv = ["a.example,type1\n" || _ <- lists:seq(1, 3500)],
    ?assertEqual(Failed("line 3501 is not UTF-8: save the file as UTF-8"),
                 import(?CSV, [Csv, "b\xE9.example,type1\n", Csv])),
    ?assertEqual("", rows(Config)).

another_encoding_is_said_in_one_answer(Config) ->
    Latin1 = "a.example,type1\nb\xE9.example,type1\n",
    ?assertEqual([failed("line 2 is not UTF-8: save the file as UTF-8")],
                 import(?CSV, list_to_binary(Latin1))),
    ?assertEqual([failed("the file is UTF-16: save it as UTF-8")],
                 import(?CSV, unicode:characters_to_binary("a.example,type1\n", utf8,
                                                           {utf16, little}))),
    ?assertEqual({415, <<"the charset must be UTF-8: save the file as UTF-8">>},
                 refusal(post("/api/import", "text/csv; charset=ISO-8859-1", Latin1))),
    Gzip = [{"content-encoding", "gzip"}],
    ?assertEqual({415, <<"Content-Encoding gzip is not supported: send the file uncompressed">>},
                 refusal(http_helper:request(post, "/api/import", Gzip,
                                             zlib:gzip("a.example,type1\n")))),
    ?assertEqual("", rows(Config)).

names_that_the_database_cannot_hold_are_rejected(Config) ->
    Url = narrow(?config(kind, Config), Config),
    Narrow = [{url, Url} | lists:keydelete(url, 1, Config)],
    node_helper:stop_standalone(),
    {ok, _} = http_helper:start(#{database => Url}, #{}),
    Name = <<"日本.example"/utf8>>,
    Body = ["a.example,type1\n", Name, ",type1\nb.example,type1\n"],
    Path = "/api/domains/" ++ binary_to_list(uri_string:quote(Name)),
    Why = <<"the database cannot store '", Name/binary,
            "': its character set lacks a character of the name">>,
    case ?config(kind, Config) of
        sqlite ->
            ?assertMatch([_, ?DONE(3, 3, _, _, _)], import(?CSV, Body)),
            ?assertEqual(204, http_helper:put(Path, "{\"host_type\": \"type1\"}"));
        _ ->
            Rejected = rejected(2, [Name, ",type1"], Why),
            ?assert(lists:member(Rejected, dry_run(?CSV, Body))),
            ?assertMatch([Rejected, _, ?DONE(3, 2, 0, 0, 1)], import(?CSV, Body)),
            ?assertEqual("a.example|type1|1\nb.example|type1|1", rows(Narrow)),
            [?assertEqual({400, Why}, refusal(http_helper:request(Method, Path, Request)))
             || {Method, Request} <- [{get, none}, {put, "{\"host_type\": \"type1\"}"},
                                      {patch, "{\"enabled\": false}"},
                                      {delete, "{\"host_type\": \"type1\"}"}]]
    end.

%% The URL of a database that can hold only Latin-1, if there is such a thing.
narrow(sqlite, Config) ->
    ?config(url, Config);
narrow(mysql, Config) ->
    [sql(["ALTER TABLE ", Table, " CONVERT TO CHARACTER SET latin1"], Config)
     || Table <- ["domain_settings", "domain_events", "domain_admins"]],
    ?config(url, Config);
narrow(postgres, Config) ->
    Url = ?config(url, Config) ++ "_latin1",
    [_, Name] = string:split(Url, "/", trailing),
    sql(["CREATE DATABASE ", Name, " TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'"], Config),
    {ok, Schema} = file:read_file(filename:join(test_helper:root_dir(),
                                                "priv/schema/postgres.sql")),
    db_helper:sql(Url, Schema),
    Url.

what_cannot_be_imported_is_rejected_with_its_reason(Config) ->
    _ = import(?CSV, "taken.example,type1\n"),
    sql("INSERT INTO domain_settings (domain, host_type, status) "
        "VALUES ('going.example', 'type1', 2)", Config),
    Body = "static.example,type1\n"
           "a.example,type9\n"
           "taken.example,type2\n"
           "going.example,type1\n"
           "a.example\n"
           "a.example,type1,enabled,more\n"
           "a.example,type1,on\n"
           "a\0b,type1\n"
           "a.example,\"type1\n"
           "\"good.example\",\"type1\"\n",
    ?assertEqual([rejected(1, "static.example,type1", "domain is static"),
                  rejected(2, "a.example,type9", "unknown host type"),
                  rejected(3, "taken.example,type2", "duplicate: its host type is type1"),
                  rejected(4, "going.example,type1", "domain is being removed"),
                  rejected(5, "a.example", "a line has two or three fields: "
                                           "domain,host_type,status"),
                  rejected(6, "a.example,type1,enabled,more",
                           "a line has two or three fields: domain,host_type,status"),
                  rejected(7, "a.example,type1,on", "status must be enabled or disabled"),
                  rejected(8, "a\0b,type1", "invalid domain name"),
                  rejected(9, "a.example,\"type1", "a quotation mark is not closed"),
                  progress(10, 1, 0, 0, 9),
                  done(10, 1, 0, 0, 9)],
                 import(?CSV, Body)),
    ?assertMatch([_, _, ?DONE(2, 0, 0, 0, 2)],
                 lists:nthtail(1, import(?NDJSON, "{\"domain\": 1}\n{\n"))).

a_domain_that_comes_twice_has_the_status_of_the_later_line(Config) ->
    Body = "a.example,type1\nb.example,type1\nA.example,type1,disabled\na.example,type2\n",
    ?assertEqual([rejected(4, "a.example,type2", "duplicate: its host type is type1"),
                  progress(4, 2, 1, 0, 1),
                  done(4, 2, 1, 0, 1)],
                 import(?CSV, Body)),
    ?assertEqual("a.example|type1|0\nb.example|type1|1", rows(Config)).

a_dry_run_says_what_would_be_done_and_does_nothing(Config) ->
    _ = import(?CSV, "a.example,type1\n"),
    {Rows, Events} = {rows(Config), events(Config)},
    Body = "a.example,type1\na.example,type1,disabled\nb.example,type1\nb.example,type9\n",
    ?assertEqual(done(4, 1, 1, 1, 1), lists:last(dry_run(?CSV, Body))),
    ?assertEqual({Rows, Events}, {rows(Config), events(Config)}).

many_lines_are_done_in_transactions_and_other_nodes_follow(Config) ->
    Lines = [["d", integer_to_list(N), ".example,type1\n"] || N <- lists:seq(1, 5500)],
    Answers = import(?CSV, Lines),
    ?assertEqual(7, length(Answers)),
    ?assertMatch(?DONE(5500, 5500, _, _, _), lists:last(Answers)),
    ?assertEqual("5500", events(Config)),
    %% Of two other nodes one imports, and the other looks by itself only every 30 s.
    [One, Other] = Nodes =
        [node_helper:start_node(Name, #{database => ?config(url, Config), http => #{port => 0}})
         || Name <- [importer, follower]],
    {ok, _} = node_helper:call(One, application, ensure_all_started, [inets]),
    true = node_helper:call(One, net_kernel, connect_node, [element(2, Other)]),
    test_helper:wait_until(fun() ->
        length(node_helper:call(One, pg, get_members, [mim_scope, service_domain_db_group])) =:= 2
    end),
    {200, _} = node_helper:call(One, http_helper, post, ["/api/import", ?CSV, "e.example,type2\n"]),
    pong = node_helper:call(Other, service_domain_db, sync_local, []),
    ?assertEqual(5502, node_helper:call(Other, mongoose_domain_core, domains_count, [])),
    [node_helper:stop_node(Node) || Node <- Nodes].

a_body_that_breaks_off_changes_nothing(Config) ->
    {_, Port} = mongoose_domain_http:address(),
    {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}]),
    Lines = [["d", integer_to_list(N), ".example,type1\n"] || N <- lists:seq(1, 2500)],
    ok = gen_tcp:send(Socket, ["POST /api/import HTTP/1.1\r\nHost: localhost\r\n"
                               "Content-Type: text/csv\r\nContent-Length: 1000000\r\n\r\n", Lines]),
    %% The answer begins before the body ends, so the server has begun to read it.
    {ok, <<"HTTP/1.1 200 OK", _/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    timer:sleep(200),
    ok = gen_tcp:close(Socket),
    timer:sleep(200),
    ?assertEqual("0", events(Config)),
    ?assertMatch(?DONE(2500, 2500, 0, 0, _),
                 lists:last(import(?CSV, Lines))).

a_failing_database_says_how_much_is_done(Config) ->
    _ = import(?CSV, "a.example,type1\n"),
    sql("ALTER TABLE domain_settings RENAME TO elsewhere", Config),
    ?assertEqual([failed("database error")],
                 import(?CSV, "b.example,type1\n")).

wrong_imports_are_refused_before_anything_is_read(_Config) ->
    ?assertEqual({415, <<"Content-Type must be text/csv or application/x-ndjson">>},
                 refusal(post("/api/import", "application/json", "a.example,type1\n"))),
    ?assertEqual({400, <<"invalid query">>},
                 refusal(post("/api/import?dry_run=perhaps", ?CSV, "a.example,type1\n"))),
    ?assertEqual([failed("line 2 is too long")],
                 import(?CSV, ["a.example,type1\n", lists:duplicate(20000, $a)])),
    ?assertEqual({400, <<"unknown query parameter 'dry-run': did you mean 'dry_run'?">>},
                 refusal(post("/api/import?dry-run=true", ?CSV, "a.example,type1\n"))),
    ?assertMatch([_], import(?CSV, "")).

%% Exports

what_is_exported_can_be_imported(Config) ->
    Body = "a.example,type1\n\"b,\"\"x\"\".example\",type2,disabled\né.example,type1\n"
           "\" c \",type1\n\"# d\",type1\n\"e\r\n\r\",type1\ndomain,type2\n\"\t\",type1\n",
    ?assertMatch(?DONE(10, 8, _, _, _),
                 lists:last(import(?CSV, unicode:characters_to_binary(Body)))),
    Rows = rows(Config),
    [begin
         {200, Exported} = http_helper:get("/api/export?format=" ++ Format),
         sql("DELETE FROM domain_settings", Config),
         _ = import(Type, Exported),
         ?assertEqual(Rows, rows(Config))
     end || {Format, Type} <- [{"csv", ?CSV}, {"ndjson", ?NDJSON}]].

%% Which others wrote by SQL.
an_export_of_a_name_that_can_never_route_is_not_imported_beside_it(Config) ->
    sql([others(), ", ('upper.example', 'type1')"], Config),
    {Rows, Events} = {rows(Config), events(Config)},
    [begin
         {200, Exported} = http_helper:get("/api/export?format=" ++ Format),
         Lines = [Line || Line <- string:split(Exported, "\n", all), Line =/= <<>>],
         Answers = import(Type, Exported),
         Reasons = [Reason || #{<<"rejected">> := #{<<"reason">> := Reason}} <- Answers],
         [?assert(lists:member(<<"'", Name/binary, "' is in the database in this form, which can "
                                 "never route: remove it, then add it">>, Reasons))
          || Name <- other_names()],
         ?assertEqual(done(length(Lines), 0, 0, 1, 4), lists:last(Answers)),
         ?assertMatch(?DONE(_, 0, _, _, _),
                      lists:last(dry_run(Type, Exported))),
         ?assertEqual({Rows, Events}, {rows(Config), events(Config)})
     end || {Format, Type} <- [{"csv", ?CSV}, {"ndjson", ?NDJSON}]].

an_export_of_such_names_makes_one_domain_of_each_elsewhere(Config) ->
    sql([others(), ", ('upper.example', 'type1')"], Config),
    {200, Exported} = http_helper:get("/api/export"),
    sql("DELETE FROM domain_settings", Config),
    %% All but the one that nameprep forbids.
    ?assertMatch(?DONE(6, 3, 0, 1, 1), lists:last(import(?CSV, Exported))),
    ?assertEqual("no break|type1|1\nstrasse.example|type1|1\nupper.example|type1|1",
                 rows(Config)).

others() ->
    ["INSERT INTO domain_settings (domain, host_type) VALUES ",
     lists:join(", ", [["('", Name, "', 'type1')"] || Name <- other_names()])].

other_names() ->
    [<<"UPPER.Example">>, <<"stra\x{df}e.example"/utf8>>, <<"no\x{a0}break"/utf8>>,
     <<"\x{e000}.example"/utf8>>].

exports_have_filters(_Config) ->
    _ = import(?CSV, "a.example,type1\nb.example,type2\nc.example,type1,disabled\n"),
    Export = fun(Query) -> http_helper:get("/api/export?" ++ Query) end,
    ?assertEqual({200, <<"domain,host_type,status\na.example,type1,enabled\n"
                         "c.example,type1,disabled\n">>}, Export("host_type=type1")),
    {200, Ndjson} = Export("format=ndjson&status=disabled"),
    ?assertEqual(#{<<"domain">> => <<"c.example">>, <<"host_type">> => <<"type1">>,
                   <<"status">> => <<"disabled">>}, decode(Ndjson)),
    ?assertEqual({200, <<"domain,host_type,status\n">>}, Export("status=deleting")),
    ?assertEqual({400, <<"invalid query">>}, refusal(Export("format=xml"))).

of_duplicates_the_row_that_counts_is_exported(Config) ->
    sql("INSERT INTO domain_settings (domain, host_type) VALUES "
        "('a.example', 'type1'), ('b.example', 'type1'), ('a.example', 'type2')", Config),
    ?assertEqual({200, <<"domain,host_type,status\nb.example,type1,enabled\n"
                         "a.example,type2,enabled\n">>},
                 http_helper:get("/api/export")),
    #{<<"data">> := #{<<"domain">> := #{<<"allDomains">> := All}}} =
        decode(http_helper:graphql("{ domain { allDomains { domain } } }")),
    ?assertEqual([<<"static.example">>, <<"b.example">>, <<"a.example">>],
                 [Name || #{<<"domain">> := Name} <- All]).

%% By HTTP/1.0, too, where the end of a file is else that of the connection.
an_export_says_how_long_it_is(_Config) ->
    _ = import(?CSV, [["d", integer_to_list(N), ".example,type1\n"] || N <- lists:seq(1, 25000)]),
    {200, Exported} = http_helper:get("/api/export"),
    Length = integer_to_list(byte_size(Exported)),
    {_, Port} = mongoose_domain_http:address(),
    [begin
         {ok, Socket} = gen_tcp:connect("127.0.0.1", Port, [binary, {active, false}]),
         ok = gen_tcp:send(Socket, ["GET /api/export ", Version, "\r\nHost: localhost\r\n"
                                    "Connection: close\r\n\r\n"]),
         [Head, Body] = binary:split(all(Socket), <<"\r\n\r\n">>),
         ?assertMatch({match, [Length]}, re:run(Head, "\r\ncontent-length: (\\d+)\r\n",
                                                [caseless, {capture, [1], list}])),
         ?assertEqual(nomatch, re:run(Head, "transfer-encoding", [caseless])),
         ?assertEqual(Exported, Body)
     end || Version <- ["HTTP/1.0", "HTTP/1.1"]].

all(Socket) ->
    case gen_tcp:recv(Socket, 0) of
        {ok, Bytes} -> <<Bytes/binary, (all(Socket))/binary>>;
        {error, closed} -> <<>>
    end.

an_export_that_fails_is_an_error_and_no_file(Config) ->
    _ = import(?CSV, "a.example,type1\n"),
    {200, _} = http_helper:get("/api/export"),
    sql("ALTER TABLE domain_settings RENAME TO elsewhere", Config),
    ?assertEqual({500, <<"database error">>}, refusal(http_helper:get("/api/export"))).

%% Helpers

%% The lines of the answer, without how far the node is behind.
%% The lines of the answer, but for the lag, which is never the same.
import(Type, Body) ->
    {200, Answer} = post("/api/import", Type, Body),
    lines(Answer).

dry_run(Type, Body) ->
    {200, Answer} = post("/api/import?dry_run=true", Type, Body),
    lines(Answer).

lines(Answer) ->
    [without_lag(decode(Line)) || Line <- binary:split(Answer, <<"\n">>, [global, trim])].

without_lag(#{<<"done">> := Counts = #{<<"lag">> := Lag}}) when is_integer(Lag) ->
    #{<<"done">> => maps:remove(<<"lag">>, Counts)};
without_lag(Line) ->
    Line.

progress(Lines, Added, Changed, Unchanged, Rejected) ->
    #{<<"progress">> => counts(Lines, Added, Changed, Unchanged, Rejected)}.

done(Lines, Added, Changed, Unchanged, Rejected) ->
    #{<<"done">> => counts(Lines, Added, Changed, Unchanged, Rejected)}.

counts(Lines, Added, Changed, Unchanged, Rejected) ->
    #{<<"lines">> => Lines, <<"added">> => Added, <<"changed">> => Changed,
      <<"unchanged">> => Unchanged, <<"rejected">> => Rejected}.

rejected(Line, Text, Reason) ->
    #{<<"rejected">> => #{<<"line">> => Line, <<"text">> => iolist_to_binary(Text),
                          <<"reason">> => iolist_to_binary(Reason)}}.

%% Before anything is written.
failed(What) ->
    #{<<"error">> => #{<<"what">> => iolist_to_binary(What), <<"lines">> => 0}}.

%% The code and the reason.
refusal({Code, Body}) ->
    #{<<"what">> := What} = decode(Body),
    {Code, What}.

rows(Config) ->
    sql("SELECT domain || '|' || host_type || '|' || status FROM domain_settings ORDER BY domain",
        Config).

events(Config) ->
    sql("SELECT COUNT(*) FROM domain_events WHERE domain <> ''", Config).

sql(Statement, Config) ->
    db_helper:sql(?config(url, Config), Statement).
