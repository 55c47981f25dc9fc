//! How a machine can end, and what `egg` makes of it.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stage::{Ended, Stage, wait_for};

/// KVM is not to be tried first.
const RUN: &[&str] = &["run", "--accel", "tcg", "program"];

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

#[test]
fn the_programs_code_is_eggs_code() {
    for code in ["0", "1", "7", "255"] {
        let stage = Stage::with_qemu(&format!("show hello; tell ready 'exit {code}'; exit 33"));
        let ended = stage.egg(RUN);
        assert_eq!(ended.code, code.parse().ok(), "{ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("hello\n", ""));
    }
}

#[test]
fn a_program_killed_by_a_signal_is_named() {
    let stage = Stage::with_qemu("tell ready 'signal SIGSEGV'; exit 33");
    stage.egg(RUN).one_line(128 + 11, "killed by SIGSEGV");
}

#[test]
fn what_the_kernel_refuses_is_told() {
    let stage = Stage::with_qemu("tell 'refused no program header'; exit 33");
    stage.egg(RUN).one_line(126, "no program header");
}

#[test]
fn a_panic_of_the_kernel_is_told_with_its_trace() {
    let stage = Stage::with_qemu("tell 'panic boom at x.rs:1' 'frame 0xffffffff80201234'; exit 35");
    let ended = stage.egg(RUN);
    assert_eq!(ended.code, Some(124), "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines[0], "egg: kernel panic: boom at x.rs:1");
    assert!(lines[1].starts_with("egg:   0xffffffff80201234"), "{lines:?}");
    assert!(lines[2].starts_with("egg: kernel failure: panic"), "{lines:?}");
}

#[test]
fn a_machine_that_never_started_is_no_success() {
    let silent = Stage::with_qemu("exit 0");
    silent.egg(RUN).one_line(124, "stopped by itself");
    let wordless = Stage::with_qemu("exit 33");
    wordless.egg(RUN).one_line(124, "without saying");
    let word_without_status = Stage::with_qemu("tell 'exit 0'; exit 0");
    word_without_status.egg(RUN).one_line(124, "stopped by itself");
    let odd = Stage::with_qemu("tell 'exit 0'; exit 35");
    odd.egg(RUN).one_line(124, "status 35");
}

#[test]
fn a_failure_of_qemu_comes_with_its_words() {
    let stage = Stage::with_qemu("echo 'qemu: no such board' >&2; exit 1");
    stage.egg(RUN).one_line(125, "qemu: no such board");
    let stage = Stage::with_qemu("kill -KILL $$");
    stage.egg(RUN).one_line(125, "QEMU was killed by SIGKILL");
}

#[test]
fn warnings_of_the_kernel_are_passed_on() {
    let stage = Stage::with_qemu("tell 'warn no DHCP answer' 'exit 0'; exit 33");
    let ended = stage.egg(RUN);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stderr, "egg: warning: no DHCP answer\n");
}

#[test]
fn input_reaches_the_program_after_ready_with_its_end_as_an_escape() {
    let stage = Stage::with_qemu(
        "sleep 0.2; tell ready; IFS= read -r -d d text; show \"got $text\"; tell 'exit 0'; exit 33",
    );
    let mut child = stage.start(RUN);
    child.stdin.take().unwrap().write_all(b"some\x10 input").unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "got some\x10\x10 input\x10\n"),
        "{ended:?}"
    );
}

#[test]
fn much_output_arrives_whole() {
    let stage = Stage::with_qemu("seq 1 50000; tell 'exit 0'; exit 33");
    let ended = stage.egg(RUN);
    assert_eq!(ended.code, Some(0));
    assert_eq!(ended.stdout.lines().count(), 50000);
    assert!(ended.stdout.ends_with("\n50000\n"));
}

#[test]
fn an_interrupt_is_passed_on_and_the_second_ends_the_machine() {
    let stage =
        Stage::with_qemu("tell ready; IFS= read -r -n 2 key; echo \"$key\" > key; exec sleep 60");
    let child = stage.start(RUN);
    // The stand-in reads the key only once egg runs; until then a signal would end egg itself.
    std::thread::sleep(Duration::from_millis(500));
    kill(pid(&child), Signal::SIGINT).unwrap();
    assert_eq!(wait_for(&stage.path("key")), "\x10c\n");
    kill(pid(&child), Signal::SIGINT).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(130), ""), "{ended:?}");
}

/// Whether there is script(1), which gives egg a terminal.
fn has_script() -> bool {
    let has = Command::new("script").arg("--version").output().is_ok();
    if !has {
        eprintln!("skipped: no script(1) here");
    }
    has
}

