%% @doc What is wrong with an argument, in words: extra information of an error (EEP 54); and which
%% key was probably meant.
-module(mongoose_domain_error).

-export([info/2, format_error/2, did_you_mean/2]).

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

%% @doc The end of a text that refuses keys: which known one was probably meant by the first of them
%% that differs from one only in case, `-' or `_'. Empty if there is none.
-spec did_you_mean([term()], [atom()]) -> binary().
did_you_mean(Keys, Known) ->
    Near = [{Key, Meant} || Key <- Keys, Meant <- Known, Key =/= Meant,
                            plain(Key) =:= plain(Meant)],
    case Near of
        [{Key, Meant} | _] ->
            Text = io_lib:format(": did you mean ~tp instead of ~tp?", [Meant, Key]),
            unicode:characters_to_binary(Text);
        [] ->
            <<>>
    end.

plain(Key) ->
    Text = lists:flatten(io_lib:format("~tp", [Key])),
    string:lowercase([Char || Char <- Text, not lists:member(Char, "-_'\"<>")]).
