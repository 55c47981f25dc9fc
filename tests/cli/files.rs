//! Packages, images and files: what is built, kept and shown.

use crate::stage::Stage;

/// A stand-in that keeps the archive it was given.
const KEEPS_IMAGE: &str = r#"
while [ $# -gt 0 ]; do [ "$1" = -initrd ] && cat "$2" > booted; shift; done
tell ready 'exit 0'; exit 33"#;

fn booted(stage: &Stage) -> String {
    String::from_utf8_lossy(&std::fs::read(stage.path("booted")).unwrap()).into_owned()
}

#[test]
fn settings_travel_in_the_archive() {
    let stage = Stage::with_qemu(KEEPS_IMAGE);
    stage.write("static/page.html", "<p>hello");
    let ended = stage.egg(&[
        "run",
        "--env",
        "A=b",
        "--trace",
        "--file",
        "static:/srv",
        "--file",
        "static:/",
        "--workdir",
        "/srv",
        "program",
        "--",
        "-v",
        "a b",
    ]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let archive = booted(&stage);
    for part in [
        r#"args = ["/bin/program", "-v", "a b"]"#,
        r#"env = ["PATH=/bin", "HOME=/root", "A=b"]"#,
        "trace = true\n",
        "tty = false\n",
        "workdir = \"/srv\"\n",
        "srv/page.html\0",
        "00000000page.html\0",
        "<p>hello",
        "etc/nsswitch.conf\0",
    ] {
        assert!(archive.contains(part), "{part}");
    }
}

#[test]
fn an_image_is_built_shown_and_run() {
    let stage = Stage::with_qemu(KEEPS_IMAGE);
    let ended = stage.egg(&["build", "-o", "my.egg", "-m", "64M", "program", "--", "-v"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    assert!(ended.stdout.contains("egg run ./my.egg"), "{ended:?}");

    let shown = stage.egg(&["inspect", "my.egg"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("kernel         within"), "{}", shown.stdout);
    assert!(shown.stdout.contains("/bin/program"), "{}", shown.stdout);

    // The image's own kernel is used, so that an image runs everywhere alike.
    let run = stage.command(&["run", "my.egg"]).env_remove("EGG_KERNEL").output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let archive = booted(&stage);
    assert!(archive.contains(r#"args = ["/bin/program", "-v"]"#));
    assert!(archive.contains(r#"memory = "64M""#));
    assert!(!archive.contains("boot/kernel"), "the kernel was loaded twice");

    assert_eq!(stage.egg(&["run", "my.egg", "--", "other"]).code, Some(0));
    assert!(booted(&stage).contains(r#"args = ["/bin/program", "other"]"#));
}

#[test]
fn damaged_images_are_refused() {
    let stage = Stage::with_qemu(KEEPS_IMAGE);
    assert_eq!(stage.egg(&["build", "-o", "my.egg", "program"]).code, Some(0));
    let image = std::fs::read(stage.path("my.egg")).unwrap();
    stage.write("cut.egg", &image[..image.len() / 2]);
    stage.egg(&["run", "cut.egg"]).one_line(126, "the archive is cut off");
}

#[test]
fn inspect_speaks_json() {
    let stage = Stage::without_machine();
    let ended = stage.egg(&["inspect", "--json", "program"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(json["runs"], true);
    assert_eq!(json["format"], "elf");
    assert_eq!(json["is_static"], true);
    assert!(json["go"].is_null());
}

#[test]
fn a_dry_run_prints_a_command_and_starts_nothing() {
    let stage = Stage::without_machine();
    let ended = stage.egg(&[
        "run",
        "--dry-run",
        "--accel",
        "tcg",
        "--machine",
        "q35",
        "-m",
        "2G",
        "--cpus",
        "3",
        "-p",
        "0.0.0.0:0:80",
        "program",
    ]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    for part in ["qemu-system-x86_64 ", "-M q35", "-m 2048M", "-smp 3", "hostfwd=tcp:0.0.0.0:"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
}

#[test]
fn a_package_is_built_and_its_go_is_known() {
    let stage = Stage::with_qemu(KEEPS_IMAGE);
    if !stage.has_go() {
        return;
    }
    stage.write("go.mod", "module example.com/shop/v2\n\ngo 1.16\n");
    stage.write("main.go", "package main\n\nfunc main() {}\n");
    stage.write("cmd/other/main.go", "package main\n\nfunc main() {}\n");

    assert_eq!(stage.egg(&["run"]).code, Some(0));
    assert!(booted(&stage).contains(r#"program = "/bin/shop""#));
    assert_eq!(stage.egg(&["run", "-tags=none", "-ldflags=-s -w", "cmd/other"]).code, Some(0));
    assert!(booted(&stage).contains(r#"program = "/bin/other""#));

    stage.write("elsewhere/go.mod", "module example.com/third\n\ngo 1.16\n");
    stage.write("elsewhere/main.go", "package main\n\nfunc main() {}\n");
    let elsewhere = stage.path("elsewhere");
    for target in ["elsewhere", "elsewhere/main.go", elsewhere.to_str().unwrap()] {
        let ended = stage.egg(&["run", target]);
        assert_eq!(ended.code, Some(0), "{target}: {ended:?}");
    }

    assert_eq!(stage.egg(&["build", "-o", "shop.egg"]).code, Some(0));
    let ended = stage.egg(&["inspect", "--json", "shop.egg"]);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert!(json["go"]["version"].as_str().unwrap().starts_with("go1."), "{json}");
    assert_eq!(json["go"]["path"], "example.com/shop/v2");
    assert_eq!(json["go"]["abi"], "register");
}
