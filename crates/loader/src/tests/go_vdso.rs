//! Reads the vDSO as Go's runtime does (`runtime/vdso_linux.go`), and as a general parser does.

use crate::vdso::{Symbol, build};
use alloc::vec::Vec;
use elf::ElfBytes;
use elf::endian::LittleEndian;

const SYMBOLS: &[Symbol] = &[
    Symbol { name: "__vdso_clock_gettime", offset: 0, bytes: 16 },
    Symbol { name: "__vdso_gettimeofday", offset: 16, bytes: 16 },
    Symbol { name: "__vdso_time", offset: 32, bytes: 16 },
];
const CODE_OFFSET: usize = 1024;

struct Image(Vec<u8>);

impl Image {
    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.0[at..at + 2].try_into().unwrap())
    }
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().unwrap())
    }
    fn long(&self, at: usize) -> usize {
        u64::from_le_bytes(self.0[at..at + 8].try_into().unwrap()) as usize
    }
    fn name(&self, at: usize) -> &[u8] {
        self.0[at..].split(|byte| *byte == 0).next().unwrap()
    }

    /// `vdsoInitFromSysinfoEhdr`: the dynamic table.
    fn dynamic(&self, tag: usize) -> Option<usize> {
        let table = self.long(32);
        let count = self.half(56) as usize;
        let header = (0..count).map(|index| table + index * 56).find(|at| self.word(*at) == 2)?;
        let mut at = self.long(header + 8);
        while self.long(at) != 0 {
            if self.long(at) == tag {
                return Some(self.long(at + 8));
            }
            at += 16;
        }
        None
    }

    /// `vdsoFindVersion`.
    fn version(&self) -> u16 {
        let mut at = self.dynamic(0x6fff_fffc).unwrap();
        let strings = self.dynamic(5).unwrap();
        loop {
            let name = self.word(at + self.word(at + 12) as usize) as usize;
            let is_base = self.half(at + 2) & 1 != 0;
            if !is_base && self.word(at + 8) == 0x03ae_75f6 {
                assert_eq!(self.name(strings + name), b"LINUX_2.6");
                return self.half(at + 4);
            }
            let next = self.word(at + 16) as usize;
            assert_ne!(next, 0);
            at += next;
        }
    }

    /// `apply` in `vdsoParseSymbols`.
    fn matches(&self, index: usize, name: &str) -> Option<usize> {
        let at = self.dynamic(6).unwrap() + index * 24;
        let strings = self.dynamic(5).unwrap();
        assert_eq!(self.0[at + 4], 0x12, "a global function");
        assert_ne!(self.half(at + 6), 0, "defined");
        let versions = self.dynamic(0x6fff_fff0).unwrap();
        assert_eq!(self.half(versions + index * 2) & 0x7fff, self.version());
        let found = self.name(strings + self.word(at) as usize) == name.as_bytes();
        found.then(|| self.long(at + 8))
    }

    /// The DT_HASH half of `vdsoParseSymbols`.
    fn by_hash(&self, name: &str) -> Option<usize> {
        let table = self.dynamic(4).unwrap();
        assert_eq!(self.word(table), 1);
        let mut index = self.word(table + 8) as usize;
        while index != 0 {
            if let Some(value) = self.matches(index, name) {
                return Some(value);
            }
            index = self.word(table + 12 + index * 4) as usize;
        }
        None
    }

    /// The DT_GNU_HASH half.
    fn by_gnu_hash(&self, name: &str, hash: u32) -> Option<usize> {
        let table = self.dynamic(0x6fff_fef5).unwrap();
        let (buckets, first, filter) =
            (self.word(table), self.word(table + 4), self.word(table + 8));
        let bucket = table + 16 + filter as usize * 8;
        let chain = bucket + buckets as usize * 4;
        let mut index = self.word(bucket + (hash % buckets) as usize * 4);
        loop {
            let held = self.word(chain + (index - first) as usize * 4);
            if held | 1 == hash | 1
                && let Some(value) = self.matches(index as usize, name)
            {
                return Some(value);
            }
            if held & 1 != 0 {
                return None;
            }
            index += 1;
        }
    }
}

fn built() -> Image {
    Image(build(&[0xcc; 48], CODE_OFFSET, SYMBOLS).unwrap())
}

#[test]
fn go_finds_the_clocks() {
    let image = built();
    assert_eq!(image.by_hash("__vdso_clock_gettime"), Some(CODE_OFFSET));
    assert_eq!(image.by_hash("__vdso_gettimeofday"), Some(CODE_OFFSET + 16));
    assert_eq!(image.by_gnu_hash("__vdso_clock_gettime", 0x6e43_a318), Some(CODE_OFFSET));
    assert_eq!(image.by_gnu_hash("__vdso_gettimeofday", 0xb01b_ca00), Some(CODE_OFFSET + 16));
    // Go asks for this too, and goes on without.
    assert_eq!(image.by_gnu_hash("__vdso_getrandom", 0x84a5_59bf), None);
    assert_eq!(image.by_hash("__vdso_getrandom"), None);
}

#[test]
fn a_general_parser_agrees() {
    let image = built();
    let file = ElfBytes::<LittleEndian>::minimal_parse(&image.0).unwrap();
    let segments = file.segments().unwrap();
    assert_eq!(segments.len(), 2);
    let load = segments.get(0).unwrap();
    assert_eq!((load.p_type, load.p_vaddr, load.p_flags), (1, 0, 5));
    assert_eq!(load.p_filesz, (CODE_OFFSET + 48) as u64);
    let dynamic = file.dynamic().unwrap().unwrap();
    assert_eq!(dynamic.iter().filter(|entry| entry.d_tag == 0x6fff_fef5).count(), 1);
    assert_eq!(image.0.len(), 4096);
}

#[test]
fn what_does_not_fit_is_refused() {
    assert_eq!(build(&[0; 4000], CODE_OFFSET, SYMBOLS), None);
    assert_eq!(build(&[0; 16], 256, SYMBOLS), None);
}
