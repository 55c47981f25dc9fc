//! QEMU's configuration device: items by number, files by name (QEMU: docs/specs/fw_cfg.rst). What it
//! says is the host's, and not trusted.

/// The device, as its two ports are used.
pub(crate) trait Device {
    /// Selects an item, from its first byte on.
    fn select(&mut self, item: u16);
    /// The item's next bytes; zeros after its end.
    fn read(&mut self, into: &mut [u8]);
}

const SIGNATURE: u16 = 0;
const PROCESSORS: u16 = 5;
const DIRECTORY: u16 = 0x19;
/// More files than QEMU ever has: a device that says otherwise is none.
const MOST_FILES: u32 = 1024;

/// An item of that many bytes.
fn item<const N: usize>(device: &mut impl Device, number: u16) -> [u8; N] {
    let mut bytes = [0; N];
    device.select(number);
    device.read(&mut bytes);
    bytes
}

fn is_there(device: &mut impl Device) -> bool {
    item(device, SIGNATURE) == *b"QEMU"
}

/// `-smp`. `None`: there is no such device.
pub(crate) fn processors(device: &mut impl Device) -> Option<u16> {
    is_there(device).then(|| u16::from_le_bytes(item(device, PROCESSORS)))
}

/// Reads the beginning of a file, as much as there is room for. `None`: there is no such file.
pub(crate) fn read_file<'a>(
    device: &mut impl Device,
    name: &str,
    into: &'a mut [u8],
) -> Option<&'a [u8]> {
    const NAME_BYTES: usize = 56;
    if !is_there(device) {
        return None;
    }
    let count = u32::from_be_bytes(item(device, DIRECTORY));
    for _ in 0..count.min(MOST_FILES) {
        // Size, number, two bytes for nothing; then the name.
        let (mut numbers, mut found) = ([0; 8], [0; NAME_BYTES]);
        device.read(&mut numbers);
        device.read(&mut found);
        let [size @ .., high, low, _, _] = numbers;
        let is_it =
            found.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0));
        if is_it {
            let size = usize::try_from(u32::from_be_bytes(size)).ok()?.min(into.len());
            let into = into.get_mut(..size)?;
            device.select(u16::from_be_bytes([high, low]));
            device.read(into);
            return Some(into);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files by name and content, from number 0x20 on.
    struct Model {
        signature: [u8; 4],
        count: u32,
        files: Vec<(&'static str, &'static [u8])>,
        selected: Vec<u8>,
    }

    impl Model {
        fn new() -> Self {
            let files = vec![
                ("etc/pvpanic-port", &b"\x05\x05"[..]),
                ("opt/eggos/cmdline2", b"wrong"),
                ("opt/eggos/cmdline", b"eggos.verbose"),
            ];
            Self { signature: *b"QEMU", count: 3, files, selected: Vec::new() }
        }
    }

    impl Device for Model {
        fn select(&mut self, item: u16) {
            let mut bytes = match item {
                SIGNATURE => self.signature.to_vec(),
                PROCESSORS => vec![7, 0],
                DIRECTORY => {
                    let mut bytes = self.count.to_be_bytes().to_vec();
                    for (at, (name, content)) in self.files.iter().enumerate() {
                        bytes.extend((content.len() as u32).to_be_bytes());
                        bytes.extend((0x20 + at as u16).to_be_bytes());
                        bytes.extend([0; 2]);
                        bytes.extend(name.bytes().chain([0; 56]).take(56));
                    }
                    bytes
                }
                number => self.files[usize::from(number) - 0x20].1.to_vec(),
            };
            bytes.reverse();
            self.selected = bytes;
        }

        fn read(&mut self, into: &mut [u8]) {
            into.fill_with(|| self.selected.pop().unwrap_or(0));
        }
    }

    #[test]
    fn files_are_found_by_their_whole_name() {
        let mut device = Model::new();
        let mut room = [0; 64];
        let mut read = |name: &str| read_file(&mut device, name, &mut room).map(<[u8]>::to_vec);
        assert_eq!(read("opt/eggos/cmdline").as_deref(), Some(&b"eggos.verbose"[..]));
        assert_eq!(read("etc/pvpanic-port").as_deref(), Some(&[5, 5][..]));
        assert_eq!(read("opt/eggos/cmd"), None);
        assert_eq!(read("opt/eggos/cmdline3"), None);
        assert_eq!(processors(&mut device), Some(7));
    }

    #[test]
    fn there_is_no_more_than_there_is_room_for() {
        let mut room = [0; 5];
        let read = read_file(&mut Model::new(), "opt/eggos/cmdline", &mut room);
        assert_eq!(read, Some(&b"eggos"[..]));
    }

    #[test]
    fn what_is_no_such_device_has_nothing() {
        let mut none = Model { signature: [0xff; 4], ..Model::new() };
        assert_eq!(read_file(&mut none, "opt/eggos/cmdline", &mut [0; 8]), None);
        assert_eq!(processors(&mut none), None);
        // A directory without end is read for a while only.
        let mut endless = Model { count: u32::MAX, ..Model::new() };
        assert_eq!(read_file(&mut endless, "opt/nothing", &mut [0; 8]), None);
    }
}
