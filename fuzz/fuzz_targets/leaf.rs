//! Fuzzes the target `leaf`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("leaf");
