//! Fuzzes the target `abort_record`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("abort_record");
