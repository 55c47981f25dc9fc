//! mm
#![no_std]
