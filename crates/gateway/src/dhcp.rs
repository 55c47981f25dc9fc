//! A DHCP server for one client (RFC 2131).

use crate::addresses::{GATEWAY, GUEST, MASK, RESOLVER};
use smoltcp::wire::{DhcpMessageType, DhcpPacket, DhcpRepr};
use std::net::Ipv4Addr;

pub(crate) const SERVER_PORT: u16 = 67;
pub(crate) const CLIENT_PORT: u16 = 68;
/// Longer than any machine of this kind lives.
const LEASE_SECONDS: u32 = 30 * 86400;

/// The answer to a message of the client. `None`: it wants none.
pub(crate) fn answer(request: &[u8]) -> Option<Vec<u8>> {
    let packet = DhcpPacket::new_checked(request).ok()?;
    let request = DhcpRepr::parse(&packet).ok()?;
    let message_type = match request.message_type {
        DhcpMessageType::Discover => DhcpMessageType::Offer,
        DhcpMessageType::Request if asks_for_ours(&request) => DhcpMessageType::Ack,
        DhcpMessageType::Request => DhcpMessageType::Nak,
        _ => return None,
    };
    let granted = message_type != DhcpMessageType::Nak;
    let reply = DhcpRepr {
        message_type,
        secs: 0,
        client_ip: Ipv4Addr::UNSPECIFIED,
        your_ip: if granted { GUEST } else { Ipv4Addr::UNSPECIFIED },
        server_ip: GATEWAY,
        router: granted.then_some(GATEWAY),
        subnet_mask: granted.then_some(MASK),
        requested_ip: None,
        client_identifier: None,
        server_identifier: Some(GATEWAY),
        parameter_request_list: None,
        dns_servers: granted.then(|| [RESOLVER].into_iter().collect()),
        max_size: None,
        lease_duration: granted.then_some(LEASE_SECONDS),
        renew_duration: None,
        rebind_duration: None,
        additional_options: &[],
        ..request
    };
    let mut bytes = vec![0; reply.buffer_len()];
    reply.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).ok()?;
    Some(bytes)
}

/// The client asks for the address that it gets here, or keeps it.
fn asks_for_ours(request: &DhcpRepr<'_>) -> bool {
    request.requested_ip.unwrap_or(request.client_ip) == GUEST
}
