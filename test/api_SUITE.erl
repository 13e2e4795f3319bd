%% @doc The public API of a standalone node (section 4 of the contract), on every kind of database.
-module(api_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-define(D, <<"a.example">>).
-define(STATIC, <<"static.example">>).
-define(T, <<"type1">>).
-define(T2, <<"type2">>).
%% A host type that is configured nowhere.
-define(T9, <<"type9">>).
-define(API, mongoose_domain_api).

suite() ->
    [{ct_hooks, [db_cth]}].

all() ->
    db_helper:databases().

groups() ->
    Cases = [
        %% insert_domain
        an_inserted_domain_is_enabled_and_routes,
        inserting_the_same_pair_again_changes_nothing,
        inserting_a_disabled_domain_again_keeps_it_disabled,
        a_domain_of_another_host_type_is_a_duplicate,
        a_domain_that_is_being_removed_is_a_duplicate,
        many_callers_that_insert_the_same_domain_write_one_event,
        of_many_callers_with_two_host_types_one_host_type_wins,
        %% delete_domain, request_delete_domain
        a_deleted_domain_is_gone_when_the_call_returns,
        a_requested_deletion_returns_at_once_and_is_finished_by_itself,
        only_an_existing_domain_with_its_own_host_type_is_deleted,
        a_deleted_domain_can_be_inserted_again_with_another_host_type,
        a_disabled_domain_can_be_deleted,
        %% enable_domain, disable_domain
        a_disabled_domain_does_not_route_until_it_is_enabled,
        enabling_and_disabling_write_one_event_per_change,
        only_an_existing_domain_is_enabled_and_disabled,
        a_domain_marked_for_deletion_is_not_enabled_or_disabled,
        %% Refusals that all of them share
        a_static_domain_is_refused_by_everything_that_asks_the_database,
        an_unknown_host_type_is_refused,
        a_refusal_writes_nothing,
        %% Reads
        details_are_what_the_database_says,
        host_types_of_domains_are_read_from_the_table,
        domains_of_a_host_type_are_the_static_and_the_routing_ones,
        all_domains_are_all_rows_with_their_status,
        all_domains_are_more_than_a_page,
        %% Names
        bad_names_are_refused_before_any_sql_runs,
        names_of_250_multibyte_characters_pass_through_everything,
        names_are_data_and_not_sql,
        names_of_another_form_are_marked_logged_and_removed_as_they_are,
        many_names_of_another_form_are_logged_by_one_event,
        %% Passwords
        a_password_is_kept_as_details_of_scram,
        a_password_is_set_checked_replaced_and_deleted,
        a_password_that_other_code_has_set_cannot_be_checked,
        only_a_domain_that_is_there_or_static_has_a_password,
        what_cannot_be_a_password_is_refused,
        %% Failures of the database
        without_a_database_the_service_is_disabled,
        a_failing_database_is_a_db_error_and_the_table_still_answers,
        a_database_that_fails_in_the_middle_of_a_removal_is_a_db_error,
        %% Removal
        a_handler_runs_when_the_domain_is_deleting_and_routes_no_more,
        all_handlers_run_before_the_row_goes,
        a_failing_handler_leaves_the_domain_deleting,
        a_deleted_handler_does_not_run,
        a_handler_takes_the_place_of_one_with_the_same_id,
        %% Listeners
        a_listener_is_told_of_changes_in_their_order,
        a_listener_is_told_of_a_new_host_type_as_removed_and_added,
        a_crashing_listener_disturbs_nobody,
        a_deleted_listener_is_not_told,
        %% The cleaner
        old_events_are_deleted_and_the_newest_is_kept,
        no_event_is_deleted_before_its_age,
        following_goes_on_over_a_cleaned_log],
    [{Kind, [], Cases} || {group, Kind} <- db_helper:databases()].

init_per_testcase(_Case, Config) ->
    start(?config(url, Config), #{}),
    Config.

end_per_testcase(Case, Config) when
        Case =:= bad_names_are_refused_before_any_sql_runs;
        Case =:= a_failing_database_is_a_db_error_and_the_table_still_answers ->
    node_helper:stop_standalone(),
    %% Also when the case has failed.
    mend_database(Config);
end_per_testcase(_Case, _Config) ->
    node_helper:stop_standalone().

%% insert_domain

an_inserted_domain_is_enabled_and_routes(Config) ->
    ?assertEqual({ok, details(?D, ?T, enabled)}, ?API:insert_domain(?D, ?T)),
    sync(),
    ?assertEqual({ok, ?T}, ?API:get_host_type(?D)),
    ?assertEqual({ok, details(?D, ?T, enabled)}, ?API:get_domain_details(?D)),
    ?assertEqual("a.example|type1|1", rows(Config)),
    ?assertEqual(1, events(?D, Config)).

inserting_the_same_pair_again_changes_nothing(Config) ->
    insert(?D),
    Row = sql("SELECT * FROM domain_settings", Config),
    ?assertEqual({ok, details(?D, ?T, enabled)}, ?API:insert_domain(?D, ?T)),
    ?assertEqual(Row, sql("SELECT * FROM domain_settings", Config)),
    ?assertEqual(1, events(?D, Config)).

inserting_a_disabled_domain_again_keeps_it_disabled(Config) ->
    insert(?D),
    {ok, _} = ?API:disable_domain(?D),
    ?assertEqual({ok, details(?D, ?T, disabled)}, ?API:insert_domain(?D, ?T)),
    ?assertEqual("a.example|type1|0", rows(Config)),
    ?assertEqual(2, events(?D, Config)),
    sync(),
    ?assertEqual({error, not_found}, ?API:get_host_type(?D)).

a_domain_of_another_host_type_is_a_duplicate(Config) ->
    insert(?D),
    Duplicate = {duplicate, <<"Domain already exists">>},
    ?assertEqual(Duplicate, ?API:insert_domain(?D, ?T2)),
    ?assertEqual("a.example|type1|1", rows(Config)),
    {ok, _} = ?API:disable_domain(?D),
    ?assertEqual(Duplicate, ?API:insert_domain(?D, ?T2)),
    ?assertEqual("a.example|type1|0", rows(Config)).

a_domain_that_is_being_removed_is_a_duplicate(Config) ->
    leave_deleting(?D),
    ?assertEqual({duplicate, <<"Domain already exists">>}, ?API:insert_domain(?D, ?T)),
    ?assertEqual({duplicate, <<"Domain already exists">>}, ?API:insert_domain(?D, ?T2)),
    ?assertEqual("a.example|type1|2", rows(Config)).

many_callers_that_insert_the_same_domain_write_one_event(Config) ->
    Results = in_parallel([fun() -> ?API:insert_domain(?D, ?T) end || _ <- lists:seq(1, 20)]),
    ?assertEqual([{ok, details(?D, ?T, enabled)}], lists:usort(Results)),
    ?assertEqual(1, events(?D, Config)),
    ?assertEqual("a.example|type1|1", rows(Config)).

of_many_callers_with_two_host_types_one_host_type_wins(Config) ->
    HostTypes = lists:append(lists:duplicate(10, [?T, ?T2])),
    Results = in_parallel([fun() -> ?API:insert_domain(?D, T) end || T <- HostTypes]),
    {ok, #{host_type := Winner}} = ?API:get_domain_details(?D),
    [Loser] = [?T, ?T2] -- [Winner],
    Expected = #{Winner => {ok, details(?D, Winner, enabled)},
                 Loser => {duplicate, <<"Domain already exists">>}},
    ?assertEqual([maps:get(T, Expected) || T <- HostTypes], Results),
    ?assertEqual(1, events(?D, Config)).

%% delete_domain, request_delete_domain

a_deleted_domain_is_gone_when_the_call_returns(Config) ->
    insert(?D),
    ?assertEqual({ok, details(?D, ?T, deleted)}, ?API:delete_domain(?D, ?T)),
    ?assertEqual("", rows(Config)),
    ?assertEqual({error, not_found}, ?API:get_host_type(?D)),
    ?assertEqual({not_found, <<"Given domain does not exist">>}, ?API:get_domain_details(?D)),
    %% Inserted, marked for deletion, deleted.
    ?assertEqual(3, events(?D, Config)).

a_requested_deletion_returns_at_once_and_is_finished_by_itself(Config) ->
    insert(?D),
    Blocked = block_removals(),
    ?assertEqual({ok, details(?D, ?T, deleting)}, ?API:request_delete_domain(?D, ?T)),
    ?assertEqual({ok, details(?D, ?T, deleting)}, ?API:get_domain_details(?D)),
    sync(),
    ?assertEqual({error, not_found}, ?API:get_host_type(?D)),
    %% Idempotent.
    ?assertEqual({ok, details(?D, ?T, deleting)}, ?API:request_delete_domain(?D, ?T)),
    ?assertEqual(2, events(?D, Config)),
    unblock_removals(Blocked),
    test_helper:wait_until(fun() -> rows(Config) =:= "" end),
    test_helper:wait_until(fun() -> events(?D, Config) =:= 3 end).

only_an_existing_domain_with_its_own_host_type_is_deleted(Config) ->
    insert(?D),
    lists:foreach(
        fun(Delete) ->
            ?assertEqual({wrong_host_type, <<"Wrong host type was provided">>}, Delete(?D, ?T2)),
            ?assertEqual({not_found, <<"Given domain does not exist">>},
                         Delete(<<"other.example">>, ?T))
        end, deletes()),
    ?assertEqual("a.example|type1|1", rows(Config)),
    ?assertEqual(1, all_events(Config)),
    sync(),
    ?assertEqual({ok, ?T}, ?API:get_host_type(?D)).

a_deleted_domain_can_be_inserted_again_with_another_host_type(_Config) ->
    insert(?D),
    {ok, _} = ?API:delete_domain(?D, ?T),
    ?assertEqual({ok, details(?D, ?T2, enabled)}, ?API:insert_domain(?D, ?T2)),
    sync(),
    ?assertEqual({ok, ?T2}, ?API:get_host_type(?D)).

a_disabled_domain_can_be_deleted(Config) ->
    insert(?D),
    {ok, _} = ?API:disable_domain(?D),
    ?assertEqual({ok, details(?D, ?T, deleted)}, ?API:delete_domain(?D, ?T)),
    ?assertEqual("", rows(Config)).

%% enable_domain, disable_domain

a_disabled_domain_does_not_route_until_it_is_enabled(_Config) ->
    insert(?D),
    ?assertEqual({ok, #{domain => ?D, status => disabled}}, ?API:disable_domain(?D)),
    sync(),
    ?assertEqual({error, not_found}, ?API:get_host_type(?D)),
    ?assertEqual({ok, details(?D, ?T, disabled)}, ?API:get_domain_details(?D)),
    ?assertEqual({ok, #{domain => ?D, status => enabled}}, ?API:enable_domain(?D)),
    sync(),
    ?assertEqual({ok, ?T}, ?API:get_host_type(?D)),
    ?assertEqual({ok, details(?D, ?T, enabled)}, ?API:get_domain_details(?D)).

enabling_and_disabling_write_one_event_per_change(Config) ->
    insert(?D),
    Counts = [begin
                  {ok, #{domain := ?D, status := Status}} = Change(?D),
                  {Status, events(?D, Config)}
              end || Change <- [fun ?API:enable_domain/1, fun ?API:disable_domain/1,
                                fun ?API:disable_domain/1, fun ?API:enable_domain/1,
                                fun ?API:enable_domain/1]],
    ?assertEqual([{enabled, 1}, {disabled, 2}, {disabled, 2}, {enabled, 3}, {enabled, 3}],
                 Counts).

only_an_existing_domain_is_enabled_and_disabled(Config) ->
    NotFound = {not_found, <<"Given domain does not exist">>},
    ?assertEqual(NotFound, ?API:enable_domain(?D)),
    ?assertEqual(NotFound, ?API:disable_domain(?D)),
    ?assertEqual(0, all_events(Config)).

a_domain_marked_for_deletion_is_not_enabled_or_disabled(Config) ->
    leave_deleting(?D),
    Events = events(?D, Config),
    ?assertEqual({deleted, <<"Domain has been deleted">>}, ?API:enable_domain(?D)),
    ?assertEqual({deleted, <<"Domain has been deleted">>}, ?API:disable_domain(?D)),
    ?assertEqual("a.example|type1|2", rows(Config)),
    ?assertEqual(Events, events(?D, Config)).

%% Refusals that all of them share

a_static_domain_is_refused_by_everything_that_asks_the_database(Config) ->
    Results = [Call(?STATIC, ?T) || {_Name, Call} <- calls_with_a_domain()],
    ?assertEqual([{static, <<"Domain is static">>}], lists:usort(Results)),
    ?assertEqual({0, ""}, {all_events(Config), rows(Config)}).

an_unknown_host_type_is_refused(Config) ->
    Unknown = {unknown_host_type, <<"Unknown host type">>},
    add_row(?D, ?T9, 1, Config),
    ?assertEqual(Unknown, ?API:insert_domain(<<"new.example">>, ?T9)),
    ?assertEqual(Unknown, ?API:insert_domain(?D, ?T9)),
    [?assertEqual(Unknown, Delete(?D, ?T9)) || Delete <- deletes()],
    ?assertEqual(Unknown, ?API:enable_domain(?D)),
    ?assertEqual(Unknown, ?API:disable_domain(?D)),
    ?assertEqual(Unknown, ?API:check_host_type_and_get_domains(?T9)),
    ?assertEqual("a.example|type9|1", rows(Config)),
    ?assertEqual(1, all_events(Config)),
    sync(),
    ?assertEqual({error, not_found}, ?API:get_host_type(?D)).

a_refusal_writes_nothing(Config) ->
    insert(?D),
    Before = {rows(Config), all_events(Config)},
    Refusals = [?API:insert_domain(?D, ?T2), ?API:insert_domain(?STATIC, ?T),
                ?API:insert_domain(<<"b.example">>, ?T9), ?API:delete_domain(?D, ?T2),
                ?API:request_delete_domain(?D, ?T2), ?API:delete_domain(<<"b.example">>, ?T),
                ?API:enable_domain(<<"b.example">>), ?API:disable_domain(?STATIC)],
    ?assertEqual([duplicate, static, unknown_host_type, wrong_host_type, wrong_host_type,
                  not_found, not_found, static], [Reason || {Reason, _Text} <- Refusals]),
    ?assertEqual(Before, {rows(Config), all_events(Config)}).

%% Reads

details_are_what_the_database_says(Config) ->
    ?assertEqual({not_found, <<"Given domain does not exist">>}, ?API:get_domain_details(?D)),
    ?assertEqual({static, <<"Domain is static">>}, ?API:get_domain_details(?STATIC)),
    Statuses = [{<<"off.example">>, ?T, 0, disabled}, {<<"on.example">>, ?T2, 1, enabled},
                {<<"going.example">>, ?T9, 2, deleting}],
    [begin
         add_row(Domain, HostType, Number, Config),
         ?assertEqual({ok, details(Domain, HostType, Status)}, ?API:get_domain_details(Domain))
     end || {Domain, HostType, Number, Status} <- Statuses].

host_types_of_domains_are_read_from_the_table(_Config) ->
    insert(?D),
    [begin
         ?assertEqual({ok, ?T}, Get(?D)),
         ?assertEqual({ok, ?T}, Get(?STATIC)),
         ?assertEqual({error, not_found}, Get(<<"other.example">>))
     end || Get <- [fun ?API:get_host_type/1, fun ?API:get_domain_host_type/1]],
    ?assertEqual([{?STATIC, ?T}], ?API:get_all_static()),
    ?assertEqual([{?D, ?T}], ?API:get_all_dynamic()).

domains_of_a_host_type_are_the_static_and_the_routing_ones(_Config) ->
    lists:foreach(fun insert/1, [?D, <<"b.example">>, <<"off.example">>]),
    {ok, _} = ?API:insert_domain(<<"c.example">>, ?T2),
    {ok, _} = ?API:disable_domain(<<"off.example">>),
    sync(),
    OfType1 = [?D, <<"b.example">>, ?STATIC],
    ?assertEqual(OfType1, lists:sort(?API:get_domains_by_host_type(?T))),
    {ok, Checked} = ?API:check_host_type_and_get_domains(?T),
    ?assertEqual(OfType1, lists:sort(Checked)),
    ?assertEqual([<<"c.example">>], ?API:get_domains_by_host_type(?T2)),
    ?assertEqual({ok, [<<"c.example">>]}, ?API:check_host_type_and_get_domains(?T2)),
    ?assertEqual([], ?API:get_domains_by_host_type(?T9)),
    ?assertEqual({unknown_host_type, <<"Unknown host type">>},
                 ?API:check_host_type_and_get_domains(?T9)),
    ?assertError(function_clause, ?API:get_domains_by_host_type(type1)).

all_domains_are_all_rows_with_their_status(Config) ->
    ?assertEqual([], ?API:get_all_domains()),
    Rows = [{<<"off.example">>, ?T, 0, disabled}, {<<"on.example">>, ?T2, 1, enabled},
            {<<"going.example">>, ?T9, 2, deleting}, {?STATIC, ?T2, 1, enabled}],
    [add_row(Domain, HostType, Number, Config) || {Domain, HostType, Number, _} <- Rows],
    ?assertEqual([details(Domain, HostType, Status) || {Domain, HostType, _, Status} <- Rows],
                 ?API:get_all_domains()).

all_domains_are_more_than_a_page(Config) ->
    Row = fun(N) -> {<<"d", (integer_to_binary(N))/binary, ".example">>, N rem 2} end,
    Check = fun(From, To) ->
                add_rows([Row(N) || N <- lists:seq(From, To)], Config),
                Expected = [details(Domain, ?T, maps:get(Status, #{0 => disabled, 1 => enabled}))
                            || {Domain, Status} <- [Row(N) || N <- lists:seq(1, To)]],
                ?assertEqual(Expected, ?API:get_all_domains())
            end,
    Check(1, 999),
    Check(1000, 1000),
    Check(1001, 1001),
    Check(1002, 3500).

%% Names

bad_names_are_refused_before_any_sql_runs(Config) ->
    check_bad_names(),
    break_database(Config),
    check_bad_names(),
    mend_database(Config),
    ?assertEqual({0, ""}, {all_events(Config), rows(Config)}).

names_of_250_multibyte_characters_pass_through_everything(Config) ->
    Domain = unicode:characters_to_binary(lists:duplicate(250, 16#1F600)),
    HostType = unicode:characters_to_binary(lists:duplicate(250, $é)),
    node_helper:stop_standalone(),
    start(?config(url, Config), #{host_types => [HostType]}),
    ?assertEqual({ok, details(Domain, HostType, enabled)}, ?API:insert_domain(Domain, HostType)),
    sync(),
    ?assertEqual({ok, HostType}, ?API:get_host_type(Domain)),
    ?assertEqual({ok, details(Domain, HostType, enabled)}, ?API:get_domain_details(Domain)),
    ?assertEqual({ok, [Domain]}, ?API:check_host_type_and_get_domains(HostType)),
    ?assertMatch({ok, #{status := disabled}}, ?API:disable_domain(Domain)),
    ?assertMatch({ok, #{status := enabled}}, ?API:enable_domain(Domain)),
    node_helper:stop_standalone(),
    start(?config(url, Config), #{host_types => [HostType]}),
    ?assertEqual([{Domain, HostType}], ?API:get_all_dynamic()),
    ?assertEqual([details(Domain, HostType, enabled)], ?API:get_all_domains()),
    Self = self(),
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(T, D) -> Self ! {T, D}, ok end),
    ?assertEqual({ok, details(Domain, HostType, deleted)}, ?API:delete_domain(Domain, HostType)),
    ?assertEqual([{HostType, Domain}], messages()),
    ?assertEqual("", rows(Config)).

names_are_data_and_not_sql(Config) ->
    Names = [<<"a'; DROP TABLE domain_settings; --">>, <<"back\\slash">>, <<"\\N">>, <<"\\.">>,
             <<"tab\tnew\nline\rreturn">>, <<"$1">>, <<"%s_">>, <<"\"quoted\"">>, <<" ">>,
             <<1>>, <<"A">>, <<"a">>],
    lists:foreach(fun insert/1, Names),
    Pairs = lists:sort([{Name, ?T} || Name <- Names]),
    ?assertEqual(Pairs, lists:sort(?API:get_all_dynamic())),
    node_helper:stop_standalone(),
    start(?config(url, Config), #{}),
    ?assertEqual(Pairs, lists:sort(?API:get_all_dynamic())),
    %% Capital letters are not nameprepped.
    Marked = [case re:run(Name, "[A-Z]") of
                  nomatch -> details(Name, ?T, enabled);
                  _ -> (details(Name, ?T, enabled))#{routable => false}
              end || Name <- Names],
    ?assertEqual(Marked, ?API:get_all_domains()),
    [?assertEqual({ok, details(Name, ?T, deleted)}, ?API:delete_domain(Name, ?T))
     || Name <- Names],
    ?assertEqual("", rows(Config)).

names_of_another_form_are_marked_logged_and_removed_as_they_are(Config) ->
    log_helper:capture_logs(),
    Others = [<<"UPPER.Example">>, <<"stra\x{df}e.example"/utf8>>, <<"no\x{a0}break.example"/utf8>>,
              <<"e\x{301}.example"/utf8>>, <<"\x{e000}.example"/utf8>>],
    %% As nameprep would have them, and some that it leaves alone.
    Prepared = [<<"upper.example">>, <<"strasse.example">>, <<"no break.example">>,
                <<"\x{e9}.example"/utf8>>, <<"upper.example ">>, <<" ">>, <<"\x{1f600}"/utf8>>],
    [add_row(Name, ?T, 1, Config) || Name <- Others ++ Prepared],
    sync(),
    Marked = [(details(Name, ?T, enabled))#{routable => false} || Name <- Others],
    ?assertEqual(Marked ++ [details(Name, ?T, enabled) || Name <- Prepared],
                 ?API:get_all_domains()),
    [?assertEqual({ok, Details}, ?API:get_domain_details(Domain))
     || #{domain := Domain} = Details <- Marked],
    ?assertEqual({ok, details(<<"upper.example">>, ?T, enabled)},
                 ?API:get_domain_details(<<"upper.example">>)),
    %% In the table they are as in MongooseIM; a load says once that nothing asks for them.
    true = ets:delete_all_objects(log_helper),
    ok = service_domain_db:restart(),
    sync(),
    [?assertEqual({ok, ?T}, ?API:get_host_type(Name)) || Name <- Others ++ Prepared],
    ?assertEqual(ok, service_domain_db:verify()),
    [#{level := warning, count := 5, domains := Logged, db_host_type := [?T | _]}] =
        log_helper:logged(ignore_domain_from_db_with_invalid_name),
    ?assertEqual(lists:sort(Others), lists:sort(Logged)),
    log_helper:release_logs(),
    %% Handlers get the name as it is.
    Self = self(),
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(T, D) -> Self ! {T, D}, ok end),
    [?assertEqual({ok, details(Name, ?T, deleted)}, ?API:delete_domain(Name, ?T))
     || Name <- Others],
    ?assertEqual([{?T, Name} || Name <- Others], messages()),
    ?assertEqual([details(Name, ?T, enabled) || Name <- Prepared], ?API:get_all_domains()).

many_names_of_another_form_are_logged_by_one_event(Config) ->
    db_helper:fill(?config(url, Config), "UPPER", ".example", 2500),
    log_helper:capture_logs(),
    ok = service_domain_db:restart(),
    sync(),
    [#{count := 2500, domains := First}] =
        log_helper:logged(ignore_domain_from_db_with_invalid_name),
    ?assertEqual(10, length(First)),
    log_helper:release_logs().

%% Passwords

%% The example of RFC 7677: by the key of the server its signature comes out.
a_password_is_kept_as_details_of_scram(_Config) ->
    Salt = <<"W22ZaJ0SNY7soEsUEjb6gQ==">>,
    Details = mongoose_domain_password:details(<<"pencil">>, base64:decode(Salt), 4096),
    <<"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$", Keys/binary>> = Details,
    [StoredKey, ServerKey] = string:split(Keys, ":"),
    Nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
    Messages = ["n=user,r=rOprNGfwEbeRWgbNEkqO,r=", Nonce, ",s=", Salt, ",i=4096,c=biws,r=", Nonce],
    Sign = fun(Key) -> crypto:mac(hmac, sha256, Key, Messages) end,
    ?assertEqual(<<"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=">>,
                 base64:encode(Sign(base64:decode(ServerKey)))),
    %% And the client's proof leads back to the stored key.
    Proof = base64:decode(<<"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=">>),
    ClientKey = crypto:exor(Proof, Sign(base64:decode(StoredKey))),
    ?assertEqual(base64:decode(StoredKey), crypto:hash(sha256, ClientKey)).

a_password_is_set_checked_replaced_and_deleted(Config) ->
    {ok, _} = ?API:insert_domain(?D, ?T),
    {not_found, _} = ?API:check_domain_password(?D, <<"one">>),
    [begin
         ?assertEqual({ok, <<"Domain password set successfully">>},
                      ?API:set_domain_password(?D, Password)),
         ?assertEqual(ok, ?API:check_domain_password(?D, Password))
     end || Password <- [<<"one">>, <<"two">>]],
    ?assertEqual({wrong_password, <<"Wrong password">>}, ?API:check_domain_password(?D, <<"one">>)),
    %% é, in one character and in two.
    {ok, _} = ?API:set_domain_password(?D, <<"\xe9"/utf8>>),
    ?assertEqual(ok, ?API:check_domain_password(?D, <<"e\x{301}"/utf8>>)),
    ?assertEqual("1", sql("SELECT COUNT(*) FROM domain_admins", Config)),
    ?assertEqual({ok, <<"Domain password deleted successfully">>}, ?API:delete_domain_password(?D)),
    ?assertEqual({not_found, <<"Given domain has no password">>}, ?API:delete_domain_password(?D)),
    ?assertEqual("0", sql("SELECT COUNT(*) FROM domain_admins", Config)).

a_password_that_other_code_has_set_cannot_be_checked(Config) ->
    insert(?D),
    sql(["INSERT INTO domain_admins (domain, pass_details) VALUES ('", ?D, "', '{\"keys\": 1}')"],
        Config),
    ?assertEqual({unreadable_password, <<"The password was not set by this application, but by "
                                         "MongooseIM or other code: only that can check it">>},
                 ?API:check_domain_password(?D, <<"one">>)),
    {ok, _} = ?API:set_domain_password(?D, <<"one">>),
    ?assertEqual(ok, ?API:check_domain_password(?D, <<"one">>)).

only_a_domain_that_is_there_or_static_has_a_password(Config) ->
    NotFound = {not_found, <<"Given domain does not exist">>},
    ?assertEqual(NotFound, ?API:set_domain_password(?D, <<"one">>)),
    ?assertMatch({ok, _}, ?API:set_domain_password(<<"static.example">>, <<"one">>)),
    {ok, _} = ?API:insert_domain(?D, ?T),
    {ok, _} = ?API:set_domain_password(?D, <<"one">>),
    {ok, _} = ?API:delete_domain(?D, ?T),
    ?assertEqual("static.example", sql("SELECT domain FROM domain_admins", Config)),
    {ok, _} = ?API:insert_domain(?D, ?T),
    ?assertMatch({not_found, _}, ?API:check_domain_password(?D, <<"one">>)).

what_cannot_be_a_password_is_refused(_Config) ->
    {ok, _} = ?API:insert_domain(?D, ?T),
    [?assertEqual({invalid_password, <<"Password ", Text/binary>>},
                  ?API:set_domain_password(?D, Password))
     || {Password, Text} <- [{<<>>, <<"must not be empty">>}, {<<255>>, <<"must be UTF-8">>},
                             {"one", <<"must be a binary">>},
                             {binary:copy(<<"a">>, 1025),
                              <<"must not have more than 1024 bytes">>}]],
    ?assertMatch({invalid_domain, _}, ?API:set_domain_password(<<>>, <<"one">>)).

%% Failures of the database

without_a_database_the_service_is_disabled(_Config) ->
    node_helper:stop_standalone(),
    {ok, _} = node_helper:start_standalone(#{}),
    Disabled = {service_disabled, <<"No database is configured">>},
    [?assertEqual({Name, Disabled}, {Name, Call(?D, ?T)}) || {Name, Call} <- database_calls()],
    ?assertEqual({ok, ?T}, ?API:get_host_type(?STATIC)),
    ?assertEqual({error, not_found}, ?API:get_host_type(?D)),
    ?assertEqual({ok, [?STATIC]}, ?API:check_host_type_and_get_domains(?T)),
    ?assertEqual({static, <<"Domain is static">>}, ?API:insert_domain(?STATIC, ?T)),
    ?assertMatch({unknown_host_type, _}, ?API:insert_domain(?D, ?T9)),
    ?assertMatch({invalid_domain, _}, ?API:insert_domain(<<>>, ?T)).

a_failing_database_is_a_db_error_and_the_table_still_answers(Config) ->
    insert(?D),
    break_database(Config),
    Calls = database_calls(),
    Results = in_parallel([fun() -> {Name, Call(?D, ?T)} end || {Name, Call} <- Calls]),
    lists:foreach(fun({Name, Result}) -> {Name, ok} = {Name, check_db_error(Result)} end, Results),
    ?assertEqual({ok, ?T}, ?API:get_host_type(?D)),
    ?assertEqual({ok, ?T}, ?API:get_domain_host_type(?D)),
    ?assertEqual([{?STATIC, ?T}], ?API:get_all_static()),
    ?assertEqual([{?D, ?T}], ?API:get_all_dynamic()),
    ?assertEqual([?D, ?STATIC], lists:sort(?API:get_domains_by_host_type(?T))),
    {ok, Checked} = ?API:check_host_type_and_get_domains(?T),
    ?assertEqual([?D, ?STATIC], lists:sort(Checked)),
    %% What needs no database is still told apart.
    ?assertMatch({static, _}, ?API:get_domain_details(?STATIC)),
    ?assertMatch({unknown_host_type, _}, ?API:insert_domain(?D, ?T9)),
    mend_database(Config),
    test_helper:wait_until(fun() ->
        {ok, details(?D, ?T, enabled)} =:= ?API:get_domain_details(?D)
    end),
    %% The service has connections of its own, and may wait for its next try.
    node_helper:loaded(),
    insert(<<"b.example">>),
    ?assertEqual({ok, ?T}, ?API:get_host_type(?D)),
    ?assertMatch({ok, _}, ?API:disable_domain(?D)),
    ?assertEqual({ok, details(?D, ?T, deleted)}, ?API:delete_domain(?D, ?T)),
    ?assertEqual([details(<<"b.example">>, ?T, enabled)], ?API:get_all_domains()).

a_database_that_fails_in_the_middle_of_a_removal_is_a_db_error(Config) ->
    insert(?D),
    Url = ?config(url, Config),
    ok = mongoose_domain_hooks:add_removal_handler(h, fun(_, _) -> hide_tables(Url) end),
    ok = check_db_error(?API:delete_domain(?D, ?T)),
    node_helper:remover_done(),
    ok = mongoose_domain_hooks:delete_removal_handler(h),
    show_tables(Url),
    ?assertEqual("a.example|type1|2", rows(Config)),
    ?assertEqual({ok, details(?D, ?T, deleted)}, ?API:delete_domain(?D, ?T)),
    ?assertEqual("", rows(Config)).

%% Removal

a_handler_runs_when_the_domain_is_deleting_and_routes_no_more(_Config) ->
    Self = self(),
    Report = fun(HostType, Domain) ->
                 {ok, #{status := Status}} = ?API:get_domain_details(Domain),
                 Self ! {HostType, Domain, Status, ?API:get_host_type(Domain)},
                 ok
             end,
    ok = mongoose_domain_hooks:add_removal_handler(reporter, Report),
    insert(?D),
    {ok, #{status := deleted}} = ?API:delete_domain(?D, ?T),
    ?assertEqual([{?T, ?D, deleting, {error, not_found}}], messages()),
    insert(<<"b.example">>),
    {ok, #{status := deleting}} = ?API:request_delete_domain(<<"b.example">>, ?T),
    gone(<<"b.example">>),
    ?assertEqual([{?T, <<"b.example">>, deleting, {error, not_found}}], messages()).

all_handlers_run_before_the_row_goes(Config) ->
    insert(?D),
    Self = self(),
    [ok = mongoose_domain_hooks:add_removal_handler(
              N, fun(_, _) -> Self ! {N, rows(Config)}, ok end) || N <- lists:seq(1, 5)],
    {ok, #{status := deleted}} = ?API:delete_domain(?D, ?T),
    ?assertEqual([{N, "a.example|type1|2"} || N <- lists:seq(1, 5)], lists:sort(messages())),
    ?assertEqual("", rows(Config)).

a_failing_handler_leaves_the_domain_deleting(Config) ->
    Failures = [fun(_, _) -> {error, broken} end, fun(_, _) -> error(broken) end,
                fun(_, _) -> exit(broken) end, fun(_, _) -> throw(broken) end,
                fun(_, _) -> true end],
    insert(?D),
    [begin
         ok = mongoose_domain_hooks:add_removal_handler(broken, Fun),
         {removal_failed, Text} = ?API:delete_domain(?D, ?T),
         ?assertEqual(<<"The removal handler broken failed">>, Text),
         ?assertEqual({ok, details(?D, ?T, deleting)}, ?API:get_domain_details(?D)),
         ?assertEqual({error, not_found}, ?API:get_host_type(?D))
     end || Fun <- Failures],
    node_helper:remover_done(),
    ok = mongoose_domain_hooks:add_removal_handler(broken, fun(_, _) -> ok end),
    ?assertEqual({ok, details(?D, ?T, deleted)}, ?API:delete_domain(?D, ?T)),
    ?assertEqual("", rows(Config)).

a_deleted_handler_does_not_run(_Config) ->
    insert(?D),
    Self = self(),
    [ok = mongoose_domain_hooks:add_removal_handler(Id, fun(_, _) -> Self ! Id, ok end)
     || Id <- [one, two]],
    ok = mongoose_domain_hooks:delete_removal_handler(one),
    ok = mongoose_domain_hooks:delete_removal_handler(never_added),
    {ok, #{status := deleted}} = ?API:delete_domain(?D, ?T),
    ?assertEqual([two], messages()).

a_handler_takes_the_place_of_one_with_the_same_id(_Config) ->
    insert(?D),
    Self = self(),
    [ok = mongoose_domain_hooks:add_removal_handler(id, fun(_, _) -> Self ! Which, ok end)
     || Which <- [first, second]],
    {ok, #{status := deleted}} = ?API:delete_domain(?D, ?T),
    ?assertEqual([second], messages()).

%% Listeners

a_listener_is_told_of_changes_in_their_order(_Config) ->
    listen(),
    Domains = [<<"d", (integer_to_binary(N))/binary, ".example">> || N <- lists:seq(1, 20)],
    lists:foreach(fun insert/1, Domains),
    [begin {ok, _} = ?API:disable_domain(D), sync() end || D <- Domains],
    [begin {ok, _} = ?API:enable_domain(D), sync() end || D <- Domains],
    [{ok, _} = ?API:delete_domain(D, ?T) || D <- Domains],
    Expected = [{What, ?T, D} || What <- [added, removed, added, removed], D <- Domains],
    ?assertEqual(Expected, told(length(Expected))),
    %% Nothing is told of what changes nothing.
    insert(?D),
    {ok, _} = ?API:insert_domain(?D, ?T),
    {ok, _} = ?API:enable_domain(?D),
    sync(),
    insert(<<"last.example">>),
    ?assertEqual([{added, ?T, ?D}, {added, ?T, <<"last.example">>}], told(2)).

a_listener_is_told_of_a_new_host_type_as_removed_and_added(Config) ->
    insert(?D),
    listen(),
    db_helper:sql(?config(url, Config),
                  "UPDATE domain_settings SET host_type = 'type2';"
                  "INSERT INTO domain_events (domain) VALUES ('a.example');"),
    service_domain_db:force_check_for_updates(),
    sync(),
    ?assertEqual([{removed, ?T, ?D}, {added, ?T2, ?D}], told(2)).

a_crashing_listener_disturbs_nobody(_Config) ->
    Processes = [mongoose_domain_hooks, mongoose_domain_core, service_domain_db],
    Before = [whereis(Name) || Name <- Processes],
    %% Listeners come in the order of their ids: one before the good one, one after it.
    ok = mongoose_domain_hooks:add_listener(a, fun(_, _, _) -> error(broken) end),
    listen(),
    ok = mongoose_domain_hooks:add_listener(z, fun(_, _, _) -> exit(broken) end),
    insert(?D),
    {ok, _} = ?API:delete_domain(?D, ?T),
    insert(<<"b.example">>),
    ?assertEqual([{added, ?T, ?D}, {removed, ?T, ?D}, {added, ?T, <<"b.example">>}], told(3)),
    ?assertEqual(Before, [whereis(Name) || Name <- Processes]).

a_deleted_listener_is_not_told(_Config) ->
    Self = self(),
    ok = mongoose_domain_hooks:add_listener(a, fun(_, _, _) -> Self ! not_deleted end),
    insert(?D),
    receive not_deleted -> ok after 60000 -> ct:fail(not_told) end,
    listen(),
    ok = mongoose_domain_hooks:delete_listener(a),
    insert(<<"b.example">>),
    ?assertEqual([{added, ?T, <<"b.example">>}], told(1)),
    ?assertEqual([], messages()).

%% The cleaner

old_events_are_deleted_and_the_newest_is_kept(Config) ->
    node_helper:stop_standalone(),
    start(?config(url, Config), cleaning(1, 1)),
    [begin
         lists:foreach(fun insert/1, Domains),
         Newest = sql("SELECT max(id) FROM domain_events", Config),
         test_helper:wait_until(fun() ->
             sql("SELECT id FROM domain_events", Config) =:= Newest
         end)
     end || Domains <- [[?D, <<"b.example">>, <<"c.example">>], [<<"d.example">>],
                        [<<"e.example">>, <<"f.example">>]]],
    ?assertEqual("f.example", sql("SELECT domain FROM domain_events", Config)),
    ?assertEqual(6, length(?API:get_all_dynamic())).

no_event_is_deleted_before_its_age(Config) ->
    node_helper:stop_standalone(),
    start(?config(url, Config), cleaning(1, 3600)),
    lists:foreach(fun insert/1, [?D, <<"b.example">>, <<"c.example">>]),
    meck:new(mongoose_domain_sql, [passthrough, no_link]),
    try
        %% Until it has noted the newest event, and noted again when it could have deleted.
        ok = meck:wait(3, mongoose_domain_sql, request, [newest_event], 60000),
        ?assertEqual(0, meck:num_calls(mongoose_domain_sql, request,
                                       [{delete_events_below, '_', '_'}]))
    after
        meck:unload(mongoose_domain_sql)
    end,
    ?assertEqual("a.example\nb.example\nc.example",
                 sql("SELECT domain FROM domain_events ORDER BY id", Config)).

following_goes_on_over_a_cleaned_log(Config) ->
    node_helper:stop_standalone(),
    start(?config(url, Config), cleaning(1, 1)),
    lists:foreach(fun insert/1, [?D, <<"b.example">>]),
    test_helper:wait_until(fun() -> all_events(Config) =:= 1 end),
    listen(),
    insert(<<"c.example">>),
    {ok, _} = ?API:disable_domain(?D),
    sync(),
    %% Followed, not loaded again: the others are not touched.
    ?assertEqual([{added, ?T, <<"c.example">>}, {removed, ?T, ?D}], told(2)),
    ?assertEqual([<<"b.example">>, <<"c.example">>],
                 lists:sort([D || {D, ?T} <- ?API:get_all_dynamic()])).

%% Helpers

start(Url, Env) ->
    {ok, _} = node_helper:start_standalone(Env#{database => Url}),
    node_helper:remover_done(),
    sync().

sync() ->
    pong = service_domain_db:sync_local().

cleaning(Interval, MaxAge) ->
    #{service => #{event_cleaning_interval => Interval, event_max_age => MaxAge}}.

insert(Domain) ->
    {ok, #{status := enabled}} = ?API:insert_domain(Domain, ?T),
    sync(),
    {ok, ?T} = ?API:get_host_type(Domain).

gone(Domain) ->
    test_helper:wait_until(fun() ->
        {not_found, <<"Given domain does not exist">>} =:= ?API:get_domain_details(Domain)
    end).

%% Inserted, and left in the middle of its removal.
leave_deleting(Domain) ->
    insert(Domain),
    ok = mongoose_domain_hooks:add_removal_handler(broken, fun(_, _) -> {error, broken} end),
    {removal_failed, _} = ?API:delete_domain(Domain, ?T),
    {ok, #{status := deleting}} = ?API:get_domain_details(Domain).

%% Removals wait in their handler, until they are told to go on.
block_removals() ->
    Gate = spawn_link(fun() -> receive open -> gate_is_open() end end),
    Wait = fun(_, _) ->
               Monitor = monitor(process, Gate),
               Gate ! {self(), may_i_pass},
               receive
                   pass -> demonitor(Monitor, [flush]), ok;
                   {'DOWN', Monitor, process, Gate, Reason} -> {error, Reason}
               end
           end,
    ok = mongoose_domain_hooks:add_removal_handler(gate, Wait),
    Gate.

unblock_removals(Gate) ->
    Gate ! open.

gate_is_open() ->
    receive {From, may_i_pass} -> From ! pass, gate_is_open() end.

listen() ->
    Self = self(),
    Tell = fun(What, HostType, Domain) -> Self ! {told, {What, HostType, Domain}} end,
    ok = mongoose_domain_hooks:add_listener(good, Tell).

told(0) -> [];
told(N) ->
    receive {told, Change} -> [Change | told(N - 1)]
    after 60000 -> [{still_expected, N}]
    end.

messages() ->
    receive Message -> [Message | messages()]
    after 0 -> []
    end.

details(Domain, HostType, Status) ->
    #{domain => Domain, host_type => HostType, status => Status}.

deletes() ->
    [fun ?API:delete_domain/2, fun ?API:request_delete_domain/2].

calls_with_a_domain() ->
    [{insert_domain, fun ?API:insert_domain/2},
     {delete_domain, fun ?API:delete_domain/2},
     {request_delete_domain, fun ?API:request_delete_domain/2},
     {enable_domain, fun(Domain, _) -> ?API:enable_domain(Domain) end},
     {disable_domain, fun(Domain, _) -> ?API:disable_domain(Domain) end},
     {get_domain_details, fun(Domain, _) -> ?API:get_domain_details(Domain) end}].

database_calls() ->
    [{get_all_domains, fun(_, _) -> ?API:get_all_domains() end} | calls_with_a_domain()].

check_db_error({db_error, Text}) when is_binary(Text), byte_size(Text) > 0 -> ok;
check_db_error(Other) -> {not_a_db_error, Other}.

check_bad_names() ->
    Long = unicode:characters_to_binary(lists:duplicate(251, $é)),
    BadNames = [{<<>>, <<"must not be empty">>},
                {binary:copy(<<"a">>, 251), <<"must not be longer than 250 characters">>},
                {Long, <<"must not be longer than 250 characters">>},
                {binary:copy(<<"a">>, 1000000), <<"must not be longer than 250 characters">>},
                {<<"a", 255, ".example">>, <<"must be valid UTF-8">>},
                {<<"a", 0, ".example">>, <<"must not contain a NUL character">>},
                {"a.example", <<"must be a binary">>}, {'a.example', <<"must be a binary">>},
                {1, <<"must be a binary">>}, {<<1:3>>, <<"must be a binary">>}],
    lists:foreach(fun({Name, Text}) -> check_bad_name(Name, Text) end, BadNames).

check_bad_name(Name, Text) ->
    BadDomain = {invalid_domain, <<"Domain ", Text/binary>>},
    [?assertEqual({Call, BadDomain}, {Call, Fun(Name, ?T)})
     || {Call, Fun} <- calls_with_a_domain()],
    BadHostType = {invalid_host_type, <<"Host type ", Text/binary>>},
    [?assertEqual(BadHostType, Fun(?D, Name)) || Fun <- [fun ?API:insert_domain/2 | deletes()]],
    ?assertEqual(BadHostType, ?API:check_host_type_and_get_domains(Name)).

%% The results in the order of the functions.
in_parallel(Funs) ->
    Runs = [spawn_monitor(fun() -> exit({result, Fun()}) end) || Fun <- Funs],
    [receive
         {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
         {'DOWN', Monitor, process, Pid, Crash} -> {crashed, Crash}
     end || {Pid, Monitor} <- Runs].

%% SQL beside our own code

sql(Statements, Config) ->
    db_helper:sql(?config(url, Config), Statements).

rows(Config) ->
    sql("SELECT domain || '|' || host_type || '|' || status FROM domain_settings ORDER BY id",
        Config).

events(Domain, Config) ->
    Select = ["SELECT count(*) FROM domain_events WHERE domain = '", Domain, "'"],
    list_to_integer(sql(Select, Config)).

all_events(Config) ->
    list_to_integer(sql("SELECT count(*) FROM domain_events WHERE domain <> ''", Config)).

add_row(Domain, HostType, Status, Config) ->
    "" = sql(["INSERT INTO domain_settings (domain, host_type, status) VALUES ('", Domain, "', '",
              HostType, "', ", integer_to_list(Status), ");"
              "INSERT INTO domain_events (domain) VALUES ('", Domain, "');"], Config),
    service_domain_db:force_check_for_updates().

add_rows(Rows, Config) ->
    Values = [["('", Domain, "', '", ?T, "', ", integer_to_list(Status), ")"]
              || {Domain, Status} <- Rows],
    "" = sql(["INSERT INTO domain_settings (domain, host_type, status) VALUES ",
              lists:join(", ", Values)], Config).

%% A server is stopped. The embedded database makes its tables when they are not there, so tables of
%% another shape take their place.
break_database(Config) ->
    case ?config(kind, Config) of
        sqlite -> hide_tables(?config(url, Config));
        _Server -> db_helper:control("stop", Config)
    end.

mend_database(Config) ->
    case ?config(kind, Config) of
        sqlite -> show_tables(?config(url, Config));
        _Server -> db_helper:control("start", Config)
    end.

hide_tables(Url) ->
    "" = db_helper:sql(Url, "BEGIN;"
                            "ALTER TABLE domain_settings RENAME TO hidden_settings;"
                            "CREATE TABLE domain_settings (other INTEGER);"
                            "ALTER TABLE domain_events RENAME TO hidden_events;"
                            "CREATE TABLE domain_events (other INTEGER);"
                            "COMMIT;"),
    ok.

%% Without effect on tables that are not hidden.
show_tables(Url) ->
    try db_helper:sql(Url, "BEGIN;"
                           "ALTER TABLE hidden_settings RENAME TO shown_settings;"
                           "DROP TABLE domain_settings;"
                           "ALTER TABLE shown_settings RENAME TO domain_settings;"
                           "ALTER TABLE hidden_events RENAME TO shown_events;"
                           "DROP TABLE domain_events;"
                           "ALTER TABLE shown_events RENAME TO domain_events;"
                           "COMMIT;") of
        "" -> ok
    catch
        error:{sql_failed, _, _} -> ok
    end.
