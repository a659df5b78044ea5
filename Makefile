# Millrace. `make run` serves, `make test` tests everything; `make help` lists the rest.
# Re-running is cheap: nothing is installed or built twice. CARGO_TARGET_DIR is respected.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millrace
TARGET := $(or $(CARGO_TARGET_DIR),target)
export CARGO_TARGET_DIR := $(TARGET)
export PATH := $(HOME)/.cargo/bin:$(CACHE)/bin:$(PATH)
export SQLX_OFFLINE := true

# What the front-end is built from; nothing where there is none.
WEB := $(if $(wildcard web/package.json),web/dist/.built)
WEB_SOURCES := $(shell find web -name node_modules -prune -o -name dist -prune -o -type f -print 2>/dev/null)

# `make run ARGS="--listen 127.0.0.1:9000"`
ARGS ?=

.PHONY: help run build test check lint bench bench-upload soak queries web need-build need-test need-bench nextest clients tools

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

run: build ## Install what is missing, build, and serve on 127.0.0.1:8080
	@exec $(TARGET)/release/millrace serve $(ARGS)

build: need-build web ## The release binary
	cargo build --release --locked

test: need-test web clients tools nextest lint ## Everything that can fail
	scripts/test

check: need-build web lint ## Formatting, lints, docs and the proofreader, without a database
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
	cargo test --workspace --locked --quiet --test all tidy

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

bench: need-build need-test web ## Ours beside its peers, as ratios. ARGS="--only upload", --long, --write
	benches/run $(ARGS)

bench-upload: need-bench web tools ## Uploads into S3 beside peers and a ceiling. ARGS=--long, --write
	benches/run --only s3 $(ARGS)

soak: need-test web clients tools nextest ## Uploads and media for a long time. SUITE= SEED= COUNT= MINUTES= CASE=
	scripts/soak

queries: need-build ## Ask a throw-away database about every query again, and rewrite .sqlx
	scripts/queries

web: $(WEB)

web/dist/.built: $(WEB_SOURCES)
	scripts/front-end
	@touch $@

need-build:
	@scripts/need build $(if $(WEB),web)

need-test:
	@scripts/need build test $(if $(WEB),web)

need-bench:
	@scripts/need build test bench $(if $(WEB),web)

nextest:
	@cargo nextest --version >/dev/null 2>&1 || cargo install cargo-nextest --locked --root "$(CACHE)"

clients:
	@scripts/clients "$(CACHE)"

tools: need-build
	@scripts/tools "$(CACHE)"
