//! The tree of /proc.

use super::memory::Kind;
use super::{Entry, Link, ProcFile, Row, directory, kernel as made, kernel, link, process, text};

/// /proc.
pub(super) const ROOT: &[Row] = &[
    text("cgroups", "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"),
    made("cpuinfo", kernel::cpuinfo),
    text("devices", DEVICES),
    // There are no disks.
    text("diskstats", ""),
    made("filesystems", kernel::filesystems),
    process("loadavg", ProcFile::LoadAverage, 0o444),
    made("meminfo", kernel::meminfo),
    link("mounts", Link::Fixed("self/mounts")),
    link("net", Link::Fixed("self/net")),
    text("partitions", "major minor  #blocks  name\n\n"),
    process("schedstat", ProcFile::SystemSchedStat, 0o444),
    link("self", Link::Own),
    made("slabinfo", kernel::slabinfo),
    process("stat", ProcFile::SystemStat, 0o444),
    text("swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"),
    directory("sys", SYS),
    link("thread-self", Link::OwnThread),
    process("uptime", ProcFile::Uptime, 0o444),
    process("version", ProcFile::Version, 0o444),
    process("vmstat", ProcFile::VmStat, 0o444),
];

/// The numbers of devices in /dev. There are no block devices.
const DEVICES: &str = "Character devices:\n  1 mem\n  4 tty\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n 13 \
                       input\n 29 fb\n128 ptm\n136 pts\n\nBlock devices:\n";

/// The namespaces: those that Linux begins with, which all have the same numbers.
const NAMESPACES: &[Row] = &[
    link("cgroup", Link::Namespace("cgroup:[4026531835]")),
    link("ipc", Link::Namespace("ipc:[4026531839]")),
    link("mnt", Link::Namespace("mnt:[4026531840]")),
    link("net", Link::Namespace("net:[4026531833]")),
    link("pid", Link::Namespace("pid:[4026531836]")),
    link("pid_for_children", Link::Namespace("pid:[4026531836]")),
    link("time", Link::Namespace("time:[4026531834]")),
    link("time_for_children", Link::Namespace("time:[4026531834]")),
    link("user", Link::Namespace("user:[4026531837]")),
    link("uts", Link::Namespace("uts:[4026531838]")),
];

/// All ids are those of the machine.
const ID_MAP: &str = "         0          0 4294967295\n";

