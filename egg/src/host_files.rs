//! Files of this host that programs look for: time zones and certificates. They come along when the
//! program has the Go functions that read them.

use std::fs;
use std::path::Path;

use anyhow::Context;
use bundle::Metadata;
use clap::ValueEnum;

use crate::exit::{Code, Failure};
use crate::image::Tree;

/// Whether such files come along.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Wish {
    /// If the program looks for them.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What comes along.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct HostFiles {
    pub(crate) zoneinfo: Wish,
    pub(crate) certificates: Wish,
}

/// Where Go looks for time zones first (time/zoneinfo_unix.go).
const ZONEINFO: &str = "/usr/share/zoneinfo";
/// The same zones in other forms, for C libraries that are told so.
const OTHER_FORMS: [&str; 2] = ["posix", "right"];
/// Reads time zones by name.
const LOADS_ZONES: &str = "time.LoadLocation";
/// The program brings the zones itself (package time/tzdata).
const HAS_ZONES: &str = "time/tzdata.loadFromEmbeddedTZData";

/// Where Go looks for certificates, in this order (crypto/x509/root_linux.go).
const CERTIFICATES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
/// Reads them.
const LOADS_CERTIFICATES: &str = "crypto/x509.loadSystemRoots";

/// Adds what the program looks for, as far as this host has it.
pub(crate) fn add(tree: &mut Tree, program: &[u8], wishes: HostFiles) -> anyhow::Result<()> {
    let looks_for_zones =
        || has_function(program, LOADS_ZONES) && !has_function(program, HAS_ZONES);
    if wanted(wishes.zoneinfo, looks_for_zones) {
        let folder = Path::new(ZONEINFO);
        if folder.is_dir() {
            let skips = |path: &Path| OTHER_FORMS.iter().any(|name| path == folder.join(name));
            tree.add_in_place(folder, &skips).with_context(|| format!("time zones: {ZONEINFO}"))?;
        } else if wishes.zoneinfo == Wish::On {
            return Failure::err(Code::NotFound, format!("--zoneinfo: there is no {ZONEINFO}"));
        }
    }
    if wanted(wishes.certificates, || has_function(program, LOADS_CERTIFICATES)) {
        let found = CERTIFICATES.iter().find_map(|path| Some((path, fs::read(path).ok()?)));
        if let Some((path, certificates)) = found {
            tree.file(path.as_bytes(), Metadata::root(0o644), certificates);
        } else if wishes.certificates == Wish::On {
            let places = CERTIFICATES.join(", ");
            return Failure::err(
                Code::NotFound,
                format!("--certificates: there is none of {places}"),
            );
        }
    }
    Ok(())
}

fn wanted(wish: Wish, looks_for: impl FnOnce() -> bool) -> bool {
    match wish {
        Wish::Auto => looks_for(),
        Wish::On => true,
        Wish::Off => false,
    }
}

/// True when a Go program has this function: its name stands in the table that traces are made
/// from, which `-ldflags=-s` leaves in.
fn has_function(program: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    let starts = program.iter().enumerate().filter(|(_, byte)| **byte == 0);
    starts.map(|(at, _)| at + 1).any(|at| {
        let end = at + name.len();
        program.get(at..end) == Some(name) && program.get(end) == Some(&0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_their_whole_names() {
        let program = b"\0time.LoadLocationFromTZData\0x.time.LoadLocation\0time.LoadLocation\0";
        assert!(has_function(program, LOADS_ZONES));
        let without = &program[..program.len() - 1];
        assert!(!has_function(without, LOADS_ZONES));
        assert!(!has_function(program, LOADS_CERTIFICATES));
    }

    #[test]
    fn what_a_program_looks_for_comes_along() {
        let path = |tree: &Tree, path: &str| tree.contents(path).is_some();
        let zone = format!("{ZONEINFO}/Europe/Berlin");
        let with = |program: &[u8], wishes| {
            let mut tree = Tree::default();
            add(&mut tree, program, wishes).unwrap();
            tree
        };
        let program = b"\0time.LoadLocation\0crypto/x509.loadSystemRoots\0";
        let auto = HostFiles::default();
        let tree = with(program, auto);
        assert_eq!(path(&tree, &zone), Path::new(&zone).exists());
        let certificates = CERTIFICATES.iter().find(|path| Path::new(path).exists());
        assert!(certificates.is_none_or(|file| path(&tree, file)));
        let off = HostFiles { zoneinfo: Wish::Off, certificates: Wish::Off };
        let embedded = b"\0time.LoadLocation\0time/tzdata.loadFromEmbeddedTZData\0";
        for tree in [with(program, off), with(b"\0main.main\0", auto), with(embedded, auto)] {
            assert!(!path(&tree, &zone));
            assert!(certificates.is_none_or(|file| !path(&tree, file)));
        }
    }
}
