//! Fuzzes the target `wrapped_key`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("wrapped_key");
