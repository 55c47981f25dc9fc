//! The Internet checksum (RFC 1071).

use core::net::IpAddr;

/// The ones' complement sum of `bytes` as big-endian words, added to `start`, not folded to 16
/// bits yet.
pub(crate) fn sum(bytes: &[u8], start: u64) -> u64 {
    // Ones' complement sums do not care about byte order until the end, nor about the width of
    // the words that are added: add eight bytes at a time with end-around carry.
    let (words, rest) = bytes.as_chunks::<8>();
    let mut low: u64 = 0;
    let mut carries: u64 = 0;
    for word in words {
        let (next, carry) = low.overflowing_add(u64::from_ne_bytes(*word));
        low = next;
        carries += u64::from(carry);
    }
    let mut last = [0; 8];
    for (slot, byte) in last.iter_mut().zip(rest) {
        *slot = *byte;
    }
    let (next, carry) = low.overflowing_add(u64::from_ne_bytes(last));
    carries += u64::from(carry);
    let total = u128::from(next) + u128::from(carries);
    let folded = fold((total as u64 & 0xffff_ffff) + ((total >> 32) as u64));
    start + u64::from(u16::from_be_bytes(folded.to_ne_bytes()))
}

/// Folds a sum to 16 bits.
pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The checksum of `bytes`: what goes into a header field that was zero while summing.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes, 0))
}

/// The sum of the pseudo-header of TCP and UDP (RFC 9293, RFC 8200).
pub(crate) fn pseudo_header(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> u64 {
    let tail = u64::from(protocol) + (length as u64 & 0xffff) + (length as u64 >> 16);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => sum(&to.octets(), sum(&from.octets(), tail)),
        (IpAddr::V6(from), IpAddr::V6(to)) => sum(&to.octets(), sum(&from.octets(), tail)),
        _ => tail,
    }
}

/// True when `segment`, its checksum field included, sums to what it must.
pub(crate) fn verify(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> bool {
    fold(sum(segment, pseudo_header(from, to, protocol, segment.len()))) == 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn slow(bytes: &[u8]) -> u16 {
        let mut sum = 0u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
        }
        fold(sum)
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_definition(bytes: Vec<u8>, start: u16) {
            let fast = fold(sum(&bytes, u64::from(start)));
            let slow = fold(u64::from(slow(&bytes)) + u64::from(start));
            // Zero has two forms.
            proptest::prop_assert!(fast == slow || [fast, slow].iter().all(|sum| [0, 0xffff].contains(sum)));
        }
    }
}
