use super::*;
use crate::{Kind, LoadError, Step, parse};
use abi::mman::Prot;
use alloc::string::ToString;
use base::UserAddr;
use proptest::prelude::*;

const SIZE: usize = 0x30e0;

fn go_program() -> Vec<u8> {
    image(2, 0x40_1000, &go_parts(0x40_0000), SIZE)
}

#[test]
fn a_go_program_is_mapped_in_place_and_its_zeros_cleared() {
    let program = parse(&go_program()).unwrap();
    assert_eq!(program.kind, Kind::Fixed);
    assert_eq!(program.headers_address, Some(0x40_0040));
    let plan = program.plan(UserAddr(0x1234_5000)).unwrap();
    let code = Prot::READ | Prot::EXEC;
    let data = Prot::READ | Prot::WRITE;
    let expected = [
        Step::File { address: UserAddr(0x40_0000), bytes: 0x2000, offset: 0, protection: code },
        Step::File {
            address: UserAddr(0x40_2000),
            bytes: 0x2000,
            offset: 0x2000,
            protection: data,
        },
        Step::Clear { address: UserAddr(0x40_30e0), bytes: 0xf20 },
        Step::Zeros { address: UserAddr(0x40_4000), bytes: 0x4000, protection: data },
    ];
    assert_eq!(plan.steps, expected);
    assert_eq!(plan.entry, UserAddr(0x40_1000));
    assert_eq!(plan.program_break, UserAddr(0x40_8000));
    assert_eq!(plan.bias, 0);
}

#[test]
fn position_independent_programs_go_where_they_are_put() {
    let file = image(3, 0x1000, &go_parts(0), SIZE);
    let plan = parse(&file).unwrap().plan(UserAddr(0x5555_5555_4000)).unwrap();
    assert_eq!(plan.bias, 0x5555_5555_4000);
    assert_eq!(plan.entry, UserAddr(0x5555_5555_5000));
    // Linked elsewhere than at 0, as Go's are.
    let file = image(3, 0x40_1000, &go_parts(0x40_0000), SIZE);
    let plan = parse(&file).unwrap().plan(UserAddr(0x5555_5555_4000)).unwrap();
    assert_eq!(plan.entry, UserAddr(0x5555_5555_5000));
    assert_eq!(plan.headers, UserAddr(0x5555_5555_4040));
    assert!(parse(&file).unwrap().plan(UserAddr(0x7fff_ffff_8000)).is_err());
}

#[test]
fn every_way_to_be_wrong_has_its_word() {
    let fails = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = go_program();
        change(&mut file);
        parse(&file).unwrap_err()
    };
    assert_eq!(parse(b""), Err(LoadError::NotElf { is: Some("an empty file") }));
    assert_eq!(parse(b"#!/bin/sh\n"), Err(LoadError::NotElf { is: Some("a script") }));
    assert_eq!(parse(&[0; 100]), Err(LoadError::NotElf { is: None }));
    assert_eq!(parse(b"\x7fELF\x02"), Err(LoadError::Truncated { what: "the ELF header" }));
    assert_eq!(fails(&|file| file[4] = 1), LoadError::ThirtyTwoBit);
    assert_eq!(fails(&|file| file[7] = 9), LoadError::WrongSystem { abi: 9 });
    assert_eq!(fails(&|file| file[18] = 183), LoadError::WrongArchitecture { machine: 183 });
    assert_eq!(fails(&|file| file[16] = 4), LoadError::NotExecutable { kind: 4 });
    assert_eq!(fails(&|file| file[56] = 0), LoadError::NoLoadSegments);
    assert_eq!(fails(&|file| file[64] = 4), LoadError::EntryOutside { entry: 0x40_1000 });
    assert_eq!(fails(&|file| file.truncate(0x3000)), LoadError::Truncated { what: "a segment" });
    assert_eq!(
        fails(&|file| file.truncate(100)),
        LoadError::Truncated { what: "the program header table" }
    );
    assert_eq!(
        fails(&|file| file[24..32].fill(0x11)),
        LoadError::EntryOutside { entry: 0x1111_1111_1111_1111 }
    );
    // The second segment on top of the first.
    let mut parts = go_parts(0x40_0000);
    parts[1].address = 0x40_1000;
    let overlap = image(2, 0x40_1000, &parts, SIZE);
    assert_eq!(parse(&overlap), Err(LoadError::Overlap { address: 0x40_1000 }));
    parts[1].address = 0x40_2008;
    assert!(matches!(parse(&image(2, 0x40_1000, &parts, SIZE)), Err(LoadError::Malformed { .. })));
    parts[1] = Part { memory_bytes: u64::MAX, ..go_parts(0x40_0000)[1] };
    let endless = image(2, 0x40_1000, &parts, SIZE);
    assert_eq!(parse(&endless), Err(LoadError::OutsideAddressSpace { address: 0x40_2000 }));
    let low = image(2, 0x1000, &go_parts(0), SIZE);
    assert_eq!(parse(&low), Err(LoadError::OutsideAddressSpace { address: 0 }));
}

