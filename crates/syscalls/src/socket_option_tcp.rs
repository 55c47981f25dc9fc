//! Options of TCP.

use crate::socket_file::{Kind, SocketFile};
use crate::socket_option::{Value, int, truth, wrong_level};
use crate::socket_option_inet::apply;
use crate::socket_option_kept::{self as table, keep, kept};
use crate::socket_tcp_info as tcp_info;
use alloc::vec::Vec;
use base::Errno;
use core::time::Duration;
use net::{SOMAXCONN, TcpOptions};

/// Options of TCP.
mod tcp {
    pub(super) const LEVEL: i32 = 6;
    pub(super) const NODELAY: i32 = 1;
    pub(super) const MAXSEG: i32 = 2;
    pub(super) const CORK: i32 = 3;
    pub(super) const KEEPIDLE: i32 = 4;
    pub(super) const KEEPINTVL: i32 = 5;
    pub(super) const KEEPCNT: i32 = 6;
    pub(super) const SYNCNT: i32 = 7;
    pub(super) const INFO: i32 = 11;
    pub(super) const QUICKACK: i32 = 12;
    pub(super) const CONGESTION: i32 = 13;
    pub(super) const USER_TIMEOUT: i32 = 18;
    pub(super) const FASTOPEN: i32 = 23;
    pub(super) const FASTOPEN_CONNECT: i32 = 30;
    pub(super) const IS_MPTCP: i32 = 43;
}

/// What `TCP_CONGESTION` calls the algorithm.
const CONGESTION_NAME: &[u8; 16] = b"reno\0\0\0\0\0\0\0\0\0\0\0\0";

fn seconds(value: i32) -> Result<Duration, Errno> {
    const MOST: i32 = 32_767;
    if (1..=MOST).contains(&value) {
        Ok(Duration::from_secs(u64::from(value.cast_unsigned())))
    } else {
        Err(Errno::EINVAL)
    }
}

/// Sets an option of TCP.
pub(crate) fn set(socket: &SocketFile, name: i32, value: &Value<'_>) -> Result<(), Errno> {
    let Kind::Tcp(target) = &socket.kind else { return Err(Errno::ENOPROTOOPT) };
    if name == tcp::CONGESTION {
        // One algorithm; asking for it by name is no error.
        let name: [u8; 4] = value.array()?;
        return if &name == b"reno" { Ok(()) } else { Err(Errno::ENOENT) };
    }
    let number = value.int()?;
    let change: &dyn Fn(&mut TcpOptions) = match name {
        tcp::NODELAY => &|options| options.no_delay = number != 0,
        tcp::CORK => &|options| options.cork = number != 0,
        tcp::QUICKACK => {
            keep(socket, tcp::LEVEL, name, i32::from(number != 0))?;
            &|options| options.quick_ack = number != 0
        }
        // As Linux with net.ipv4.tcp_fastopen = 0: a listener may have a queue that nobody uses,
        // a client may not ask.
        tcp::FASTOPEN if number >= 0 && target.info().is_none_or(|info| !info.is_open()) => {
            return keep(socket, tcp::LEVEL, name, number.min(SOMAXCONN as i32));
        }
        tcp::FASTOPEN => return Err(Errno::EINVAL),
        tcp::FASTOPEN_CONNECT if !(0..=1).contains(&number) => return Err(Errno::EINVAL),
        tcp::FASTOPEN_CONNECT => return Err(Errno::EOPNOTSUPP),
        tcp::KEEPIDLE => {
            let time = seconds(number)?;
            return apply(socket, |options| options.keep_idle = time);
        }
        tcp::KEEPINTVL => {
            let time = seconds(number)?;
            return apply(socket, |options| options.keep_interval = time);
        }
        tcp::KEEPCNT if (1..=127).contains(&number) => {
            &|options| options.keep_count = number.cast_unsigned()
        }
        tcp::USER_TIMEOUT if number >= 0 => &|options| {
            let limit = Duration::from_millis(u64::from(number.cast_unsigned()));
            options.user_timeout = (number > 0).then_some(limit);
        },
        tcp::SYNCNT if (1..=127).contains(&number) => {
            &|options| options.syn_retries = number.cast_unsigned()
        }
        tcp::KEEPCNT | tcp::SYNCNT | tcp::USER_TIMEOUT => return Err(Errno::EINVAL),
        _ => return table::set(socket, tcp::LEVEL, name, number, value),
    };
    target.set_options(change);
    Ok(())
}

/// An option of TCP.
pub(crate) fn get(socket: &SocketFile, name: i32) -> Result<Vec<u8>, Errno> {
    let Kind::Tcp(target) = &socket.kind else { return Err(wrong_level(socket)) };
    if name == tcp::IS_MPTCP {
        return Ok(truth(target.multipath().is_some()));
    }
    let options = target.options();
    let number = |value: u64| int(i32::try_from(value).unwrap_or(i32::MAX));
    Ok(match name {
        tcp::NODELAY => truth(options.no_delay),
        tcp::CORK => truth(options.cork),
        tcp::KEEPIDLE => number(options.keep_idle.as_secs()),
        tcp::KEEPINTVL => number(options.keep_interval.as_secs()),
        tcp::KEEPCNT => number(u64::from(options.keep_count)),
        tcp::SYNCNT => number(u64::from(options.syn_retries)),
        tcp::USER_TIMEOUT => number(options.user_timeout.unwrap_or_default().as_millis() as u64),
        tcp::MAXSEG => int(tcp_info::segment(target, kept(socket, tcp::LEVEL, name))),
        tcp::CONGESTION => CONGESTION_NAME.to_vec(),
        tcp::INFO => tcp_info::bytes(target),
        _ => table::get(socket, tcp::LEVEL, name)?,
    })
}
