%% @doc Results as bar charts: SVG on a background of its own, so that it reads on any page, light
%% or dark.
-module(bench_chart).

-export([charts/1, value/2]).

-define(WIDTH, 800).
%% Where the bars begin, and how long the longest is.
-define(LEFT, 250).
-define(LONGEST, 430).
-define(TOP, 88).
-define(BAR, 16).
%% From one group of bars to the next.
-define(GROUP, 48).

%% @doc The charts that can be drawn of these results, by their names.
-spec charts([bench_pairs:result()]) -> [{Name :: string(), Svg :: unicode:chardata()}].
charts(Results) ->
    Charts = [{"lookups-hit", "Lookups that hit, per second", linear,
               [<<"get_host_type, hit">>]},
              {"lookups-miss", "Lookups that miss, per second", linear,
               [<<"get_host_type, miss">>]},
              {"latency", "Time of a lookup while domains load (logarithmic)", logarithmic,
               [<<"latency of a lookup during a load">>]},
              {"loads", "Cold loads, until all are told", linear,
               [<<"cold load from PostgreSQL">>, <<"cold load from MariaDB">>]},
              {"memory", "Resident memory per domain, table and indexes", linear,
               [<<"memory per domain">>]}],
    [{Name, svg(Title, Scale, Groups)}
     || {Name, Title, Scale, Whats} <- Charts,
        [_ | _] = Groups <- [[Result || #{what := What} = Result <- Results,
                                        lists:member(What, Whats)]]].

%% @doc A number with its unit, in three digits or so.
-spec value(number(), Unit :: binary()) -> unicode:chardata().
value(Number, <<"s">>) when Number < 0.001 -> [digits(Number * 1.0e6), " µs"];
value(Number, <<"s">>) when Number < 1 -> [digits(Number * 1.0e3), " ms"];
value(Number, <<"ns">>) when Number >= 1.0e6 -> [digits(Number / 1.0e6), " ms"];
value(Number, <<"ns">>) when Number >= 1000 -> [digits(Number / 1000), " µs"];
value(Number, <<"1/s">>) when Number >= 1.0e6 -> [digits(Number / 1.0e6), " M/s"];
value(Number, <<"1/s">>) when Number >= 1000 -> [digits(Number / 1000), " k/s"];
value(Number, <<"1/s">>) -> [digits(Number), " /s"];
value(Number, Unit) -> [digits(Number), " ", Unit].

digits(Number) when Number < 10 -> io_lib:format("~.2f", [float(Number)]);
digits(Number) when Number < 100 -> io_lib:format("~.1f", [float(Number)]);
digits(Number) -> integer_to_list(round(Number)).

svg(Title, Scale, Results) ->
    Groups = [{label(Result), bench_pairs:median(Reference), bench_pairs:median(Ours),
               maps:get(unit, Result)}
              || #{reference := Reference, ours := Ours} = Result <- Results],
    Most = lists:max([max(Reference, Ours) || {_, Reference, Ours, _} <- Groups]),
    Length = fun(Number) -> length_of(Scale, Number, Most) end,
    Height = ?TOP + ?GROUP * length(Groups) + 12,
    [io_lib:format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"~b\" height=\"~b\" "
                   "viewBox=\"0 0 ~b ~b\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" "
                   "font-size=\"13\">~n", [?WIDTH, Height, ?WIDTH, Height]),
     io_lib:format("<title>~ts</title>~n", [Title]),
     io_lib:format("<rect width=\"~b\" height=\"~b\" rx=\"6\" fill=\"#ffffff\" "
                   "stroke=\"#d0d7de\"/>~n", [?WIDTH, Height]),
     text(20, 32, "font-size=\"17\" font-weight=\"600\"", Title),
     legend(20, reference, "reference: gen_server and ETS"),
     legend(270, ours, "mongoose_domain_native"),
     [group(Number, Group, Length) || {Number, Group} <- lists:enumerate(Groups)],
     "</svg>\n"].

label(#{what := What, at := At}) ->
    case What of
        <<"cold load from ", Database/binary>> -> [Database, ", ", At];
        _ -> At
    end.

legend(X, Side, Label) ->
    [bar(X, 50, 12, 14, Side), text(X + 20, 62, "", Label)].

group(Number, {Label, Reference, Ours, Unit}, Length) ->
    Y = ?TOP + ?GROUP * (Number - 1),
    [text(?LEFT - 12, Y + ?BAR + 5, "text-anchor=\"end\"", Label),
     labelled(Y, Reference, Unit, reference, Length),
     labelled(Y + ?BAR + 2, Ours, Unit, ours, Length)].

labelled(Y, Number, Unit, Side, Length) ->
    [bar(?LEFT, Y, Length(Number), ?BAR, Side),
     text(?LEFT + Length(Number) + 8, Y + 13, "", value(Number, Unit))].

bar(X, Y, Length, Height, Side) ->
    Colour = case Side of reference -> "#8c959f"; ours -> "#1f6feb" end,
    io_lib:format("<rect x=\"~b\" y=\"~b\" width=\"~b\" height=\"~b\" fill=\"~ts\"/>~n",
                  [X, Y, Length, Height, Colour]).

text(X, Y, Attributes, Text) ->
    io_lib:format("<text x=\"~b\" y=\"~b\" fill=\"#1f2328\" ~ts>~ts</text>~n",
                  [X, Y, Attributes, escape(unicode:characters_to_list(Text))]).

escape(Text) ->
    [case Character of $& -> "&amp;"; $< -> "&lt;"; _ -> Character end || Character <- Text].

%% Logarithmic from 10 on.
length_of(linear, Number, Most) -> max(1, round(?LONGEST * Number / Most));
length_of(logarithmic, Number, Most) ->
    max(1, round(?LONGEST * (math:log10(max(Number, 10)) - 1) / (math:log10(Most) - 1))).
