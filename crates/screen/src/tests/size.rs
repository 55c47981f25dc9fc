//! Screens that change their size.

use super::*;

/// A screen on which these bytes were written, then with each of the sizes in turn; and what is seen then,
/// without the cursor.
fn resized(bytes: &str, sizes: &[(usize, usize)]) -> (Screen, Vec<String>) {
    let (mut screen, mut picture) = screen();
    screen.write(bytes.as_bytes());
    screen.write(b"\x1b[?25l");
    screen.refresh();
    for (rows, columns) in sizes {
        picture = Picture::of(*rows, *columns);
        assert!(screen.move_to(Arc::new(picture.clone()), true));
        assert_eq!(screen.size(), (*rows as u16, *columns as u16));
        assert!(screen.is_stale());
        screen.refresh();
    }
    (screen, picture.text())
}

/// What is seen when more is written.
fn then(screen: &mut Screen, rows: usize, columns: usize, bytes: &str) -> Vec<String> {
    let picture = Picture::of(rows, columns);
    screen.write(bytes.as_bytes());
    assert!(screen.move_to(Arc::new(picture.clone()), false));
    screen.refresh();
    picture.text()
}

const SEVEN: &str = "1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7";

#[test]
fn lines_at_the_bottom_stay_and_others_come_back() {
    assert_eq!(resized(SEVEN, &[(3, 12)]).1, ["5", "6", "7"]);
    assert_eq!(resized(SEVEN, &[(6, 12)]).1, ["2", "3", "4", "5", "6", "7"]);
    let (mut screen, seen) = resized(SEVEN, &[(1, 1), (9, 12)]);
    assert_eq!(seen, ["1", "2", "3", "4", "5", "6", "7", "", ""]);
    // The cursor is where it was in the text.
    assert_eq!(then(&mut screen, 4, 12, "x\r\n8"), ["5", "6", "7x", "8"]);
    screen.look_back(true);
    assert_eq!(then(&mut screen, 4, 12, ""), ["5", "6", "7x", "8"], "the present");
}

#[test]
fn blank_rows_below_the_cursor_go_first() {
    assert_eq!(resized("a\r\nb", &[(2, 12)]).1, ["a", "b"]);
    let (mut screen, seen) = resized("\x1b[4Hd\x1b[2Hb", &[(3, 12)]);
    assert_eq!(seen, ["", "b", ""]);
    assert_eq!(then(&mut screen, 3, 12, "\n\nx"), ["b", "", " x"]);
}

#[test]
fn what_is_cut_off_at_the_right_is_lost() {
    assert_eq!(resized("abcdefgh", &[(5, 4), (5, 12)]).1[0], "abcd");
    // No half of a character.
    assert_eq!(resized("\x1b[44mab漢", &[(5, 3), (5, 12)]).1[0], "ab");
    // The next character wraps.
    assert_eq!(then(&mut resized("abcdefgh", &[(5, 4)]).0, 5, 4, "x")[..2], ["abcd", "x"]);
    // Tabs stop where they do on a screen that was as wide from the start.
    assert_eq!(then(&mut resized("", &[(5, 30)]).0, 5, 30, "\t\t\tx")[0].find('x'), Some(24));
    // The whole screen scrolls.
    let (mut screen, _) = resized("\x1b[2;3r\x1b[H", &[(3, 12)]);
    assert_eq!(then(&mut screen, 3, 12, "1\r\n2\r\n3\r\n4"), ["2", "3", "4"]);
}

#[test]
fn both_screens_change() {
    let bytes = std::format!("{SEVEN}\x1b[?1049h\x1b[Happ\x1b[5Hend");
    let (mut screen, seen) = resized(&bytes, &[(3, 12)]);
    assert_eq!(seen, ["", "", "end"]);
    assert_eq!(then(&mut screen, 6, 12, "")[2], "end", "nothing comes from the other one's past");
    let back = then(&mut screen, 6, 12, "\x1b[?1049l");
    assert_eq!(back, ["2", "3", "4", "5", "6", "7"]);
    assert_eq!(then(&mut screen, 6, 12, "x\r\n8"), ["3", "4", "5", "6", "7x", "8"]);
}

#[test]
fn a_hidden_screen_is_not_painted_elsewhere_either() {
    let at = |milliseconds| Instant::ZERO + core::time::Duration::from_millis(milliseconds);
    let (screen, _) = screen();
    let shared = SharedScreen::new(screen);
    shared.write(b"text\x1b[?25l", at(0));
    shared.show(false, at(1));
    assert!(shared.is_hidden());
    let picture = Picture::of(4, 10);
    let blank = picture.pixels.lock().unwrap().clone();
    assert!(shared.move_to(Arc::new(picture.clone()), true, at(50)));
    assert!(*picture.pixels.lock().unwrap() == blank);
    shared.show(true, at(100));
    assert_eq!((picture.text()[0].as_str(), shared.size()), ("text", (4, 10)));
    // Last words follow.
    let words = LastWords::new(shared.surface());
    let next = Picture::of(3, 20);
    words.move_to(Arc::new(next.clone()));
    words.write(b"the end");
    assert_eq!((next.text()[0].as_str(), picture.text()[0].as_str()), ("the end", "text"));
}

proptest! {
    #[test]
    fn no_size_makes_it_panic_and_images_change_nothing(
        pieces in prop::collection::vec(
            ("[a-z漢\r\n\t]{0,20}|\u{1b}\\[[?>]?(1049|6|[0-9;]{0,6})[@-~]", 1usize..7, 1usize..10),
            0..30,
        ),
    ) {
        let mut screens = [true, false].map(|with_image| {
            (Screen::new(Arc::new(Picture::of(5, 5)), 3, with_image), with_image)
        });
        for (at, (piece, rows, columns)) in pieces.iter().enumerate() {
            let pictures = [Picture::of(*rows, *columns), Picture::of(*rows, *columns)];
            for ((screen, with_image), picture) in screens.iter_mut().zip(&pictures) {
                screen.write(piece.as_bytes());
                if at % 4 == 0 {
                    screen.refresh();
                }
                if at % 3 == 0 {
                    screen.look_back(at % 2 == 0);
                }
                prop_assert!(screen.move_to(Arc::new(picture.clone()), *with_image));
                screen.refresh();
                screen.write(b"\x1b[A\x1b[2D\x1b[3Bx");
                screen.refresh();
            }
            let [one, other] = pictures.each_ref().map(|one| one.pixels.lock().unwrap());
            prop_assert!(*one == *other, "after {:?}", piece);
        }
    }
}
