//! Starting the program: from its ELF file to registers that can run.

use crate::memory::rights;
use alloc::sync::Arc;
use alloc::vec::Vec;
use base::{Errno, PAGE_SIZE, UserAddr};
use core::fmt;
use hal::memory::Frame;
use hal::user::UserContext;
use hal::{OutOfMemory, PageProtection, clock, vdso};
use loader::stack::{Auxiliary, Contents};
use loader::vdso::Symbol;
use loader::{LoadError, Plan, Program, Step};
use mm::{Backing, Content, FileIdentity, Label, MapRequest, Mm, Placement};

/// What the program is started with.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// The ELF file.
    pub file: &'a [u8],
    /// The same file, for mapping its pages.
    pub backing: &'a Arc<dyn Backing>,
    /// Its path (AT_EXECFN).
    pub path: &'a [u8],
    /// Arguments, the name first.
    pub arguments: &'a [&'a [u8]],
    /// Environment, `K=V`.
    pub environment: &'a [&'a [u8]],
    /// AT_RANDOM.
    pub random: [u8; 16],
    /// AT_HWCAP.
    pub hardware_capabilities: u64,
    /// AT_HWCAP2.
    pub hardware_capabilities_2: u64,
}

/// A program ready to run.
pub struct Loaded {
    /// Its registers at the first instruction.
    pub user: UserContext,
    /// Its auxiliary vector, for /proc/self/auxv.
    pub auxiliary_vector: Vec<u8>,
}

/// Why it cannot be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartError {
    /// The file cannot be run.
    Load(LoadError),
    /// Arguments and environment are too long.
    ArgumentsTooLong,
    /// Not enough memory.
    OutOfMemory,
    /// The program's addresses cannot be mapped.
    Mapping(Errno),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(error) => error.fmt(f),
            Self::ArgumentsTooLong => {
                f.write_str("the program's arguments and environment are too long (over 2 MiB)")
            }
            Self::OutOfMemory => {
                f.write_str("not enough memory to start the program; give the machine more")
            }
            Self::Mapping(errno) => write!(f, "the program cannot be mapped ({errno})"),
        }
    }
}

impl core::error::Error for StartError {}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<OutOfMemory> for StartError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

impl From<Errno> for StartError {
    /// Of mapping and of writing to fresh memory, which only fails for want of it.
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::ENOMEM | Errno::EFAULT => Self::OutOfMemory,
            errno => Self::Mapping(errno),
        }
    }
}

/// Loads a program into empty memory.
///
/// # Errors
/// See [`StartError`].
pub fn load(memory: &Arc<Mm>, start: &Start<'_>) -> Result<Loaded, StartError> {
    let program = loader::parse(start.file)?;
    let plan = program.plan(memory.layout().program_base)?;
    for step in &plan.steps {
        carry_out(memory, step, start.backing)?;
    }
    relocate(memory, &program, &plan, start.file)?;
    memory.set_program_break(plan.program_break);
    let vdso = map_vdso(memory)?;
    let auxiliary = Auxiliary {
        headers: plan.headers,
        header_bytes: program.header_bytes,
        header_count: program.headers,
        entry: plan.entry,
        hardware_capabilities: start.hardware_capabilities,
        hardware_capabilities_2: start.hardware_capabilities_2,
        user: 0,
        group: 0,
        vdso,
        signal_stack_bytes: signal_frame_bytes(),
    };
    let (pointer, auxiliary_vector) = make_stack(memory, &program, start, auxiliary)?;
    Ok(Loaded { user: UserContext::new(plan.entry.0, pointer.0), auxiliary_vector })
}

/// Bytes that a signal frame takes at most (AT_MINSIGSTKSZ): vector state with its closing magic
/// and alignment, the rest of the frame, the red zone.
fn signal_frame_bytes() -> u64 {
    const VECTOR_STATE_EXTRA: usize = 4 + 64;
    const FRAME: usize = 576;
    const RED_ZONE: usize = 128;
    (hal::user::vector_state_bytes() + VECTOR_STATE_EXTRA + FRAME + RED_ZONE) as u64
}

fn carry_out(memory: &Mm, step: &Step, backing: &Arc<dyn Backing>) -> Result<(), StartError> {
    match *step {
        Step::File { address, bytes, offset, protection } => {
            let backing = Arc::clone(backing);
            let content = Content::File { backing, offset, shared: false, writable: false };
            let placement = Placement::Fixed(address);
            memory.map(MapRequest::new(placement, bytes, rights(protection), content))?;
        }
        Step::Zeros { address, bytes, protection } => {
            let placement = Placement::Fixed(address);
            memory.map(MapRequest::anonymous(placement, bytes, rights(protection)))?;
        }
        Step::Clear { address, bytes } => memory.clear(address, bytes)?,
    }
    Ok(())
}

