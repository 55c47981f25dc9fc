//! Names of Unix sockets.

use alloc::boxed::Box;

/// The name of a Unix socket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum UnixName {
    /// None.
    #[default]
    Unnamed,
    /// A name outside the tree of files, without its leading zero byte.
    Abstract(Box<[u8]>),
    /// A path, as it was given to bind(2).
    Path(Box<[u8]>),
}
