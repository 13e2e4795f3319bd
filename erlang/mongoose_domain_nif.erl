%% @doc The functions in Rust, and the loader of their library. Nothing else.
%%
%% A function that needs the routing table raises `badarg' when there is none, as a read of a
%% missing ETS table does. Terms of the wrong type raise `badarg', too; but where a domain or a host
%% type is only looked for, any term is taken, and what is no binary is not found.
%%
%% Requests to databases are answered by messages `{mongoose_domain_nif, Ref, Reply}' to the process
%% that called, where `Ref' is the reference it gave: always, and the final one exactly once.
-module(mongoose_domain_nif).

-export([start_table/3, stop_table/0, check_start_args/2, check_name/1]).
-export([prepare_name/1, is_prepared/1]).
-export([get_host_type/1, is_static/1, is_host_type_allowed/1, domains_count/0]).
-export([get_all_static/0, get_all_dynamic/0, get_all_outdated/1, get_domains_by_host_type/1]).
-export([get_start_args/0, has_host_type/2, removals/0, insert/3, delete/1]).
-export([open_database/1, close_database/1, request/3]).
-export([start_follower/2, send_to_follower/2, stop_follower/1, forget_position/0]).
-export([apply_batch/2, pending/3, keep/1, kept_term/0]).
-export([start_subdomains/1, stop_subdomains/0, register_pattern/3, unregister_pattern/2]).
-export([subdomain_host_type/1, subdomain_info/1, subdomains_of/1, made_subdomains/2]).
-export([collides/2, colliding_domains/2, domains_and_transitions/1, transitions/0]).
-export([statistics/0, count_error/2, host_types/0]).
-export([priv_file/1]).

-on_load(load/0).
-nifs([start_table/3, stop_table/0, check_start_args/2, check_name/1,
       prepare_name/1, is_prepared/1,
       get_host_type/1, is_static/1, is_host_type_allowed/1, domains_count/0,
       get_all_static/0, get_all_dynamic/0, get_all_outdated/1, get_domains_by_host_type/1,
       get_start_args/0, has_host_type/2, removals/0, insert/3, delete/1,
       open_database/1, close_database/1, request/3,
       start_follower/2, send_to_follower/2, stop_follower/1, forget_position/0,
       apply_batch/2, pending/3, keep/1, kept_term/0,
       start_subdomains/1, stop_subdomains/0, register_pattern/3, unregister_pattern/2,
       subdomain_host_type/1, subdomain_info/1, subdomains_of/1, made_subdomains/2,
       collides/2, colliding_domains/2, domains_and_transitions/1, transitions/0,
       statistics/0, count_error/2, host_types/0]).

-export_type([database/0, database_options/0, request/0, row/0, failure/0, follower/0, batch/0,
              transition/0, difference/0, statistics/0, pattern/0, subdomain/0, made/0]).

-type domain() :: binary().
-type host_type() :: binary().

-opaque database() :: reference().
-opaque follower() :: reference().
-opaque batch() :: reference().

%% Where the database is, and how it may be used.
-type database_options() ::
    #{url := binary(), max_connections := 1..100, query_timeout := milliseconds(),
      idle_timeout := milliseconds()}
  | #{driver := postgres | mysql, host := binary(), port := inet:port_number(),
      database := binary(), username := binary(), password := binary(), tls := tls(),
      max_connections := 1..100,
      %% For each connection attempt and each operation.
      query_timeout := milliseconds(),
      %% A connection that has not been used for so long is closed.
      idle_timeout := milliseconds()}.

-type milliseconds() :: 1..3600000.

%% Each mode accepts less than the one before: no TLS; if the server offers it; always; by a
%% certificate of the authorities; and for the host. Files are PEM, and read by each connection.
-type tls() :: #{mode := off | preferred | required | verify_ca | verify_full,
                 ca => pem(), client => {CertificateFile :: binary(), Key :: pem()}}.

%% The name of a file, or what could be in one.
-type pem() :: {file | pem, binary()}.

-type failure() :: {Reason :: atom(), Text :: binary()}.

-type row() :: {Id :: integer(), domain(), host_type(), disabled | enabled | deleting}.

