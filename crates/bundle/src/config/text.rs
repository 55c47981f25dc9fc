//! The text form: a subset of TOML, so that every TOML tool reads it too.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::str::Chars;

use super::{ConfigError, Problem};

/// The longest excerpt of a line that goes into an error.
const EXCERPT: usize = 40;

/// A value of the text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    List(Vec<String>),
}

impl Value {
    pub(super) fn text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn flag(self) -> Option<bool> {
        if let Self::Flag(flag) = self { Some(flag) } else { None }
    }

    pub(super) fn list(self) -> Option<Vec<String>> {
        if let Self::List(list) = self { Some(list) } else { None }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write_string(f, text),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::List(list) => {
                f.write_char('[')?;
                for (index, text) in list.iter().enumerate() {
                    if index > 0 {
                        f.write_str(", ")?;
                    }
                    write_string(f, text)?;
                }
                f.write_char(']')
            }
        }
    }
}

fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

/// Calls `set` with line number, name and value of each setting, until it fails.
pub(super) fn for_each_setting(
    text: &str,
    mut set: impl FnMut(usize, &str, Value) -> Result<(), ConfigError>,
) -> Result<(), ConfigError> {
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            let excerpt: String = line.chars().take(EXCERPT).collect();
            return Err(ConfigError::of(number, &excerpt, Problem::NotASetting));
        };
        let name = name.trim();
        let value =
            parse_value(value.trim()).map_err(|problem| ConfigError::of(number, name, problem))?;
        set(number, name, value)?;
    }
    Ok(())
}

fn parse_value(text: &str) -> Result<Value, Problem> {
    let mut rest = text.chars();
    let value = match rest.next() {
        Some('"') => Value::Text(parse_string(&mut rest)?),
        Some('[') => Value::List(parse_list(&mut rest)?),
        _ => {
            let (word, comment) = text.split_at_checked(word_length(text)).unwrap_or((text, ""));
            rest = comment.chars();
            match word {
                "true" => Value::Flag(true),
                "false" => Value::Flag(false),
                _ => return Err(Problem::NotASetting),
            }
        }
    };
    let rest = rest.as_str().trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(value) } else { Err(Problem::NotASetting) }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len())
}

/// What follows `[`, up to and with `]`.
fn parse_list(rest: &mut Chars<'_>) -> Result<Vec<String>, Problem> {
    let mut list = Vec::new();
    loop {
        match skip_blanks(rest) {
            Some(']') => return Ok(list),
            Some('"') => list.push(parse_string(rest)?),
            _ => return Err(Problem::BadList),
        }
        match skip_blanks(rest) {
            Some(']') => return Ok(list),
            Some(',') => {}
            _ => return Err(Problem::BadList),
        }
    }
}

fn skip_blanks(rest: &mut Chars<'_>) -> Option<char> {
    rest.find(|c| !matches!(c, ' ' | '\t'))
}

/// What follows the opening quote, up to and with the closing one.
fn parse_string(rest: &mut Chars<'_>) -> Result<String, Problem> {
    let mut string = String::new();
    loop {
        match rest.next().ok_or(Problem::BadString)? {
            '"' => return Ok(string),
            '\\' => string.push(parse_escape(rest).ok_or(Problem::BadString)?),
            c => string.push(c),
        }
    }
}

/// TOML's escapes.
fn parse_escape(rest: &mut Chars<'_>) -> Option<char> {
    Some(match rest.next()? {
        '"' => '"',
        '\\' => '\\',
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'u' => parse_code_point(rest, 4)?,
        'U' => parse_code_point(rest, 8)?,
        _ => return None,
    })
}

fn parse_code_point(rest: &mut Chars<'_>, digits: usize) -> Option<char> {
    let mut value = 0_u32;
    for _ in 0..digits {
        value = value.checked_mul(16)? + rest.next()?.to_digit(16)?;
    }
    char::from_u32(value)
}
