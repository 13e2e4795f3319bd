%% @doc The removal of one domain that is marked for deletion: when it routes no more, the removal
%% handlers remove their data, and then its row goes.
-module(mongoose_domain_removal).

-export([run/2, await_no_routing/0, finish/2]).

-export_type([failure/0]).

-type domain() :: mongoose_domain_core:domain().
-type host_type() :: mongoose_domain_core:host_type().
-type failure() :: {handler_failed, {Id :: term(), Reason :: term()}}
                 | {database, mongoose_domain_nif:failure()}.

%% @doc All of it, in the calling process.
-spec run(host_type(), domain()) -> ok | {error, failure()}.
run(HostType, Domain) ->
    case await_no_routing() of
        ok -> finish(HostType, Domain);
        {error, Failure} -> {error, Failure}
    end.

%% @doc Returns when no domain routes here any more of whose mark this node was told before.
-spec await_no_routing() -> ok | {error, failure()}.
await_no_routing() ->
    try service_domain_db:sync_local() of
        pong -> ok
    catch
        exit:_ ->
            Text = <<"this node could not follow the database; the removal is tried again later">>,
            {error, {database, {timeout, Text}}}
    end.

%% @doc The data and the row of a domain that routes no more.
-spec finish(host_type(), domain()) -> ok | {error, failure()}.
finish(HostType, Domain) ->
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
