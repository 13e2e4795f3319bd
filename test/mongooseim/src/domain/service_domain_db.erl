%% @doc The stock module, in whose place ours is put.
-module(service_domain_db).

-export([start/1, is_stock/0]).

start(_Opts) ->
    ok.

is_stock() ->
    true.
