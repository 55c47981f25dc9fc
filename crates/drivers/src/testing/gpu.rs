//! What a display device (virtio 1.2, 5.7) does with requests.

use base::PhysAddr;
use hal::sim::dma_read;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

/// How it answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// As it should.
    Good,
    /// With an error to the request of this kind.
    Refuse(u32),
    /// With so many bytes fewer than it should.
    Short(usize),
    /// Claiming to have written so many bytes.
    Claim(u32),
}

/// The display, its picture, and what it was asked.
pub(crate) struct Gpu {
    pub(crate) manner: Manner,
    /// Size of the first display, and whether it is there; of the second one.
    pub(crate) displays: [(u32, u32, u32); 2],
    /// Kinds of the requests.
    pub(crate) asked: Vec<u32>,
    /// Pictures by number.
    pub(crate) resources: BTreeMap<u32, Resource>,
    /// The picture that is seen, and on which display.
    shown: u32,
    pub(crate) scanout: Option<u32>,
    kind: u32,
}

/// A picture.
pub(crate) struct Resource {
    /// Width and height.
    pub(crate) size: (u32, u32),
    backing: Vec<(u64, u32)>,
    /// The device's copy of it, and what is seen of that.
    host: Vec<u32>,
    seen: Vec<u32>,
}

impl Default for Gpu {
    fn default() -> Self {
        Self {
            manner: Manner::Good,
            displays: [(640, 400, 1), (0, 0, 0)],
            asked: Vec::new(),
            resources: BTreeMap::new(),
            shown: 0,
            scanout: None,
            kind: 0,
        }
    }
}

const OK: u32 = 0x1100;
const INVALID: u32 = 0x1203;

impl Resource {
    /// Loads from the backing memory.
    fn load(&self, offset: u64) -> u32 {
        let (mut offset, mut bytes) = (offset, [0; 4]);
        for (address, length) in &self.backing {
            match offset.checked_sub(u64::from(*length)) {
                Some(rest) => offset = rest,
                None => {
                    assert!(dma_read(PhysAddr(address + offset), &mut bytes), "outside of memory");
                    return u32::from_le_bytes(bytes);
                }
            }
        }
        panic!("behind the backing memory");
    }

    fn take(&mut self, [x, y, width, height]: [u32; 4], offset: u64) {
        assert!(x + width <= self.size.0 && y + height <= self.size.1);
        for row in 0..height {
            for column in 0..width {
                let from = offset + u64::from(row * self.size.0 + column) * 4;
                self.host[((y + row) * self.size.0 + x + column) as usize] = self.load(from);
            }
        }
    }

    fn show(&mut self, [x, y, width, height]: [u32; 4]) {
        for row in y..y + height {
            let row = (row * self.size.0) as usize;
            let part = row + x as usize..row + (x + width) as usize;
            self.seen[part.clone()].copy_from_slice(&self.host[part]);
        }
    }
}

impl Gpu {
    /// A pixel of the picture that is seen.
    pub(crate) fn pixel(&self, x: u32, y: u32) -> u32 {
        let resource = &self.resources[&self.shown];
        resource.seen[(y * resource.size.0 + x) as usize]
    }

    /// The size of the picture that is seen.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.resources[&self.shown].size
    }

    pub(crate) fn answer(&mut self, request: &[u8]) -> Vec<u8> {
        let words: Vec<u32> =
            request.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words[1..6], [0; 5], "no fence, no context");
        self.kind = words[0];
        self.asked.push(self.kind);
        let fields = &words[6..];
        let mut answer = vec![0; 24];
        let mut result = OK;
        if self.manner == Manner::Refuse(self.kind) {
            return answer;
        }
        match (self.kind, fields) {
            (0x100, []) => {
                result = OK + 1;
                answer.resize(24 + 16 * 24, 0);
                for (at, (width, height, there)) in self.displays.into_iter().enumerate() {
                    for (field, value) in [(2, width), (3, height), (4, there)] {
                        answer[24 + 24 * at + 4 * field..][..4]
                            .copy_from_slice(&u32::to_le_bytes(value));
                    }
                }
            }
            (0x101, &[number, 2, width, height]) if number != 0 => {
                let host = vec![0x11_1111; (width * height) as usize];
                let (size, seen) = ((width, height), host.clone());
                let fresh = Resource { size, backing: Vec::new(), host, seen };
                assert!(self.resources.insert(number, fresh).is_none(), "there already");
            }
            (0x102, &[number, 0]) => {
                assert_ne!(number, self.shown, "it is seen");
                assert!(self.resources.remove(&number).is_some());
            }
            (0x106, &[number, count, ref entries @ ..]) => {
                let resource = self.resources.get_mut(&number).unwrap();
                assert_eq!(entries.len(), 4 * count as usize);
                let entry =
                    |entry: &[u32]| (u64::from(entry[1]) << 32 | u64::from(entry[0]), entry[2]);
                resource.backing = entries.chunks(4).map(entry).collect();
                let bytes: u32 = resource.backing.iter().map(|entry| entry.1).sum();
                assert_eq!(bytes, resource.size.0 * resource.size.1 * 4);
            }
            (0x103, &[0, 0, width, height, scanout, number]) => {
                assert_eq!((width, height), self.resources[&number].size);
                (self.scanout, self.shown) = (Some(scanout), number);
            }
            (0x105, &[x, y, width, height, low, high, number, 0]) => {
                let offset = u64::from(high) << 32 | u64::from(low);
                self.resources.get_mut(&number).unwrap().take([x, y, width, height], offset);
            }
            (0x104, &[x, y, width, height, number, 0]) => {
                self.resources.get_mut(&number).unwrap().show([x, y, width, height]);
            }
            _ => result = INVALID,
        }
        answer[..4].copy_from_slice(&result.to_le_bytes());
        answer
    }

    /// The answer as this device gives it, and how long it says that it is.
    pub(crate) fn bent(&self, mut answer: Vec<u8>) -> (Vec<u8>, Option<u32>) {
        match self.manner {
            Manner::Good => {}
            Manner::Refuse(kind) if kind == self.kind => {
                answer[..4].copy_from_slice(&0x1200_u32.to_le_bytes());
                answer.truncate(24);
            }
            Manner::Refuse(_) => {}
            Manner::Short(bytes) => answer.truncate(answer.len() - bytes),
            Manner::Claim(bytes) => return (answer, Some(bytes)),
        }
        (answer, None)
    }
}
