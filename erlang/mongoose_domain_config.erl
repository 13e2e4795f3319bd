%% @doc The options of the database service: their specification, their defaults, and the ones in
%% use.
%%
%% It knows what an option is called and may be. What an option means is for those who read it.
-module(mongoose_domain_config).

-export([spec/0, with_defaults/1, use/1, used/0, of_host/1, of_follower/0]).

%% Seconds; a hundred years are enough, and the NIF takes no big integers.
-define(LONGEST, 100 * 365 * 86400).

-export_type([opts/0]).

%% Those of `[services.service_domain_db]'.
-type opts() :: #{db_pool => atom(), event_cleaning_interval => pos_integer(),
                  event_max_age => pos_integer(), audit_interval => pos_integer(),
                  max_connections => pos_integer(),
                  %% Seconds that start/1 waits for the first load.
                  initial_load_timeout => pos_integer(),
                  http => mongoose_domain_http:opts(), _ => _}.

%% The exact type would say no more than the function does.
-dialyzer({no_underspecs, [spec/0]}).

%% @doc The section, as MongooseIM's records of its configuration: tuples, because the records are
%% not ours. `{section, Items, ValidateKeys, Required, Validate, FormatItems, Process, Defaults,
%% Wrap, Include}' and `{option, Type, Validate, Process, Wrap}'.
-spec spec() -> tuple().
spec() ->
    Positive = {option, integer, positive, [], default},
    Items = #{<<"db_pool">> => {option, atom, pool_name, [], default},
              <<"event_cleaning_interval">> => Positive,
              <<"event_max_age">> => Positive,
              <<"audit_interval">> => Positive,
              <<"max_connections">> => Positive,
              <<"initial_load_timeout">> => Positive,
              <<"http">> => http_spec()},
    Defaults = maps:from_list([{atom_to_binary(Key), Value}
                               || {Key, Value} <- maps:to_list(defaults())]),
    {section, Items, any, [], any, map, [], Defaults, default, when_present}.

http_spec() ->
    Text = {option, binary, any, [], default},
    Files = #{<<"certfile">> => Text, <<"keyfile">> => Text},
    Items = #{<<"ip_address">> => Text,
              <<"port">> => {option, integer, any, [], default},
              <<"memory_limit">> => {option, integer, positive, [], default},
              <<"username">> => Text,
              <<"password">> => {option, binary, any, fun mongoose_domain_secret:wrap/1, default},
              <<"password_file">> => Text,
              <<"tls">> => {section, Files, any, [<<"certfile">>, <<"keyfile">>], any, map, [], #{},
                            default, when_present}},
    {section, Items, any, [], any, map, [], #{}, default, when_present}.

%% @doc Every option has a value, but for the sections that may be absent.
-spec with_defaults(opts()) -> opts().
with_defaults(Opts) ->
    maps:merge(defaults(), Opts).

%% @doc From now on these are in use.
-spec use(opts()) -> ok.
use(Opts) ->
    persistent_term:put(?MODULE, Opts).

%% @doc The options in use: the defaults before the first start of the service.
-spec used() -> opts().
used() ->
    persistent_term:get(?MODULE, defaults()).

%% @doc The options that the host's own parts know.
-spec of_host(opts()) -> opts().
of_host(Opts) ->
    maps:with([db_pool, event_cleaning_interval, event_max_age], Opts).

%% @doc The options that the follower knows.
-spec of_follower() -> #{max_age := pos_integer(), audit_interval := pos_integer()}.
of_follower() ->
    #{event_max_age := MaxAge, audit_interval := Interval} = used(),
    #{max_age => min(MaxAge, ?LONGEST), audit_interval => min(Interval, ?LONGEST)}.

defaults() ->
    #{db_pool => global, event_cleaning_interval => 1800, event_max_age => 7200,
      audit_interval => 300, max_connections => 2, initial_load_timeout => 10}.
