//! Fuzzes the target `decompress`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("decompress");
