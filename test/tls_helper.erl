%% @doc Certificates for the suites.
-module(tls_helper).

-export([make_certificates/1, certificate/2]).

-include_lib("common_test/include/ct.hrl").

%% @doc Makes certificates; script/test-certificates says which.
make_certificates(Config) ->
    {ok, _} = application:ensure_all_started(public_key),
    Dir = filename:join(?config(priv_dir, Config), "certificates"),
    "" = os:cmd(filename:join([test_helper:root_dir(), "script/test-certificates "]) ++ Dir),
    [{certificates, Dir} | Config].

%% @doc The file of one of them.
certificate(Name, Config) ->
    filename:join(?config(certificates, Config), Name ++ ".pem").
