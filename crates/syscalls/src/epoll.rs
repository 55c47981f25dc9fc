//! The calls of this family.

use crate::table::Row;

/// The calls of this family.
pub const ROWS: &[Row] = &[];
