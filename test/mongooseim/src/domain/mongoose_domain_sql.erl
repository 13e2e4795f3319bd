-module(mongoose_domain_sql).

-export([start/1]).

start(Opts) -> mongooseim_app:called(?MODULE, start, [Opts]).
