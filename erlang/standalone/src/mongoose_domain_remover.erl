%% @doc Finishes removals: for each domain that the database marks for deletion, runs the removal
%% handlers and then deletes the row.
%%
%% The marks in the database are the queue, so that nothing is lost by a crash: what is left is
%% found when the node starts, and again some time after a failure. A domain whose host type is not
%% configured here is left alone.
-module(mongoose_domain_remover).

-behaviour(gen_server).

-include_lib("kernel/include/logger.hrl").

-export([start_link/0, wake/0, remove/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-ignore_xref([start_link/0]).

%% Milliseconds after a failure.
-define(RETRY, 30000).
-define(PAGE, 1000).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc Asks for a look at what is marked for deletion.
-spec wake() -> ok.
wake() ->
    gen_server:cast(?MODULE, wake).

%% @doc Finishes the removal of a domain that is marked for deletion, in the calling process.
-spec remove(mongoose_domain_core:host_type(), mongoose_domain_core:domain()) ->
    ok | {error, {handler_failed, term()} | {database, mongoose_domain_nif:failure()}}.
remove(HostType, Domain) ->
    %% It must not route here any more while its data goes.
    try service_domain_db:sync_local() of
        pong -> remove_data(HostType, Domain)
    catch
        exit:_ ->
            Text = <<"this node could not follow the database; the removal is tried again later">>,
            {error, {database, {timeout, Text}}}
    end.

remove_data(HostType, Domain) ->
    case mongoose_domain_sql:request({select_domain, Domain}) of
        {ok, {_Id, _Domain, HostType, deleting}} ->
            case mongoose_domain_hooks:run_removal_handlers(HostType, Domain) of
                ok -> remove_row(HostType, Domain);
                {error, Reason} -> {error, {handler_failed, Reason}}
            end;
        {ok, _GoneOrAddedAgain} ->
            %% Another node was quicker. On MySQL, which has no key on the domain, there may be a
            %% newer row: its data stays, and the old row goes.
            remove_row(HostType, Domain);
        {error, Failure} ->
            {error, {database, Failure}}
    end.

remove_row(HostType, Domain) ->
    case mongoose_domain_sql:request({delete_domain, Domain, HostType}) of
        {ok, _DoneOrNotFound} -> service_domain_db:force_check_for_updates();
        {error, Failure} -> {error, {database, Failure}}
    end.

%% gen_server

%% @private
-spec init([]) -> {ok, undefined}.
init([]) ->
    %% After a crash of this process there may be something left to do.
    ok = wake(),
    {ok, undefined}.

%% @private
-spec handle_call(term(), gen_server:from(), Timer) -> {reply, ok, Timer}.
handle_call(Request, _From, Timer) ->
    ?LOG_WARNING(#{what => unexpected_call, server => ?MODULE, request => Request}),
    {reply, ok, Timer}.

%% @private
-spec handle_cast(term(), Timer) -> {noreply, Timer} when Timer :: reference() | undefined.
handle_cast(wake, Timer) ->
    {noreply, remove_all(Timer)};
handle_cast(Message, Timer) ->
    ?LOG_WARNING(#{what => unexpected_cast, server => ?MODULE, message => Message}),
    {noreply, Timer}.

%% @private
-spec handle_info(term(), Timer) -> {noreply, Timer} when Timer :: reference() | undefined.
handle_info(wake, Timer) ->
    {noreply, remove_all(Timer)};
handle_info(Message, Timer) ->
    ?LOG_WARNING(#{what => unexpected_message, server => ?MODULE, message => Message}),
    {noreply, Timer}.

%% Internal

remove_all(Timer) ->
    _ = is_reference(Timer) andalso erlang:cancel_timer(Timer),
    case remove_after(0, ok) of
        ok -> undefined;
        failed -> erlang:send_after(?RETRY, self(), wake)
    end.

remove_after(Id, Result) ->
    case mongoose_domain_sql:request({select_page, deleting, Id, ?PAGE}) of
        {ok, []} ->
            Result;
        {ok, Rows} ->
            Results = [try_remove(HostType, Domain) || {_, Domain, HostType, _} <- Rows],
            {LastId, _, _, _} = lists:last(Rows),
            remove_after(LastId, worst([Result | Results]));
        {error, service_disabled} ->
            Result;
        {error, Failure} ->
            ?LOG_WARNING(#{what => domain_removal_failed, reason => Failure}),
            failed
    end.

try_remove(HostType, Domain) ->
    case mongoose_domain_core:is_host_type_allowed(HostType) of
        true ->
            case remove(HostType, Domain) of
                ok -> ok;
                {error, Reason} -> removal_failed(HostType, Domain, Reason)
            end;
        false ->
            ok
    end.

removal_failed(HostType, Domain, Reason) ->
    ?LOG_ERROR(#{what => domain_removal_failed, host_type => HostType, domain => Domain,
                 reason => Reason}),
    failed.

worst(Results) ->
    case lists:member(failed, Results) of
        true -> failed;
        false -> ok
    end.
