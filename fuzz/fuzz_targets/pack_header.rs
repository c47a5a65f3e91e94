//! Fuzzes the target `pack_header`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("pack_header");
