%% @doc A pool of database connections as MongooseIM configures it (`outgoing_pools'), as options of
%% ours.
%%
%% It knows MongooseIM's options by name, and makes no connection. Every option is mapped, or
%% refused by its name; where it does not mean quite the same here, a note says so. None is silently
%% weakened. `doc/mongooseim.md' has the table.
-module(mongoose_domain_pool).

-include_lib("public_key/include/public_key.hrl").

-export([find/2, host_type/1, database/1]).

-export_type([pool/0, database/0]).

-type pool() :: #{type := atom(), scope := atom() | binary(), tag := atom(), conn_opts := map(),
                  _ => _}.

-type database() ::
    #{options := mongoose_domain_nif:database_options(),
      %% Milliseconds: the longest time from one failure to the next try.
      max_retry := pos_integer(),
      %% In which way an option does not mean quite the same here.
      notes := [binary()]}.

%% Milliseconds: a connection without use is closed after this time.
-define(IDLE_TIMEOUT, 10000).
-define(MAX_RETRY, 30000).

-define(OPTIONS, [driver, host, port, database, username, password, query_timeout,
                  keepalive_interval, max_start_interval, tls]).
-define(TLS_OPTIONS, [verify_mode, cacertfile, certfile, keyfile, password, versions, ciphers,
                      server_name_indication, required, crl_files, disconnect_on_failure]).
-define(KEY_TYPES, ['RSAPrivateKey', 'ECPrivateKey', 'DSAPrivateKey', 'PrivateKeyInfo']).

%% @doc The pool that `db_pool' names: `global', or a host type, whose own pool comes before one for
%% each host type and before the global one.
-spec find(DbPool :: atom() | binary(), [pool()]) ->
    {ok, pool()} | {error, mongoose_domain_nif:failure()}.
find(DbPool, Pools) ->
    Scopes = case DbPool of
                 global -> [global];
                 HostType -> [host_type(HostType), host_type, global]
             end,
    Found = [Pool || Scope <- Scopes,
                     #{type := rdbms, tag := default, scope := Its} = Pool <- Pools,
                     Its =:= Scope],
    case Found of
        [Pool | _] ->
            {ok, Pool};
        [] ->
            Text = text("there is no pool for db_pool = ~ts: outgoing_pools has none of type rdbms "
                        "with the tag default and the scope ~ts",
                        [DbPool, lists:join(" or ", [text("~ts", [Scope]) || Scope <- Scopes])]),
            {error, {no_database, Text}}
    end.

