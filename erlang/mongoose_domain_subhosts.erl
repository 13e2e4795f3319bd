%% @doc Tells others of names below domains that begin and end. For `mongoose_subdomain_core'.
-module(mongoose_domain_subhosts).

-export([domains/4, made/3, later/4, fqdn/1, name_began/2, made_by/3, ended/2, name_ended/1]).

-type host_type() :: mongoose_domain_core:host_type().
-type pattern() :: mongoose_domain_nif:pattern().
-type info() :: mongoose_domain_nif:subdomain().

%% For a prefix, the number of transitions of the table that were over when it was registered: what
%% came by them is told then, and not again when `mongoose_subdomain_core:add_domain/2' comes.
-type numbers() :: #{{host_type(), pattern()} => non_neg_integer()}.
-export_type([numbers/0]).

%% Names of which others are told before it is answered that they have ended; and those of a step
%% after that.
-define(FEW, 1000).
-define(STEP, 500).
%% Milliseconds that a step waits at most for those who are told.
-define(PACE, 500).

%% @doc The domains of which something is to be said when a prefix is registered: all, or those that
%% collide. What came by later transitions than this number is told when it is added. One that comes
%% while collisions are looked for may be logged then, too: twice rather than not at all.
%%
%% Calls the function as soon as the number is known, so that whatever is changed after the answer
%% comes later than what is told here.
-spec domains(host_type(), pattern(), IsAll :: boolean(), fun(() -> any())) ->
    {[mongoose_domain_core:domain()], Number :: non_neg_integer()}.
domains(HostType, {prefix, Prefix}, IsAll, Then) ->
    {All, Number} = case IsAll of
                        true -> mongoose_domain_nif:domains_and_transitions(HostType);
                        false -> {none, mongoose_domain_nif:transitions()}
                    end,
    _ = Then(),
    %% Also makes a note of what begins like the prefix.
    Colliding = mongoose_domain_nif:colliding_domains(HostType, Prefix),
    {case All of none -> Colliding; _ -> All end, Number}.

%% @doc What a prefix makes for a domain.
-spec made(host_type(), mongoose_domain_core:domain(), pattern()) -> [mongoose_domain_nif:made()].
made(HostType, Domain, Pattern) ->
    [Made || {#{subdomain_pattern := Of}, _, _} = Made
                 <- mongoose_domain_nif:made_subdomains(HostType, Domain), Of =:= Pattern].

%% @doc What is made by prefixes that were registered before this transition.
-spec later(host_type(), non_neg_integer(), [Made], numbers()) -> [Made]
              when Made :: mongoose_domain_nif:made().
later(HostType, Number, Made, Numbers) ->
    [It || {#{subdomain_pattern := Pattern}, _, _} = It <- Made,
           Number > maps:get({HostType, Pattern}, Numbers, 0)].

%% @doc A whole name that was registered.
-spec fqdn(binary()) -> mongoose_domain_nif:made().
fqdn(Name) ->
    {ok, Info} = mongoose_domain_nif:subdomain_info(Name),
    {Info, false, mongoose_domain_host:is_domain(Name)}.

%% @doc A name that was somebody else's only gets another owner, or keeps the one it has.
-spec name_began(info(), IsContested :: boolean()) -> ok.
name_began(#{subdomain := Name}, false) ->
    mongoose_domain_host:register_subhost(Name);
name_began(#{subdomain := Name} = Info, true) ->
    case mongoose_domain_nif:subdomain_info(Name) of
        {ok, Info} -> mongoose_domain_host:maybe_remove_subdomain(Info);
        _ -> ok
    end.

%% @doc The names of a pattern that was taken back, if anybody has to be told of them.
-spec made_by(host_type(), pattern(), Handler :: term()) -> [fun(() -> info())].
made_by(HostType, {Kind, Text} = Pattern, Handler) ->
    Info = fun(Name, Parent) ->
               #{host_type => HostType, subdomain => Name, subdomain_pattern => Pattern,
                 parent_domain => Parent, packet_handler => Handler}
           end,
    case {mongoose_domain_host:is_told_of_subdomains(), Kind} of
        {false, _} -> [];
        {true, fqdn} -> [fun() -> Info(Text, no_parent_domain) end];
        {true, prefix} ->
            {Domains, _} = mongoose_domain_nif:domains_and_transitions(HostType),
            [fun() -> Info(<<Text/binary, Domain/binary>>, Domain) end || Domain <- Domains]
    end.

%% @doc Tells of names that ended: of a few, then calls the function, then of the others as fast as
%% those who are told keep up.
-spec ended([fun(() -> info())], fun(() -> any())) -> ok.
ended(Names, Then) ->
    {Few, Others} = mongoose_domain_notify:split(?FEW, Names),
    lists:foreach(fun(Name) -> name_ended(Name()) end, Few),
    _ = Then(),
    ended_at_pace(Others).

ended_at_pace([]) ->
    ok;
ended_at_pace(Names) ->
    ok = await_keep_up(?PACE),
    {Step, Others} = mongoose_domain_notify:split(?STEP, Names),
    lists:foreach(fun(Name) -> name_ended(Name()) end, Step),
    ended_at_pace(Others).

await_keep_up(0) ->
    ok;
await_keep_up(Milliseconds) ->
    case mongoose_domain_host:keep_up() of
        true -> ok;
        false -> timer:sleep(1), await_keep_up(Milliseconds - 1)
    end.

%% @doc A name that somebody else makes, too, does not end. But one that the same prefix makes for
%% the same domain has come back, or has another host type by now, and is told to begin later.
-spec name_ended(info()) -> ok.
name_ended(#{subdomain := Name, subdomain_pattern := Pattern, parent_domain := Parent} = Info) ->
    ok = case mongoose_domain_nif:subdomain_info(Name) of
             {ok, #{subdomain_pattern := Other, parent_domain := Domain}}
               when Other =/= Pattern; Domain =/= Parent -> ok;
             _ -> mongoose_domain_host:unregister_subhost(Name)
         end,
    mongoose_domain_host:maybe_remove_subdomain(Info).
