//! The archive is what standard tools read: listed and unpacked by cpio(1), where there is one.

#![expect(clippy::unwrap_used, reason = "a test")]
use std::io::Write;
use std::process::{Command, Stdio};

use bundle::{Metadata, Writer};

fn cpio(arguments: &[&str], archive: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new("cpio")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take().unwrap();
    let archive = archive.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&archive));
    let output = child.wait_with_output().unwrap();
    // cpio may stop reading after the trailer.
    let _ = feeder.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(output.stdout)
}

#[test]
fn standard_tools_read_it() {
    let big: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut writer = Writer::new();
    writer.file(b"etc/eggos/config", Metadata::root(0o644), b"trace = true\n").unwrap();
    writer.directory(b"bin", Metadata::root(0o755)).unwrap();
    writer.file(b"bin/big", Metadata::root(0o755), &big).unwrap();
    writer.symlink(b"bin/link", Metadata::root(0o777), b"big").unwrap();
    let archive = writer.finish();

    let Some(list) = cpio(&["-t", "--quiet"], &archive) else {
        eprintln!("skipped: no cpio here");
        return;
    };
    assert_eq!(String::from_utf8(list).unwrap(), "etc/eggos/config\nbin\nbin/big\nbin/link\n");
    let contents = cpio(&["-i", "--quiet", "--to-stdout", "bin/big"], &archive).unwrap();
    assert!(contents == big, "the file's contents came back changed");
}