#[test]
fn errors_say_what_to_do() {
    let arm = LoadError::WrongArchitecture { machine: 183 }.to_string();
    assert!(arm.contains("64-bit ARM") && arm.contains("GOARCH=amd64"), "{arm}");
    let dynamic = LoadError::DynamicallyLinked {
        interpreter: "/lib64/ld-linux-x86-64.so.2".into(),
        library: Some("libc.so.6".into()),
    };
    let dynamic = dynamic.to_string();
    assert!(dynamic.contains("libc.so.6") && dynamic.contains("CGO_ENABLED=0"), "{dynamic}");
}

/// A position-independent program with interpreter, dynamic section and relocations.
fn dynamic_program(dynamic: &[(u64, u64)], relocations: &[(u64, u64, u64)]) -> Vec<u8> {
    let part = |kind, offset, bytes| Part {
        kind,
        flags: READ_WRITE,
        offset,
        address: 0x40_0000 + offset,
        file_bytes: bytes,
        memory_bytes: bytes,
    };
    let [text, data] = go_parts(0x40_0000);
    let parts = [text, data, part(3, 0x1800, 28), part(2, 0x2100, 16 * 8)];
    let mut file = image(3, 0x40_1000, &parts, SIZE);
    file[0x1800..0x181b].copy_from_slice(b"/lib64/ld-linux-x86-64.so.2");
    for (index, (tag, value)) in dynamic.iter().enumerate() {
        let at = 0x2100 + index * 16;
        file[at..at + 8].copy_from_slice(&tag.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&value.to_le_bytes());
    }
    for (index, (address, info, addend)) in relocations.iter().enumerate() {
        let at = 0x1900 + index * 24;
        file[at..at + 8].copy_from_slice(&address.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&info.to_le_bytes());
        file[at + 16..at + 24].copy_from_slice(&addend.to_le_bytes());
    }
    file[0x1a00..0x1a0a].copy_from_slice(b"\0libc.so.6");
    file
}

#[test]
fn go_pie_is_relocated_and_libraries_are_refused() {
    let tables = [(7, 0x40_1900), (8, 48), (9, 24)];
    let relocations = [(0x40_2008, 8, 0x40_1234), (0x40_2010, 8, 0x40_2000)];
    let file = dynamic_program(&tables, &relocations);
    let program = parse(&file).unwrap();
    let bias = program.plan(UserAddr(0x5555_5555_4000)).unwrap().bias;
    let words: Vec<_> = program.relocations(&file, bias).collect();
    assert_eq!(words.len(), 2);
    assert_eq!(words[0].address, UserAddr(0x5555_5555_6008));
    assert_eq!(words[0].value, 0x5555_5555_5234);

    let needs = dynamic_program(&[(5, 0x40_1a00), (10, 10), (1, 1)], &[]);
    let error = LoadError::DynamicallyLinked {
        interpreter: "/lib64/ld-linux-x86-64.so.2".into(),
        library: Some("libc.so.6".into()),
    };
    assert_eq!(parse(&needs), Err(error));
    let symbol = dynamic_program(&tables, &[(0x40_2008, 0x1_0000_0006, 0), relocations[1]]);
    assert_eq!(parse(&symbol), Err(LoadError::UnsupportedRelocation { kind: 6 }));
    let outside = dynamic_program(&tables, &[(0x40_0000, 8, 0), relocations[1]]);
    assert!(matches!(parse(&outside), Err(LoadError::Malformed { .. })));
    let missing = dynamic_program(&[(7, 0x49_0000), (8, 48), (9, 24)], &[]);
    assert_eq!(parse(&missing), Err(LoadError::Truncated { what: "the relocation table" }));
}

fn use_everything(file: &[u8]) {
    match parse(file) {
        Ok(program) => {
            if let Ok(plan) = program.plan(UserAddr(0x5555_5555_4000)) {
                assert!(program.relocations(file, plan.bias).count() <= file.len());
                for step in plan.steps {
                    if let Step::File { address, bytes, offset, .. } = step {
                        assert!(address.is_page_aligned() && bytes % 4096 == 0);
                        assert!(offset % 4096 == 0);
                    }
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        use_everything(&bytes);
    }

    #[test]
    fn damaged_programs_do_not_panic(
        changes in prop::collection::vec((0..400_usize, any::<u8>()), 1..8),
        words in prop::collection::vec((0..64_usize, prop::sample::select(vec![
            0, 1, 0xfff, u64::MAX, u64::MAX - 4095, 0x7fff_ffff_f000, 1 << 63,
        ])), 0..4),
        length in 0..SIZE,
    ) {
        let tables = [(7, 0x40_1900), (8, 48), (9, 24)];
        let mut file =
            dynamic_program(&tables, &[(0x40_2008, 8, 1), (0x40_2010, 8, 2)]);
        for (at, byte) in changes {
            // Half of the changes hit the dynamic section.
            let at = if at % 2 == 0 { at } else { 0x2100 + at };
            file[at] = byte;
        }
        for (at, word) in words {
            file[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        use_everything(&file);
        file.truncate(length);
        use_everything(&file);
    }
}
