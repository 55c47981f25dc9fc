//! The files of /proc/net.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use net::{Counters, LinkCounters, LinkId, Stack, TcpState, UdpInfo};
use vfs::ProcFile;

/// The text of a file.
pub(crate) fn text(stack: &Stack, file: ProcFile) -> String {
    match file {
        ProcFile::NetDev => devices(stack),
        ProcFile::NetTcp => tcp(stack, true),
        ProcFile::NetTcp6 => tcp(stack, false),
        ProcFile::NetUdp => udp(stack, true),
        ProcFile::NetUdp6 => udp(stack, false),
        ProcFile::NetRoute => routes(stack),
        ProcFile::NetIfInet6 => addresses_v6(stack),
        ProcFile::NetSockstat => sockstat(stack),
        ProcFile::NetSockstat6 => sockstat_v6(stack),
        ProcFile::NetSnmp => snmp(stack),
        ProcFile::NetSnmp6 => snmp_v6(stack),
        ProcFile::NetSoftnet => softnet(stack),
        ProcFile::NetNetstat => netstat(stack),
        ProcFile::NetArp => String::from(
            "IP address       HW type     Flags       HW address            Mask     Device\n",
        ),
        ProcFile::NetIgmp => groups_v4(stack),
        ProcFile::NetIgmp6 => groups_v6(stack),
        ProcFile::NetUnix => {
            String::from("Num       RefCount Protocol Flags    Type St Inode Path\n")
        }
        _ => String::new(),
    }
}

/// What /sys/class/net tells of.
pub(crate) fn interfaces(stack: &Stack) -> Vec<vfs::Interface> {
    const ETHERNET: u16 = 1;
    const LOOPBACK: u16 = 772;
    let all = stack.interfaces().into_iter().map(|one| {
        let is_loopback = one.link == LinkId::LOOPBACK;
        vfs::Interface {
            index: one.link.index(),
            address: one.mac,
            broadcast: if is_loopback { [0; 6] } else { [0xff; 6] },
            mtu: one.mtu,
            hardware: if is_loopback { LOOPBACK } else { ETHERNET },
            flags: one.flags(),
            state: if is_loopback { "unknown" } else { "up" },
            received: [one.counters.received_packets, one.counters.received_bytes],
            sent: [one.counters.sent_packets, one.counters.sent_bytes],
            sent_dropped: one.counters.sent_dropped,
            name: one.name,
        }
    });
    all.collect()
}

fn devices(stack: &Stack) -> String {
    let mut text = String::from(
        "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs \
         drop fifo colls carrier compressed\n",
    );
    for interface in stack.interfaces() {
        let count = interface.counters;
        let _ = writeln!(
            text,
            "{:>6}: {:7} {:7}    0    0    0     0          0         0 {:8} {:7}    0 {:4}    0     \
             0       0          0",
            interface.name,
            count.received_bytes,
            count.received_packets,
            count.sent_bytes,
            count.sent_packets,
            count.sent_dropped,
        );
    }
    text
}

/// An address as these files show it: 32-bit words in the byte order of the machine, and the
/// port.
fn hexadecimal(address: Option<SocketAddr>, ipv4: bool) -> String {
    let port = address.map_or(0, |address| address.port());
    let mut text = String::new();
    match (address.map(|address| address.ip()), ipv4) {
        (Some(IpAddr::V4(v4)), true) => {
            let _ = write!(text, "{:08X}", u32::from_le_bytes(v4.octets()));
        }
        (None, true) => text.push_str("00000000"),
        (address, _) => {
            let octets = match address {
                Some(IpAddr::V6(v6)) => v6.octets(),
                Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
                None => [0; 16],
            };
            for word in octets.as_chunks::<4>().0 {
                let _ = write!(text, "{:08X}", u32::from_le_bytes(*word));
            }
        }
    }
    let _ = write!(text, ":{port:04X}");
    text
}

fn is_of(address: Option<SocketAddr>, ipv4: bool) -> bool {
    address.is_none_or(|address| address.is_ipv4() == ipv4)
}

fn tcp(stack: &Stack, ipv4: bool) -> String {
    let mut text = String::from(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
         timeout inode\n",
    );
    let rows = stack.tcp_sockets().into_iter();
    let rows = rows.filter(|row| row.state != TcpState::Closed && is_of(row.local, ipv4));
    for (index, row) in rows.enumerate() {
        let _ = writeln!(
            text,
            "{index:4}: {} {} {:02X} {:08X}:{:08X} 00:00000000 00000000     0        0 {} 1",
            hexadecimal(row.local, ipv4),
            hexadecimal(row.remote, ipv4),
            row.state as u8,
            row.send_queue,
            row.receive_queue,
            row.number,
        );
    }
    text
}

