%% @doc Programs that the suites start, and processes of the operating system.
-module(program_helper).

-export([start_script/2, is_running/1, process_stat/1]).

is_running(Pid) ->
    case process_stat(filename:join(["/proc", Pid, "stat"])) of
        {_Pid, [<<"Z">> | _]} -> false;
        {_Pid, _Fields} -> true;
        gone -> false
    end.

%% @doc The pid and the fields behind the name of a file /proc/PID/stat (proc(5)).
process_stat(File) ->
    case file:read_file(File) of
        {ok, Stat} ->
            %% pid (name) state ppid …; the name may have spaces.
            [Pid, _] = string:split(Stat, " ("),
            [_, AfterName] = string:split(Stat, ") ", trailing),
            {binary_to_list(Pid), string:split(AfterName, " ", all)};
        {error, _} ->
            gone
    end.

%% @doc Starts a server by one of our scripts. A process of its own holds its standard input: it
%% lives as long as its group of cases, or until end_database/1.
start_script(Name, Args) ->
    Parent = self(),
    Script = filename:join([test_helper:root_dir(), "script", Name]),
    Owner = spawn(fun() ->
                      Port = open_port({spawn_executable, Script},
                                       [{args, Args}, {line, 1000}, exit_status]),
                      own_server(Port, Parent, #{})
                  end),
    receive
        {Owner, #{"control" := Control, "url" := Url}} -> {Owner, Control, Url};
        {Owner, {exit_status, Status}} -> error({Name, Status})
    after 300000 ->
        error({Name, timeout})
    end.

own_server(Port, Parent, Facts) ->
    receive
        {Port, {data, {eol, Line}}} ->
            [Key, Value] = string:split(Line, " "),
            NewFacts = Facts#{Key => Value},
            _ = [Parent ! {self(), NewFacts} || Key =:= "url"],
            own_server(Port, Parent, NewFacts);
        {Port, {exit_status, Status}} ->
            Parent ! {self(), {exit_status, Status}};
        stop ->
            port_close(Port)
    end.