/// Runs a line of a shell on a terminal.
fn on_terminal(stage: &Stage, line: &str) -> Child {
    let command = stage.command(&[]);
    Command::new("script")
        .args(["-qefc", line, "/dev/null"])
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(stage.path("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn on_a_terminal_every_key_is_passed_on_and_control_c_twice_ends() {
    if !has_script() {
        return;
    }
    let stage = Stage::with_qemu(
        "show $'two\r\nlines\r'; tell ready; read -r window; IFS= read -r -n 3 keys; echo \"$keys\" > keys; exec sleep 60",
    );
    let inner = format!("{} {}", env!("CARGO_BIN_EXE_egg"), RUN.join(" "));
    let mut child = on_terminal(&stage, &inner);
    let mut keys = child.stdin.take().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    keys.write_all(b"\x1aa\x03").unwrap();
    assert_eq!(wait_for(&stage.path("keys")), "\x1aa\x03\n");
    keys.write_all(b"\x03").unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    drop(keys);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(130), "two\r\nlines\r\n"), "{ended:?}");
}

/// stty(1) changes the terminal's size.
#[test]
fn the_size_of_the_window_is_told_and_so_are_its_changes() {
    if !has_script() {
        return;
    }
    let stage = Stage::with_qemu(
        "tell ready; read -r first; read -r second; echo \"$first$second\" > sizes; tell 'exit 0'; exit 33",
    );
    let change = "{ sleep 2; stty rows 41 < /dev/tty; } &";
    let inner = format!(
        "stty rows 40 cols 100; {change} exec {} {}",
        env!("CARGO_BIN_EXE_egg"),
        RUN.join(" ")
    );
    let mut child = on_terminal(&stage, &inner);
    let keys = child.stdin.take();
    let ended = Ended::of(child.wait_with_output().unwrap());
    drop(keys);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(wait_for(&stage.path("sizes")), "\x10w40x100x0x0\x10w41x100x0x0\n");
}

#[test]
fn a_program_that_runs_is_asked_to_end() {
    let stage = Stage::with_qemu(
        "tell ready; IFS= read -r -n 2 key; echo \"$key\" > key; tell 'exit 7'; exit 33",
    );
    let child = stage.start(RUN);
    std::thread::sleep(Duration::from_millis(500));
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(7), ""), "{ended:?}");
    assert_eq!(wait_for(&stage.path("key")), "\x10t\n");
}

#[test]
fn a_second_termination_ends_the_machine() {
    let stage = Stage::with_qemu("tell ready; sleep 0.3; echo x > ready; exec sleep 60");
    let child = stage.start(RUN);
    wait_for(&stage.path("ready"));
    let started = Instant::now();
    kill(pid(&child), Signal::SIGTERM).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(128 + 15), ""), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[test]
fn a_termination_before_the_program_runs_ends_the_machine() {
    let stage = Stage::with_qemu("echo $$ > pid; exec sleep 60");
    let child = stage.start(RUN);
    wait_for(&stage.path("pid"));
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(128 + 15), "{ended:?}");
}

#[test]
fn a_machine_that_ignores_sigterm_is_killed() {
    let stage = Stage::with_qemu("trap '' TERM; echo $$ > pid; while :; do sleep 0.1; done");
    let child = stage.start(RUN);
    wait_for(&stage.path("pid"));
    let started = Instant::now();
    kill(pid(&child), Signal::SIGTERM).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(128 + 15), "{ended:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_machine_dies_with_egg() {
    let stage = Stage::with_qemu("echo $$ > pid; exec sleep 60");
    let mut child = stage.start(RUN);
    let machine: i32 = wait_for(&stage.path("pid")).trim().parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let gone = || kill(Pid::from_raw(machine), None).is_err();
    let deadline = Instant::now() + Duration::from_secs(5);
    while !gone() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(gone(), "the machine outlived egg");
}

#[test]
fn output_that_nobody_reads_ends_the_machine() {
    let stage = Stage::with_qemu("tell ready; while show line; do sleep 0.01; done; sleep 60");
    let mut child = stage.start(RUN);
    drop(child.stdout.take());
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(128 + 13), "{ended:?}");
}

#[test]
fn kvm_is_tried_and_the_result_kept() {
    // The stand-in works with TCG only, and counts how often KVM is tried.
    let stage = Stage::with_qemu(
        "case \"$*\" in *'-accel kvm'*) echo x >> tries; echo 'no ring 0' >&2; exit 1;; esac; tell ready 'exit 5'; exit 33",
    );
    if std::fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        stage.egg(&["run", "--accel", "kvm", "program"]).one_line(125, "no KVM: ");
        assert_eq!(stage.egg(&["run", "program"]).code, Some(5));
        return;
    }
    for _ in 0..2 {
        let ended = stage.egg(&["run", "program"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(5), ""), "{ended:?}");
    }
    assert_eq!(wait_for(&stage.path("tries")), "x\n");
    let ended = stage.egg(&["run", "--verbose", "program"]);
    assert!(ended.stderr.contains("egg: no KVM, running with TCG: "), "{ended:?}");
    stage.egg(&["run", "--accel", "kvm", "program"]).one_line(125, "no ring 0");
}
