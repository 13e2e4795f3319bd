%% @doc What all suites share: waiting, and names of their own.
-module(test_helper).

-export([wait_until/1, wait_until/2, attempt/1, data_name/1, root_dir/0]).

%% Milliseconds until something that does not happen fails a test. Nothing is proved by it.
-define(WAIT, 60000).

data_name(Prefix) ->
    lists:concat([Prefix, "_", os:getpid(), "_", erlang:unique_integer([positive])]).

%% @doc The project's directory: the compiled suites lie in _build.
root_dir() ->
    find_root(filename:dirname(code:which(?MODULE))).

find_root(Dir) ->
    case filelib:is_regular(filename:join(Dir, "script/throwaway-postgres")) of
        true -> Dir;
        false -> find_root(filename:dirname(Dir))
    end.

wait_until(Fun) ->
    wait_until(Fun, ?WAIT).

wait_until(Fun, Milliseconds) ->
    wait_until_deadline(Fun, erlang:monotonic_time(millisecond) + Milliseconds).

wait_until_deadline(Fun, Deadline) ->
    case Fun() of
        true ->
            ok;
        Other ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true -> timer:sleep(10), wait_until_deadline(Fun, Deadline);
                false -> error({timeout_waiting, Fun, Other})
            end
    end.

%% @doc Runs it, and whatever it raises does not matter.
-spec attempt(fun(() -> term())) -> ok.
attempt(Fun) ->
    try Fun() of
        _ -> ok
    catch
        _:_ -> ok
    end.
