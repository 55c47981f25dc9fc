//! Raw sockets.

use crate::engine::Core;
use crate::route::LinkId;
use crate::wire::Packet;

/// All raw sockets.
#[derive(Default)]
pub(crate) struct Raw {}

impl Core {
    /// Shows a packet to the raw sockets that want it.
    pub(crate) fn raw_input(&mut self, _link: LinkId, _packet: &Packet<'_>) {}
}
