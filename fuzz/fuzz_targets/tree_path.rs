//! Fuzzes the target `tree_path`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("tree_path");
