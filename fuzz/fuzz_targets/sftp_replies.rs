//! Fuzzes the target `sftp_replies`; `../src/targets` says what that is.

#![no_main]

backstay_fuzz::fuzz!("sftp_replies");
