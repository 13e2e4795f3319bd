-module(mongoose_lazy_routing).

-export([maybe_remove_domain/2, maybe_remove_subdomain/1]).

maybe_remove_domain(HostType, Domain) ->
    mongooseim_app:called(?MODULE, maybe_remove_domain, [HostType, Domain]).

maybe_remove_subdomain(Info) ->
    mongooseim_app:called(?MODULE, maybe_remove_subdomain, [Info]).
