//! The stored format: what the bytes of a repository mean, and the ways to write and read them.
//! `FORMAT.md` beside this file is the specification.

pub mod catalog;
pub mod chunker;
pub mod codec;
pub mod config;
pub mod content;
pub mod cursor;
pub mod envelope;
pub mod error;
pub mod facts_record;
mod frames;
pub mod id;
pub mod index;
pub mod keyfile;
pub mod layout;
mod lineage;
mod loss;
pub mod open;
pub mod pack;
pub mod reader;
pub mod record;
pub mod reference;
pub mod seal;
pub mod secret;
pub mod session;
pub mod snapshot;
pub mod tree;
pub mod walk;
pub mod wire;
pub mod writer;

pub use error::Error;
pub use open::{Draft, InitOptions, NewKeys, Repository};
