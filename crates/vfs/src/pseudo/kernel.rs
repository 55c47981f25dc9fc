//! Texts that need no process: memory, processors, mounts.

use crate::tree::Vfs;
use alloc::format;
use alloc::string::String;
use base::PAGE_SIZE;
use core::fmt::Write;

const KIB_PER_PAGE: u64 = PAGE_SIZE / 1024;

pub(super) fn meminfo(_: &Vfs) -> String {
    let memory = hal::memory::statistics();
    let mut out = String::new();
    let mut row = |name: &str, kib: u64| {
        let _ = writeln!(out, "{:<15} {kib:>8} kB", format!("{name}:"));
    };
    row("MemTotal", memory.total * KIB_PER_PAGE);
    row("MemFree", memory.free * KIB_PER_PAGE);
    row("MemAvailable", memory.free * KIB_PER_PAGE);
    for name in ["Buffers", "Cached", "SwapCached", "Active", "Inactive"] {
        row(name, 0);
    }
    for name in ["SwapTotal", "SwapFree", "Dirty", "Writeback"] {
        row(name, 0);
    }
    row("AnonPages", (memory.total - memory.free.min(memory.total)) * KIB_PER_PAGE);
    row("Mapped", 0);
    row("Shmem", 0);
    row("Slab", memory.heap * KIB_PER_PAGE);
    row("SUnreclaim", memory.heap * KIB_PER_PAGE);
    row("CommitLimit", memory.total * KIB_PER_PAGE);
    out
}

/// The kernel's heap (slabinfo(5)): one size of objects a line, and `frames` for larger blocks.
pub(super) fn slabinfo(_: &Vfs) -> String {
    let mut out = String::from(
        "slabinfo - version: 2.1\n\
         # name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> \
         : tunables <limit> <batchcount> <sharedfactor> \
         : slabdata <active_slabs> <num_slabs> <sharedavail>\n",
    );
    for class in hal::memory::heap_classes() {
        let (size, slabs) = (class.object_bytes, class.slabs);
        let name =
            if size as u64 == PAGE_SIZE { "frames".into() } else { format!("kmalloc-{size}") };
        let _ = writeln!(
            out,
            "{name:<17} {:>6} {:>6} {size:>6} {:>4} {:>4} : tunables    0    0    0 : slabdata \
             {slabs:>6} {slabs:>6}      0",
            class.objects,
            class.slots,
            class.slots.checked_div(slabs).unwrap_or(0),
            class.frames_per_slab,
        );
    }
    out
}

pub(super) fn cpuinfo(_: &Vfs) -> String {
    let count = hal::cpu::count();
    let mut out = String::new();
    for cpu in 0..count {
        let _ = write!(
            out,
            "processor\t: {cpu}\nvendor_id\t: eggos\ncpu family\t: 6\nmodel\t\t: 0\n\
             model name\t: x86-64\nstepping\t: 0\nphysical id\t: 0\nsiblings\t: {count}\n\
             core id\t\t: {cpu}\ncpu cores\t: {count}\napicid\t\t: {cpu}\n\
             flags\t\t: fpu tsc msr cx8 sep cmov fxsr sse sse2 syscall nx lm\n\
             cache_alignment\t: 64\n\
             address sizes\t: 48 bits physical, 48 bits virtual\n\n"
        );
    }
    out
}

pub(super) fn cpu_range(_: &Vfs) -> String {
    match hal::cpu::count() {
        0 | 1 => String::from("0\n"),
        count => format!("0-{}\n", count - 1),
    }
}

pub(super) fn cpu_kernel_max(_: &Vfs) -> String {
    format!("{}\n", hal::cpu::count().saturating_sub(1))
}

pub(super) fn filesystems(_: &Vfs) -> String {
    String::from(
        "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tdevpts\nnodev\trootfs\n",
    )
}

/// As many files as fit into memory, at 1 KiB each.
pub(super) fn file_max(_: &Vfs) -> String {
    format!("{}\n", hal::memory::statistics().total * KIB_PER_PAGE)
}

pub(super) fn mounts(vfs: &Vfs) -> String {
    let mut out = String::new();
    for mount in vfs.mounts() {
        let kind = mount.root.file_system().name();
        let _ = writeln!(out, "{} {} {kind} {} 0 0", mount.source, mount.path, mount.options);
    }
    out
}

pub(super) fn mountstats(vfs: &Vfs) -> String {
    let mut out = String::new();
    for mount in vfs.mounts() {
        let kind = mount.root.file_system().name();
        let _ =
            writeln!(out, "device {} mounted on {} with fstype {kind}", mount.source, mount.path);
    }
    out
}

pub(super) fn mountinfo(vfs: &Vfs) -> String {
    let mounts = vfs.mounts();
    let mut out = String::new();
    for (id, mount) in (1..).zip(&mounts) {
        // The mount that holds the mount point: the one of the covered directory's file system.
        let holder = mount.covered.as_ref().map(|covered| covered.id().device);
        let parent = mounts.iter().position(|other| Some(other.root.id().device) == holder);
        let device = mount.root.id().device;
        let _ = writeln!(
            out,
            "{id} {} {}:{} / {} {} - {} {} {}",
            parent.map_or(1, |at| at + 1),
            device >> 8,
            device & 0xff,
            mount.path,
            mount.options,
            mount.root.file_system().name(),
            mount.source,
            mount.options,
        );
    }
    out
}
