%% @doc The public API of a standalone node: adds, enables, disables, removes and shows domains.
%%
%% Domains are nameprepped by the caller. Every change is written to the database, and then all
%% nodes are asked to look; {@link service_domain_db:sync_local/0} waits until this node has.
%%
%% Errors are `{Reason, Text}', the reason for programs, the text for people:
%%
%% - `static', `unknown_host_type', `duplicate', `not_found', `wrong_host_type', `deleted': see each
%%   function;
%% - `invalid_domain', `invalid_host_type': no database column can hold the name (empty, over 250
%%   characters, not UTF-8, NUL inside, not a binary);
%% - `invalid_password': nobody can have such a password; `wrong_password': it is another one;
%%   `unreadable_password': other code keeps other details of it, such as MongooseIM's own;
%% - `db_error': the database failed; `service_disabled': no database is configured;
%% - `unreachable': this node is a sidecar ({@link mongoose_domain_sidecar}), and no node of
%%   MongooseIM could be asked for the removal, or the one that was asked has not answered.
%%
%% Stands in for MongooseIM's module of this name.
-module(mongoose_domain_api).

-export([insert_domain/2, delete_domain/2, request_delete_domain/2]).
-export([enable_domain/1, disable_domain/1, get_domain_details/1]).
-export([check_host_type_and_get_domains/1, get_host_type/1, get_domain_host_type/1]).
-export([set_domain_password/2, delete_domain_password/1, check_domain_password/2]).
-export([get_all_static/0, get_all_dynamic/0, get_domains_by_host_type/1, get_all_domains/0]).

-ignore_xref(?MODULE).

-export_type([details/0, reason/0]).

-type domain() :: mongoose_domain_core:domain().
-type host_type() :: mongoose_domain_core:host_type().
-type status() :: enabled | disabled | deleting | deleted.
-type details() :: #{domain := domain(), host_type := host_type(), status := status(),
                     %% Only there if it can never route: its name is not nameprepped, so nothing
                     %% asks for it. Somebody wrote it by SQL, or did not prepare the name.
                     routable => false}.
-type reason() :: static | unknown_host_type | duplicate | not_found | wrong_host_type | deleted
                | invalid_domain | invalid_host_type | invalid_password | wrong_password
                | unreadable_password
                | db_error | service_disabled
                | removal_failed | unreachable.
-type error() :: {reason(), Text :: binary()}.

-define(PAGE, 1000).

%% @doc Adds a domain. The same pair again is fine: then its row stays as it is, and the status says
%% how. `duplicate': it has another host type, or is just being removed.
-spec insert_domain(domain(), host_type()) -> {ok, details()} | error().
insert_domain(Domain, HostType) ->
    run([names(Domain, HostType), not_static(Domain), allowed(HostType)], fun() ->
        case request({insert_domain, Domain, HostType}) of
            {ok, inserted} ->
                tell(),
                {ok, details(Domain, HostType, enabled)};
            {ok, {exists, {_, _, HostType, Status}}} when Status =/= deleting ->
                {ok, details(Domain, HostType, Status)};
            {ok, {exists, _Other}} ->
                failure(duplicate);
            {error, Failure} ->
                db_failure(Failure)
        end
    end).

