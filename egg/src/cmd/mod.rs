//! The commands.

pub(crate) mod build;
pub(crate) mod inspect;
mod medium;
pub(crate) mod run;
pub(crate) mod test;

use crate::plan::{Host, PathKind};
use crate::terminal;

/// The real host.
fn host() -> Host<'static> {
    Host {
        variable: &|name| std::env::var(name).ok(),
        at: &|path| match std::fs::metadata(path) {
            Ok(found) if found.is_dir() => PathKind::Directory,
            Ok(_) => PathKind::File,
            Err(_) => PathKind::Nothing,
        },
        terminal: terminal::is_ours(),
        window: terminal::window(),
    }
}
