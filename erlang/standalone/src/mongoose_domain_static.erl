%% @doc The static domains of a standalone node's configuration, by the rules that hold for all
%% other domains: nameprepped, and each by one host type.
-module(mongoose_domain_static).

-export([prepare/1]).

-type pair() :: mongoose_domain_core:pair().

%% @doc The pairs, whose names must be possible ones, with their domains nameprepped. `{error,
%% Text}': a domain cannot be nameprepped, or is there by two host types.
-spec prepare([pair()]) -> {ok, [pair()]} | {error, Text :: binary()}.
prepare(Pairs) ->
    prepare(lists:enumerate(Pairs), #{}, []).

prepare([], _Seen, Prepared) ->
    {ok, lists:reverse(Prepared)};
prepare([{Place, {Name, HostType}} | Pairs], Seen, Prepared) ->
    case mongoose_domain_nif:prepare_name(Name) of
        {ok, Domain} when is_map_key(Domain, Seen) ->
            case maps:get(Domain, Seen) of
                {HostType, _} -> prepare(Pairs, Seen, Prepared);
                {Other, First} ->
                    error_text("element ~b: ~ts has the host type ~ts here, and ~ts in element ~b",
                               [Place, Domain, HostType, Other, First])
            end;
        {ok, Domain} ->
            prepare(Pairs, Seen#{Domain => {HostType, Place}}, [{Domain, HostType} | Prepared]);
        {error, Why} ->
            error_text("element ~b: the domain ~ts", [Place, Why])
    end.

error_text(Format, Args) ->
    {error, unicode:characters_to_binary(io_lib:format(Format, Args))}.
