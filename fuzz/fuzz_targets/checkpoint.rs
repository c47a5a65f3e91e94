//! Fuzzes the target `checkpoint`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("checkpoint");
