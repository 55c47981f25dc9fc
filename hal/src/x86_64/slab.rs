//! Small kernel objects: size classes, each with slabs of one or four frames.
//!
//! Objects are packed against the end of their slab, so that an object whose size is a power of two
//! is aligned to it. The header lies at the start. A slab with free objects is in its class's list;
//! an empty one goes back unless it is the last there.

use super::memory;
use super::paging::direct_mut;
use super::pool::{self, HEAP_FRAMES, Purpose};
use crate::types::HeapClass;
use base::PAGE_SIZE;
use base::sync::{Rank, SpinLock};
use core::alloc::Layout;
use core::ptr;
use core::sync::atomic::Ordering::Relaxed;

/// Object sizes. Multiples of 16; every power of two among them.
const SIZES: [usize; 22] = [
    16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 1024, 1280,
    1536, 2048,
];
/// The largest object.
pub(super) const MAX_SIZE: usize = 2048;
const STEP: usize = 16;

/// Class of each size, in steps of 16 bytes.
static CLASS_OF: [u8; MAX_SIZE / STEP + 1] = {
    let mut table = [0; MAX_SIZE / STEP + 1];
    let (mut class, mut at) = (0, 0);
    while at < table.len() {
        if at * STEP > SIZES[class] {
            class += 1;
        }
        table[at] = class as u8;
        at += 1;
    }
    table
};

#[repr(C)]
struct Slab {
    next: *mut Slab,
    previous: *mut Slab,
    /// Objects that were freed: each holds the address of the next.
    free: *mut u8,
    in_use: u32,
    /// Objects handed out at least once; the others were never touched.
    carved: u32,
}

struct Class {
    /// Slabs with free objects.
    partial: *mut Slab,
    /// All slabs.
    slabs: u64,
}

// SAFETY: slabs are reached under the class's lock only.
unsafe impl Send for Class {}

static CLASSES: [SpinLock<Class>; SIZES.len()] =
    [const { SpinLock::ranked(Rank::Heap, Class { partial: ptr::null_mut(), slabs: 0 }) };
        SIZES.len()];

/// The class for a layout, `None` when it is too large.
#[inline]
pub(super) fn class_of(layout: Layout) -> Option<usize> {
    let mut size = layout.size();
    if layout.align() > STEP {
        size = size.max(layout.align()).next_power_of_two();
    }
    CLASS_OF.get(size.div_ceil(STEP)).map(|class| usize::from(*class))
}

const fn order(class: usize) -> usize {
    if SIZES[class] <= 512 { 0 } else { 2 }
}

const fn slab_bytes(class: usize) -> usize {
    (PAGE_SIZE as usize) << order(class)
}

const fn capacity(class: usize) -> u32 {
    ((slab_bytes(class) - size_of::<Slab>()) / SIZES[class]) as u32
}

impl Class {
    /// Makes a slab the first of the list.
    ///
    /// # Safety
    /// `slab` is a slab of this class and in no list.
    unsafe fn link(&mut self, slab: *mut Slab) {
        // SAFETY: promised by the caller; listed slabs are valid.
        unsafe {
            (*slab).next = self.partial;
            (*slab).previous = ptr::null_mut();
            if !self.partial.is_null() {
                (*self.partial).previous = slab;
            }
        }
        self.partial = slab;
    }

    /// # Safety
    /// `slab` is in the list.
    unsafe fn unlink(&mut self, slab: *mut Slab) {
        // SAFETY: promised by the caller; listed slabs are valid.
        unsafe {
            let (next, previous) = ((*slab).next, (*slab).previous);
            if !next.is_null() {
                (*next).previous = previous;
            }
            if previous.is_null() {
                self.partial = next;
            } else {
                (*previous).next = next;
            }
        }
    }

    fn grow(&mut self, class: usize) -> bool {
        let Ok(block) = pool::allocate(order(class), Purpose::Kernel) else { return false };
        HEAP_FRAMES.fetch_add(1 << order(class), Relaxed);
        self.slabs += 1;
        let slab = direct_mut::<Slab>(block);
        // SAFETY: the block was just handed out; it is larger than the header.
        unsafe {
            slab.write(Slab {
                next: ptr::null_mut(),
                previous: ptr::null_mut(),
                free: ptr::null_mut(),
                in_use: 0,
                carved: 0,
            });
            self.link(slab);
        }
        true
    }
}

/// An object of the class; null when memory has run out.
pub(super) fn allocate(class: usize) -> *mut u8 {
    let Some(lock) = CLASSES.get(class) else { return ptr::null_mut() };
    let mut list = lock.lock();
    if list.partial.is_null() && !list.grow(class) {
        return ptr::null_mut();
    }
    let slab = list.partial;
    // SAFETY: a listed slab is valid and has a free object: one in its list or one not yet carved.
    unsafe {
        let mut object = (*slab).free;
        if object.is_null() {
            (*slab).carved += 1;
            let before_end = (*slab).carved as usize * SIZES[class];
            object = slab.cast::<u8>().add(slab_bytes(class) - before_end);
        } else {
            (*slab).free = object.cast::<*mut u8>().read();
        }
        (*slab).in_use += 1;
        if (*slab).in_use == capacity(class) {
            list.unlink(slab);
        }
        object
    }
}

/// Gives an object back.
///
/// # Safety
/// It came from [`allocate`] with the same class and is not used any more.
pub(super) unsafe fn release(object: *mut u8, class: usize) {
    let Some(lock) = CLASSES.get(class) else { return };
    let mut list = lock.lock();
    let slab = object.map_addr(|address| address & !(slab_bytes(class) - 1)).cast::<Slab>();
    // SAFETY: slabs are aligned to their size, and the object lies in one.
    unsafe {
        object.cast::<*mut u8>().write((*slab).free);
        (*slab).free = object;
        if (*slab).in_use == capacity(class) {
            list.link(slab);
        }
        (*slab).in_use -= 1;
        let alone = list.partial == slab && (*slab).next.is_null();
        if (*slab).in_use == 0 && !alone {
            list.unlink(slab);
            list.slabs -= 1;
            let frames = 1 << order(class);
            HEAP_FRAMES.fetch_sub(frames, Relaxed);
            pool::release_range(memory::physical(slab.cast()), frames);
        }
    }
}

/// What there is of each class.
pub(super) fn classes() -> impl Iterator<Item = HeapClass> {
    CLASSES.iter().enumerate().map(|(class, lock)| {
        let list = lock.lock();
        let (slots, mut free, mut slab) = (u64::from(capacity(class)), 0, list.partial);
        while !slab.is_null() {
            // SAFETY: listed slabs are valid while the list is locked.
            unsafe {
                free += slots - u64::from((*slab).in_use);
                slab = (*slab).next;
            }
        }
        HeapClass {
            object_bytes: SIZES[class],
            objects: list.slabs * slots - free,
            slots: list.slabs * slots,
            slabs: list.slabs,
            frames_per_slab: 1 << order(class),
        }
    })
}
