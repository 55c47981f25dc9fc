//! What ACPI's tables say: which processors there are (MADT; on machines without ACPI QEMU's
//! configuration device tells), and where the power button is (FADT). Read while the boot page
//! tables are in use, which map all that firmware puts below 4 GiB; nothing in it is trusted.

use super::super::{fw_cfg, ioapic, pci, power, references};
use super::information::read_at;
use crate::acpi;
use core::fmt::Arguments;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// As many processors as are ever started.
pub(in super::super) const MAX_PROCESSORS: usize = base::CpuId::COUNT_MAX;

static APIC_IDS: [AtomicU32; MAX_PROCESSORS] = [const { AtomicU32::new(0) }; MAX_PROCESSORS];
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Signature (low half) and length of the tables that were found, for people to see; 0: no more.
static TABLES: [AtomicU64; 32] = [const { AtomicU64::new(0) }; 32];

/// How many lines the PC's old interrupt controllers have.
pub(in super::super) const OLD_LINES: usize = 16;
/// For each of them: the line of the I/O APICs, and these marks; 0 when nothing is said about it.
static LINES: [AtomicU32; OLD_LINES] = [const { AtomicU32::new(0) }; OLD_LINES];
const TOLD: u32 = 1 << 31;
const ACTIVE_HIGH: u32 = 1 << 30;

/// The local APIC ids of the processors that can be started, the boot processor among them.
pub(in super::super) fn apic_ids() -> impl Iterator<Item = u32> {
    APIC_IDS.iter().take(COUNT.load(Relaxed)).map(|id| id.load(Relaxed))
}

fn add(apic_id: u32) {
    let count = COUNT.load(Relaxed);
    if let Some(slot) = APIC_IDS.get(count) {
        slot.store(apic_id, Relaxed);
        COUNT.store(count + 1, Relaxed);
    }
}

/// Reads them. `rsdp`: physical address of ACPI's root pointer, 0: none.
pub(super) fn find(rsdp: u64) {
    for ((signature, _, length), slot) in tables(rsdp).into_iter().flatten().zip(&TABLES) {
        slot.store(u64::from(u32::from_le_bytes(signature)) | length << 32, Relaxed);
    }
    let controllers = table(rsdp, *b"APIC");
    // What stood before a part that makes no sense is taken as it is.
    let _ = controllers.and_then(read_overrides);
    if let Some(fadt) = table(rsdp, *b"FACP") {
        power_button(fadt).into_iter().for_each(power::set_button);
        acpi::reset(&bytes(fadt)).into_iter().for_each(power::set_reset);
        soft_off(fadt).into_iter().for_each(power::set_soft_off);
        acpi::timer(&bytes(fadt)).into_iter().for_each(references::set_acpi_timer);
    }
    let timers = table(rsdp, *b"HPET").and_then(|table| acpi::event_timers(&bytes(table)));
    timers.into_iter().for_each(references::set_event_timers);
    let ecam = table(rsdp, *b"MCFG").and_then(|table| acpi::ecam(&bytes(table)));
    ecam.into_iter().for_each(pci::set_ecam);
    if controllers.and_then(read_controllers).is_none() {
        COUNT.store(0, Relaxed);
    }
    if COUNT.load(Relaxed) == 0 {
        // QEMU numbers the APICs of one socket from 0.
        (0..u32::from(fw_cfg::processors().unwrap_or(0))).for_each(add);
    }
}

/// Signature and length of an ACPI table.
fn header(table: u64) -> Option<([u8; 4], u64)> {
    const HEADER_BYTES: u32 = 36;
    const LARGEST: u32 = 1 << 20;
    let signature = read_at::<u32>(table)?.to_le_bytes();
    let length = read_at::<u32>(table + 4)?;
    (HEADER_BYTES..=LARGEST).contains(&length).then_some((signature, u64::from(length)))
}

/// Says which tables were found.
pub(in super::super) fn rows(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    let found = || TABLES.iter().map(|table| table.load(Relaxed)).filter(|table| *table != 0);
    for table in found() {
        let signature = (table as u32).to_le_bytes();
        each("acpi", format_args!("{} {} bytes", signature.escape_ascii(), table >> 32));
    }
    if found().next().is_none() {
        each("acpi", format_args!("none"));
    }
}

/// A table and its length.
fn table(rsdp: u64, wanted: [u8; 4]) -> Option<(u64, u64)> {
    let (_, table, length) = tables(rsdp)?.find(|(signature, ..)| *signature == wanted)?;
    Some((table, length))
}

/// Signature, address and length of the tables that the root names. ACPI 6.5, sections 5.2.5 (RSDP),
/// 5.2.7 (RSDT), 5.2.8 (XSDT).
fn tables(rsdp: u64) -> Option<impl Iterator<Item = ([u8; 4], u64, u64)>> {
    const FIRST_ENTRY: u64 = 36;
    if read_at::<u64>(rsdp)?.to_le_bytes() != *b"RSD PTR " {
        return None;
    }
    let extended = read_at::<u8>(rsdp + 15)? >= 2;
    let (root, entry_bytes) = match extended.then(|| read_at::<u64>(rsdp + 24)).flatten() {
        Some(root) if root != 0 => (root, 8),
        _ => (u64::from(read_at::<u32>(rsdp + 16)?), 4),
    };
    let (_, length) = header(root)?;
    let entries = (FIRST_ENTRY..length).step_by(entry_bytes as usize);
    Some(entries.filter_map(move |at| {
        let table = match entry_bytes {
            8 => read_at::<u64>(root + at)?,
            _ => u64::from(read_at::<u32>(root + at)?),
        };
        let (signature, length) = header(table)?;
        Some((signature, table, length))
    }))
}

