//! Fuzzes the target `list`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("list");
