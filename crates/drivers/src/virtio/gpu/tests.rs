//! Pictures that come to a display, and devices that do not do what they should.

use super::*;
use crate::testing::{Behaviour, Device as Model, Manner, Shared, lock, mmio_window};
use crate::virtio::{DeviceType, MmioTransport};
use base::display::pairs;
use std::sync::Mutex;
use std::vec;
use std::vec::Vec;

const RED: u32 = 0xff_0000;
const BLUE: u32 = 0xff;

fn attach(device: &Shared) -> Result<Arc<VirtioGpu>, Error> {
    hal::sim::reset(1, 1 << 14);
    let transport = MmioTransport::new(mmio_window(device), || None).unwrap();
    VirtioGpu::new(Box::new(transport))
}

fn word(pixel: u32) -> u64 {
    u64::from(pixel) << 32 | u64::from(pixel)
}

#[test]
fn what_is_stored_is_seen_after_a_flush() {
    let device = Model::display(Manner::Good);
    let gpu = attach(&device).unwrap();
    assert_eq!(gpu.layout(), Layout { width: 640, height: 400, pitch: 2560, shifts: [16, 8, 0] });
    {
        let model = &lock(&device).gpu;
        assert_eq!(model.asked, [0x100, 0x101, 0x106, 0x103, 0x105, 0x104]);
        assert_eq!((model.scanout, model.pixel(0, 0), model.pixel(639, 399)), (Some(0), 0, 0));
    }
    gpu.put(8, 3, &[0b1000_0001, 0xff], &[pairs([RED, BLUE]); 2]);
    // Across the end of a piece of memory, and of a row.
    gpu.store(256 * 1024 - 8, &[word(RED); 3]);
    assert_eq!(lock(&device).gpu.pixel(8, 3), 0, "not yet");
    assert!(gpu.flush());
    let seen = |x, y| lock(&device).gpu.pixel(x, y);
    assert_eq!([7, 8, 9, 15, 16, 23, 24].map(|x| seen(x, 3)), [0, RED, BLUE, RED, RED, RED, 0]);
    // 262,136 is the pixel 254 of the row 102.
    assert_eq!([253, 254, 259, 260].map(|x| seen(x, 102)), [0, RED, RED, 0]);
    let asked = lock(&device).gpu.asked.len();
    assert!(gpu.flush());
    assert_eq!(lock(&device).gpu.asked.len(), asked, "nothing has changed");
    gpu.store(2560 * 400 - 8, &[word(BLUE); 9]);
    gpu.store(2560 - 8, &[word(BLUE); 2]);
    // Outside.
    gpu.store(2560 * 400, &[word(RED)]);
    gpu.store(u64::MAX, &[word(RED)]);
    gpu.put(640, 0, &[0xff], &[pairs([RED, RED])]);
    gpu.put(632, 400, &[0xff], &[pairs([RED, RED])]);
    gpu.put(632, 398, &[0xff; 3], &[pairs([RED, RED]); 3]);
    assert!(gpu.flush());
    assert_eq!(
        [(638, 399), (639, 0), (0, 1), (639, 398), (0, 399)].map(|(x, y)| seen(x, y)),
        [BLUE, BLUE, BLUE, RED, 0]
    );
    drop(gpu);
    assert_eq!(lock(&device).status, 0, "it is reset");
}

#[test]
fn a_part_is_all_that_is_sent() {
    let device = Model::display(Manner::Good);
    let gpu = attach(&device).unwrap();
    gpu.picture.take_changed();
    gpu.put(16, 5, &[1], &[pairs([RED, BLUE])]);
    gpu.put(32, 2, &[1; 2], &[pairs([RED, BLUE]); 2]);
    let area = gpu.picture.take_changed().unwrap();
    assert_eq!((area.left, area.top, area.right, area.bottom), (16, 2, 48, 6));
    assert_eq!(gpu.picture.take_changed(), None);
    gpu.store(2560 * 7 + 4 * 100, &[0; 3]);
    let area = gpu.picture.take_changed().unwrap();
    assert_eq!((area.left, area.top, area.right, area.bottom), (100, 7, 106, 8));
}

