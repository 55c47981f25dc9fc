//! The generic family: others are looked up in it by their names. None is there but the one that looks up.
//!
//! Source: genetlink's documentation in Linux (userspace-api/netlink), `net/netlink/genetlink.c`.

use super::message::{Answered, Reply, Request, attribute, kind};
use base::Errno;

/// The type of messages of the family that looks up others (`GENL_ID_CTRL`).
const CONTROL: u16 = 16;
const NAME: &[u8] = b"nlctrl\0";

/// Commands of it.
mod command {
    pub(super) const NEW_FAMILY: u8 = 1;
    pub(super) const GET_FAMILY: u8 = 3;
}

/// Attributes of a family.
mod of_family {
    pub(super) const ID: u16 = 1;
    pub(super) const NAME: u16 = 2;
    pub(super) const VERSION: u16 = 3;
    pub(super) const HEADER_BYTES: u16 = 4;
    pub(super) const MOST_ATTRIBUTES: u16 = 5;
    pub(super) const OPERATIONS: u16 = 6;
    pub(super) const GROUPS: u16 = 7;
}

/// What `struct genlmsghdr` takes before the attributes, in bytes.
const FAMILY_HEADER_BYTES: usize = 4;

/// Answers a request.
///
/// # Errors
/// `ENOENT`: there is no such family. `EINVAL`: cut short, or no family is named. `EOPNOTSUPP`.
pub(super) fn answer(request: &Request<'_>, reply: &mut Reply) -> Result<Answered, Errno> {
    if request.kind != CONTROL {
        return Err(Errno::ENOENT);
    }
    let body = request.body();
    let (header, attributes) =
        body.split_first_chunk::<FAMILY_HEADER_BYTES>().ok_or(Errno::EINVAL)?;
    let [command, ..] = header;
    if *command != command::GET_FAMILY {
        return Err(Errno::EOPNOTSUPP);
    }
    if request.is_dump() {
        control_family(reply, kind::FLAG_MULTI);
        return Ok(Answered::Dump);
    }
    let by_id = attribute(attributes, of_family::ID);
    let by_name = attribute(attributes, of_family::NAME);
    let found = match (by_id.and_then(<[u8]>::first_chunk), by_name) {
        (Some(id), _) => u16::from_ne_bytes(*id) == CONTROL,
        (None, Some(name)) => {
            name.split(|byte| *byte == 0).next() == NAME.split_last().map(|row| row.1)
        }
        (None, None) => return Err(Errno::EINVAL),
    };
    if !found {
        return Err(Errno::ENOENT);
    }
    control_family(reply, 0);
    Ok(Answered::Request)
}

/// The family that looks up others, as it tells of itself.
fn control_family(reply: &mut Reply, flags: u16) {
    const VERSION: u32 = 2;
    const MOST: u32 = 10;
    // One operation, by number and what may be done with it: ask for one family, or for all.
    const OPERATIONS: [u32; 5] = [20 | 1 << 16, 8 | 1 << 16, 3, 8 | 2 << 16, 0xe];
    // One group: "notify", number 16.
    const GROUPS: [u32; 6] = [
        24 | 1 << 16,
        8 | 2 << 16,
        16,
        11 | 1 << 16,
        u32::from_ne_bytes(*b"noti"),
        u32::from_ne_bytes(*b"fy\0\0"),
    ];
    let operations = OPERATIONS.map(u32::to_ne_bytes);
    let groups = GROUPS.map(u32::to_ne_bytes);
    reply.add(
        CONTROL,
        flags,
        &[command::NEW_FAMILY, VERSION as u8, 0, 0],
        &[
            (of_family::NAME, NAME),
            (of_family::ID, &CONTROL.to_ne_bytes()),
            (of_family::VERSION, &VERSION.to_ne_bytes()),
            (of_family::HEADER_BYTES, &0_u32.to_ne_bytes()),
            (of_family::MOST_ATTRIBUTES, &MOST.to_ne_bytes()),
            (of_family::OPERATIONS, operations.as_flattened()),
            (of_family::GROUPS, groups.as_flattened()),
        ],
    );
}