fn udp(stack: &Stack, ipv4: bool) -> String {
    let mut text = String::from(
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  \
         timeout inode ref pointer drops\n",
    );
    let rows = stack.udp_sockets().into_iter();
    let rows = rows.filter(|row| is_of(Some(row.local), ipv4));
    for (index, UdpInfo { local, remote, queued, dropped, number }) in rows.enumerate() {
        let state = if remote.is_some() { 1 } else { 7 };
        let _ = writeln!(
            text,
            "{index:5}: {} {} {state:02X} 00000000:{queued:08X} 00:00000000 00000000     0        0 \
             {number} 2 0 {dropped}",
            hexadecimal(Some(local), ipv4),
            hexadecimal(remote, ipv4),
        );
    }
    text
}

fn name_of(stack: &Stack, link: LinkId) -> String {
    let all = stack.interfaces().into_iter();
    all.filter(|interface| interface.link == link)
        .map(|interface| interface.name)
        .next()
        .unwrap_or_default()
}

fn routes(stack: &Stack) -> String {
    let mut text = String::from(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
    );
    for route in stack.routes() {
        if let IpAddr::V4(gateway) = route.gateway {
            let _ = writeln!(
                text,
                "{}\t00000000\t{:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0",
                name_of(stack, route.link),
                u32::from_le_bytes(gateway.octets()),
            );
        }
    }
    for own in stack.addresses() {
        if let IpAddr::V4(address) = own.address {
            let mask = u32::MAX.checked_shl(32 - u32::from(own.prefix)).unwrap_or(0);
            let _ = writeln!(
                text,
                "{}\t{:08X}\t00000000\t0001\t0\t0\t0\t{:08X}\t0\t0\t0",
                name_of(stack, own.link),
                (address.to_bits() & mask).swap_bytes(),
                mask.swap_bytes(),
            );
        }
    }
    text
}

fn addresses_v6(stack: &Stack) -> String {
    let mut text = String::new();
    for interface in stack.interfaces() {
        for own in &interface.addresses {
            if let IpAddr::V6(address) = own.address {
                let scope = if address.is_loopback() {
                    0x10
                } else if address.is_unicast_link_local() {
                    0x20
                } else {
                    0
                };
                let _ = writeln!(
                    text,
                    "{:032x} {:02x} {:02x} {scope:02x} 80 {:>8}",
                    address.to_bits(),
                    interface.link.index(),
                    own.prefix,
                    interface.name,
                );
            }
        }
    }
    text
}

/// The groups of each interface: those that sockets joined, then that of all nodes.
fn groups_v4(stack: &Stack) -> String {
    let mut text = String::from("Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n");
    let joined = stack.groups();
    for interface in stack.interfaces() {
        let own = joined.iter().filter_map(|(link, group, users)| match group {
            IpAddr::V4(group) if *link == interface.link => Some((*group, *users)),
            _ => None,
        });
        let groups: Vec<_> = own.chain([(Ipv4Addr::new(224, 0, 0, 1), 1)]).collect();
        let (index, name, count) = (interface.link.index(), &interface.name, groups.len());
        let _ = writeln!(text, "{index}\t{name:<10}: {count:5}      V3");
        for (group, users) in groups {
            let group = u32::from_le_bytes(group.octets());
            let _ = writeln!(text, "\t\t\t\t{group:08X} {users:5} 0:00000000\t\t0");
        }
    }
    text
}

/// As [`groups_v4`]; interfaces with IPv6 are also in the group that each of their addresses is looked for
/// in (RFC 4291, 2.7.1).
fn groups_v6(stack: &Stack) -> String {
    /// Nobody is told of it (`MAF_NOREPORT`).
    const SILENT: u32 = 8;
    /// It was told of (`MAF_LAST_REPORTER`).
    const REPORTED: u32 = 4;
    let mut text = String::new();
    let joined = stack.groups();
    for interface in stack.interfaces() {
        let is_loopback = interface.link == LinkId::LOOPBACK;
        let usual = if is_loopback { SILENT } else { REPORTED };
        let own = interface.addresses.iter().filter_map(|own| match own.address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        let joined = joined.iter().filter_map(|(link, group, users)| match group {
            IpAddr::V6(group) if *link == interface.link => Some((*group, *users, usual)),
            _ => None,
        });
        let mut groups: Vec<_> = joined.collect();
        if own.clone().next().is_some() {
            for address in own.filter(|_| !is_loopback) {
                let [.., a, b] = address.segments();
                let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | a & 0xff, b);
                match groups.iter_mut().find(|row| row.0 == group) {
                    Some((_, users, _)) => *users += 1,
                    None => groups.push((group, 1, usual)),
                }
            }
            groups.push((Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), 1, SILENT | REPORTED));
            groups.push((Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0, 1), 1, SILENT));
        }
        let (index, name) = (interface.link.index(), &interface.name);
        for (group, users, flags) in groups {
            let group = u128::from(group);
            let _ = writeln!(text, "{index:<4} {name:<15} {group:032x} {users:5} {flags:08X} 0");
        }
    }
    text
}