#[test]
fn the_display_that_is_there_says_the_size() {
    for (displays, scanout, size) in [
        ([(1280, 800, 0), (1366, 768, 1)], 1, (1360, 768)),
        ([(0, 0, 0), (0, 0, 0)], 0, (1024, 768)),
        ([(u32::MAX, u32::MAX, 1), (7, 7, 1)], 0, (1024, 768)),
    ] {
        let device = Model::display(Manner::Good);
        lock(&device).gpu.displays = displays;
        let gpu = attach(&device).unwrap();
        let Layout { width, height, .. } = gpu.layout();
        assert_eq!(((width, height), lock(&device).gpu.scanout), (size, Some(scanout)));
    }
    // The machine has 64 MiB.
    let device = Model::display(Manner::Good);
    lock(&device).gpu.displays[0] = (3840, 2160, 1);
    assert_eq!(attach(&device).unwrap().layout().width, 1024);
}

#[test]
fn while_the_device_is_busy_changes_wait() {
    let device = Model::display(Manner::Good);
    let gpu = attach(&device).unwrap();
    lock(&device).paused = true;
    gpu.store(0, &[word(RED)]);
    assert!(gpu.flush(), "it is on its way");
    gpu.store(8, &[word(BLUE)]);
    assert!(!gpu.flush() && !gpu.flush());
    lock(&device).paused = false;
    lock(&device).work();
    assert!(gpu.flush());
    let model = &lock(&device).gpu;
    assert_eq!((model.pixel(0, 0), model.pixel(2, 0)), (RED, BLUE));
}

#[test]
fn a_device_that_falls_silent_is_given_up() {
    let device = Model::display(Manner::Good);
    let gpu = attach(&device).unwrap();
    lock(&device).paused = true;
    gpu.store(0, &[word(RED)]);
    assert!(gpu.flush());
    gpu.store(0, &[word(BLUE)]);
    let mut asked = 0;
    while !gpu.flush() {
        asked += 1;
        assert!(asked < 1000, "it is never given up");
        hal::sim::set_now(hal::clock::now() + Duration::from_millis(16));
    }
    // Five seconds.
    assert!((300..330).contains(&asked), "{asked}");
    assert_eq!(lock(&device).status, 0);
    gpu.store(0, &[word(RED)]);
    assert!(gpu.flush(), "there is nothing to wait for");
    gpu.flush_last();
}

#[test]
fn a_failing_kernel_waits_a_moment_only() {
    let device = Model::display(Manner::Good);
    let gpu = attach(&device).unwrap();
    gpu.store(0, &[word(RED)]);
    gpu.flush_last();
    assert_eq!(lock(&device).gpu.pixel(0, 0), RED);
    // Somebody who never comes back has the lock.
    let held = gpu.control.lock();
    gpu.flush_last();
    drop(held);
    lock(&device).paused = true;
    for _ in 0..3 {
        gpu.store(0, &[word(BLUE)]);
        gpu.flush_last();
    }
    assert!(gpu.flush());
    assert_eq!(lock(&device).gpu.pixel(0, 0), RED);
}

#[test]
fn what_it_refuses_while_it_is_set_up_makes_it_no_screen() {
    for kind in [0x100, 0x101, 0x106, 0x103] {
        let device = Model::display(Manner::Refuse(kind));
        assert_eq!(attach(&device).err(), Some(Error::Refused(0x1200)), "{kind:#x}");
        assert_eq!(lock(&device).status, 0, "it is reset");
    }
    for manner in [Manner::Short(1), Manner::Short(24), Manner::Claim(0), Manner::Claim(u32::MAX)] {
        let device = Model::display(manner);
        assert_eq!(attach(&device).err(), Some(Error::NoAnswer), "{manner:?}");
    }
    let dead = Arc::new(Mutex::new(Model::new(DeviceType::GPU.0, 0, Behaviour::Dead)));
    assert_eq!(attach(&dead).err(), Some(Error::NoAnswer));
    let narrow = Model::display(Manner::Good);
    lock(&narrow).queue_limit = 2;
    assert!(matches!(attach(&narrow).err(), Some(Error::NoQueue(_))));
}

