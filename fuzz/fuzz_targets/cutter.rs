//! Fuzzes the target `cutter`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("cutter");
