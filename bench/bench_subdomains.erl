%% @doc Names below domains: `mongoose_subdomain_core' against a process with a table of all names.
-module(bench_subdomains).

-export([databases/1, steps/2]).
-export([measure/3, load/3]).

%% For three modules, as `mod_muc', `mod_pubsub' and `mod_http_upload' would register them.
-define(PREFIXES, [<<"muc.">>, <<"pubsub.">>, <<"upload.">>]).
-define(HOST_TYPE, <<"type1">>).
-define(SIDES, [bench_reference_subdomains, mongoose_subdomain_core]).
%% Names that a process looks up in a turn.
-define(KEYS, 100000).
%% Domains that are added, or removed, in a sample of ours.
-define(CHANGES, 1000).

-spec databases(bench:plan()) -> [bench:database()].
databases(#{large := Large}) ->
    [{postgres, Large, shared}].

-spec steps(bench:plan(), bench:urls()) -> [bench:step()].
steps(#{large := Large, load_pairs := Pairs} = Plan, Urls) ->
    #{{postgres, Large, shared} := Url} = Urls,
    Amount = bench_report:amount(Large),
    [{["names below ", Amount, " domains"],
      fun() -> bench_node:in_fresh_node(?MODULE, measure, [Large, Url, Plan]) end},
     {["cold loads of ", Amount, " with names below them"],
      fun() ->
          In = fun(With) -> bench_node:in_fresh_node(?MODULE, load, [With, Large, Url]) end,
          Samples = bench_pairs:samples(max(3, Pairs), fun() -> In(nobody) end,
                                        fun() -> In(three_drop_ins) end),
          [bench_pairs:result("cold load, all told, with three drop-ins to nobody to tell",
                              [Amount, ", 3 patterns"], {share, <<"s">>}, {at_most, 1.2}, Samples)]
      end}].

%% @private
%% @doc In a fresh node.
-spec measure(Size :: pos_integer(), Url :: string(), bench:plan()) -> [bench_pairs:result()].
measure(Size, Url, Plan) ->
    ok = bench_node:load_both(Url),
    {ok, _} = bench_reference_subdomains:start_link(),
    At = [bench_report:amount(Size), " domains, 3 patterns"],
    registration(At) ++ [memory(Size, At)] ++ lookups(Size, At, Plan) ++ changes(Size, At).

%% Until all names are there: of ours they are when it is answered.
registration(At) ->
    Register = fun(Module, Prefix) ->
                   ok = Module:register_subdomain(?HOST_TYPE, {prefix, Prefix}, handler),
                   ok = Module:sync()
               end,
    Samples = [{bench_pairs:timed(fun() -> Register(bench_reference_subdomains, Prefix) end),
                begin
                    Seconds = bench_pairs:timed(fun() -> ok = answered(Prefix) end),
                    ok = mongoose_subdomain_core:sync(),
                    Seconds
                end} || Prefix <- ?PREFIXES],
    Again = [begin
                 ok = mongoose_subdomain_core:unregister_subdomain(?HOST_TYPE, {prefix, Prefix}),
                 bench_pairs:timed(fun() -> Register(mongoose_subdomain_core, Prefix) end)
             end || Prefix <- ?PREFIXES],
    [bench_pairs:result("registering a prefix, until its names are there", At, {time, <<"s">>},
                        {at_least, 1000}, Samples),
     bench_pairs:finding("registering a prefix, until collisions are looked for", At, <<"s">>, none,
                         bench_pairs:median(Again), Again)].

answered(Prefix) ->
    mongoose_subdomain_core:register_subdomain(?HOST_TYPE, {prefix, Prefix}, handler).

%% What the patterns take, all registered; the reference's is that of its table.
memory(Size, At) ->
    Names = Size * length(?PREFIXES),
    _ = [ok = mongoose_subdomain_core:unregister_subdomain(?HOST_TYPE, {prefix, Prefix})
         || Prefix <- ?PREFIXES],
    ok = bench_node:settle(),
    Before = bench_node:resident(),
    _ = [ok = answered(Prefix) || Prefix <- ?PREFIXES],
    ok = mongoose_subdomain_core:sync(),
    ok = bench_node:settle(),
    Ours = max(0, bench_node:resident() - Before) / Names,
    Reference = bench_reference_subdomains:memory() / Names,
    #{ours := [_]} = Result =
        bench_pairs:finding("memory per domain and pattern", At, <<"B">>, {at_most, 1}, Ours,
                            [Ours]),
    Result#{notes => [iolist_to_binary(io_lib:format("the reference: ~.1f B", [Reference]))]}.

lookups(Size, At, #{pairs := Pairs, sample := Sample}) ->
    [begin
         Keys = [keys(Kind, Size) || _ <- lists:seq(1, Processes)],
         Rate = fun(Module) -> fun() -> rate(Module, Function, Keys, Sample) end end,
         [Reference, Ours] = [Rate(Module) || Module <- ?SIDES],
         bench_pairs:result(io_lib:format("subdomain: ~s, ~s", [Function, Kind]),
                            [At, io_lib:format(", processes: ~b", [Processes])],
                            {rate, <<"1/s">>}, Target, bench_pairs:samples(Pairs, Reference, Ours))
     end || {Function, Kind, Target} <- [{get_host_type, hit, {at_least, 1.5}},
                                         {get_host_type, miss, {at_least, 1.5}},
                                         {get_subdomain_info, hit, none},
                                         {get_subdomain_info, miss, none}],
            Processes <- [1, 8]].

%% The last of the three is tried last.
keys(Kind, Size) ->
    Prefixes = list_to_tuple(?PREFIXES),
    Domain = case Kind of
                 hit -> fun bench_database:name/1;
                 miss -> fun bench_database:missing_name/1
             end,
    Key = fun() ->
              Prefix = element(rand:uniform(tuple_size(Prefixes)), Prefixes),
              <<Prefix/binary, (Domain(rand:uniform(Size)))/binary>>
          end,
    [Key() || _ <- lists:seq(1, ?KEYS)].

%% Each process has its keys, and begins at the signal.
rate(Module, Function, KeysOfEach, Milliseconds) ->
    Parent = self(),
    Workers = [spawn_link(fun() ->
                              Copies = [binary:copy(Key) || Key <- Keys],
                              true = erlang:garbage_collect(),
                              ok = walk(Module, Function, Copies),
                              Parent ! {self(), ready},
                              receive go -> ok end,
                              Until = erlang:monotonic_time(millisecond) + Milliseconds,
                              Parent ! {self(), rounds(Module, Function, Copies, Until, 0)}
                          end) || Keys <- KeysOfEach],
    _ = [receive {Worker, ready} -> ok end || Worker <- Workers],
    Began = erlang:monotonic_time(microsecond),
    _ = [Worker ! go || Worker <- Workers],
    Rounds = lists:sum([receive {Worker, Count} -> Count end || Worker <- Workers]),
    Rounds * ?KEYS / (erlang:monotonic_time(microsecond) - Began) * 1000000.

rounds(Module, Function, Keys, Until, Count) ->
    ok = walk(Module, Function, Keys),
    case erlang:monotonic_time(millisecond) < Until of
        true -> rounds(Module, Function, Keys, Until, Count + 1);
        false -> Count + 1
    end.

%% Written out: a call by a variable would cost something of its own.
walk(bench_reference_subdomains, get_host_type, Keys) -> reference_host_type(Keys);
walk(mongoose_subdomain_core, get_host_type, Keys) -> our_host_type(Keys);
walk(bench_reference_subdomains, get_subdomain_info, Keys) -> reference_info(Keys);
walk(mongoose_subdomain_core, get_subdomain_info, Keys) -> our_info(Keys).

-define(WALK(Name, Module, Function),
        Name([Key | Keys]) -> _ = Module:Function(Key), Name(Keys);
        Name([]) -> ok).
?WALK(reference_host_type, bench_reference_subdomains, get_host_type).
?WALK(our_host_type, mongoose_subdomain_core, get_host_type).
?WALK(reference_info, bench_reference_subdomains, get_subdomain_info).
?WALK(our_info, mongoose_subdomain_core, get_subdomain_info).

%% Seconds for one domain, until it is done.
changes(Size, At) ->
    [begin
         Seconds = fun(Module, Count) ->
                       Domains = [bench_database:name(rand:uniform(Size))
                                  || _ <- lists:seq(1, Count)],
                       Change = fun(Domain) -> ok = Module:Function(?HOST_TYPE, Domain) end,
                       bench_pairs:timed(fun() ->
                           lists:foreach(Change, Domains),
                           ok = Module:sync()
                       end) / Count
                   end,
         Samples = bench_pairs:samples(3, fun() -> Seconds(bench_reference_subdomains, 2) end,
                                       fun() -> Seconds(mongoose_subdomain_core, ?CHANGES) end),
         bench_pairs:result(What, At, {time, <<"s">>}, Target, Samples)
     end || {What, Function, Target} <- [{"removing a domain", remove_domain, {at_least, 10000}},
                                         {"adding a domain", add_domain, none}]].

%% @private
%% @doc In a fresh node: seconds until all domains route and everybody is told.
-spec load(nobody | three_drop_ins, Size :: pos_integer(), Url :: string()) -> float().
load(With, Size, Url) ->
    _ = With =:= three_drop_ins andalso mongooseim(),
    ok = bench_node:settle(),
    bench_pairs:timed(fun() ->
        ok = bench_node:start(ours, Url, [], nobody),
        _ = [ok = answered(Prefix) || With =:= three_drop_ins, Prefix <- ?PREFIXES],
        ok = bench_node:load(ours, Url),
        ok = mongoose_subdomain_core:sync(),
        Size = mongoose_domain_core:domains_count()
    end).

%% Its modules that are told, and the table of its hooks, of which none is for names below domains.
mongooseim() ->
    gen_hook = ets:new(gen_hook, [named_table, public]),
    true = ets:insert(gen_hook, {{some_hook, global}, [handler]}),
    Keeper = spawn(fun() -> receive after infinity -> ok end end),
    true = ets:give_away(gen_hook, Keeper, none),
    module(mongoose_hooks, ["register_subhost(_, _) -> ok.", "unregister_subhost(_) -> ok."],
           "[register_subhost/2, unregister_subhost/1]"),
    module(mongoose_lazy_routing, ["maybe_remove_domain(_, _) -> ok.",
                                   "maybe_remove_subdomain(_) -> ok."],
           "[maybe_remove_domain/2, maybe_remove_subdomain/1]").

module(Name, Functions, Exports) ->
    Texts = ["-module(" ++ atom_to_list(Name) ++ ").", "-export(" ++ Exports ++ ")." | Functions],
    Forms = [begin
                 {ok, Tokens, _} = erl_scan:string(Text),
                 {ok, Form} = erl_parse:parse_form(Tokens),
                 Form
             end || Text <- Texts],
    {ok, Name, Binary} = compile:forms(Forms),
    {module, Name} = code:load_binary(Name, "bench", Binary).
