%% @doc The hooks that names below domains run.
-module(mongoose_hooks).

-export([register_subhost/2, unregister_subhost/1]).

register_subhost(Name, IsHidden) ->
    mongooseim_app:called(?MODULE, register_subhost, [Name, IsHidden]).

unregister_subhost(Name) ->
    mongooseim_app:called(?MODULE, unregister_subhost, [Name]).
