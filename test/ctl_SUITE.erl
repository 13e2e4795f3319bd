%% @doc mongoose-domainctl, the program itself, against a standalone node: what it prints and where,
%% and its exit code. What a server does only now and then is in native/domain_ctl/tests/ctl.rs.
-module(ctl_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(T1, <<"type1">>).
%% Milliseconds that a run may take: one that waits for a server that is away takes a minute.
-define(WAIT, 600000).
-define(NO_HTTP, ": is the node running, with its HTTP interface (`make serve`, or the section "
                 "`http` of its configuration)?\n").

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    [{group, sqlite}, {group, postgres}].

groups() ->
    Cases = [%% GraphQL
             the_commands_of_graphql_print_its_result,
             passwords_are_set_from_a_file_and_deleted,
             a_domain_that_can_never_route_is_marked_and_removed_by_its_name,
             each_refusal_of_graphql_is_printed_and_ends_with_1,
             a_failing_database_is_said_so,
             %% The older commands
             the_older_commands_say_in_a_word_what_they_did,
             the_older_commands_say_why_they_did_nothing,
             names_may_have_any_characters,
             %% The node
             the_status_can_be_read,
             the_status_is_there_as_json,
             a_comparison_lists_what_differs,
             %% Settings
             the_command_line_is_explained,
             the_server_is_an_option_or_a_variable_or_in_a_file,
             a_server_that_is_away_is_named,
             credentials_are_needed_and_checked,
             credentials_in_the_url_are_refused,
             the_list_of_processes_has_no_password,
             the_server_is_verified_by_its_certificate,
             %% Imports
             domains_are_imported_from_csv,
             domains_are_imported_from_ndjson,
             domains_are_imported_from_standard_input,
             an_import_changes_the_status_and_can_be_repeated,
             a_dry_run_changes_nothing,
             rejected_lines_are_shown_with_their_reasons,
             of_many_rejected_lines_the_first_are_shown,
             rejected_lines_are_written_and_can_be_corrected_and_imported,
             many_long_lines_are_rejected,
             an_import_that_is_killed_goes_on_when_it_is_repeated,
             an_import_outlives_the_server,
             an_import_goes_on_when_the_database_comes_back,
             %% Exports
             domains_are_exported,
             an_export_can_be_imported,
             exports_have_filters,
             an_export_that_is_refused_leaves_no_file],
    [{sqlite, [], [an_import_waits_for_the_server_for_a_minute | Cases]}, {postgres, [], Cases}].

init_per_suite(Config) ->
    [{program, program()} | tls_helper:make_certificates(Config)].

end_per_suite(_Config) ->
    ok.

init_per_testcase(Case, Config) ->
    Dir = filename:join(?config(priv_dir, Config), test_helper:data_name(Case)),
    ok = file:make_dir(Dir),
    start([{dir, Dir} | Config], #{}).

end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone().

%% GraphQL

the_commands_of_graphql_print_its_result(Config) ->
    Pair = ["--domain", "a.example", "--hostType", "type1"],
    Name = ["--domain", "a.example"],
    ?assertEqual(result(addDomain, details(<<"ENABLED">>)), domain("addDomain", Pair, Config)),
    ?assertEqual(result(disableDomain, details(<<"DISABLED">>)),
                 domain("disableDomain", Name, Config)),
    ?assertEqual(result(domainDetails, (details(<<"DISABLED">>))#{type => <<"DYNAMIC">>,
                                                                  routable => true}),
                 domain("domainDetails", Name, Config)),
    ?assertEqual(result(domainDetails, #{domain => <<"static.example">>, hostType => ?T1,
                                         status => <<"ENABLED">>, type => <<"STATIC">>,
                                         routable => true}),
                 domain("domainDetails", ["--domain", "static.example"], Config)),
    ?assertEqual(result(enableDomain, details(<<"ENABLED">>)),
                 domain("enableDomain", Name, Config)),
    pong = service_domain_db:sync_local(),
    ?assertEqual(result(domainsByHostType, [<<"static.example">>, <<"a.example">>]),
                 domain("domainsByHostType", ["--hostType", "type1"], Config)),
    ?assertEqual(result(domainsByHostType, []),
                 domain("domainsByHostType", ["--hostType", "type2"], Config)),
    Static = #{domain => <<"static.example">>, hostType => ?T1, status => <<"ENABLED">>,
               type => <<"STATIC">>, routable => true},
    Dynamic = (details(<<"ENABLED">>))#{type => <<"DYNAMIC">>, routable => true},
    ?assertEqual(result(allDomains, [Static, Dynamic]), domain("allDomains", [], Config)),
    ?assertEqual(result(removeDomain, details(<<"DELETED">>)),
                 domain("removeDomain", Pair, Config)),
    {0, _, _} = domain("addDomain", Pair, Config),
    ?assertEqual(result(requestRemoveDomain, details(<<"DELETING">>)),
                 domain("requestRemoveDomain", Pair, Config)),
    test_helper:wait_until(fun() -> rows(Config) =:= [] end).

passwords_are_set_from_a_file_and_deleted(Config) ->
    Name = ["--domain", "a.example"],
    {0, _, _} = domain("addDomain", Name ++ ["--hostType", "type1"], Config),
    File = write("new", "s3cret\n", Config),
    Set = {0, json(#{data => #{domain => #{setDomainPassword =>
                                               <<"Domain password set successfully">>}}}), <<>>},
    ?assertEqual(Set, domain("setDomainPassword", Name ++ ["--new-password-file", File], Config)),
    ?assertEqual(ok, mongoose_domain_api:check_domain_password(<<"a.example">>, <<"s3cret">>)),
    ?assertMatch({0, _, <<>>}, domain("deleteDomainPassword", Name, Config)),
    ?assertEqual(refused(deleteDomainPassword, Name, not_found, "Given domain has no password"),
                 domain("deleteDomainPassword", Name, Config)).

