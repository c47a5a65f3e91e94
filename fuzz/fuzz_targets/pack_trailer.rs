//! Fuzzes the target `pack_trailer`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("pack_trailer");
