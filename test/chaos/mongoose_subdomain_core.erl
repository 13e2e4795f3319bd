%% @doc Stands where MongooseIM has a module of this name: it is told of domains.
-module(mongoose_subdomain_core).

-export([start_link/0, add_domain/2, remove_domain/2]).

%% The standalone supervisor starts it, as ours.
start_link() -> {ok, spawn_link(timer, sleep, [infinity])}.

add_domain(HostType, Domain) -> chaos_node:hook(add, HostType, Domain).

remove_domain(HostType, Domain) -> chaos_node:hook(remove, HostType, Domain).
