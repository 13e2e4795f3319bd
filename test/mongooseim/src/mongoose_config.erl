%% @doc Answers from the option `config' of the application's environment.
-module(mongoose_config).

-export([get_opt/1, get_opt/2]).

get_opt(Key) ->
    maps:get(Key, config()).

get_opt(Key, Default) ->
    maps:get(Key, config(), Default).

config() ->
    {ok, Config} = application:get_env(mongooseim, config),
    Config.
