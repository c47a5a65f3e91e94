//! Fuzzes the target `pages`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("pages");
