//! The terminal against what xterm does, seen in the pixels.

use super::*;
use crate::font::{CELL_HEIGHT, CELL_WIDTH};
use base::Instant;
use base::display::{Layout, Pairs};
use proptest::prelude::*;
use std::string::String;
use std::sync::{Arc, Mutex};
use std::vec;

mod size;

const ROWS: usize = 5;
const COLUMNS: usize = 12;
const TEXT: u32 = 0xcccccc;

/// A picture in memory.
#[derive(Clone)]
struct Picture {
    layout: Layout,
    pixels: Arc<Mutex<Vec<u32>>>,
    /// So often it is busy when it is flushed.
    busy: Arc<Mutex<u32>>,
}

impl Picture {
    fn of(rows: usize, columns: usize) -> Self {
        let (width, height) = (columns * CELL_WIDTH, rows * CELL_HEIGHT);
        let layout = Layout {
            width: width as u32,
            height: height as u32,
            pitch: 4 * width as u32,
            shifts: [16, 8, 0],
        };
        let pixels = Arc::new(Mutex::new(vec![0x123456; width * height]));
        Self { layout, pixels, busy: Arc::default() }
    }

    fn pixel(&self, x: usize, y: usize) -> u32 {
        self.pixels.lock().unwrap()[y * self.layout.width as usize + x]
    }

    /// What stands in a cell: its glyph, and the colours of its set and clear pixels.
    fn cell(&self, row: usize, column: usize) -> (Glyph, Option<u32>, u32) {
        let at = |x: usize, y: usize| self.pixel(column * CELL_WIDTH + x, row * CELL_HEIGHT + y);
        // No glyph here has its first pixel set but those that are full.
        let back = at(0, 0);
        let (mut glyph, mut front) = ([0; CELL_HEIGHT], None);
        for (y, bits) in glyph.iter_mut().enumerate() {
            for x in 0..CELL_WIDTH {
                if at(x, y) != back {
                    *bits |= 0x80 >> x;
                    front = Some(at(x, y));
                }
            }
        }
        (glyph, front, back)
    }

    /// The picture's text, row by row, without what is blank at the ends.
    fn text(&self) -> Vec<String> {
        let font = Font::new();
        let known: Vec<(Glyph, char)> =
            (' '..='~').chain("ä┌─│\u{fffd}".chars()).map(|one| (font.glyph(one), one)).collect();
        let (columns, rows) = (self.layout.width as usize / 8, self.layout.height as usize / 16);
        let read = |row, column| {
            let glyph = self.cell(row, column).0;
            known.iter().find(|(shape, _)| *shape == glyph).map_or('?', |(_, one)| *one)
        };
        (0..rows)
            .map(|row| (0..columns).map(|column| read(row, column)).collect::<String>())
            .map(|row| String::from(row.trim_end()))
            .collect()
    }
}

fn spread(bits: &[u8], pairs: &[Pairs]) -> Vec<u32> {
    let words = bits
        .iter()
        .zip(pairs)
        .flat_map(|(bits, pairs)| [6, 4, 2, 0].map(|shift| pairs[usize::from(bits >> shift & 3)]));
    words.flat_map(|word| [word as u32, (word >> 32) as u32]).collect()
}

impl Surface for Picture {
    fn layout(&self) -> Layout {
        self.layout
    }

    fn put(&self, x: u32, y: u32, bits: &[u8], pairs: &[Pairs]) {
        let pixels = spread(bits, pairs);
        assert!(x as usize + pixels.len() <= self.layout.width as usize && y < self.layout.height);
        let start = y as usize * self.layout.width as usize + x as usize;
        self.pixels.lock().unwrap()[start..start + pixels.len()].copy_from_slice(&pixels);
    }

