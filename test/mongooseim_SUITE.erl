%% @doc script/mongooseim, on stand-ins for MongooseIM (test/mongooseim): our modules get in, run in
%% embedded mode, and get out again without a trace; and whatever stands against that is said before
%% anything is changed.
-module(mongooseim_SUITE).

-compile([export_all, nowarn_export_all]).

-include_lib("common_test/include/ct.hrl").
-include_lib("stdlib/include/assert.hrl").

-import(installer, [make_ours/1, script/2, script/3, run/3, run_in/3, kill_at/5,
                    refused/3, refused/4, refused_unprivileged/3, says/2, paused/5,
                    snapshot/1, snapshot_of/1, times/1, same/2,
                    mim/2, lib/2, overwrite/3, overwrite_file/2, tools/3, command/3, shell/1]).

-define(BUILT, "_build/default/lib/mongoose_domain_native").
-define(LIB, "lib/mongooseim-6.4.0/").
-define(CORE, "ebin/mongoose_domain_core.beam").
-define(SERVICE, "ebin/service_domain_db.beam").
-define(SUBDOMAINS, "ebin/mongoose_subdomain_core.beam").
-define(LIBRARY, "priv/mongoose_domain_nif.so").
-define(PROGRAM, "priv/mongoose-domain-http").
-define(MANIFEST, "mongoose_domain_native.sha256").

all() ->
    [{group, release}, {group, refusals}, {group, interruptions}, {group, tree},
     {group, postgres}, {group, mysql}].

groups() ->
    [{release, [],
      [a_release_is_installed_and_uninstalled_without_a_trace,
       the_modules_of_a_release_change_with_it,
       subdomains_are_computed_in_a_release_that_wants_them,
       subdomains_are_kept_by_later_installs,
       status_is_told_while_a_node_runs,
       the_manifest_is_checked_by_sha256sum,
       a_second_install_changes_nothing,
       an_uninstall_of_nothing_changes_nothing,
       a_dry_run_says_what_would_change_and_changes_nothing,
       files_get_the_mode_and_the_owner_of_the_stock_ones,
       a_directory_that_was_there_stays,
       another_version_of_ours_is_replaced_and_the_stock_files_stay,
       an_upgrade_of_mongooseim_over_ours_is_kept_by_the_next_install,
       the_stock_files_put_over_ours_are_seen_and_replaced_again,
       damaged_files_of_ours_are_seen_and_repaired,
       the_version_in_use_is_chosen_of_several,
       a_release_without_a_vm_is_checked_by_that_on_the_path,
       what_is_not_built_is_built_first,
       a_package_is_installed_without_what_builds,
       options_may_come_first_and_help_is_given]},
     {refusals, [],
      [other_versions_of_mongooseim_are_refused,
       a_version_that_cannot_be_read_is_asked_for,
       a_library_for_another_libc_is_refused_with_the_words_of_the_vm,
       a_program_for_another_libc_is_refused_with_its_words,
       modules_for_a_later_otp_are_refused_with_the_words_of_the_vm,
       an_older_otp_is_refused,
       a_vm_that_does_not_start_is_refused_with_its_words,
       a_release_without_a_vm_and_without_erl_is_refused,
       a_vm_that_cannot_be_asked_is_refused,
       a_read_only_directory_is_refused,
       a_running_node_is_refused,
       a_directory_that_is_no_mongooseim_is_refused,
       several_versions_without_a_choice_are_refused,
       a_mongooseim_without_the_modules_is_refused,
       a_stock_file_that_no_manifest_names_is_refused,
       a_file_in_the_way_is_refused,
       a_lost_stock_file_is_refused,
       a_damaged_drop_in_is_refused,
       a_file_that_is_not_known_is_not_removed,
       a_file_of_ours_that_the_script_did_not_put_there_is_not_kept_as_a_stock_one,
       a_build_that_fails_is_refused,
       a_damaged_package_is_refused,
       a_package_for_a_source_tree_is_refused,
       two_at_once_are_refused,
       a_node_that_starts_after_the_checks_is_refused,
       a_node_that_starts_while_files_are_replaced_is_told,
       wrong_usage_is_refused_with_the_usage]},
     {interruptions, [parallel],
      [an_install_may_be_interrupted_at_every_step,
       an_install_over_another_version_may_be_interrupted_at_every_step,
       an_install_over_an_upgrade_of_mongooseim_may_be_interrupted_at_every_step,
       an_install_over_an_interrupted_one_may_be_interrupted_at_every_step,
       an_uninstall_may_be_interrupted_at_every_step,
       an_install_into_a_source_tree_may_be_interrupted_at_every_step,
       a_step_that_fails_is_told_with_the_ways_out]},
     {tree, [],
      [a_source_tree_is_built_with_ours_and_without_a_trace_after_that,
       a_source_tree_is_built_with_ours_at_another_place_and_with_subdomains,
       releases_of_a_profile_are_built_with_ours,
       a_release_that_relx_built_is_installed_and_uninstalled,
       status_and_dry_run_of_a_source_tree,
       the_version_of_a_source_tree_is_read_where_it_is_told,
       a_source_tree_that_does_not_tell_its_version_is_refused,
       a_source_tree_without_the_modules_is_refused,
       a_place_that_is_taken_is_refused,
       a_place_outside_of_the_source_tree_is_refused,
       another_place_while_installed_is_refused,
       a_changed_script_of_ours_is_refused]},
     {postgres, [], [domains_are_loaded_and_followed_by_the_pool_of_mongooseim,
                     domains_are_changed_by_http_through_the_api_of_mongooseim,
                     the_metrics_of_mongooseim_have_the_state_of_the_service]},
     {mysql, [], [domains_are_loaded_and_followed_by_the_pool_of_mongooseim]}].

%% The release and our own directory are made once, and copied or shared by the cases.
init_per_suite(Config0) ->
    Dir = ?config(priv_dir, Config0),
    Root = test_helper:root_dir(),
    [load(filename:join([Root, "test/mongooseim", Name])) || Name <- ["stand_in", "installer"]],
    Config = [{root, Root}, {built, filename:join(Dir, "stand_in")},
              {ours, filename:join(Dir, "ours")}, {asker, node_helper:start_peer(asker)} | Config0],
    stand_in:build(?config(built, Config), "6.4.0"),
    make_ours(?config(ours, Config)),
    Config.

end_per_suite(Config) ->
    node_helper:stop_node(?config(asker, Config)).

%% Not compiled with the suites.
load(File) ->
    {ok, Module, Code} = compile:file(File, [binary, report]),
    {module, Module} = code:load_binary(Module, File, Code).

init_per_group(Kind, Config) when Kind =:= postgres; Kind =:= mysql ->
    Certified = tls_helper:make_certificates(Config),
    db_helper:init_tls_database(Kind, ?config(certificates, Certified), Certified);
init_per_group(Group, Config) ->
    [{group, Group} | Config].

end_per_group(_Group, Config) ->
    db_helper:end_database(Config).

init_per_testcase(Case, Config) ->
    Dir = filename:join(?config(priv_dir, Config), Case),
    Mim = filename:join(Dir, "mim"),
    ok = filelib:ensure_dir(Mim),
    case ?config(group, Config) of
        tree -> stand_in:copy_tree(Mim);
        interruptions -> ok;
        _ -> shell(["cp -a ", ?config(built, Config), " ", Mim])
    end,
    [{dir, Dir}, {mim, Mim} | Config].

end_per_testcase(_Case, Config) ->
    shell(["rm -rf ", ?config(dir, Config)]).

%% Releases

