//! What integration tests share: real servers, networks and stores that fail as told, things made
//! to be backed up, and judges of what came back.

pub mod azurite;
pub mod fault;
pub mod filesystem;
pub mod fuse;
pub mod gcs;
pub mod hooked;
pub mod http;
pub mod kept;
pub mod liar;
pub mod moto;
pub mod nginx;
pub mod password_ssh;
pub mod proxy;
pub mod refusing;
pub mod seaweed;
pub mod server;
pub mod sshd;
pub mod tls;
pub mod tools;
pub mod trace;
pub mod tree;
pub mod watched;
