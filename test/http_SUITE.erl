%% @doc Administration by HTTP, on every kind of database: each cell of the table of REST, each
%% field and each error of GraphQL, and what operators look at.
-module(http_SUITE).

-compile([export_all, nowarn_export_all, {no_auto_import, [get/1, put/2]}]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(json_helper, [decode/1]).

-define(A, "/api/domains/a.example").
-define(STATIC, "/api/domains/static.example").
-define(TYPE1, "{\"host_type\": \"type1\"}").
-define(TYPE2, "{\"host_type\": \"type2\"}").
-define(TYPE9, "{\"host_type\": \"type9\"}").
-define(ENABLE, "{\"enabled\": true}").
-define(DISABLE, "{\"enabled\": false}").

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    db_helper:databases().

groups() ->
    Cases = [a_domain_is_added_shown_disabled_enabled_and_removed,
             %% PUT
             the_same_pair_again_is_fine,
             a_domain_of_another_host_type_is_a_duplicate,
             a_domain_that_is_being_removed_is_a_duplicate_and_cannot_be_changed,
             %% Bodies and names
             bodies_must_say_what_is_to_be_done,
             names_are_nameprepped,
             names_that_nobody_can_have_are_refused,
             names_of_another_form_than_nameprep_are_marked_and_removed_as_they_are,
             a_name_of_another_form_cannot_be_added_beside_itself,
             one_of_another_form_may_be_like_a_static_domain,
             %% Refusals
             static_domains_stay_as_they_are,
             an_unknown_host_type_is_refused,
             what_does_not_exist_is_not_found_but_may_be_removed,
             only_its_own_host_type_removes_a_domain,
             %% DELETE
             a_requested_removal_is_finished_by_itself,
             a_removal_waits_for_its_handlers_and_says_when_one_fails,
             %% GET
             the_list_has_pages_by_name,
             the_list_has_filters,
             wrong_queries_are_refused,
             what_is_not_known_is_refused_and_named,
             %% The database
             a_failing_database_is_said_so_everywhere,
             %% GraphQL
             graphql_has_every_field,
             graphql_has_every_error,
             graphql_says_when_the_database_fails,
             graphql_takes_variables_and_introspection,
             graphql_has_the_types_of_mongooseim,
             graphql_that_is_not_executed_is_a_bad_request,
             passwords_are_set_deleted_and_go_with_their_domain,
             a_refusal_has_the_text_of_the_node,
             changes_by_one_graphql_request_are_made_in_their_order,
             large_and_deep_queries_are_refused,
             lists_of_one_request_have_one_budget,
             long_names_take_more_of_the_budget,
             %% Operators
             the_status_says_how_the_node_is,
             a_comparison_finds_what_differs,
             metrics_have_stable_names,
             a_node_is_ready_when_its_domains_are_loaded,
             a_node_is_ready_while_its_database_is_away_but_not_without_its_table,
             changes_by_many_at_once_are_all_made,
             removals_that_take_long_keep_no_change_waiting],
    [{Kind, [], Cases} || {group, Kind} <- db_helper:databases()].

init_per_testcase(_Case, Config) ->
    {ok, _} = http_helper:start(#{database => ?config(url, Config)}, #{}),
    pong = service_domain_db:sync_local(),
    Config.

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone().

a_domain_is_added_shown_disabled_enabled_and_removed(_Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual({200, details(<<"enabled">>, true)}, get(?A)),
    ?assertEqual({ok, <<"type1">>}, routes(<<"a.example">>)),
    ?assertEqual(204, patch(?A, ?DISABLE)),
    ?assertEqual({200, details(<<"disabled">>, false)}, get(?A)),
    ?assertEqual({error, not_found}, routes(<<"a.example">>)),
    ?assertEqual(204, patch(?A, ?DISABLE)),
    ?assertEqual(204, patch(?A, ?ENABLE)),
    ?assertEqual({ok, <<"type1">>}, routes(<<"a.example">>)),
    ?assertEqual(204, delete(?A, ?TYPE1)),
    ?assertEqual({404, what("domain not found")}, get(?A)),
    ?assertEqual({error, not_found}, routes(<<"a.example">>)).

the_same_pair_again_is_fine(Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual(204, patch(?A, ?DISABLE)),
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual("a.example|type1|0", rows(Config)).

a_domain_of_another_host_type_is_a_duplicate(Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual({409, what("duplicate")}, put(?A, ?TYPE2)),
    ?assertEqual("a.example|type1|1", rows(Config)).

a_domain_that_is_being_removed_is_a_duplicate_and_cannot_be_changed(Config) ->
    being_removed(Config),
    ?assertEqual({409, what("duplicate")}, put(?A, ?TYPE1)),
    ?assertEqual({403, what("domain is being removed")}, patch(?A, ?ENABLE)),
    ?assertEqual({403, what("domain is being removed")}, patch(?A, ?DISABLE)),
    ?assertEqual({200, details(<<"deleting">>, false)}, get(?A)).

bodies_must_say_what_is_to_be_done(_Config) ->
    [begin
         ?assertEqual({400, what("body is empty")}, request(Method, ?A, "")),
         ?assertEqual({400, what("failed to parse JSON")}, request(Method, ?A, "{host_type"))
     end || Method <- [put, patch, delete]],
    [?assertEqual({400, what("'host_type' field is missing")}, request(Method, ?A, Body))
     || Method <- [put, delete],
        Body <- ["{}", "[]", "7", "{\"host_type\": 7}", "{\"host_type\": null}"]],
    [?assertEqual({400, what("'enabled' field is missing")}, patch(?A, Body))
     || Body <- ["{}", "{\"enabled\": \"true\"}", "{\"enabled\": 1}"]],
    ?assertEqual({400, what("'request' must be true or false")},
                 delete(?A, "{\"host_type\": \"type1\", \"request\": \"yes\"}")),
    ?assertEqual({413, what("body is too long")}, put(?A, lists:duplicate(70000, $ ))).

names_are_nameprepped(Config) ->
    %% Capital letters, and full-width ones.
    ?assertEqual(204, put("/api/domains/A.%EF%BC%A5xample", ?TYPE1)),
    ?assertEqual("a.example|type1|1", rows(Config)),
    ?assertMatch({200, #{<<"domain">> := <<"a.example">>}}, get("/api/domains/A.EXAMPLE")),
    ?assertEqual(204, patch("/api/domains/A.EXAMPLE", ?DISABLE)),
    ?assertEqual(204, delete("/api/domains/A.EXAMPLE", ?TYPE1)),
    ?assertEqual("", rows(Config)).

names_that_nobody_can_have_are_refused(_Config) ->
    Long = lists:duplicate(251, $a),
    %% Not UTF-8; a private character; NUL; nothing but a character that is mapped to nothing.
    [begin
         Path = "/api/domains/" ++ Name,
         ?assertEqual({400, what("invalid domain name")}, put(Path, ?TYPE1)),
         ?assertEqual({400, what("invalid domain name")}, patch(Path, ?ENABLE)),
         ?assertEqual({400, what("invalid domain name")}, delete(Path, ?TYPE1)),
         ?assertEqual({400, what("invalid domain name")}, get(Path))
     end || Name <- [Long, "%FF.example", "%EE%80%80.example", "a%00b", "%C2%AD"]],
    ?assertEqual({400, what("invalid host type")}, put(?A, "{\"host_type\": \"\"}")),
    ?assertEqual({400, what("invalid host type")}, delete(?A, "{\"host_type\": \"a\\u0000\"}")).

%% Which others wrote by SQL.
names_of_another_form_than_nameprep_are_marked_and_removed_as_they_are(Config) ->
    Others = [<<"UPPER.Example">>, <<"no\x{a0}break"/utf8>>, <<"stra\x{df}e.example"/utf8>>,
              <<"\x{e000}.example"/utf8>>],
    Prepared = [<<"no break">>, <<"strasse.example">>, <<"upper.example">>],
    sql(["INSERT INTO domain_settings (domain, host_type) VALUES ",
         lists:join(", ", [["('", Name, "', 'type1')"] || Name <- Others ++ Prepared])], Config),
    Path = fun(Name) -> "/api/domains/" ++ uri_string:quote(unicode:characters_to_list(Name)) end,
    Body = fun(Name, Mark) ->
        Mark#{<<"domain">> => Name, <<"host_type">> => <<"type1">>, <<"status">> => <<"enabled">>,
              <<"enabled">> => true, <<"type">> => <<"dynamic">>}
    end,
    Marked = [{Name, #{<<"routable">> => false}} || Name <- Others],
    [?assertEqual({200, Body(Name, Mark)}, get(Path(Name)))
     || {Name, Mark} <- Marked ++ [{Name, #{}} || Name <- Prepared]],
    %% Any other form means the nameprepped name.
    ?assertEqual({200, Body(<<"upper.example">>, #{})}, get(Path(<<"Upper.Example">>))),
    {200, #{<<"domains">> := List}} = get("/api/domains?host_type=type1"),
    [?assert(lists:member(Body(Name, Mark), List))
     || {Name, Mark} <- Marked ++ [{Name, #{}} || Name <- Prepared]],
    #{<<"data">> := #{<<"domain">> := #{<<"allDomains">> := All}}} =
        'query'("allDomains {domain routable}"),
    [?assert(lists:member(#{<<"domain">> => Name, <<"routable">> => IsRoutable}, All))
     || {Names, IsRoutable} <- [{Others, false}, {Prepared, true}], Name <- Names],
    ?assertEqual(data("domainDetails", "{\"domain\":\"UPPER.Example\",\"routable\":false}"),
                 'query'("domainDetails(domain: \"UPPER.Example\") {domain routable}")),
    %% They are disabled and enabled like others.
    ?assertEqual(204, patch(Path(<<"UPPER.Example">>), ?DISABLE)),
    ?assertMatch({200, #{<<"domain">> := <<"UPPER.Example">>, <<"host_type">> := <<"type1">>,
                         <<"status">> := <<"disabled">>}}, get(Path(<<"UPPER.Example">>))),
    ?assertEqual({200, Body(<<"upper.example">>, #{})}, get(Path(<<"upper.example">>))),
    ?assertEqual(204, patch(Path(<<"UPPER.Example">>), ?ENABLE)),
    ?assertEqual(data("removeDomain", "{\"domain\":\"UPPER.Example\",\"hostType\":\"type1\","
                      "\"status\":\"DELETED\"}"),
                 mutation("removeDomain(domain: \"UPPER.Example\", hostType: \"type1\")")),
    [?assertEqual({Name, 204}, {Name, delete(Path(Name), ?TYPE1)}) || Name <- tl(Others)],
    Left = lists:sort(["static.example" | [binary_to_list(Name) || Name <- Prepared]]),
    ?assertEqual({Left, null}, list("")),
    %% Now it is a name like any.
    ?assertEqual({200, Body(<<"upper.example">>, #{})}, get(Path(<<"UPPER.Example">>))),
    ?assertEqual(204, delete(Path(<<"UPPER.Example">>), ?TYPE1)).

a_name_of_another_form_cannot_be_added_beside_itself(Config) ->
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('UPPER.Example', 'type1')",
        Config),
    Text = "'UPPER.Example' is in the database in this form, which can never route: remove it, "
           "then add it",
    ?assertEqual({409, what(Text)}, put("/api/domains/UPPER.Example", ?TYPE1)),
    refused("duplicate", Text, "addDomain(domain: \"UPPER.Example\", hostType: \"type1\")"),
    ?assertEqual("UPPER.Example|type1|1", rows(Config)),
    ?assertEqual(204, delete("/api/domains/UPPER.Example", ?TYPE1)),
    ?assertEqual(204, put("/api/domains/UPPER.Example", ?TYPE1)),
    ?assertEqual("upper.example|type1|1", rows(Config)).

one_of_another_form_may_be_like_a_static_domain(Config) ->
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('Static.Example', 'type2')",
        Config),
    ?assertEqual({["Static.Example", "static.example"], null}, list("")),
    ?assertMatch({200, #{<<"domain">> := <<"Static.Example">>, <<"host_type">> := <<"type2">>}},
                 get("/api/domains/Static.Example")),
    ?assertMatch({200, #{<<"domain">> := <<"static.example">>, <<"host_type">> := <<"type1">>}},
                 get("/api/domains/STATIC.example")),
    ?assertEqual(204, delete("/api/domains/Static.Example", ?TYPE2)),
    ?assertEqual({403, what("domain is static")}, delete("/api/domains/Static.Example", ?TYPE2)).

static_domains_stay_as_they_are(_Config) ->
    ?assertEqual({403, what("domain is static")}, put(?STATIC, ?TYPE1)),
    ?assertEqual({403, what("domain is static")}, patch(?STATIC, ?DISABLE)),
    ?assertEqual({403, what("domain is static")}, delete(?STATIC, ?TYPE1)),
    ?assertEqual({200, #{<<"domain">> => <<"static.example">>, <<"host_type">> => <<"type1">>,
                         <<"status">> => <<"enabled">>, <<"enabled">> => true,
                         <<"type">> => <<"static">>}}, get(?STATIC)).

an_unknown_host_type_is_refused(Config) ->
    ?assertEqual({403, what("unknown host type")}, put(?A, ?TYPE9)),
    ?assertEqual({403, what("unknown host type")}, delete(?A, ?TYPE9)),
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('a.example', 'type9')", Config),
    ?assertEqual({403, what("unknown host type")}, patch(?A, ?ENABLE)).

what_does_not_exist_is_not_found_but_may_be_removed(_Config) ->
    ?assertEqual({404, what("domain not found")}, get(?A)),
    ?assertEqual({404, what("domain not found")}, patch(?A, ?ENABLE)),
    ?assertEqual(204, delete(?A, ?TYPE1)),
    ?assertEqual(204, delete(?A, "{\"host_type\": \"type1\", \"request\": true}")),
    ?assertEqual({404, what("not found")}, get("/api/domain")),
    ?assertEqual({404, what("not found")}, get("/api/domains/a/b")),
    ?assertEqual({405, what("method not allowed")}, post(?A, ?TYPE1)).

only_its_own_host_type_removes_a_domain(_Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual({403, what("wrong host type")}, delete(?A, ?TYPE2)),
    ?assertMatch({200, _}, get(?A)).

a_requested_removal_is_finished_by_itself(_Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual(202, delete(?A, "{\"host_type\": \"type1\", \"request\": true}")),
    test_helper:wait_until(fun() -> get(?A) =:= {404, what("domain not found")} end).

a_removal_waits_for_its_handlers_and_says_when_one_fails(_Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    Self = self(),
    ok = mongoose_domain_hooks:add_removal_handler(slow, fun(_, _) ->
        timer:sleep(300),
        Self ! removed,
        ok
    end),
    ?assertEqual(204, delete(?A, ?TYPE1)),
    ?assert(receive removed -> true after 0 -> false end),
    ok = mongoose_domain_hooks:add_removal_handler(slow, fun(_, _) -> error(it_fails) end),
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual({500, what("The removal handler slow failed")}, delete(?A, ?TYPE1)),
    ?assertEqual({200, details(<<"deleting">>, false)}, get(?A)),
    ?assertEqual({error, not_found}, routes(<<"a.example">>)).

the_list_has_pages_by_name(Config) ->
    Names = ["b.example", "a-b.example", "a.example", "aa.example", "c.example"],
    [?assertEqual(204, put("/api/domains/" ++ Name, ?TYPE1)) || Name <- Names],
    %% A row of a static domain does not count.
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('static.example', 'type2')",
        Config),
    Sorted = lists:sort(["static.example" | Names]),
    ?assertEqual({Sorted, null}, list("")),
    ?assertEqual({lists:sublist(Sorted, 4), lists:nth(4, Sorted)}, list("limit=4")),
    ?assertEqual({lists:nthtail(4, Sorted), null}, list("limit=4&after=" ++ lists:nth(4, Sorted))),
    ?assertEqual({lists:nthtail(4, Sorted), null}, list("limit=2&after=" ++ lists:nth(4, Sorted))),
    ?assertEqual({lists:nthtail(3, Sorted), null}, list("after=aa.example")),
    ?assertEqual({[], null}, list("after=zzz")).

the_list_has_filters(Config) ->
    [?assertEqual(204, put("/api/domains/" ++ Name, ?TYPE1)) || Name <- ["a.example", "b.example"]],
    ?assertEqual(204, put("/api/domains/c.example", ?TYPE2)),
    ?assertEqual(204, patch("/api/domains/b.example", ?DISABLE)),
    ?assertEqual({["a.example", "b.example", "static.example"], null}, list("host_type=type1")),
    ?assertEqual({["c.example"], null}, list("host_type=type2")),
    ?assertEqual({["b.example"], null}, list("status=disabled")),
    ?assertEqual({["a.example", "static.example"], null}, list("status=enabled&host_type=type1")),
    ?assertEqual({[], null}, list("status=deleting")),
    being_removed(Config),
    ?assertEqual({["a.example"], null}, list("status=deleting")).

wrong_queries_are_refused(_Config) ->
    [?assertEqual({400, what("'limit' must be 1 to 1000")}, get("/api/domains?limit=" ++ Limit))
     || Limit <- ["0", "-1", "1001", "all", ""]],
    ?assertEqual({400, what("'status' must be enabled, disabled or deleting")},
                 get("/api/domains?status=on")),
    ?assertEqual({400, what("invalid query")}, get("/api/domains?after=a%00b")),
    ?assertEqual({403, what("unknown host type")}, get("/api/domains?host_type=type9")),
    ?assertEqual({403, what("unknown host type")}, get("/api/export?host_type=type9")).

what_is_not_known_is_refused_and_named(Config) ->
    [?assertEqual({400, what(["unknown query parameter '", Key, "': ", Says])}, get(Path))
     || {Path, Key, Says} <-
            [{"/api/domains?hostType=type1", "hostType", "did you mean 'host_type'?"},
             {"/api/domains?LIMIT=1", "LIMIT", "did you mean 'limit'?"},
             {"/api/domains?limits=1", "limits",
              "the known ones are host_type, status, after, limit"},
             {"/api/export?host-type=type1", "host-type", "did you mean 'host_type'?"},
             {?A ++ "?host_type=type1", "host_type", "none is allowed here"},
             {"/api/status?x", "x", "none is allowed here"}]],
    ?assertEqual({400, what("query parameter 'limit' is given twice")},
                 get("/api/domains?limit=1&limit=2")),
    [?assertEqual({400, what(["unknown key '", Key, "': ", Says])}, request(Method, ?A, Body))
     || {Method, Body, Key, Says} <-
            [{put, "{\"hostType\": \"type1\"}", "hostType", "did you mean 'host_type'?"},
             {put, "{\"host_type\": \"type1\", \"enabled\": false}", "enabled",
              "the known ones are host_type"},
             {patch, "{\"enabled\": true, \"host_type\": \"type1\"}", "host_type",
              "the known ones are enabled"},
             {delete, "{\"host_type\": \"type1\", \"Request\": true}", "Request",
              "did you mean 'request'?"}]],
    ?assertEqual("", rows(Config)).

a_failing_database_is_said_so_everywhere(Config) ->
    log_helper:capture_logs(),
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertEqual({ok, <<"type1">>}, routes(<<"a.example">>)),
    %% A new connection to SQLite makes the tables that are missing.
    ?assertMatch({200, _}, get(?A)),
    sql("ALTER TABLE domain_settings RENAME TO elsewhere", Config),
    ?assertEqual({500, what("database error")}, put("/api/domains/b.example", ?TYPE1)),
    ?assertEqual({500, what("database error")}, patch(?A, ?DISABLE)),
    ?assertEqual({500, what("database error")}, delete(?A, ?TYPE1)),
    ?assertEqual({500, what("database error")},
                 delete(?A, "{\"host_type\": \"type1\", \"request\": true}")),
    ?assertEqual({500, what("database error")}, get(?A)),
    ?assertEqual({500, what("database error")}, get("/api/domains")),
    ?assertEqual({500, what("database error")}, post("/api/verify", "")),
    ?assertMatch({200, _}, get(?STATIC)),
    ?assertEqual({ok, <<"type1">>}, mongoose_domain_core:get_host_type(<<"a.example">>)),
    %% And it is noted: what was read, and what was changed.
    ?assertMatch([#{level := error, reason := missing_tables, text := _} | _],
                 log_helper:logged(domain_http_database_failed)),
    ?assertMatch([#{level := error} | _], log_helper:logged(domain_change_failed)),
    log_helper:release_logs(),
    {200, Metrics} = get("/metrics"),
    [?assertMatch({Type, {_, _}},
                  {Type, binary:match(Metrics, <<"mongoose_domain_database_errors_total{kind=\"",
                                                 Type/binary, "\"}">>)})
     || Type <- [<<"missing_tables">>, <<"db_error">>]],
    sql("ALTER TABLE elsewhere RENAME TO domain_settings", Config),
    ?assertEqual(204, put("/api/domains/b.example", ?TYPE1)),
    ?assertMatch({200, _}, get(?A)).

graphql_has_every_field(_Config) ->
    ?assertEqual(data("addDomain", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"ENABLED\"}"),
                 mutation("addDomain(domain: \"A.example\", hostType: \"type1\")")),
    ?assertEqual(data("addDomain", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"ENABLED\"}"),
                 mutation("addDomain(domain: \"a.example\", hostType: \"type1\")")),
    ?assertEqual(data("disableDomain", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"DISABLED\"}"),
                 mutation("disableDomain(domain: \"a.example\")")),
    ?assertEqual(data("domainDetails", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"DISABLED\"}"),
                 'query'("domainDetails(domain: \"a.example\") {domain hostType status}")),
    ?assertEqual(data("enableDomain", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"ENABLED\"}"),
                 mutation("enableDomain(domain: \"a.example\")")),
    ?assertEqual(data("domainDetails", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"ENABLED\",\"type\":\"DYNAMIC\"}"),
                 'query'("domainDetails(domain: \"a.example\") {domain hostType status type}")),
    ?assertEqual(data("domainDetails", "{\"domain\":\"static.example\",\"hostType\":\"type1\","
                      "\"status\":\"ENABLED\",\"type\":\"STATIC\"}"),
                 'query'("domainDetails(domain: \"static.example\") "
                         "{domain hostType status type}")),
    pong = service_domain_db:sync_local(),
    ?assertEqual(data("allDomains", "[{\"domain\":\"static.example\",\"hostType\":\"type1\","
                      "\"status\":\"ENABLED\",\"type\":\"STATIC\"},{\"domain\":\"a.example\","
                      "\"hostType\":\"type1\",\"status\":\"ENABLED\",\"type\":\"DYNAMIC\"}]"),
                 'query'("allDomains {domain hostType status type}")),
    ?assertEqual(data("domainsByHostType", "[\"static.example\",\"a.example\"]"),
                 'query'("domainsByHostType(hostType: \"type1\")")),
    ?assertEqual(data("domainsByHostType", "[]"),
                 'query'("domainsByHostType(hostType: \"type2\")")),
    ?assertEqual(data("removeDomain", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"DELETED\"}"),
                 mutation("removeDomain(domain: \"a.example\", hostType: \"type1\")")),
    mutation("addDomain(domain: \"a.example\", hostType: \"type1\")"),
    ?assertEqual(data("requestRemoveDomain", "{\"domain\":\"a.example\",\"hostType\":\"type1\","
                      "\"status\":\"DELETING\"}"),
                 mutation("requestRemoveDomain(domain: \"A.example\", hostType: \"type1\")")),
    test_helper:wait_until(fun() -> get(?A) =:= {404, what("domain not found")} end).

graphql_has_every_error(Config) ->
    refused("static", "Domain is static",
            "addDomain(domain: \"static.example\", hostType: \"type1\")"),
    refused("static", "Domain is static",
            "removeDomain(domain: \"static.example\", hostType: \"type1\")"),
    refused("static", "Domain is static",
            "requestRemoveDomain(domain: \"static.example\", hostType: \"type1\")"),
    refused("static", "Domain is static", "enableDomain(domain: \"static.example\")"),
    refused("static", "Domain is static", "disableDomain(domain: \"static.example\")"),
    [refused("unknown_host_type", "Unknown host type",
             Function ++ "(domain: \"a.example\", hostType: \"type9\")")
     || Function <- ["addDomain", "removeDomain", "requestRemoveDomain"]],
    refused_query("unknown_host_type", "Unknown host type",
                  "domainsByHostType(hostType: \"type9\")"),
    [refused("not_found", "Given domain does not exist",
             Function ++ "(domain: \"a.example\", hostType: \"type1\")")
     || Function <- ["removeDomain", "requestRemoveDomain"]],
    [refused("not_found", "Given domain does not exist", Function ++ "(domain: \"a.example\")")
     || Function <- ["enableDomain", "disableDomain"]],
    refused_query("not_found", "Given domain does not exist",
                  "domainDetails(domain: \"a.example\") {domain}"),
    ?assertEqual(204, put(?A, ?TYPE1)),
    refused("duplicate", "Domain already exists",
            "addDomain(domain: \"a.example\", hostType: \"type2\")"),
    refused("wrong_host_type", "Wrong host type was provided",
            "removeDomain(domain: \"a.example\", hostType: \"type2\")"),
    refused("invalid_domain", "Domain must not be empty", "enableDomain(domain: \"\")"),
    refused("invalid_host_type", "Host type must not be empty",
            "addDomain(domain: \"a.example\", hostType: \"\")"),
    being_removed(Config),
    refused("deleted", "Domain has been deleted", "enableDomain(domain: \"a.example\")"),
    refused("deleted", "Domain has been deleted", "disableDomain(domain: \"a.example\")"),
    refused("duplicate", "Domain already exists",
            "addDomain(domain: \"a.example\", hostType: \"type1\")").

graphql_says_when_the_database_fails(Config) ->
    ?assertMatch({404, _}, get(?A)),
    sql("ALTER TABLE domain_settings RENAME TO elsewhere", Config),
    [refused("db_error", "Database error", Field)
     || Field <- ["addDomain(domain: \"a.example\", hostType: \"type1\")",
                  "removeDomain(domain: \"a.example\", hostType: \"type1\")",
                  "requestRemoveDomain(domain: \"a.example\", hostType: \"type1\")",
                  "enableDomain(domain: \"a.example\")", "disableDomain(domain: \"a.example\")"]],
    [refused_query("db_error", "Database error", Field)
     || Field <- ["domainDetails(domain: \"a.example\") {domain}", "allDomains {domain}"]].

graphql_takes_variables_and_introspection(_Config) ->
    Query = "{\"query\": \"mutation M($d: DomainName!, $t: String!) { domain { "
            "addDomain(domain: $d, hostType: $t) { domain } } }\", \"variables\": "
            "{\"d\": \"a.example\", "
            "\"t\": \"type1\"}, \"operationName\": \"M\"}",
    ?assertEqual({200, data("addDomain", "{\"domain\":\"a.example\"}")},
                 post("/api/graphql", Query)),
    ?assertEqual(decode("{\"data\":{\"__schema\":{\"queryType\":{\"name\":\"Query\"}}}}"),
                 graphql("{ __schema { queryType { name } } }")),
    ?assertEqual({400, what("'query' field is missing")}, post("/api/graphql", "{}")),
    ?assertEqual({400, what("body is empty")}, post("/api/graphql", "")),
    ?assertEqual({400, what("failed to parse JSON")}, post("/api/graphql", "{")),
    ?assertEqual({405, what("method not allowed")}, get("/api/graphql")).

graphql_has_the_types_of_mongooseim(_Config) ->
    #{<<"data">> := Types} =
        graphql("{ q: __type(name: \"DomainQuery\") {...fields} "
                "m: __type(name: \"DomainMutation\") {...fields} } "
                "fragment fields on __Type { fields { name args { name type { kind ofType "
                "{ name } } } type { name } } }"),
    #{<<"q">> := #{<<"fields">> := Queries}, <<"m">> := #{<<"fields">> := Mutations}} = Types,
    Domain = {<<"domain">>, <<"DomainName">>},
    HostType = {<<"hostType">>, <<"String">>},
    Args = fun(Args) ->
        [#{<<"name">> => Name,
           <<"type">> => #{<<"kind">> => <<"NON_NULL">>, <<"ofType">> => #{<<"name">> => Type}}}
         || {Name, Type} <- Args]
    end,
    [?assertEqual([#{<<"name">> => Field, <<"args">> => Args(Of),
                     <<"type">> => #{<<"name">> => Type}}],
                  [Found || Found = #{<<"name">> := Name} <- Queries ++ Mutations, Name =:= Field])
     || {Field, Of, Type} <- [{<<"domainDetails">>, [Domain], <<"DomainWithType">>},
                              {<<"domainsByHostType">>, [HostType], null},
                              {<<"allDomains">>, [], null},
                              {<<"addDomain">>, [Domain, HostType], <<"Domain">>},
                              {<<"removeDomain">>, [Domain, HostType], <<"Domain">>},
                              {<<"requestRemoveDomain">>, [Domain, HostType], <<"Domain">>},
                              {<<"enableDomain">>, [Domain], <<"Domain">>},
                              {<<"disableDomain">>, [Domain], <<"Domain">>},
                              {<<"setDomainPassword">>,
                               [Domain, {<<"password">>, <<"String">>}], <<"String">>},
                              {<<"deleteDomainPassword">>, [Domain], <<"String">>}]].

graphql_that_is_not_executed_is_a_bad_request(_Config) ->
    [?assertMatch({Query, {match, _}}, {Query, re:run(graphql_refusal(Query), Says)})
     || {Query, Says} <- [{"{ domain { allDomains", ""}, {"{ domains { x } }", "Unknown field"},
                          {"{ domain { domainDetails { domain } } }", "is required"},
                          {"{ domain { domainDetails(domain: null) { domain } } }",
                           "Invalid value"},
                          {"{ domain { domainDetails(domain: 5) { domain } } }", "Invalid value"},
                          {"query ($d: DomainName!) { domain { domainDetails(domain: $d) "
                           "{ domain } } }", "is missing"},
                          {"query ($d: Domains!) { domain { domainDetails(domain: $d) "
                           "{ domain } } }", ""}]],
    Variables = fun(Json) ->
        post("/api/graphql", ["{\"query\": \"query ($d: DomainName!) { domain { "
                              "domainDetails(domain: $d) { domain } } }\", \"variables\": ", Json,
                              "}"])
    end,
    ?assertMatch({200, _}, Variables("{\"d\": \"static.example\"}")),
    [?assertMatch({Json, {400, #{<<"errors">> := [_ | _]}}}, {Json, Variables(Json)})
     || Json <- ["{}", "{\"d\": null}", "{\"d\": 5}"]],
    %% What fails while it is executed is another thing.
    ?assertMatch(#{<<"data">> := #{<<"domain">> := #{<<"domainDetails">> := null}},
                   <<"errors">> := [_]},
                 'query'("domainDetails(domain: \"\") {domain}")).

passwords_are_set_deleted_and_go_with_their_domain(Config) ->
    log_helper:capture_logs(),
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, all),
    Set = fun(Domain) ->
        graphql(["mutation { domain { setDomainPassword(domain: \"", Domain, "\", "
                 "password: \"s3cret\") } }"])
    end,
    ?assertMatch({_, <<"not_found">>}, refusal(Set("a.example"))),
    ?assertEqual(204, put(?A, ?TYPE1)),
    Done = data("setDomainPassword", "\"Domain password set successfully\""),
    ?assertEqual(Done, Set("A.example")),
    ?assertEqual(Done, Set("static.example")),
    ?assertEqual(ok, mongoose_domain_api:check_domain_password(<<"a.example">>, <<"s3cret">>)),
    ?assertMatch({wrong_password, _},
                 mongoose_domain_api:check_domain_password(<<"a.example">>, <<"S3cret">>)),
    ?assertEqual(nomatch, re:run(sql("SELECT pass_details FROM domain_admins", Config), "s3cret")),
    Delete = "mutation { domain { deleteDomainPassword(domain: \"static.example\") } }",
    ?assertEqual(data("deleteDomainPassword", "\"Domain password deleted successfully\""),
                 graphql(Delete)),
    ?assertMatch({_, <<"not_found">>}, refusal(graphql(Delete))),
    Empty = "mutation { domain { setDomainPassword(domain: \"a.example\", password: \"\") } }",
    ?assertEqual({<<"Password must not be empty">>, <<"invalid_password">>},
                 refusal(graphql(Empty))),
    ?assertEqual(204, delete(?A, ?TYPE1)),
    ?assertEqual("0", sql("SELECT COUNT(*) FROM domain_admins", Config)),
    Logged = log_helper:logged(domain_changed_by_http),
    ?assertMatch([_ | _], [Change || #{change := {set_domain_password, _} = Change} <- Logged]),
    ok = logger:set_primary_config(level, Level),
    Log = io_lib:format("~0tp", [ets:tab2list(log_helper)]),
    ?assertEqual(nomatch, string:find(Log, "s3cret")),
    log_helper:release_logs().

a_refusal_has_the_text_of_the_node(_Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    [refused_with("not_found", Text, Field, graphql(["mutation { domain { ", Field, " } }"]))
     || {Text, Field} <-
            [{"Given domain has no password", "deleteDomainPassword(domain: \"a.example\")"},
             {"Given domain has no password", "deleteDomainPassword(domain: \"b.example\")"},
             {"Given domain does not exist",
              "setDomainPassword(domain: \"b.example\", password: \"secret\")"}]].

changes_by_one_graphql_request_are_made_in_their_order(_Config) ->
    Answer = graphql("mutation { domain {"
                     " z: addDomain(domain: \"a.example\", hostType: \"type1\") {status}"
                     " y: disableDomain(domain: \"a.example\") {status}"
                     " x: removeDomain(domain: \"a.example\", hostType: \"type1\") {status}"
                     " w: addDomain(domain: \"a.example\", hostType: \"type2\") {status}"
                     " v: disableDomain(domain: \"a.example\") {status} } }"),
    ?assertEqual(decode("{\"data\":{\"domain\":{\"z\":{\"status\":\"ENABLED\"},"
                        "\"y\":{\"status\":\"DISABLED\"},\"x\":{\"status\":\"DELETED\"},"
                        "\"w\":{\"status\":\"ENABLED\"},\"v\":{\"status\":\"DISABLED\"}}}}"),
                 Answer).

large_and_deep_queries_are_refused(_Config) ->
    Aliases = [io_lib:format("a~b: allDomains {domain} ", [N]) || N <- lists:seq(1, 6)],
    ?assertMatch({match, _},
                 re:run(graphql_refusal(["{ domain {", Aliases, "} }"]), "too complex")),
    Deep = fun(Times) ->
               ["{ __type(name: \"Query\") ", lists:duplicate(Times, "{ fields { type "),
                "{ name }", lists:duplicate(Times, "}}"), "}"]
           end,
    ?assertMatch({match, _}, re:run(graphql_refusal(Deep(10)), "too deep|recursion")),
    ?assertEqual({400, what("query is nested too deeply")},
                 post("/api/graphql", ["{\"query\": \"",
                                       string:replace(Deep(20), "\"", "\\\"", all), "\"}"])),
    %% Which would be looked at 10,000,000,000 times.
    Fragments = [io_lib:format("fragment f~b on Query { ~ts } ",
                               [N, lists:duplicate(10, io_lib:format("...f~b ", [N + 1]))])
                 || N <- lists:seq(1, 10)],
    Bomb = ["{\"query\": \"{ ...f1 } ", Fragments, "fragment f11 on Query { __typename }\"}"],
    ?assertEqual({400, what("too many fragments")}, post("/api/graphql", Bomb)).

lists_of_one_request_have_one_budget(Config) ->
    fill(".example", Config),
    #{<<"data">> := #{<<"domain">> := #{<<"a">> := All, <<"b">> := OfType}}} =
        graphql("{ domain { a: allDomains {domain} b: domainsByHostType(hostType: \"type1\") } }"),
    ?assertEqual({20001, 20001}, {length(All), length(OfType)}),
    %% What is asked for of each domain counts, too.
    ?assertEqual({0, 1}, lists_of(["a"], 60)),
    ?assertEqual({20001, 0}, lists_of(["a"], 36)),
    %% Each of them would be fine alone.
    ?assertEqual({20001, 1}, lists_of(["a", "b"], 36)).

long_names_take_more_of_the_budget(Config) ->
    fill(["." | lists:join($., lists:duplicate(4, lists:duplicate(55, $x)))], Config),
    ?assertEqual({20001, 0}, lists_of(["a"], 10)),
    ?assertEqual({0, 1}, lists_of(["a"], 25)).

fill(Suffix, Config) ->
    db_helper:fill(?config(url, Config), "filled", Suffix, 20000),
    ok = service_domain_db:restart(),
    test_helper:wait_until(fun() -> mongoose_domain_core:domains_count() =:= 20001 end).

%% How many domains a request for lists gets, each with its name so many times; and how many lists
%% are refused.
lists_of(Aliases, Fields) ->
    Names = [io_lib:format("f~b: domain ", [N]) || N <- lists:seq(1, Fields)],
    Lists = [[Alias, ": allDomains { ", Names, "} "] || Alias <- Aliases],
    Body = graphql(["{ domain { ", Lists, "} }"]),
    #{<<"data">> := #{<<"domain">> := Answers}} = Body,
    Refused = [Error || #{<<"extensions">> := #{<<"code">> := <<"too_many_domains">>}} = Error
                            <- maps:get(<<"errors">>, Body, [])],
    {lists:sum([length(List) || List <- maps:values(Answers), List =/= null]), length(Refused)}.

the_status_says_how_the_node_is(Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    pong = service_domain_db:sync_local(),
    %% The first sample of the lag is taken when the server has begun to listen.
    test_helper:wait_until(fun() ->
        {200, #{<<"lag">> := _} = Sofar} = get("/api/status"),
        maps:get(<<"history">>, Sofar) =/= []
    end),
    {200, Status} = get("/api/status"),
    Kind = atom_to_binary(?config(kind, Config)),
    ?assertMatch(#{<<"node">> := <<"nonode@nohost">>, <<"state">> := <<"following">>,
                   <<"lag">> := 0, <<"lag_seconds">> := +0.0, <<"loads">> := 1,
                   <<"last_error">> := null, <<"domains">> := 2, <<"followed">> := 1,
                   <<"database">> := #{<<"kind">> := Kind}}, Status),
    ?assertEqual({#{}, #{}}, {maps:get(<<"reloads">>, Status), maps:get(<<"errors">>, Status)}),
    ?assertEqual(decode("[{\"host_type\":\"type1\",\"allowed\":true,\"domains\":2},"
                        "{\"host_type\":\"type2\",\"allowed\":true,\"domains\":0}]"),
                 maps:get(<<"host_types">>, Status)),
    {200, #{<<"nodes">> := Nodes}} = get("/api/nodes"),
    ?assertMatch([#{<<"node">> := <<"nonode@nohost">>, <<"this">> := true, <<"reachable">> := true,
                    <<"status">> := #{<<"state">> := <<"following">>, <<"lag">> := 0,
                                      <<"domains">> := 2}}], Nodes).

a_comparison_finds_what_differs(Config) ->
    ?assertEqual({200, #{<<"result">> => <<"ok">>}}, post("/api/verify", "")),
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('b.example', 'type1')", Config),
    Differs = #{<<"domain">> => <<"b.example">>, <<"in_table">> => null,
                <<"in_database">> => <<"type1">>},
    ?assertEqual({200, #{<<"result">> => <<"differs">>, <<"count">> => 1,
                         <<"domains">> => [Differs]}},
                 post("/api/verify", "")),
    test_helper:wait_until(fun() ->
        mongoose_domain_core:get_host_type(<<"b.example">>) =:= {ok, <<"type1">>}
    end).

metrics_have_stable_names(_Config) ->
    ?assertEqual(204, put(?A, ?TYPE1)),
    ?assertMatch({404, _}, get("/nothing/here")),
    pong = service_domain_db:sync_local(),
    {200, Text} = get("/metrics"),
    Lines = binary:split(Text, <<"\n">>, [global]),
    Types = [binary_to_list(Rest) || <<"# TYPE ", Rest/binary>> <- Lines],
    ?assertEqual(["mongoose_domain_audits_total counter",
                  "mongoose_domain_checks_total counter",
                  "mongoose_domain_database_connections gauge",
                  "mongoose_domain_domains gauge",
                  "mongoose_domain_dummies_written_total counter",
                  "mongoose_domain_followed_domains gauge",
                  "mongoose_domain_gaps_settled_total counter",
                  "mongoose_domain_http_question_duration_seconds histogram",
                  "mongoose_domain_http_request_duration_seconds histogram",
                  "mongoose_domain_http_requests_total counter",
                  "mongoose_domain_lag_events gauge",
                  "mongoose_domain_lag_seconds gauge",
                  "mongoose_domain_loads_total counter",
                  "mongoose_domain_seconds_since_check gauge"], Types),
    [?assert(lists:member(Line, Lines))
     || Line <- [<<"mongoose_domain_domains{host_type=\"type1\"} 2">>,
                 <<"mongoose_domain_followed_domains 1">>,
                 <<"mongoose_domain_loads_total 1">>,
                 <<"mongoose_domain_lag_events 0">>,
                 <<"mongoose_domain_http_requests_total{code=\"204\",method=\"PUT\","
                   "route=\"/api/domains/{domain}\"} 1">>,
                 <<"mongoose_domain_http_requests_total{code=\"404\",method=\"GET\","
                   "route=\"other\"} 1">>]].

a_node_is_ready_when_its_domains_are_loaded(Config) ->
    ?assertEqual({200, #{<<"status">> => <<"ok">>}}, get("/healthz")),
    Ready = {200, ready(<<"following">>)},
    ?assertEqual(Ready, get("/readyz")),
    %% While everything is loaded again the table goes on routing.
    ok = mongoose_domain_nif:forget_position(),
    ?assertEqual({200, ready(<<"loading">>)}, get("/readyz")),
    ok = service_domain_db:force_check_for_updates(),
    test_helper:wait_until(fun() -> get("/readyz") =:= Ready end),
    %% A fresh table whose first load fails.
    sql("ALTER TABLE domain_settings RENAME TO lost_settings", Config),
    ok = supervisor:terminate_child(mongoose_domain_sup, mongoose_domain_core),
    {ok, _} = supervisor:restart_child(mongoose_domain_sup, mongoose_domain_core),
    test_helper:wait_until(fun() ->
        {Code, Body} = get("/readyz"),
        {Code, maps:find(<<"what">>, Body)} =:= {503, {ok, <<"the domains are not loaded yet">>}}
    end),
    ?assertEqual({200, #{<<"status">> => <<"ok">>}}, get("/healthz")),
    sql("ALTER TABLE lost_settings RENAME TO domain_settings", Config),
    ok = service_domain_db:force_check_for_updates(),
    test_helper:wait_until(fun() -> get("/readyz") =:= Ready end).

a_node_is_ready_while_its_database_is_away_but_not_without_its_table(Config) ->
    sql("ALTER TABLE domain_events RENAME TO lost_events", Config),
    ok = service_domain_db:force_check_for_updates(),
    test_helper:wait_until(fun() ->
        get("/readyz") =:= {200, ready(<<"retrying">>)}
    end),
    sql("ALTER TABLE lost_events RENAME TO domain_events", Config),
    ok = supervisor:terminate_child(mongoose_domain_sup, mongoose_domain_core),
    ?assertEqual({503, #{<<"status">> => <<"not ready">>, <<"state">> => <<"stopped">>,
                         <<"what">> => <<"there is no routing table">>}}, get("/readyz")),
    {ok, _} = supervisor:restart_child(mongoose_domain_sup, mongoose_domain_core),
    Ready = {200, ready(<<"following">>)},
    test_helper:wait_until(fun() -> get("/readyz") =:= Ready end).

changes_by_many_at_once_are_all_made(Config) ->
    Self = self(),
    %% Twice as many as are made at a time; who waits for longer than 5 s is refused.
    Names = ["d" ++ integer_to_list(N) ++ ".example" || N <- lists:seq(1, 64)],
    Pids = [spawn_link(fun() -> Self ! {self(), put("/api/domains/" ++ Name, ?TYPE1)} end)
            || Name <- Names],
    [?assertEqual(204, receive {Pid, Code} -> Code end) || Pid <- Pids],
    ?assertEqual("64", sql("SELECT COUNT(*) FROM domain_settings", Config)).

removals_that_take_long_keep_no_change_waiting(_Config) ->
    Self = self(),
    ok = mongoose_domain_hooks:add_removal_handler(slow, fun(_, _) ->
        Self ! {removes, self()},
        receive go_on -> ok end
    end),
    Paths = ["/api/domains/d" ++ integer_to_list(N) ++ ".example" || N <- lists:seq(1, 34)],
    [204 = put(Path, ?TYPE1) || Path <- Paths],
    Removals = [spawn_link(fun() -> Self ! {self(), delete(Path, ?TYPE1)} end) || Path <- Paths],
    Handlers = [receive {removes, Pid} -> Pid end || _ <- lists:seq(1, 32)],
    ?assertEqual(204, put(?A, ?TYPE1)),
    %% Two find no place, and are not begun later.
    Busy = {503, what("too many removals are in progress: try again")},
    [?assertEqual(Busy, receive {_, {503, _} = Answer} -> Answer end) || _ <- [1, 2]],
    [Handler ! go_on || Handler <- Handlers],
    [?assertEqual(204, receive {_, 204} -> 204 end) || _ <- lists:seq(1, 32)],
    ?assertEqual(34, length(Removals)),
    ?assertEqual(none, receive {removes, _} -> begun after 200 -> none end).

%% Helpers

routes(Domain) ->
    pong = service_domain_db:sync_local(),
    mongoose_domain_core:get_host_type(Domain).

ready(State) ->
    #{<<"status">> => <<"ready">>, <<"state">> => State}.

what(Text) ->
    #{<<"what">> => iolist_to_binary(Text)}.

%% Of a.example.
details(Status, IsEnabled) ->
    #{<<"domain">> => <<"a.example">>, <<"host_type">> => <<"type1">>, <<"status">> => Status,
      <<"enabled">> => IsEnabled, <<"type">> => <<"dynamic">>}.

%% a.example, whose removal does not come to its end.
being_removed(Config) ->
    ok = mongoose_domain_hooks:add_removal_handler(failing, fun(_, _) -> error(not_now) end),
    _ = put(?A, ?TYPE1),
    ?assertEqual({500, what("The removal handler failing failed")}, delete(?A, ?TYPE1)),
    ?assertMatch({match, _}, re:run(rows(Config), "a.example\\|type1\\|2")).

list(Query) ->
    {200, #{<<"domains">> := Domains, <<"next">> := Next}} = get("/api/domains?" ++ Query),
    {[binary_to_list(Name) || #{<<"domain">> := Name} <- Domains],
     case Next of null -> null; _ -> binary_to_list(Next) end}.

'query'(Field) ->
    graphql("{ domain { " ++ Field ++ " } }").

mutation(Field) ->
    graphql("mutation { domain { " ++ Field ++ " { domain hostType status } } }").

%% The value of the field, as JSON.
data(Field, Json) ->
    #{<<"data">> => #{<<"domain">> => #{list_to_binary(Field) => decode(Json)}}}.

refused(Code, Text, Field) ->
    refused_with(Code, Text, Field, mutation(Field)).

refused_query(Code, Text, Field) ->
    refused_with(Code, Text, Field, 'query'(Field)).

refused_with(Code, Text, Field, Answer) ->
    [Name, _] = string:split(Field ++ " ", case lists:member($(, Field) of
                                               true -> "(";
                                               false -> " "
                                           end),
    Key = list_to_binary(Name),
    ?assertMatch(#{<<"data">> := #{<<"domain">> := #{Key := null}},
                   <<"errors">> := [#{<<"path">> := [<<"domain">>, Key]}]}, Answer),
    ?assertEqual({iolist_to_binary(Text), iolist_to_binary(Code)}, refusal(Answer)).

%% The text and the code of the one error.
refusal(#{<<"errors">> := [#{<<"message">> := Text, <<"extensions">> := #{<<"code">> := Code}}]}) ->
    {Text, Code}.

%% Requests: JSON is answered decoded.

get(Path) -> request(get, Path, none).
put(Path, Body) -> request(put, Path, Body).
patch(Path, Body) -> request(patch, Path, Body).
delete(Path, Body) -> request(delete, Path, Body).
post(Path, Body) -> request(post, Path, Body).

request(Method, Path, Body) ->
    http_helper:decoded(http_helper:request(Method, Path, Body)).

graphql(Query) ->
    decode(http_helper:graphql(Query)).

%% Its text: the words are what counts.
graphql_refusal(Query) ->
    Json = http_helper:graphql_refusal(Query),
    #{<<"errors">> := [#{<<"message">> := _} | _]} = decode(Json),
    Json.

rows(Config) ->
    sql("SELECT domain || '|' || host_type || '|' || status FROM domain_settings ORDER BY id",
        Config).

sql(Statement, Config) ->
    db_helper:sql(?config(url, Config), Statement).
