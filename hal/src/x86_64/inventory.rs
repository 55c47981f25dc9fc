//! What this machine was found to be, as rows to print.

use super::boot::{map, tables};
use super::features;
use super::instructions::cpuid;
use super::{apic, calibration, console, ioapic, pci, percpu, power, wall};
use core::fmt::Arguments;

/// Calls `each` with name and text of the rows: processor, memory, tables of firmware, clocks,
/// interrupt controllers, ports.
pub fn rows(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    processor(each);
    for range in map::usable() {
        let kibibytes = (range.end - range.start) / 1024;
        each("memory", format_args!("{:#012x}..{:#012x} {kibibytes} KiB", range.start, range.end));
    }
    tables::rows(each);
    if let Some((rates, source, error)) = calibration::found() {
        let deadline = features::has(features::Feature::TscDeadline);
        let timer = if deadline { " (not used: the processor has deadlines)" } else { "" };
        each("tsc", format_args!("{} kHz, {source}", rates.tsc / 1000));
        if let Some(error) = error {
            each("measured", format_args!("within {error} millionths"));
        }
        each("apic timer", format_args!("{} kHz{timer}", rates.timer / 1000));
    }
    each("wall clock", format_args!("{}", wall::source()));
    let mode = if apic::is_x2apic() { "x2APIC" } else { "xAPIC" };
    let told = tables::apic_ids().count().max(1);
    each("local apic", format_args!("{mode}, {told} processors told, {} up", percpu::count()));
    ioapic::rows(each);
    pci::rows(each);
    console::rows(each);
    power::rows(each);
}

fn processor(each: &mut dyn FnMut(&str, Arguments<'_>)) {
    const BRAND: u32 = 0x8000_0002;
    const BRAND_END: u32 = 0x8000_0004;
    let mut brand = [0; 48];
    if cpuid(0x8000_0000, 0)[0] >= BRAND_END {
        let words = (BRAND..=BRAND_END).flat_map(|leaf| cpuid(leaf, 0));
        for (slot, word) in brand.chunks_exact_mut(4).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
    }
    let signature = cpuid(1, 0)[0];
    each("processor", format_args!("{}, signature {signature:#x}", text(&brand)));
    each("features", format_args!("{}", features::Names));
    each("hypervisor", format_args!("{}", text(&features::hypervisor())));
}

/// Printable text up to the first zero.
fn text(bytes: &[u8]) -> &str {
    let printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let end = bytes.iter().position(|byte| !printable(byte)).unwrap_or(bytes.len());
    let text = bytes.get(..end).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default();
    if text.is_empty() { "none" } else { text.trim() }
}