%% Which others wrote by SQL.
a_domain_that_can_never_route_is_marked_and_removed_by_its_name(Config) ->
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('UPPER.Example', 'type1'), "
        "('upper.example', 'type2')", Config),
    {0, All, <<>>} = domain("allDomains", [], Config),
    ?assertEqual([{<<"static.example">>, true}, {<<"UPPER.Example">>, false},
                  {<<"upper.example">>, true}], names_and_marks(All)),
    Args = ["--domain", "UPPER.Example"],
    {0, Details, <<>>} = domain("domainDetails", Args, Config),
    ?assertMatch({_, _}, binary:match(Details, <<"\"routable\": false">>)),
    ?assertMatch({1, <<>>, <<"Error: 'UPPER.Example' is in the database in this form, which can "
                             "never route: remove it, then add it", _/binary>>},
                 ctl(["insert_domain", "UPPER.Example", "type1"], Config)),
    ?assertEqual({0, <<"Deleted\n">>, <<>>},
                 ctl(["delete_domain", "UPPER.Example", "type1"], Config)),
    ?assertEqual(["upper.example|type2|1"], rows(Config)).

names_and_marks(Printed) ->
    {match, Found} = re:run(Printed, "\"domain\": \"([^\"]*)\",\\s*\"hostType\": \"[^\"]*\",\\s*"
                                     "\"routable\": (true|false)",
                            [global, {capture, all_but_first, binary}]),
    [{Name, Mark =:= <<"true">>} || [Name, Mark] <- Found].

each_refusal_of_graphql_is_printed_and_ends_with_1(Config) ->
    Refused = fun(Code, Text, Command, Args) ->
        ?assertEqual(refused(list_to_atom(Command), Args, Code, Text),
                     domain(Command, Args, Config))
    end,
    Static = ["--domain", "static.example"],
    Name = ["--domain", "a.example"],
    Type1 = ["--hostType", "type1"],
    Type2 = ["--hostType", "type2"],
    Type9 = ["--hostType", "type9"],
    OfPairs = ["addDomain", "removeDomain", "requestRemoveDomain"],
    OfNames = ["enableDomain", "disableDomain", "domainDetails"],
    [Refused(static, "Domain is static", Command, Static ++ Type1) || Command <- OfPairs],
    [Refused(static, "Domain is static", Command, Static)
     || Command <- OfNames -- ["domainDetails"]],
    [Refused(unknown_host_type, "Unknown host type", Command, Name ++ Type9)
     || Command <- OfPairs],
    Refused(unknown_host_type, "Unknown host type", "domainsByHostType", Type9),
    [Refused(not_found, "Given domain does not exist", Command, Name ++ Type1)
     || Command <- tl(OfPairs)],
    [Refused(not_found, "Given domain does not exist", Command, Name) || Command <- OfNames],
    {0, _, _} = domain("addDomain", Name ++ Type1, Config),
    Refused(duplicate, "Domain already exists", "addDomain", Name ++ Type2),
    [Refused(wrong_host_type, "Wrong host type was provided", Command, Name ++ Type2)
     || Command <- tl(OfPairs)],
    Refused(invalid_domain, "Domain must not be empty", "enableDomain", ["--domain", ""]),
    Refused(invalid_host_type, "Host type must not be empty", "addDomain",
            Name ++ ["--hostType", ""]),
    being_removed(Config),
    [Refused(deleted, "Domain has been deleted", Command, Name)
     || Command <- ["enableDomain", "disableDomain"]],
    node_helper:stop_standalone(),
    _ = start(lists:keydelete(url, 1, Config), #{port => port(Config)}),
    Refused(service_disabled, "No database is configured", "addDomain", Name ++ Type1).

a_failing_database_is_said_so(Config) ->
    ?assertEqual({0, <<"Added\n">>, <<>>}, ctl(["insert_domain", "a.example", "type1"], Config)),
    sql("ALTER TABLE domain_settings RENAME TO elsewhere", Config),
    Args = ["--domain", "a.example", "--hostType", "type1"],
    ?assertEqual(refused(removeDomain, Args, db_error, "Database error"),
                 domain("removeDomain", Args, Config)),
    [?assertEqual({1, <<>>, <<"Error: database error\n">>}, ctl(Command, Config))
     || Command <- [["insert_domain", "b.example", "type1"], ["enable_domain", "a.example"],
                    ["verify"]]],
    sql("DROP TABLE IF EXISTS domain_settings; ALTER TABLE elsewhere RENAME TO domain_settings",
        Config),
    ?assertEqual({0, <<"Deleted\n">>, <<>>}, ctl(["delete_domain", "a.example", "type1"], Config)).

%% The older commands

the_older_commands_say_in_a_word_what_they_did(Config) ->
    [begin
         ?assertEqual({0, <<Word/binary, "\n">>, <<>>}, ctl(Args, Config)),
         ?assertEqual(Rows, rows(Config))
     end || {Args, Word, Rows} <-
                [{["insert_domain", "a.example", "type1"], <<"Added">>, ["a.example|type1|1"]},
                 {["insert_domain", "a.example", "type1"], <<"Added">>, ["a.example|type1|1"]},
                 {["disable_domain", "a.example"], <<"Disabled">>, ["a.example|type1|0"]},
                 {["enable_domain", "a.example"], <<"Enabled">>, ["a.example|type1|1"]},
                 {["delete_domain", "a.example", "type1"], <<"Deleted">>, []},
                 {["delete_domain", "a.example", "type1"], <<"Deleted">>, []}]].

the_older_commands_say_why_they_did_nothing(Config) ->
    Says = fun(Text, Args) ->
        ?assertEqual({1, <<>>, <<"Error: ", Text/binary, "\n">>}, ctl(Args, Config))
    end,
    [Says(<<"domain is static">>, [Command, "static.example" | Rest])
     || {Command, Rest} <- [{"insert_domain", ["type1"]}, {"delete_domain", ["type1"]},
                            {"enable_domain", []}, {"disable_domain", []}]],
    [Says(<<"unknown host type">>, [Command, "a.example", "type9"])
     || Command <- ["insert_domain", "delete_domain"]],
    [Says(<<"domain not found">>, [Command, "a.example"])
     || Command <- ["enable_domain", "disable_domain"]],
    Says(<<"invalid domain name">>, ["insert_domain", lists:duplicate(251, $a), "type1"]),
    Says(<<"invalid host type">>, ["insert_domain", "a.example", ""]),
    {0, _, _} = ctl(["insert_domain", "a.example", "type1"], Config),
    Says(<<"duplicate">>, ["insert_domain", "a.example", "type2"]),
    Says(<<"wrong host type">>, ["delete_domain", "a.example", "type2"]),
    being_removed(Config),
    Says(<<"domain is being removed">>, ["enable_domain", "a.example"]),
    Says(<<"The removal handler failing failed">>, ["delete_domain", "a.example", "type1"]).

names_may_have_any_characters(Config) ->
    Name = <<"a/b?c=1&d#%25 \"ü\".example"/utf8>>,
    ?assertEqual({0, <<"Added\n">>, <<>>}, ctl(["insert_domain", Name, "type1"], Config)),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, mongoose_domain_core:get_host_type(Name)),
    {0, Details, <<>>} = domain("domainDetails", ["--domain", Name], Config),
    ?assertNotEqual(nomatch, string:find(Details, <<"a/b?c=1&d#%25 \\\"ü\\\".example"/utf8>>)),
    ?assertEqual({0, <<"Deleted\n">>, <<>>}, ctl(["delete_domain", Name, "type1"], Config)).

