%% @doc An HTTP client for the suites, of the node's own server.
-module(http_helper).

-compile({no_auto_import, [get/1, put/2]}).

-export([start/2, url/0, get/1, put/2, patch/2, delete/2, post/2, post/3]).
-export([graphql/1, graphql_refusal/1, request/3, request/4, decoded/1, call/5, basic/2]).
-export([programs/0, kill_program/1]).

%% @doc Starts a standalone node with the HTTP server on a free port.
start(Env, Http) ->
    {ok, _} = application:ensure_all_started(inets),
    node_helper:start_standalone(Env#{http => maps:merge(#{port => 0}, Http)}).

url() ->
    {IpAddress, Port} = mongoose_domain_http:address(),
    unicode:characters_to_list(io_lib:format("http://~ts:~b", [IpAddress, Port])).

%% Each returns the code and the body, or only the code if there is no body.

get(Path) -> request(get, Path, none).
put(Path, Body) -> request(put, Path, Body).
patch(Path, Body) -> request(patch, Path, Body).
delete(Path, Body) -> request(delete, Path, Body).
post(Path, Body) -> request(post, Path, Body).

%% @doc The answer to a GraphQL query, without variables.
graphql(Query) ->
    {200, Body} = post_graphql(Query),
    Body.

%% @doc The answer to one that is not executed.
graphql_refusal(Query) ->
    {400, Body} = post_graphql(Query),
    Body.

post_graphql(Query) ->
    Escaped = string:replace(Query, "\"", "\\\"", all),
    post("/api/graphql", ["{\"query\": \"", Escaped, "\"}"]).

request(Method, Path, Body) ->
    request(Method, Path, [], Body).

request(Method, Path, Headers, Body) ->
    {Code, _, Answer} = call(Method, url() ++ Path, Headers, Body, []),
    case Answer of
        <<>> -> Code;
        _ -> {Code, Answer}
    end.

%% @doc An answer whose body is decoded if it is an object of JSON.
decoded({Code, <<"{", _/binary>> = Json}) -> {Code, json_helper:decode(Json)};
decoded(Answer) -> Answer.

%% @doc The same, with a body of this type.
post(Path, ContentType, Body) ->
    {Code, _, Answer} =
        answer(post, {url() ++ Path, [{"connection", "close"}], ContentType,
                      iolist_to_binary(Body)}, []),
    {Code, Answer}.

%% @doc The code, the headers and the body.
call(Method, Url, Headers, Body, HttpOptions) ->
    Closing = [{"connection", "close"} | Headers],
    Request = case Body of
                  none -> {Url, Closing};
                  _ -> {Url, Closing, "application/json", iolist_to_binary(Body)}
              end,
    answer(Method, Request, HttpOptions).

%% Without options for TLS httpc would look for the system's authorities, for plain HTTP, too, and
%% fails where there are none.
answer(Method, Request, HttpOptions) ->
    Options = lists:ukeymerge(1, lists:keysort(1, HttpOptions), [{ssl, []}, {timeout, 60000}]),
    case httpc:request(Method, Request, Options, [{body_format, binary}]) of
        {ok, {{_, Code, _}, AnswerHeaders, Answer}} -> {Code, AnswerHeaders, Answer};
        {error, Reason} -> error({no_answer, Reason})
    end.

%% @doc The header with credentials.
basic(Username, Password) ->
    {"authorization", "Basic " ++ base64:encode_to_string(Username ++ ":" ++ Password)}.

%% @doc The programs of HTTP servers that this VM runs, by the pids of the operating system.
programs() ->
    [integer_to_list(OsPid)
     || Port <- erlang:ports(),
        {name, Name} <- [erlang:port_info(Port, name)],
        filename:basename(Name) =:= "mongoose-domain-http",
        %% It is 0 until open_port/2 returns.
        {os_pid, OsPid} <- [erlang:port_info(Port, os_pid)], OsPid > 0].

%% @doc Sends the program a signal, such as "KILL".
kill_program(Signal) ->
    [Pid] = programs(),
    "" = os:cmd("kill -" ++ Signal ++ " " ++ Pid),
    Pid.
