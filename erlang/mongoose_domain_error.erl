%% @doc What is wrong with an argument, in words: extra information of an error (EEP 54).
-module(mongoose_domain_error).

-export([info/2, format_error/2]).

-ignore_xref([format_error/2]).

%% @doc The third argument of `erlang:error/3'.
-spec info(pos_integer(), binary()) ->
    [{error_info, #{module := ?MODULE, cause := #{pos_integer() => binary()}}}, ...].
info(Argument, Text) ->
    [{error_info, #{module => ?MODULE, cause => #{Argument => Text}}}].

%% @private
-spec format_error(term(), [tuple()]) -> #{pos_integer() => unicode:chardata()}.
format_error(_Reason, [{_Module, _Function, _Args, Info} | _]) ->
    #{cause := Texts} = proplists:get_value(error_info, Info, #{cause => #{}}),
    Texts.
