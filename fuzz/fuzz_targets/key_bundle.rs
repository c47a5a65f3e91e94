//! Fuzzes the target `key_bundle`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("key_bundle");
