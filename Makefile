# `make run` starts the whole system on loopback, `make test` proves it. Both install what they need and say so.

SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(HOME)/.cache/mox/target
export CARGO_TARGET_DIR
DEBUG := $(CARGO_TARGET_DIR)/debug
SERVICES := mox-store mox-keys mox-verify mox-smtp mox-submission mox-imap mox-queue mox-admin
RUN_CRATES := $(foreach s,$(SERVICES) mox-cli mox-sendmail,-p $(s))
ARGS ?=

.PHONY: run test lint unit system deb rpm bench fuzz packages clean

run:
	@tests/needs run
	@cargo build --locked $(RUN_CRATES)
	@exec $(DEBUG)/mox localserve --units units --libexec $(DEBUG) $(ARGS)

test: lint unit system

lint:
	@tests/needs test
	tests/tidy-packages
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --quiet

unit:
	@tests/needs test
	cargo build --locked $(RUN_CRATES)
	cargo test --locked --workspace

system:
	@tests/system/run

deb:
	@packaging-deb/build

rpm:
	@packaging-rpm/build

bench:
	@tests/bench/run

fuzz:
	@tests/fuzz/run
