//! Fuzzes the target `policy`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("policy");
