%% @doc The results as a table on the terminal and in Markdown, as JSON, and as charts.
-module(bench_report).

-export([amount/1, line/1, print/1, write/3]).

-define(DIR, "bench/results").
-define(COLUMNS, ["what", "at", "reference", "ours", "ratio", "spread", "target", "met"]).

%% @doc A number of domains, as in `100 k'.
-spec amount(non_neg_integer()) -> unicode:chardata().
amount(Number) when Number >= 1000000, Number rem 1000000 =:= 0 ->
    [integer_to_list(Number div 1000000), " M"];
amount(Number) when Number >= 1000, Number rem 1000 =:= 0 ->
    [integer_to_list(Number div 1000), " k"];
amount(Number) ->
    thousands(integer_to_list(Number)).

%% @doc A result in one line.
-spec line(bench_pairs:result()) -> unicode:chardata().
line(Result) ->
    lists:join("  ", [Cell || Cell <- row(Result), Cell =/= ""]).

-spec print([bench_pairs:result()]) -> ok.
print(Results) ->
    Rows = [?COLUMNS | [row(Result) || Result <- Results]],
    Widths = [lists:max([string:length(lists:nth(N, Row)) || Row <- Rows])
              || N <- lists:seq(1, length(?COLUMNS))],
    lists:foreach(fun(Row) ->
                      Cells = [string:pad(Cell, Width) || {Cell, Width} <- lists:zip(Row, Widths)],
                      io:format("~ts~n", [string:trim(lists:join("  ", Cells), trailing)])
                  end, Rows),
    lists:foreach(fun(Note) -> io:format("~ts~n", [Note]) end, notes(Results)).

%% @doc Writes a full run to `latest.json', `latest.md' and the charts, a quick one to `quick.*'.
-spec write(full | quick, Machine :: map(), [bench_pairs:result()]) -> ok.
write(Name, Machine, Results) ->
    Base = filename:join(?DIR, case Name of full -> "latest"; quick -> "quick" end),
    ok = filelib:ensure_dir(Base),
    ok = write_file(Base ++ ".json", json(Machine, Results)),
    ok = write_file(Base ++ ".md", markdown(Machine, Results)),
    Charts = [{[Base, "-", Chart, ".svg"], Svg} || {Chart, Svg} <- bench_chart:charts(Results)],
    lists:foreach(fun({File, Svg}) -> ok = write_file(File, Svg) end, Charts).

write_file(File, Text) ->
    io:format("~ts~n", [File]),
    file:write_file(File, unicode:characters_to_binary(Text)).

%% One object per line. The first says where it was measured; it has the keys of the others, too.
json(Machine, Results) ->
    First = Machine#{what => <<"machine">>, at => undefined, target => undefined,
                     ratio => undefined, met => undefined},
    Objects = [First | [object(Result) || Result <- Results]],
    ["[\n", lists:join(",\n", [bench_json:encode(Object) || Object <- Objects]), "\n]\n"].

object(Result) ->
    Target = case target(Result) of
                 "" -> undefined;
                 Text -> unicode:characters_to_binary(Text)
             end,
    maps:merge(maps:remove(target_text, Result#{target := Target}), extremes(Result)).

extremes(#{ratios := []}) -> #{};
extremes(#{ratios := Ratios}) -> #{spread => [lists:min(Ratios), lists:max(Ratios)]}.

markdown(Machine, Results) ->
    Rows = [["| ", lists:join(" | ", Row), " |\n"]
            || Row <- [?COLUMNS, ["---" || _ <- ?COLUMNS] | [row(Result) || Result <- Results]]],
    Facts = [io_lib:format("- ~ts: ~ts~n", [Key, fact(Value)])
             || {Key, Value} <- lists:sort(maps:to_list(Machine))],
    ["# Benchmarks\n\n",
     "Written by `make bench`; what is compared, and how, is at the top of each `bench/*.erl`. "
     "Reference and ours are medians, the ratio is the median of the ratios of paired samples, the "
     "spread the least and the greatest of them.\n\n",
     Rows, "\n", [["- ", Note, "\n"] || Note <- notes(Results)], Facts].

notes(Results) ->
    [[What, ": ", Note] || #{what := What, notes := Notes} <- Results, Note <- Notes].

fact(Float) when is_float(Float) -> io_lib:format("~.1f", [Float]);
fact(Integer) when is_integer(Integer) -> integer_to_list(Integer);
fact(Text) -> Text.

%% Cells

row(#{what := What, at := At, unit := Unit, reference := Reference, ours := Ours} = Result) ->
    [What, At, value(Reference, Unit), value(Ours, Unit), ratio(Result), spread(Result),
     target(Result), met(Result)].

value([], _Unit) -> "";
value(Samples, Unit) -> bench_chart:value(bench_pairs:median(Samples), Unit).

ratio(#{ratio := Ratio}) -> number(Ratio).

spread(#{ratios := []}) -> "";
spread(#{ratios := Ratios}) -> [number(lists:min(Ratios)), " – ", number(lists:max(Ratios))].

target(#{target_text := Text}) -> Text;
target(#{target := none}) -> "";
target(#{target := {at_least, Number}}) -> ["≥ ", number(Number)];
target(#{target := {at_most, Number}}) -> ["≤ ", number(Number)].

met(#{met := undefined}) -> "";
met(#{met := true}) -> "yes";
met(#{met := false}) -> "no".

number(Number) when is_integer(Number) -> thousands(integer_to_list(Number));
number(Number) when Number < 10 -> io_lib:format("~.2f", [Number]);
number(Number) when Number < 100 -> io_lib:format("~.1f", [Number]);
number(Number) -> thousands(integer_to_list(round(Number))).

thousands(Digits) when length(Digits) > 3 ->
    {Front, Back} = lists:split(length(Digits) - 3, Digits),
    [thousands(Front), ",", Back];
thousands(Digits) ->
    Digits.
