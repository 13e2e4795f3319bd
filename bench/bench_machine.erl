%% @doc Where and with what was measured.
-module(bench_machine).

-export([describe/1]).

%% @doc The machine, and the versions of everything; of the servers, too, that have a database here.
-spec describe([{bench:database(), Url :: string()}]) -> #{atom() => binary() | integer()}.
describe(Databases) ->
    Servers = maps:from_list([{Kind, server_version(Url)} || {{Kind, _, _}, Url} <- Databases]),
    maps:merge(Servers,
               #{processor => first_match("/proc/cpuinfo", "model name\\s*: (.*)"),
                 processors => erlang:system_info(logical_processors_available),
                 memory => first_match("/proc/meminfo", "MemTotal:\\s*(.*)"),
                 kernel => command("uname -sr"),
                 erlang => iolist_to_binary(["OTP ", erlang:system_info(otp_release), ", ERTS ",
                                             erlang:system_info(version), ", ",
                                             atom_to_list(erlang:system_info(emu_flavor))]),
                 rust => command("rustc --version"),
                 commit => command("git describe --always --dirty"),
                 date => list_to_binary(calendar:system_time_to_rfc3339(os:system_time(second),
                                                                        [{offset, "Z"}]))}).

%% MariaDB's ends with the distribution's package, PostgreSQL's goes on with its compiler.
server_version(Url) ->
    [Version | _] = string:split(db_helper:sql(Url, "SELECT version()"), " on "),
    iolist_to_binary(Version).

command(Command) ->
    iolist_to_binary(string:trim(os:cmd(Command ++ " 2>/dev/null"))).

first_match(File, Pattern) ->
    {ok, Text} = file:read_file(File),
    case re:run(Text, Pattern, [{capture, [1], binary}]) of
        {match, [Found]} -> Found;
        nomatch -> <<"unknown">>
    end.
