//! Any arguments whatsoever: errors are fine, panics, overflows and broken trees are not.

use super::*;
use crate::{Advice, UserSink, UserSource};
use abi::mman::{MlockallFlags, MremapFlags, MsyncFlags};
use alloc::string::String;
use base::address::USER_END;
use base::io::{Sink, Source};
use hal::{Access, PageFault};
use proptest::prelude::*;

const MAPPED: u64 = 0x10_0000_0000;

/// Numbers at which something might go wrong.
fn number() -> impl Strategy<Value = u64> {
    let edge = prop::sample::select(vec![
        0,
        1 << 12,
        1 << 16,
        MAPPED,
        MAPPED + 8 * PAGE_SIZE,
        1 << 31,
        USER_END,
        1 << 47,
        1 << 48,
        1 << 63,
        0u64.wrapping_sub(PAGE_SIZE),
    ]);
    let near = prop::sample::select(vec![-4097_i64, -4096, -1, 0, 1, 4095, 4096, 12288]);
    prop_oneof![
        6 => (edge, near).prop_map(|(edge, near)| edge.wrapping_add_signed(near)),
        1 => any::<u64>(),
    ]
}

fn call(mm: &Mm, data: &Arc<TestFile>, which: u8, arguments: [u64; 4], bits: u32) {
    let [a, b, c, d] = arguments;
    let protection = PageProtection::from_bits_truncate(bits as u8);
    let at = UserAddr(a);
    let mut small = [0; 64];
    match which {
        0..3 => {
            let placement = match bits >> 8 & 3 {
                0 => Placement::Hint(at),
                1 => Placement::Low,
                2 => Placement::Fixed(at),
                _ => Placement::FixedNoReplace(at),
            };
            let content = match bits >> 10 & 3 {
                0 => Content::Anonymous,
                1 => Content::SharedAnonymous,
                _ => Content::File {
                    backing: data.clone(),
                    offset: c,
                    shared: bits & 1 << 12 != 0,
                    writable: bits & 1 << 13 != 0,
                },
            };
            let _ = mm.map(MapRequest::new(placement, b, protection, content));
        }
        3 => drop(mm.unmap(at, b)),
        4 => drop(mm.protect(at, b, protection)),
        5 => {
            if let Ok(advice) = Advice::decode((bits % 30) as i32) {
                let _ = mm.advise(at, b, advice);
            }
        }
        6 => drop(mm.remap(at, b, c, MremapFlags::from_bits_truncate(bits), UserAddr(d))),
        7 => drop(mm.brk(at)),
        8 => drop(mm.lock(at, b, bits & 1 != 0)),
        9 => drop(mm.unlock(at, b)),
        10 => drop(mm.sync(at, b, MsyncFlags::from_bits_truncate(bits))),
        11 => drop(mm.set_name(at, b, (bits & 1 != 0).then_some("name"))),
        12 => drop(mm.read_bytes(at, &mut small)),
        13 => drop(mm.write_bytes(at, &small)),
        14 => drop(mm.read_c_string(at, (b % 5000) as usize)),
        15 => drop(mm.clear(at, b)),
        16 => drop(mm.compare_exchange_u32(at, bits, bits)),
        17 => drop(mm.read_pieces(at, (b % 2000) as usize)),
        18 => drop(UserSink::new(mm, at, b as usize).put(&small)),
        19 => drop(UserSource::new(mm, at, b as usize).take(&mut small)),
        20 => mm.set_program_break(at),
        21 => mm.lock_all(MlockallFlags::from_bits_truncate(bits)),
        22 => mm.file_truncated(data.identity(), b),
        _ => {
            let access = [Access::Read, Access::Write, Access::Execute][(bits % 3) as usize];
            let fault = PageFault { address: at, access, present: false, error_code: 0 };
            let _ = mm.fault(&fault);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_argument_breaks_anything(
        calls in prop::collection::vec(
            (0..26_u8, [number(), number(), number(), number()], any::<u32>()), 1..40),
    ) {
        hal::sim::reset(1, 600);
        let mm = Mm::new(7).unwrap();
        let data = TestFile::new(4);
        map_some(&mm);
        for (which, arguments, bits) in calls {
            call(&mm, &data, which, arguments, bits);
            mm.state.lock().tree.check();
        }
        let mut text = String::new();
        mm.maps(&mut text).unwrap();
        let _ = mm.statistics();
    }
}

fn map_some(mm: &Mm) {
    let place = Placement::Fixed(UserAddr(MAPPED));
    mm.map(MapRequest::anonymous(place, 8 * PAGE_SIZE, READ_WRITE)).unwrap();
}
