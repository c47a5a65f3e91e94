//! Fuzzes the target `timeline_marker`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("timeline_marker");
