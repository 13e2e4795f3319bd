%% @doc What is kept of a password: details of SCRAM-SHA-256 (RFC 7677), by which a password can be
%% checked, but not found out. Written as `SCRAM-SHA-256$Iterations:Salt$StoredKey:ServerKey', the
%% last three in Base64, after RFC 5803.
-module(mongoose_domain_password).

-export([check/1, details/1, details/3, is_right/2]).

-ignore_xref([details/3]).

-define(ITERATIONS, 10000).
-define(SALT_BYTES, 16).
-define(KEY_BYTES, 32).
-define(MAX_BYTES, 1024).

%% @doc Can it be a password?
-spec check(term()) -> ok | {error, Text :: binary()}.
check(<<>>) ->
    {error, <<"must not be empty">>};
check(Password) when is_binary(Password), byte_size(Password) > ?MAX_BYTES ->
    {error, iolist_to_binary(io_lib:format("must not have more than ~b bytes", [?MAX_BYTES]))};
check(Password) when is_binary(Password) ->
    case unicode:characters_to_nfkc_binary(Password) of
        Normal when is_binary(Normal) -> ok;
        _ -> {error, <<"must be UTF-8">>}
    end;
check(_Other) ->
    {error, <<"must be a binary">>}.

%% @doc What to keep of it.
-spec details(Password :: binary()) -> binary().
details(Password) ->
    details(Password, crypto:strong_rand_bytes(?SALT_BYTES), ?ITERATIONS).

%% @doc The same with this salt, and so many iterations.
-spec details(Password :: binary(), Salt :: binary(), Iterations :: pos_integer()) -> binary().
details(Password, Salt, Iterations) ->
    %% Equal texts are to be equal passwords, however their characters are composed.
    Normal = unicode:characters_to_nfkc_binary(Password),
    Salted = crypto:pbkdf2_hmac(sha256, Normal, Salt, Iterations, ?KEY_BYTES),
    StoredKey = crypto:hash(sha256, crypto:mac(hmac, sha256, Salted, <<"Client Key">>)),
    ServerKey = crypto:mac(hmac, sha256, Salted, <<"Server Key">>),
    iolist_to_binary(["SCRAM-SHA-256$", integer_to_list(Iterations), ":", base64:encode(Salt), "$",
                      base64:encode(StoredKey), ":", base64:encode(ServerKey)]).

%% @doc Is it the password of which this was kept? `unknown': it was not kept by this module.
-spec is_right(Password :: binary(), Details :: binary()) -> boolean() | unknown.
is_right(Password, Details) ->
    case string:split(Details, "$", all) of
        [<<"SCRAM-SHA-256">>, Parameters, _Keys] ->
            [Iterations, Salt] = string:split(Parameters, ":"),
            %% A time that tells something tells it of these details, not of the password.
            details(Password, base64:decode(Salt), binary_to_integer(Iterations)) =:= Details;
        _Other ->
            unknown
    end.