%% A request, and its reply. Any of them may be answered `{error, failure()}'.
-type request() ::
    create_schema                                       %% {ok, done}
  | {insert_domain, domain(), host_type()}              %% {ok, inserted | {exists, row()}}
  | {enable_domain, domain()}                           %% {ok, done | not_found | deleting}
  | {disable_domain, domain()}                          %% {ok, done | not_found | deleting}
  | {mark_deleting, domain(), host_type()}              %% {ok, done | not_found
                                                        %%      | {wrong_host_type, host_type()}}
  | {delete_domain, domain(), host_type()}              %% {ok, done | not_found}
  | {select_domain, domain()}                           %% {ok, row() | not_found}
    %% What to keep of the password of the domain's administrator.
  | {set_password, domain(), Details :: binary(), IsStatic :: boolean()} %% {ok, done | not_found}
  | {delete_password, domain()}                         %% {ok, done | not_found}
  | {select_password, domain()}                         %% {ok, Details :: binary() | not_found}
  | {select_page, any | disabled | enabled | deleting, After :: integer(), Limit :: 1..10000}
                                                        %% {ok, [row()]}, by id
  | newest_event                                        %% {ok, integer() | nil}
  | {delete_events_below, integer(), Limit :: 1..10000} %% {ok, non_neg_integer()}
    %% The statement that would add the index that is missing.
  | missing_index.                                      %% {ok, binary() | none}

%% A domain lost a host type, got one, or both.
-type transition() :: {domain(), Removed :: host_type() | undefined,
                       Added :: host_type() | undefined}.

%% What makes names below the domains of a host type, or one name.
-type pattern() :: {prefix | fqdn, binary()}.
-type subdomain() :: #{host_type := host_type(), subdomain := domain(),
                       subdomain_pattern := pattern(),
                       parent_domain := domain() | no_parent_domain, packet_handler := term()}.
%% A name that a prefix makes for a domain. Does somebody else make it, too? Is it a domain's?
-type made() :: {subdomain(), IsContested :: boolean(), IsDomain :: boolean()}.

%% A domain for which the table is wrong.
-type difference() :: {domain(), InTable :: host_type() | undefined,
                       InDatabase :: host_type() | undefined}.

%% What was done and seen since the table was made; see service_domain_db:status/0.
-type statistics() :: #{position := integer() | undefined,
                        newest_event := integer() | undefined,
                        seconds_since_check := float() | undefined,
                        checks := non_neg_integer(),
                        loads := non_neg_integer(),
                        reloads := #{atom() => pos_integer()},
                        gaps_settled := non_neg_integer(),
                        dummies_written := non_neg_integer(),
                        audits := non_neg_integer(),
                        errors := #{atom() => pos_integer()},
                        last_error := failure() | undefined,
                        failing := boolean(),
                        followed := non_neg_integer()}.

load() ->
    erlang:load_nif(filename:rootname(priv_file(?MODULE_STRING ++ ".so")), 0).

%% A file that is built lies in the application's `priv', or, when the modules were put into another
%% application (a MongooseIM release), in the `priv' beside this module's `ebin'.
-spec priv_file(Name :: string()) -> file:filename().
priv_file(Name) ->
    Beside = filename:join([filename:dirname(code:which(?MODULE)), "..", "priv"]),
    Dirs = case code:priv_dir(mongoose_domain_native) of
               {error, bad_name} -> [Beside];
               Dir -> [Dir, Beside]
           end,
    Files = [filename:join(Dir, Name) || Dir <- Dirs],
    Found = [File || File <- Files, filelib:is_regular(File)],
    hd(Found ++ Files).

%% Begins with a fresh table; or keeps the one that the same owner (the supervisor) started with the
%% same arguments and that was not stopped.
-spec start_table([{domain(), host_type()}], [host_type()], Owner :: term()) -> fresh | kept.
start_table(_Pairs, _AllowedHostTypes, _Owner) -> erlang:nif_error(not_loaded).

-spec stop_table() -> ok.
stop_table() -> erlang:nif_error(not_loaded).

-spec check_start_args(term(), term()) -> ok | {error, Argument :: 1..2, binary()}.
check_start_args(_Pairs, _AllowedHostTypes) -> erlang:nif_error(not_loaded).

