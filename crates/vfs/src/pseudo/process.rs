//! The tree of /proc.

use super::{Entry, Link, ProcFile, Row, directory, kernel as made, kernel, link, process, text};

/// /proc.
pub(super) const ROOT: &[Row] = &[
    made("cpuinfo", kernel::cpuinfo),
    made("filesystems", kernel::filesystems),
    process("loadavg", ProcFile::LoadAverage, 0o444),
    made("meminfo", kernel::meminfo),
    link("mounts", Link::Fixed("self/mounts")),
    link("net", Link::Fixed("self/net")),
    link("self", Link::Own),
    made("slabinfo", kernel::slabinfo),
    process("stat", ProcFile::SystemStat, 0o444),
    directory("sys", SYS),
    link("thread-self", Link::OwnThread),
    made("uptime", kernel::uptime),
    process("version", ProcFile::Version, 0o444),
    made("vmstat", kernel::vmstat),
];

/// /proc/PID. The task directory is not among a thread's files.
pub(super) const PROCESS: &[Row] = &[
    process("auxv", ProcFile::Auxv, 0o400),
    // No control groups: the root of the hierarchy.
    text("cgroup", "0::/\n"),
    process("cmdline", ProcFile::Cmdline, 0o444),
    process("comm", ProcFile::Comm, 0o644),
    text("cpuset", "/\n"),
    link("cwd", Link::WorkingDirectory),
    process("environ", ProcFile::Environ, 0o400),
    link("exe", Link::Executable),
    Row { name: "fd", entry: Entry::Descriptors { info: false } },
    Row { name: "fdinfo", entry: Entry::Descriptors { info: true } },
    process("limits", ProcFile::Limits, 0o444),
    process("maps", ProcFile::Maps, 0o444),
    made("mountinfo", kernel::mountinfo),
    made("mounts", kernel::mounts),
    directory("net", NET),
    text("oom_score", "0\n"),
    process("oom_score_adj", ProcFile::OomScoreAdj, 0o644),
    link("root", Link::Root),
    process("smaps", ProcFile::Smaps, 0o444),
    process("smaps_rollup", ProcFile::SmapsRollup, 0o444),
    process("stat", ProcFile::Stat, 0o444),
    process("statm", ProcFile::Statm, 0o444),
    process("status", ProcFile::Status, 0o444),
    Row { name: "task", entry: Entry::Threads },
];

const NET: &[Row] = &[
    process("arp", ProcFile::NetArp, 0o444),
    process("dev", ProcFile::NetDev, 0o444),
    process("if_inet6", ProcFile::NetIfInet6, 0o444),
    process("igmp", ProcFile::NetIgmp, 0o444),
    process("igmp6", ProcFile::NetIgmp6, 0o444),
    process("ipv6_route", ProcFile::NetIpv6Route, 0o444),
    process("netstat", ProcFile::NetNetstat, 0o444),
    process("route", ProcFile::NetRoute, 0o444),
    process("snmp", ProcFile::NetSnmp, 0o444),
    process("sockstat", ProcFile::NetSockstat, 0o444),
    process("tcp", ProcFile::NetTcp, 0o444),
    process("tcp6", ProcFile::NetTcp6, 0o444),
    process("udp", ProcFile::NetUdp, 0o444),
    process("udp6", ProcFile::NetUdp6, 0o444),
    process("unix", ProcFile::NetUnix, 0o444),
];

const SYS: &[Row] = &[
    directory(
        "fs",
        &[
            kernel("file-max", kernel::file_max),
            text("nr_open", "1048576\n"),
            text("pipe-max-size", "1048576\n"),
            directory(
                "inotify",
                &[
                    text("max_queued_events", "16384\n"),
                    text("max_user_instances", "1024\n"),
                    text("max_user_watches", "1048576\n"),
                ],
            ),
        ],
    ),
    directory(
        "kernel",
        &[
            text("cap_last_cap", "40\n"),
            process("hostname", ProcFile::Hostname, 0o444),
            text("ngroups_max", "65536\n"),
            process("osrelease", ProcFile::OsRelease, 0o444),
            text("ostype", "Linux\n"),
            text("pid_max", "4194304\n"),
            directory(
                "random",
                &[
                    process("boot_id", ProcFile::BootId, 0o444),
                    text("entropy_avail", "256\n"),
                    text("poolsize", "256\n"),
                    process("uuid", ProcFile::Uuid, 0o444),
                ],
            ),
            text("threads-max", "65536\n"),
        ],
    ),
    directory(
        "net",
        &[
            directory("core", &[text("somaxconn", "4096\n")]),
            directory(
                "ipv4",
                &[
                    text("ip_local_port_range", "32768\t60999\n"),
                    text("tcp_fastopen", "0\n"),
                    text("tcp_keepalive_time", "7200\n"),
                    text("tcp_keepalive_intvl", "75\n"),
                    text("tcp_keepalive_probes", "9\n"),
                ],
            ),
            directory("ipv6", &[text("bindv6only", "0\n")]),
            directory("mptcp", &[text("enabled", "1\n")]),
        ],
    ),
    directory(
        "vm",
        &[
            text("max_map_count", "65530\n"),
            text("overcommit_memory", "1\n"),
            text("swappiness", "0\n"),
        ],
    ),
];
