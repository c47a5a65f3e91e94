//! Fuzzes the target `pack_directory`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("pack_directory");
