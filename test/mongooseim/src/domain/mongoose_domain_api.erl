%% @doc Changes domains of the database `database_url', by psql. There is one removal handler; the
%% option `removal' says what becomes of a removal: `works'; `waits', in the handler, until it is
%% another one; `crashes', there; `{answers, Term}', without any.
-module(mongoose_domain_api).

-export([insert_domain/2, delete_domain/2, request_delete_domain/2]).
-export([enable_domain/1, disable_domain/1]).
-export([set_domain_password/2, delete_domain_password/1]).

%% The very same pair again is a duplicate, too.
insert_domain(Domain, HostType) ->
    {ok, HostTypes} = application:get_env(mongooseim, host_types),
    case {mongoose_domain_core:is_static(Domain), lists:member(HostType, HostTypes),
          host_type(Domain)} of
        {true, _, _} -> {static, "Domain is static"};
        {_, false, _} -> {unknown_host_type, <<"Unknown host type">>};
        {_, _, <<>>} ->
            change(["INSERT INTO domain_settings (domain, host_type) SELECT d, '", HostType,
                    "' FROM (VALUES ('", Domain, "')) AS new(d) WHERE d = "], Domain),
            {ok, details(Domain, HostType, enabled)};
        _ -> {duplicate, ["Domain already ", <<"exists">>]}
    end.

enable_domain(Domain) -> set_status(Domain, "1", enabled).
disable_domain(Domain) -> set_status(Domain, "0", disabled).

set_status(Domain, Column, Status) ->
    case host_type(Domain) of
        <<>> -> {not_found, <<"Given domain does not exist">>};
        _ ->
            change(["UPDATE domain_settings SET status = ", Column, " WHERE domain = "], Domain),
            {ok, #{domain => Domain, status => Status}}
    end.

set_domain_password(Domain, Password) ->
    ok = mongooseim_app:called(admins, set_domain_password, [Domain, Password]),
    case host_type(Domain) of
        <<>> -> {not_found, "Given domain does not exist"};
        _ -> {ok, ["Domain password ", <<"set">>]}
    end.

delete_domain_password(Domain) ->
    ok = mongooseim_app:called(admins, delete_domain_password, [Domain]),
    {not_found, <<"Domain password does not exist">>}.

delete_domain(Domain, HostType) ->
    mark_deleting(Domain, HostType, fun() ->
        remove(Domain, HostType),
        {ok, details(Domain, HostType, deleted)}
    end).

request_delete_domain(Domain, HostType) ->
    mark_deleting(Domain, HostType, fun() ->
        _ = spawn(fun() -> remove(Domain, HostType) end),
        {ok, details(Domain, HostType, deleting)}
    end).

mark_deleting(Domain, HostType, Then) ->
    {ok, HostTypes} = application:get_env(mongooseim, host_types),
    case {option(), lists:member(HostType, HostTypes), host_type(Domain)} of
        {{answers, Answer}, _, _} -> Answer;
        {_, false, _} -> {unknown_host_type, <<"Unknown host type">>};
        %% Chardata of all kinds.
        {_, true, <<>>} -> {not_found, ["Given domain ", <<"does not exist">>]};
        {_, true, HostType} ->
            change("UPDATE domain_settings SET status = 2 WHERE domain = ", Domain),
            Then();
        {_, true, _} -> {wrong_host_type, "Wrong host type was provided"}
    end.

remove(Domain, HostType) ->
    pong = service_domain_db:sync_local(),
    ok = mongooseim_app:called(removal_handler, remove_domain, [HostType, Domain]),
    handle(option()),
    change("DELETE FROM domain_settings WHERE domain = ", Domain).

handle(works) -> ok;
handle(waits) -> timer:sleep(10), handle(option());
handle(crashes) -> error({out_of_order, <<"secret">>}).

option() ->
    application:get_env(mongooseim, removal, works).

host_type(Domain) ->
    sql(["SELECT host_type FROM domain_settings WHERE domain = '", Domain, "'"]).

%% One -c is one transaction.
change(Statement, Domain) ->
    <<>> = sql([Statement, "'", Domain, "'; INSERT INTO domain_events (domain) VALUES ('", Domain,
                "')"]),
    service_domain_db:force_check_for_updates().

sql(Statements) ->
    {ok, Url} = application:get_env(mongooseim, database_url),
    Args = ["-X", "-q", "-A", "-t", "-c", iolist_to_binary(Statements), Url],
    Port = open_port({spawn_executable, os:find_executable("psql")},
                     [{args, Args}, exit_status, binary]),
    string:trim(output(Port, <<>>)).

output(Port, Before) ->
    receive
        {Port, {data, More}} -> output(Port, <<Before/binary, More/binary>>);
        {Port, {exit_status, 0}} -> Before
    end.

details(Domain, HostType, Status) ->
    #{domain => Domain, host_type => HostType, status => Status}.
