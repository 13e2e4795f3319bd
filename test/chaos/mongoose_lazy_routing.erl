%% @doc Stands where MongooseIM has a module of this name: it is told of domains that leave.
-module(mongoose_lazy_routing).

-export([maybe_remove_domain/2]).

maybe_remove_domain(HostType, Domain) -> chaos_node:hook(maybe_remove, HostType, Domain).
