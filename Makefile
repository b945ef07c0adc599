# The words of this repository. `make help` explains them.

CARGO ?= cargo
PREPARE := sh deploy/prepare.sh

.PHONY: help prepare bench demo test unit it tidy lint fmt doc deny

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prepare: ## find PostgreSQL's server programs and a C compiler, or install them
	@$(PREPARE)

demo: prepare ## move a sample database into a private PostgreSQL, and show the proof
	$(CARGO) run --locked -- demo

test: prepare ## every test: unit, against real databases, and the house rules
	$(CARGO) test --locked

unit: ## the tests that need no database
	$(CARGO) test --locked --lib --bins

it: prepare ## the tests against a private PostgreSQL
	$(CARGO) test --locked --test it

tidy: ## the house rules: layers, sizes, headers, names, papers in step
	$(CARGO) test --locked --test tidy

lint: ## formatting and clippy
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

fmt: ## format the code
	$(CARGO) fmt

bench: prepare ## measure copy and validate beside psql, pgloader and ADBC; keeps docs/BENCHMARKS.md (ROUNDS=3 ROWS=2000000)
	$(CARGO) build --locked --release
	python3 benches/bench.py --write --rounds $(or $(ROUNDS),3) --rows $(or $(ROWS),2000000)

doc: ## the API's documentation, in target/doc
	$(CARGO) doc --locked --no-deps --document-private-items

deny: ## licences, advisories and sources of the dependencies (needs cargo-deny)
	$(CARGO) deny check