%% May a domain or a host type be called so? Says what is wrong, as in `must not be empty'.
-spec check_name(term()) -> ok | {error, binary()}.
check_name(_Name) -> erlang:nif_error(not_loaded).

%% The name of a domain by nameprep (RFC 3491), or what is wrong with it.
-spec prepare_name(term()) -> {ok, domain()} | {error, binary()}.
prepare_name(_Name) -> erlang:nif_error(not_loaded).

%% Does routing ask for names of this form? A domain of another name can never route.
-spec is_prepared(term()) -> boolean().
is_prepared(_Name) -> erlang:nif_error(not_loaded).

-spec get_host_type(term()) -> {ok, host_type()} | {error, not_found}.
get_host_type(_Domain) -> erlang:nif_error(not_loaded).

-spec is_static(term()) -> boolean().
is_static(_Domain) -> erlang:nif_error(not_loaded).

-spec is_host_type_allowed(term()) -> boolean().
is_host_type_allowed(_HostType) -> erlang:nif_error(not_loaded).

-spec domains_count() -> non_neg_integer().
domains_count() -> erlang:nif_error(not_loaded).

-spec get_all_static() -> [{domain(), host_type()}].
get_all_static() -> erlang:nif_error(not_loaded).

-spec get_all_dynamic() -> [{domain(), host_type()}].
get_all_dynamic() -> erlang:nif_error(not_loaded).

-spec get_all_outdated(Source :: term()) -> [{domain(), host_type()}].
get_all_outdated(_Source) -> erlang:nif_error(not_loaded).

-spec get_domains_by_host_type(host_type()) -> [domain()].
get_domains_by_host_type(_HostType) -> erlang:nif_error(not_loaded).

-spec get_start_args() -> [term()].
get_start_args() -> erlang:nif_error(not_loaded).

-spec has_host_type(domain(), host_type()) -> boolean().
has_host_type(_Domain, _HostType) -> erlang:nif_error(not_loaded).

%% A number that stays the same as long as no domain has lost its host type.
-spec removals() -> non_neg_integer().
removals() -> erlang:nif_error(not_loaded).

%% Changes are only for the process that writes the table. They run where they are called, and go
%% on on a dirty scheduler when they would wait.

-spec insert(domain(), host_type(), Source :: term()) ->
    inserted | refreshed | {error, unknown_host_type | static | bad_insert}.
insert(_Domain, _HostType, _Source) -> erlang:nif_error(not_loaded).

-spec delete(term()) -> removed | absent | {error, static}.
delete(_Domain) -> erlang:nif_error(not_loaded).

%% Checks the options; connects only when the first request needs it.
-spec open_database(database_options()) -> {ok, database()} | {error, failure()}.
open_database(_Options) -> erlang:nif_error(not_loaded).

-spec close_database(database()) -> ok.
close_database(_Database) -> erlang:nif_error(not_loaded).

-spec request(database(), request(), reference()) -> ok | {error, failure()}.
request(_Database, _Request, _Ref) -> erlang:nif_error(not_loaded).

%% Starts a follower, which loads the domains and then follows the event log. Ages and intervals are
%% in seconds. It asks the calling process by messages `{mongoose_domain_nif, Ref, Message}' to do
%% something: `open', the database; `{apply, batch()}'; `{answer, gen_server:from(), Answer}';
%% `{log, Level, Report}'; `reload', by service_domain_db:restart(). At its end comes, once,
%% `{error, failure()}'. It ends, too, when nobody refers to it any more.
-spec start_follower(#{max_age := non_neg_integer(), audit_interval := pos_integer()},
                     reference()) -> {ok, follower()} | {error, failure()}.
start_follower(_Options, _Ref) -> erlang:nif_error(not_loaded).

%% What happened: somebody asks for something, or what the follower asked for is done.
-spec send_to_follower(follower(), check_for_updates | restart_requested | restart_without_effect
                              | {ping | verify | await_first_load, From :: term()}
                              | {opened, database(), MaxRetry :: milliseconds()}
                              | {not_opened, failure()}
                              | {applied, done | table_replaced | no_table}) -> ok.
send_to_follower(_Follower, _Happened) -> erlang:nif_error(not_loaded).

-spec stop_follower(follower()) -> ok.
stop_follower(_Follower) -> erlang:nif_error(not_loaded).

%% Applies up to `Limit' changes. `stale': the table that the batch was made for is gone. Only for
%% the process that writes the table; transitions are then pending. Runs where it is called when
%% that does not take long, else on a dirty scheduler.
-spec apply_batch(batch(), Limit :: non_neg_integer()) -> more | done | {error, stale}.
apply_batch(_Batch, _Limit) -> erlang:nif_error(not_loaded).

