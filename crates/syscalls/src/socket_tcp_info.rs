//! `struct tcp_info`, and the size of segments.

use alloc::vec::Vec;
use net::{TcpDetails, TcpSocket, TcpState};

/// Length of `struct tcp_info` as Linux 6.6 has it, in units of 4 bytes.
const INFO_WORDS: usize = 62;
/// Largest segment that is told when nothing is known of the path, in bytes.
const SEGMENT_UNKNOWN: i32 = 536;
/// A threshold of slow start that is not reached: nothing was lost (`TCP_INFINITE_SSTHRESH`).
const NO_THRESHOLD: u32 = 0x7fff_ffff;

/// `TCP_MAXSEG`: bytes of data in the largest segment. `asked`: what the program set, 0 for nothing.
pub(crate) fn segment(socket: &TcpSocket, asked: i32) -> i32 {
    match socket.details() {
        None if asked > 0 => asked,
        None => SEGMENT_UNKNOWN,
        Some(details) => {
            let path = i32::try_from(details.segment).unwrap_or(i32::MAX);
            if asked > 0 { path.min(asked) } else { path }
        }
    }
}

/// `TCP_INFO`. What is not known is 0.
#[cold]
#[inline(never)]
pub(crate) fn bytes(socket: &TcpSocket) -> Vec<u8> {
    let mut words = [0; INFO_WORDS];
    if let Some(info) = socket.info() {
        words[0] = info.state as u32;
        if info.state == TcpState::Listen {
            // Connections to accept, and how many there may be.
            words[6] = info.receive_queue as u32;
            words[7] = info.send_queue as u32;
        }
    }
    if let Some(details) = socket.details() {
        connection(&mut words, &details);
    }
    words.map(u32::to_ne_bytes).as_flattened().to_vec()
}

fn connection(words: &mut [u32; INFO_WORDS], details: &TcpDetails) {
    let segment = details.segment.max(1);
    // Keep-alive probes are the fourth byte.
    words[0] |= details.probes << 24;
    words[2] = details.patience;
    (words[4], words[5], words[21]) = (segment, segment, segment);
    words[6] = details.in_flight.div_ceil(segment);
    words[11] = details.since.0;
    (words[13], words[14]) = (details.since.1, details.since.1);
    words[15] = details.mtu;
    (words[17], words[18]) = details.round_trip;
    if !details.has_lost {
        // Until something is lost the buffer is the limit.
        (words[19], words[20]) = (NO_THRESHOLD, details.send_buffer / segment);
    }
    words[25] = details.segments_again;
    (words[30], words[31]) = halves(details.acknowledged);
    (words[32], words[33]) = halves(details.received);
    (words[34], words[35]) = (details.segments_sent, details.segments_received);
    words[36] = details.unsent;
    (words[50], words[51]) = halves(details.sent);
}

fn halves(long: u64) -> (u32, u32) {
    (long as u32, (long >> 32) as u32)
}
