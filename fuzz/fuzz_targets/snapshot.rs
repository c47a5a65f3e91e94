//! Fuzzes the target `snapshot`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("snapshot");
