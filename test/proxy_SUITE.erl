%% @doc The server behind proxies, below a path and at a name of its own, by the examples that
%% doc/administration.md gives: real servers, with what is in the document and no more.
-module(proxy_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(http_helper, [call/5, basic/2]).

suite() ->
    [{timetrap, {minutes, 10}}].

all() ->
    [{group, nginx}, {group, apache}, {group, haproxy}].

groups() ->
    Cases = [every_address_of_the_page_leads_somewhere,
             at_a_name_of_its_own_it_is_the_same,
             a_page_of_its_own_origin_changes_what_others_do_not,
             names_keep_what_is_encoded_in_them,
             imports_and_exports_pass_as_they_come,
             a_person_uses_the_page_below_a_path],
    [{Proxy, [], Cases} || {group, Proxy} <- all()].

init_per_group(Proxy, Config) ->
    [{proxy, Proxy} | Config].

end_per_group(_Proxy, _Config) ->
    ok.

init_per_testcase(Case, Config) ->
    %% As root some of them work as somebody else.
    Dir = filename:join("/tmp", test_helper:data_name(proxy)),
    ok = filelib:ensure_path(Dir),
    Url = db_helper:fresh_url([{kind, sqlite} | Config]),
    Env = #{database => Url, host_types => [<<"type1">>, <<"type2">>, <<"<b>type3</b>">>]},
    {ok, _} = http_helper:start(Env, #{username => "admin", password => "secret"}),
    pong = service_domain_db:sync_local(),
    Path = case Case of
               at_a_name_of_its_own_it_is_the_same -> "/";
               _ -> "/domains/"
           end,
    start_proxy(Path, [{dir, Dir}, {path, Path} | Config]).

end_per_testcase(_Case, Config) ->
    stop_proxy(Config),
    node_helper:stop_standalone(),
    ok = file:del_dir_r(?config(dir, Config)).

every_address_of_the_page_leads_somewhere(Config) ->
    {Code, Headers, _} = get("/domains", [], [{autoredirect, false}], Config),
    ?assert(lists:member(Code, [301, 302])),
    ?assertEqual("/domains/", path_of(proplists:get_value("location", Headers))),
    follow_addresses("/domains/", Config).

at_a_name_of_its_own_it_is_the_same(Config) ->
    follow_addresses("/", Config),
    ?assertMatch(204, put("a.example", "http://" ++ host(Config), Config)).

a_page_of_its_own_origin_changes_what_others_do_not(Config) ->
    ?assertEqual(204, put("a.example", "http://" ++ host(Config), Config)),
    [?assertEqual({Origin, 403}, {Origin, put("b.example", Origin, Config)})
     || Origin <- ["http://evil.example", "http://evil.example:" ++ port(Config),
                   "http://127.0.0.1:8088", "null"]],
    ?assertMatch({200, _, _}, get("/domains/api/domains/a.example", Config)),
    ?assertMatch({404, _, _}, get("/domains/api/domains/b.example", Config)),
    %% Nobody is let in without credentials, except probes.
    ?assertMatch({401, _, _}, call(get, url("/domains/api/status", Config), [], none, [])),
    ?assertMatch({200, _, _}, call(get, url("/domains/readyz", Config), [], none, [])).

names_keep_what_is_encoded_in_them(Config) ->
    Slash = [{"a%2Fb.example", <<"a/b.example">>} || ?config(proxy, Config) =/= nginx],
    [begin
         ?assertEqual({Name, 204}, {Name, put(Name, "http://" ++ host(Config), Config)}),
         {200, _, Body} = get("/domains/api/domains/" ++ Name, Config),
         ?assertMatch({_, _}, binary:match(Body, <<"\"", Domain/binary, "\"">>))
     end || {Name, Domain} <- [{"%C3%A9.example", <<"é.example"/utf8>>},
                               {"a%25b.example", <<"a%b.example">>},
                               {"a%3Fb%23c.example", <<"a?b#c.example">>} | Slash]].

imports_and_exports_pass_as_they_come(Config) ->
    %% More than what proxies take or keep by default.
    Lines = [io_lib:format("~ts~b.example,type1\n", [lists:duplicate(60, $x), N])
             || N <- lists:seq(1, 20000)],
    File = iolist_to_binary(Lines),
    ?assert(byte_size(File) > 1500000),
    {ok, {{_, 200, _}, _, Answer}} =
        httpc:request(post, {url("/domains/api/import", Config), [auth()], "text/csv", File},
                      [], [{body_format, binary}]),
    Last = lists:last(binary:split(Answer, <<"\n">>, [global, trim_all])),
    ?assertMatch(#{<<"done">> := #{<<"lines">> := 20000, <<"added">> := 20000}},
                 json_helper:decode(Last)),
    {200, _, Export} = get("/domains/api/export", Config),
    ?assertEqual(20000, length(binary:matches(Export, <<",type1,enabled">>))).

%% Under a name the browser does not say where a request comes from but by `Origin'.
a_person_uses_the_page_below_a_path(Config) ->
    "http://127.0.0.1" ++ Rest = url("/domains", Config),
    Url = "http://admin:secret@admin.example" ++ Rest,
    Tests = case ?config(proxy, Config) of
                nginx -> ["AtAGlance", "LookUp", "Add", "Change", "Import", "Documentation"];
                _ -> ["LookUp", "Add"]
            end,
    page_SUITE:run_page(Url, ["uncontrolled" | Tests], Config).

%% Helpers

get(Path, Config) ->
    get(Path, [], [], Config).

get(Path, Headers, Options, Config) ->
    call(get, url(Path, Config), [auth() | Headers], none, Options).

%% As a page of this origin does it; the name is encoded.
put(Name, Origin, Config) ->
    Url = url(?config(path, Config) ++ "api/domains/" ++ Name, Config),
    Headers = [auth(), {"origin", Origin}, {"host", host(Config)}],
    {Code, _, _} = call(put, Url, Headers, "{\"host_type\": \"type1\"}", []),
    Code.

auth() ->
    basic("admin", "secret").

url(Path, Config) ->
    "http://127.0.0.1:" ++ port(Config) ++ Path.

%% What clients call the proxy.
host(Config) ->
    "admin.example:" ++ port(Config).

port(Config) ->
    integer_to_list(?config(port, Config)).

path_of(Location) ->
    maps:get(path, uri_string:parse(Location)).

%% Everything that the page, and what it refers to, refers to.
follow_addresses(Path, Config) ->
    Seen = follow(["http://127.0.0.1:" ++ port(Config) ++ Path], [], Config),
    [?assertMatch({_, true}, {Address, lists:member(url(Path ++ Address, Config), Seen)})
     || Address <- ["", "assets/style.css", "assets/page.js", "assets/import.js", "api/docs",
                    "api/openapi.json", "metrics"]].

follow([], Seen, _Config) ->
    Seen;
follow([Url | Urls], Seen, Config) ->
    {Code, _, Body} = call(get, Url, [auth()], none, []),
    ?assertEqual({Url, 200}, {Url, Code}),
    Pattern = "(?:href=|src=|from |import )\"([^\"#]+)\"",
    Found = case re:run(Body, Pattern, [global, {capture, [1], list}]) of
                {match, Addresses} -> lists:append(Addresses);
                nomatch -> []
            end,
    All = [without_query(uri_string:resolve(Address, Url)) || Address <- Found],
    New = lists:usort(All) -- [Url | Urls ++ Seen],
    follow(New ++ Urls, [Url | Seen], Config).

%% Scripts have those in texts.
without_query(Url) ->
    hd(string:split(Url, "?")).

%% The proxies, in the foreground

start_proxy(Path, Config) ->
    Proxy = ?config(proxy, Config),
    Dir = ?config(dir, Config),
    Port = free_port(),
    File = filename:join(Dir, "proxy.conf"),
    ok = file:write_file(File, configuration(Proxy, Port, Dir, example(Proxy, Path))),
    {Program, Args} = program(Proxy, File, Dir),
    Found = os:find_executable(Program, os:getenv("PATH") ++ ":/usr/sbin"),
    Process = open_port({spawn_executable, Found},
                        [{args, Args}, exit_status, stderr_to_stdout, binary]),
    {os_pid, Pid} = erlang:port_info(Process, os_pid),
    New = [{port, Port}, {pid, integer_to_list(Pid)} | Config],
    test_helper:wait_until(fun() -> is_up(Process, Port) end),
    New.

is_up(Process, Port) ->
    receive {Process, {exit_status, Status}} -> error({no_proxy, Status, output(Process)})
    after 0 -> ok
    end,
    case gen_tcp:connect("127.0.0.1", Port, []) of
        {ok, Socket} -> gen_tcp:close(Socket) =:= ok;
        {error, _} -> false
    end.

output(Process) ->
    receive {Process, {data, Data}} -> <<Data/binary, (output(Process))/binary>>
    after 0 -> <<>>
    end.

stop_proxy(Config) ->
    "" = os:cmd("kill " ++ ?config(pid, Config)),
    test_helper:wait_until(fun() -> not program_helper:is_running(?config(pid, Config)) end).

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

%% The block of the document, with the address of this server and at this path.
example(Proxy, Path) ->
    {ok, Text} = file:read_file(filename:join(test_helper:root_dir(), "doc/administration.md")),
    {match, [Block]} = re:run(Text, ["```", atom_to_list(Proxy), "\n(.*?)```"],
                              [dotall, {capture, [1], binary}]),
    "http://" ++ Address = http_helper:url(),
    Moved = lists:foldl(fun({From, To}, Moving) -> string:replace(Moving, From, To, all) end, Block,
                        [{"127.0.0.1:8088", Address} | [{"/domains/", Path} || Path =:= "/"]]),
    %% Without a path there is nothing to send clients to.
    Lines = string:split(unicode:characters_to_binary(Moved), "\n", all),
    lists:join("\n", [Line || Line <- Lines, Path =/= "/" orelse nomatch =:=
                                  re:run(Line, "^ *(http-request redirect|RedirectMatch)")]).

program(nginx, File, Dir) -> {"nginx", ["-p", Dir, "-c", File]};
program(apache, File, Dir) -> {"apache2", ["-d", Dir, "-f", File, "-DFOREGROUND"]};
program(haproxy, File, _Dir) -> {"haproxy", ["-db", "-f", File]}.

configuration(nginx, Port, Dir, Example) ->
    Temporary = [io_lib:format("~s_temp_path ~ts/~s;\n", [Kind, Dir, Kind])
                 || Kind <- ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]],
    ["daemon off; error_log stderr; pid ", Dir, "/pid;\n",
     ["user root;\n" || os:cmd("id -u") =:= "0\n"], "events {}\nhttp {\naccess_log off;\n",
     Temporary, "server {\nlisten 127.0.0.1:", integer_to_list(Port), ";\n", Example, "}\n}\n"];
configuration(apache, Port, Dir, Example) ->
    [[["LoadModule ", Module, "_module /usr/lib/apache2/modules/mod_", Module, ".so\n"]
      || Module <- ["mpm_event", "authz_core", "alias", "proxy", "proxy_http"]],
     "ServerName admin.example\nListen 127.0.0.1:", integer_to_list(Port), "\nPidFile ", Dir,
     "/pid\nErrorLog /dev/stderr\nMutex file:", Dir, " default\n", Example];
configuration(haproxy, Port, _Dir, Example) ->
    ["defaults\nmode http\ntimeout connect 5s\ntimeout client 60s\ntimeout server 60s\n"
     "frontend web\nbind 127.0.0.1:", integer_to_list(Port), "\n", Example].
