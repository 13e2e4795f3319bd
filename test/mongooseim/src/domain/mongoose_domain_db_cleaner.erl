-module(mongoose_domain_db_cleaner).

-export([start/1, stop/0]).

start(Opts) -> mongooseim_app:called(?MODULE, start, [Opts]).

stop() -> mongooseim_app:called(?MODULE, stop, []).
