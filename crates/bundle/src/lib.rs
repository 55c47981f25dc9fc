//! bundle
#![no_std]
