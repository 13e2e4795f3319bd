%% @doc A Common Test hook for all suites. Told of a suite without its path (`rebar3 ct --suite
%% core_SUITE'), rebar3 neither compiles the second application nor has it on its code path.
-module(standalone_cth).

-export([init/2]).

-define(APP, mongoose_domain_standalone).

init(_Id, _Options) ->
    case code:lib_dir(?APP) of
        {error, bad_name} -> compile();
        _Dir -> ok
    end,
    {ok, none}.

compile() ->
    Command = ["cd ", test_helper:root_dir(), " && ", escript:script_name(), " as test compile"],
    Output = os:cmd(lists:append(Command)),
    Libraries = filename:dirname(code:lib_dir(mongoose_domain_native)),
    case code:add_pathz(filename:join([Libraries, ?APP, "ebin"])) of
        true -> ok;
        {error, bad_directory} -> error({not_compiled, Output})
    end.
