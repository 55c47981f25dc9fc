//! The settings of a machine, carried in its image as text at [`PATH`].
//!
//! The names are those of `egg`'s flags and of `egg.toml`. The text is a subset of TOML: one
//! `name = value` a line, values being strings, `true`/`false` and lists of strings. The kernel
//! command line overrides them, as words `eggos.name=value`.
//!
//! ```text
//! program = "/bin/shop"
//! args = ["shop", "-v"]
//! env = ["PORT=80"]
//! network = "dhcp"
//! trace = false
//! ```

mod command_line;
mod keys;
mod text;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// Path of the settings within an image: the first entry.
pub const PATH: &str = "etc/eggos/config";

/// The settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The program to run: an absolute path in the image.
    pub program: String,
    /// Its arguments, `argv[0]` included.
    pub args: Vec<String>,
    /// Its environment, each `NAME=value`.
    pub env: Vec<String>,
    /// The directory it starts in.
    pub workdir: String,
    /// What `uname` reports as node name.
    pub hostname: String,
    /// Memory of the machine; `None`: as `egg` sees fit. For `egg`, not for the kernel, which
    /// uses what it finds.
    pub memory: Option<Size>,
    /// Processors of the machine; `None`: as `egg` sees fit.
    pub cpus: Option<u32>,
    /// Where the network's settings come from.
    pub network: Network,
    /// The machine's address; needed for [`Network::Static`].
    pub address: Option<Subnet>,
    /// The router for everything that is not on the link.
    pub gateway: Option<IpAddr>,
    /// Name servers; those of DHCP when empty.
    pub dns: Vec<IpAddr>,
    /// Files and folders that go back to `egg` when the program has ended: absolute paths.
    pub returns: Vec<String>,
    /// Print every system call.
    pub trace: bool,
    /// Print what the kernel does at boot, and what the machine is made of.
    pub verbose: bool,
    /// The same, and stop there instead of running the program.
    pub hardware: bool,
    /// Restart the machine when the kernel has failed and no `egg` watches.
    pub restart_on_panic: bool,
    /// Standard input, output and error are a terminal.
    pub tty: bool,
    /// Where the console is.
    pub console: Console,
    /// The layout of the keyboard at the screen.
    pub keymap: Keymap,
    /// The size of that terminal's window; `None`: not known.
    pub window: Option<Window>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            program: String::new(),
            args: Vec::new(),
            env: Vec::new(),
            workdir: String::from("/"),
            hostname: String::from("eggos"),
            memory: None,
            cpus: None,
            network: Network::Dhcp,
            address: None,
            gateway: None,
            dns: Vec::new(),
            returns: Vec::new(),
            trace: false,
            verbose: false,
            hardware: false,
            restart_on_panic: false,
            tty: false,
            console: Console::Both,
            keymap: Keymap::Us,
            window: None,
        }
    }
}

/// Where the console is, of what the machine has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Console {
    /// On the serial port and on the screen.
    Both,
    /// On the serial port alone.
    Serial,
    /// On the screen alone.
    Screen,
}

/// Layouts of keyboards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named as Linux's console names them")]
pub enum Keymap {
    Us,
    De,
    Fr,
    Uk,
}

/// Parsing of a word that is none of those for a setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownWord(&'static str);

impl fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it must be {}", self.0)
    }
}

impl core::error::Error for UnknownWord {}

impl FromStr for Console {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        keys::chosen(keys::CONSOLES, word).ok_or(UnknownWord("both, serial or screen"))
    }
}

impl FromStr for Keymap {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        keys::chosen(keys::KEYMAPS, word).ok_or(UnknownWord("us, de, fr or uk"))
    }
}

impl Keymap {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        keys::KEYMAPS.iter().find(|row| row.1 == self).map_or("us", |row| row.0)
    }
}

/// Where the network's settings come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Asked from a DHCP server.
    Dhcp,
    /// Taken from `address`, `gateway` and `dns`.
    Static,
    /// No network but loopback.
    Off,
}

/// An address with the length of its network's prefix, `10.0.2.15/24`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subnet {
    /// The address.
    pub address: IpAddr,
    /// Length of the prefix in bits, at most 32 or 128.
    pub prefix: u8,
}

impl FromStr for Subnet {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').ok_or(())?;
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let prefix: u8 = prefix.parse().map_err(|_| ())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Self { address, prefix }).ok_or(())
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The size of a terminal's window, `24x80x0x0`: what `struct winsize` holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// Rows of characters.
    pub rows: u16,
    /// Columns of characters.
    pub columns: u16,
    /// Width in pixels, 0: not known.
    pub width: u16,
    /// Height in pixels, 0: not known.
    pub height: u16,
}

impl FromStr for Window {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.split('x').map(str::parse);
        let mut next = || numbers.next().ok_or(())?.map_err(|_| ());
        let (rows, columns, width, height) = (next()?, next()?, next()?, next()?);
        numbers.next().is_none().then_some(Self { rows, columns, width, height }).ok_or(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}x{}x{}", self.rows, self.columns, self.width, self.height)
    }
}

/// A size of memory: whole bytes, written `256M`. A plain number counts MiB, as QEMU's `-m` does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size {
    /// Bytes.
    pub bytes: u64,
}