/// Calls `each` with address, type and length of the entries of the MADT (5.2.12); `None` when one
/// of them makes no sense.
fn each_controller(
    (table, length): (u64, u64),
    mut each: impl FnMut(u64, u8, u64) -> Option<()>,
) -> Option<()> {
    const FIRST_ENTRY: u64 = 44;
    let mut at = FIRST_ENTRY;
    while at + 2 <= length {
        let entry = table + at;
        let (kind, bytes) = (read_at::<u8>(entry)?, u64::from(read_at::<u8>(entry + 1)?));
        if bytes < 2 {
            return None;
        }
        each(entry, kind, bytes)?;
        at += bytes;
    }
    Some(())
}

fn read_controllers(table: (u64, u64)) -> Option<()> {
    const LOCAL_APIC: u8 = 0;
    const IO_APIC: u8 = 1;
    const LOCAL_X2APIC: u8 = 9;
    const ENABLED: u32 = 1;
    each_controller(table, |entry, kind, bytes| {
        match (kind, bytes) {
            (LOCAL_APIC, 8..) if read_at::<u32>(entry + 4)? & ENABLED != 0 => {
                add(u32::from(read_at::<u8>(entry + 3)?));
            }
            (IO_APIC, 12..) => ioapic::tell(read_at::<u32>(entry + 4)?, read_at::<u32>(entry + 8)?),
            (LOCAL_X2APIC, 16..) if read_at::<u32>(entry + 8)? & ENABLED != 0 => {
                add(read_at::<u32>(entry + 4)?);
            }
            _ => {}
        }
        Some(())
    })
}

/// A table by its bytes.
fn bytes((table, length): (u64, u64)) -> impl acpi::Table {
    move |at| if (at as u64) < length { read_at::<u8>(table + at as u64) } else { None }
}

/// How the machine is switched off. `None`: the tables do not say.
fn soft_off(fadt: (u64, u64)) -> Option<power::SoftOff> {
    let dsdt = acpi::dsdt(&bytes(fadt))?;
    let (_, length) = header(dsdt)?;
    let types = acpi::soft_off(&bytes((dsdt, length)))?;
    let controls = acpi::controls(&bytes(fadt))?;
    (controls[0] != 0).then_some(power::SoftOff { controls, types })
}

/// The fixed power button (5.2.9, 4.8.3.1): `None` when the machine has none, or another kind.
fn power_button((fadt, length): (u64, u64)) -> Option<power::Button> {
    const FLAGS: u64 = 112;
    const CONTROL_METHOD_BUTTON: u32 = 1 << 4;
    const HARDWARE_REDUCED: u32 = 1 << 20;
    if length < FLAGS + 4
        || read_at::<u32>(fadt + FLAGS)? & (CONTROL_METHOD_BUTTON | HARDWARE_REDUCED) != 0
    {
        return None;
    }
    let port = |at: u64| u16::try_from(read_at::<u32>(fadt + at)?).ok();
    let enable = u16::from(read_at::<u8>(fadt + 88)? / 2);
    let status = port(56).filter(|port| *port != 0 && enable != 0)?;
    let interrupt = read_at::<u16>(fadt + 46)?;
    // Beyond the old controllers' it is a line of the I/O APICs itself.
    let old = u8::try_from(interrupt).ok();
    let (line, active_low) = old.map_or((u32::from(interrupt), true), line_of);
    Some(power::Button {
        status,
        enable: status.checked_add(enable)?,
        control: port(64)?,
        switch: (port(48)?, read_at::<u8>(fadt + 52)?),
        line,
        active_low,
    })
}

/// Notes which lines of the I/O APICs the interrupts of the old controllers are (5.2.12.5).
fn read_overrides(controllers: (u64, u64)) -> Option<()> {
    const OVERRIDE: u8 = 2;
    const POLARITY: u16 = 3;
    const HIGH: u16 = 1;
    each_controller(controllers, |entry, kind, bytes| {
        if kind == OVERRIDE && bytes >= 10 {
            let flags = read_at::<u16>(entry + 8)?;
            let high = if flags & POLARITY == HIGH { ACTIVE_HIGH } else { 0 };
            if let Some(line) = LINES.get(usize::from(read_at::<u8>(entry + 3)?)) {
                line.store(
                    read_at::<u32>(entry + 4)? & !ACTIVE_HIGH & !TOLD | TOLD | high,
                    Relaxed,
                );
            }
        }
        Some(())
    })
}

/// Which line of the I/O APICs an interrupt of the old controllers is, and whether it is active
/// low, as the system control interrupt and those of PCI are without a word about it (5.2.9).
pub(in super::super) fn line_of(interrupt: u8) -> (u32, bool) {
    let told = LINES.get(usize::from(interrupt)).map_or(0, |line| line.load(Relaxed));
    if told & TOLD == 0 {
        return (u32::from(interrupt), true);
    }
    (told & !TOLD & !ACTIVE_HIGH, told & ACTIVE_HIGH == 0)
}
