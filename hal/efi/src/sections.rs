//! The sections of a PE image in memory (PE format specification, "Section Table").

use crate::number;

/// Name of the section with the kernel, an ELF file.
pub const KERNEL: &[u8; 8] = b".kernel\0";
/// Name of the section with the archive.
pub const ARCHIVE: &[u8; 8] = b".initrd\0";

/// The contents of the section `name` of an image that lies in memory as it was loaded: where its
/// virtual address says, with its virtual size.
#[must_use]
pub fn find<'a>(image: &'a [u8], name: &[u8; 8]) -> Option<&'a [u8]> {
    const HEADER_OFFSET: usize = 0x3c;
    const ROW: usize = 40;
    let header = usize::try_from(number::<4>(image, HEADER_OFFSET)?).ok()?;
    if image.get(header..header.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let count = usize::try_from(number::<2>(image, header + 6)?).ok()?;
    let optional = usize::try_from(number::<2>(image, header + 20)?).ok()?;
    let table = image.get(header + 24 + optional..)?;
    let row = table.chunks_exact(ROW).take(count).find(|row| row.starts_with(name))?;
    let bytes = usize::try_from(number::<4>(row, 8)?).ok()?;
    let start = usize::try_from(number::<4>(row, 12)?).ok()?;
    image.get(start..start.checked_add(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn image() -> Vec<u8> {
        let mut image = vec![0; 0x3000];
        image[0x3c] = 0x80;
        image[0x80..0x84].copy_from_slice(b"PE\0\0");
        image[0x86] = 2;
        image[0x94] = 0xf0;
        for (n, (name, start)) in
            [(b".text\0\0\0", 0x1000_u32), (ARCHIVE, 0x2000)].iter().enumerate()
        {
            let row = 0x80 + 24 + 0xf0 + 40 * n;
            image[row..row + 8].copy_from_slice(*name);
            image[row + 8..row + 12].copy_from_slice(&5_u32.to_le_bytes());
            image[row + 12..row + 16].copy_from_slice(&start.to_le_bytes());
        }
        image[0x2000..0x2005].copy_from_slice(b"inner");
        image
    }

    #[test]
    fn a_section_is_found_by_its_name() {
        assert_eq!(find(&image(), ARCHIVE), Some(&b"inner"[..]));
        assert_eq!(find(&image(), KERNEL), None);
        assert_eq!(find(&image()[..0x2004], ARCHIVE), None);
    }

    proptest! {
        #[test]
        fn damage_never_panics(changes in proptest::collection::vec((0..0x200_usize, any::<u8>()), 1..9)) {
            let mut image = image();
            for (at, byte) in changes {
                image[at] = byte;
            }
            let _ = find(&image, ARCHIVE);
        }
    }
}
