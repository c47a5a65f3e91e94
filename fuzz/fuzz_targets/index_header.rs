//! Fuzzes the target `index_header`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("index_header");
