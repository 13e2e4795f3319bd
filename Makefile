# The front door. Each target installs what is missing (see script/install-deps) and builds.

export PATH := $(HOME)/.cargo/bin:$(PATH)
# Nodes talk on the loopback interface only.
export ERL_EPMD_ADDRESS ?= 127.0.0.1
# For a target that takes one: sqlite:path/to/file, postgres://user:password@host/database or
# mysql://user:password@host/database. Recipes must not name it: what they hand on as an argument is
# seen by everybody (ps), and so is `make … DATABASE=url' itself, but not `DATABASE=url make …'.
export DATABASE ?=
PORT ?=
# Where make install-ctl installs.
PREFIX ?= /usr/local
# How many worlds make sim runs, or which one.
SEEDS ?= 2000
SEED ?=
# For make sim-mutants.
MUTANT ?=
CHECK ?=
# Anything, and make bench, every other benchmark, make chaos and make fuzz are short: they show
# that they run, and little else.
export QUICK ?=
# The groups that make bench runs (bench/bench.erl).
ONLY ?=
# The suites that make test-otp27 and test-sid run, such as core_SUITE; all by default.
SUITES ?=
# How many suites make test runs at a time.
export LANES ?= 2
# How long make fuzz looks for input that a parser does not survive, for each of them.
FUZZ_SECONDS ?= 60
# What make chaos runs on.
CHAOS_DATABASES ?= postgres mysql

EBIN = -pa _build/default/lib/mongoose_domain_native/ebin _build/default/lib/mongoose_domain_standalone/ebin

.DEFAULT_GOAL := build
.PHONY: help build debug-info demo shell serve ctl install-ctl package deb test-package schema test test-rust test-erlang test-otp27 test-sid docs-test lint bench bench-native bench-follow bench-start bench-import bench-http sim sim-mutants chaos chaos-sid fuzz admin-fuzz screenshots quick clean

# The targets, with a line each.
help:
	@awk '/^# / { text = text substr($$0, 3) " "; next } \
	    /^[a-z][a-z0-9-]*:/ && text { sub(/[.:] .*/, "", text); sub(/:.*/, "", $$1); printf "%-15s %s\n", $$1, text } \
	    { text = "" }' $(MAKEFILE_LIST)

# The library and the HTTP server's program by cargo, then the Erlang modules. `make' alone does this.
build:
	@script/install-deps </dev/null
	@script/build-native </dev/null
	@rebar3 compile </dev/null

# Two nodes over one database, and how quickly the second follows the first.
demo: build
	@erl -noshell $(EBIN) -run mongoose_domain_demo main

# An Erlang shell on a standalone node, with the configuration of config/sys.config.
shell: build
	@mkdir -p data
	@erl $(EBIN) -config config/sys -run mongoose_domain_shell shell

# A standalone node in the foreground, with its HTTP server on PORT (8088).
serve: build
	@mkdir -p data
	@erl -noinput +Bd $(EBIN) -config config/sys -run mongoose_domain_shell serve "$(PORT)"

# The debug information of what is in priv/, for gdb, perf and the like, which look for it in priv/.debug.
debug-info: build
	@mkdir -p priv/.debug
	@cp $${CARGO_TARGET_DIR:-target}/release/mongoose_domain_nif.so.debug $${CARGO_TARGET_DIR:-target}/release/mongoose-domain-http.debug priv/.debug/
	@ls -l priv/.debug

# The command line client of the HTTP server: target/release/mongoose-domainctl.
ctl:
	@script/install-deps </dev/null
	@cargo build --release --quiet --locked -p domain_ctl
	@echo "$${CARGO_TARGET_DIR:-target}/release/mongoose-domainctl"

# Installs mongoose-domainctl, its manual page and its completions, below PREFIX.
install-ctl: ctl
	@script/install-ctl $${CARGO_TARGET_DIR:-target}/release/mongoose-domainctl $(DESTDIR)$(PREFIX)

# For MongooseIM's nodes, which need neither Rust nor rebar3 then: a tarball for the Erlang/OTP that is
# here, _build/package/*.tar.gz. Rust's part is built in a Debian 11, so that it runs on later ones, too.
package: build
	@script/install-deps package </dev/null
	@cargo fetch --quiet --locked
	@script/root bullseye env CARGO_TARGET_DIR=/mnt/_build/target cargo build --release --quiet --locked --offline -p domain_nif -p domain_http -p domain_ctl
	@script/package _build/bullseye/target/release