    fn store(&self, offset: u64, words: &[u64]) {
        let pixels: Vec<u32> =
            words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]).collect();
        let start = offset as usize / 4;
        self.pixels.lock().unwrap()[start..start + pixels.len()].copy_from_slice(&pixels);
    }

    fn flush(&self) -> bool {
        let mut busy = self.busy.lock().unwrap();
        let is_free = *busy == 0;
        *busy = busy.saturating_sub(1);
        is_free
    }
}

fn screen() -> (Screen, Picture) {
    let picture = Picture::of(ROWS, COLUMNS);
    (Screen::new(Arc::new(picture.clone()), 100, true), picture)
}

/// What is seen after these bytes, without the cursor.
fn shown(bytes: &str) -> Vec<String> {
    let (mut screen, picture) = screen();
    screen.write(bytes.as_bytes());
    screen.write(b"\x1b[?25l");
    screen.refresh();
    picture.text()
}

#[track_caller]
fn shows(bytes: &str, rows: [&str; ROWS]) {
    assert_eq!(shown(bytes), rows, "{bytes:?}");
}

#[test]
fn text_wraps_and_scrolls() {
    shows("ab\r\ncd", ["ab", "cd", "", "", ""]);
    shows("abcdefghijklmn", ["abcdefghijkl", "mn", "", "", ""]);
    // The last column is filled before anything wraps.
    shows("abcdefghijkl\rX", ["Xbcdefghijkl", "", "", "", ""]);
    shows("\x1b[?7labcdefghijklmn", ["abcdefghijkn", "", "", "", ""]);
    shows("1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7", ["3", "4", "5", "6", "7"]);
    shows("a\tb\x08c\x1b[3gx", ["a       cx", "", "", "", ""]);
    shows("ab\ncd", ["ab", "  cd", "", "", ""]);
    shows("\x1b[20hab\ncd", ["ab", "cd", "", "", ""]);
}

#[test]
fn the_cursor_moves() {
    shows("\x1b[3;4Hx\x1b[Ay\x1b[2Dz\x1b[Bw", ["", "   zy", "   xw", "", ""]);
    shows("\x1b[99;99Hx\x1b[Hy", ["y", "", "", "", "           x"]);
    shows("abc\x1b7\x1b[4;1Hd\x1b8e", ["abce", "", "", "d", ""]);
    shows("abc\x1b[2Gx\x1b[3dy\x1b[2Ez", ["axc", "", "  y", "", "z"]);
}

#[test]
fn parts_are_erased_inserted_and_deleted() {
    shows("abcdef\x1b[3D\x1b[K", ["abc", "", "", "", ""]);
    shows("abcdef\x1b[3D\x1b[1K", ["    ef", "", "", "", ""]);
    shows("abcdef\x1b[4D\x1b[2P", ["abef", "", "", "", ""]);
    shows("abcdef\x1b[4D\x1b[2@", ["ab  cdef", "", "", "", ""]);
    shows("abcdef\x1b[4D\x1b[2X", ["ab  ef", "", "", "", ""]);
    shows("abc\x1b[2D\x1b[4hX\x1b[4lY", ["aXYc", "", "", "", ""]);
    shows("1\r\n2\r\n3\x1b[2H\x1b[L", ["1", "", "2", "3", ""]);
    shows("1\r\n2\r\n3\x1b[1H\x1b[M", ["2", "3", "", "", ""]);
    shows("1\r\n2\r\n3\x1b[2H\x1b[J", ["1", "", "", "", ""]);
    shows("1\r\n2\r\n3\x1b[2J", ["", "", "", "", ""]);
    shows("ab\x1b[3b", ["abbbb", "", "", "", ""]);
}

#[test]
fn a_region_scrolls_alone() {
    let filled = "1\r\n2\r\n3\r\n4\r\n5\x1b[2;4r";
    shows(&alloc::format!("{filled}\x1b[4H\nx"), ["1", "3", "4", "x", "5"]);
    shows(&alloc::format!("{filled}\x1b[2H\x1bMx"), ["1", "x", "2", "3", "5"]);
    shows(&alloc::format!("{filled}\x1b[S"), ["1", "3", "4", "", "5"]);
    shows(&alloc::format!("{filled}\x1b[?6hx\x1b[9Hy"), ["1", "x", "3", "y", "5"]);
}

