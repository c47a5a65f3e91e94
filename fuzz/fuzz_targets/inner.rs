//! Fuzzes the target `inner`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("inner");