a_release_is_installed_and_uninstalled_without_a_trace(Config) ->
    Before = snapshot(Config),
    {0, NotInstalled} = script("status", Config),
    says(NotInstalled, ["MongooseIM 6.4.0, release", "mongoose_domain_native is not installed"]),
    {0, Installed} = script("install", Config),
    says(Installed, ["mongoose_domain_native 0.1.0 is now in .*/lib/mongooseim-6.4.0"]),
    {0, Intact} = script("status", Config),
    says(Intact, ["mongoose_domain_native 0.1.0 in", ?CORE " +ours; MongooseIM's own is kept",
                  "ebin/mongoose_domain_nif.beam +ours\n", ?LIBRARY " +ours\n", "\nintact"]),
    ?assertNot(filelib:is_file(lib("ebin/mongoose_domain_native.app", Config))),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

the_modules_of_a_release_change_with_it(Config) ->
    ?assert(runs_stock(Config)),
    {0, _} = script("install", Config),
    with_node(#{}, Config, fun(Node) ->
        is_ours(Node),
        ?assertEqual(lib("ebin/mongoose_domain_nif.beam", Config),
                     call(Node, code, which, [mongoose_domain_nif]))
    end),
    {0, _} = script("uninstall", Config),
    ?assert(runs_stock(Config)).

