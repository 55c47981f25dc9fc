//! The kernel upper half.
#![no_std]
