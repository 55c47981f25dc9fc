//! How many columns a character takes.

/// Those that take two: East Asian wide and full-width, pictures (Unicode, EastAsianWidth.txt, in
/// ranges that leave small holes out).
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115f),
    (0x2e80, 0x303e),
    (0x3041, 0x4dbf),
    (0x4e00, 0xa4cf),
    (0xa960, 0xa97f),
    (0xac00, 0xd7a3),
    (0xf900, 0xfaff),
    (0xfe30, 0xfe6f),
    (0xff01, 0xff60),
    (0xffe0, 0xffe6),
    (0x1f300, 0x1f64f),
    (0x1f680, 0x1f6ff),
    (0x1f900, 0x1faff),
    (0x2_0000, 0x3_fffd),
];

/// Those that change the character before and take none.
const COMBINING: &[(u32, u32)] = &[
    (0x0300, 0x036f),
    (0x0483, 0x0489),
    (0x0591, 0x05bd),
    (0x064b, 0x065f),
    (0x200b, 0x200f),
    (0x202a, 0x202e),
    (0x2060, 0x2064),
    (0x20d0, 0x20f0),
    (0xfe00, 0xfe0f),
    (0xfe20, 0xfe2f),
    (0xfeff, 0xfeff),
    (0xe_0100, 0xe_01ef),
];

/// 0, 1 or 2.
pub(crate) fn columns(character: char) -> usize {
    let code = u32::from(character);
    let in_one =
        |ranges: &[(u32, u32)]| ranges.iter().any(|(first, last)| (*first..=*last).contains(&code));
    match code {
        ..0x300 => 1,
        _ if in_one(COMBINING) => 0,
        _ if in_one(WIDE) => 2,
        _ => 1,
    }
}
