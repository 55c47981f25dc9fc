//! The tree of /sys: as much as programs look for.

use super::family::Family;
use super::{Row, directory, family, kernel, text};

/// /sys.
pub(super) const ROOT: &[Row] = &[
    directory("class", &[family("net", Family::Interfaces, &[])]),
    directory("devices", &[directory("system", &[family("cpu", Family::Processors, CPU)])]),
    directory("fs", &[directory("cgroup", &[])]),
    directory(
        "kernel",
        &[directory(
            "mm",
            &[
                directory("hugepages", &[directory("hugepages-2048kB", RESERVED_PAGES)]),
                directory("transparent_hugepage", HUGE_PAGES),
            ],
        )],
    ),
];

const CPU: &[Row] = &[
    text("isolated", "\n"),
    kernel("kernel_max", super::kernel::cpu_kernel_max),
    text("offline", "\n"),
    kernel("online", super::kernel::cpu_range),
    kernel("possible", super::kernel::cpu_range),
    kernel("present", super::kernel::cpu_range),
];

const HUGE_PAGES: &[Row] = &[
    text("enabled", LARGE_PAGES[hal::space::LARGE_PAGES as usize]),
    text("hpage_pmd_size", "2097152\n"),
];

/// Of pages for `MAP_HUGETLB` there are none.
const RESERVED_PAGES: &[Row] = &[
    text("free_hugepages", "0\n"),
    text("nr_hugepages", "0\n"),
    text("nr_overcommit_hugepages", "0\n"),
    text("resv_hugepages", "0\n"),
    text("surplus_hugepages", "0\n"),
];

/// None, or also where nobody asked for them.
const LARGE_PAGES: [&str; 2] = ["always madvise [never]\n", "[always] madvise never\n"];
