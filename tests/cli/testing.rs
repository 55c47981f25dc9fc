//! `egg test`: what Go says with machines must be what it says without.
//!
//! The stand-in runs the test program on this host, in the folder and with the arguments that the
//! settings say, and sends what is to come back: it shows egg's part. That machines do the same is
//! shown in `tests/vm`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stage::{Ended, Stage};

const RUNS_PROGRAM: &str = r#"
while [ $# -gt 0 ]; do [ "$1" = -initrd ] && image=$2; shift; done
setting() { grep -a -m1 "^$1 = " "$image" | sed "s/^$1 = //"; }
list() { local text; text=$(setting "$1"); text=${text#[}; text=${text%]}; eval "$1=(${text//\", \"/\" \"})"; }
list args; list returns; list env
eval "cd $(setting workdir)"
tell ready
env -i "${env[@]}" "${args[@]}" 2>&1
code=$?
for path in "${returns[@]}"; do
  for file in $(find "$path" -type f 2>/dev/null); do
    tell "file ${#file} $(stat -c %s "$file")"
    printf %s "$file" >&"$control"
    cat "$file" >&"$control"
    # Only what came back counts.
    : > "$file.sent"
  done
done
tell "exit $code"; exit 33"#;

fn module() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../go/tests")
}

/// Runs the command in the module of tests.
fn egg(stage: &Stage, arguments: &[&str]) -> Ended {
    let words = [&["test", "--accel", "tcg"], arguments].concat();
    let mut command = stage.command(&words);
    // Else the stage would have a cache of its own, without the standard library.
    let cache = Command::new("go").args(["env", "GOCACHE"]).output().unwrap().stdout;
    command.env("GOCACHE", String::from_utf8(cache).unwrap().trim()).env("GOFLAGS", "");
    Ended::of(command.current_dir(module()).output().unwrap())
}

fn go(arguments: &[&str]) -> Ended {
    let mut command = Command::new("go");
    command.args(["test", "-count=1"]).args(arguments).current_dir(module());
    command.env("GOWORK", "off").env("GOFLAGS", "").env("CGO_ENABLED", "0");
    Ended::of(command.output().unwrap())
}

/// Without times, and without what differs from one run to the next in a panic's trace.
fn lines(text: &str) -> Vec<String> {
    let keeps = |line: &&str| {
        ["ok", "FAIL", "?", "PASS", "---", "===", "    ", "panic:", "Benchmark"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    let untimed = |word: &str| {
        let number = word.trim_matches(['(', ')', 's', '[', ']']);
        if number.parse::<f64>().is_ok() { "N".to_owned() } else { word.to_owned() }
    };
    let line = |line: &str| line.split_whitespace().map(untimed).collect::<Vec<_>>().join(" ");
    text.lines().filter(keeps).map(line).collect()
}

#[track_caller]
fn same_as_go(arguments: &[&str]) {
    let stage = Stage::with_qemu(RUNS_PROGRAM);
    let (ours, gos) = (egg(&stage, arguments), go(arguments));
    assert_eq!(lines(&ours.stdout), lines(&gos.stdout), "{arguments:?}: {ours:?}");
    assert_eq!((ours.code, ours.stderr), (gos.code, gos.stderr), "{arguments:?}");
}

#[test]
fn output_and_status_are_gos() {
    if !Stage::without_machine().has_go() {
        return;
    }
    same_as_go(&["./pass", "./fails", "./panics", "./none", "./files", "./exits"]);
    same_as_go(&["-v", "-short", "-run", "Twice|Skipped", "./..."]);
    same_as_go(&["-run=None", "./pass"]);
    same_as_go(&["-bench=.", "-benchtime=10x", "-cpu=1,2", "-count=2", "./pass"]);
    same_as_go(&["./nothing"]);
    same_as_go(&["-nonsense", "./pass"]);
    same_as_go(&["-v", "./pass", "-args", "--memory"]);
}

#[test]
fn a_test_that_hangs_fails_with_its_trace() {
    let stage = Stage::with_qemu(RUNS_PROGRAM);
    if stage.has_go() {
        let ended = egg(&stage, &["-timeout=1s", "./hangs"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for part in ["panic: test timed out after 1s", "hangs.TestHangs", "FAIL\teggos.example"] {
            assert!(ended.stdout.contains(part), "{ended:?}");
        }
    }
}

#[test]
fn a_machine_that_hangs_or_dies_is_a_failure_with_its_last_words() {
    // At last go test sends SIGQUIT, a minute after the time given: here the machine does it.
    let hangs = Stage::with_qemu(
        "show 'last words'; tell ready; kill -QUIT $PPID; IFS= read -r -n 4 keys; tell 'signal SIGQUIT'; exit 33",
    );
    if !hangs.has_go() {
        return;
    }
    let ended = egg(&hangs, &["-v", "./pass"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.starts_with("last words\nsignal: quit\nFAIL\t"), "{ended:?}");
    let dies = Stage::with_qemu("show 'last words'; tell 'panic no more'; exit 35");
    let ended = egg(&dies, &["./pass"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in ["last words\n", "kernel panic: no more\n", "FAIL\t"] {
        assert!(ended.stdout.contains(part), "{ended:?}");
    }
    let killed = Stage::with_qemu("tell ready 'signal SIGSEGV'; exit 33");
    let ended = egg(&killed, &["./pass"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("signal: segmentation fault\nFAIL\t"), "{ended:?}");
}

#[test]
fn json_is_gos() {
    let stage = Stage::with_qemu(RUNS_PROGRAM);
    if !stage.has_go() {
        return;
    }
    let ended = egg(&stage, &["-json", "./fails"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let events: Vec<serde_json::Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (action, test) in [("fail", "TestFails"), ("pass", "TestPasses")] {
        assert!(
            events.iter().any(|row| row["Action"] == action && row["Test"] == test),
            "{ended:?}"
        );
    }
}

#[test]
fn coverage_and_profiles_come_back() {
    let stage = Stage::with_qemu(RUNS_PROGRAM);
    if !stage.has_go() {
        return;
    }
    std::fs::create_dir(stage.path("out")).unwrap();
    let out = stage.path("out").display().to_string();
    let program = stage.path("pass.test").display().to_string();
    let flags = [
        "-coverprofile=c.out",
        "-cpuprofile=p.out",
        "-trace=t.out",
        "-outputdir",
        &out,
        "-o",
        &program,
    ];
    let ended = egg(&stage, &[&flags[..], &["./pass"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("coverage: 66.7% of statements"), "{ended:?}");
    let cover = std::fs::read_to_string(stage.path("out/c.out")).unwrap();
    assert!(cover.starts_with("mode: set\neggos.example/tests/pass/twice.go:"), "{cover}");
    for name in ["p.out", "t.out"] {
        assert!(std::fs::metadata(stage.path("out").join(name)).unwrap().len() > 0, "{name}");
        assert!(stage.path("out").join(format!("{name}.sent")).exists(), "{name}");
    }
}

#[test]
fn what_cannot_work_is_said() {
    let stage = Stage::without_machine();
    stage.egg(&["test", "-race"]).one_line(125, "-race needs cgo");
    stage.egg(&["test", "-fuzz=F"]).one_line(125, "-fuzz starts processes");
    stage.egg(&["test", "-exec", "x"]).one_line(125, "-exec is what egg test itself uses");
    let help = stage.egg(&["test", "--help"]);
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("go help testflag"), "{}", help.stdout);
    let stage = stage.with_nothing_installed();
    stage.egg(&["test"]).one_line(125, "install Go");
}
