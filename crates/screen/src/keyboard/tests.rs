//! Codes in, bytes out.

use super::*;
use crate::layouts::LAYOUTS;
use proptest::prelude::*;
use std::string::String;

const SHIFT: u8 = 0x2a;
const CONTROL: u8 = 0x1d;
const ALT: u8 = 0x38;
const RELEASE: u8 = 0x80;

/// What a program reads after these codes.
fn read(layout: &str, codes: &[u8]) -> String {
    let mut keyboard = Keyboard::new(Layout::named(layout).unwrap());
    let mut all = Vec::new();
    for &code in codes {
        match keyboard.take(code).and_then(|key| keyboard.typed(key, false)) {
            Some(Typed::Bytes(bytes)) => all.extend(bytes),
            Some(Typed::Look { back }) => all.push(if back { b'<' } else { b'>' }),
            None => {}
        }
    }
    String::from_utf8(all).unwrap()
}

/// A key with another held.
fn held(with: &[u8], key: u8) -> Vec<u8> {
    let mut codes = with.to_vec();
    codes.extend([key, key | RELEASE]);
    codes.extend(with.iter().map(|code| if *code == 0xe0 { 0xe0 } else { code | RELEASE }));
    codes
}

#[test]
fn letters_and_what_changes_them() {
    let held = |with, key| read("us", &held(with, key));
    assert_eq!(read("us", &[0x1e, 0x9e, 0x1e, 0x1e, 0x9e]), "aaa");
    assert_eq!(held(&[SHIFT], 0x1e), "A");
    assert_eq!(held(&[CONTROL], 0x2e), "\u{3}");
    assert_eq!(held(&[0xe0, CONTROL], 0x2e), "\u{3}");
    assert_eq!(held(&[ALT], 0x21), "\u{1b}f");
    assert_eq!(held(&[CONTROL], 0x39), "\0");
    assert_eq!(held(&[CONTROL], 0x2b), "\u{1c}");
    // CapsLock is for letters alone.
    assert_eq!(read("us", &[0x3a, 0xba, 0x1e, 0x02, 0x3a, 0xba, 0x1e]), "A1a");
    assert_eq!(read("us", &[0x0e, 0x0f, 0x1c, 0x01]), "\u{7f}\t\r\u{1b}");
    assert_eq!(held(&[SHIFT], 0x0f), "\u{1b}[Z");
}

#[test]
fn other_keys() {
    assert_eq!(read("us", &[0xe0, 0x48, 0xe0, 0xc8, 0xe0, 0x53]), "\u{1b}[A\u{1b}[3~");
    assert_eq!(read("us", &held(&[CONTROL], 0x4d)), "6", "the block's, with NumLock");
    assert_eq!(read("us", &[0x45, 0xc5, 0x4d, 0x4c]), "\u{1b}[C", "and without");
    assert_eq!(read("us", &[CONTROL, 0xe0, 0x4d]), "\u{1b}[1;5C");
    assert_eq!(read("us", &[0x3b, 0x3f, 0x58]), "\u{1b}OP\u{1b}[15~\u{1b}[24~");
    assert_eq!(read("us", &[SHIFT, 0xe0, 0x49, 0xe0, 0xc9, 0xe0, 0x51]), "<>");
    assert_eq!(read("us", &[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5, 0x1e]), "a", "Pause is nothing");
    let mut keyboard = Keyboard::new(&LAYOUTS[0]);
    let up = Key { code: 103, pressed: true };
    assert_eq!(keyboard.typed(up, true), Some(Typed::Bytes(b"\x1bOA".to_vec())));
}

