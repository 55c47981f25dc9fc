use super::*;
use alloc::string::String;
use alloc::vec;

const BASE: u64 = 0x40_0000;

/// An archive page file.
struct Archive(&'static [u8]);

impl Backing for Archive {
    fn frame(&self, page: u64, _write: bool) -> Result<Frame, Errno> {
        let start = usize::try_from(page * PAGE_SIZE).map_err(|_| Errno::ENXIO)?;
        let bytes = self.0.get(start..start + PAGE_SIZE as usize).ok_or(Errno::ENXIO)?;
        Frame::of_archive(bytes).ok_or(Errno::EIO)
    }

    fn identity(&self) -> FileIdentity {
        FileIdentity { device: 1, inode: 2 }
    }

    fn name(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("/app")
    }
}

/// A program of one page of code and one page of data, half of it zeros.
fn program() -> &'static [u8] {
    let mut file = vec![0x90_u8; 0x2000];
    file[..64].fill(0);
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(16, &[2, 0, 62, 0, 1]);
    put(24, &(BASE + 0x200).to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(54, &[56, 0, 2, 0]);
    for (index, flags, offset, bytes, memory) in
        [(0, 5_u32, 0_u64, 0x1000_u64, 0x1000_u64), (1, 6, 0x1000, 0x800, 0x3000)]
    {
        let at = 64 + index * 56;
        put(at, &1_u32.to_le_bytes());
        put(at + 4, &flags.to_le_bytes());
        let longs = [offset, BASE + offset, BASE + offset, bytes, memory, 0x1000];
        for (number, long) in longs.into_iter().enumerate() {
            put(at + 8 + number * 8, &long.to_le_bytes());
        }
    }
    vec::Vec::leak(file)
}

fn start<'a>(file: &'static [u8], backing: &'a Arc<dyn Backing>) -> Start<'a> {
    Start {
        file,
        backing,
        path: b"/app",
        arguments: &[b"app", b"-v"],
        environment: &[b"HOME=/root"],
        random: [1; 16],
        hardware_capabilities: 0,
        hardware_capabilities_2: 0,
    }
}

#[test]
fn a_program_is_loaded_as_its_file_says() {
    hal::sim::reset(1, 1024);
    let memory = Mm::new(99).unwrap();
    let file = program();
    let backing: Arc<dyn Backing> = Arc::new(Archive(file));
    let loaded = load(&memory, &start(file, &backing)).unwrap();
    let registers = &loaded.user.registers;
    assert_eq!(registers.rip, BASE + 0x200);
    assert_eq!(registers.rsp % 16, 0);
    assert_eq!(memory.read::<u64>(UserAddr(registers.rsp)), Ok(2));
    assert_eq!(memory.read::<u8>(UserAddr(BASE + 0x200)), Ok(0x90));
    assert_eq!(memory.read::<u8>(UserAddr(BASE + 0x17ff)), Ok(0x90));
    assert_eq!(memory.read::<u8>(UserAddr(BASE + 0x1800)), Ok(0));
    assert_eq!(memory.read::<u8>(UserAddr(BASE + 0x3fff)), Ok(0));
    assert_eq!(memory.write(UserAddr(BASE), &1_u8), Err(Errno::EFAULT));
    assert_eq!(memory.brk(UserAddr(0)), UserAddr(BASE + 0x4000));
    let mut maps = String::new();
    memory.maps(&mut maps).unwrap();
    for name in ["/app", "[stack]", "[vvar]", "[vdso]"] {
        assert!(maps.contains(name), "{name} is missing:\n{maps}");
    }
    // AT_SYSINFO_EHDR leads to an ELF image.
    let vdso = loaded.auxiliary_vector.chunks_exact(16).find(|entry| entry[0] == 33).unwrap();
    let at = u64::from_le_bytes(vdso[8..].try_into().unwrap());
    assert_eq!(memory.read::<[u8; 4]>(UserAddr(at)), Ok(*b"\x7fELF"));
    assert_eq!(memory.write(UserAddr(at), &1_u8), Err(Errno::EFAULT));
}

#[test]
fn what_cannot_start_says_why() {
    hal::sim::reset(1, 1024);
    let memory = Mm::new(99).unwrap();
    let file = program();
    let backing: Arc<dyn Backing> = Arc::new(Archive(file));
    let script = Start { file: b"#!/bin/sh", ..start(file, &backing) };
    let error = load(&memory, &script).err();
    assert_eq!(error, Some(StartError::Load(LoadError::NotElf { is: Some("a script") })));
    let long = vec![b'x'; 200_000];
    let many = [long.as_slice()];
    let long = Start { arguments: &many, ..start(file, &backing) };
    assert_eq!(load(&memory, &long).err(), Some(StartError::ArgumentsTooLong));
    drop(memory);
    hal::sim::reset(1, 3);
    let small = Mm::new(99).unwrap();
    assert_eq!(load(&small, &start(file, &backing)).err(), Some(StartError::OutOfMemory));
}
