%% @doc A function for each domain of a host type, while domains come and go.
-module(mongoose_domain_walk).

-include_lib("kernel/include/logger.hrl").

-export([for_each/2]).

-type domain() :: mongoose_domain_core:domain().
-type host_type() :: mongoose_domain_core:host_type().

%% @doc Runs the function in the calling process, once for each domain that stays, and not for one
%% that is deleted before its turn. A crash of the function is logged and the walk goes on.
-spec for_each(host_type(), fun((host_type(), domain()) -> any())) -> ok.
for_each(HostType, Fun) ->
    %% As long as nothing is removed, the list stays true.
    Removals = mongoose_domain_nif:removals(),
    IsThere = fun(Domain) ->
                  Removals =:= mongoose_domain_nif:removals()
                      orelse mongoose_domain_nif:has_host_type(Domain, HostType)
              end,
    visit(mongoose_domain_nif:get_domains_by_host_type(HostType), IsThere, HostType, Fun).

visit([], _IsThere, _HostType, _Fun) ->
    ok;
visit([Domain | Domains], IsThere, HostType, Fun) ->
    _ = IsThere(Domain) andalso run(Fun, HostType, Domain),
    visit(Domains, IsThere, HostType, Fun).

run(Fun, HostType, Domain) ->
    try
        _ = Fun(HostType, Domain),
        ok
    catch
        Class:Reason:Stacktrace ->
            ?LOG_ERROR(#{what => domain_operation_failed, host_type => HostType, domain => Domain,
                         class => Class, reason => Reason, stacktrace => Stacktrace})
    end.
