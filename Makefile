# make run       boot the example server, say when it answers, leave it running
# make test      all tests that every change must pass; ends with a line of counts
# make test-all  the same with every Go version and every program (longer)
# make check     format, lints, and the rules of scripts/audit
# make bench     measure beside a Linux guest
# make docs      write what is generated
# make install   the egg command into ~/.cargo/bin
.PHONY: run test test-all check bench docs install setup

run:
	@scripts/run

test:
	@scripts/test core

test-all:
	@scripts/test all

check:
	@scripts/check

setup:
	@scripts/setup go python

bench: setup
	@cargo build --quiet --release --package egg
	@bench/setup
	@bench/run

docs:
	@EGGOS_WRITE_DOCS=1 cargo test --quiet --package eggos-syscalls --test documentation

install: setup
	cargo install --path egg
