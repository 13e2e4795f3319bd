%% @doc Stands in for MongooseIM's `mongoose_subdomain_core', which takes some 6 µs for each domain
%% that is added: a process that is busy for so long with each message.
-module(bench_receiver).

-export([start/0]).

-define(NAME, mongoose_subdomain_core).
%% Nanoseconds.
-define(BUSY, 6000).

%% @doc From now on the module and the process of that name are there.
-spec start() -> ok.
start() ->
    true = register(?NAME, spawn_link(fun loop/0)),
    {ok, ?NAME, Binary} = compile:forms(forms()),
    {module, ?NAME} = code:load_binary(?NAME, "bench_receiver", Binary),
    ok.

forms() ->
    lists:map(fun(Text) ->
                  {ok, Tokens, _} = erl_scan:string(Text),
                  {ok, Form} = erl_parse:parse_form(Tokens),
                  Form
              end, ["-module(mongoose_subdomain_core).",
                    "-export([start_link/0, add_domain/2, remove_domain/2]).",
                    %% The standalone supervisor asks for it, in the place of ours.
                    "start_link() -> {ok, whereis(mongoose_subdomain_core)}.",
                    "add_domain(HostType, Domain) ->"
                    "    mongoose_subdomain_core ! {added, HostType, Domain}.",
                    "remove_domain(HostType, Domain) ->"
                    "    mongoose_subdomain_core ! {removed, HostType, Domain}."]).

loop() ->
    receive _ -> busy(erlang:monotonic_time(nanosecond) + ?BUSY) end,
    loop().

busy(Until) ->
    erlang:monotonic_time(nanosecond) < Until andalso busy(Until).
