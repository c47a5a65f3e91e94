//! Fuzzes the target `byte_count`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("byte_count");