%% The node

the_status_can_be_read(Config) ->
    {0, _, _} = ctl(["insert_domain", "a.example", "type1"], Config),
    pong = service_domain_db:sync_local(),
    {0, Status, <<>>} = ctl(["status"], Config),
    %% How long ago, and how often, differs.
    Masked = re:replace(Status, "\\d+\\.\\d s ago|checks \\d+|connections \\d+, idle \\d+|"
                                "position     \\d+ \\(newest event \\d+\\)",
                        "*", [global, {return, binary}]),
    Kind = atom_to_binary(?config(kind, Config)),
    ?assertEqual(<<"node         nonode@nohost, version 0.1.0\n"
                   "state        following\n"
                   "*, lag 0\n"
                   "last check   *\n"
                   "since start  *, loads 1, reloads 0, audits 0, gaps settled 0, "
                   "dummies written 0\n"
                   "errors       0\n"
                   "domains      2 (1 from the database)\n"
                   "host types   type1: 2\n"
                   "             type2: 0\n"
                   "database     ", Kind/binary, ", *\n"
                   "nodes        nonode@nohost (this node): following, lag 0, domains 2, "
                   "last check *\n">>,
                 Masked).

the_status_is_there_as_json(Config) ->
    {0, Status, <<>>} = ctl(["status", "--json"], Config),
    [?assertNotEqual({nomatch, Part}, {string:find(Status, Part), Part})
     || Part <- [<<"{\n  \"nodes\": [\n    {\n      \"node\": \"nonode@nohost\",\n">>,
                 <<"\n  \"status\": {\n    \"audits\": 0,\n">>,
                 <<"\n    \"state\": \"following\",\n">>]].

a_comparison_lists_what_differs(Config) ->
    ?assertEqual({0, <<"the table matches the database\n">>, <<>>}, ctl(["verify"], Config)),
    sql("INSERT INTO domain_settings (domain, host_type) VALUES ('b.example', 'type1')", Config),
    ?assertEqual({1, <<"domains that differ: 1\n"
                       "b.example: in the table absent, in the database type1\n">>, <<>>},
                 ctl(["verify"], Config)).

%% Settings

the_command_line_is_explained(Config) ->
    {0, Help, <<>>} = ctl(["--help"], Config),
    [?assertNotEqual({nomatch, Part}, {string:find(Help, Part), Part})
     || Part <- ["Usage: mongoose-domainctl [OPTIONS] <COMMAND>\n", "MONGOOSE_DOMAINCTL_PASSWORD",
                 "Exit codes: 0 all went well; 1 it failed; 2 the command line is wrong, or lines "
                 "were rejected.\n"]],
    ?assertEqual({0, <<"mongoose-domainctl 0.1.0\n">>, <<>>}, ctl(["--version"], Config)),
    [?assertMatch({2, <<>>, <<"error: ", _/binary>>}, ctl(Args, Config))
     || Args <- [["domain", "addDomain", "--domain", "a.example"], ["no_command"],
                 ["verify", "--password", "x"], ["insert_domain", "", "type1"],
                 ["import", "-", "--format", "xml"]]],
    {0, <<".", _/binary>> = Page, <<>>} = ctl(["man"], Config),
    ?assertNotEqual(nomatch, string:find(Page, ".SS \"import <FILE>\"")),
    [?assertMatch({0, <<_, _/binary>>, <<>>}, ctl(["completions", Shell], Config))
     || Shell <- ["bash", "zsh", "fish"]].

the_server_is_an_option_or_a_variable_or_in_a_file(Config) ->
    Server = ?config(server, Config),
    Ok = {0, <<"the table matches the database\n">>, <<>>},
    Wrong = {"MONGOOSE_DOMAINCTL_SERVER", "http://127.0.0.1:1"},
    None = {"MONGOOSE_DOMAINCTL_SERVER", false},
    ?assertEqual(Ok, ctl(["verify", "--server", Server ++ "/"], [Wrong], Config)),
    File = write("ctl.toml", ["server = \"", Server, "\"\n"], Config),
    ?assertEqual(Ok, ctl(["verify", "--config", File], [None], Config)),
    ?assertEqual(Ok, ctl(["verify"], [None, {"MONGOOSE_DOMAINCTL_CONFIG", File}], Config)),
    ?assertMatch({1, <<>>, _}, ctl(["verify", "--config", File], [Wrong], Config)),
    ok = file:make_dir(filename:join(?config(dir, Config), ".config")),
    _ = write(".config/mongoose-domainctl.toml", ["server = '", Server, "'\n"], Config),
    ?assertEqual(Ok, ctl(["verify"], [None], Config)),
    _ = write("ctl.toml", ["server = '", Server, "'\npasswrd = 'secret'\n"], Config),
    ?assertEqual({1, <<>>, iolist_to_binary(["Error: ", File, ", line 2: unknown field `passwrd`, "
                                             "expected one of `server`, `username`, `password`, "
                                             "`ca_file`\n"])},
                 ctl(["verify", "--config", File], Config)).

