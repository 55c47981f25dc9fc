//! Putting the parts together.

use crate::console::Console;
use crate::display::{Display, Keys};
use crate::go_environment;
use crate::inputs::{Input, Inputs};
use crate::network::{Link, Network};
use crate::root;
use crate::target::Target;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::Errno;
use bundle::config::{self, Config, ConfigError};
use bundle::{Archive, ArchiveError};
use core::fmt;
use core::future::Future;
use core::sync::atomic::AtomicBool;
use hal::irq::Irq;
use hal::user::UserContext;
use mm::{Backing, Mm};
use sched::{Affinity, Executor, Shuffle, Timers};
use syscalls::exec::{self, Start};
use syscalls::machine::Machine;
use syscalls::mapped_file::MappedFile;
use syscalls::process::{Launch, Process};
use syscalls::random::Random;
use syscalls::thread;
use vfs::archive::RootError;
use vfs::{OpenFlags, Vfs};

/// What the machine gives.
pub struct Parts {
    /// The image.
    pub archive: Archive<'static>,
    /// Its settings.
    pub config: Config,
    /// Network devices.
    pub links: Vec<Link>,
    /// Randomness to start from.
    pub seed: [u8; 32],
    /// How many CPUs run the program; each calls [`System::run`].
    pub cpus: u32,
    /// What typing raises.
    pub console_irq: Option<Irq>,
    /// The screen, when the console is there.
    pub display: Option<Display>,
    /// Input devices beside those at the screen.
    pub inputs: Vec<Input>,
    /// What the power button raises.
    pub button_irq: Option<Irq>,
    /// Chooses among runnable tasks; `None`: first come, first served.
    pub shuffle: Option<Shuffle>,
    /// What to run in place of the program in the image.
    pub script: Option<UserContext>,
}

/// Why the program cannot be run.
#[derive(Debug)]
pub enum StartError {
    /// The machine was started without an image.
    NoArchive,
    /// There is none, though the kernel was packed with one.
    CutOff,
    /// The image is not the one that the kernel was packed with.
    Checksum,
    /// The image is damaged.
    Archive(ArchiveError),
    /// The image has no settings.
    NoSettings,
    /// The settings are not valid.
    Settings(ConfigError),
    /// The image does not make a file system.
    Root(RootError),
    /// A file or directory that the settings name is missing.
    Missing(String, Errno),
    /// The program cannot be run.
    Program(exec::StartError),
    /// The program does not fit the memory.
    OutOfMemory,
    /// Something else failed while the tree was made.
    Files(Errno),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoArchive => f.write_str(
                "no image: start the machine with egg, or give QEMU the image with -initrd",
            ),
            Self::CutOff => f.write_str("the image is damaged: it is cut off"),
            Self::Checksum => f.write_str("the image is damaged: its checksum is wrong"),
            Self::Archive(error) => write!(f, "the image is damaged: {error}"),
            Self::NoSettings => write!(f, "the image has no settings ({})", config::PATH),
            Self::Settings(error) => write!(f, "the settings of the image are not valid: {error}"),
            Self::Root(RootError::Archive(error)) => write!(f, "the image is damaged: {error}"),
            Self::Root(RootError::Path(errno)) => {
                write!(f, "the files of the image cannot be laid out: {errno}")
            }
            Self::Missing(path, errno) => write!(f, "{path}: {errno}"),
            Self::Program(exec::StartError::OutOfMemory) | Self::OutOfMemory => {
                let memory = hal::memory::statistics();
                let mebibytes = memory.total * base::PAGE_SIZE / (1 << 20);
                write!(
                    f,
                    "the program does not fit: the machine has {mebibytes} MiB of memory; give it \
                     more with -m"
                )
            }
            Self::Program(error) => error.fmt(f),
            Self::Files(errno) => write!(f, "the tree of files cannot be made: {errno}"),
        }
    }
}

impl From<RootError> for StartError {
    fn from(error: RootError) -> Self {
        Self::Root(error)
    }
}

impl From<Errno> for StartError {
    fn from(errno: Errno) -> Self {
        if errno == Errno::ENOMEM { Self::OutOfMemory } else { Self::Files(errno) }
    }
}

/// The settings in an image.
///
/// # Errors
/// The image is damaged or has none, or they are not valid.
pub fn settings(archive: &Archive<'_>) -> Result<Config, StartError> {
    let entry = archive.find(config::PATH).map_err(StartError::Archive)?;
    let text = entry.ok_or(StartError::NoSettings)?.data;
    Config::parse(text).map_err(StartError::Settings)
}

/// The running system.
pub struct System {
    pub(crate) executor: Executor,
    pub(crate) machine: Arc<Machine>,
    pub(crate) process: Arc<Process>,
    pub(crate) network: Network,
    pub(crate) console: Console,
    pub(crate) console_interrupts: u64,
    pub(crate) button_interrupts: u64,
    pub(crate) keys: Option<Keys>,
    pub(crate) inputs: Inputs,
    pub(crate) target: Arc<Target>,
    /// Paths of what goes back to the host in the end.
    pub(crate) returns: Vec<String>,
    /// A CPU has seen that the program ended.
    pub(crate) ending: AtomicBool,
}

