//! The catalogue of tests. A name is `what/variant/version`, so that a part of it selects a group.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Result;

use crate::vm::Mode;

mod builds;
mod console;
mod exits;
mod machines;
mod modules;
mod network;
mod programs;
mod testing;

/// Which run a test belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// `make test`.
    Core,
    /// `make test-all`.
    All,
}

/// What a test does in a mode.
pub type Body = Box<dyn Fn(&Mode) -> Result<()> + Send + Sync>;

/// One test.
pub struct Test {
    /// Its name.
    pub name: String,
    /// The smallest set that has it.
    pub set: Set,
    /// It makes no sense on the host's Linux.
    pub machine_only: bool,
    /// Does it; an error is a failure.
    pub run: Body,
}

impl Test {
    fn new(
        name: String,
        set: Set,
        run: impl Fn(&Mode) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { name, set, machine_only: false, run: Box::new(run) }
    }

    fn in_machine(mut self) -> Self {
        self.machine_only = true;
        self
    }
}

/// Most programs take seconds; an emulated machine beside another on a busy host takes minutes.
const LIMIT: Duration = Duration::from_secs(180);

/// All tests, those that tell most first.
pub fn all() -> VecDeque<Test> {
    let parts = [
        programs::tests(),
        builds::tests(),
        exits::tests(),
        console::tests(),
        network::tests(),
        machines::tests(),
        modules::tests(),
        testing::tests(),
    ];
    parts.into_iter().flatten().collect()
}
