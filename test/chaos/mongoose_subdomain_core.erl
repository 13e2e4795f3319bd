%% @doc Stands where MongooseIM has a module of this name: it is told of domains.
-module(mongoose_subdomain_core).

-export([add_domain/2, remove_domain/2]).

add_domain(HostType, Domain) -> chaos_node:hook(add, HostType, Domain).

remove_domain(HostType, Domain) -> chaos_node:hook(remove, HostType, Domain).
