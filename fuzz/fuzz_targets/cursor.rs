//! Fuzzes the target `cursor`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("cursor");