# The same as a Debian package, _build/package/*.deb, which lintian checks.
deb: package
	@script/deb _build/package/*.tar.gz

# Tests the tarball and the Debian package on Debian 11, 12 and 13 with nothing else in them: installs
# each into a release, starts that, and removes it without a trace.
test-package: deb
	@script/test-package

# Creates MongooseIM's tables in a database.
schema: build
	@test -n "$$DATABASE" || { echo "usage: DATABASE=url make schema"; exit 1; }
	@erl -noshell $(EBIN) -run mongoose_domain_shell schema

# All tests, on SQLite and on servers of PostgreSQL and MariaDB that they start themselves.
test: test-rust test-erlang

# The tests in Rust.
test-rust:
	@script/install-deps test </dev/null
	cargo test --release --workspace --locked

# The Common Test suites, LANES at a time.
test-erlang:
	@script/install-deps browser </dev/null
	@rebar3 compile </dev/null
	@script/suites </dev/null

# The Common Test suites on OTP 27, or some of them, in a Debian trixie that the first run installs.
test-otp27: build ctl
	@script/root trixie script/suites $(SUITES) </dev/null

# The Common Test suites on OTP 29, PostgreSQL 18 and MySQL 9.7, in a Debian sid.
test-sid: build ctl
	@script/root sid script/suites $(SUITES) </dev/null

# The commands of README.md and doc/, run on a node of their own, and what they print.
docs-test: build ctl
	@script/install-deps docs </dev/null
	@script/docs-test

# Checks formats, warnings, calls, types and lengths of lines.
lint:
	@script/install-deps test </dev/null
	cargo fmt --all --check
	cargo clippy --release --workspace --all-targets --locked -- -D warnings
	@! cargo tree --locked -p domain_nif -e normal | grep -E ' (axum|hyper|async-graphql|apollo-parser|csv|httparse|prometheus|tokio-rustls|utoipa) v' || { echo "the library must not read what clients send"; exit 1; }
	@! grep -nE '^.{101,}' erlang/*.erl erlang/standalone/src/*.erl test/*.erl test/*/*.erl bench/*.erl || { echo "these lines have more than 100 columns"; exit 1; }
	@! wc -l erlang/mongoose_domain_core.erl erlang/service_domain_db.erl erlang/standalone/src/mongoose_subdomain_core.erl | grep -v total | awk '$$1 > 170' | grep . || { echo "a drop-in has at most 170 lines"; exit 1; }
	rebar3 do xref, dialyzer

# Our modules against a reference in plain OTP: a table, bench/results/latest.{md,json} and charts.
bench: build
	@script/install-deps test </dev/null
	@mkdir -p _build/bench
	@cargo build --release --quiet --locked -p bench_driver
	@cp $${CARGO_TARGET_DIR:-target}/release/libbench_driver.so _build/bench/bench_driver.so
	@erlc -o _build/bench test/*_helper.erl bench/bench*.erl
	@erl -noshell $(EBIN) -pa _build/bench -run bench main "$(QUICK)" "$(ONLY)"

# Benchmarks of the crates by Criterion; the table is compared with DashMap.
bench-native:
	@script/install-deps </dev/null
	cargo bench --locked --workspace --bench maps --bench table --bench batch $(if $(QUICK),-- --test)

# Following 1,000 new events among 100,000 domains, on PostgreSQL and MariaDB.
bench-follow: build
	@script/install-deps test </dev/null
	@mkdir -p _build/bench
	@erlc -o _build/bench test/*_helper.erl bench/bench_pairs.erl bench/follow.erl
	@erl -noshell $(EBIN) -pa _build/bench -run follow main

# The start of the service and a change after a quiet time, with TLS to the database and without.
bench-start: build
	@script/install-deps test </dev/null
	@mkdir -p _build/bench
	@erlc -o _build/bench test/*_helper.erl bench/bench_pairs.erl bench/start.erl
	@erl -noshell $(EBIN) -pa _build/bench -run start main

# 1,000,000 domains by /api/import into PostgreSQL, and how a second node follows.
bench-import: build
	@script/install-deps test </dev/null
	@mkdir -p _build/bench
	@erlc -o _build/bench test/*_helper.erl bench/bench_pairs.erl bench/import.erl
	@erl -noshell $(EBIN) -pa _build/bench -run import main

# The HTTP server under load, alone and beside imports and exports, and how soon it is back.
bench-http: build
	@script/install-deps load </dev/null
	@mkdir -p _build/bench
	@erlc -o _build/bench test/*_helper.erl bench/bench_pairs.erl bench/http_load.erl
	@erl -noshell $(EBIN) -pa _build/bench -run http_load main

# The follower of production in simulated worlds: SEEDS of them, or the one of a SEED.
sim:
	@script/install-deps </dev/null
	@cargo run --release --quiet --locked -p simulator --bin simulator -- $(if $(SEED),seed $(SEED),seeds $(SEEDS))

# Whether the simulator catches each of its deliberate bugs, or those with MUTANT in their name or as
# their rule. With CHECK=1 only whether each still applies and compiles.
sim-mutants:
	@script/install-deps </dev/null
	@cargo run --release --quiet --locked -p simulator --bin mutants -- $(if $(CHECK),check) $(if $(MUTANT),"$(MUTANT)")

# Real faults on real servers, on each database in turn.
chaos:
	@script/install-deps test </dev/null
	@script/chaos $(CHAOS_DATABASES) </dev/null

# Real faults on the servers of a Debian sid: MySQL 9.7 and PostgreSQL 18.
chaos-sid: build ctl
	@script/root sid script/chaos $(CHAOS_DATABASES) </dev/null

# Random input for everything that parses what clients send: FUZZ_SECONDS for each of the parsers in
# Rust, then make admin-fuzz.
fuzz: admin-fuzz
	FUZZ_SECONDS=$(if $(QUICK),2,$(FUZZ_SECONDS)) cargo test --release --locked -p domain_http --lib fuzz:: -- --nocapture

# The page with some domains, light and dark: doc/images/*.png. With QUICK=1 below _build.
screenshots: build
	@script/install-deps browser </dev/null
	@script/screenshots "$(if $(QUICK),_build/screenshots,doc/images)"

# Three minutes of schemathesis against the HTTP interface.
admin-fuzz: build
	@script/install-deps fuzz </dev/null
	@script/admin-fuzz

# A short form of each target that neither lint nor test runs.
quick:
	$(MAKE) bench bench-native bench-follow bench-start bench-import bench-http fuzz screenshots QUICK=1

# Removes everything that was built.
clean:
	rm -rf _build target priv/*.so data
