%% @doc `make demo': two nodes over one database, and how quickly the second follows the first.
%%
%% The nodes are real Erlang nodes with the standalone application; they talk to each other by
%% distribution on the loopback interface. This process only tells them what to do.
-module(mongoose_domain_demo).

-export([main/0]).

%% Called on the nodes
-export([start_node/3, add_domains/2, missing/2, timed/2, watch/3]).

-ignore_xref(?MODULE).

-define(COUNT, 10000).
-define(T, <<"type1">>).
%% Milliseconds to wait for the second node at most.
-define(PATIENCE, 30000).

%% @doc Runs the demo on the database of `make demo', on a fresh SQLite file if there is none; ends
%% the VM with exit code 0, or with 1 after saying what went wrong.
-spec main() -> no_return().
main() ->
    Database = mongoose_domain_shell:take_database(),
    ok = logger:set_primary_config(level, error),
    Dir = filename:join("/tmp", "mongoose_domain_demo_" ++ os:getpid()),
    Url = case Database of
              "" -> "sqlite:" ++ filename:join(Dir, "domains.db");
              _ -> Database
          end,
    ok = filelib:ensure_dir(filename:join(Dir, "x")),
    Code = try
               run(Url, Database =:= ""),
               0
           catch
               throw:{failed, Text} ->
                   say("FAILED: ~ts", [Text]),
                   1;
               Class:Reason:Stacktrace ->
                   say("FAILED: ~ts", [erl_error:format_exception(Class, Reason, Stacktrace)]),
                   1
           after
               file:del_dir_r(Dir)
           end,
    halt(Code).

