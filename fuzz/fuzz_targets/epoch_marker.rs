//! Fuzzes the target `epoch_marker`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("epoch_marker");
