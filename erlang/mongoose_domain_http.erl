%% @doc The HTTP server of a node, for operators: REST, GraphQL, metrics and a page.
%%
%% It is in Rust, and answers what is read. What is changed comes here as a message; a process for
%% each calls the host's `mongoose_domain_api' and answers.
%%
%% Options that are wrong are refused at the start. A port that is taken, or a database that cannot
%% be opened, is not a reason to keep a node from routing: then it is tried again.
%%
%% The options are kept in a persistent term: those in a child specification or in the state of a
%% process are logged when it crashes, and the password with them.
-module(mongoose_domain_http).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([check/1, start/2, stop/0, address/0]).
-export([start_link/0]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-ignore_xref([start_link/0, address/0]).

%% Milliseconds until the next try to listen.
-define(RETRY, 5000).
%% The connections to the database for what is read and imported.
-define(CONNECTIONS, 4).

%% Texts may be strings or binaries.
-type opts() :: #{%% Default: 127.0.0.1. Anything but loopback needs a password.
                  ip_address => text(),
                  %% Default: 8088. 0: any that is free.
                  port => inet:port_number(),
                  %% Both or none.
                  username => text(), password => text(),
                  %% PEM files. Without them: plain HTTP.
                  tls => #{certfile => file:name_all(), keyfile => file:name_all()}}.
-type text() :: string() | binary().

-export_type([opts/0]).

-record(state, {database :: mongoose_domain_nif:database() | undefined,
                server :: mongoose_domain_nif:http_server() | undefined,
                %% Why it does not listen, so that it is not said again and again.
                failure :: mongoose_domain_nif:failure() | undefined,
                %% Those who answer questions.
                workers = #{} :: #{reference() => mongoose_domain_nif:question()}}).

%% @doc Are the options right, as far as one can know without listening?
-spec check(term()) -> ok | {error, mongoose_domain_nif:failure()}.
check(Opts) ->
    case options(Opts) of
        {ok, Options} -> mongoose_domain_nif:check_http(Options);
        {error, Failure} -> {error, Failure}
    end.

%% @doc Starts it. `ServiceOpts' say which database, as for `service_domain_db'; `undefined': none.
%% Raises `{http, Failure}' if the options are wrong.
-spec start(opts(), ServiceOpts :: map() | undefined) -> ok.
start(Opts, ServiceOpts) ->
    case check(Opts) of
        ok ->
            {ok, Options} = options(Opts),
            persistent_term:put({?MODULE, options}, {Options, ServiceOpts}),
            ChildSpec = #{id => ?MODULE, start => {?MODULE, start_link, []}, shutdown => 5000,
                          modules => [?MODULE]},
            ok = mongoose_domain_host:start_process(ChildSpec),
            wait_for_first_try();
        {error, Failure} ->
            error({http, Failure})
    end.

%% Not in init/1, where the host's supervisor would wait.
wait_for_first_try() ->
    try address() of
        _ -> ok
    catch
        exit:_ItCrashedOrIsSlow -> ok
    end.

-spec stop() -> ok.
stop() ->
    ok = mongoose_domain_host:stop_process(?MODULE),
    _ = persistent_term:erase({?MODULE, options}),
    ok.

%% @doc Where it listens; `undefined' as long as it could not.
-spec address() -> {IpAddress :: binary(), inet:port_number()} | undefined.
address() ->
    gen_server:call(?MODULE, address).

%% @private
-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% gen_server

%% @private
-spec init([]) -> {ok, #state{}, {continue, listen}}.
init([]) ->
    process_flag(trap_exit, true),
    {ok, #state{}, {continue, listen}}.

%% @private
-spec handle_continue(listen, #state{}) -> {noreply, #state{}}.
handle_continue(listen, State) ->
    {noreply, listen(State)}.

%% @private
-spec handle_call(term(), gen_server:from(), #state{}) -> {reply, term(), #state{}}.
handle_call(address, _From, State = #state{server = undefined}) ->
    {reply, undefined, State};
handle_call(address, _From, State = #state{server = Server}) ->
    {reply, mongoose_domain_nif:http_address(Server), State};
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
handle_info({mongoose_domain_nif, Question, Request}, State = #state{workers = Workers}) ->
    {_Pid, Monitor} = spawn_monitor(fun() -> answer(Question, Request) end),
    {noreply, State#state{workers = Workers#{Monitor => Question}}};
handle_info({'DOWN', Monitor, process, _Pid, _Reason}, State = #state{workers = Workers})
        when is_map_key(Monitor, Workers) ->
    {Question, Others} = maps:take(Monitor, Workers),
    %% In case it could not.
    ok = mongoose_domain_nif:answer(Question, refused(db_error, <<"the change was stopped">>)),
    {noreply, State#state{workers = Others}};
handle_info(listen, State) ->
    {noreply, listen(State)};
handle_info(Message, State) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, State}.

%% @private
-spec terminate(term(), #state{}) -> ok.
terminate(_Reason, #state{server = Server, database = Database}) ->
    _ = Server =/= undefined andalso mongoose_domain_nif:stop_http(Server),
    _ = Database =/= undefined andalso mongoose_domain_nif:close_database(Database),
    ok.

%% The server

listen(State) ->
    {Options, ServiceOpts} = persistent_term:get({?MODULE, options}),
    case open(ServiceOpts, State) of
        {ok, Database} -> listen(Options, State#state{database = Database});
        {error, Failure} -> failed(Failure, State)
    end.

listen(Options, State = #state{database = Database}) ->
    case mongoose_domain_nif:start_http(Options, Database) of
        {ok, Server} ->
            {IpAddress, Port} = mongoose_domain_nif:http_address(Server),
            ?LOG_NOTICE(#{what => domain_http_listens, ip_address => IpAddress, port => Port}),
            State#state{server = Server, failure = undefined};
        {error, Failure} ->
            failed(Failure, State)
    end.

failed(Failure = {Reason, Text}, State = #state{failure = Last}) ->
    _ = Failure =/= Last andalso
        ?LOG_ERROR(#{what => domain_http_failed, reason => Reason, text => Text,
                     retry_after_milliseconds => ?RETRY}),
    _ = erlang:send_after(?RETRY, self(), listen),
    State#state{failure = Failure}.

open(undefined, _State) ->
    {ok, undefined};
open(ServiceOpts, #state{database = undefined}) ->
    case mongoose_domain_database:open(ServiceOpts#{max_connections => ?CONNECTIONS}) of
        {ok, Database, _Found} -> {ok, Database};
        {error, Failure} -> {error, Failure}
    end;
open(_ServiceOpts, #state{database = Database}) ->
    {ok, Database}.

%% Questions

answer(Question, Request) ->
    Reply = try reply(Request)
            catch
                Class:Reason:Stacktrace ->
                    ?LOG_ERROR(logged(Request, #{what => domain_http_request_failed,
                                                 class => Class, reason => Reason,
                                                 stacktrace => Stacktrace})),
                    refused(db_error, <<"it failed; see the log of the node">>)
            end,
    mongoose_domain_nif:answer(Question, Reply).

%% A password is in no log: neither as an argument in a stack trace, nor in the reason.
logged({set_domain_password, Domain, _Password}, Report) ->
    maps:merge(maps:with([what, class], Report), #{request => {set_domain_password, Domain}});
logged(Request, Report) ->
    Report#{request => Request}.

reply(request_checks) ->
    ok = mongoose_domain_cluster:request_checks_everywhere(),
    done;
reply({failed, Reason, Text}) ->
    ?LOG_ERROR(#{what => domain_http_database_failed, reason => Reason, text => Text}),
    ok = mongoose_domain_nif:count_error(Reason, Text),
    done;
reply(verify) ->
    verify(mongoose_domain_host:is_service_loaded(service_domain_db));
reply(members) ->
    {members, mongoose_domain_cluster:members()};
reply({set_domain_password, Domain, _Password} = Change) ->
    changed({set_domain_password, Domain}, mongoose_domain_host:change_password(Change));
reply({delete_domain_password, _Domain} = Change) ->
    changed(Change, mongoose_domain_host:change_password(Change));
reply(Change) ->
    changed(Change, mongoose_domain_host:change(Change)).

changed(Change, ok) ->
    ?LOG_INFO(#{what => domain_changed_by_http, change => Change}),
    done;
changed(Change, {ok, Text}) ->
    ?LOG_INFO(#{what => domain_changed_by_http, change => Change}),
    {text, Text};
changed(Change, {db_error, Text}) ->
    ?LOG_ERROR(#{what => domain_change_failed, change => Change, text => Text}),
    ok = mongoose_domain_nif:count_error(db_error, Text),
    refused(db_error, Text);
changed(_Change, {Reason, Text}) ->
    refused(Reason, Text).

verify(false) ->
    refused(service_disabled, <<"there is no database">>);
verify(true) ->
    case mongoose_domain_status:verify() of
        ok -> {verified, 0, []};
        {differs, Count, First} -> {verified, Count, First};
        {error, {_Reason, Text}} -> refused(db_error, Text)
    end.

refused(Reason, Text) ->
    {refused, atom_to_binary(Reason), Text}.

%% Options

options(Opts) when is_map(Opts) ->
    Known = [ip_address, port, username, password, tls],
    case maps:to_list(maps:without(Known, Opts)) of
        [] -> typed(maps:merge(#{ip_address => "127.0.0.1", port => 8088, tls => #{}}, Opts));
        [{Key, _} | _] ->
            wrong("~tp is no option; there are ~0tp~ts",
                  [Key, Known, mongoose_domain_error:did_you_mean([Key], Known)])
    end;
options(_Opts) ->
    wrong("must be a map of ip_address, port, username, password and tls", []).

typed(#{tls := Tls}) when not is_map(Tls) ->
    wrong("tls must be a map of certfile and keyfile", []);
typed(#{port := Port, tls := Tls} = Opts) ->
    Texts = maps:merge(maps:with([ip_address, username, password], Opts),
                       maps:with([certfile, keyfile], Tls)),
    Wrong = [Key || {Key, Value} <- maps:to_list(Texts), text(Value) =:= error],
    IsPort = is_integer(Port) andalso Port >= 0 andalso Port =< 65535,
    case {Wrong, maps:keys(maps:without([certfile, keyfile], Tls))} of
        {[], []} when IsPort ->
            Empty = #{username => undefined, password => undefined, certfile => undefined,
                      keyfile => undefined},
            Given = maps:map(fun(_Key, Value) -> text(Value) end, Texts),
            {ok, maps:merge(Empty, Given#{port => Port, node => atom_to_binary(node())})};
        {[], []} -> wrong("port must be 0 to 65535", []);
        {[Key | _], _} -> wrong("~ts must be a text", [Key]);
        {[], [Key | _]} -> wrong("~tp is no option of tls; there are certfile and keyfile", [Key])
    end.

%% No value in an error: it may be the password.
text(Value) when is_binary(Value); is_list(Value) ->
    try unicode:characters_to_binary(Value) of
        Text when is_binary(Text) -> Text;
        _ -> error
    catch
        error:badarg -> error
    end;
text(_Value) ->
    error.

wrong(Format, Args) ->
    {error, {bad_http_option, unicode:characters_to_binary(io_lib:format(Format, Args))}}.