#[test]
fn layouts() {
    // The row of digits and the one below, on each.
    let rows: Vec<u8> = (0x02..=0x0d).chain(0x10..=0x1b).collect();
    assert_eq!(read("us", &rows), "1234567890-=qwertyuiop[]");
    assert_eq!(read("uk", &held(&[SHIFT], 0x04)), "£");
    assert_eq!(read("de", &rows), "1234567890ßqwertzuiopü+");
    assert_eq!(read("de", &held(&[0xe0, ALT], 0x10)), "@");
    assert_eq!(read("de", &[0x0d, 0x12, 0x29, 0x39, 0x0d, 0x2d]), "é^x");
    assert_eq!(read("fr", &[0x10, 0x1a, 0x12, 0x03]), "aêé");
    assert_eq!(read("fr", &held(&[0xe0, ALT], 0x0b)), "@");
    assert_eq!(read("fr", &held(&[SHIFT], 0x0b)), "0");
    for layout in &LAYOUTS {
        let keys: usize = crate::layouts::KEYS.iter().map(|(a, b)| usize::from(b - a) + 1).sum();
        for level in layout.levels.iter().filter(|level| !level.is_empty()) {
            assert_eq!(level.chars().count(), keys, "{}", layout.name);
        }
        // Every character of ASCII can be typed.
        let all: String = layout.levels.concat();
        for wanted in '!'..='~' {
            let dead = layout.dead.contains(wanted) && layout.name != "fr";
            let composed = [("de", '`'), ("de", '^'), ("fr", '^'), ("fr", '`')];
            let other = composed.contains(&(layout.name, wanted));
            assert!(all.contains(wanted) || dead || other, "{} {wanted}", layout.name);
        }
    }
}

proptest! {
    #[test]
    fn no_code_makes_it_panic(codes in prop::collection::vec(any::<u8>(), 0..200)) {
        for layout in &LAYOUTS {
            let mut keyboard = Keyboard::new(layout);
            for &code in &codes {
                if let Some(key) = keyboard.take(code) {
                    let _ = keyboard.typed(key, code % 2 == 0);
                }
            }
        }
    }
}

#[test]
fn keys_as_codes() {
    let key = |code, pressed| Key { code, pressed };
    for (code, raw, medium) in [
        (30, &[0x1e][..], &[30][..]),
        (88, &[0x58], &[88]),
        (103, &[0xe0, 0x48], &[103]),
        (99, &[0xe0, 0x2a, 0xe0, 0x37], &[99]),
        (119, &[0xe1, 0x1d, 0x45], &[119]),
        (0x110, &[], &[0, 0x82, 0x90]),
        (0xffff, &[], &[0, 0xff, 0xff]),
    ] {
        assert_eq!((&key(code, true).raw()[..], &key(code, true).medium_raw()[..]), (raw, medium));
        let up = |codes: &[u8]| -> Vec<u8> {
            codes.iter().map(|code| if *code < 0x80 { code | 0x80 } else { *code }).collect()
        };
        assert_eq!(key(code, false).raw(), up(raw));
        assert_eq!(key(code, false).medium_raw(), up(medium));
    }
    // What the keyboard sends is what the key is sent as.
    let mut keyboard = Keyboard::new(Layout::named("us").unwrap());
    for code in codes() {
        for pressed in [true, false] {
            let keys: Vec<Key> =
                key(code, pressed).raw().iter().filter_map(|code| keyboard.take(*code)).collect();
            assert_eq!(keys.last(), Some(&key(code, pressed)));
        }
    }
}

#[test]
fn lights_in_a_keyboards_order() {
    assert_eq!([0, 1, 2, 4, 7, 0xfff8].map(lights), [0, 2, 4, 1, 7, 0]);
}

#[test]
fn what_is_held_is_followed_while_nothing_is_typed() {
    let mut keyboard = Keyboard::new(Layout::named("us").unwrap());
    assert!(keyboard.follow(Key { code: 42, pressed: true }));
    assert!(!keyboard.follow(Key { code: 30, pressed: true }));
    let typed = keyboard.typed(Key { code: 30, pressed: true }, false);
    assert_eq!(typed, Some(Typed::Bytes(b"A".to_vec())));
}
