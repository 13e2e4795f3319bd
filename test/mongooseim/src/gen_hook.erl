%% @doc Keeps the handlers of hooks in a table.
-module(gen_hook).

-export([create_table/0, add_handler/2]).

create_table() ->
    ?MODULE = ets:new(?MODULE, [named_table, public]),
    add_handler(some_hook, handler).

add_handler(Hook, Handler) ->
    true = ets:insert(?MODULE, {{Hook, global}, [Handler]}),
    ok.
