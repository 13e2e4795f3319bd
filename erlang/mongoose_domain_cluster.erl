%% @doc The services of all nodes that follow one database: a group of processes in `pg'.
%%
%% Nodes with MongooseIM's own service are members, too. So the scope, the group, the message
%% `check_for_updates' and the function `service_domain_db:ping/1' are MongooseIM's.
-module(mongoose_domain_cluster).

-export([join/0, leave/0, request_checks/0, request_checks_everywhere/0, take_requests/0,
         sync_local/0, members/0]).

-export_type([member/0]).

-type member() ::
    {Node :: binary(), IsThis :: boolean(), IsReachable :: boolean(),
     {State :: binary(), Lag :: non_neg_integer() | undefined, Domains :: non_neg_integer(),
      SecondsSinceCheck :: float() | undefined} | undefined}.

-define(SCOPE, mim_scope).
-define(GROUP, service_domain_db_group).
-define(SERVICE, service_domain_db).
%% Milliseconds that another node gets to say how it is.
-define(STATUS_TIMEOUT, 2000).
%% Milliseconds that sync_local/0 waits for this node's service to be restarted.
-define(RESTART_TIMEOUT, 5000).

%% @doc The calling process is this node's service.
-spec join() -> ok.
join() ->
    pg:join(?SCOPE, ?GROUP, self()).

%% @doc The group would notice by itself that the process is gone, but later.
-spec leave() -> ok.
leave() ->
    _ = try pg:leave(?SCOPE, ?GROUP, self()) catch _:_ -> ok end,
    ok.

%% @doc Asks the services of all nodes to look at the event log now.
-spec request_checks() -> ok.
request_checks() ->
    lists:foreach(fun(Pid) -> Pid ! check_for_updates end, services()).

%% @doc The same, and those of the cluster beside us, if this node is a sidecar.
-spec request_checks_everywhere() -> ok.
request_checks_everywhere() ->
    ok = request_checks(),
    mongoose_domain_host:request_checks_beside().

%% @doc Takes the requests that wait in the mailbox of the service: a check that begins now is one
%% for all of them.
-spec take_requests() -> ok.
take_requests() ->
    receive check_for_updates -> take_requests() after 0 -> ok end.

%% @doc When it returns, every check that any node had requested before is done on this node. Goes
%% over a restart of this node's service.
-spec sync_local() -> pong.
sync_local() ->
    sync_local(erlang:monotonic_time(millisecond) + ?RESTART_TIMEOUT).

%% @doc The nodes whose services follow the database, this one first, and how they are. A node with
%% other code cannot say.
-spec members() -> [member()].
members() ->
    Beside = mongoose_domain_host:nodes_beside(),
    Reachable = [node(Pid) || Pid <- services()] ++ [Node || {Node, true} <- Beside],
    Nodes = lists:usort(Reachable) -- [node()],
    Answers = erpc:multicall(Nodes, mongoose_domain_status, status, [], ?STATUS_TIMEOUT),
    [member(node(), {ok, mongoose_domain_status:status()})
     | lists:zipwith(fun member/2, Nodes, Answers)]
        ++ [member(Node, {error, {erpc, noconnection}}) || {Node, false} <- Beside].

services() ->
    pg:get_members(?SCOPE, ?GROUP).

sync_local(Deadline) ->
    case whereis(?SERVICE) of
        undefined -> try_again(noproc, Deadline);
        Local -> sync_local(Local, Deadline)
    end.

sync_local(Local, Deadline) ->
    Nodes = lists:usort([node() | [node(Pid) || Pid <- services()]]),
    Answers = erpc:multicall(Nodes, ?SERVICE, ping, [Local]),
    case {lists:flatmap(fun problem/1, Answers), is_process_alive(Local)} of
        {[], _} -> pong;
        {[Problem | _], true} -> exit(Problem);
        {[Problem | _], false} -> try_again(Problem, Deadline)
    end.

%% The messages of a node that is gone have arrived before that was known.
problem({ok, pong}) -> [];
problem({error, {erpc, noconnection}}) -> [];
problem({_Class, Reason}) -> [Reason].

try_again(Problem, Deadline) ->
    case erlang:monotonic_time(millisecond) < Deadline of
        true ->
            timer:sleep(20),
            sync_local(Deadline);
        false ->
            exit(Problem)
    end.

member(Node, {ok, #{state := State, lag := Lag, domains := Domains,
                    seconds_since_check := Seconds}}) ->
    {atom_to_binary(Node), Node =:= node(), true, {atom_to_binary(State), Lag, Domains, Seconds}};
member(Node, {error, {erpc, _NoConnectionOrTimeout}}) ->
    {atom_to_binary(Node), false, false, undefined};
member(Node, _OtherCode) ->
    {atom_to_binary(Node), false, true, undefined}.