/// Does the dynamic linker's part for programs that name one and need no library, and closes what
/// is read-only from then on.
fn relocate(memory: &Mm, program: &Program, plan: &Plan, file: &[u8]) -> Result<(), StartError> {
    for word in program.relocations(file, plan.bias) {
        memory.write(word.address, &word.value)?;
    }
    if let Some((address, bytes)) = program.read_only_after_relocation {
        // Whole pages only: the last one may hold data as well.
        let start = UserAddr(address.wrapping_add(plan.bias)).page_floor();
        let end = UserAddr(address.wrapping_add(plan.bias).wrapping_add(bytes)).page_floor();
        if end > start {
            memory.protect(start, end.0 - start.0, PageProtection::READ)?;
        }
    }
    Ok(())
}

/// Maps the first thread's stack and fills its top. Returns the stack pointer and the auxiliary
/// vector.
fn make_stack(
    memory: &Mm,
    program: &Program,
    start: &Start<'_>,
    auxiliary: Auxiliary,
) -> Result<(UserAddr, Vec<u8>), StartError> {
    let range = memory.layout().stack().ok_or(StartError::OutOfMemory)?;
    let mut protection = PageProtection::READ | PageProtection::WRITE;
    protection.set(PageProtection::EXECUTE, program.executable_stack);
    let placement = Placement::Fixed(range.start());
    let mut request = MapRequest::anonymous(placement, range.bytes(), protection);
    request.label = Label::Stack;
    // Small machines: only what is touched counts.
    request.no_reserve = true;
    memory.map(request)?;
    let contents = Contents {
        arguments: start.arguments,
        environment: start.environment,
        executable: start.path,
        random: start.random,
        auxiliary,
    };
    let stack =
        loader::stack::build(&contents, range.end()).map_err(|_| StartError::ArgumentsTooLong)?;
    memory.write_bytes(stack.pointer, &stack.bytes)?;
    let vector = stack.bytes.get(stack.auxiliary_vector).unwrap_or_default();
    Ok((stack.pointer, vector.to_vec()))
}

/// A page of the kernel's in the program's memory.
struct KernelPage {
    frame: Frame,
    name: &'static str,
}

impl Backing for KernelPage {
    fn frame(&self, page: u64, _write: bool) -> Result<Frame, Errno> {
        if page == 0 { Ok(self.frame.clone()) } else { Err(Errno::ENXIO) }
    }

    fn identity(&self) -> FileIdentity {
        FileIdentity::default()
    }

    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str(self.name)
    }
}

/// Maps the clock data and the vDSO behind it; returns where the latter begins.
fn map_vdso(memory: &Mm) -> Result<UserAddr, StartError> {
    let functions = vdso::functions();
    let symbols = functions.map(|function| Symbol {
        name: function.name,
        offset: function.offset,
        bytes: function.bytes,
    });
    let Some(image) = loader::vdso::build(vdso::code(), vdso::CODE_OFFSET, &symbols) else {
        // It does not fit its page: the program does without.
        return Ok(UserAddr::NULL);
    };
    let code = Frame::zeroed()?;
    code.write(0, &image);
    let data = Frame::zeroed()?;
    vdso::write_data(&data, &clock::vdso_parameters());

    let anywhere = Placement::Hint(UserAddr::NULL);
    let nothing = PageProtection::empty();
    let start = memory.map(MapRequest::anonymous(anywhere, 2 * PAGE_SIZE, nothing))?;
    let map = |address, frame, name, shared, protection| {
        let backing: Arc<dyn Backing> = Arc::new(KernelPage { frame, name });
        let content = Content::File { backing, offset: 0, shared, writable: false };
        memory.map(MapRequest::new(Placement::Fixed(address), PAGE_SIZE, protection, content))
    };
    let code_at = start.wrapping_add(PAGE_SIZE);
    // Shared: the program sees what the kernel writes, and can never write itself.
    map(start, data, "[vvar]", true, PageProtection::READ)?;
    map(code_at, code, "[vdso]", false, PageProtection::READ | PageProtection::EXECUTE)?;
    Ok(code_at)
}

#[cfg(test)]
mod tests;
