%% @doc What the HTTP server may ask of this node, and the answers: see doc/http_port.md.
%%
%% Each question is answered by a process of its own, which may wait.
-module(mongoose_domain_http_node).

-include_lib("kernel/include/logger.hrl").

-export([answer/3, refuse/2, reason/1]).

%% The most names or pairs in a frame: of the longest ones they are 2 MB.
-define(PART, 1000).
%% Why the program cannot start, or its database fails; the names are those of the library, too.
-define(REASONS, [bad_http_option, http_failed, bad_database_url, unknown_database_scheme,
                  bad_database_option, database_unavailable, tls_failed, access_denied,
                  missing_tables, not_a_database, read_only, timeout, query_failed]).

%% @doc Answers a question. It may be that nobody waits for the answer any more.
-spec answer(port(), Number :: non_neg_integer(), Question :: term()) -> ok.
answer(Port, Number, Question) ->
    Reply = try reply(Question, fun(Part) -> send(Port, {part, Number, Part}) end)
            catch
                Class:Reason:Stacktrace ->
                    ?LOG_ERROR(logged(Question, #{what => domain_http_request_failed,
                                                  class => Class, reason => Reason,
                                                  stacktrace => Stacktrace})),
                    refused(db_error, <<"the node failed to do this; see its log">>)
            end,
    send(Port, {answer, Number, Reply}).

%% A password is in no log: neither as an argument in a stack trace, nor in the reason.
logged({set_domain_password, Domain, _Password}, Report) ->
    maps:merge(maps:with([what, class], Report), #{request => {set_domain_password, Domain}});
logged(Question, Report) ->
    Report#{request => Question}.

%% @doc Says that a question cannot be answered, because the process that should died.
-spec refuse(port(), Number :: non_neg_integer()) -> ok.
refuse(Port, Number) ->
    Reply = refused(db_error, <<"the node could not finish this; see its log">>),
    %% Waits while the program does not read.
    _ = spawn(fun() -> mongoose_domain_http_port:send(Port, {answer, Number, Reply}) end),
    ok.

%% @doc The atom of a reason that the program gives.
-spec reason(binary()) -> atom().
reason(Name) ->
    case [Reason || Reason <- ?REASONS, atom_to_binary(Reason) =:= Name] of
        [Reason] -> Reason;
        [] -> query_failed
    end.

send(Port, {_, Number, _} = Frame) ->
    case mongoose_domain_http_port:send(Port, Frame) of
        {error, too_long} ->
            Reply = refused(db_error, <<"the answer is too long">>),
            send(Port, {answer, Number, Reply});
        _SentOrClosed ->
            ok
    end.

%% Reads of the table. Without one they are as if it was empty.

reply(statics, Part) ->
    in_parts(pairs, table(fun mongoose_domain_nif:get_all_static/0, []), Part);
reply({statics_among, Domains}, _Part) ->
    {pairs, [{Domain, HostType}
             || Domain <- Domains, table(fun() -> mongoose_domain_nif:is_static(Domain) end, false),
                {ok, HostType} <- [mongoose_domain_nif:get_host_type(Domain)]]};
reply({allowed_among, HostTypes}, _Part) ->
    IsAllowed = fun mongoose_domain_nif:is_host_type_allowed/1,
    {names, [HostType || HostType <- HostTypes, table(fun() -> IsAllowed(HostType) end, false)]};
reply({domains_of, HostType, Most}, Part) ->
    %% Counted before they are copied.
    case lists:keyfind(HostType, 1, host_types()) of
        {HostType, _IsAllowed, Count} when Count > Most ->
            too_many;
        _ ->
            List = fun() -> mongoose_domain_nif:get_domains_by_host_type(HostType) end,
            in_parts(names, table(List, []), Part)
    end;
reply(snapshot, _Part) ->
    {snapshot, table(fun snapshot/0, undefined)};

%% The others.

reply(request_checks, _Part) ->
    ok = mongoose_domain_cluster:request_checks_everywhere(),
    done;
reply({failed, Name, Text}, _Part) ->
    Reason = reason(Name),
    ?LOG_ERROR(#{what => domain_http_database_failed, reason => Reason, text => Text}),
    ok = mongoose_domain_nif:count_error(Reason, Text),
    done;
reply(certificates_changed, _Part) ->
    ?LOG_NOTICE(#{what => domain_http_certificates_changed}),
    done;
reply({certificates_broken, Text}, _Part) ->
    ?LOG_ERROR(#{what => domain_http_certificates_broken, text => Text,
                 then => <<"the certificates that were read before stay in use">>}),
    done;
reply(verify, _Part) ->
    verify(mongoose_domain_host:is_service_loaded(service_domain_db));
reply(members, _Part) ->
    {members, mongoose_domain_cluster:members()};
reply({set_domain_password, Domain, _Password} = Change, _Part) ->
    changed({set_domain_password, Domain}, mongoose_domain_host:change_password(Change));
reply({delete_domain_password, _Domain} = Change, _Part) ->
    changed(Change, mongoose_domain_host:change_password(Change));
reply(Change, _Part) ->
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

in_parts(Kind, List, Part) when length(List) =< ?PART ->
    ok = Part({Kind, List}),
    done;
in_parts(Kind, List, Part) ->
    {First, Rest} = lists:split(?PART, List),
    ok = Part({Kind, First}),
    in_parts(Kind, Rest, Part).

table(Read, Empty) ->
    try Read() catch error:badarg -> Empty end.

host_types() ->
    table(fun mongoose_domain_nif:host_types/0, []).

snapshot() ->
    HostTypes = [#{host_type => HostType, allowed => IsAllowed, domains => Domains}
                 || {HostType, IsAllowed, Domains} <- mongoose_domain_nif:host_types()],
    (mongoose_domain_nif:statistics())#{follows => whereis(service_domain_db) =/= undefined,
                                        domains => mongoose_domain_nif:domains_count(),
                                        host_types => HostTypes}.

verify(false) ->
    refused(service_disabled, <<"no database is configured">>);
verify(true) ->
    case mongoose_domain_status:verify() of
        ok -> {verified, 0, []};
        {differs, Count, First} -> {verified, Count, First};
        {error, {_Reason, Text}} -> refused(db_error, Text)
    end.

refused(Reason, Text) ->
    {refused, atom_to_binary(Reason), Text}.
