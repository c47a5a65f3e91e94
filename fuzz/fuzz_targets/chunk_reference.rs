//! Fuzzes the target `chunk_reference`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("chunk_reference");
