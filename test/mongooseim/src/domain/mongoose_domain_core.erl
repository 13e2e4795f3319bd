%% @doc The stock module, in whose place ours is put.
-module(mongoose_domain_core).

-export([start_link/2, get_host_type/1, domains_count/0, is_stock/0]).

start_link(_Pairs, _HostTypes) ->
    {ok, spawn_link(fun() -> receive after infinity -> ok end end)}.

get_host_type(_Domain) ->
    {error, not_found}.

domains_count() ->
    0.

is_stock() ->
    true.