run(Url, IsOurs) ->
    create_tables(Url),
    Cookie = binary_to_list(binary:encode_hex(rand:bytes(16))),
    First = peer("first", Url, #{port => 0}, Cookie),
    Second = peer("second", Url, disabled, Cookie),
    true = call(First, net_kernel, connect_node, [name(Second)]),
    wait_for_group(First, 2),
    wait_for_group(Second, 2),
    say("two nodes, ~ts and ~ts, over one ~ts: both run and follow the database",
        [name(First), name(Second), kind(Url)]),
    %% Names of their own, so that the demo can be repeated on a database that is kept.
    Suffix = integer_to_list(erlang:system_time(second), 36),
    Domain = iolist_to_binary(["example.", string:lowercase(Suffix), ".demo"]),
    Many = add_many(First, Second, Suffix),
    Added = change(First, Second, insert_domain, [Domain, ?T], {ok, ?T}, "added"),
    Disabled = change(First, Second, disable_domain, [Domain], {error, not_found}, "disabled"),
    Enabled = change(First, Second, enable_domain, [Domain], {ok, ?T}, "enabled"),
    refuse(First, Second, Domain),
    Removed = change(First, Second, delete_domain, [Domain, ?T], {error, not_found}, "removed"),
    {not_found, _} = call(Second, mongoose_domain_api, get_domain_details, [Domain]),
    say("the second node reads the database: the domain does not exist any more", []),
    add_by_http(First, Second, Domain),
    lists:foreach(fun({Peer, _}) -> peer:stop(Peer) end, [First, Second]),
    _ = [say("the domains d1.~ts.demo to d~b.~ts.demo stay in the database",
             [string:lowercase(Suffix), ?COUNT, string:lowercase(Suffix)]) || not IsOurs],
    print_table([Many, Added, Disabled, Enabled, Removed]),
    say("The page of a node: `make serve', then http://127.0.0.1:8088/", []).

%% What was seen, by lines of what was done, how long that took, and when the second node had it.
print_table(Rows) ->
    Line = "~-16ts ~22ts ~26ts",
    say("~n" ++ Line, ["", "on the first node", "the second routes so after"]),
    [say(Line, [What, milliseconds(Took), milliseconds(Followed)])
     || {What, Took, Followed} <- Rows],
    say("", []).

add_by_http(First, Second, Domain) ->
    {IpAddress, Port} = call(First, mongoose_domain_http, address, []),
    Server = lists:flatten(io_lib:format("http://~ts:~b", [IpAddress, Port])),
    Curl = lists:flatten(io_lib:format("curl -sS --noproxy '*' -X PUT ~ts/api/domains/~ts "
                                       "-d '{\"host_type\": \"~ts\"}'", [Server, Domain, ?T])),
    Printed = os:cmd(Curl ++ " -w '%{http_code}' 2>&1"),
    check(Printed =:= "204", "~ts printed ~ts", [Curl, Printed]),
    Seen = call(Second, ?MODULE, watch, [Domain, {ok, ?T}, deadline()]),
    check(Seen =/= timeout, "the second node did not follow within ~b s", [?PATIENCE div 1000]),
    {ok, _} = call(First, mongoose_domain_api, delete_domain, [Domain, ?T]),
    say("the same by HTTP: ~ts~nanswered 204, and the second node says ~0tp", [Curl, {ok, ?T}]).

create_tables(Url) ->
    case mongoose_domain_shell:create_schema(Url) of
        ok -> ok;
        {error, Text} -> throw({failed, Text})
    end.

add_many(First, Second, Suffix) ->
    {Began, Ended, ok} = call(First, ?MODULE, timed, [add_domains, [Suffix, ?COUNT]]),
    Deadline = deadline(),
    Seen = wait_for_all(Second, Suffix, Deadline),
    Routed = ?COUNT - length(call(Second, ?MODULE, missing, [Suffix, ?COUNT])),
    check(Routed =:= ?COUNT, "the second node routes only ~b of them", [Routed]),
    Count = call(Second, mongoose_domain_core, domains_count, []),
    say("added ~b domains on the first node, one transaction each, in ~.1f s (~b per second); "
        "the second routes all ~b, each looked up, ~ts after the last was written "
        "(its table has ~b domains)",
        [?COUNT, (Ended - Began) / 1.0e6, round(?COUNT / ((Ended - Began) / 1.0e6)), Routed,
         milliseconds(max(0, Seen - Ended)), Count]),
    {integer_to_list(?COUNT) ++ " added", Ended - Began, max(0, Seen - Ended)}.

wait_for_all(Second, Suffix, Deadline) ->
    case call(Second, ?MODULE, missing, [Suffix, ?COUNT]) of
        [] ->
            os:system_time(microsecond);
        Missing ->
            check(os:system_time(millisecond) < Deadline,
                  "the second node does not route ~b of them", [length(Missing)]),
            wait_for_all(Second, Suffix, Deadline)
    end.

%% The second node begins to watch before the first node writes.
change(First, Second, Function, [Domain | _] = Args, Expected, Done) ->
    Self = self(),
    _ = spawn_link(fun() ->
                       Seen = call(Second, ?MODULE, watch, [Domain, Expected, deadline()]),
                       Self ! {seen, Seen}
                   end),
    timer:sleep(50),
    {Began, Ended, Result} = call(First, ?MODULE, timed, [Function, Args]),
    check(element(1, Result) =:= ok, "~ts answered ~tp", [Function, Result]),
    Seen = receive {seen, Answer} -> Answer end,
    check(Seen =/= timeout, "the second node did not follow within ~b s", [?PATIENCE div 1000]),
    say("~ts ~ts on the first node: ~0tp; the second node then says ~0tp, ~ts after the call began "
        "(the call took ~ts)",
        [Done, Domain, maps:get(status, element(2, Result)), Expected,
         milliseconds(Seen - Began), milliseconds(Ended - Began)]),
    {"one " ++ Done, Ended - Began, Seen - Began}.

refuse(First, Second, Domain) ->
    Result = call(First, mongoose_domain_api, delete_domain, [Domain, <<"type2">>]),
    check(element(1, Result) =:= wrong_host_type, "the wrong host type gave ~tp", [Result]),
    Still = call(Second, mongoose_domain_core, get_host_type, [Domain]),
    check(Still =:= {ok, ?T}, "then the second node says ~tp", [Still]),
    say("tried to remove ~ts with the host type type2: refused, ~0tp; the second node still says "
        "~0tp",
        [Domain, Result, Still]).

%% On the nodes

%% @private
-spec start_node(string(), [string()], mongoose_domain_http:opts() | disabled) -> ok.
start_node(Url, HostTypes, Http) ->
    ok = logger:set_primary_config(level, warning),
    App = mongoose_domain_standalone,
    ok = application:load(App),
    ok = application:set_env(App, database, Url),
    ok = application:set_env(App, host_types, [list_to_binary(Type) || Type <- HostTypes]),
    ok = application:set_env(App, http, Http),
    {ok, _} = application:ensure_all_started(App),
    pong = service_domain_db:sync_local(),
    ok.

%% @private
-spec add_domains(string(), pos_integer()) -> ok.
add_domains(Suffix, Count) ->
    lists:foreach(fun(N) -> {ok, _} = mongoose_domain_api:insert_domain(domain(Suffix, N), ?T) end,
                  lists:seq(1, Count)).

%% @private
%% @doc The domains that this node does not route.
-spec missing(string(), pos_integer()) -> [binary()].
missing(Suffix, Count) ->
    [Domain || N <- lists:seq(1, Count),
               Domain <- [domain(Suffix, N)],
               mongoose_domain_core:get_host_type(Domain) =/= {ok, ?T}].

%% @private
%% @doc Runs a function and says, in microseconds, when it began and ended.
-spec timed(atom(), [term()]) -> {Began :: integer(), Ended :: integer(), Result :: term()}.
timed(Function, Args) ->
    Module = case Function of
                 add_domains -> ?MODULE;
                 _ -> mongoose_domain_api
             end,
    Began = os:system_time(microsecond),
    Result = apply(Module, Function, Args),
    {Began, os:system_time(microsecond), Result}.

%% @private
%% @doc Waits until this node says what is expected of a domain: when, in microseconds.
-spec watch(binary(), term(), integer()) -> integer() | timeout.
watch(Domain, Expected, Deadline) ->
    case mongoose_domain_core:get_host_type(Domain) of
        Expected ->
            os:system_time(microsecond);
        _ ->
            case os:system_time(millisecond) < Deadline of
                true -> erlang:yield(), watch(Domain, Expected, Deadline);
                false -> timeout
            end
    end.

%% Internal

peer(Name, Url, Http, Cookie) ->
    Node = lists:concat(["demo_", Name, "_", os:getpid()]),
    Paths = [Path || App <- [mongoose_domain_native, mongoose_domain_standalone],
                     Path <- [filename:join(code:lib_dir(App), "ebin")]],
    {ok, Peer, NodeName} =
        peer:start_link(#{name => Node, host => "127.0.0.1", longnames => true,
                          connection => standard_io, wait_boot => 60000,
                          args => ["-setcookie", Cookie,
                                   "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
                                   "-pa" | Paths]}),
    ok = peer:call(Peer, ?MODULE, start_node, [Url, ["type1", "type2"], Http], 60000),
    {Peer, NodeName}.

name({_Peer, Node}) ->
    Node.

call({Peer, _Node}, Module, Function, Args) ->
    peer:call(Peer, Module, Function, Args, infinity).

wait_for_group(Node, Size) ->
    case call(Node, pg, get_members, [mim_scope, service_domain_db_group]) of
        Pids when length(Pids) =:= Size -> ok;
        _ -> timer:sleep(10), wait_for_group(Node, Size)
    end.

domain(Suffix, N) ->
    iolist_to_binary(["d", integer_to_list(N), ".", string:lowercase(Suffix), ".demo"]).

kind("sqlite:" ++ _) -> "SQLite file";
kind("mysql:" ++ _) -> "MySQL or MariaDB database";
kind("mariadb:" ++ _) -> kind("mysql:");
kind(_) -> "PostgreSQL database".

deadline() ->
    os:system_time(millisecond) + ?PATIENCE.

milliseconds(Microseconds) ->
    io_lib:format("~.1f ms", [Microseconds / 1000]).

check(true, _Format, _Args) -> ok;
check(false, Format, Args) -> throw({failed, io_lib:format(Format, Args)}).

say(Format, Args) ->
    io:format(Format ++ "~n", Args).
