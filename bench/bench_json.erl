%% @doc JSON text (RFC 8259) of maps, lists, binaries, numbers, `true', `false' and `undefined'; the
%% OTP releases that this project is for have no module for it.
-module(bench_json).

-export([encode/1]).

-spec encode(term()) -> iolist().
encode(undefined) -> "null";
encode(true) -> "true";
encode(false) -> "false";
encode(Integer) when is_integer(Integer) -> integer_to_list(Integer);
encode(Float) when is_float(Float) -> float_to_list(Float, [short]);
encode(Text) when is_binary(Text) -> [$", escape(unicode:characters_to_list(Text)), $"];
encode(List) when is_list(List) -> [$[, lists:join(", ", [encode(Item) || Item <- List]), $]];
encode(Map) when is_map(Map) ->
    Members = [[encode(atom_to_binary(Key)), ": ", encode(Value)]
               || {Key, Value} <- lists:sort(maps:to_list(Map))],
    [${, lists:join(", ", Members), $}].

escape(Characters) ->
    [escape_character(Character) || Character <- Characters].

escape_character($") -> "\\\"";
escape_character($\\) -> "\\\\";
escape_character(Control) when Control < 32 -> io_lib:format("\\u~4.16.0b", [Control]);
escape_character(Character) -> unicode:characters_to_binary([Character]).