%% @doc The host type that `db_pool' names.
-spec host_type(atom() | binary()) -> binary().
host_type(Name) when is_atom(Name) -> atom_to_binary(Name);
host_type(Name) when is_binary(Name) -> Name.

%% @doc How to connect to the database of a pool. An option that is wrong, or that we cannot do, is
%% an error with its name.
-spec database(pool()) -> {ok, database()} | {error, mongoose_domain_nif:failure()}.
database(#{conn_opts := #{} = Opts}) ->
    try
        Driver = driver(Opts),
        {Tls, Notes} = tls(Driver, Opts),
        Server = #{driver => Driver, host => string(host, Opts), port => port(Opts),
                   database => string(database, Opts), username => string(username, Opts),
                   password => string(password, Opts), tls => Tls},
        Limits = #{query_timeout => positive(query_timeout, Opts, 5000),
                   idle_timeout => seconds(keepalive_interval, Opts, ?IDLE_TIMEOUT)},
        {ok, #{options => maps:merge(Server, Limits),
               max_retry => seconds(max_start_interval, Opts, ?MAX_RETRY),
               notes => [text("~ts: unknown here, and ignored", [Name])
                         || Name <- maps:keys(Opts) -- ?OPTIONS] ++ Notes}}
    catch
        throw:{refused, Text} -> {error, {bad_database_option, Text}}
    end;
database(_WithSecrets) ->
    {error, {bad_database_option, <<"the pool in outgoing_pools.rdbms has no section "
                                    "connection">>}}.

driver(#{driver := pgsql}) -> postgres;
driver(#{driver := cockroachdb}) -> postgres;
driver(#{driver := mysql}) -> mysql;
driver(#{driver := No}) -> refuse(driver, "~tp: it must be pgsql, mysql or cockroachdb", [No]);
driver(#{}) -> refuse(driver, "it is missing", []).

port(#{port := Port}) when is_integer(Port), Port > 0, Port < 65536 -> Port;
port(#{port := Port}) -> refuse(port, "~tp: it must be 1 to 65535", [Port]);
port(#{driver := mysql}) -> 3306;
port(#{driver := cockroachdb}) -> 26257;
port(#{driver := pgsql}) -> 5432.

%% TLS

tls(_Driver, Opts) when not is_map_key(tls, Opts) ->
    {#{mode => off}, []};
tls(Driver, #{tls := #{} = Tls} = Opts) ->
    known(Tls, ?TLS_OPTIONS, "tls."),
    ciphers(Tls),
    versions(Tls),
    crl_files(Tls),
    disconnect_on_failure(Tls),
    {Mode, Notes} = mode(Driver, Tls, Opts),
    {maps:merge(#{mode => Mode}, maps:merge(authorities(Mode, Tls), client(Tls))), Notes};
tls(_Driver, #{}) ->
    refuse(tls, "it must be a section", []).

ciphers(#{ciphers := Ciphers}) when Ciphers =/= [], Ciphers =/= <<>> ->
    refuse("tls.ciphers", "the cipher suites cannot be chosen: they are those of rustls, all of "
           "them with forward secrecy and authenticated encryption. Remove the option", []);
ciphers(#{}) ->
    ok.

versions(#{versions := Versions}) when not is_list(Versions) ->
    refuse("tls.versions", "it must be a list", []);
versions(#{versions := Versions}) ->
    case ['tlsv1.2', 'tlsv1.3'] -- Versions of
        [] -> ok;
        _ -> refuse("tls.versions", "~tp: TLS 1.2 and 1.3 are always both allowed: name both, or "
                    "remove the option. Older versions are never used", [Versions])
    end;
versions(#{}) ->
    ok.

%% These two are in every section of MongooseIM 6.4 and newer, with values that ask for nothing.

crl_files(#{crl_files := Files}) when Files =/= [] ->
    refuse("tls.crl_files", "certificate revocation lists are not supported here. Remove the "
           "option", []);
crl_files(#{}) ->
    ok.

disconnect_on_failure(#{disconnect_on_failure := Value}) when Value =/= true ->
    refuse("tls.disconnect_on_failure", "~tp: it must be true, because a server that fails the "
           "verification is always disconnected. For a server that should not be verified, set "
           "verify_mode = \"none\"", [Value]);
disconnect_on_failure(#{}) ->
    ok.

mode(Driver, Tls, Opts) ->
    IsRequired = is_required(Driver, Tls),
    {Verified, NameNotes} = verified(maps:get(server_name_indication, Tls, #{}), Opts),
    case maps:get(verify_mode, Tls, peer) of
        none when IsRequired ->
            {required, []};
        none ->
            {preferred, []};
        Peer when Peer =:= peer; Peer =:= selfsigned_peer ->
            {Verified, [<<"tls.verify_mode: a self-signed certificate is only accepted if it is in "
                      "tls.cacertfile, and is not one of an authority">> || Peer =/= peer]
                   ++ [<<"tls.required: a server without TLS is refused, because it could not be "
                         "verified">> || not IsRequired]
                   ++ NameNotes};
        Other ->
            refuse("tls.verify_mode", "~tp: it must be peer, selfsigned_peer or none", [Other])
    end.

is_required(postgres, Tls) ->
    boolean("tls.required", maps:get(required, Tls, false));
is_required(mysql, _Tls) ->
    true.

%% As OTP's ssl does it: without server name indication the certificate may be for any host.
verified(Sni, _Opts) when not is_map(Sni) ->
    refuse("tls.server_name_indication", "it must be a section", []);
verified(Sni, Opts) ->
    same_host(Sni, Opts),
    known(Sni, [enabled, host, protocol], "tls.server_name_indication."),
    case boolean("tls.server_name_indication.enabled", maps:get(enabled, Sni, true)) of
        true ->
            {verify_full, protocol(maps:get(protocol, Sni, default))};
        false ->
            {verify_ca, [<<"tls.server_name_indication.enabled: the certificate may be for any "
                           "host, but the host's name is sent to the server all the same">>]}
    end.

same_host(#{host := Name}, Opts) ->
    Host = string(host, Opts),
    case characters("tls.server_name_indication.host", Name) of
        Host -> ok;
        Other -> refuse("tls.server_name_indication.host",
                        "~ts: it must be the same as the option host (~ts): set host to this "
                        "name", [Other, Host])
    end;
same_host(_Sni, _Opts) ->
    ok.

protocol(https) ->
    [];
protocol(default) ->
    [<<"tls.server_name_indication.protocol: as with https, a certificate for *.example.com is "
       "accepted for db.example.com">>];
protocol(Other) ->
    refuse("tls.server_name_indication.protocol", "~tp: it must be default or https", [Other]).

authorities(Mode, Tls) when Mode =:= verify_ca; Mode =:= verify_full ->
    case Tls of
        #{cacertfile := _} -> #{ca => {file, valid_authorities(path(cacertfile, Tls))}};
        #{} -> #{ca => {pem, system_authorities()}}
    end;
authorities(_NotVerified, _Tls) ->
    #{}.

%% Those that OTP trusts: of the operating system, or loaded by public_key:cacerts_load/1.
system_authorities() ->
    Certificates = try public_key:cacerts_get() catch error:_ -> [] end,
    case [{'Certificate', Der, not_encrypted}
          || #cert{der = Der, otp = Decoded} <- Certificates, is_in_force(Decoded)] of
        [] ->
            refuse("tls.cacertfile", "it is missing, and the operating system has no certificate "
                   "authorities to trust: name a file of them, or install those of the system "
                   "(Debian's package ca-certificates)", []);
        Authorities ->
            public_key:pem_encode(Authorities)
    end.

%% OTP's ssl refuses an authority that has expired, rustls trusts it. A file that cannot be read is
%% left to Rust.
valid_authorities(File) ->
    Pem = case file:read_file(File) of
              {ok, Contents} -> Contents;
              {error, _} -> <<>>
          end,
    _ = [refuse("tls.cacertfile", "~ts: a certificate in it has expired or is not valid yet: "
                "remove it", [File])
         || {'Certificate', Der, not_encrypted} <- public_key:pem_decode(Pem),
            not is_in_force(decoded(Der, File))],
    File.

decoded(Der, File) ->
    try public_key:pkix_decode_cert(Der, otp)
    catch
        error:_ -> refuse("tls.cacertfile", "~ts: a certificate in it is damaged: remove it",
                          [File])
    end.

is_in_force(#'OTPCertificate'{tbsCertificate = #'OTPTBSCertificate'{validity = Validity}}) ->
    #'Validity'{notBefore = From, notAfter = Until} = Validity,
    Now = calendar:system_time_to_rfc3339(erlang:system_time(second), [{offset, "Z"}]),
    Digits = [Char || Char <- Now, Char >= $0, Char =< $9],
    time(From) =< Digits andalso Digits =< time(Until).

%% As YYYYMMDDHHMMSS; RFC 5280, 4.1.2.5.
time({utcTime, [Tens, Ones | Rest]}) ->
    Century = if Tens >= $5 -> "19"; true -> "20" end,
    Century ++ [Tens, Ones | lists:droplast(Rest)];
time({generalTime, Text}) ->
    lists:droplast(Text).

%% Our own certificate. Its key may be in the same file.
client(#{certfile := _, keyfile := _} = Tls) ->
    #{client => {path(certfile, Tls), key(path(keyfile, Tls), Tls)}};
client(#{certfile := _} = Tls) ->
    Both = path(certfile, Tls),
    #{client => {Both, key(Both, Tls)}};
client(#{keyfile := _}) ->
    refuse("tls.keyfile", "it needs tls.certfile, too", []);
client(#{}) ->
    #{}.

%% Rust reads a key that is not encrypted, again with each connection.
key(File, Tls) ->
    case [Entry || {Type, _, _} = Entry <- public_key:pem_decode(read_key(File)),
                   lists:member(Type, ?KEY_TYPES)] of
        [{_, _, not_encrypted} | _] -> {file, File};
        [Encrypted | _] -> {pem, decrypted(Encrypted, Tls)};
        [] -> refuse("tls.keyfile", "~ts: there is no private key in it (PEM)", [File])
    end.

read_key(File) ->
    case file:read_file(File) of
        {ok, Pem} -> Pem;
        {error, Reason} -> refuse("tls.keyfile", "~ts: ~ts", [File, file:format_error(Reason)])
    end.

decrypted(Entry, #{password := Configured}) ->
    Password = characters("tls.password", Configured),
    try
        Key = public_key:pem_entry_decode(Entry, binary_to_list(Password)),
        public_key:pem_encode([public_key:pem_entry_encode('PrivateKeyInfo', Key)])
    catch
        _:_ -> refuse("tls.password", "it does not decrypt the private key", [])
    end;
decrypted(_Entry, #{}) ->
    refuse("tls.password", "it is missing, and the private key is encrypted", []).

%% Values

known(Opts, Known, Prefix) ->
    case maps:keys(Opts) -- Known of
        [] -> ok;
        [Unknown | _] -> refuse([Prefix, atom_to_list(Unknown)], "unknown here: remove it", [])
    end.

%% For a password, too: the value is not shown.
string(Name, Opts) ->
    case Opts of
        #{Name := Value} -> characters(Name, Value);
        #{} -> refuse(Name, "it is missing", [])
    end.

characters(Name, Value) ->
    case utf8(Value) of
        Text when is_binary(Text) -> Text;
        _ -> refuse(Name, "it must be a string", [])
    end.

%% A list may hold bytes or code points.
utf8(Value) when is_list(Value); is_binary(Value) ->
    try iolist_to_binary(Value) of
        Bytes ->
            case unicode:characters_to_binary(Bytes) of
                Bytes -> Bytes;
                _ -> of_code_points(Value)
            end
    catch
        error:badarg -> of_code_points(Value)
    end;
utf8(_) ->
    none.

of_code_points(List) when is_list(List) ->
    try unicode:characters_to_binary(List)
    catch error:badarg -> none
    end;
of_code_points(_) ->
    none.

path(Name, Tls) ->
    Option = ["tls.", atom_to_list(Name)],
    case characters(Option, maps:get(Name, Tls)) of
        <<>> -> refuse(Option, "it must name a file", []);
        File -> filename:absname(File)
    end.

boolean(_Name, Value) when is_boolean(Value) -> Value;
boolean(Name, Value) -> refuse(Name, "~tp: it must be true or false", [Value]).

positive(Name, Opts, Default) ->
    case maps:get(Name, Opts, Default) of
        Value when is_integer(Value), Value > 0 -> Value;
        Other -> refuse(Name, "~tp: it must be a positive integer", [Other])
    end.

%% Of seconds, if there are any: milliseconds, at most these.
seconds(Name, Opts, Most) ->
    case Opts of
        #{Name := _} -> min(Most, timer:seconds(positive(Name, Opts, 1)));
        #{} -> Most
    end.

-spec refuse(atom() | iodata(), io:format(), [term()]) -> no_return().
refuse(Name, Format, Args) ->
    throw({refused, text("the option ~ts of the connection in outgoing_pools.rdbms: " ++ Format,
                         [Name | Args])}).

text(Format, Args) ->
    unicode:characters_to_binary(io_lib:format(Format, Args)).