#[test]
fn wrong_answers_later_stop_it() {
    let wrong: Vec<Manner> = vec![
        Manner::Refuse(0x105),
        Manner::Refuse(0x104),
        Manner::Short(1),
        Manner::Claim(0),
        Manner::Claim(u32::MAX),
    ];
    for manner in wrong {
        for last in [false, true] {
            let device = Model::display(Manner::Good);
            let gpu = attach(&device).unwrap();
            lock(&device).gpu.manner = manner;
            for _ in 0..3 {
                gpu.store(0, &[word(RED)]);
                if last { gpu.flush_last() } else { assert!(gpu.flush()) }
            }
            let asked = lock(&device).gpu.asked.len();
            gpu.store(0, &[word(RED)]);
            gpu.flush_last();
            assert!(gpu.flush());
            assert_eq!(lock(&device).gpu.asked.len(), asked, "{manner:?}: not used any more");
            assert!(last || lock(&device).status == 0, "{manner:?}: it is reset");
        }
    }
    // It names requests that it does not have.
    let device = Model::display(Manner::Good);
    let gpu = attach(&device).unwrap();
    lock(&device).queues[0].scribble(2, &500_u16.to_le_bytes());
    gpu.store(0, &[word(RED)]);
    assert!(gpu.flush());
    assert_eq!(lock(&device).status, 0);
}

/// A device with an interrupt line, and its driver.
fn attach_with_line(device: &Shared) -> Arc<VirtioGpu> {
    hal::sim::reset(1, 1 << 14);
    let irq = hal::irq::allocate_line(3);
    lock(device).line = irq;
    lock(device).gpu.displays[0] = (400, 240, 1);
    let transport = MmioTransport::new(mmio_window(device), || irq).unwrap();
    let gpu = VirtioGpu::new(Box::new(transport)).unwrap();
    assert_eq!(gpu.irq(), irq);
    gpu
}

/// True when the device has raised its line since the last call.
fn is_raised(gpu: &VirtioGpu) -> bool {
    hal::irq::take_pending() & 1 << gpu.irq().unwrap().0 != 0
}

#[test]
fn a_display_of_another_size_gets_another_picture() {
    let device = Model::display(Manner::Good);
    let gpu = attach_with_line(&device);
    gpu.store(0, &[word(RED)]);
    assert!(gpu.flush() && !is_raised(&gpu));
    assert!(gpu.successor().is_none(), "it is as it was");
    let mut shown: Arc<dyn Surface> = gpu.clone();
    for (number, (width, height)) in (2..).zip([(416, 260), (335, 210), (320, 200)]) {
        lock(&device).resize_display(width, height);
        assert!(is_raised(&gpu));
        let next = shown.successor().unwrap();
        let whole = width / 8 * 8;
        let want = Layout { width: whole, height, pitch: 4 * whole, shifts: [16, 8, 0] };
        assert_eq!(next.layout(), want);
        assert!(next.successor().is_none(), "once");
        // Whoever does not know yet changes nothing any more.
        shown.store(0, &[word(BLUE)]);
        assert!(shown.flush());
        shown.flush_last();
        assert!(shown.successor().is_none());
        let seen = |x, y| lock(&device).gpu.pixel(x, y);
        assert_eq!((seen(0, 0), seen(whole - 1, height - 1)), (0, 0));
        next.store(u64::from(want.pitch) * u64::from(height - 1), &[word(RED)]);
        assert!(next.flush());
        assert_eq!((seen(0, 0), seen(1, height - 1), seen(2, height - 1)), (0, RED, 0));
        let model = &lock(&device).gpu;
        assert_eq!((model.size(), model.scanout), ((whole, height), Some(0)));
        assert!(model.resources.keys().eq([&number]), "the others are gone");
        shown = next;
    }
    // Nobody needs the first one any more, but it has the line's number.
    drop(shown);
    assert_ne!(lock(&device).status, 0);
    drop(gpu);
    assert_eq!(lock(&device).status, 0, "it is reset");
}

