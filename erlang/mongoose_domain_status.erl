%% @doc How this node follows the database: its status, and whether its table is right.
-module(mongoose_domain_status).

-export([status/0, verify/0]).

-export_type([status/0, verified/0]).

-define(SERVICE, service_domain_db).

%% What the node did and saw since its table was made.
-type status() ::
    #{%% `retrying': the last check failed, and the next one comes by itself.
      state := loading | following | retrying | stopped,
      %% The newest event id up to which the table has everything; 0 if the log was empty.
      position := non_neg_integer() | undefined,
      %% The newest event id when the log was last looked at, and how far it is ahead.
      newest_event := pos_integer() | undefined,
      lag := non_neg_integer() | undefined,
      %% Since a check last ended well.
      seconds_since_check := float() | undefined,
      %% Checks that ended well.
      checks := non_neg_integer(),
      loads := non_neg_integer(),
      %% By reason: `too_old', `went_backwards', `differs' (an audit), `requested' (restart/0).
      reloads := #{atom() => pos_integer()},
      %% Missing event ids that are settled, and the dummies written for them.
      gaps_settled := non_neg_integer(),
      dummies_written := non_neg_integer(),
      audits := non_neg_integer(),
      errors := #{atom() => pos_integer()},
      last_error := mongoose_domain_nif:failure() | undefined,
      %% The domains of the table: all, and those of the database.
      domains := non_neg_integer(),
      followed := non_neg_integer()}.

%% `differs': domains for which the table was wrong, how many were found, and the first ten.
-type verified() :: ok
                  | {differs, Count :: pos_integer(), [mongoose_domain_nif:difference()]}
                  | {error, mongoose_domain_nif:failure()}.

%% @doc Asks neither the process of the service nor the database. Raises `badarg' when there is no
%% routing table.
-spec status() -> status().
status() ->
    Statistics = mongoose_domain_nif:statistics(),
    #{position := Position, newest_event := Newest, failing := IsFailing} = Statistics,
    Status = maps:remove(failing, Statistics),
    Status#{state => state(whereis(?SERVICE), IsFailing, Position), lag => lag(Position, Newest),
            domains => mongoose_domain_nif:domains_count()}.

%% @doc Compares the table with the database now. `ok': all domains that follow the database are as
%% it says. `differs': they were not, although no event was pending; they are being loaded again.
%% `{error, {stopped, _}}': the service does not run, or was restarted meanwhile.
-spec verify() -> verified().
verify() ->
    try gen_server:call(?SERVICE, verify, infinity)
    catch exit:_ -> {error, {stopped, <<"service_domain_db is not running">>}}
    end.

state(undefined, _IsFailing, _Position) -> stopped;
state(_Pid, true, _Position) -> retrying;
state(_Pid, false, undefined) -> loading;
state(_Pid, false, _Position) -> following.

lag(undefined, _Newest) -> undefined;
lag(_Position, undefined) -> 0;
lag(Position, Newest) -> max(0, Newest - Position).
