//! Fuzzes the target `session`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("session");
