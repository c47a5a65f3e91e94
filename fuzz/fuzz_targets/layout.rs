//! Fuzzes the target `layout`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("layout");
