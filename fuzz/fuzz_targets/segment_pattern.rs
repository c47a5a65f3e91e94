//! Fuzzes the target `segment_pattern`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("segment_pattern");
