# `make run` starts the whole system on loopback, `make test` proves it. Both install what they need and say so.

SHELL := /bin/bash
CARGO_TARGET_DIR ?= $(HOME)/.cache/mox/target
export CARGO_TARGET_DIR
DEBUG := $(CARGO_TARGET_DIR)/debug
SERVICES := mox-store mox-keys mox-verify mox-smtp mox-submission mox-imap mox-queue mox-admin
RUN_CRATES := $(foreach s,$(SERVICES) mox-cli mox-sendmail,-p $(s))
# What packagers' environments would change; the profile in Cargo.toml decides, and nothing is compiled twice.
UNSET := $(foreach v,CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS RUSTFLAGS PKG_CONFIG_PATH SOURCE_DATE_EPOCH,-u $(v))
# Panics name the source of libraries: as paths below their registry, whoever builds. The shorter name holds where the
# registry's folder has its usual name.
REGISTRY := $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/
REMAP := --remap-path-prefix=$(REGISTRY)= --remap-path-prefix=$(REGISTRY)index.crates.io-1949cf8c6b5b557f/=
LOGS := $(CARGO_TARGET_DIR)/logs
PROGRAMS := $(CARGO_TARGET_DIR)/programs
ARGS ?=

.PHONY: run test lint unit system thunderbird programs deb rpm bench crash soak fuzz packages clean

run:
	@tests/needs run
	@cargo build --locked $(RUN_CRATES)
	@exec $(DEBUG)/mox localserve --units units --libexec $(DEBUG) $(ARGS)

test: lint unit system
	@tests/features-check $(LOGS)/unit.log $(LOGS)/system.log
	@echo "left out: long fuzzing (make fuzz), measurements (make bench)"

lint:
	@tests/needs test
	tests/tidy-packages
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet

unit:
	@tests/needs test
	cargo build --locked $(RUN_CRATES)
	@mkdir -p $(LOGS)
	set -o pipefail; cargo test --locked --workspace --no-fail-fast 2>&1 | tee $(LOGS)/unit.log

system:
	@mkdir -p $(LOGS)
	@set -o pipefail; tests/system/run 2>&1 | tee $(LOGS)/system.log

# A person's whole job in Thunderbird, without a screen, against an instance on loopback. Ports from $$PORT_BASE.
PORT_BASE ?= 24000
thunderbird:
	@tests/needs thunderbird
	@cargo build --locked $(RUN_CRATES)
	@python3 tests/system/thunderbird.py --bin $(DEBUG) --port-base $(PORT_BASE) $(ARGS)

# What packages hold, in $(PROGRAMS). The library of mox-verify brings TLS into the resolver, which the others do without;
# it would, too, where all are built at once.
programs:
	env $(UNSET) RUSTFLAGS="$(REMAP)" cargo build --locked --release $(foreach s,$(filter-out mox-verify,$(SERVICES)),-p $(s))
	env $(UNSET) RUSTFLAGS="$(REMAP)" cargo build --locked --release -p mox-verify
	env $(UNSET) RUSTFLAGS="$(REMAP) -Cforce-unwind-tables=no" cargo build --locked --profile tool -p mox-cli -p mox-sendmail
	@mkdir -p $(PROGRAMS)
	@cp -u --remove-destination $(SERVICES:%=$(CARGO_TARGET_DIR)/release/%) $(CARGO_TARGET_DIR)/tool/mox $(CARGO_TARGET_DIR)/tool/mox-sendmail $(PROGRAMS)

deb:
	@packaging-deb/build

rpm:
	@packaging-rpm/build

bench:
	@tests/bench/run

# Long runs: kills, power cuts (root and /dev/fuse) and faults of the disk under the store.
crash:
	@tests/needs test
	MOX_KILLS=300 MOX_CUTS=220 cargo test --locked -p mox-store --lib -- --nocapture --test-threads=1 killed power faults

# A million messages in one account and a thousand in each of 200 more: half an hour and 10 GB below $$TMPDIR.
soak:
	@tests/needs test
	MOX_SOAK=1000000 cargo test --locked -p mox-store --lib -- --nocapture --test-threads=1 a_large_store

fuzz:
	@tests/fuzz/run
