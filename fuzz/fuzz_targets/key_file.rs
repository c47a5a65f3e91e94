//! Fuzzes the target `key_file`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("key_file");
