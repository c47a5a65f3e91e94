//! Fuzzes the target `agent_key`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("agent_key");
