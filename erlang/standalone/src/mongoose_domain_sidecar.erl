%% @doc The sidecar: makes this standalone node one that runs beside a cluster of MongooseIM, over
%% its database, and changes domains there.
%%
%% It keeps a hidden connection to each of the configured nodes, so that none of them sees it in
%% `nodes()'. It tells them of changes, by the message that their own services send each other, and
%% has one of them remove domains: what keeps data of a domain runs there. Nothing of ours has to be
%% on these nodes. Of MongooseIM it knows the functions and the registered name that it uses here,
%% nothing else; it must not know what a change is.
%%
%% `pg' does not go over hidden connections. So the cluster does not wait for this node, and this
%% node is not notified of the cluster's changes: it requests a check of its own service every two
%% seconds.
-module(mongoose_domain_sidecar).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([check_options/0, is_configured/0, status/0, tell/0, remove/3, change_password/2]).

%% For the application
-export([start_link/0, exit_with_probe/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-ignore_xref([start_link/0, status/0, exit_with_probe/1]).

-export_type([node_status/0]).

-define(APP, mongoose_domain_standalone).
-define(SERVICE, service_domain_db).
%% Milliseconds between two probes of a node, and two checks of the event log.
-define(INTERVAL, 2000).
%% After a node has refused us: each refusal is a line in its log.
-define(INTERVAL_REFUSED, 10000).
%% Milliseconds that a node may take to say that it is there. Its answer takes less than one.
-define(PROBE_TIMEOUT, 3000).
%% Seconds that a removal may take: handlers may have to remove the data of many users.
-define(REMOVAL_TIMEOUT, 60).
-define(MAX_REMOVAL_TIMEOUT, 86400).
%% What mongoose_domain_api says here, too.
-define(REASONS, [static, unknown_host_type, not_found, wrong_host_type, invalid_domain,
                  invalid_host_type, invalid_password, db_error, service_disabled, removal_failed]).
-define(REMOVAL, <<"removal">>).
-define(PASSWORD, <<"change of the password">>).

-type node_status() :: #{node := node(),
                         %% Could it be asked for a removal?
                         reachable := boolean(),
                         %% If not, why, for people.
                         reason => binary()}.
-type removal() :: {ok, mongoose_domain_api:details() | Text :: binary()}
                 | {mongoose_domain_api:reason(), Text :: binary()}.
-type probed() :: ok | {away | refused, Text :: binary()}.

-record(state, {%% What the last probe of each has shown.
                nodes :: #{node() => not_yet | probed()},
                %% The processes that probe a node now.
                probes = #{} :: #{reference() => node()}}).

%% @doc Are the options of a sidecar right, and can this node be one?
-spec check_options() -> ok | {error, Option :: atom(), Text :: binary()}.
check_options() ->
    case application:get_env(?APP, sidecar) of
        {ok, Options} when is_map(Options) -> check_options(Options);
        _ -> bad_option(options_text())
    end.

%% @doc Is this node a sidecar?
-spec is_configured() -> boolean().
is_configured() ->
    configured_nodes() =/= [].

%% @doc The configured nodes, and which of them can be asked for a removal.
-spec status() -> [node_status()].
status() ->
    [node_status(Node, Probed) || {Node, Probed} <- probed_nodes()].

%% @doc Requests a check of the event log on the configured nodes. Waits for none; one that cannot
%% be told is told when it is connected again.
-spec tell() -> ok.
tell() ->
    lists:foreach(fun tell/1, configured_nodes()).

%% @doc Has the first of the nodes that can do it remove a domain, and says what it says.
%%
%% Another one is asked only if it is certain that no removal has begun. One that has is not begun
%% again: that would do no harm, unless the domain had been added again meanwhile. So if the answer
%% does not come, that is `unreachable', too, and the caller may ask again.
-spec remove(delete_domain | request_delete_domain, mongoose_domain_core:domain(),
             mongoose_domain_core:host_type()) -> removal().
remove(Function, Domain, HostType) ->
    ask_first(probed_nodes(), ?REMOVAL, Function, [Domain, HostType], []).

%% @doc Has the first of the nodes that can do it change the password of a domain's administrator,
%% in the same way.
-spec change_password(set_domain_password | delete_domain_password, Args :: [binary()]) ->
    removal().
change_password(Function, Args) ->
    ask_first(probed_nodes(), ?PASSWORD, Function, Args, []).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, configured_nodes(), []).

%% gen_server: keeps the connections. It never waits, so that it answers at once.

%% @private
-spec init([node()]) -> {ok, #state{}}.
init(Nodes) ->
    ok = net_kernel:monitor_nodes(true, [{node_type, hidden}, nodedown_reason]),
    lists:foreach(fun(Node) -> self() ! {probe, Node} end, Nodes),
    self() ! check_log,
    {ok, #state{nodes = maps:from_list([{Node, not_yet} || Node <- Nodes])}}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(probed, _From, State = #state{nodes = Nodes}) ->
    {reply, Nodes, State};
handle_call(Request, _From, State) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request}),
    {reply, ok, State}.

%% @private
-spec handle_cast(term(), #state{}) -> {noreply, #state{}}.
handle_cast(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec handle_info(term(), #state{}) -> {noreply, #state{}}.
handle_info({probe, Node}, State = #state{probes = Probes}) ->
    %% It ends by itself, with what it has seen.
    {_Pid, Monitor} = spawn_monitor(?MODULE, exit_with_probe, [Node]),
    {noreply, State#state{probes = Probes#{Monitor => Node}}};
handle_info({'DOWN', Monitor, process, _Pid, Reason}, State = #state{probes = Probes})
  when is_map_key(Monitor, Probes) ->
    {Node, Others} = maps:take(Monitor, Probes),
    {noreply, probed(Node, Reason, State#state{probes = Others})};
handle_info({nodedown, Node, Info}, State = #state{nodes = Nodes}) when is_map_key(Node, Nodes) ->
    Reason = proplists:get_value(nodedown_reason, Info),
    Text = text("the connection was lost (~ts)", [tag(Reason)]),
    {noreply, found(Node, {away, Text}, State)};
handle_info({Event, _Node, _Info}, State) when Event =:= nodeup; Event =:= nodedown ->
    {noreply, State};
handle_info(check_log, State) ->
    check_log(),
    _ = erlang:send_after(?INTERVAL, self(), check_log),
    {noreply, State};
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

%% Connections

%% @private
-spec exit_with_probe(node()) -> no_return().
exit_with_probe(Node) ->
    exit({probed, probe(Node)}).

%% In the order of the configuration.
probed_nodes() ->
    Nodes = try gen_server:call(?MODULE, probed) catch exit:_ -> #{} end,
    [{Node, maps:get(Node, Nodes, {away, <<"the sidecar does not run">>})}
     || Node <- configured_nodes()].

probe(Node) ->
    case net_kernel:connect_node(Node) of
        true -> probe_service(Node);
        _ -> why_not(Node)
    end.

%% Is it a node of MongooseIM that follows the database, and does it answer?
probe_service(Node) ->
    try erpc:call(Node, ?SERVICE, enabled, [], ?PROBE_TIMEOUT) of
        true -> ok;
        _ -> {away, <<"service_domain_db is not enabled there">>}
    catch
        error:{erpc, timeout} ->
            {away, text("it does not answer within ~b s", [?PROBE_TIMEOUT div 1000])};
        error:{erpc, Reason} ->
            {away, text("it cannot be asked (~ts)", [tag(Reason)])};
        error:{exception, undef, _} ->
            {away, <<"it is not a node of MongooseIM: it has no service_domain_db:enabled/0">>};
        _:_ ->
            {away, <<"service_domain_db:enabled/0 fails there">>}
    end.

why_not(Node) ->
    [Name, Host] = name_and_host(Node),
    Epmd = net_kernel:epmd_module(),
    case Epmd:port_please(Name, Host, ?PROBE_TIMEOUT) of
        {port, Port, _Version} ->
            {refused, text("it runs, but the connection failed: is the cookie the same "
                           "(-setcookie), can its port ~b be reached, and is that for the same "
                           "kind of distribution (-proto_dist)?", [Port])};
        _ ->
            {away, text("it does not run: epmd at ~ts does not know it, or does not answer",
                        [Host])}
    end.

probed(Node, {probed, Found}, State) ->
    _ = erlang:send_after(interval(Found), self(), {probe, Node}),
    found(Node, Found, State);
probed(Node, Crash, State) ->
    probed(Node, {probed, {away, text("the probe failed (~ts)", [tag(Crash)])}}, State).

interval({refused, _Text}) -> ?INTERVAL_REFUSED;
interval(_Found) -> ?INTERVAL.

found(Node, Found, State = #state{nodes = Nodes}) ->
    case Nodes of
        #{Node := Found} -> ok;
        _ -> changed(Node, Found)
    end,
    State#state{nodes = Nodes#{Node := Found}}.

changed(Node, ok) ->
    ?LOG_NOTICE(#{what => domain_sidecar_node_reachable, node => Node}),
    %% It may have missed something.
    tell(Node);
changed(Node, {_, Text}) ->
    ?LOG_WARNING(#{what => domain_sidecar_node_unreachable, node => Node, text => Text}).

node_status(Node, ok) ->
    #{node => Node, reachable => true};
node_status(Node, not_yet) ->
    #{node => Node, reachable => false, reason => <<"not connected yet">>};
node_status(Node, {_, Text}) ->
    #{node => Node, reachable => false, reason => Text}.

%% Changes

tell(Node) ->
    _ = erlang:send({?SERVICE, Node}, check_for_updates, [noconnect, nosuspend]),
    ok.

%% Nobody tells this node of changes that others make. After a failure the service itself knows best
%% when to probe again.
check_log() ->
    try service_domain_db:status() of
        #{state := following} -> service_domain_db:force_check_for_updates();
        _ -> ok
    catch
        error:badarg -> ok
    end.

%% Removals, and changes of passwords

ask_first([], What, _Function, _Args, Reasons) ->
    {unreachable, text("No node of MongooseIM could be asked for the ~ts: ~ts",
                       [What, lists:join("; ", lists:reverse(Reasons))])};
ask_first([{Node, {_, Text}} | Nodes], What, Function, Args, Reasons) ->
    ask_first(Nodes, What, Function, Args, [because(Node, Text) | Reasons]);
ask_first([{Node, _OkOrNotYet} | Nodes], What, Function, Args, Reasons) ->
    case probe_and_ask(Node, What, Function, Args) of
        {not_begun, Text} ->
            ask_first(Nodes, What, Function, Args, [because(Node, Text) | Reasons]);
        Answer -> Answer
    end.

because(Node, Text) ->
    text("~ts: ~ts", [Node, Text]).

%% A node that has hung since the last probe is noticed before anything is asked of it.
probe_and_ask(Node, What, Function, Args) ->
    case probe(Node) of
        ok -> ask(Node, What, Function, Args);
        {_, Text} -> {not_begun, Text}
    end.

ask(Node, What, Function, Args) ->
    Timeout = removal_timeout(),
    try erpc:call(Node, mongoose_domain_api, Function, Args, timer:seconds(Timeout)) of
        Answer -> answer(What, Node, Answer)
    catch
        error:{exception, undef, [{mongoose_domain_api, Function, _, _} | _]} ->
            {not_begun, text("it has no mongoose_domain_api:~ts/~b", [Function, length(Args)])};
        error:{erpc, timeout} ->
            no_answer(What, "~ts has not answered within ~b s", [Node, Timeout]);
        error:{erpc, noconnection} ->
            no_answer(What, "the connection to ~ts was lost", [Node]);
        Class:Reason ->
            ?LOG_ERROR(#{what => domain_removal_failed, node => Node, class => Class,
                         function => Function, reason => logged(What, Reason)}),
            {db_error, text("The ~ts failed on ~ts (~ts)", [What, Node, tag(Reason)])}
    end.

%% The arguments of a function that failed may be in its reason.
logged(?PASSWORD, Reason) -> tag(Reason);
logged(_Removal, Reason) -> Reason.

no_answer(What, Format, Args) ->
    {unreachable, text("The result of the ~ts is not known: " ++ Format ++
                       ". It may go on there. Try again, to find out or to finish it",
                       [What | Args])}.

answer(?PASSWORD, Node, {ok, Text}) ->
    case printable(Text) of
        {ok, Binary} -> {ok, Binary};
        error -> answer(Node, {ok, Text})
    end;
answer(_What, Node, Answer) ->
    answer(Node, Answer).

answer(_Node, {ok, #{domain := _, host_type := _, status := Status} = Details})
  when Status =:= deleting; Status =:= deleted ->
    {ok, maps:with([domain, host_type, status], Details)};
answer(Node, {Reason, Text}) when is_atom(Reason), Reason =/= ok ->
    case {lists:member(Reason, ?REASONS), printable(Text)} of
        {true, {ok, Binary}} -> {Reason, Binary};
        {false, {ok, Binary}} -> unknown_answer(Node, text("~ts: ~ts", [Reason, Binary]));
        {_, error} -> unknown_answer(Node, atom_to_binary(Reason))
    end;
answer(Node, _Other) ->
    unknown_answer(Node, <<"something that this version does not know">>).

unknown_answer(Node, Text) ->
    {db_error, text("~ts answered ~ts", [Node, Text])}.

printable(Text) ->
    try unicode:characters_to_binary(Text) of
        Binary when is_binary(Binary) -> {ok, Binary};
        _ -> error
    catch
        error:badarg -> error
    end.

%% Options

configured_nodes() ->
    maps:get(nodes, options(), []).

removal_timeout() ->
    maps:get(removal_timeout, options(), ?REMOVAL_TIMEOUT).

options() ->
    application:get_env(?APP, sidecar, #{}).

check_options(Options) ->
    Timeout = maps:get(removal_timeout, Options, ?REMOVAL_TIMEOUT),
    IsValid = maps:without([nodes, removal_timeout], Options) =:= #{}
              andalso is_integer(Timeout) andalso Timeout > 0
              andalso Timeout =< ?MAX_REMOVAL_TIMEOUT,
    case {IsValid, maps:get(nodes, Options, [])} of
        {false, _} ->
            Known = [nodes, removal_timeout],
            Meant = mongoose_domain_error:did_you_mean(maps:keys(Options), Known),
            bad_option(<<(options_text())/binary, Meant/binary>>);
        {true, []} -> ok;
        {true, Nodes} -> check_nodes(Nodes)
    end.

check_nodes(Nodes) ->
    case is_list(Nodes) andalso length_of(Nodes) > 0 andalso lists:all(fun is_node/1, Nodes) of
        true -> check_this_node(Nodes);
        false -> bad_option(options_text())
    end.

length_of(List) ->
    try length(List) catch error:badarg -> 0 end.

%% With names that are right.
check_this_node(Nodes) ->
    {ok, Handlers} = application:get_env(?APP, removal_handlers),
    Unfit = [Node || Node <- Nodes, is_long(Node) =/= is_long(node())],
    case application:get_env(?APP, database) of
        undefined ->
            bad_option(<<"needs the option database: the database of the nodes">>);
        {ok, _} when Handlers =/= [] ->
            {error, removal_handlers, <<"must be [] in a sidecar: removals run on MongooseIM's "
                                        "nodes, and so do the handlers">>};
        {ok, _} when node() =:= nonode@nohost ->
            bad_option(<<"this node cannot connect to others: start it with -name NAME@HOST "
                         "-setcookie COOKIE -hidden">>);
        {ok, _} when Unfit =/= [] ->
            bad_option(text("~ts has a short name and this node a long one, or the reverse: start "
                            "this node with -name NAME@HOST.DOMAIN or -sname NAME, as the others",
                            [hd(Unfit)]));
        {ok, _} ->
            check_visibility(Nodes)
    end.

check_visibility(Nodes) ->
    case {is_hidden(), lists:member(node(), Nodes), length(lists:usort(Nodes))} of
        {false, _, _} ->
            bad_option(<<"this node must be hidden, or it becomes a member of the cluster: start "
                         "it with -hidden">>);
        {true, true, _} ->
            bad_option(text("~ts is this node itself", [node()]));
        {true, false, Count} when Count < length(Nodes) ->
            bad_option(<<"a node is given twice">>);
        {true, false, _} ->
            ok
    end.

%% As the VM reads it. Whether a node is hidden cannot be asked otherwise.
is_hidden() ->
    case init:get_argument(hidden) of
        {ok, [[] | _]} -> true;
        {ok, [["true"] | _]} -> true;
        _ -> false
    end.

is_node(Node) ->
    is_atom(Node) andalso
        case name_and_host(Node) of
            [[_ | _], [_ | _] = Host] -> not lists:member($@, Host);
            _ -> false
        end.

is_long(Node) ->
    case name_and_host(Node) of
        [_, Host] -> lists:any(fun(Char) -> lists:member(Char, ".:") end, Host);
        _ -> false
    end.

name_and_host(Node) ->
    string:split(atom_to_list(Node), "@").

bad_option(Text) ->
    {error, sidecar, Text}.

options_text() ->
    text("must be a map of nodes, a list of names such as 'mongooseim@host', and removal_timeout, "
         "in seconds from 1 to ~b", [?MAX_REMOVAL_TIMEOUT]).

%% Texts

%% What names an error, without what else is in it: that may be long, or secret.
tag(Reason) when is_atom(Reason) -> atom_to_binary(Reason);
tag(Reason) when is_tuple(Reason), tuple_size(Reason) > 1, element(1, Reason) =:= exception ->
    tag(element(2, Reason));
tag(Reason) when is_tuple(Reason), tuple_size(Reason) > 0 -> tag(element(1, Reason));
tag(_Reason) -> <<"unknown">>.

text(Format, Args) ->
    unicode:characters_to_binary(io_lib:format(Format, Args)).