a_server_that_is_away_is_named(Config) ->
    Away = <<"Error: http://127.0.0.1:1 cannot be reached: Connection refused (os error 111)",
             ?NO_HTTP>>,
    [?assertEqual({1, <<>>, Away}, ctl(Args ++ ["--server", "http://127.0.0.1:1"], Config))
     || Args <- [["domain", "allDomains"], ["enable_domain", "a.example"], ["status"], ["verify"],
                 ["import", write("a.csv", "a.example,type1\n", Config)], ["export"]]],
    ?assertMatch({1, <<>>, <<"Error: http://no.host.invalid cannot be reached: ", _/binary>>},
                 ctl(["verify", "--server", "http://no.host.invalid"], Config)).

credentials_are_needed_and_checked(Config) ->
    Guarded = restart(#{username => "admin", password => "s3cret"}, Config),
    Ok = {0, <<"the table matches the database\n">>, <<>>},
    Name = {"MONGOOSE_DOMAINCTL_USERNAME", "admin"},
    Right = {"MONGOOSE_DOMAINCTL_PASSWORD", "s3cret"},
    Wrong = {"MONGOOSE_DOMAINCTL_PASSWORD", "s3cre"},
    ?assertEqual(Ok, ctl(["verify"], [Name, Right], Guarded)),
    File = write("password", "s3cret\n", Guarded),
    ok = file:change_mode(File, 8#600),
    ?assertEqual(Ok, ctl(["verify", "--username", "admin", "--password-file", File], Guarded)),
    Settings = write("ctl.toml", ["server = '", ?config(server, Guarded), "'\n"
                                  "username = 'admin'\npassword = 's3cret'\n"], Guarded),
    ok = file:change_mode(Settings, 8#644),
    Warning = iolist_to_binary(["Warning: others may read the password in ", Settings,
                                ": chmod 600 ", Settings, "\n"]),
    ?assertEqual(setelement(3, Ok, Warning), ctl(["verify", "--config", Settings], Guarded)),
    Csv = write("a.csv", "a.example,type1\n", Guarded),
    [begin
         ?assertEqual(refuses_the_login("basic auth is required", Guarded), ctl(Args, Guarded)),
         ?assertEqual(refuses_the_login("basic auth provided, invalid password", Guarded),
                      ctl(Args, [Name, Wrong], Guarded))
     end || Args <- [["domain", "allDomains"], ["insert_domain", "a.example", "type1"],
                     ["delete_domain", "a.example", "type1"], ["enable_domain", "a.example"],
                     ["status"], ["verify"], ["import", Csv], ["export"]]],
    ?assertEqual([], rows(Guarded)).

credentials_in_the_url_are_refused(Config) ->
    Refused = <<"Error: the URL of the server must not hold credentials: use --username and "
                "--password-file, or see `mongoose-domainctl --help`\n">>,
    ?assertEqual({1, <<>>, Refused},
                 ctl(["verify", "--server", "http://admin:s3cret@127.0.0.1:8088"], Config)).

%% While it waits for standard input.
the_list_of_processes_has_no_password(Config) ->
    Guarded = restart(#{username => "admin", password => "s3cret"}, Config),
    Password = write("password", "s3cret\n", Guarded),
    ok = file:change_mode(Password, 8#600),
    Fifo = filename:join(?config(dir, Guarded), "fifo"),
    "" = os:cmd("mkfifo " ++ Fifo),
    %% Opened for both, so that opening does not wait.
    {ok, Input} = file:open(Fifo, [read, write, raw]),
    Run = start_ctl(["import", "-", "--username", "admin", "--password-file", Password],
                    [{"CTL_STDIN", Fifo}], Guarded),
    ok = file:write(Input, "a.example,type1\n"),
    %% It begins as a shell.
    Program = list_to_binary(?config(program, Guarded)),
    test_helper:wait_until(fun() ->
        {ok, Own} = file:read_file(["/proc/", os_pid(Run), "/cmdline"]),
        string:prefix(Own, Program) =/= nomatch
    end),
    %% What ps shows.
    Processes = iolist_to_binary([Args || File <- filelib:wildcard("/proc/[0-9]*/cmdline"),
                                          {ok, Args} <- [file:read_file(File)]]),
    ?assertNotEqual(nomatch, binary:match(Processes, <<"import\0-\0--username\0admin\0">>)),
    ?assertEqual(nomatch, binary:match(Processes, <<"s3cret">>)),
    kill(Run),
    {137, _, _} = result_of(Run),
    ok = file:close(Input).

the_server_is_verified_by_its_certificate(Config) ->
    Tls = #{certfile => tls_helper:certificate("server", Config),
            keyfile => tls_helper:certificate("server-key", Config)},
    Secure = restart(#{tls => Tls}, Config),
    Server = "https" ++ string:prefix(?config(server, Secure), "http"),
    Verify = fun(Args) -> ctl(["verify", "--server", Server | Args], Secure) end,
    Ca = fun(Name) -> ["--ca-file", tls_helper:certificate(Name, Config)] end,
    Ok = {0, <<"the table matches the database\n">>, <<>>},
    NoTls = fun(Text) ->
        {1, <<>>, iolist_to_binary(["Error: the TLS connection to ", Server, " failed: ", Text])}
    end,
    ?assertEqual(Ok, Verify(Ca("ca"))),
    Unknown = NoTls("invalid peer certificate: UnknownIssuer\n"),
    ?assertEqual(Unknown, Verify(Ca("other-ca"))),
    ?assertEqual(Unknown, Verify([])),
    OtherName = "https://localhost:" ++ integer_to_list(port(Secure)),
    {1, <<>>, Invalid} = ctl(["verify", "--server", OtherName | Ca("ca")], Secure),
    ?assertNotEqual(nomatch, string:find(Invalid, "certificate not valid for name \"localhost\"")),
    ?assertMatch({1, <<>>, <<"Error: ", _/binary>>}, ctl(["verify"], Secure)),
    ?assertEqual({1, <<>>, <<"Error: the file /dev/null has no certificate in it (PEM)\n">>},
                 Verify(["--ca-file", "/dev/null"])),
    _ = restart(#{port => port(Secure)}, Secure),
    {1, <<>>, NotTls} = Verify([]),
    Failed = ["Error: the TLS connection to ", Server, " failed: "],
    ?assertMatch(<<_, _/binary>>, string:prefix(NotTls, Failed)).

%% Imports

domains_are_imported_from_csv(Config) ->
    File = write("domains.csv", "domain,host_type,status\r\na.example,type1\r\n\"b.example\",type2,"
                                "disabled\nc.example,type1,enabled", Config),
    ?assertEqual({0, summary(3, 3, 0, 0, 0), <<>>}, import([File], Config)),
    ?assertEqual(["a.example|type1|1", "b.example|type2|0", "c.example|type1|1"], rows(Config)),
    pong = service_domain_db:sync_local(),
    ?assertEqual({ok, ?T1}, mongoose_domain_core:get_host_type(<<"a.example">>)),
    ?assertNot(filelib:is_file(File ++ ".progress")).

domains_are_imported_from_ndjson(Config) ->
    Text = "{\"domain\": \"a.example\", \"host_type\": \"type1\"}\n\n"
           "{\"domain\": \"b.example\", \"host_type\": \"type2\", \"status\": \"disabled\"}\n",
    [begin
         File = write(Name, Text, Config),
         ?assertMatch({0, _, <<>>}, import([File | Options], Config)),
         ?assertEqual(["a.example|type1|1", "b.example|type2|0"], rows(Config))
     end || {Name, Options} <- [{"domains.ndjson", []}, {"domains.jsonl", []},
                                {"domains", ["--format", "ndjson"]}]],
    File = write("domains.txt", Text, Config),
    ?assertEqual({1, <<>>, iolist_to_binary(["Error: the name of ", File, " does not give its "
                                             "format: add --format csv or --format ndjson\n"])},
                 ctl(["import", File], Config)).

domains_are_imported_from_standard_input(Config) ->
    Csv = write("a", "a.example,type1\n", Config),
    ?assertEqual({0, summary(1, 1, 0, 0, 0), <<>>},
                 import(["-"], [{"CTL_STDIN", Csv}], Config)),
    Json = write("b", "{\"domain\": \"b.example\", \"host_type\": \"type2\"}", Config),
    ?assertEqual({0, summary(1, 1, 0, 0, 0), <<>>},
                 import(["-", "--format", "ndjson"], [{"CTL_STDIN", Json}], Config)),
    ?assertEqual({0, summary(0, 0, 0, 0, 0), <<>>}, import(["-"], Config)),
    %% It is looked through before anything is sent, as a file is.
    Many = [["d", integer_to_list(N), ".example,type1\n"] || N <- lists:seq(1, 12000)],
    Broken = write("c", [Many, "b\xE9.example,type1\n"], Config),
    ?assertEqual({1, <<>>, <<"Error: standard input cannot be read: line 12001 is not UTF-8: save "
                             "the file as UTF-8\n">>},
                 ctl(["import", "-"], [{"CTL_STDIN", Broken}], Config)),
    ?assertEqual(["a.example|type1|1", "b.example|type2|1"], rows(Config)),
    {ok, Files} = file:list_dir(?config(dir, Config)),
    ?assertEqual([], [Name || Name <- Files, filename:extension(Name) =:= ".progress"]).

an_import_changes_the_status_and_can_be_repeated(Config) ->
    File = write("domains.csv", "a.example,type1\nb.example,type1,disabled\n", Config),
    ?assertEqual({0, summary(2, 2, 0, 0, 0), <<>>}, import([File], Config)),
    ?assertEqual({0, summary(2, 0, 0, 2, 0), <<>>}, import([File], Config)),
    _ = write("domains.csv", "a.example,type1,disabled\nb.example,type1,disabled\n", Config),
    ?assertEqual({0, summary(2, 0, 1, 1, 0), <<>>}, import([File], Config)),
    ?assertEqual(["a.example|type1|0", "b.example|type1|0"], rows(Config)),
    %% Without a status it is left alone.
    _ = write("domains.csv", "a.example,type1\nb.example,type1\n", Config),
    ?assertEqual({0, summary(2, 0, 0, 2, 0), <<>>}, import([File], Config)),
    ?assertEqual(["a.example|type1|0", "b.example|type1|0"], rows(Config)).

a_dry_run_changes_nothing(Config) ->
    File = write("domains.csv", "a.example,type1\nb.example,type9\n", Config),
    Expected = <<"dry run, nothing is changed\n", (summary(2, 1, 0, 0, 1))/binary>>,
    ?assertEqual({2, Expected, <<"line 2: unknown host type: b.example,type9\n">>},
                 import([File, "--dry-run"], Config)),
    ?assertEqual([], rows(Config)),
    ?assertNot(filelib:is_file(File ++ ".progress")).

rejected_lines_are_shown_with_their_reasons(Config) ->
    being_removed(Config),
    File = write("domains.csv", ["domain,host_type\n",
                                 "b.example,type1\n",
                                 "static.example,type1\n",
                                 "# a comment\n",
                                 "c.example,type9\n",
                                 "b.example,type2\n",
                                 "a.example,type1\n",
                                 lists:duplicate(251, $x), ",type1\n"], Config),
    Long = lists:duplicate(251, $x),
    ?assertEqual({2, summary(6, 1, 0, 0, 5),
                  iolist_to_binary(["line 3: domain is static: static.example,type1\n"
                                    "line 5: unknown host type: c.example,type9\n"
                                    "line 6: duplicate: its host type is type1: "
                                    "b.example,type2\n"
                                    "line 7: domain is being removed: a.example,type1\n"
                                    "line 8: invalid domain name: ", Long, ",type1\n"])},
                 import([File], Config)).

of_many_rejected_lines_the_first_are_shown(Config) ->
    File = write("domains.csv", lines(1, 30, ",type9\n"), Config),
    {2, Summary, Shown} = import([File], Config),
    ?assertEqual(summary(30, 0, 0, 0, 30), Summary),
    ?assertEqual(iolist_to_binary([io_lib:format("line ~b: unknown host type: d~b.example,type9~n",
                                                 [N, N]) || N <- lists:seq(1, 20)]),
                 Shown).

rejected_lines_are_written_and_can_be_corrected_and_imported(Config) ->
    File = write("domains.csv", "a.example,type1\nb.example,type9\nc.example,type9,disabled\n",
                 Config),
    Rejects = filename:join(?config(dir, Config), "rejects.csv"),
    Advice = iolist_to_binary(["the rejected lines are in ", Rejects,
                               ": correct them there and import that file\n"]),
    ?assertEqual({2, summary(3, 1, 0, 0, 2), Advice},
                 import([File, "--rejects", Rejects], Config)),
    {ok, Written} = file:read_file(Rejects),
    ?assertEqual(<<"# line 2: unknown host type\nb.example,type9\n"
                   "# line 3: unknown host type\nc.example,type9,disabled\n">>, Written),
    ok = file:write_file(Rejects, string:replace(Written, "type9", "type2", all)),
    ?assertEqual({0, summary(2, 2, 0, 0, 0), <<>>}, import([Rejects], Config)),
    ?assertEqual(["a.example|type1|1", "b.example|type2|1", "c.example|type2|0"], rows(Config)).

%% Their answer is longer than what was sent, and is read only when all is sent.
many_long_lines_are_rejected(Config) ->
    Long = [",type9", lists:duplicate(240, $x), "\n"],
    File = write("domains.csv", lines(1, 10000, Long), Config),
    Rejects = filename:join(?config(dir, Config), "rejects.csv"),
    {2, Summary, _} = import([File, "--rejects", Rejects], Config),
    ?assertEqual(summary(10000, 0, 0, 0, 10000), Summary).

an_import_that_is_killed_goes_on_when_it_is_repeated(Config) ->
    Count = 60000,
    File = write("domains.csv", ["domain,host_type\n", lines(1, Count, ",type1\n")], Config),
    Run = start_ctl(["import", File], [], Config),
    test_helper:wait_until(fun() -> filelib:is_file(File ++ ".progress") end),
    kill(Run),
    {137, <<>>, _} = result_of(Run),
    {ok, Progress} = file:read_file(File ++ ".progress"),
    {match, [Done]} = re:run(Progress, "\"lines\":(\\d+),\"bytes\"", [{capture, [1], list}]),
    ?assert(list_to_integer(Done) < Count),
    %% Another server, or another file, is another import.
    {0, Dry, <<>>} = import([File, "--dry-run"], Config),
    ?assertMatch(<<"dry run", _/binary>>, Dry),
    {0, Summary, Said} = import([File], Config),
    ?assertEqual(iolist_to_binary(["resuming after line ", Done, " of ", File, "\n"]), Said),
    {match, [Added, Unchanged]} =
        re:run(Summary, "lines      60000\nadded      (\\d+)\nchanged    0\nunchanged  (\\d+)\n"
                        "rejected   0\n", [{capture, [1, 2], list}]),
    %% What was done and not answered is there already.
    ?assertEqual(Count, list_to_integer(Added) + list_to_integer(Unchanged)),
    ?assertNot(filelib:is_file(File ++ ".progress")),
    pong = service_domain_db:sync_local(),
    ?assertEqual(Count + 1, mongoose_domain_core:domains_count()).

an_import_outlives_the_server(Config) ->
    Count = 60000,
    File = write("domains.csv", lines(1, Count, ",type1\n"), Config),
    Run = start_ctl(["import", File], [], Config),
    test_helper:wait_until(fun() -> filelib:is_file(File ++ ".progress") end),
    node_helper:stop_standalone(),
    wait_until_said("; retrying in 1 s\n", Run),
    _ = start(Config, #{port => port(Config)}),
    {0, Summary, _Said} = result_of(Run),
    ?assertMatch({match, _}, re:run(Summary, "^lines      60000\n")),
    pong = service_domain_db:sync_local(),
    ?assertEqual(Count + 1, mongoose_domain_core:domains_count()).

an_import_waits_for_the_server_for_a_minute(Config) ->
    Count = 60000,
    File = write("domains.csv", lines(1, Count, ",type1\n"), Config),
    Run = start_ctl(["import", File], [], Config),
    test_helper:wait_until(fun() -> filelib:is_file(File ++ ".progress") end),
    node_helper:stop_standalone(),
    {1, <<>>, Said} = result_of(Run),
    {match, [Done]} = re:run(Said, "\n(\\d+) lines of .* are done: repeat the command to resume "
                                   "after them\n$", [{capture, [1], list}]),
    [?assertNotEqual({nomatch, Seconds},
                     {string:find(Said, "; retrying in " ++ Seconds ++ " s\n"), Seconds})
     || Seconds <- ["1", "2", "4", "8", "16", "30"]],
    ?assertNotEqual(nomatch, string:find(Said, ?NO_HTTP)),
    _ = start(Config, #{port => port(Config)}),
    {0, _, Goes} = import([File], Config),
    ?assertEqual(iolist_to_binary(["resuming after line ", Done, " of ", File, "\n"]), Goes).

an_import_goes_on_when_the_database_comes_back(Config) ->
    {0, _, _} = ctl(["insert_domain", "b.example", "type1"], Config),
    %% A new connection to SQLite makes tables that are missing: let there be one.
    {0, _, _} = domain("domainDetails", ["--domain", "b.example"], Config),
    sql("ALTER TABLE domain_settings RENAME TO elsewhere", Config),
    File = write("domains.csv", "a.example,type1\n", Config),
    Run = start_ctl(["import", File], [], Config),
    wait_until_said("database error; retrying in 1 s\n", Run),
    sql("DROP TABLE IF EXISTS domain_settings; ALTER TABLE elsewhere RENAME TO domain_settings",
        Config),
    {0, _, Said} = result_of(Run),
    ?assertMatch(<<"database error; retrying in 1 s\n", _/binary>>, Said),
    ?assertEqual(["a.example|type1|1", "b.example|type1|1"], rows(Config)).

%% Exports

domains_are_exported(Config) ->
    fill(Config),
    Csv = <<"domain,host_type,status\nb.example,type1,enabled\na.example,type2,disabled\n">>,
    ?assertEqual({0, Csv, <<>>}, ctl(["export"], Config)),
    Ndjson = <<"{\"domain\":\"b.example\",\"host_type\":\"type1\",\"status\":\"enabled\"}\n"
               "{\"domain\":\"a.example\",\"host_type\":\"type2\",\"status\":\"disabled\"}\n">>,
    ?assertEqual({0, Ndjson, <<>>}, ctl(["export", "-", "--format", "ndjson"], Config)),
    [begin
         File = filename:join(?config(dir, Config), Name),
         Said = iolist_to_binary(["exported 2 domains to ", File, "\n"]),
         ?assertEqual({0, <<>>, Said}, ctl(["export", File], Config)),
         ?assertEqual({ok, Content}, file:read_file(File))
     end || {Name, Content} <- [{"a.csv", Csv}, {"a.ndjson", Ndjson}, {"a.jsonl", Ndjson}]].

an_export_can_be_imported(Config) ->
    fill(Config),
    [{0, _, _} = ctl(["insert_domain", Name, "type1"], Config)
     || Name <- [<<"a \"quoted\", name">>, <<"# no comment">>, <<"blanks ">>, <<"domain">>]],
    Rows = rows(Config),
    Files = [filename:join(?config(dir, Config), Name) || Name <- ["a.csv", "a.ndjson"]],
    [begin
         {0, <<>>, _} = ctl(["export", File], Config),
         sql("DELETE FROM domain_settings", Config),
         ?assertEqual({0, summary(6, 6, 0, 0, 0), <<>>}, import([File], Config)),
         ?assertEqual(Rows, rows(Config))
     end || File <- Files].

exports_have_filters(Config) ->
    fill(Config),
    Header = <<"domain,host_type,status\n">>,
    [?assertEqual({0, <<Header/binary, Rows/binary>>, <<>>}, ctl(["export" | Options], Config))
     || {Options, Rows} <- [{["--host-type", "type1"], <<"b.example,type1,enabled\n">>},
                            {["--status", "disabled"], <<"a.example,type2,disabled\n">>},
                            {["--host-type", "type1", "--status", "disabled"], <<>>},
                            {["--status", "deleting"], <<>>}]].

an_export_that_is_refused_leaves_no_file(Config) ->
    node_helper:stop_standalone(),
    WithoutDatabase = start(lists:keydelete(url, 1, Config), #{}),
    File = filename:join(?config(dir, Config), "a.csv"),
    ?assertEqual({1, <<>>, <<"Error: service disabled\n">>},
                 ctl(["export", File], WithoutDatabase)),
    ?assertEqual({ok, []}, file:list_dir(?config(dir, Config))).

%% Helpers

%% The program, as a user would build it; or one that is built already, where there is no Rust.
program() ->
    case os:getenv("MONGOOSE_DOMAIN_NATIVE_CTL") of
        false -> build();
        Program -> Program
    end.

build() ->
    Root = test_helper:root_dir(),
    Output = os:cmd("make -s -C " ++ Root ++ " ctl </dev/null 2>&1 || echo failed"),
    case lists:last(string:lexemes(Output, "\n")) of
        "failed" -> error({build_failed, Output});
        Path -> filename:absname(Path, Root)
    end.

%% A standalone node with its HTTP interface, on any free port.
start(Config, Http) ->
    Env = case ?config(url, Config) of
              undefined -> #{};
              Url -> #{database => Url}
          end,
    {ok, _} = http_helper:start(Env, Http),
    %% Somebody else may have had the port for a moment: then it is tried again.
    test_helper:wait_until(fun() -> mongoose_domain_http:address() =/= undefined end),
    _ = [pong = service_domain_db:sync_local() || is_map_key(database, Env)],
    [{server, http_helper:url()} | lists:keydelete(server, 1, Config)].

restart(Http, Config) ->
    node_helper:stop_standalone(),
    start(Config, Http).

port(Config) ->
    #{port := Port} = uri_string:parse(?config(server, Config)),
    Port.

domain(Command, Args, Config) ->
    ctl(["domain", Command | Args], Config).

%% Runs it to its end: its exit code, its output and its standard error. It has no settings but the
%% server, and nothing to read.
ctl(Args, Config) ->
    ctl(Args, [], Config).

ctl(Args, Env, Config) ->
    result_of(start_ctl(Args, Env, Config)).

%% The same of an import, whose summary has a time in it.
import(Args, Config) ->
    import(Args, [], Config).

import(Args, Env, Config) ->
    {Code, Out, Err} = ctl(["import" | Args], Env, Config),
    Masked = re:replace(Out, "time       \\d+\\.\\d s, \\d+ lines/s\nlag        (\\d+|unknown)\n",
                        "*", [{return, binary}]),
    {Code, Masked, Err}.

start_ctl(Args, Env, Config) ->
    Stderr = filename:join(?config(priv_dir, Config), test_helper:data_name(stderr)),
    Port = open_port({spawn_executable, "/bin/sh"},
                     [{args, ["-c", "exec \"$0\" \"$@\" <\"$CTL_STDIN\" 2>\"$CTL_STDERR\"",
                              ?config(program, Config) | Args]},
                      {env, [{"MONGOOSE_DOMAINCTL_SERVER", ?config(server, Config)},
                             {"HOME", ?config(dir, Config)},
                             {"CTL_STDERR", Stderr}, {"CTL_STDIN", "/dev/null"} | Env]},
                      binary, exit_status]),
    {Port, Stderr}.

result_of({Port, Stderr}) ->
    {Code, Out} = collect(Port, <<>>),
    {ok, Err} = file:read_file(Stderr),
    %% An import says every five seconds how far it is.
    {Code, Out, re:replace(Err, "\\d+ lines, \\d+/s, \\d+ %, \\d+ s left\n", "",
                           [global, {return, binary}])}.

collect(Port, Out) ->
    receive
        {Port, {data, Data}} -> collect(Port, <<Out/binary, Data/binary>>);
        {Port, {exit_status, Code}} -> {Code, Out}
    after ?WAIT ->
        error({timeout, Out})
    end.

%% Its exit code is 137 then.
kill(Run) ->
    "" = os:cmd("kill -9 " ++ os_pid(Run)),
    ok.

os_pid({Port, _Stderr}) ->
    {os_pid, Pid} = erlang:port_info(Port, os_pid),
    integer_to_list(Pid).

%% On standard error, while it runs.
wait_until_said(Text, {_Port, Stderr}) ->
    test_helper:wait_until(fun() ->
        case file:read_file(Stderr) of
            {ok, Said} -> string:find(Said, Text) =/= nomatch;
            {error, enoent} -> false
        end
    end).

write(Name, Text, Config) ->
    File = filename:join(?config(dir, Config), Name),
    ok = file:write_file(File, Text),
    File.

lines(From, To, Rest) ->
    [["d", integer_to_list(N), ".example", Rest] || N <- lists:seq(From, To)].

fill(Config) ->
    {0, _, _} = ctl(["insert_domain", "b.example", "type1"], Config),
    {0, _, _} = ctl(["insert_domain", "a.example", "type2"], Config),
    {0, _, _} = ctl(["disable_domain", "a.example"], Config),
    ok.

%% a.example, whose removal does not come to its end.
being_removed(Config) ->
    ok = mongoose_domain_hooks:add_removal_handler(failing, fun(_, _) -> error(not_now) end),
    _ = ctl(["insert_domain", "a.example", "type1"], Config),
    ?assertEqual({1, <<>>, <<"Error: The removal handler failing failed\n">>},
                 ctl(["delete_domain", "a.example", "type1"], Config)).

refuses_the_login(What, Config) ->
    {1, <<>>, iolist_to_binary(["Error: ", ?config(server, Config), " refuses the login: ", What,
                                ": check the user name and the password (--username and "
                                "--password-file, or see `mongoose-domainctl --help`)\n"])}.

summary(Lines, Added, Changed, Unchanged, Rejected) ->
    iolist_to_binary(io_lib:format("lines      ~b\nadded      ~b\nchanged    ~b\nunchanged  ~b\n"
                                   "rejected   ~b\n*",
                                   [Lines, Added, Changed, Unchanged, Rejected])).

rows(Config) ->
    Rows = sql("SELECT domain || '|' || host_type || '|' || status FROM domain_settings", Config),
    lists:sort(string:lexemes(Rows, "\n")).

sql(Statement, Config) ->
    db_helper:sql(?config(url, Config), Statement).

%% Results of GraphQL, as the program prints them

details(Status) ->
    #{domain => <<"a.example">>, hostType => ?T1, status => Status}.

result(Field, Value) ->
    {0, json(#{data => #{domain => #{Field => Value}}}), <<>>}.

refused(Field, Args, Code, Text) ->
    Error = #{extensions => #{code => atom_to_binary(Code)},
              locations => [#{line => 1, column => length(query_before(Field, Args)) + 1}],
              message => list_to_binary(Text),
              path => [<<"domain">>, atom_to_binary(Field)]},
    {1, json(#{data => #{domain => #{Field => null}}, errors => [Error]}), <<>>}.

%% The text of the query before the field.
query_before(Field, Args) ->
    Kind = case lists:member(Field, [domainDetails, domainsByHostType, allDomains]) of
               true -> "query";
               false -> "mutation"
           end,
    Type = fun("domain") -> "DomainName!"; (_) -> "String!" end,
    Variables = ["$" ++ Name ++ ": " ++ Type(Name) || "--" ++ Name <- Args],
    Kind ++ " (" ++ lists:append(lists:join(", ", Variables)) ++ ") { domain { ".

%% JSON with its keys sorted, each level two spaces further to the right.
json(Value) ->
    iolist_to_binary([json(Value, "\n"), "\n"]).

json([], _Break) ->
    "[]";
json(List, Break) when is_list(List) ->
    Inner = Break ++ "  ",
    ["[", Inner, lists:join("," ++ Inner, [json(Value, Inner) || Value <- List]), Break, "]"];
json(Map, Break) when is_map(Map) ->
    Inner = Break ++ "  ",
    Fields = [["\"", atom_to_list(Key), "\": ", json(Value, Inner)]
              || {Key, Value} <- lists:sort(maps:to_list(Map))],
    ["{", Inner, lists:join("," ++ Inner, Fields), Break, "}"];
json(Atom, _Break) when is_atom(Atom) ->
    atom_to_list(Atom);
json(Number, _Break) when is_integer(Number) ->
    integer_to_list(Number);
json(Text, _Break) when is_binary(Text) ->
    ["\"", Text, "\""].
