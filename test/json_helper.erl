%% @doc Decodes JSON (RFC 8259), for the suites: OTP has a decoder since 27 only. Objects are maps
%% whose keys are binaries, null is an atom. What is not JSON is an error.
-module(json_helper).

-export([decode/1]).

-spec decode(iodata()) -> term().
decode(Json) ->
    {Value, Rest} = value(skip(iolist_to_binary(Json))),
    <<>> = skip(Rest),
    Value.

value(<<"{", Rest/binary>>) -> object(skip(Rest), #{});
value(<<"[", Rest/binary>>) -> array(skip(Rest), []);
value(<<"\"", Rest/binary>>) -> string(Rest, <<>>);
value(<<"true", Rest/binary>>) -> {true, Rest};
value(<<"false", Rest/binary>>) -> {false, Rest};
value(<<"null", Rest/binary>>) -> {null, Rest};
value(Json) -> number(Json).

object(<<"}", Rest/binary>>, Object) when Object =:= #{} ->
    {Object, Rest};
object(<<"\"", Json/binary>>, Object) ->
    {Key, AfterKey} = string(Json, <<>>),
    <<":", AfterColon/binary>> = skip(AfterKey),
    {Value, Rest} = value(skip(AfterColon)),
    %% A key that is there twice is a fault of who wrote this.
    false = is_map_key(Key, Object),
    case skip(Rest) of
        <<",", More/binary>> -> object(skip(More), Object#{Key => Value});
        <<"}", More/binary>> -> {Object#{Key => Value}, More}
    end.

array(<<"]", Rest/binary>>, []) ->
    {[], Rest};
array(Json, Reversed) ->
    {Value, Rest} = value(Json),
    case skip(Rest) of
        <<",", More/binary>> -> array(skip(More), [Value | Reversed]);
        <<"]", More/binary>> -> {lists:reverse(Reversed, [Value]), More}
    end.

string(<<"\"", Rest/binary>>, Text) ->
    {Text, Rest};
string(<<"\\u", Hex:4/binary, Rest/binary>>, Text) ->
    case {binary_to_integer(Hex, 16), Rest} of
        {High, <<"\\u", LowHex:4/binary, More/binary>>} when High >= 16#D800, High < 16#DC00 ->
            Low = binary_to_integer(LowHex, 16),
            Character = 16#10000 + (High - 16#D800) * 16#400 + Low - 16#DC00,
            string(More, <<Text/binary, Character/utf8>>);
        {Character, _} ->
            string(Rest, <<Text/binary, Character/utf8>>)
    end;
string(<<"\\", Escaped, Rest/binary>>, Text) ->
    #{Escaped := Character} = #{$" => $", $\\ => $\\, $/ => $/, $b => $\b, $f => $\f, $n => $\n,
                                $r => $\r, $t => $\t},
    string(Rest, <<Text/binary, Character>>);
string(<<Character/utf8, Rest/binary>>, Text) when Character >= 32 ->
    string(Rest, <<Text/binary, Character/utf8>>).

number(Json) ->
    Pattern = "^(-?(?:0|[1-9][0-9]*))(\\.[0-9]+)?([eE][-+]?[0-9]+)?",
    {match, [Text | Parts]} = re:run(Json, Pattern, [{capture, all, list}]),
    Number = case Parts of
                 [Integer] -> list_to_integer(Integer);
                 [_, _] -> list_to_float(Text);
                 [Integer, "", Exponent] -> list_to_float(Integer ++ ".0" ++ Exponent);
                 [_, _, _] -> list_to_float(Text)
             end,
    <<_:(length(Text))/binary, Rest/binary>> = Json,
    {Number, Rest}.

skip(<<Blank, Rest/binary>>) when Blank =:= $\s; Blank =:= $\t; Blank =:= $\n; Blank =:= $\r ->
    skip(Rest);
skip(Json) ->
    Json.