impl System {
    /// Builds everything and makes the program's first thread runnable.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn new(parts: Parts) -> Result<Self, StartError> {
        let Parts { archive, mut config, links, seed, cpus, shuffle, script, .. } = parts;
        let bits = |irq: Option<Irq>| irq.map_or(0, |irq| 1 << irq.0);
        let (console_interrupts, button_interrupts) =
            (bits(parts.console_irq), bits(parts.button_irq));
        let keys = parts.display.map(|display| Keys::new(display, &mut config));
        let inputs = Inputs::new(parts.inputs, keys.as_ref().map_or(0, Keys::input_devices));
        let memory = hal::memory::statistics();
        let free_mebibytes = memory.free * base::PAGE_SIZE / (1 << 20);
        go_environment::fit_to_memory(&mut config.env, free_mebibytes);
        let executor = match shuffle {
            Some(shuffle) => Executor::shuffled(cpus, shuffle),
            None => Executor::new(cpus),
        };
        let machine = Machine::new(
            Timers::new(cpus),
            executor.spawner(),
            Random::new(&seed),
            config.hostname.clone(),
            cpus,
            config.trace,
        );
        let target = Arc::new(Target::default());
        let console = Console::new(config.tty, config.window, &target);
        let vfs = root::build(&archive, &machine, &console)?;
        if let Some(keys) = &keys {
            keys.add_to(&vfs, &console.tty)?;
        }
        inputs.add_to(&vfs, keys.as_ref(), &console.tty)?;
        root::write_missing(&vfs, &config.hostname)?;
        let network = Network::new(&machine, &config, links, Arc::clone(&vfs));

        let memory = Mm::new(machine.random.number()).map_err(|_| StartError::OutOfMemory)?;
        let (user, auxiliary_vector) = match script {
            Some(user) => (user, Vec::new()),
            None => load(&archive, &config, &vfs, &memory, &machine)?,
        };
        let launch = Launch {
            executable: config.program.clone(),
            arguments: config.args.clone(),
            environment: config.env.clone(),
            auxiliary_vector,
        };
        let working = vfs
            .resolve(vfs.at_root(), config.workdir.as_bytes(), true)
            .map_err(|errno| StartError::Missing(config.workdir.clone(), errno))?
            .inode;
        let process = Process::new(memory, Arc::clone(&machine), vfs, working, launch);
        target.set(&process);
        root::mount_proc(&process)?;
        root::open_standard_streams(&process, &console)?;
        let affinity = Arc::default();
        let first = process.add_thread(0, Arc::clone(&affinity));
        let returns = config.returns;
        let system = Self {
            executor,
            machine,
            process,
            network,
            console,
            console_interrupts,
            button_interrupts,
            keys,
            inputs,
            target,
            returns,
            ending: AtomicBool::new(false),
        };
        system.run_when_online(affinity, thread::run(first, user));
        Ok(system)
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// Starts the program once the network has its address, or has had its chance: what it dials
    /// first must find the way out, as after `network-online.target` on Linux.
    fn run_when_online(
        &self,
        affinity: Arc<Affinity>,
        program: impl Future<Output = ()> + Send + 'static,
    ) {
        let online = self.network.online(&self.machine);
        self.machine.spawner.spawn(affinity, async move {
            online.await;
            hal::console::control("ready");
            program.await;
        });
    }
}

/// Loads the program that the settings name from the image.
fn load(
    archive: &Archive<'static>,
    config: &Config,
    vfs: &Vfs,
    memory: &Arc<Mm>,
    machine: &Machine,
) -> Result<(UserContext, Vec<u8>), StartError> {
    let path = config.program.as_str();
    let missing = |errno| StartError::Missing(String::from(path), errno);
    let in_archive = path.strip_prefix('/').unwrap_or(path);
    let entry = archive.find(in_archive).map_err(StartError::Archive)?;
    let file = entry.ok_or_else(|| missing(Errno::ENOENT))?.data;
    let open = vfs.open(vfs.at_root(), path.as_bytes(), OpenFlags::empty(), 0).map_err(missing)?;
    let metadata = open.metadata().map_err(missing)?;
    let backing: Arc<dyn Backing> =
        MappedFile::new(Arc::clone(open.file()), &metadata, String::from(path));
    let arguments: Vec<&[u8]> = config.args.iter().map(String::as_bytes).collect();
    let environment: Vec<&[u8]> = config.env.iter().map(String::as_bytes).collect();
    let mut random = [0; 16];
    machine.random.fill(&mut random);
    let (hardware_capabilities, hardware_capabilities_2) = hal::cpu::capabilities();
    let start = Start {
        file,
        backing: &backing,
        path: path.as_bytes(),
        arguments: &arguments,
        environment: &environment,
        random,
        hardware_capabilities,
        hardware_capabilities_2,
    };
    let loaded = exec::load(memory, &start).map_err(StartError::Program)?;
    Ok((loaded.user, loaded.auxiliary_vector))
}
