//! `docs/syscalls.md` says what the table says. `EGGOS_WRITE_DOCS=1` (make docs) writes it.

use std::path::Path;

#[test]
fn syscalls_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/syscalls.md");
    let wanted = syscalls::table::markdown();
    if std::env::var_os("EGGOS_WRITE_DOCS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/syscalls.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/syscalls.md is stale: run `make docs`");
}

#[test]
fn names_are_those_of_linux() {
    for family in syscalls::table::FAMILIES {
        for row in family.rows {
            assert_eq!(abi::number::name(u64::from(row.number)), Some(row.name));
            assert!(row.note.is_empty() == (row.support == syscalls::table::Support::Full));
        }
    }
}
