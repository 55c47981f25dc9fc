//! The yardstick: a program on this Linux, in a root folder of its own, with a network of its own,
//! on two processors, and with the starting of processes denied as in the machine.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::{Pid, chdir, chroot, execve, sethostname};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Processors that the program may use.
const PROCESSORS: usize = 2;
/// System call numbers (arch/x86/entry/syscalls/syscall_64.tbl) and a flag (linux/sched.h).
const CLONE: i64 = 56;
const FORK: i64 = 57;
const VFORK: i64 = 58;
const EXECVE: i64 = 59;
const EXECVEAT: i64 = 322;
const CLONE3: i64 = 435;
const CLONE_THREAD: u64 = 0x1_0000;
const ENOSYS: u32 = 38;

/// Leaves the network of this host for one with loopback only. Needs root.
pub(crate) fn leave_network() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("a network of its own needs root")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    let status = status.context("ip (of iproute2) is missing")?;
    ensure!(status.success(), "loopback does not come up");
    Ok(())
}

/// Becomes `command` (a path within `root`, and its arguments), started in `directory` of `root`, with
/// `more` in its environment than every run has. Comes back only with an error.
pub(crate) fn become_confined(
    root: &Path,
    directory: &Path,
    more: &[String],
    command: &[String],
) -> Result<()> {
    leave_network()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC)?;
    sethostname("eggos")?;
    mount_within(root)?;
    let mut processors = CpuSet::new();
    for processor in 0..PROCESSORS.min(CpuSet::count()) {
        processors.set(processor)?;
    }
    sched_setaffinity(Pid::from_raw(0), &processors)?;
    chroot(root)?;
    chdir(directory).with_context(|| directory.display().to_string())?;
    let words: Vec<CString> =
        command.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?;
    let variables: Vec<CString> = environment(directory)
        .into_iter()
        .chain(more.iter().cloned())
        .map(|variable| CString::new(variable).map_err(Into::into))
        .collect::<Result<_>>()?;
    let program = words.first().context("no command")?;
    seccompiler::apply_filter(&filter(program.as_ptr().addr() as u64)?)?;
    execve(program, &words, &variables)?;
    Ok(())
}

/// The environment of every run, here and in the machine.
pub(crate) fn environment(directory: &Path) -> Vec<String> {
    vec!["PATH=/bin".into(), "HOME=/root".into(), format!("PWD={}", directory.display())]
}

fn mount_within(root: &Path) -> Result<()> {
    const NOTHING: Option<&str> = None;
    let bind = |from: &str, to: &Path| {
        mount(Some(from), to, NOTHING, MsFlags::MS_BIND, NOTHING).context(from.to_owned())
    };
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)
        .context("/ is no mount point: bind-mount the folder of a chroot onto itself")?;
    mount(Some("proc"), &root.join("proc"), Some("proc"), MsFlags::empty(), NOTHING)?;
    mount(Some("sysfs"), &root.join("sys"), Some("sysfs"), MsFlags::MS_RDONLY, NOTHING)?;
    mount(Some("tmpfs"), &root.join("dev"), Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty", "ptmx"] {
        let path = root.join("dev").join(name);
        File::create(&path)?;
        bind(&format!("/dev/{name}"), &path)?;
    }
    for name in ["pts", "shm"] {
        fs::create_dir(root.join("dev").join(name))?;
    }
    bind("/dev/pts", &root.join("dev/pts"))?;
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        symlink(format!("/proc/self/{target}"), root.join("dev").join(name))?;
    }
    Ok(())
}

/// ENOSYS for whatever starts a process, but for execve of the one path at `program`: the filter
/// must be there before the program is.
fn filter(program: u64) -> Result<BpfProgram> {
    let when = |argument, operator, value| -> Result<Vec<SeccompRule>> {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?;
        Ok(vec![SeccompRule::new(vec![condition])?])
    };
    let rules = BTreeMap::from([
        (FORK, vec![]),
        (VFORK, vec![]),
        (EXECVEAT, vec![]),
        // Its flags lie in memory, where a filter does not reach; Go's threads do not use it.
        (CLONE3, vec![]),
        (EXECVE, when(0, SeccompCmpOp::Ne, program)?),
        (CLONE, when(0, SeccompCmpOp::MaskedEq(CLONE_THREAD), 0)?),
    ]);
    let refuse = SeccompAction::Errno(ENOSYS);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}
