%% @doc The databases of the benchmarks: real servers, and domains in them.
%%
%% The names of the domains have 24 bytes and come from their numbers (name/1). All have the host
%% type `type1', but for a hundred, spread over them, that have `hundred'.
-module(bench_database).

-export([start/1, stop/1, fill/3, name/1, missing_name/1, host_types/0, copy/1]).

-export_type([kind/0, servers/0]).

-type kind() :: postgres | mysql.
-opaque servers() :: #{kind() => list()}.

-spec start([kind()]) -> servers().
start(Kinds) ->
    maps:from_list([{Kind, db_helper:init_database(Kind, [])} || Kind <- Kinds]).

-spec stop(servers()) -> ok.
stop(Servers) ->
    lists:foreach(fun db_helper:end_database/1, maps:values(Servers)).

%% @doc The URL of a new database with so many domains, all enabled. On MariaDB it has MongooseIM's
%% schema as it is, without any index on the domain.
-spec fill(kind(), pos_integer(), servers()) -> string().
fill(Kind, Count, Servers) ->
    Url = db_helper:fresh_url(maps:get(Kind, Servers)),
    _ = db_helper:sql(Url, [
        "INSERT INTO domain_settings (domain, host_type) SELECT ",
        "CONCAT('d', LPAD(CONCAT('', n.seq), 11, '0'), '.example.com'), ",
        io_lib:format("CASE WHEN n.seq % ~b = 0 THEN 'hundred' ELSE 'type1' END ", [Count div 100]),
        "FROM ", db_helper:numbers(Url, Count), " ORDER BY n.seq; ", analyze(Kind)]),
    Url.

%% @doc The name of a domain, by its number from 1 on.
-spec name(pos_integer()) -> binary().
name(Number) ->
    named($d, Number).

%% @doc A name of the same shape that no domain has.
-spec missing_name(pos_integer()) -> binary().
missing_name(Number) ->
    named($m, Number).

-spec host_types() -> [binary(), ...].
host_types() ->
    [<<"type1">>, <<"type2">>, <<"hundred">>].

%% @doc Seconds that PostgreSQL's own `COPY' of the enabled rows to a pipe takes.
-spec copy(Url :: string()) -> float().
copy(Url) ->
    Copy = "COPY (SELECT domain, host_type FROM domain_settings WHERE status = 1) TO STDOUT",
    bench_pairs:timed(fun() ->
        "" = os:cmd(["psql -X -q -c '", Copy, "' ", Url, " | cat >/dev/null"])
    end).

%% Whatever the server would do by itself some time later.
analyze(postgres) -> "VACUUM ANALYZE domain_settings";
analyze(mysql) -> "ANALYZE TABLE domain_settings".

named(Letter, Number) ->
    Digits = integer_to_binary(100000000000 + Number),
    <<Letter, (binary:part(Digits, 1, 11))/binary, ".example.com">>.