%% The transitions that others have not been notified of yet. First those are forgotten of which
%% others have been notified: up to the `Done'th since the table was made, or `all' because nobody
%% wants to be. How many are forgotten by now; the next ones, in order, at most so many (and at most
%% 1,000); and how many come after them. With `colliding' the additions that do not collide/2 are
%% forgotten, too, and the list ends before the next one of them.
-spec pending(Done :: non_neg_integer() | all, Limit :: non_neg_integer(),
              Additions :: all | colliding) ->
    {Done :: non_neg_integer(), [transition()], Rest :: non_neg_integer()}.
pending(_Done, _Limit, _Additions) -> erlang:nif_error(not_loaded).

%% Keeps a term beside the table, as long as that exists, unless there is one; returns the one that
%% is kept.
-spec keep(Term) -> Term.
keep(_Term) -> erlang:nif_error(not_loaded).

%% The term that is kept there.
-spec kept_term() -> term().
kept_term() -> erlang:nif_error(not_loaded).

%% Names below domains (`mongoose_subdomain_core'). A function that needs the patterns raises
%% `badarg' when there are none: before start_subdomains/1 and after stop_subdomains/0. Without a
%% routing table there are whole names only.

%% Begins without patterns; or keeps those that the same owner had and did not stop.
-spec start_subdomains(Owner :: term()) -> fresh | kept.
start_subdomains(_Owner) -> erlang:nif_error(not_loaded).

-spec stop_subdomains() -> ok.
stop_subdomains() -> erlang:nif_error(not_loaded).

%% Raises `badarg' for a host type or a text that is no name (check_name/1).
-spec register_pattern(host_type(), pattern(), Handler :: term()) ->
    ok | {error, already_registered | subdomain_already_exists}.
register_pattern(_HostType, _Pattern, _Handler) -> erlang:nif_error(not_loaded).

%% `undefined': it was not there, or made no name because that was there before.
-spec unregister_pattern(host_type(), pattern()) -> {ok, Handler :: term()} | undefined.
unregister_pattern(_HostType, _Pattern) -> erlang:nif_error(not_loaded).

-spec subdomain_host_type(term()) -> {ok, host_type()} | {error, not_found}.
subdomain_host_type(_Name) -> erlang:nif_error(not_loaded).

-spec subdomain_info(term()) -> {ok, subdomain()} | {error, not_found}.
subdomain_info(_Name) -> erlang:nif_error(not_loaded).

-spec subdomains_of(domain() | no_parent_domain | term()) -> [subdomain()].
subdomains_of(_Domain) -> erlang:nif_error(not_loaded).

%% What the prefixes of a host type make for a domain, whether it routes or not.
-spec made_subdomains(host_type(), domain()) -> [made()].
made_subdomains(_HostType, _Domain) -> erlang:nif_error(not_loaded).

%% Is a domain that begins to route a subdomain, too, or is a name below it contested or a domain's?
-spec collides(host_type(), domain()) -> boolean().
collides(_HostType, _Domain) -> erlang:nif_error(not_loaded).

%% The domains of a host type for which such names come with a prefix.
-spec colliding_domains(host_type(), Prefix :: binary()) -> [domain()].
colliding_domains(_HostType, _Prefix) -> erlang:nif_error(not_loaded).

%% A number that grows by one with each transition, also from one table to the next; 0 without one.
-spec transitions() -> non_neg_integer().
transitions() -> erlang:nif_error(not_loaded).

%% The domains of a host type, and transitions/0 when it had them.
-spec domains_and_transitions(host_type()) -> {[domain()], non_neg_integer()}.
domains_and_transitions(_HostType) -> erlang:nif_error(not_loaded).

%% The next check loads everything.
-spec forget_position() -> ok.
forget_position() -> erlang:nif_error(not_loaded).

-spec statistics() -> statistics().
statistics() -> erlang:nif_error(not_loaded).

%% A failure of the database that was no check's.
-spec count_error(Reason :: atom(), Text :: binary()) -> ok.
count_error(_Reason, _Text) -> erlang:nif_error(not_loaded).

%% Every host type that the table knows, whether dynamic domains may have it, and how many domains
%% route by it.
-spec host_types() -> [{host_type(), IsAllowed :: boolean(), Domains :: non_neg_integer()}].
host_types() -> erlang:nif_error(not_loaded).