#[test]
fn a_size_that_cannot_be_had_changes_nothing() {
    let device = Model::display(Manner::Good);
    let gpu = attach_with_line(&device);
    // The machine has 64 MiB: 8 of them may be a picture.
    for (width, height) in [
        (4096, 2160),
        (u32::MAX, u32::MAX),
        (0, 0),
        (319, 480),
        (640, 199),
        (8193, 200),
        (407, 240),
    ] {
        lock(&device).resize_display(width, height);
        assert!(is_raised(&gpu));
        assert!(gpu.successor().is_none(), "{width}x{height}");
        assert_eq!(lock(&device).gpu.size(), (400, 240));
    }
    lock(&device).resize_display(480, 300);
    lock(&device).gpu.displays[0].2 = 0;
    assert!(gpu.successor().is_none(), "it is not there");
    // An interrupt without a reason.
    let asked = lock(&device).gpu.asked.len();
    assert!(gpu.successor().is_none());
    assert_eq!(lock(&device).gpu.asked.len(), asked);
    gpu.store(0, &[word(RED)]);
    assert!(gpu.flush());
    assert_eq!(lock(&device).gpu.pixel(0, 0), RED);
}

#[test]
fn what_it_refuses_of_another_size_leaves_it_as_it_is() {
    for kind in [0x100, 0x101, 0x106, 0x103] {
        let device = Model::display(Manner::Good);
        let gpu = attach_with_line(&device);
        lock(&device).gpu.manner = Manner::Refuse(kind);
        lock(&device).resize_display(480, 300);
        assert!(gpu.successor().is_none(), "{kind:#x}");
        assert!(lock(&device).gpu.resources.keys().eq([&1]), "{kind:#x}");
        lock(&device).gpu.manner = Manner::Good;
        gpu.store(0, &[word(RED)]);
        assert!(gpu.flush());
        assert_eq!(lock(&device).gpu.size(), (400, 240));
        assert_eq!(lock(&device).gpu.pixel(0, 0), RED);
        lock(&device).resize_display(480, 300);
        assert_eq!(gpu.successor().unwrap().layout().width, 480, "{kind:#x}");
    }
}

#[test]
fn a_device_that_fails_while_its_display_changes_is_stopped() {
    let bad = [Manner::Refuse(0x102), Manner::Short(1), Manner::Claim(0), Manner::Claim(u32::MAX)];
    for manner in bad {
        let device = Model::display(Manner::Good);
        let gpu = attach_with_line(&device);
        lock(&device).gpu.manner = manner;
        lock(&device).resize_display(480, 300);
        let _ = gpu.successor();
        assert_eq!(lock(&device).status, 0, "{manner:?}: it is reset");
        lock(&device).resize_display(400, 240);
        assert!(gpu.successor().is_none());
        gpu.store(0, &[word(RED)]);
        assert!(gpu.flush());
    }
    // What was on its way before never comes.
    let device = Model::display(Manner::Good);
    let gpu = attach_with_line(&device);
    lock(&device).paused = true;
    gpu.store(0, &[word(RED)]);
    assert!(gpu.flush());
    lock(&device).resize_display(480, 300);
    assert!(gpu.successor().is_none());
    assert_eq!(lock(&device).status, 0);
}
