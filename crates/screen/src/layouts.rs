//! Keyboard layouts: what the keys of the main block give.

/// What a layout's keys give, in the order of [`KEYS`]; a space: nothing.
pub struct Layout {
    /// Its name, as `--keymap` has it.
    pub name: &'static str,
    /// Alone, with Shift, with AltGr.
    pub(crate) levels: [&'static str; 3],
    /// Those that change the next character, but with AltGr.
    pub(crate) dead: &'static str,
}

/// Linux's numbers of these keys (input-event-codes.h), in ranges: the one left of 1, the row of
/// digits, three rows of letters; the key left of Enter or above it, and the one left of Z.
pub(crate) const KEYS: [(u16, u16); 7] =
    [(41, 41), (2, 13), (16, 27), (30, 40), (43, 43), (86, 86), (44, 53)];

/// The layouts, as Linux's console has them (kbd's us, de-latin1, fr-latin9, uk).
pub const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "us",
        levels: [
            "`1234567890-=qwertyuiop[]asdfghjkl;'\\<zxcvbnm,./",
            "~!@#$%^&*()_+QWERTYUIOP{}ASDFGHJKL:\"|>ZXCVBNM<>?",
            "",
        ],
        dead: "",
    },
    Layout {
        name: "de",
        levels: [
            "^1234567890ß´qwertzuiopü+asdfghjklöä#<yxcvbnm,.-",
            "°!\"§$%&/()=?`QWERTZUIOPÜ*ASDFGHJKLÖÄ'>YXCVBNM;:_",
            "  ²³   {[]}\\ @ €        ~            |      µ   ",
        ],
        dead: "^´`",
    },
    Layout {
        name: "fr",
        levels: [
            "²&é\"'(-è_çà)=azertyuiop^$qsdfghjklmù*<wxcvbn,;:!",
            " 1234567890°+AZERTYUIOP¨£QSDFGHJKLM%µ>WXCVBN?./§",
            "  ~#{[|`\\^@]}  €        ¤                       ",
        ],
        dead: "^¨",
    },
    Layout {
        name: "uk",
        levels: [
            "`1234567890-=qwertyuiop[]asdfghjkl;'#\\zxcvbnm,./",
            "¬!\"£$%^&*()_+QWERTYUIOP{}ASDFGHJKL:@~|ZXCVBNM<>?",
            "¦   €          é   úíó   á                      ",
        ],
        dead: "",
    },
];

/// What a dead key makes of the next character: itself, characters, results. Before a space it is
/// the ASCII character that looks like it.
const COMPOSITIONS: [(char, &str, &str); 4] = [
    ('^', " aeiouAEIOU", "^âêîôûÂÊÎÔÛ"),
    ('´', " aeiouyAEIOUY", "'áéíóúýÁÉÍÓÚÝ"),
    ('`', " aeiouAEIOU", "`àèìòùÀÈÌÒÙ"),
    ('¨', " aeiouyAEIOU", "\"äëïöüÿÄËÏÖÜ"),
];

/// The character for a dead key and what was typed behind it.
pub(crate) fn compose(dead: char, character: char) -> Option<char> {
    let (_, from, to) = COMPOSITIONS.iter().find(|row| row.0 == dead)?;
    to.chars().nth(from.chars().position(|one| one == character)?)
}

impl Layout {
    /// The layout of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        LAYOUTS.iter().find(|layout| layout.name == name)
    }

    /// What a key gives on a level.
    pub(crate) fn character(&self, key: u16, level: usize) -> Option<char> {
        let mut before = 0;
        for (first, last) in KEYS {
            if (first..=last).contains(&key) {
                let at = before + usize::from(key - first);
                let character = self.levels.get(level)?.chars().nth(at)?;
                return Some(character).filter(|character| *character != ' ');
            }
            before += usize::from(last - first) + 1;
        }
        None
    }
}
