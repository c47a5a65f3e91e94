//! Fuzzes the target `sealed_object`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("sealed_object");
