-module(mongoose_subdomain_core).

-export([add_domain/2, remove_domain/2]).

add_domain(HostType, Domain) ->
    mongooseim_app:called(?MODULE, add_domain, [HostType, Domain]).

remove_domain(HostType, Domain) ->
    mongooseim_app:called(?MODULE, remove_domain, [HostType, Domain]).
