//! Bad input gets one clear line and a code of its own.

use std::net::TcpListener;

use crate::stage::{Stage, elf};

const CANNOT_RUN: i32 = 126;
const NOT_FOUND: i32 = 127;
const USAGE: i32 = 125;

fn changed(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut elf = elf();
    elf[offset..offset + bytes.len()].copy_from_slice(bytes);
    elf
}

#[test]
fn what_is_no_program_is_named() {
    let stage = Stage::without_machine();
    let rows: [(&[u8], &str); 8] = [
        (b"", "program: not an ELF file: it is empty"),
        (b"hello, this is text", "program: not an ELF file"),
        (b"#!/bin/sh\n", "a script"),
        (b"MZ\x90", "GOOS=linux"),
        (b"\xcf\xfa\xed\xfe\x07", "GOOS=linux"),
        (b"!<arch>\n", "not a main package"),
        (b"\x7fELF", "a damaged ELF file"),
        (b"070701zzz", "a damaged image: the archive is cut off"),
    ];
    for (contents, part) in rows {
        stage.write("program", contents);
        stage.egg(&["run", "program"]).one_line(CANNOT_RUN, part);
        stage.egg(&["build", "program"]).one_line(CANNOT_RUN, part);
        stage.egg(&["inspect", "program"]).one_line(CANNOT_RUN, part);
    }
}

#[test]
fn programs_for_other_machines_say_how_to_rebuild() {
    let stage = Stage::without_machine();
    for (machine, name) in [(183_u16, "AArch64"), (3, "386"), (243, "RISC-V"), (999, "machine 999")]
    {
        stage.write("program", changed(18, &machine.to_le_bytes()));
        let ended = stage.egg(&["run", "program"]);
        ended.one_line(CANNOT_RUN, name);
        assert!(ended.stderr.contains("GOARCH=amd64"), "{ended:?}");
    }
    stage.write("program", changed(4, &[1]));
    stage.egg(&["run", "program"]).one_line(CANNOT_RUN, "32-bit");
    stage.write("program", changed(16, &[1]));
    stage.egg(&["run", "program"]).one_line(CANNOT_RUN, "object file");
}

#[test]
fn hostile_elf_files_are_refused() {
    let stage = Stage::without_machine();
    let far = u64::MAX.to_le_bytes();
    let rows: [(usize, &[u8]); 4] =
        [(32, &far), (64 + 8, &far), (64 + 32, &far), (56, &u16::MAX.to_le_bytes())];
    for (offset, bytes) in rows {
        stage.write("program", changed(offset, bytes));
        stage.egg(&["run", "program"]).one_line(CANNOT_RUN, "a damaged ELF file");
    }
    stage.write("program", &elf()[..121]);
    stage.egg(&["run", "program"]).one_line(CANNOT_RUN, "it may be cut off");
}

#[test]
fn the_page_about_hardware_wants_no_file() {
    let stage = Stage::without_machine();
    stage.write("program", elf());
    for wrong in [
        &["inspect", "--hardware", "program"][..],
        &["inspect"],
        &["build", "--hardware", "program"],
        &["inspect", "--hardware", "--machine", "process"],
    ] {
        let ended = stage.egg(wrong);
        assert_eq!(ended.code, Some(USAGE), "{wrong:?}: {ended:?}");
    }
}

#[test]
fn dynamic_programs_say_how_to_rebuild() {
    let stage = Stage::without_machine();
    let host = std::env::current_exe().unwrap();
    stage.write("program", std::fs::read(host).unwrap());
    stage.egg(&["run", "program"]).one_line(CANNOT_RUN, "CGO_ENABLED=0");
}

#[test]
fn what_is_not_there_is_named() {
    let stage = Stage::without_machine();
    stage.egg(&["run", "./nothing"]).one_line(NOT_FOUND, "`./nothing`");
    stage.egg(&["run", "nothing"]).one_line(NOT_FOUND, "`nothing`");
    stage.egg(&["inspect", "nothing"]).one_line(NOT_FOUND, "nothing");
    stage.egg(&["run", "--file", "nothing:/x", "program"]).one_line(USAGE, "nothing");
    stage.egg(&["run", "--workdir", "srv", "program"]).one_line(USAGE, "absolute path");
    stage.egg(&["run", "--kernel", "nothing", "program"]).one_line(USAGE, "nothing");
}

#[test]
fn too_little_memory_says_how_much() {
    let stage = Stage::without_machine();
    let ended = stage.egg(&["run", "-m", "1M", "program"]);
    ended.one_line(USAGE, "it needs at least");
    assert!(ended.stderr.contains("-m "), "{ended:?}");

    // A program larger than the memory.
    let mut large = elf();
    large.resize(40 << 20, 0);
    stage.write("program", large);
    stage.egg(&["run", "-m", "32M", "program"]).one_line(USAGE, "it needs at least 4");
}

#[test]
fn a_taken_port_is_named() {
    let stage = Stage::without_machine();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let ended = stage.egg(&["run", "-p", &format!("{port}:80"), "program"]);
    ended.one_line(USAGE, &format!("port {port} of 127.0.0.1 is taken"));
    let ended = stage.egg(&["run", "-p", "192.0.2.1:1:80", "program"]);
    ended.one_line(USAGE, "192.0.2.1 is not an address of this host");
}

#[test]
fn nothing_installed_says_what_to_install() {
    let stage = Stage::without_machine().with_nothing_installed();
    stage.egg(&["run", "program"]).one_line(USAGE, "apt-get install qemu-system-x86");
    stage.egg(&["run", "."]).one_line(USAGE, "install Go");
}

#[test]
fn flags_are_explained() {
    let stage = Stage::without_machine();
    let ended = stage.egg(&["run", "--verbos"]);
    assert_eq!(ended.code, Some(USAGE), "{ended:?}");
    assert!(ended.stderr.contains("--verbose"), "{ended:?}");
    assert_eq!(stage.egg(&["fly"]).code, Some(USAGE));
    assert_eq!(stage.egg(&[]).code, Some(USAGE));
    let help = stage.egg(&["run", "--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("124    the kernel failed"), "{}", help.stdout);
}

#[test]
fn gos_own_words_are_passed_on() {
    let stage = Stage::without_machine();
    if !stage.has_go() {
        return;
    }
    stage.write("go.mod", "module example.com/broken\n\ngo 1.16\n");
    stage.write("main.go", "package main\n\nfunc main() { undefinedName() }\n");
    let ended = stage.egg(&["run"]);
    assert_eq!(ended.code, Some(USAGE));
    assert!(ended.stderr.contains("undefined: undefinedName"), "{ended:?}");
    assert!(ended.stderr.ends_with("egg: go build . failed\n"), "{ended:?}");

    stage.write("main.go", "package library\n");
    stage.egg(&["run", "."]).one_line(CANNOT_RUN, "not a main package");
}
