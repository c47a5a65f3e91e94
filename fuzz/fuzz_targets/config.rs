//! Fuzzes the target `config`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("config");