impl Size {
    /// `count` MiB.
    #[must_use]
    pub const fn from_mebibytes(count: u64) -> Self {
        Self { bytes: count.saturating_mul(1 << 20) }
    }

    /// Whole MiB, rounded up.
    #[must_use]
    pub const fn mebibytes(self) -> u64 {
        self.bytes.div_ceil(1 << 20)
    }
}

impl FromStr for Size {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, suffix) = text.split_at_checked(digits).ok_or(())?;
        let unit = match suffix {
            "K" | "k" | "KiB" | "KB" => 1 << 10,
            "" | "M" | "m" | "MiB" | "MB" => 1 << 20,
            "G" | "g" | "GiB" | "GB" => 1 << 30,
            "T" | "t" | "TiB" | "TB" => 1_u64 << 40,
            _ => return Err(()),
        };
        let number: u64 = number.parse().map_err(|_| ())?;
        number.checked_mul(unit).map(|bytes| Self { bytes }).ok_or(())
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 3] = [(1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M")];
        let whole = |row: &&(u64, &str)| self.bytes != 0 && self.bytes.is_multiple_of(row.0);
        match UNITS.iter().find(whole) {
            Some((unit, suffix)) => write!(f, "{}{suffix}", self.bytes / unit),
            None => write!(f, "{}K", self.bytes.div_ceil(1 << 10)),
        }
    }
}

/// What is wrong with a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError {
    /// The line of the text, counted from 1; 0 for the command line.
    pub line: usize,
    /// The name of the setting, as far as one could be read.
    pub name: String,
    /// The reason.
    pub problem: Problem,
}

/// The reason of a [`ConfigError`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The text is not UTF-8.
    NotText,
    /// The line is not `name = value`.
    NotASetting,
    /// A string has no closing quote, or an unknown escape.
    BadString,
    /// A list is not closed or does not hold strings alone.
    BadList,
    /// No setting has this name.
    UnknownName,
    /// The setting wants a value of this form.
    Wants(&'static str),
    /// `network = "static"` without an address.
    NoAddress,
    /// No program is named.
    NoProgram,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        let name = &self.name;
        match self.problem {
            Problem::NotText => f.write_str("the settings are not UTF-8 text"),
            Problem::NotASetting => write!(f, "not a `name = value`: {name}"),
            Problem::BadString => write!(f, "malformed string in {name}"),
            Problem::BadList => write!(f, "malformed list in {name}"),
            Problem::UnknownName => write!(f, "unknown setting {name}"),
            Problem::Wants(form) => write!(f, "{name} wants {form}"),
            Problem::NoAddress => f.write_str("network = \"static\" needs an address"),
            Problem::NoProgram => f.write_str("no program is named"),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// Reads settings from their text. What is not set keeps its default.
    ///
    /// # Errors
    /// The first line that cannot be understood. Names that are unknown are errors too: an image
    /// made for a newer kernel must not silently lose a setting.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        let unreadable = |_| ConfigError::of(0, "", Problem::NotText);
        let text = core::str::from_utf8(text).map_err(unreadable)?;
        let mut config = Self::default();
        text::for_each_setting(text, |line, name, value| {
            let row = keys::find(name)
                .ok_or_else(|| ConfigError::of(line, name, Problem::UnknownName))?;
            (row.set)(&mut config, value)
                .ok_or_else(|| ConfigError::of(line, name, Problem::Wants(row.form)))
        })?;
        Ok(config)
    }

    /// The settings as text that [`Config::parse`] reads back. Defaults are written too, so that
    /// the text documents itself; what has no value is left out.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::from("# Settings of this eggos image; the names are egg's flags.\n");
        for row in keys::KEYS {
            if let Some(value) = (row.get)(self) {
                out.push_str(&format!("{} = {value}\n", row.name));
            }
        }
        out
    }

    /// Applies the words `eggos.name=value` of a kernel command line. Double quotes keep spaces
    /// together; lists grow by one element a word; a flag without a value is set. Words that do
    /// not begin with `eggos.` belong to others. Gives what could not be understood: a typing
    /// error is worth a warning, not a machine that does not boot.
    pub fn apply_command_line(&mut self, line: &str) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        command_line::for_each_setting(line, |name, value| match keys::find(name) {
            Some(row) => {
                if (row.set_word)(self, value).is_none() {
                    errors.push(ConfigError::of(0, name, Problem::Wants(row.form)));
                }
            }
            None => errors.push(ConfigError::of(0, name, Problem::UnknownName)),
        });
        errors
    }

    /// Checks what no single line can: a program is named, and a static network has an address.
    ///
    /// # Errors
    /// The first thing that is missing.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.program.starts_with('/') {
            return Err(ConfigError::of(0, "program", Problem::NoProgram));
        }
        if self.network == Network::Static && self.address.is_none() {
            return Err(ConfigError::of(0, "network", Problem::NoAddress));
        }
        Ok(())
    }
}

impl ConfigError {
    fn of(line: usize, name: &str, problem: Problem) -> Self {
        Self { line, name: String::from(name), problem }
    }
}

#[cfg(test)]
mod tests;
