//! net
#![no_std]
