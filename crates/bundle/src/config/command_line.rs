//! Settings on the kernel command line.

use alloc::string::String;

const PREFIX: &str = "eggos.";

/// Calls `set` with name and value of each word `eggos.name=value`; the value of a word without
/// `=` is empty.
pub(super) fn for_each_setting(line: &str, mut set: impl FnMut(&str, &str)) {
    for_each_word(line, |word| {
        if let Some(setting) = word.strip_prefix(PREFIX) {
            let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
            set(name, value);
        }
    });
}

/// Words are separated by white space; double quotes keep it, and vanish.
fn for_each_word(line: &str, mut each: impl FnMut(&str)) {
    let mut word = String::new();
    let mut started = false;
    let mut quoted = false;
    for c in line.chars() {
        if c == '"' {
            quoted = !quoted;
            started = true;
        } else if c.is_whitespace() && !quoted {
            if started {
                each(&word);
            }
            word.clear();
            started = false;
        } else {
            word.push(c);
            started = true;
        }
    }
    if started {
        each(&word);
    }
}
