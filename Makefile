# The words of this repository. `make help` explains them.

CARGO ?= cargo
PREPARE := sh deploy/prepare.sh
# How long each fuzz target runs.
SECONDS := 60
# Where `make versions` finds server programs: what packages have put side by side.
PGBIN := $(wildcard /usr/lib/postgresql/*/bin /usr/pgsql-*/bin)

.PHONY: help prepare bench demo test unit it sim model versions crash powercut crossings rogues mutants tidy deploy-check lint fmt doc deny fuzz bench-follow bench-switch schemathesis

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prepare: ## find PostgreSQL's server programs and a C compiler, or install them
	@$(PREPARE)

demo: prepare ## move a sample database into a private PostgreSQL, and show the proof
	$(CARGO) run --locked -- demo

test: prepare ## every test: unit, simulated, against real databases, and the house rules (LITEFERRY_TESTS=all: one that is skipped here fails)
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-5} $(CARGO) test --locked

unit: ## the tests that need no database
	$(CARGO) test --locked --lib --bins

sim: ## the flows over sides in memory, under crashes and lost answers (SEEDS=3000; LITEFERRY_SEED=n repeats one)
	LITEFERRY_SEEDS=$(or $(SEEDS),3000) $(CARGO) test --locked --test sim -- --nocapture

model: ## every order in which switch, rollback, crashes and a second daemon can interleave; each planted mistake must be found
	$(CARGO) test --locked --test model -- --nocapture

it: prepare ## the tests against a private PostgreSQL
	$(CARGO) test --locked --test it

versions: prepare ## the same on each of several PostgreSQLs: make versions PGBIN="/opt/pg13/bin /opt/pg18/bin" (ONLY=word)
	@for bin in $(PGBIN); do \
		"$$bin/postgres" --version && PATH="$$bin:$$PATH" $(CARGO) test --locked --test it -- $(ONLY) || exit 1; \
	done

crash: prepare ## kill and cut off everything while an application writes; both sides must end equal (ROUNDS=32, LITEFERRY_SEED=n)
	ROUNDS=$(or $(ROUNDS),32) $(CARGO) test --locked --test crash -- --nocapture --test-threads=1

crossings: prepare ## move the writes there and back while applications write to both sides and daemons are killed (ROUNDS=40, LITEFERRY_SEED=n)
	CROSSINGS=$(or $(ROUNDS),40) $(CARGO) test --locked --test it -- --nocapture crossing::campaign

rogues: prepare ## switch again and again while writers that ignore the routing hammer SQLite (SWITCHES=100)
	SWITCHES=$(or $(SWITCHES),100) $(CARGO) test --locked --test it -- --nocapture crossing::campaign::rogues

mutants: prepare ## plant one bug at a time and see that a test catches it: make mutants ONLY=word
	@ONLY="$(ONLY)" python3 tests/mutants/mutants.py

schemathesis: prepare ## try a daemon by the description of its API (skipped where schemathesis is not installed; EXAMPLES=25)
	@$(CARGO) build --locked
	@sh tests/schemathesis.sh "$(CURDIR)/target/debug/liteferry"

powercut: prepare ## cut the power under SQLite; PostgreSQL must have nothing that the disk has not (root; POWER_CUTS=100)
	POWER_CUTS=$(or $(POWER_CUTS),100) $(CARGO) test --locked --test crash -- --nocapture power_cut

tidy: ## the house rules: layers, sizes, headers, names, papers in step
	$(CARGO) test --locked --test tidy

deploy-check: ## what is installed against the program; with promtool and systemd-analyze where they are installed
	$(CARGO) test --locked --test deploy -- --nocapture

lint: ## formatting, clippy, and whether the fuzz targets still fit the code
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) check --locked --manifest-path fuzz/Cargo.toml

fmt: ## format the code
	$(CARGO) fmt

bench: prepare ## measure copy and validate beside psql, pgloader and ADBC; keeps docs/BENCHMARKS.md (ROUNDS=3 ROWS=2000000)
	$(CARGO) build --locked --release
	python3 benches/bench.py --write --rounds $(or $(ROUNDS),3) --rows $(or $(ROWS),2000000)

bench-follow: prepare ## measure `run`: its lag beside logical replication, what capture costs, the backlog; keeps docs/BENCHMARKS.md
	$(CARGO) build --locked --release
	python3 benches/follow.py --write

bench-switch: prepare ## measure the pause of the switch and of the rollback as an application sees it; keeps docs/BENCHMARKS.md
	$(CARGO) build --locked --release
	python3 benches/switch.py --write

doc: ## the API's documentation, in target/doc
	$(CARGO) doc --locked --no-deps --document-private-items

deny: ## licences, advisories and sources of the dependencies (needs cargo-deny)
	$(CARGO) deny check

fuzz: ## every fuzz target for SECONDS=60 each (installs cargo-fuzz); what it finds stands in fuzz/artifacts
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	@for target in $$($(CARGO) fuzz list); do \
		mkdir -p fuzz/corpus/$$target; \
		$(CARGO) fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS) -timeout=20 -max_len=4096 -print_final_stats=1 || exit 1; \
	done
