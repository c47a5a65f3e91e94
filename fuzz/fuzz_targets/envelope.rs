//! Fuzzes the target `envelope`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("envelope");
