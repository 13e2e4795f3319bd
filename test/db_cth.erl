%% @doc A Common Test hook for suites that run their cases in a group for each kind of database.
%% The group has a server while it lasts, if its kind needs one; each case has a fresh database,
%% whose URL is `url' in its configuration.
-module(db_cth).

-export([init/2, pre_init_per_group/4, post_end_per_group/5, pre_init_per_testcase/4]).

-define(IS_KIND(Group), (Group =:= sqlite orelse Group =:= postgres orelse Group =:= mysql)).

init(_Id, _Options) ->
    {ok, none}.

pre_init_per_group(_Suite, Group, Config, State) when ?IS_KIND(Group) ->
    {db_helper:init_database(Group, Config), State};
pre_init_per_group(_Suite, _Group, Config, State) ->
    {Config, State}.

post_end_per_group(_Suite, Group, Config, Return, State) when ?IS_KIND(Group) ->
    ok = db_helper:end_database(Config),
    {Return, State};
post_end_per_group(_Suite, _Group, _Config, Return, State) ->
    {Return, State}.

pre_init_per_testcase(_Suite, _Case, Config, State) ->
    case proplists:is_defined(kind, Config) of
        true -> {[{url, db_helper:fresh_url(Config)} | Config], State};
        false -> {Config, State}
    end.