fn sockstat(stack: &Stack) -> String {
    let tcp = stack.counters().tcp;
    let udp = stack.udp_sockets().len();
    format!(
        "sockets: used {}\nTCP: inuse {} orphan {} tw {} alloc {} mem {}\nUDP: inuse {udp} mem 0\n\
         UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        tcp.sockets + udp,
        tcp.sockets,
        tcp.orphans,
        tcp.time_wait,
        tcp.sockets,
        tcp.buffer_bytes.div_ceil(4096),
    )
}

fn sockstat_v6(stack: &Stack) -> String {
    let is_v6 = |local: Option<SocketAddr>| local.is_some_and(|local| local.is_ipv6());
    let tcp = stack.tcp_sockets().into_iter().filter(|row| is_v6(row.local)).count();
    let udp = stack.udp_sockets().into_iter().filter(|row| is_v6(Some(row.local))).count();
    format!(
        "TCP6: inuse {tcp}\nUDP6: inuse {udp}\nUDPLITE6: inuse 0\nRAW6: inuse 0\n\
         FRAG6: inuse 0 memory 0\n"
    )
}

/// Of UDP, which is counted together with that over IPv4.
fn snmp_v6(stack: &Stack) -> String {
    let udp = stack.counters().udp;
    let mut text = String::new();
    for (name, count) in [
        ("Udp6InDatagrams", udp.received),
        ("Udp6NoPorts", udp.no_ports),
        ("Udp6InErrors", udp.receive_drops),
        ("Udp6OutDatagrams", udp.sent),
        ("Udp6RcvbufErrors", udp.receive_drops),
    ] {
        let _ = writeln!(text, "{name:<32}\t{count}");
    }
    text
}

/// Packets that came: all interrupts of devices go to the first CPU.
fn softnet(stack: &Stack) -> String {
    let came = stack.interfaces().iter().map(|one| one.counters.received_packets).sum::<u64>();
    format!("{:08x}{}\n", came as u32, " 00000000".repeat(14))
}

fn snmp(stack: &Stack) -> String {
    let counters = stack.counters();
    let (tcp, udp) = (counters.tcp, counters.udp);
    let mut text = internet(stack);
    let _ = write!(
        text,
        "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets \
         CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors\nTcp: 1 1000 60000 -1 {} \
         {} 0 0 {} {} {} 0 0 {} 0\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors \
         SndbufErrors InCsumErrors IgnoredMulti MemErrors\nUdp: {} {} {} {} {} 0 0 0 0\n",
        tcp.active_opens,
        tcp.passive_opens,
        tcp.sockets,
        tcp.received,
        tcp.sent,
        tcp.resets_sent,
        udp.received,
        udp.no_ports,
        udp.receive_drops,
        udp.sent,
        udp.receive_drops,
    );
    text
}

/// The lines of IP and ICMP, both versions together: what is counted of Linux's.
fn internet(stack: &Stack) -> String {
    let Counters { ip, icmp, tcp, udp } = stack.counters();
    let of_udp = udp.received + udp.no_ports + udp.receive_drops;
    let interfaces = stack.interfaces();
    let sum = |of: fn(&LinkCounters) -> u64| interfaces.iter().map(|one| of(&one.counters)).sum();
    let of_ip = [
        ("Forwarding", 2),
        ("DefaultTTL", 64),
        ("InReceives", sum(|link| link.received_packets)),
        ("InHdrErrors", ip.header_errors),
        ("InAddrErrors", ip.address_errors),
        ("ForwDatagrams", 0),
        ("InUnknownProtos", ip.unknown_protocols),
        ("InDelivers", tcp.received + of_udp + icmp.received),
        ("OutRequests", sum(|link| link.sent_packets + link.sent_dropped)),
        ("OutDiscards", sum(|link| link.sent_dropped)),
    ];
    let of_icmp = [
        ("InMsgs", icmp.received),
        ("InErrors", icmp.errors),
        ("InDestUnreachs", icmp.unreachable),
        ("InEchos", icmp.echoes),
        ("InEchoReps", icmp.echo_replies),
        ("OutMsgs", icmp.sent_unreachable + icmp.sent_echo_replies),
        ("OutDestUnreachs", icmp.sent_unreachable),
        ("OutEchoReps", icmp.sent_echo_replies),
    ];
    let mut text = String::new();
    two_lines(&mut text, "Ip", &of_ip);
    two_lines(&mut text, "Icmp", &of_icmp);
    text
}

/// Names in a line, and counts in the next.
fn two_lines(text: &mut String, name: &str, rows: &[(&str, u64)]) {
    let _ = write!(text, "{name}:");
    rows.iter().for_each(|row| {
        let _ = write!(text, " {}", row.0);
    });
    let _ = write!(text, "\n{name}:");
    rows.iter().for_each(|row| {
        let _ = write!(text, " {}", row.1);
    });
    text.push('\n');
}

fn netstat(stack: &Stack) -> String {
    let tcp = stack.counters().tcp;
    format!("TcpExt: ListenOverflows ListenDrops\nTcpExt: {0} {0}\n", tcp.listen_drops)
}
