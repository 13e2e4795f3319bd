%% @doc The stock module, in whose place ours is put by --subdomains.
-module(mongoose_subdomain_core).

-export([start_link/0, add_domain/2, remove_domain/2, is_stock/0]).

start_link() ->
    {ok, spawn_link(fun() -> receive after infinity -> ok end end)}.

add_domain(HostType, Domain) ->
    mongooseim_app:called(?MODULE, add_domain, [HostType, Domain]).

remove_domain(HostType, Domain) ->
    mongooseim_app:called(?MODULE, remove_domain, [HostType, Domain]).

is_stock() ->
    true.
