//! When a table that a busy time made large is worth making smaller.

/// Tables with room for fewer are left alone.
const WORTH: usize = 512;
/// A table is made smaller when it is filled to one part in so many.
const PART: usize = 8;

/// The room to shrink to, in entries, for a table with `len` of them in room for `capacity`; `None`: leave it
/// as it is. Seven eighths must have gone since it was filled, and half of what stays is free: so moving
/// what is left costs little for each entry that went.
#[must_use]
pub const fn smaller(len: usize, capacity: usize) -> Option<usize> {
    if capacity > WORTH && len < capacity / PART { Some(2 * len) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_and_mostly_empty_tables_shrink() {
        assert_eq!(smaller(0, WORTH), None);
        assert_eq!(smaller(1000, 8000), None);
        assert_eq!(smaller(999, 8000), Some(1998));
        assert_eq!(smaller(0, 8000), Some(0));
    }
}