#[test]
fn applications_have_a_screen_of_their_own() {
    shows("shell\x1b[?1049happ\x1b[2Hx", ["     app", "x", "", "", ""]);
    shows("shell\x1b[?1049happ\x1b[?1049l!", ["shell!", "", "", "", ""]);
}

#[test]
fn characters_of_all_sorts() {
    shows("ä\x1b(0lqx\x1b(Bq", ["ä┌─│q", "", "", "", ""]);
    // Wide ones take two cells, or go to the next row; combining ones none.
    shows("漢x", ["\u{fffd} x", "", "", "", ""]);
    shows("abcdefghijk漢", ["abcdefghijk", "\u{fffd}", "", "", ""]);
    shows("a\u{301}b", ["ab", "", "", "", ""]);
    let font = Font::new();
    assert_eq!(font.glyph('▄')[7..9], [0, 0xff]);
    assert_eq!(font.glyph('▌'), [0xf0; CELL_HEIGHT]);
    assert_eq!(font.glyph('▏'), [0x80; CELL_HEIGHT]);
    assert_eq!(font.glyph('▙')[7..9], [0xf0, 0xff]);
    assert_ne!(font.glyph('⠁'), font.glyph('⡀'));
    assert_eq!(font.glyph('\u{1f600}'), font.glyph('\u{fffd}'));
    assert!((' '..='~').all(|one| font.glyph(one) == font::ascii(one as u8)));
}

#[test]
fn colours() {
    let (mut screen, picture) = screen();
    let text = "\x1b[31;44ma\x1b[m\x1b[1;32mb\x1b[38;5;208mc\x1b[48;2;1;2;3md\x1b[0;7me\
                \x1b[27;38:2::9:8:7mf\x1b[39;2mg\x1b[0;8mh\x1b[0;4m \x1b[95mi";
    screen.write(text.as_bytes());
    screen.refresh();
    let colours = |column| {
        let (_, front, back) = picture.cell(0, column);
        (front, back)
    };
    assert_eq!(colours(0), (Some(0xaa0000), 0x0000aa));
    assert_eq!(colours(1), (Some(0x55ff55), 0));
    assert_eq!(colours(2), (Some(0xff8700), 0));
    assert_eq!(colours(3), (Some(0xff8700), 0x010203));
    assert_eq!(colours(4), (Some(0), TEXT));
    assert_eq!(colours(5), (Some(0x090807), 0));
    assert_eq!(colours(6), (Some(0x666666), 0));
    assert_eq!(colours(7), (None, 0));
    assert_eq!(picture.cell(0, 8).0[14], 0xff);
    assert_eq!(colours(9).0, Some(0xff55ff));
    // The cursor, behind the last.
    assert_eq!(colours(10), (None, TEXT));
}

#[test]
fn what_has_left_can_be_looked_at() {
    let (mut screen, picture) = screen();
    screen.write(b"\x1b[?25l1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7");
    let see = |screen: &mut Screen, back| {
        screen.look_back(back);
        screen.refresh();
        picture.text()
    };
    assert_eq!(see(&mut screen, true), ["1", "2", "3", "4", "5"]);
    assert_eq!(see(&mut screen, true), ["1", "2", "3", "4", "5"]);
    assert_eq!(see(&mut screen, false), ["3", "4", "5", "6", "7"]);
    see(&mut screen, true);
    screen.write(b"!");
    screen.refresh();
    assert_eq!(picture.text(), ["3", "4", "5", "6", "7!"]);
    screen.write(b"\x1b[3J");
    assert_eq!(see(&mut screen, true), ["3", "4", "5", "6", "7!"]);
    // An application's own screen has none.
    screen.write(b"\r\n\r\n\x1b[?1049h");
    assert_eq!(see(&mut screen, true), [""; ROWS]);
}

