-module(mongoose_packet_handler).

-export([add_extra/2]).

add_extra(Handler, Extra) ->
    {Handler, Extra}.
