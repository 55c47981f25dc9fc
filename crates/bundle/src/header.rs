//! The `newc` header: 110 bytes of ASCII, numbers in eight hexadecimal digits (cpio(5)).

/// Length of a header in bytes.
pub(crate) const HEADER_LENGTH: usize = 110;
/// The first bytes of every header.
pub(crate) const MAGIC: &[u8; 6] = b"070701";
/// The name of the entry that ends an archive.
pub(crate) const TRAILER: &[u8] = b"TRAILER!!!";
/// Headers and data start at multiples of this.
pub(crate) const ALIGNMENT: usize = 4;
/// Data of files at least this long starts at a multiple of this.
pub(crate) const PAGE: usize = base::PAGE_SIZE as usize;

const KIND_MASK: u32 = 0o170_000;
const FIFO: u32 = 0o010_000;
const CHARACTER_DEVICE: u32 = 0o020_000;
const DIRECTORY: u32 = 0o040_000;
const BLOCK_DEVICE: u32 = 0o060_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory; no data.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link; its data is the target, without a NUL.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharacterDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

impl Kind {
    pub(crate) const fn mode_bits(self) -> u32 {
        match self {
            Self::Directory => DIRECTORY,
            Self::File => FILE,
            Self::Symlink => SYMLINK,
            Self::Fifo => FIFO,
            Self::CharacterDevice { .. } => CHARACTER_DEVICE,
            Self::BlockDevice { .. } => BLOCK_DEVICE,
        }
    }

    const fn device(self) -> (u32, u32) {
        match self {
            Self::CharacterDevice { major, minor } | Self::BlockDevice { major, minor } => {
                (major, minor)
            }
            Self::Directory | Self::File | Self::Symlink | Self::Fifo => (0, 0),
        }
    }

    pub(crate) const fn from_mode(mode: u32, major: u32, minor: u32) -> Option<Self> {
        Some(match mode & KIND_MASK {
            FIFO => Self::Fifo,
            CHARACTER_DEVICE => Self::CharacterDevice { major, minor },
            DIRECTORY => Self::Directory,
            BLOCK_DEVICE => Self::BlockDevice { major, minor },
            FILE => Self::File,
            SYMLINK => Self::Symlink,
            _ => return None,
        })
    }
}

/// Owner, permissions and time of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// Permission bits with set-id and sticky bits, without the kind: at most `0o7777`.
    pub permissions: u16,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last change, in seconds since the epoch.
    pub modified: u32,
}

impl Metadata {
    /// Owned by root, time 0: what generated entries have, so that images are reproducible.
    #[must_use]
    pub const fn root(permissions: u16) -> Self {
        Self { permissions, uid: 0, gid: 0, modified: 0 }
    }
}

/// The decoded fields that matter to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) inode: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) modified: u32,
    pub(crate) data_length: u32,
    pub(crate) device: (u32, u32),
    /// With the closing NUL and the padding.
    pub(crate) name_length: u32,
}

impl Header {
    pub(crate) fn new(kind: Kind, metadata: Metadata, inode: u32) -> Self {
        Self {
            inode,
            mode: kind.mode_bits() | u32::from(metadata.permissions & 0o7777),
            uid: metadata.uid,
            gid: metadata.gid,
            modified: metadata.modified,
            data_length: 0,
            device: kind.device(),
            name_length: 0,
        }
    }

    /// The fields in the order of the format, the magic left out.
    fn fields(&self) -> [u32; 13] {
        let links = if self.mode & KIND_MASK == DIRECTORY { 2 } else { 1 };
        [
            self.inode,
            self.mode,
            self.uid,
            self.gid,
            links,
            self.modified,
            self.data_length,
            0,
            0,
            self.device.0,
            self.device.1,
            self.name_length,
            0,
        ]
    }

    pub(crate) fn encode(&self) -> [u8; HEADER_LENGTH] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bytes = [b'0'; HEADER_LENGTH];
        let (magic, numbers) = bytes.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        for (field, digits) in self.fields().into_iter().zip(numbers.chunks_exact_mut(8)) {
            for (index, digit) in digits.iter_mut().rev().enumerate() {
                let nibble = (field >> (4 * index)) & 15;
                *digit = DIGITS.get(nibble as usize).copied().unwrap_or(b'0');
            }
        }
        bytes
    }

    /// `None` when a field is not hexadecimal. The magic is checked by the caller.
    pub(crate) fn decode(bytes: &[u8; HEADER_LENGTH]) -> Option<Self> {
        let mut fields = [0_u32; 13];
        let numbers = bytes.get(MAGIC.len()..)?;
        for (field, digits) in fields.iter_mut().zip(numbers.chunks_exact(8)) {
            for &digit in digits {
                *field = *field << 4 | char::from(digit).to_digit(16)?;
            }
        }
        let [inode, mode, uid, gid, _links, modified, data_length, .., major, minor, name, _check] =
            fields;
        Some(Self {
            inode,
            mode,
            uid,
            gid,
            modified,
            data_length,
            device: (major, minor),
            name_length: name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_as_it_was() {
        let kind = Kind::CharacterDevice { major: 1, minor: 0xabcd_ef01 };
        let metadata = Metadata { permissions: 0o4755, uid: 1, gid: u32::MAX, modified: 7 };
        let mut header = Header::new(kind, metadata, 42);
        header.data_length = 0x1234_5678;
        header.name_length = 9;
        assert_eq!(Header::decode(&header.encode()), Some(header));
        assert_eq!(&header.encode()[54..62], b"12345678");
    }

    #[test]
    fn a_digit_that_is_none_is_refused() {
        let mut bytes = Header::new(Kind::File, Metadata::root(0o644), 1).encode();
        bytes[20] = b'x';
        assert_eq!(Header::decode(&bytes), None);
    }
}