#[test]
fn questions_are_answered() {
    let (mut screen, _) = screen();
    screen.write(b"ab\x1b[6n\x1b[5n\x1b[c\x1b[18t");
    assert!(screen.has_answers());
    assert_eq!(screen.take_answers(), b"\x1b[1;3R\x1b[0n\x1b[?62;22c\x1b[8;5;12t");
    assert!(!screen.has_answers() && !screen.cursor_keys_for_application());
    screen.write(b"\x1b[?1h");
    assert!(screen.cursor_keys_for_application());
}

#[test]
fn only_what_changed_is_painted() {
    let (mut screen, picture) = screen();
    screen.write(b"\x1b[?25labc");
    screen.refresh();
    picture.pixels.lock().unwrap().fill(7);
    screen.write(b"\rabX");
    screen.refresh();
    assert_eq!((picture.pixel(0, 0), picture.pixel(16, 0)), (7, 0));
    assert!(!screen.is_stale());
    screen.repaint();
    screen.refresh();
    assert_eq!(picture.text()[0], "abX");
}

#[test]
fn last_words_need_nothing() {
    let picture = Picture::of(ROWS, COLUMNS);
    let words = LastWords::new(Arc::new(picture.clone()));
    words.write(b"\r\nkernel\xff\r\n");
    words.write(b"panic: here and there\n1\n2\n3\n4\n");
    assert_eq!(picture.text(), ["", "kernel", "panic: here", "and there", "1"]);
    assert_eq!(picture.cell(1, 0).2, 0x800000);
}

#[test]
fn painting_waits_when_much_is_written() {
    let (screen, picture) = screen();
    let shared = SharedScreen::new(screen);
    let at = Instant::from_nanoseconds;
    assert_eq!(shared.size(), (ROWS as u16, COLUMNS as u16));
    shared.write(b"\x1b[?25la", at(1_000_000));
    assert_eq!((picture.text()[0].as_str(), shared.next_refresh()), ("a", None));
    shared.write(b"b\x1b[5n", at(2_000_000));
    assert_eq!(picture.text()[0], "a");
    assert_eq!(shared.next_refresh(), Some(at(17_000_000)));
    shared.refresh_if_due(at(17_000_000));
    assert_eq!((picture.text()[0].as_str(), shared.next_refresh()), ("ab", None));
    assert_eq!(shared.take_answers().as_deref(), Some(&b"\x1b[0n"[..]));
    assert_eq!(shared.take_answers(), None);
}

#[test]
fn what_was_written_last_is_painted() {
    let (screen, picture) = screen();
    let shared = SharedScreen::new(screen);
    let time = std::cell::Cell::new(Instant::from_nanoseconds(1_000_000));
    shared.write(b"\x1b[?25la", time.get());
    shared.write(b"b", time.get());
    assert_eq!(picture.text()[0], "a");
    shared.settle(|| {
        time.set(time.get() + core::time::Duration::from_millis(1));
        time.get()
    });
    assert_eq!(picture.text()[0], "ab");
    // A screen that never shows it is not waited for.
    *picture.busy.lock().unwrap() = u32::MAX;
    shared.write(b"c", time.get());
    shared.settle(|| {
        time.set(time.get() + core::time::Duration::from_millis(1));
        time.get()
    });
    assert!(shared.next_refresh().is_some());
}

#[test]
fn a_busy_surface_is_flushed_again() {
    let (screen, picture) = screen();
    let shared = SharedScreen::new(screen);
    let at = |milliseconds: u64| Instant::from_nanoseconds(milliseconds * 1_000_000);
    *picture.busy.lock().unwrap() = 2;
    shared.write(b"a", at(1));
    assert_eq!(shared.next_refresh(), Some(at(17)));
    shared.refresh_if_due(at(17));
    assert_eq!(shared.next_refresh(), Some(at(33)));
    shared.refresh_if_due(at(33));
    assert_eq!((shared.next_refresh(), *picture.busy.lock().unwrap()), (None, 0));
}

