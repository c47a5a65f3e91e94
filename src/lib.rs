//! Backstay: backup and disaster recovery for databases on small Kubernetes clusters.
//!
//! This page is the map of the house. Verbs are files, nouns are folders, and imports only fall:
//! a module may use what stands on a lower floor, never its own floor's neighbours.
//! `tests/it/tidy.rs` holds that.
//!
//! | floor | modules | what lives there |
//! |---|---|---|
//! | 5 | `cli` | one file per subcommand: arguments in, exit code out |
//! | 4 | [`demo`] | the quick start: an engine, its loss, its return |
//! | 3 | [`backup`] [`restore`] [`check`] [`probe`] [`keys`] … | verbs: options in, report out |
//! | 2 | [`repo`] [`source`] [`destination`] [`policy`] | nouns: the stored format, what is read, what is written, what was asked for |
//! | 1 | [`store`] [`memory`] | objects under keys, wherever they are; what a process may take |
//! | 0 | [`entry`] [`facts`] [`patterns`] [`world`] [`class`] [`units`] [`environment`] [`plain`] | the ground: words that every floor shares |
//!
//! Data runs one road: source → cut → entry → chunk → frame → pack → tree → snapshot. A restore is
//! the same road back. What the bytes of a repository mean is written down in `src/repo/FORMAT.md`.

pub mod class;
pub mod entry;
pub mod environment;
pub mod facts;
pub mod memory;
pub mod patterns;
pub mod plain;
pub mod units;
pub mod world;

pub mod store;

pub mod backup;
pub mod cat;
pub mod check;
pub mod diff;
pub mod find;
pub mod keys;
pub mod list;
pub mod probe;
pub mod restore;
pub mod stats;

pub mod cli;

pub mod destination;
pub mod policy;
pub mod repo;
pub mod source;

pub mod demo;
