%% @doc Cold loads: from the start of a fresh node's table until it has every domain and everybody
%% was notified; the memory that takes; and PostgreSQL's `COPY' of the same rows to a pipe, for
%% comparison.
%%
%% The mailbox of the process that is notified is watched: what waits there is not done yet.
-module(bench_loads).

-export([databases/1, steps/2]).
-export([load/4, route/3]).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{large := Large}) ->
    [{Kind, Large, shared} || Kind <- [postgres, mysql]].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{large := Large, load_pairs := Pairs}, Urls) ->
    #{{postgres, Large, shared} := Postgres, {mysql, Large, shared} := MariaDB} = Urls,
    Amount = bench_report:amount(Large),
    [{["cold loads of ", Amount, " from PostgreSQL"],
      fun() -> from_postgres(Large, pairs(Pairs, Postgres, Large, notified)) end},
     {["cold loads of ", Amount, " from PostgreSQL, with nobody to tell"],
      fun() -> from_postgres_nobody(Large, pairs(Pairs, Postgres, Large, nobody)) end},
     {["cold loads of ", Amount, " from PostgreSQL, with a slow receiver"],
      fun() -> with_receiver(Pairs, Postgres, Large) end},
     {["cold loads of ", Amount, " from MariaDB"],
      fun() ->
          Samples = pairs(Pairs, MariaDB, Large, notified),
          [result("cold load from MariaDB", [Amount, ", all notified"], {time, <<"s">>},
                  {at_least, 5.0}, seconds, Samples)]
      end}].

from_postgres(Size, Samples) ->
    At = [bench_report:amount(Size), ", all notified"],
    [result("cold load from PostgreSQL", At, {time, <<"s">>}, {at_least, 8.0}, seconds, Samples),
     against_copy("cold load from PostgreSQL", At, {at_most, 2.0}, seconds, Samples),
     result("cold load, longest mailbox of who is notified", At, {share, <<"messages">>}, none,
            mailbox, Samples)].

from_postgres_nobody(Size, Samples) ->
    Amount = bench_report:amount(Size),
    At = [Amount, ", nobody to tell"],
    [result("cold load from PostgreSQL", At, {time, <<"s">>}, none, seconds, Samples),
     against_copy("cold load from PostgreSQL", At, none, seconds, Samples),
     against_copy("audit", Amount, none, audit, Samples),
     result("memory per domain", Amount, {share, <<"B">>}, {at_most, 0.7}, memory, Samples)].

%% The table is full long before a slow receiver has handled everything.
with_receiver(Count, Url, Size) ->
    In = fun(Receiver) -> bench_node:in_fresh_node(?MODULE, route, [Receiver, Url, Size]) end,
    Samples = bench_pairs:samples(Count, fun() -> In(nobody) end, fun() -> In(receiver) end),
    [bench_pairs:result("cold load, until all route, with a receiver of 6 us to nobody",
                        bench_report:amount(Size), {share, <<"s">>}, {at_most, 1.3}, Samples)].

result(What, At, Unit, Target, Key, Samples) ->
    Pairs = [{maps:get(Key, Reference), maps:get(Key, Ours)} || {Reference, Ours} <- Samples],
    bench_pairs:result(What, At, Unit, Target, Pairs).

against_copy(What, At, Target, Key, Samples) ->
    Pairs = [{Copy, maps:get(Key, Ours)} || {_, #{copy := Copy} = Ours} <- Samples],
    bench_pairs:result([What, ", against COPY to a pipe"], At, {share, <<"s">>}, Target, Pairs).

pairs(Count, Url, Size, Listening) ->
    In = fun(Side) -> bench_node:in_fresh_node(?MODULE, load, [Side, Url, Size, Listening]) end,
    bench_pairs:samples(Count, fun() -> In(reference) end,
                        fun() -> with_copy(Url, In(ours)) end).

with_copy("postgres:" ++ _ = Url, Sample) ->
    Sample#{copy => bench_database:copy(Url)};
with_copy(_MariaDB, Sample) ->
    Sample.

%% @private
%% @doc In a fresh node.
-spec load(bench_node:side(), Url :: string(), Size :: pos_integer(), bench_node:listening()) ->
    #{seconds := float(), memory := number(), mailbox := non_neg_integer(), audit => float()}.
load(Side, Url, Size, Listening) ->
    ok = bench_node:settle(),
    Before = bench_node:resident(),
    Mailbox = bench_listener:mailbox_of(who_is_told(Side)),
    Seconds = bench_pairs:timed(fun() ->
        ok = bench_node:start(Side, Url, [], Listening),
        ok = bench_node:load(Side, Url),
        _ = Listening =:= notified andalso
            bench_node:wait_until(fun() -> bench_listener:count() =:= Size end)
    end),
    Size = (bench_node:module(Side)):domains_count(),
    Longest = bench_listener:longest(Mailbox),
    ok = bench_node:settle(),
    Memory = bench_node:resident() - Before,
    maps:merge(#{seconds => Seconds, mailbox => Longest, memory => Memory / Size}, audit(Side)).

%% @private
%% @doc In a fresh node: seconds until all domains route.
-spec route(nobody | receiver, Url :: string(), Size :: pos_integer()) -> float().
route(Receiver, Url, Size) ->
    _ = Receiver =:= receiver andalso bench_receiver:start(),
    ok = bench_node:settle(),
    bench_pairs:timed(fun() ->
        ok = bench_node:start(ours, Url, [], nobody),
        bench_node:wait_until(fun() -> mongoose_domain_core:domains_count() =:= Size end)
    end).

%% The reference has none.
audit(reference) ->
    #{};
audit(ours) ->
    #{audit => bench_pairs:timed(fun() -> ok = service_domain_db:verify() end)}.

who_is_told(reference) -> bench_listener;
who_is_told(ours) -> mongoose_domain_hooks.