/// /proc/PID. The task directory is not among a thread's files.
pub(super) const PROCESS: &[Row] = &[
    process("auxv", ProcFile::Auxv, 0o400),
    // No control groups: the root of the hierarchy.
    text("cgroup", "0::/\n"),
    process("cmdline", ProcFile::Cmdline, 0o444),
    process("comm", ProcFile::Comm, 0o644),
    text("coredump_filter", "00000033\n"),
    text("cpuset", "/\n"),
    link("cwd", Link::WorkingDirectory),
    process("environ", ProcFile::Environ, 0o400),
    link("exe", Link::Executable),
    Row { name: "fd", entry: Entry::Descriptors { info: false } },
    Row { name: "fdinfo", entry: Entry::Descriptors { info: true } },
    text("gid_map", ID_MAP),
    process("io", ProcFile::Io, 0o400),
    process("limits", ProcFile::Limits, 0o444),
    process("loginuid", ProcFile::LoginUser, 0o644),
    process("maps", ProcFile::Maps, 0o444),
    Row { name: "mem", entry: Entry::Memory(Kind::Bytes) },
    made("mountinfo", kernel::mountinfo),
    made("mounts", kernel::mounts),
    made("mountstats", kernel::mountstats),
    directory("net", NET),
    directory("ns", NAMESPACES),
    text("oom_adj", "0\n"),
    text("oom_score", "0\n"),
    process("oom_score_adj", ProcFile::OomScoreAdj, 0o644),
    Row { name: "pagemap", entry: Entry::Memory(Kind::Pages) },
    text("personality", "00000000\n"),
    link("root", Link::Root),
    process("schedstat", ProcFile::SchedStat, 0o444),
    process("sessionid", ProcFile::LoginUser, 0o444),
    text("setgroups", "allow\n"),
    process("smaps", ProcFile::Smaps, 0o444),
    process("smaps_rollup", ProcFile::SmapsRollup, 0o444),
    // A thread of the program has no stack in the kernel.
    text("stack", ""),
    process("stat", ProcFile::Stat, 0o444),
    process("statm", ProcFile::Statm, 0o444),
    process("status", ProcFile::Status, 0o444),
    Row { name: "task", entry: Entry::Threads },
    process("timerslack_ns", ProcFile::TimerSlack, 0o666),
    text("uid_map", ID_MAP),
    // Nor waits in a function of the kernel's.
    text("wchan", "0"),
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
    process("snmp6", ProcFile::NetSnmp6, 0o444),
    process("sockstat", ProcFile::NetSockstat, 0o444),
    process("sockstat6", ProcFile::NetSockstat6, 0o444),
    process("softnet_stat", ProcFile::NetSoftnet, 0o444),
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
            process("file-nr", ProcFile::FileCount, 0o444),
            text("nr_open", "1048576\n"),
            text("overflowgid", "65534\n"),
            text("overflowuid", "65534\n"),
            text("pipe-max-size", "1048576\n"),
            // What a link or a pipe may lead to is not looked at.
            text("protected_fifos", "0\n"),
            text("protected_hardlinks", "0\n"),
            text("protected_regular", "0\n"),
            text("protected_symlinks", "0\n"),
            text("suid_dumpable", "0\n"),
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
            text("arch", "x86_64\n"),
            text("cap_last_cap", "40\n"),
            text("core_pattern", "core\n"),
            text("core_uses_pid", "0\n"),
            text("dmesg_restrict", "1\n"),
            text("domainname", "(none)\n"),
            process("hostname", ProcFile::Hostname, 0o444),
            text("ngroups_max", "65536\n"),
            process("osrelease", ProcFile::OsRelease, 0o444),
            text("ostype", "Linux\n"),
            text("overflowgid", "65534\n"),
            text("overflowuid", "65534\n"),
            text("pid_max", "4194304\n"),
            directory("pty", &[text("max", "256\n"), text("reserve", "0\n")]),
            directory(
                "random",
                &[
                    process("boot_id", ProcFile::BootId, 0o444),
                    text("entropy_avail", "256\n"),
                    text("poolsize", "256\n"),
                    process("uuid", ProcFile::Uuid, 0o444),
                ],
            ),
            text("randomize_va_space", "2\n"),
            text("tainted", "0\n"),
            process("threads-max", ProcFile::ThreadsMax, 0o444),
            process("version", ProcFile::KernelVersion, 0o444),
        ],
    ),
    directory(
        "net",
        &[
            directory(
                "core",
                &[
                    text("optmem_max", "20480\n"),
                    text("rmem_default", "212992\n"),
                    text("rmem_max", "212992\n"),
                    text("somaxconn", "4096\n"),
                    text("wmem_default", "212992\n"),
                    text("wmem_max", "212992\n"),
                ],
            ),
            directory(
                "ipv4",
                &[
                    text("icmp_msgs_per_sec", "1000\n"),
                    text("ip_default_ttl", "64\n"),
                    text("ip_forward", "0\n"),
                    text("ip_local_port_range", "32768\t60999\n"),
                    // Everybody may bind to every port and send pings.
                    text("ip_unprivileged_port_start", "0\n"),
                    text("ping_group_range", "0\t2147483647\n"),
                    text("tcp_allowed_congestion_control", "reno\n"),
                    text("tcp_available_congestion_control", "reno\n"),
                    text("tcp_congestion_control", "reno\n"),
                    text("tcp_fastopen", "0\n"),
                    text("tcp_fin_timeout", "60\n"),
                    text("tcp_keepalive_time", "7200\n"),
                    text("tcp_keepalive_intvl", "75\n"),
                    text("tcp_keepalive_probes", "9\n"),
                    text("tcp_max_orphans", "8192\n"),
                    text("tcp_retries2", "15\n"),
                    text("tcp_syn_retries", "6\n"),
                    text("tcp_synack_retries", "5\n"),
                    text("tcp_timestamps", "0\n"),
                ],
            ),
            directory("ipv6", &[text("bindv6only", "0\n"), directory("conf", IPV6)]),
            directory("mptcp", &[text("enabled", "1\n")]),
        ],
    ),
    directory(
        "vm",
        &[
            text("max_map_count", "65530\n"),
            text("memfd_noexec", "0\n"),
            text("nr_hugepages", "0\n"),
            text("nr_overcommit_hugepages", "0\n"),
            text("overcommit_memory", "1\n"),
            text("panic_on_oom", "0\n"),
            text("swappiness", "0\n"),
        ],
    ),
];

/// IPv6 is there on every interface, and nothing is forwarded.
const IPV6: &[Row] = &[directory("all", IPV6_OF_ONE), directory("default", IPV6_OF_ONE)];
const IPV6_OF_ONE: &[Row] = &[text("disable_ipv6", "0\n"), text("forwarding", "0\n")];
