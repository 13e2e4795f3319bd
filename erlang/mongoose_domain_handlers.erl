%% @doc Has somebody registered a handler of one of MongooseIM's hooks?
%%
%% MongooseIM's `gen_hook' keeps the handlers, and has no question for that. So the name of the hook
%% is looked for in what `gen_hook' keeps: the tables of this name or of this process, and the
%% persistent terms with this name in the key. Where there is nothing, or it cannot be read, the
%% answer is yes: who tells too much only loses time.
-module(mongoose_domain_handlers).

-export([has/1]).

-define(KEEPER, gen_hook).
%% Milliseconds after which it is looked again in any case. What was added is seen at once, as it
%% changes the sizes.
-define(TIME, 1000).

%% @doc Called for every few changes of domains, so what was found is remembered.
-spec has(Hook :: atom()) -> boolean().
has(Hook) ->
    Now = erlang:monotonic_time(millisecond),
    case get({?MODULE, Hook}) of
        {Sizes, Tables, Until, Has} when Now < Until ->
            case {places(), sizes(Tables)} of
                Sizes -> Has;
                _ -> look(Hook, Now)
            end;
        _ ->
            look(Hook, Now)
    end.

look(Hook, Now) ->
    %% First, so that what comes meanwhile is a change.
    Places = places(),
    Tables = tables(),
    Sizes = {Places, sizes(Tables)},
    Kept = [fun() -> ets:tab2list(Table) end || Table <- Tables]
           ++ [fun() -> Term end || {Key, Term} <- persistent_term:get(), mentions(?KEEPER, Key)],
    Has = Kept =:= [] orelse lists:any(fun(Read) -> is_in(Hook, Read) end, Kept),
    _ = put({?MODULE, Hook}, {Sizes, Tables, Now + ?TIME, Has}),
    Has.

is_in(Hook, Read) ->
    try mentions(Hook, Read())
    catch error:badarg -> true
    end.

tables() ->
    Keeper = whereis(?KEEPER),
    [Table || Table <- ets:all(),
              ets:info(Table, name) =:= ?KEEPER
                  orelse is_pid(Keeper) andalso ets:info(Table, owner) =:= Keeper].

places() ->
    {whereis(?KEEPER), ets:whereis(?KEEPER), persistent_term:info()}.

sizes(Tables) ->
    [{ets:info(Table, size), ets:info(Table, memory)} || Table <- Tables].

%% A hook with an empty list has no handler.
mentions(Atom, Atom) -> true;
mentions(_Atom, {_Hook, None}) when None =:= []; None =:= #{} -> false;
mentions(Atom, Tuple) when is_tuple(Tuple) -> mentions(Atom, tuple_to_list(Tuple));
mentions(Atom, Map) when is_map(Map) -> mentions(Atom, maps:to_list(Map));
mentions(Atom, [First | Rest]) -> mentions(Atom, First) orelse mentions(Atom, Rest);
mentions(_Atom, _Other) -> false.
