# `make` alone says what there is to make.
.DEFAULT_GOAL := help
.PHONY: help run test test-host test-all vm gostd check setup docs bench soak instructions install clean

help: ## what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1\t\2/p' Makefile | expand -t 20

run: ## boot the example server, say when it answers, leave it running (PORT=8080)
	@scripts/run

test: ## all tests that every change must pass; ends with a line of counts
	@scripts/test core

test-host: ## of these, the ones that need no machine
	@scripts/test host

test-all: ## the same with every Go version and program, a row of boots and a soak (longer)
	@scripts/test all

vm: ## one program in a machine, by a part of its name (NAME=hello; MACHINE=process: on this host)
	@scripts/setup go-versions images
	@cargo test --quiet --package eggos-vm-tests -- $(if $(MACHINE),--machine $(MACHINE)) $(if $(NAME),$(NAME),--list)

gostd: ## Go's own tests of a version, here and in machines (GO=1.27.4 PKG=net/http MACHINE=process; root)
	@scripts/setup go-versions network
	@cargo build --quiet --release --package egg --package eggos-gostd
	@$${CARGO_TARGET_DIR:-target}/release/gostd run --egg $${CARGO_TARGET_DIR:-target}/release/egg \
		$(if $(MACHINE),--machine $(MACHINE)) --go $(or $(GO),1.27.4) $(if $(PKG),--again) $(PKG)

check: ## format, lints, and the rules of scripts/audit
	@scripts/check

setup: ## install what is missing
	@scripts/setup go-versions python binutils network images

docs: ## write the pages that are generated
	@EGGOS_WRITE_DOCS=1 cargo test --quiet --package eggos-syscalls --test documentation
	@cargo run --quiet --package eggos-gostd -- page

bench: setup ## measure beside a Linux guest
	@cargo build --quiet --release --package egg
	@bench/setup
	@bench/run

instructions: setup ## store the instruction counts that make test compares with (bench/instructions.tsv)
	@cargo build --quiet --release --package egg
	@bench/instructions --write --egg $${CARGO_TARGET_DIR:-target}/release/egg

soak: setup ## ten minutes of load; nothing may be lost or grow
	@cargo build --quiet --release --package egg
	@bench/setup --no-linux
	@bench/soak

install: setup ## the egg command into ~/.cargo/bin
	cargo install --path egg

clean: ## remove what was made
	cargo clean
