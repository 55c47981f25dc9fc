use super::*;
use crate::stack::{Auxiliary, Contents, TooLong, build};
use base::UserAddr;
use proptest::prelude::*;

const TOP: UserAddr = UserAddr(0x7fff_ffff_0000);

fn contents<'a>(arguments: &'a [&'a [u8]], environment: &'a [&'a [u8]]) -> Contents<'a> {
    Contents {
        arguments,
        environment,
        executable: b"/bin/app",
        random: [7; 16],
        auxiliary: Auxiliary {
            headers: UserAddr(0x40_0040),
            header_bytes: 56,
            header_count: 6,
            entry: UserAddr(0x40_1000),
            vdso: UserAddr(0x7000_0000_0000),
            ..Default::default()
        },
    }
}

/// Reads the stack as a program does.
struct Reader<'a> {
    bytes: &'a [u8],
    start: u64,
}

impl Reader<'_> {
    fn word(&self, index: usize) -> u64 {
        u64::from_le_bytes(self.bytes[index * 8..index * 8 + 8].try_into().unwrap())
    }

    fn string(&self, address: u64) -> &[u8] {
        let bytes = &self.bytes[(address - self.start) as usize..];
        bytes.split(|byte| *byte == 0).next().unwrap()
    }
}

fn check(arguments: &[&[u8]], environment: &[&[u8]]) {
    let stack = build(&contents(arguments, environment), TOP).unwrap();
    assert_eq!(stack.pointer.0 % 16, 0);
    assert_eq!(stack.pointer.0 + stack.bytes.len() as u64, TOP.0);
    let reader = Reader { bytes: &stack.bytes, start: stack.pointer.0 };
    assert_eq!(reader.word(0), arguments.len() as u64);
    let mut at = 1;
    for list in [arguments, environment] {
        for string in list {
            assert_eq!(reader.string(reader.word(at)), *string);
            at += 1;
        }
        assert_eq!(reader.word(at), 0);
        at += 1;
    }
    assert_eq!(stack.auxiliary_vector.start, at * 8);
    let mut found = Vec::new();
    loop {
        let (kind, value) = (reader.word(at), reader.word(at + 1));
        at += 2;
        if kind == 0 {
            break;
        }
        found.push(kind);
        match kind {
            3 => assert_eq!(value, 0x40_0040),
            6 => assert_eq!(value, 4096),
            9 => assert_eq!(value, 0x40_1000),
            15 => assert_eq!(reader.string(value), b"x86_64"),
            25 => assert_eq!(&reader.bytes[(value - reader.start) as usize..][..16], &[7; 16]),
            31 => assert_eq!(reader.string(value), b"/bin/app"),
            33 => assert_eq!(value, 0x7000_0000_0000),
            _ => {}
        }
    }
    assert_eq!(stack.auxiliary_vector.end, at * 8);
    for kind in [3, 4, 5, 6, 7, 9, 11, 12, 13, 14, 15, 16, 17, 23, 25, 26, 31, 33, 51] {
        assert!(found.contains(&kind), "AT_ {kind} is missing");
    }
}

#[test]
fn the_program_finds_its_arguments() {
    check(&[b"app"], &[]);
    check(&[b"app", b"-v", b""], &[b"HOME=/", b"A="]);
    check(&[], &[]);
}

#[test]
fn too_much_is_refused() {
    let long = vec![b'x'; crate::stack::LONGEST_STRING];
    assert_eq!(build(&contents(&[&long], &[]), TOP), Err(TooLong));
    let nearly = vec![b'x'; crate::stack::LONGEST_STRING - 1];
    check(&[&nearly], &[]);
    let many: Vec<&[u8]> = vec![&nearly; 17];
    assert_eq!(build(&contents(&many, &[]), TOP), Err(TooLong));
}

proptest! {
    #[test]
    fn any_strings_are_found(
        arguments in prop::collection::vec("[a-z]{0,20}", 0..20),
        environment in prop::collection::vec("[A-Z]{1,9}=[a-z]{0,9}", 0..20),
    ) {
        let arguments: Vec<&[u8]> = arguments.iter().map(|string| string.as_bytes()).collect();
        let environment: Vec<&[u8]> = environment.iter().map(|string| string.as_bytes()).collect();
        check(&arguments, &environment);
    }
}
