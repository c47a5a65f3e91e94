//! Fuzzes the target `extents`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("extents");
