//! Fuzzes the target `index_page`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("index_page");
