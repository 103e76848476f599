# Two commands do everything, set-up included: `make demo` and `make test`.

CARGO ?= cargo
TARGET_DIR ?= target
export CARGO_TARGET_DIR := $(abspath $(TARGET_DIR))

BIN := $(CARGO_TARGET_DIR)/release
WASM := $(CARGO_TARGET_DIR)/wasm32-wasip2/release
CONNECTORS := github rest

# What is tested natively. Always the same selection and all its targets: cargo unites features over a selection, and
# another one would compile wasmtime a second time.
TESTED := --workspace --exclude guests

.PHONY: help build host programs connectors guests servers demo test torture bench bench-peers bench-check bench-crowd benched lint fmt unit clean

help:
	@echo "make demo         read recorded GitHub responses into Parquet, and look at it with DuckDB"
	@echo "make test         format, lints, and the tests of every part"
	@echo "make torture      500 kills at random moments over all paginations, partitions and formats; thousands of hostile APIs"
	@echo "make build        the host and its connectors, in $(TARGET_DIR)/release"
	@echo "make lint         format and lints only"
	@echo "make bench        wall time, CPU time and memory of whole runs, beside the best that native code can do"
	@echo "make bench-peers  the same beside dlt, Airbyte, Singer and others, which it installs"
	@echo "make bench-crowd  what 1,000 connections in a process, a runaway beside 100, and a page in the sandbox cost"
	@echo "make bench-check  instructions of the hot parts, compared with those on record"

build: host connectors

host:
	$(CARGO) build --locked --release $(TESTED) --bin host

# Connectors that come along lie in `connectors/` beside the program.
connectors: $(BIN)/.wasm-target
	$(CARGO) build --locked --release --target wasm32-wasip2 $(CONNECTORS:%=-p %)
	mkdir -p $(BIN)/connectors
	cp $(CONNECTORS:%=$(WASM)/%.wasm) $(BIN)/connectors/

$(BIN)/.wasm-target:
	rustup target add wasm32-wasip2
	mkdir -p $(BIN)
	touch $@

servers:
	tests/servers/install.sh

demo: build
	$(CARGO) build --locked --release $(TESTED) --bin recorded-api
	tests/demo.sh

test: lint programs connectors guests servers unit bench-check

programs:
	$(CARGO) build --locked --release $(TESTED) --all-targets

# Small connectors that do what none should, each a test of its own.
guests: $(BIN)/.wasm-target
	$(CARGO) build --locked --release --target wasm32-wasip2 -p guests --examples

# `make torture KILLS=5000`; TORTURE_SEED=… in the environment makes the same choice of moments again.
KILLS ?= 500
# Cases of `host torture` on each recording.
CASES ?= 600
torture: programs connectors guests
	TORTURE_CASES=$(CASES) $(CARGO) test --locked --release $(TESTED) --test adversary -- --nocapture
	TORTURE_KILLS=$(KILLS) $(CARGO) test --locked --release $(TESTED) --test torture -- --nocapture

unit:
	$(CARGO) test --locked --release --no-fail-fast $(TESTED)

lint: $(BIN)/.wasm-target
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --release $(TESTED) --all-targets -- -D warnings
	$(CARGO) clippy --locked --release --target wasm32-wasip2 -p guests --examples -- -D warnings

# Flags for the runner: `make bench BENCH="--runs 9 --long"`, `make bench-peers BENCH="--runs 3"`.
bench: benched
	python3 tests/bench/bench.py $(BIN) $(BENCH)

# `make bench-check BENCH=--record` puts what is counted on record.
bench-check: programs connectors
	python3 tests/bench/check.py $(BIN) $(BENCH)

# Each case is a process of its own, which prints a line of JSON.
bench-crowd: programs connectors guests
	for case in calls pages runaway "many --no-archive" many; do $(BIN)/crowd $$case || exit 1; done

bench-peers: benched
	tests/bench/peers/install.sh
	python3 tests/bench/peers.py $(BIN) $(BENCH)

benched: build
	$(CARGO) build --locked --release $(TESTED) --bin mock-api --bin ceiling --bin crowd

fmt:
	$(CARGO) fmt --all

clean:
	$(CARGO) clean
