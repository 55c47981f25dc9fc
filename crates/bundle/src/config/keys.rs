//! The settings as a table: one row a name, from which text and command line are read and text is
//! written.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::str::FromStr;

use super::text::Value;
use super::{Config, Console, Keymap, Network};

/// One setting. The setters give `None` for a value of the wrong form.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What the value looks like, for messages.
    pub(super) form: &'static str,
    /// Takes a value from the text.
    pub(super) set: fn(&mut Config, Value) -> Option<()>,
    /// Takes a word of the command line.
    pub(super) set_word: fn(&mut Config, &str) -> Option<()>,
    /// The value for the text; `None`: not set.
    pub(super) get: fn(&Config) -> Option<Value>,
}

pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|row| row.name == name)
}

macro_rules! text {
    ($name:ident, $form:literal) => {
        Key {
            name: stringify!($name),
            form: $form,
            set: |config, value| value.text().map(|text| config.$name = text),
            set_word: |config, word| {
                config.$name = String::from(word);
                Some(())
            },
            get: |config| Some(Value::Text(config.$name.clone())),
        }
    };
}

macro_rules! list {
    ($name:ident, $form:literal) => {
        Key {
            name: stringify!($name),
            form: $form,
            set: |config, value| value.list().map(|list| config.$name = list),
            set_word: |config, word| {
                config.$name.push(String::from(word));
                Some(())
            },
            get: |config| Some(Value::List(config.$name.clone())),
        }
    };
}

macro_rules! flag {
    ($name:ident) => {
        Key {
            name: stringify!($name),
            form: "true or false",
            set: |config, value| value.flag().map(|flag| config.$name = flag),
            set_word: |config, word| flag_word(word).map(|flag| config.$name = flag),
            get: |config| Some(Value::Flag(config.$name)),
        }
    };
}

/// A setting that is one of some words.
macro_rules! choice {
    ($name:ident, $words:ident, $form:literal) => {
        Key {
            name: stringify!($name),
            form: $form,
            set: |config, value| chosen($words, &value.text()?).map(|value| config.$name = value),
            set_word: |config, word| chosen($words, word).map(|value| config.$name = value),
            get: |config| {
                let name = $words.iter().find(|row| row.1 == config.$name)?.0;
                Some(Value::Text(String::from(name)))
            },
        }
    };
}

/// A setting that may be absent and is written as a string.
macro_rules! parsed {
    ($name:ident, $form:literal) => {
        Key {
            name: stringify!($name),
            form: $form,
            set: |config, value| parse(&value.text()?).map(|value| config.$name = Some(value)),
            set_word: |config, word| parse(word).map(|value| config.$name = Some(value)),
            get: |config| config.$name.map(|value| Value::Text(value.to_string())),
        }
    };
}

pub(super) const KEYS: &[Key] = &[
    text!(program, "an absolute path in quotes"),
    list!(args, "a list of strings, the first being argv[0]"),
    list!(env, "a list of strings NAME=value"),
    text!(workdir, "an absolute path in quotes"),
    text!(hostname, "a name in quotes"),
    parsed!(memory, "a size such as \"256M\""),
    parsed!(cpus, "a number in quotes"),
    choice!(network, NETWORKS, "\"dhcp\", \"static\" or \"off\""),
    parsed!(address, "an address with prefix such as \"10.0.2.15/24\""),
    parsed!(gateway, "an IP address in quotes"),
    Key {
        name: "dns",
        form: "a list of IP addresses",
        set: |config, value| {
            let servers = value.list()?.iter().map(|text| parse(text)).collect::<Option<Vec<_>>>();
            servers.map(|servers| config.dns = servers)
        },
        set_word: |config, word| parse(word).map(|server| config.dns.push(server)),
        get: |config| {
            let servers: Vec<_> = config.dns.iter().map(ToString::to_string).collect();
            (!servers.is_empty()).then_some(Value::List(servers))
        },
    },
    list!(returns, "a list of absolute paths"),
    flag!(trace),
    flag!(verbose),
    flag!(hardware),
    flag!(restart_on_panic),
    flag!(tty),
    choice!(console, CONSOLES, "\"both\", \"serial\" or \"screen\""),
    choice!(keymap, KEYMAPS, "\"us\", \"de\", \"fr\" or \"uk\""),
    parsed!(window, "rows, columns, width and height such as \"24x80x0x0\""),
];

/// The words for the values of a setting.
pub(super) type Words<T> = &'static [(&'static str, T)];

const NETWORKS: Words<Network> =
    &[("dhcp", Network::Dhcp), ("static", Network::Static), ("off", Network::Off)];
pub(super) const CONSOLES: Words<Console> =
    &[("both", Console::Both), ("serial", Console::Serial), ("screen", Console::Screen)];
pub(super) const KEYMAPS: Words<Keymap> =
    &[("us", Keymap::Us), ("de", Keymap::De), ("fr", Keymap::Fr), ("uk", Keymap::Uk)];

pub(super) fn chosen<T: Copy>(words: Words<T>, word: &str) -> Option<T> {
    words.iter().find(|row| row.0 == word).map(|row| row.1)
}

fn parse<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

fn flag_word(word: &str) -> Option<bool> {
    match word {
        "" | "1" | "true" | "on" | "yes" => Some(true),
        "0" | "false" | "off" | "no" => Some(false),
        _ => None,
    }
}