%% @doc Removes a domain and returns when it is gone, with the data that removal handlers keep of
%% it. `removal_failed': a handler failed; the domain does not route any more, stays marked for
%% deletion, and the removal is tried again later.
-spec delete_domain(domain(), host_type()) -> {ok, details()} | error().
delete_domain(Domain, HostType) ->
    remove(delete_domain, Domain, HostType, fun() ->
        case mongoose_domain_removal:run(HostType, Domain) of
            ok ->
                {ok, details(Domain, HostType, deleted)};
            {error, {database, Failure}} ->
                ok = mongoose_domain_remover:request(HostType, Domain),
                db_failure(Failure);
            {error, {handler_failed, {Id, Reason}}} ->
                ok = mongoose_domain_remover:retry_later(),
                logger:error(#{what => domain_removal_failed, host_type => HostType,
                               domain => Domain, reason => {handler_failed, {Id, Reason}}}),
                Text = io_lib:format("The removal handler ~tp ~ts", [Id, how_it_failed(Reason)]),
                {removal_failed, unicode:characters_to_binary(Text)}
        end
    end).

%% @doc Marks a domain for deletion, so that it routes no more, and returns; the rest is done by
%% itself.
-spec request_delete_domain(domain(), host_type()) -> {ok, details()} | error().
request_delete_domain(Domain, HostType) ->
    remove(request_delete_domain, Domain, HostType, fun() ->
        ok = mongoose_domain_remover:request(HostType, Domain),
        {ok, details(Domain, HostType, deleting)}
    end).

%% @doc Lets a domain route. `deleted': it is marked for deletion.
-spec enable_domain(domain()) -> {ok, #{domain := domain(), status := enabled}} | error().
enable_domain(Domain) ->
    set_status(Domain, enable_domain, enabled).

%% @doc Keeps a domain, but lets it route no more. `deleted': it is marked for deletion.
-spec disable_domain(domain()) -> {ok, #{domain := domain(), status := disabled}} | error().
disable_domain(Domain) ->
    set_status(Domain, disable_domain, disabled).

%% @doc What the database says of a domain.
-spec get_domain_details(domain()) -> {ok, details()} | error().
get_domain_details(Domain) ->
    run([name(invalid_domain, Domain), not_static(Domain)], fun() ->
        case select(Domain) of
            {ok, HostType, Status} -> {ok, marked(details(Domain, HostType, Status))};
            Error -> Error
        end
    end).

%% @doc The domains that route by a host type on this node.
-spec check_host_type_and_get_domains(host_type()) -> {ok, [domain()]} | error().
check_host_type_and_get_domains(HostType) ->
    run([name(invalid_host_type, HostType), allowed(HostType)], fun() ->
        {ok, mongoose_domain_core:get_domains_by_host_type(HostType)}
    end).

%% @doc Sets the password of the domain's administrator. Of it only details of SCRAM are kept, in
%% `domain_admins'; they go with the domain. In a sidecar a node of MongooseIM does it.
-spec set_domain_password(domain(), Password :: binary()) -> {ok, Text :: binary()} | error().
set_domain_password(Domain, Password) ->
    run([name(invalid_domain, Domain), password(Password)], fun() ->
        change_password(set_domain_password, [Domain, Password], fun() ->
            Details = mongoose_domain_password:details(Password),
            IsStatic = mongoose_domain_core:is_static(Domain),
            case request({set_password, Domain, Details, IsStatic}) of
                {ok, done} -> {ok, <<"Domain password set successfully">>};
                {ok, not_found} -> failure(not_found);
                {error, Failure} -> db_failure(Failure)
            end
        end)
    end).

%% @doc Deletes the password of the domain's administrator. `not_found': there is none.
-spec delete_domain_password(domain()) -> {ok, Text :: binary()} | error().
delete_domain_password(Domain) ->
    run([name(invalid_domain, Domain)], fun() ->
        change_password(delete_domain_password, [Domain], fun() ->
            case request({delete_password, Domain}) of
                {ok, done} -> {ok, <<"Domain password deleted successfully">>};
                {ok, not_found} -> no_password();
                {error, Failure} -> db_failure(Failure)
            end
        end)
    end).

%% @doc Is it the password of the domain's administrator? `not_found': there is none.
%% `unreadable_password': it was not set by {@link set_domain_password/2} of a standalone node; in a
%% sidecar a node of MongooseIM sets it.
-spec check_domain_password(domain(), Password :: binary()) -> ok | error().
check_domain_password(Domain, Password) ->
    run([name(invalid_domain, Domain), password(Password)], fun() ->
        case request({select_password, Domain}) of
            {ok, not_found} -> no_password();
            {ok, Details} ->
                case mongoose_domain_password:is_right(Password, Details) of
                    true -> ok;
                    false -> {wrong_password, <<"Wrong password">>};
                    unknown ->
                        {unreadable_password,
                         <<"The password was not set by this application, but by MongooseIM or "
                           "other code: only that can check it">>}
                end;
            {error, Failure} -> db_failure(Failure)
        end
    end).

-spec get_host_type(domain()) -> {ok, host_type()} | {error, not_found}.
get_host_type(Domain) ->
    mongoose_domain_core:get_host_type(Domain).

-spec get_domain_host_type(domain()) -> {ok, host_type()} | {error, not_found}.
get_domain_host_type(Domain) ->
    mongoose_domain_core:get_host_type(Domain).

-spec get_all_static() -> [{domain(), host_type()}].
get_all_static() ->
    mongoose_domain_core:get_all_static().

-spec get_all_dynamic() -> [{domain(), host_type()}].
get_all_dynamic() ->
    mongoose_domain_core:get_all_dynamic().

-spec get_domains_by_host_type(host_type()) -> [domain()].
get_domains_by_host_type(HostType) ->
    mongoose_domain_core:get_domains_by_host_type(HostType).

%% @doc Every domain of the database, in the order in which they were added.
-spec get_all_domains() -> [details()] | error().
get_all_domains() ->
    get_all_domains(0, []).

%% Internal

get_all_domains(After, Pages) ->
    case request({select_page, any, After, ?PAGE}) of
        {ok, []} ->
            lists:append(lists:reverse(Pages));
        {ok, Rows} ->
            {LastId, _, _, _} = lists:last(Rows),
            Page = [marked(details(Domain, HostType, Status))
                    || {_, Domain, HostType, Status} <- Rows],
            get_all_domains(LastId, [Page | Pages]);
        {error, Failure} ->
            db_failure(Failure)
    end.

%% In a sidecar all of it is done by a node of MongooseIM, which has the removal handlers.
remove(Function, Domain, HostType, Then) ->
    run([names(Domain, HostType), not_static(Domain), allowed(HostType)], fun() ->
        case mongoose_domain_sidecar:is_configured() of
            false ->
                mark_deleting(Domain, HostType, Then);
            true ->
                Result = mongoose_domain_sidecar:remove(Function, Domain, HostType),
                %% All of its nodes, as they may be no members of one cluster. And whatever the
                %% result: a removal that is not known to have been done may be marked.
                tell(),
                Result
        end
    end).

%% The nodes of MongooseIM know what they keep of a password.
change_password(Function, Args, Change) ->
    case mongoose_domain_sidecar:is_configured() of
        false -> Change();
        true -> mongoose_domain_sidecar:change_password(Function, Args)
    end.

mark_deleting(Domain, HostType, Then) ->
    case request({mark_deleting, Domain, HostType}) of
        {ok, done} ->
            tell(),
            Then();
        {ok, not_found} -> failure(not_found);
        {ok, {wrong_host_type, _}} -> failure(wrong_host_type);
        {error, Failure} ->
            %% The mark may be there all the same: an answer can be lost after the commit.
            ok = mongoose_domain_remover:request(HostType, Domain),
            db_failure(Failure)
    end.

how_it_failed({no_end_within, Seconds}) -> io_lib:format("did not end within ~b s", [Seconds]);
how_it_failed(_Reason) -> "failed".

set_status(Domain, Request, Status) ->
    run([name(invalid_domain, Domain), not_static(Domain)], fun() ->
        case select(Domain) of
            {ok, HostType, _Status} ->
                run([allowed(HostType)], fun() -> do_set_status(Domain, Request, Status) end);
            Error ->
                Error
        end
    end).

do_set_status(Domain, Request, Status) ->
    case request({Request, Domain}) of
        {ok, done} ->
            tell(),
            {ok, #{domain => Domain, status => Status}};
        {ok, not_found} -> failure(not_found);
        {ok, deleting} -> failure(deleted);
        {error, Failure} -> db_failure(Failure)
    end.

select(Domain) ->
    case request({select_domain, Domain}) of
        {ok, {_Id, _Domain, HostType, Status}} -> {ok, HostType, Status};
        {ok, not_found} -> failure(not_found);
        {error, Failure} -> db_failure(Failure)
    end.

%% All nodes are to look at the event log.
tell() ->
    service_domain_db:force_check_for_updates(),
    mongoose_domain_sidecar:tell().

request(Request) ->
    mongoose_domain_sql:request(Request).

%% Runs the checks in order, then the action. The first failure is the result.
run([], Action) ->
    Action();
run([Check | Checks], Action) ->
    case Check() of
        ok -> run(Checks, Action);
        Error -> Error
    end.

names(Domain, HostType) ->
    fun() -> run([name(invalid_domain, Domain), name(invalid_host_type, HostType)],
                 fun() -> ok end)
    end.

name(Reason, Name) ->
    fun() ->
        case mongoose_domain_nif:check_name(Name) of
            ok -> ok;
            {error, Text} -> {Reason, <<(subject(Reason))/binary, Text/binary>>}
        end
    end.

password(Password) ->
    fun() ->
        case mongoose_domain_password:check(Password) of
            ok -> ok;
            {error, Text} -> {invalid_password, <<"Password ", Text/binary>>}
        end
    end.

subject(invalid_domain) -> <<"Domain ">>;
subject(invalid_host_type) -> <<"Host type ">>.

not_static(Domain) ->
    fun() ->
        case mongoose_domain_core:is_static(Domain) of
            true -> failure(static);
            false -> ok
        end
    end.

allowed(HostType) ->
    fun() ->
        case mongoose_domain_core:is_host_type_allowed(HostType) of
            true -> ok;
            false -> failure(unknown_host_type)
        end
    end.

details(Domain, HostType, Status) ->
    #{domain => Domain, host_type => HostType, status => Status}.

marked(#{domain := Domain} = Details) ->
    case mongoose_domain_nif:is_prepared(Domain) of
        true -> Details;
        false -> Details#{routable => false}
    end.

db_failure(service_disabled) -> failure(service_disabled);
db_failure({_Reason, Text}) -> {db_error, Text}.

no_password() ->
    {not_found, <<"Given domain has no password">>}.

failure(static) -> {static, <<"Domain is static">>};
failure(unknown_host_type) -> {unknown_host_type, <<"Unknown host type">>};
failure(duplicate) -> {duplicate, <<"Domain already exists">>};
failure(not_found) -> {not_found, <<"Given domain does not exist">>};
failure(wrong_host_type) -> {wrong_host_type, <<"Wrong host type was provided">>};
failure(deleted) -> {deleted, <<"Domain has been deleted">>};
failure(service_disabled) -> {service_disabled, <<"No database is configured">>}.