subdomains_are_computed_in_a_release_that_wants_them(Config) ->
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    {0, Without} = script("status", Config),
    says(Without, ["mongoose_subdomain_core is MongooseIM's own: install --subdomains puts ours"]),
    with_node(#{}, Config, fun(Node) ->
        ?assert(call(Node, mongoose_subdomain_core, is_stock, []))
    end),
    {0, _} = script("install --subdomains", Config),
    {0, Status} = script("status", Config),
    says(Status, [?SUBDOMAINS " +ours; MongooseIM's own is kept", "\nintact"]),
    with_node(#{}, Config, fun subdomains_are_computed/1),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

%% Nobody is told of an addition until there is a handler.
subdomains_are_computed(Node) ->
    Call = fun(Function, Args) -> call(Node, mongoose_subdomain_core, Function, Args) end,
    Told = fun(Name) ->
               _ = Call(sync, []),
               [Function || {_, Function, [First | _]} <- call(Node, mongooseim_app, calls, []),
                            First =:= Name orelse is_map_key(subdomain, First)
                                           andalso map_get(subdomain, First) =:= Name]
           end,
    Insert = fun(Domain) ->
                 ok = call(Node, mongoose_domain_core, insert, [Domain, <<"type1">>, source])
             end,
    ?assertEqual(embedded, call(Node, code, get_mode, [])),
    ok = Call(register_subdomain, [<<"type1">>, {prefix, <<"muc.">>}, handler]),
    ?assertEqual({ok, #{host_type => <<"type1">>, subdomain => <<"muc.static.example">>,
                        subdomain_pattern => {prefix, <<"muc.">>},
                        parent_domain => <<"static.example">>,
                        packet_handler => {handler, #{host_type => <<"type1">>}}}},
                 Call(get_subdomain_info, [<<"muc.static.example">>])),
    Insert(<<"a.example">>),
    ?assertEqual({ok, <<"type1">>}, Call(get_host_type, [<<"muc.a.example">>])),
    ?assertEqual([], Told(<<"muc.a.example">>)),
    ok = call(Node, mongoose_domain_core, delete, [<<"a.example">>]),
    ?assertEqual([unregister_subhost, maybe_remove_subdomain], Told(<<"muc.a.example">>)),
    ok = call(Node, gen_hook, add_handler, [register_subhost, handler]),
    Insert(<<"b.example">>),
    ?assertEqual([register_subhost], Told(<<"muc.b.example">>)).

subdomains_are_kept_by_later_installs(Config) ->
    Before = snapshot(Config),
    {0, _} = script("install --subdomains", Config),
    {0, Again} = script("install", Config),
    says(Again, ["0.1.0 is in .* already"]),
    overwrite(?SUBDOMAINS, "FOR1 upgraded", Config),
    {1, _} = script("status", Config),
    {0, Repaired} = script("install", Config),
    says(Repaired, ["keep " ?SUBDOMAINS, "write " ?SUBDOMAINS]),
    {1, Refused} = script("uninstall --subdomains", Config),
    says(Refused, ["--subdomains is for install", "usage:"]),
    {0, _} = script("uninstall", Config),
    ?assertEqual({ok, <<"FOR1 upgraded">>}, file:read_file(lib(?SUBDOMAINS, Config))),
    ?assertEqual(length(Before), length(snapshot(Config))).

status_is_told_while_a_node_runs(Config) ->
    {0, _} = script("install", Config),
    with_node(#{}, Config, fun(_Node) ->
        {0, Status} = script("status", Config),
        says(Status, ["intact"])
    end).

the_manifest_is_checked_by_sha256sum(Config) ->
    {0, _} = script("install", Config),
    Checked = shell(["cd ", lib("", Config), " && sha256sum -c " ?MANIFEST]),
    says(Checked, [?CORE ": OK", ?CORE ".stock: OK", ?SERVICE ": OK", ?SERVICE ".stock: OK",
                   ?LIBRARY ": OK"]).

%% Not even while a node runs.
a_second_install_changes_nothing(Config) ->
    {0, _} = script("install", Config),
    Before = {snapshot(Config), times(Config)},
    with_node(#{}, Config, fun(_Node) ->
        {0, Output} = script("install", Config),
        says(Output, ["0.1.0 is in .* already"])
    end),
    ?assertEqual(Before, {snapshot(Config), times(Config)}).

an_uninstall_of_nothing_changes_nothing(Config) ->
    Before = {snapshot(Config), times(Config)},
    {0, Output} = script("uninstall", Config),
    says(Output, ["mongoose_domain_native is not in "]),
    ?assertEqual(Before, {snapshot(Config), times(Config)}).

a_dry_run_says_what_would_change_and_changes_nothing(Config) ->
    Before = {snapshot(Config), times(Config)},
    {0, Install} = script("install --dry-run", Config),
    says(Install, ["would make priv/", "would keep " ?CORE " as " ?CORE ".stock\n",
                   "would write " ?CORE,
                   "would write " ?LIBRARY]),
    ?assertEqual(Before, {snapshot(Config), times(Config)}),
    {0, _} = script("install", Config),
    Between = {snapshot(Config), times(Config)},
    {0, Uninstall} = script("uninstall --dry-run", Config),
    says(Uninstall, ["would put back MongooseIM.s own " ?CORE, "would remove " ?LIBRARY]),
    ?assertEqual(Between, {snapshot(Config), times(Config)}).

files_get_the_mode_and_the_owner_of_the_stock_ones(Config) ->
    Owner = case os:cmd("id -u") of
                "0\n" -> "4321";
                Me -> string:trim(Me)
            end,
    shell(["chown -R ", Owner, " ", lib("", Config), " && chmod 640 ", lib("ebin/*", Config)]),
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    [?assertEqual("640 " ++ Owner, shell(["stat -c '%a %u' ", lib(File, Config)]))
     || File <- [?CORE, ?CORE ".stock", "ebin/mongoose_domain_nif.beam", ?LIBRARY]],
    ?assertEqual("755 " ++ Owner, shell(["stat -c '%a %u' ", lib("priv", Config)])),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

a_directory_that_was_there_stays(Config) ->
    shell(["mkdir ", lib("priv", Config)]),
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

another_version_of_ours_is_replaced_and_the_stock_files_stay(Config) ->
    Before = snapshot(Config),
    {0, _} = script("install", older_ours(Config)),
    {0, Old} = script("status", Config),
    says(Old, ["mongoose_domain_native 0.0.9 in", "ebin/mongoose_domain_gone.beam +ours"]),
    {0, Output} = script("install", Config),
    says(Output, ["write " ?CORE, "remove ebin/mongoose_domain_gone.beam", "0.1.0 is now in"]),
    ?assertEqual(nomatch, re:run(Output, "keep")),
    {0, New} = script("status", Config),
    says(New, ["mongoose_domain_native 0.1.0 in", "intact"]),
    ?assertEqual(nomatch, re:run(New, "gone")),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

an_upgrade_of_mongooseim_over_ours_is_kept_by_the_next_install(Config) ->
    {0, _} = script("install", Config),
    overwrite(?CORE, "FOR1 upgraded", Config),
    {1, Overwritten} = script("status", Config),
    says(Overwritten, [?CORE " +neither ours nor what was kept", "not intact: run install again"]),
    {0, Output} = script("install", Config),
    says(Output, ["keep " ?CORE, "write " ?CORE]),
    {0, _} = script("status", Config),
    {0, _} = script("uninstall", Config),
    ?assertEqual({ok, <<"FOR1 upgraded">>}, file:read_file(lib(?CORE, Config))).

the_stock_files_put_over_ours_are_seen_and_replaced_again(Config) ->
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    shell(["cd ", lib("", Config), " && cp -p " ?CORE ".stock " ?CORE]),
    {1, Status} = script("status", Config),
    says(Status, [?CORE " +MongooseIM's own", "not intact"]),
    {0, _} = script("install", Config),
    {0, _} = script("status", Config),
    shell(["cd ", lib("", Config), " && cp -p " ?CORE ".stock " ?CORE]),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

damaged_files_of_ours_are_seen_and_repaired(Config) ->
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    overwrite(?LIBRARY, "damaged", Config),
    shell(["rm ", lib(?CORE, Config), " ", lib("ebin/mongoose_domain_nif.beam", Config)]),
    {1, Status} = script("status", Config),
    says(Status, [?LIBRARY " +neither ours", ?CORE " +missing", "domain_nif.beam +missing"]),
    {0, _} = script("install", Config),
    {0, _} = script("status", Config),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

the_version_in_use_is_chosen_of_several(Config) ->
    shell(["cd ", mim("lib", Config), " && cp -r mongooseim-6.4.0 mongooseim-6.3.9"]),
    {0, Output} = script("install", Config),
    says(Output, ["is now in .*/lib/mongooseim-6.4.0"]).

a_release_without_a_vm_is_checked_by_that_on_the_path(Config) ->
    shell(["rm -r ", mim("erts-*", Config)]),
    {0, _} = script("install", Config),
    {0, _} = script("status", Config).

%% By `make build' in our directory.
what_is_not_built_is_built_first(Config0) ->
    Config = private_ours(Config0),
    Ours = ?config(ours, Config),
    shell(["cd ", Ours, " && mv _build elsewhere"]),
    {0, DryRun} = script("install --dry-run", Config),
    says(DryRun, ["would run `make build' in " ++ Ours]),
    ?assertEqual("", shell(["ls -d ", Ours, "/_build 2>/dev/null || true"])),
    Make = tools(["make"], ["#!/bin/sh\n[ \"$*\" = \"-C ", Ours, " build\" ] && cd ", Ours,
                            " && mv elsewhere _build\n"], Config),
    {0, _} = script("install", Make, Config),
    {0, _} = script("status", Config).

a_package_is_installed_without_what_builds(Config0) ->
    Config = package(Config0),
    Before = snapshot(Config),
    Path = [{"PATH", few_tools(Config)}],
    {0, DryRun} = script("install --dry-run", Path, Config),
    says(DryRun, ["would write " ?CORE, "would write " ?LIBRARY]),
    same(Before, snapshot(Config)),
    {0, _} = script("install", Path, Config),
    {0, Status} = script("status", Path, Config),
    says(Status, ["mongoose_domain_native 0.1.0 in", "intact"]),
    with_node(#{}, Config, fun is_ours/1),
    {0, _} = script("uninstall", Path, Config),
    same(Before, snapshot(Config)).

options_may_come_first_and_help_is_given(Config) ->
    {0, _} = run(?config(ours, Config), ["--dry-run", "install", mim("", Config)], []),
    {0, NotInstalled} = script("status", Config),
    says(NotInstalled, ["not installed"]),
    {0, Help} = run(?config(ours, Config), ["--help"], []),
    says(Help, ["usage: script/mongooseim", "--dry-run"]).

%% Refusals

other_versions_of_mongooseim_are_refused(Config) ->
    [begin
         shell(["cd ", mim("lib", Config), " && mv mongooseim-* mongooseim-", Version]),
         refused("install", ["this is MongooseIM " ++ Version, "6.3 - 6.8"], Config)
     end || Version <- ["6.2.1", "6.9.0", "6.30.0", "5.4.0", "7.4.0"]],
    [begin
         shell(["cd ", mim("lib", Config), " && mv mongooseim-* mongooseim-", Version]),
         {0, _} = script("install --dry-run", Config)
     end || Version <- ["6.3.3", "6.8.0", "6.5.0-12-g0123abc"]].

a_version_that_cannot_be_read_is_asked_for(Config) ->
    shell(["cd ", mim("lib", Config), " && mv mongooseim-* mongooseim-main"]),
    refused("install", ["cannot read the version", "--mim-version X.Y.Z"], Config),
    refused("install --mim-version 6.9.1", ["this is MongooseIM 6.9.1"], Config),
    {0, _} = script("install --mim-version 6.4.1", Config).

a_library_for_another_libc_is_refused_with_the_words_of_the_vm(Config0) ->
    Config = private_ours(Config0),
    Library = filename:join(?config(ours, Config), ?LIBRARY),
    {ok, Elf} = file:read_file(Library),
    overwrite_file(Library, binary:replace(Elf, <<"GLIBC_2.">>, <<"GLIBC_9.">>, [global])),
    refused("install", ["do not load on the VM", "version `GLIBC_9[^ ]* not found"], Config),
    overwrite_file(Library, binary:copy(<<"no library">>, 100)),
    refused("install", ["do not load on the VM", "invalid ELF header"], Config).

a_program_for_another_libc_is_refused_with_its_words(Config0) ->
    Config = private_ours(Config0),
    Program = filename:join(?config(ours, Config), ?PROGRAM),
    {ok, Elf} = file:read_file(Program),
    overwrite_file(Program, binary:replace(Elf, <<"GLIBC_2.">>, <<"GLIBC_9.">>, [global])),
    refused("install", ["does not run here", "version `GLIBC_9[^ ]* not found"], Config),
    overwrite_file(Program, binary:copy(<<"no program">>, 100)),
    refused("install", ["does not run here"], Config).

modules_for_a_later_otp_are_refused_with_the_words_of_the_vm(Config0) ->
    Config = private_ours(Config0),
    Beam = filename:join([?config(ours, Config), ?BUILT, ?CORE]),
    %% Instructions that no VM knows yet.
    {ok, _, Chunks} = beam_lib:all_chunks(Beam),
    {"Code", <<Size:32, Format:32, _Highest:32, Rest/binary>>} = lists:keyfind("Code", 1, Chunks),
    {ok, Later} = beam_lib:build_module(
                    lists:keyreplace("Code", 1, Chunks,
                                     {"Code", <<Size:32, Format:32, 1000:32, Rest/binary>>})),
    overwrite_file(Beam, Later),
    refused("install", ["do not load on the VM", "mongoose_domain_core",
                        "compiled for a later version"], Config).

an_older_otp_is_refused(Config) ->
    replace_vm("echo 24", Config),
    refused("install", ["runs on Erlang/OTP 24, and our modules need 25 or newer"], Config).

a_vm_that_does_not_start_is_refused_with_its_words(Config) ->
    replace_vm("echo 'no memory' >&2; exit 1", Config),
    refused("install", ["the VM of .* does not start", "no memory"], Config).

a_release_without_a_vm_and_without_erl_is_refused(Config) ->
    shell(["rm -r ", mim("erts-*", Config)]),
    Bin = filename:join(?config(dir, Config), "bin"),
    shell(["mkdir ", Bin, " && cd ", Bin, " && for tool in bash env dirname realpath mktemp rm sort"
           " sha256sum cat stat id grep od flock; do ln -s $(command -v $tool) .; done"]),
    refused("install", ["has no VM of its own", "no `erl' on the PATH"], Config, [{"PATH", Bin}]).

a_vm_that_cannot_be_asked_is_refused(Config) ->
    shell(["rm ", mim("releases/*/start_clean.boot", Config)]),
    refused("install", ["has start_clean.boot"], Config).

a_read_only_directory_is_refused(Config) ->
    [begin
         shell(["chmod 555 ", lib(Dir, Config)]),
         refused_unprivileged("install", ["cannot write in .*/mongooseim-6.4.0" ++ Name], Config),
         shell(["chmod 755 ", lib(Dir, Config)])
     end || {Dir, Name} <- [{"ebin", "/ebin"}, {".", ": it belongs"}]],
    {0, _} = script("install", Config),
    shell(["chmod 555 ", lib("priv", Config)]),
    refused_unprivileged("uninstall", ["cannot write in .*/" ?LIB "priv"], Config).

a_running_node_is_refused(Config) ->
    with_node(#{}, Config, fun({_, _, Pid}) ->
        refused("install", ["a node runs from .* \\(process " ++ integer_to_list(Pid) ++ "\\)",
                            "bin/mongooseimctl stop"], Config),
        %% What would change is shown all the same.
        refused("install --dry-run", ["would write " ?CORE, "a node runs from"], Config)
    end),
    {0, _} = script("install", Config),
    with_node(#{}, Config, fun(_Node) ->
        refused("uninstall", ["a node runs from"], Config)
    end).

a_directory_that_is_no_mongooseim_is_refused(Config) ->
    shell(["rm ", mim("bin/mongooseimctl", Config)]),
    [refused(Command, ["neither a release of MongooseIM .* nor its source tree"], Config)
     || Command <- ["install", "uninstall", "status"]],
    {1, Output} = run(?config(ours, Config), ["install", mim("absent", Config)], []),
    says(Output, ["there is no directory"]).

several_versions_without_a_choice_are_refused(Config) ->
    shell(["cd ", mim("", Config), " && cp -r lib/mongooseim-6.4.0 lib/mongooseim-6.3.9"
           " && rm releases/start_erl.data"]),
    refused("install", ["several mongooseim-VSN", "remove those that are not in use"], Config).

a_mongooseim_without_the_modules_is_refused(Config) ->
    shell(["rm ", lib(?SERVICE, Config)]),
    refused("install", ["there is no service_domain_db.beam in", "is this MongooseIM"], Config).

a_stock_file_that_no_manifest_names_is_refused(Config) ->
    {0, _} = script("install", Config),
    shell(["rm ", lib(?MANIFEST, Config)]),
    refused("install", [?CORE ".stock is there, and no manifest says what it is"], Config),
    %% The way out.
    [shell(["mv ", lib(Beam, Config), ".stock ", lib(Beam, Config)]) || Beam <- [?CORE, ?SERVICE]],
    refused("install", ["ebin/mongoose_domain_[a-z]+.beam is in the way: move it away"], Config),
    Others = filelib:wildcard("ebin/*.beam", filename:join(?config(ours, Config), ?BUILT))
                 -- [?CORE, ?SERVICE],
    [shell(["rm ", lib(File, Config)]) || File <- [?LIBRARY, ?PROGRAM | Others]],
    {0, _} = script("install", Config),
    {0, _} = script("status", Config).

a_file_in_the_way_is_refused(Config) ->
    overwrite("ebin/mongoose_domain_host.beam", "of somebody else", Config),
    refused("install", ["ebin/mongoose_domain_[a-z]+.beam is in the way: move it away"], Config).

a_lost_stock_file_is_refused(Config) ->
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    shell(["mv ", lib(?CORE, Config), ".stock ", ?config(dir, Config)]),
    {1, Status} = script("status", Config),
    says(Status, [?CORE " +ours; what was kept is missing or changed"]),
    overwrite("ebin/mongoose_domain_nif.beam", "damaged", Config),
    refused("install", [?CORE ".stock, MongooseIM's own file, is missing or changed"], Config),
    shell(["rm ", lib("ebin/mongoose_domain_nif.beam", Config)]),
    refused("uninstall", ["are missing or changed", ?CORE ".stock"], Config),
    %% The way out.
    shell(["mv ", ?config(dir, Config), "/*.stock ", lib(?CORE, Config)]),
    {0, _} = script("install", Config),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

%% It must not take the place of the stock file that is kept.
a_damaged_drop_in_is_refused(Config) ->
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    overwrite(?CORE, "damaged", Config),
    refused("install", [?CORE " is damaged: move it away and run install again"], Config),
    shell(["rm ", lib(?CORE, Config)]),
    {0, _} = script("install", Config),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

a_file_that_is_not_known_is_not_removed(Config) ->
    {0, _} = script("install", Config),
    overwrite(?CORE, "FOR1 upgraded", Config),
    overwrite("ebin/mongoose_domain_nif.beam", "damaged", Config),
    refused("uninstall", ["neither ours nor what was kept", "Run install again", ?CORE,
                          "ebin/mongoose_domain_nif.beam"], Config).

a_file_of_ours_that_the_script_did_not_put_there_is_not_kept_as_a_stock_one(Config) ->
    Ours = filename:join([?config(ours, Config), ?BUILT, ?CORE]),
    shell(["cp ", Ours, " ", lib(?CORE, Config)]),
    refused("install", [?CORE " is ours, but not as we put it there: move it away"], Config).

a_build_that_fails_is_refused(Config0) ->
    Config = private_ours(Config0),
    shell(["rm ", filename:join(?config(ours, Config), ?LIBRARY)]),
    refused("install", ["not built yet, and `make build' in .* fails"], Config,
            tools(["make"], "#!/bin/sh\nexit 2\n", Config)),
    refused("install", ["has built no .*, no " ?LIBRARY " or no " ?PROGRAM], Config,
            tools(["make"], "#!/bin/sh\n", Config)).

a_damaged_package_is_refused(Config0) ->
    Config = package(Config0),
    Library = filename:join(?config(ours, Config), ?LIBRARY),
    overwrite_file(Library, "damaged"),
    refused("install", ["package in .* is damaged", ?LIBRARY ": FAILED"], Config),
    ok = file:delete(Library),
    refused("install", ["package in .* is damaged", ?LIBRARY ": FAILED"], Config).

a_package_for_a_source_tree_is_refused(Config0) ->
    Config = package(Config0),
    shell(["rm -r ", mim("", Config)]),
    stand_in:copy_tree(mim("", Config)),
    refused("install", ["this is a package, which goes into a release"], Config).

two_at_once_are_refused(Config) ->
    {0, _} = paused("sync", "*.beam.new*", "install", Config, fun(Continue) ->
        [refused(Command, ["another mongooseim is running on .*: run this again"], Config)
         || Command <- ["install", "uninstall", "install --dry-run"]],
        Continue()
    end),
    {0, _} = script("uninstall", Config).

a_node_that_starts_after_the_checks_is_refused(Config) ->
    Before = snapshot(Config),
    {1, Output} = paused("sync", "*.beam.new*", "install", Config, fun(Continue) ->
        with_node(#{}, Config, fun(_Node) -> Continue() end)
    end),
    says(Output, ["a node has just started from .*, so nothing was changed: stop it with"]),
    ?assertEqual(nomatch, re:run(Output, "half done")),
    same(Before, snapshot(Config)).

a_node_that_starts_while_files_are_replaced_is_told(Config) ->
    [begin
         {1, Output} = paused("mv", Pattern, Command, Config, fun(Continue) ->
             with_node(#{}, Config, fun(_Node) -> Continue() end)
         end),
         says(Output, ["is changed, but a node started from .*: restart it"]),
         ?assertEqual(nomatch, re:run(Output, "half done")),
         {0, Status} = script("status", Config),
         says(Status, [Expected])
     end || {Command, Pattern, Expected} <- [{"install", "*.unfinished\\ *", "\nintact"},
                                             {"uninstall", "*.unfinished", "is not installed"}]].

wrong_usage_is_refused_with_the_usage(Config) ->
    [begin
         {1, Output} = run(?config(ours, Config), Args, []),
         says(Output, [Expected, "usage: script/mongooseim"])
     end || {Args, Expected} <- [{[], "the first argument"},
                                 {["remove", "x"], "the first argument"},
                                 {["install"], "exactly one directory"},
                                 {["install", "x", "y"], "exactly one directory"},
                                 {["install", "--force", "x"], "unknown option --force"},
                                 {["install", "x", "--at"], "--at needs a value"}]],
    refused("install --at vendor/mongoose_domain_native", ["--at is for a source tree"], Config).

%% Interruptions
%%
%% The script changes files by programs of coreutils. These stand before them in the PATH, count
%% their calls, and kill the script instead of the n-th.

an_install_may_be_interrupted_at_every_step(Config) ->
    interrupted("install --subdomains", fun(_) -> ok end, small(Config)).

an_install_over_another_version_may_be_interrupted_at_every_step(Config0) ->
    Config = small(Config0),
    Older = older_ours(Config),
    interrupted("install", fun(Mim) -> {0, _} = run_in(Mim, "install", Older) end, Config).

an_install_over_an_upgrade_of_mongooseim_may_be_interrupted_at_every_step(Config0) ->
    Config = small(Config0),
    Prepare = fun(Mim) ->
                  {0, _} = run_in(Mim, "install", Config),
                  [overwrite_file(filename:join(Dir, ?LIB ?CORE), "FOR1 upgraded")
                   || Dir <- [Mim, mim("", Config)]]
              end,
    interrupted("install", Prepare, Config).

an_install_over_an_interrupted_one_may_be_interrupted_at_every_step(Config0) ->
    Config = small(Config0),
    Older = older_ours(Config),
    Prepare = fun(Mim) ->
                  %% The manifest, two stock files and our first module were renamed.
                  {137, _} = kill_at("mv", 5, Mim, "install", Older),
                  ?assertNotEqual(file:read_file(filename:join(Mim, ?LIB ?CORE ".stock")),
                                  file:read_file(filename:join(Mim, ?LIB ?CORE)))
              end,
    interrupted("install", Prepare, Config).

an_uninstall_may_be_interrupted_at_every_step(Config0) ->
    Config = small(Config0),
    Prepare = fun(Mim) -> {0, _} = run_in(Mim, "install --subdomains", Config) end,
    interrupted("uninstall", Prepare, Config).

an_install_into_a_source_tree_may_be_interrupted_at_every_step(Config0) ->
    Config = small(Config0),
    Tree = filename:join(?config(dir, Config), "tree"),
    stand_in:copy_tree(Tree),
    ok = file:write_file(filename:join(Tree, "rebar.config.script"), "CONFIG."),
    interrupted("install --subdomains", fun(_) -> ok end,
                lists:keystore(mim, 1, Config, {mim, Tree})).

a_step_that_fails_is_told_with_the_ways_out(Config0) ->
    Config = small(Config0),
    Full = tools(["cp"], "#!/bin/sh\necho 'No space left on device' >&2\nexit 1\n", Config),
    {1, Output} = script("install", Full, Config),
    says(Output, ["No space left", "half done: run install again to finish it, or uninstall"]),
    {1, Status} = script("status", Config),
    says(Status, ["half done: run install again to finish it, or uninstall to go back"]),
    {0, _} = script("install", Config),
    {0, _} = script("status", Config).

%% Source trees

a_source_tree_is_built_with_ours_and_without_a_trace_after_that(Config0) ->
    Config = with_sources(Config0),
    %% It is evaluated all the same.
    Evaluated = filename:join(?config(dir, Config), "evaluated"),
    ok = file:write_file(mim("rebar.config.script", Config),
                         ["ok = file:write_file(\"", Evaluated, "\", []), CONFIG."]),
    Before = snapshot(Config),
    rebar3("release", Config),
    ?assert(runs_stock(built("default/rel/mongooseim", Config))),
    {0, Installed} = script("install", Config),
    says(Installed, ["make _checkouts", "keep rebar.config.script", "write rebar.config.script",
                     "remove src/domain/mongoose_domain_core.erl",
                     "remove src/domain/service_domain_db.erl",
                     "link _checkouts/mongoose_domain_native to " ++ ?config(root, Config)]),
    ok = file:delete(Evaluated),
    rebar3("release", Config),
    ?assert(filelib:is_file(Evaluated)),
    ?assert(runs_ours(built("default/rel/mongooseim", Config))),
    is_told_of_what_was_built_in(built("default/rel/mongooseim", Config)),
    {0, Intact} = script("status", Config),
    says(Intact, ["service_domain_db.erl +set aside; MongooseIM's own is kept",
                  "_checkouts/mongoose_domain_native +links to us", "intact"]),
    {0, Again} = script("install", Config),
    says(Again, ["already"]),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)),
    rebar3("release", Config),
    ?assert(runs_stock(built("default/rel/mongooseim", Config))).

is_told_of_what_was_built_in(Config) ->
    Before = snapshot(Config),
    {0, Whole} = script("status", Config),
    says(Whole, ["MongooseIM 6.4.0, release",
                 "mongoose_domain_native 0.1.0 is a part of this release, in .*"
                 "/lib/mongoose_domain_native-0.1.0:",
                 ?CORE " +ours\n", ?SERVICE " +ours\n", ?LIBRARY " +ours\n",
                 "built from a source tree with us"]),
    [refused(Command, ["0.1.0 is a part of this release, in .*: it was built from a source tree",
                       "on the source tree, and build the release again"], Config)
     || Command <- ["install", "install --dry-run", "uninstall"]],
    same(Before, snapshot(Config)),
    [BuiltIn] = filelib:wildcard(mim("lib/mongoose_domain_native-*", Config)),
    shell(["mv ", BuiltIn, "/" ?CORE " ", BuiltIn, "/core"]),
    {1, Damaged} = script("status", Config),
    says(Damaged, [?CORE " +missing", "incomplete: build the release again"]),
    shell(["mv ", BuiltIn, "/core ", BuiltIn, "/" ?CORE]).

a_source_tree_is_built_with_ours_at_another_place_and_with_subdomains(Config0) ->
    Config = with_sources(Config0),
    Before = snapshot(Config),
    {0, _} = script("install --subdomains --at vendor/erlang/mongoose_domain_native", Config),
    rebar3("release", Config),
    Built = built("default/rel/mongooseim", Config),
    ?assert(runs_ours(Built)),
    with_node(#{}, Built, fun subdomains_are_computed/1),
    {0, BuiltIn} = script("status", Built),
    says(BuiltIn, ["mongoose_subdomain_core.beam +ours, in .*/lib/mongooseim-6.4.0/ebin"]),
    {0, Status} = script("status", Config),
    says(Status, ["src/domain/mongoose_subdomain_core.erl +ours; MongooseIM's own is kept"]),
    {0, Again} = script("install", Config),
    says(Again, ["already"]),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

releases_of_a_profile_are_built_with_ours(Config0) ->
    Config = with_sources(Config0),
    {0, _} = script("install", Config),
    rebar3("as prod release -n of_profile", Config),
    ?assert(runs_ours(built("prod/rel/of_profile", Config))).

a_release_that_relx_built_is_installed_and_uninstalled(Config0) ->
    rebar3("release", Config0),
    Config = built("default/rel/mongooseim", Config0),
    Before = snapshot(Config),
    {0, _} = script("install", Config),
    with_node(#{}, Config, fun is_ours/1),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

status_and_dry_run_of_a_source_tree(Config) ->
    Before = snapshot(Config),
    {0, NotInstalled} = script("status", Config),
    says(NotInstalled, ["MongooseIM 6.4.0, source tree", "not installed"]),
    {0, DryRun} = script("install --dry-run", Config),
    says(DryRun, ["would link _checkouts/mongoose_domain_native", "would write rebar.config.script",
                  "would remove src/domain/service_domain_db.erl"]),
    same(Before, snapshot(Config)),
    {0, _} = script("install", Config),
    shell(["cd ", mim("", Config), "/_checkouts && rm * && ln -s /nowhere mongoose_domain_native"]),
    {1, Status} = script("status", Config),
    says(Status, ["_checkouts/mongoose_domain_native +does not link to us"]),
    {0, _} = script("install", Config),
    {0, _} = script("status", Config),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

the_version_of_a_source_tree_is_read_where_it_is_told(Config) ->
    Version = fun(Env) ->
                  {0, Said} = script("status", Env, Config),
                  {match, [Found]} = re:run(Said, "MongooseIM (.*), source tree",
                                            [{capture, all_but_first, list}]),
                  Found
              end,
    ok = file:write_file(mim("VERSION", Config), "6.7.1"),
    ?assertEqual("6.7.1", Version([])),
    shell(["rm ", mim("VERSION", Config)]),
    ?assertEqual("6.4.0", Version([])),
    Vsn = mim("src/mongooseim.app.src", Config),
    shell(["sed -i 's/{vsn, .*}/{vsn, git}/' ", Vsn]),
    %% A git that knows the tree.
    shell(["mkdir ", mim(".git", Config)]),
    Path = tools(["git"], "#!/bin/sh\necho 6.5.2-7-gabcdef0\n", Config),
    ?assertEqual("6.5.2-7-gabcdef0", Version(Path)),
    shell(["rm -r ", mim(".git", Config)]),
    ?assertEqual("of an unknown version", Version(Path)).

a_source_tree_that_does_not_tell_its_version_is_refused(Config) ->
    shell(["cd ", mim("", Config), " && rm VERSION && sed -i /vsn/d src/mongooseim.app.src"]),
    refused("install", ["cannot read the version", "--mim-version"], Config),
    refused("install --mim-version 5.1.0", ["this is MongooseIM 5.1.0"], Config),
    {0, _} = script("install --mim-version 6.4.0 --dry-run", Config).

a_source_tree_without_the_modules_is_refused(Config) ->
    shell(["cd ", mim("src/domain", Config), " && mkdir x && cp service_domain_db.erl x"]),
    refused("install", ["should have one service_domain_db.erl and has 2"], Config),
    shell(["cd ", mim("src/domain", Config), " && rm x/* service_domain_db.erl"]),
    refused("install", ["should have one service_domain_db.erl and has 0"], Config).

a_place_that_is_taken_is_refused(Config) ->
    shell(["mkdir -p ", mim("_checkouts/mongoose_domain_native", Config)]),
    refused("install", ["_checkouts/mongoose_domain_native is in the way", "--at"], Config).

a_place_outside_of_the_source_tree_is_refused(Config) ->
    [refused("install --at " ++ Path, ["--at needs a path inside of DIR"], Config)
     || Path <- ["../mongoose_domain_native", "/tmp/mongoose_domain_native"]],
    refused("install --at vendor/ours", ["--at needs a path that ends in"], Config).

another_place_while_installed_is_refused(Config) ->
    {0, _} = script("install", Config),
    refused("install --at vendor/mongoose_domain_native",
            ["mongoose_domain_native is linked at .*/_checkouts/.*: uninstall it before"], Config).

a_changed_script_of_ours_is_refused(Config) ->
    {0, _} = script("install", Config),
    shell(["echo '%% more' >> ", mim("rebar.config.script", Config)]),
    refused("install", ["rebar.config.script is ours, but not as we put it there"], Config),
    refused("uninstall", ["neither ours nor what was kept", "rebar.config.script"], Config).

%% Databases

%% By a file of authorities, and by those of the system.
domains_are_loaded_and_followed_by_the_pool_of_mongooseim(Config) ->
    Ca = tls_helper:certificate("ca", Config),
    [domains_are_loaded_and_followed(Tls, Env, Config)
     || {Tls, Env} <- [{#{cacertfile => Ca}, #{}}, {#{}, #{authorities => Ca}}]].

domains_are_loaded_and_followed(Tls, MoreEnv, Config) ->
    Before = snapshot(Config),
    Url = db_helper:fresh_url(Config),
    db_helper:fill(Url, "d", ".example", 1000),
    {0, _} = script("install", Config),
    Pool = stand_in:pool(?config(kind, Config), Url, Tls),
    Env = MoreEnv#{service_domain_db => #{}, config => #{outgoing_pools => [Pool]}},
    with_node(Env, Config, fun(Node) ->
        ?assertEqual([[1001]], [Args || {mongooseim_app, accepts_clients, Args}
                                            <- call(Node, mongooseim_app, calls, [])]),
        %% Without the section `http' no port is open, and no program is started.
        ?assertEqual(undefined, call(Node, erlang, whereis, [mongoose_domain_http])),
        ?assertEqual([], programs(Config)),
        pong = call(Node, service_domain_db, sync_local, []),
        ?assertEqual(1001, call(Node, mongoose_domain_core, domains_count, [])),
        ?assertEqual({ok, <<"type1">>},
                     call(Node, mongoose_domain_core, get_host_type, [<<"d1000.example">>])),
        db_helper:sql(Url, "DELETE FROM domain_settings WHERE domain = 'd7.example'; "
                           "INSERT INTO domain_events (domain) VALUES ('d7.example')"),
        ok = call(Node, service_domain_db, force_check_for_updates, []),
        pong = call(Node, service_domain_db, sync_local, []),
        ?assertEqual({error, not_found},
                     call(Node, mongoose_domain_core, get_host_type, [<<"d7.example">>])),
        Calls = call(Node, mongooseim_app, calls, []),
        ?assertMatch({mongoose_domain_sql, start, [#{db_pool := global}]}, hd(Calls)),
        ?assertEqual([{mongoose_subdomain_core, add_domain},
                      {mongoose_lazy_routing, maybe_remove_domain},
                      {mongoose_subdomain_core, remove_domain}],
                     [{M, F} || {M, F, [<<"type1">>, <<"d7.example">>]} <- Calls]),
        {0, Status} = script("status", Config),
        says(Status, ["intact"])
    end),
    {0, _} = script("uninstall", Config),
    same(Before, snapshot(Config)).

domains_are_changed_by_http_through_the_api_of_mongooseim(Config) ->
    {ok, _} = application:ensure_all_started(inets),
    Url = db_helper:fresh_url(Config),
    {0, _} = script("install", Config),
    %% As MongooseIM makes it of the section [services.service_domain_db.http].
    Http = #{ip_address => <<"127.0.0.1">>, port => 0, username => <<"admin">>,
             password => <<"secret">>},
    Tls = #{cacertfile => tls_helper:certificate("ca", Config)},
    Pool = stand_in:pool(?config(kind, Config), Url, Tls),
    Env = #{service_domain_db => #{http => Http}, config => #{outgoing_pools => [Pool]},
            database_url => Url},
    with_node(Env, Config, fun(Node) ->
        {_, Port} = call(Node, mongoose_domain_http, address, []),
        %% It is the one that was put there, and has no secret in its arguments or environment.
        [Pid] = programs(Config),
        ?assertEqual("755", shell(["stat -c %a ", lib(?PROGRAM, Config)])),
        ?assertEqual("0", shell(["cat /proc/", Pid, "/cmdline /proc/", Pid, "/environ"
                                 " | grep -c secret; true"])),
        Server = "http://127.0.0.1:" ++ integer_to_list(Port),
        Request = fun(Method, Path, Body) ->
                      Headers = [http_helper:basic("admin", "secret")],
                      {Code, _, Answer} =
                          http_helper:call(Method, Server ++ Path, Headers, Body, []),
                      http_helper:decoded({Code, Answer})
                  end,
        {401, _, _} = http_helper:call(get, Server ++ "/api/domains", [], none, []),
        Domain = "/api/domains/A.example",
        Type1 = "{\"host_type\": \"type1\"}",
        ?assertEqual({204, <<>>}, Request(put, Domain, Type1)),
        ?assertEqual({204, <<>>}, Request(put, Domain, Type1)),
        ?assertEqual({403, #{<<"what">> => <<"unknown host type">>}},
                     Request(put, Domain, "{\"host_type\": \"type9\"}")),
        ?assertEqual({403, #{<<"what">> => <<"domain is static">>}},
                     Request(put, "/api/domains/static.example", Type1)),
        pong = call(Node, service_domain_db, sync_local, []),
        ?assertEqual({ok, <<"type1">>},
                     call(Node, mongoose_domain_core, get_host_type, [<<"a.example">>])),
        ?assertEqual({204, <<>>}, Request(patch, Domain, "{\"enabled\": false}")),
        ?assertMatch({200, #{<<"domain">> := <<"a.example">>, <<"host_type">> := <<"type1">>,
                             <<"status">> := <<"disabled">>}}, Request(get, Domain, none)),
        ?assertEqual({200, #{<<"data">> => #{<<"domain">> => #{<<"enableDomain">> =>
                                 #{<<"status">> => <<"ENABLED">>}}}}},
                     Request(post, "/api/graphql", "{\"query\": \"mutation { domain { enableDomain("
                                                   "domain: \\\"a.example\\\") {status} } }\"}")),
        ?assertEqual({204, <<>>}, Request(delete, Domain, Type1)),
        ?assertMatch([_], [called || {removal_handler, remove_domain, _}
                                         <- call(Node, mongooseim_app, calls, [])]),
        ?assertEqual({404, #{<<"what">> => <<"domain not found">>}}, Request(get, Domain, none)),
        ?assertMatch({200, _}, Request(get, "/metrics", none)),
        ok = call(Node, service_domain_db, stop, []),
        ?assertEqual(undefined, call(Node, erlang, whereis, [mongoose_domain_http]))
    end),
    %% A bind to others without a password is refused at the start.
    #{service_domain_db := Opts} = Env,
    Open = (maps:without([username, password], Http))#{ip_address => <<"0.0.0.0">>},
    Wrong = Env#{service_domain_db => Opts#{http => Open}},
    does_not_start(Wrong, Config),
    {ok, Log} = file:read_file(?config(mim, Config) ++ ".log"),
    ?assertMatch({match, _}, re:run(Log, "set a username and a password")),
    no_password_is_logged_when_the_service_does_not_start(Env, Config).

%% MongooseIM logs the options of a service that does not start.
no_password_is_logged_when_the_service_does_not_start(Env, Config) ->
    #{service_domain_db := #{http := Http} = Opts} = Env,
    File = ?config(mim, Config) ++ ".password",
    ok = file:write_file(File, "a-very-secret-one\nnot this\n"),
    ByFile = (maps:remove(password, Http))#{password_file => list_to_binary(File)},
    [begin
         Wrong = Env#{service_domain_db => Opts#{http => Given#{ip_address => <<"nowhere">>}}},
         does_not_start(Wrong, Config),
         {ok, Log} = file:read_file(?config(mim, Config) ++ ".log"),
         [?assertMatch({Part, {match, _}}, {Part, re:run(Log, Part)})
          || Part <- ["service_startup_failed", "opts", "is not an IP address", "username"]],
         ?assertEqual(nomatch, re:run(Log, "very-secret"))
     end || Given <- [Http#{password => <<"a-very-secret-one">>}, ByFile]],
    %% But it is the one that is asked for.
    Right = Env#{service_domain_db => Opts#{http => ByFile}},
    with_node(Right, Config, fun(Node) ->
        {_, Port} = call(Node, mongoose_domain_http, address, []),
        Url = "http://127.0.0.1:" ++ integer_to_list(Port) ++ "/api/status",
        Code = fun(Password) ->
                   Headers = [http_helper:basic("admin", Password)],
                   element(1, http_helper:call(get, Url, Headers, none, []))
               end,
        ?assertEqual([200, 401], [Code("a-very-secret-one"), Code("not this")])
    end).

%% By both forms of the probe; and also after a start that follows a start, or a crash.
the_metrics_of_mongooseim_have_the_state_of_the_service(Config) ->
    {0, _} = script("install", Config),
    [metrics_have_the_state(ProbeArity, Config) || ProbeArity <- [2, 3]].

metrics_have_the_state(ProbeArity, Config) ->
    Url = db_helper:fresh_url(Config),
    db_helper:fill(Url, "d", ".example", 20),
    Pool = stand_in:pool(postgres, Url, #{cacertfile => tls_helper:certificate("ca", Config)}),
    Env = #{service_domain_db => #{}, config => #{outgoing_pools => [Pool]},
            probe_arity => ProbeArity},
    with_node(Env, Config, fun(Node) ->
        Values = fun() -> call(Node, mongoose_instrument, values, []) end,
        pong = call(Node, service_domain_db, sync_local, []),
        ?assertMatch(#{"service_domain_db_domains" := 21, "service_domain_db_followed" := 20,
                       "service_domain_db_position" := 0, "service_domain_db_lag" := 0,
                       "service_domain_db_seconds_since_check" := _,
                       "service_domain_db_checks" := 1, "service_domain_db_loads" := 1,
                       "service_domain_db_reloads" := 0, "service_domain_db_audits" := 0,
                       "service_domain_db_gaps_settled" := 0,
                       "service_domain_db_dummies_written" := 0,
                       "service_domain_db_errors" := 0}, Values()),
        ?assertEqual(12, map_size(Values())),
        db_helper:sql(Url, "DELETE FROM domain_settings WHERE domain = 'd1.example'; "
                           "INSERT INTO domain_events (domain) VALUES ('d1.example')"),
        ok = call(Node, service_domain_db, force_check_for_updates, []),
        pong = call(Node, service_domain_db, sync_local, []),
        ?assertMatch(#{"service_domain_db_domains" := 20, "service_domain_db_position" := 1},
                     Values()),
        ok = call(Node, service_domain_db, start, [#{}]),
        ?assertMatch(#{"service_domain_db_domains" := 20}, Values()),
        ok = call(Node, service_domain_db, stop, []),
        ?assertEqual(#{}, Values())
    end).

%% Our own directory

%% One of its own, for a case that changes it.
private_ours(Config) ->
    copy_of_ours("ours", Config).

copy_of_ours(Name, Config) ->
    Ours = filename:join(?config(dir, Config), Name),
    shell(["cp -r ", ?config(ours, Config), " ", Ours]),
    lists:keystore(ours, 1, Config, {ours, Ours}).

older_ours(Config0) ->
    Config = copy_of_ours("older", Config0),
    Lib = filename:join(?config(ours, Config), ?BUILT),
    shell(["sed -i 's/{vsn,\"[^\"]*\"}/{vsn,\"0.0.9\"}/' ", Lib, "/ebin/*.app"]),
    [begin
         File = filename:join(Lib, Beam),
         {ok, _, Chunks} = beam_lib:all_chunks(File),
         {ok, Other} = beam_lib:build_module(lists:keydelete("Dbgi", 1, Chunks)),
         overwrite_file(File, Other)
     end || Beam <- [?CORE, ?SERVICE]],
    {ok, Module, Code} = compile:forms([{attribute, 1, module, mongoose_domain_gone}]),
    overwrite_file(filename:join([Lib, "ebin", atom_to_list(Module) ++ ".beam"]), Code),
    Config.

%% The pids of the programs of HTTP servers that were put into the release and run.
programs(Config) ->
    [Pid || "/proc/" ++ Pid <- filelib:wildcard("/proc/[0-9]*"),
            {ok, Program} <- [file:read_link("/proc/" ++ Pid ++ "/exe")],
            Program =:= lib(?PROGRAM, Config)].

%% A directory of ours as script/package lays it out.
package(Config0) ->
    Config = private_ours(Config0),
    shell(["cd ", ?config(ours, Config), " && mv " ?BUILT "/ebin . && mkdir ebin/optional && mv "
           "_build/default/lib/mongoose_domain_standalone/ebin/*.beam ebin/optional"
           " && rm -r _build erlang && find */ -type f -exec sha256sum {} + >SHA256SUMS"]),
    Config.

%% A directory with what script/mongooseim says that it needs, and nothing else.
few_tools(Config) ->
    Bin = filename:join(?config(dir, Config), "bin"),
    shell(["mkdir ", Bin, " && cd ", Bin, " && for tool in bash env grep flock $(dpkg -L coreutils"
           " | sed -n 's|.*/bin/||p'); do ln -s $(command -v $tool) .; done"]),
    Bin.

%% With the sources, for rebar3.
with_sources(Config) ->
    lists:keystore(ours, 1, Config, {ours, ?config(root, Config)}).

%% Interruptions

%% A release and a directory of ours with only what matters here. Its VM loads anything.
small(Config0) ->
    Config = private_ours(Config0),
    Ours = ?config(ours, Config),
    shell(["cd ", Ours, " && echo library > " ?LIBRARY
           " && printf '#!/bin/sh\necho mongoose-domain-http: small\n' > " ?PROGRAM
           " && find . -name '*.beam'"
           " -not -name mongoose_domain_core.beam -not -name service_domain_db.beam"
           " -not -name mongoose_domain_nif.beam -not -name mongoose_subdomain_core.beam"
           " -delete"]),
    shell(["cp -a ", ?config(built, Config), " ", mim("", Config), " && cd ", mim("", Config),
           " && find . -type f -not -name '*domain*' -not -name mongooseim.app"
           " -not -name mongooseimctl -not -name start_erl.data -delete"
           " && rm -r erts-* lib/[!m]*"]),
    [{env, tools(["erl"], "#!/bin/sh\necho 25\n", Config)} | Config].

%% Interrupts the command at every step, in a release that is prepared. From there install finishes
%% it, and uninstall goes back to the release that is not prepared.
interrupted(Command, Prepare, Config) ->
    Prepared = mim("", Config) ++ ".prepared",
    shell(["cp -a ", mim("", Config), " ", Prepared]),
    Prepare(Prepared),
    HalfDone = interrupted(1, Command, Prepared, snapshot(Config), Config),
    ct:log("~b times half done", [HalfDone]),
    ?assert(HalfDone > 5).

interrupted(N, Command, Prepared, Stock, Config) ->
    Mim = Prepared ++ ".interrupted",
    Other = Prepared ++ ".other",
    shell(["rm -rf ", Mim, " ", Other, " && cp -a ", Prepared, " ", Mim]),
    case kill_at(any, N, Mim, Command, Config) of
        {0, _} ->
            0;
        {137, _} ->
            shell(["cp -a ", Mim, " ", Other]),
            HalfDone = half_done(Mim, Prepared, Config),
            {0, _} = run_in(Mim, "install", Config),
            {0, _} = run_in(Mim, "status", Config),
            {0, _} = run_in(Mim, "uninstall", Config),
            same(Stock, snapshot_of(Mim)),
            case run_in(Other, "uninstall", Config) of
                {0, _} ->
                    same(Stock, snapshot_of(Other));
                {1, Refusal} ->
                    %% It was refused before, too: MongooseIM has been upgraded over ours.
                    {1, _} = run_in(Prepared, "uninstall", Config),
                    says(Refusal, ["Run install again"])
            end,
            HalfDone + interrupted(N + 1, Command, Prepared, Stock, Config)
    end.

%% If it is not, the command has not begun to change anything, or has come to its end.
half_done(Mim, Prepared, Config) ->
    case run_in(Mim, "status", Config) of
        {0, _} -> 0;
        {1, Said} ->
            case re:run(Said, "half done: run install again to finish it, or uninstall") of
                {match, _} -> 1;
                nomatch -> same(snapshot_of(Prepared), snapshot_of(Mim)), 0
            end
    end.

%% Nodes

with_node(Env, Config, Fun) ->
    Node = stand_in:start(mim("", Config), Env, ?config(asker, Config)),
    try Fun(Node) after stand_in:stop(Node) end.

does_not_start(Env, Config) ->
    try with_node(Env, Config, fun(_) -> started end) of
        started -> error(started)
    catch
        error:{no_start, _} -> ok
    end.

call(Node, Module, Function, Args) ->
    stand_in:call(Node, Module, Function, Args).

runs_stock(Config) ->
    with_node(#{}, Config, fun(Node) ->
        call(Node, mongoose_domain_core, is_stock, [])
            andalso call(Node, service_domain_db, is_stock, [])
    end).

is_ours(Node) ->
    ?assertEqual(embedded, call(Node, code, get_mode, [])),
    ?assertNot(call(Node, erlang, function_exported, [mongoose_domain_core, is_stock, 0])),
    ?assertEqual({ok, <<"type1">>},
                 call(Node, mongoose_domain_core, get_host_type, [<<"static.example">>])).

%% Of a release that was built with our application.
runs_ours(Config) ->
    with_node(#{}, Config, fun(Node) ->
        is_ours(Node),
        Apps = [App || {App, _, _} <- call(Node, application, which_applications, [])],
        lists:member(mongoose_domain_native, Apps)
    end).

%% In place of the release's.
replace_vm(Script, Config) ->
    [Erlexec] = filelib:wildcard(mim("erts-*/bin/erlexec", Config)),
    overwrite_file(Erlexec, ["#!/bin/sh\n", Script, "\n"]).

rebar3(Words, Config) ->
    {0, _} = command(os:find_executable("rebar3"), string:lexemes(Words, " "),
                     [{cd, mim("", Config)},
                      {env, [{"REBAR_BASE_DIR", mim("", Config) ++ ".built"}]}]).

%% What rebar3 has built, as the release of the test.
built(Path, Config) ->
    lists:keystore(mim, 1, Config, {mim, filename:join(mim("", Config) ++ ".built", Path)}).
