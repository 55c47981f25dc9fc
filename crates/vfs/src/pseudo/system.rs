//! The tree of /sys: as much as programs look for.

use super::{Row, directory, kernel, text};

/// /sys.
pub(super) const ROOT: &[Row] = &[
    directory("class", &[directory("net", &[])]),
    directory("devices", &[directory("system", &[directory("cpu", CPU)])]),
    directory("fs", &[directory("cgroup", &[])]),
    directory("kernel", &[directory("mm", &[directory("transparent_hugepage", HUGE_PAGES)])]),
];

const CPU: &[Row] = &[
    kernel("kernel_max", super::kernel::cpu_kernel_max),
    kernel("online", super::kernel::cpu_range),
    kernel("possible", super::kernel::cpu_range),
    kernel("present", super::kernel::cpu_range),
];

const HUGE_PAGES: &[Row] = &[
    text("enabled", LARGE_PAGES[hal::space::LARGE_PAGES as usize]),
    text("hpage_pmd_size", "2097152\n"),
];

/// None, or also where nobody asked for them.
const LARGE_PAGES: [&str; 2] = ["always madvise [never]\n", "[always] madvise never\n"];
