//! The catalogue of tests. A name is `what/variant/version`, so that a part of it selects a group.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::vm::Mode;

mod bochs;
mod builds;
mod cards;
mod clocks;
mod console;
mod damaged;
mod exits;
mod hardware;
mod inputs;
mod long;
mod machines;
mod modules;
mod network;
mod parts;
mod platforms;
mod power;
mod process;
mod processors;
mod programs;
mod screen;
mod secure_boot;
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
pub type Body = Arc<dyn Fn(&Mode) -> Result<()> + Send + Sync>;

/// One test.
pub struct Test {
    /// Its name.
    pub name: String,
    /// The smallest set that has it.
    pub set: Set,
    /// It makes no sense on the host's Linux.
    pub machine_only: bool,
    /// It chooses the kind of machine itself.
    pub own_machine: bool,
    /// Does it; an error is a failure.
    pub run: Body,
}

impl Test {
    fn new(
        name: String,
        set: Set,
        run: impl Fn(&Mode) -> Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self { name, set, machine_only: false, own_machine: false, run: Arc::new(run) }
    }

    fn in_machine(mut self) -> Self {
        self.machine_only = true;
        self
    }

    fn with_own_machine(mut self) -> Self {
        self.own_machine = true;
        self.in_machine()
    }
}

/// Most programs take seconds; an emulated machine beside another on a busy host takes minutes.
const LIMIT: Duration = Duration::from_secs(180);

/// All tests, those that tell most first.
pub fn all() -> VecDeque<Test> {
    let parts = [
        programs::tests(),
        processors::tests(),
        builds::tests(),
        exits::tests(),
        long::tests(),
        console::tests(),
        power::tests(),
        network::tests(),
        machines::tests(),
        platforms::tests(),
        bochs::tests(),
        secure_boot::tests(),
        damaged::tests(),
        cards::tests(),
        parts::tests(),
        hardware::tests(),
        clocks::tests(),
        inputs::tests(),
        screen::tests(),
        modules::tests(),
        testing::tests(),
    ];
    let mut tests: VecDeque<Test> = parts.into_iter().flatten().collect();
    tests.extend(process::some_of(&tests));
    tests
}
