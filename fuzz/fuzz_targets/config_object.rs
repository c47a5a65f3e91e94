//! Fuzzes the target `config_object`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("config_object");