proptest! {
    #[test]
    fn nothing_written_makes_it_panic(
        pieces in prop::collection::vec(
            prop_oneof![
                "[a-z漢\u{301}\r\n\t\u{8}]{0,20}",
                "\u{1b}\\[[?>]?[0-9;:]{0,12}[@-~]",
                "\u{1b}[ -/]?[0-~]",
                ".{0,8}",
            ],
            0..40,
        ),
        rows in 1usize..6,
        columns in 1usize..9,
    ) {
        // With the picture in memory and without it looks the same.
        let pictures = [Picture::of(rows, columns), Picture::of(rows, columns)];
        let mut screens = [true, false].map(|with_image| {
            let picture = pictures[usize::from(with_image)].clone();
            Screen::new(Arc::new(picture), 3, with_image)
        });
        for (at, piece) in pieces.iter().enumerate() {
            for screen in &mut screens {
                screen.write(piece.as_bytes());
                if at % 3 == 0 {
                    screen.look_back(at % 2 == 0);
                    screen.refresh();
                }
            }
            if at % 7 == 6 {
                pictures.iter().for_each(|one| one.pixels.lock().unwrap().fill(7));
                screens.iter_mut().for_each(Screen::repaint);
            }
            if at % 3 == 0 {
                let [one, other] = pictures.each_ref().map(|one| one.pixels.lock().unwrap());
                prop_assert!(*one == *other, "after {:?}", piece);
            }
        }
    }
}

#[test]
fn answers_that_nobody_reads_are_bounded() {
    let (mut screen, _) = screen();
    (0..10_000).for_each(|_| screen.write(b"\x1b[c"));
    assert!(screen.take_answers().len() < 5000);
    screen.write(b"\x1b[5n");
    assert_eq!(screen.take_answers(), b"\x1b[0n");
}

/// The text of the QR code in the picture.
fn code(picture: &Picture) -> Option<String> {
    let (width, height) = (picture.layout.width as usize, picture.layout.height as usize);
    let grey = |x: usize, y: usize| (picture.pixel(x, y) & 0xff) as u8;
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, height, grey);
    let grids = image.detect_grids();
    grids.first().map(|grid| grid.decode().unwrap().1)
}

#[test]
fn last_words_are_a_code_too() {
    for (rows, columns, lines) in [(50, 160, 1), (50, 160, 12), (48, 128, 25), (30, 80, 3)] {
        let picture = Picture::of(rows, columns);
        let words = LastWords::new(Arc::new(picture.clone()));
        let mut text = String::from("eggos: kernel panic: something\n");
        (0..lines)
            .for_each(|line| text += &std::format!("  frame {:#x}\n", 0xffff_8000_0000_u64 + line));
        words.write(text.replace('\n', "\r\n").as_bytes());
        words.finish();
        assert_eq!(code(&picture).as_ref(), Some(&text), "{rows} {columns} {lines}");
        assert_eq!(picture.text()[0], "eggos: kernel panic: something");
    }
}

#[test]
fn more_than_a_code_holds_is_cut_and_small_screens_have_none() {
    let picture = Picture::of(50, 160);
    let words = LastWords::new(Arc::new(picture.clone()));
    words.write(&[b'x'; 2000]);
    words.finish();
    assert_eq!(code(&picture), Some("x".repeat(858)));
    let small = Picture::of(5, 12);
    let words = LastWords::new(Arc::new(small.clone()));
    words.write(b"words");
    let before = small.pixels.lock().unwrap().clone();
    words.finish();
    assert_eq!(*small.pixels.lock().unwrap(), before);
}
