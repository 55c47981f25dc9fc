//! Sorting in little code: what the library has is fast for any input, and takes 3 to 8 KB for each type.

/// Sorts in place, with a heap: at most some `n log n` steps. Equal values may change places.
pub fn sort<T: Ord>(values: &mut [T]) {
    let count = values.len();
    for root in (0..count / 2).rev() {
        sink(values, root, count);
    }
    for end in (1..count).rev() {
        values.swap(0, end);
        sink(values, 0, end);
    }
}

/// Lets the value at `root` sink to where none below it, before `end`, is greater.
fn sink<T: Ord>(values: &mut [T], mut root: usize, end: usize) {
    loop {
        let mut child = 2 * root + 1;
        if child >= end {
            return;
        }
        if child + 1 < end && values[child] < values[child + 1] {
            child += 1;
        }
        if values[root] >= values[child] {
            return;
        }
        values.swap(root, child);
        root = child;
    }
}

#[cfg(test)]
mod tests {
    use super::sort;
    use alloc::vec::Vec;

    #[test]
    fn any_values_are_sorted() {
        let mut seed = 1_u32;
        for count in 0..200 {
            let mut values: Vec<u32> = Vec::new();
            for _ in 0..count {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                values.push(seed >> 24);
            }
            let mut expected = values.clone();
            expected.sort_unstable();
            sort(&mut values);
            assert_eq!(values, expected);
        }
    }
}
