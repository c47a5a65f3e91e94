//! What went wrong with one attempt, in the words of the one policy.

use std::fmt;
use std::time::Duration;

use crate::class::Class;
use crate::store::{Error, Key};

/// What a failure says of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    /// Something is under the key already.
    Exists,
    /// Nothing is under the key.
    Missing,
    /// It concerns this object, or nobody knows more.
    Object,
    /// It concerns the place as a whole: its address, bucket, credential, certificate, clock.
    Place,
}

/// One failed attempt.
#[derive(Clone, Debug)]
pub(in crate::store) struct Failure {
    /// What it says of the object.
    pub(in crate::store) kind: Kind,
    /// Decides whether it is tried again: only what is transient is.
    pub(in crate::store) class: Class,
    /// Cause and remedy, one line.
    pub(in crate::store) text: String,
    /// When the server wants to be asked again.
    pub(in crate::store) retry_after: Option<Duration>,
    /// Whether the server itself said so: then the address is right, and patience is worth more.
    pub(in crate::store) is_answer: bool,
}

impl Failure {
    /// The server's word.
    pub(in crate::store) fn answer(kind: Kind, class: Class, text: impl Into<String>) -> Self {
        Self { kind, class, text: text.into(), retry_after: None, is_answer: true }
    }

    /// Something on the way that may pass.
    pub(in crate::store) fn transient(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Object,
            class: Class::Transient,
            text: text.into(),
            retry_after: None,
            is_answer: false,
        }
    }

    /// Something that concerns the place as a whole.
    pub(in crate::store) fn place(class: Class, text: impl Into<String>) -> Self {
        Self { kind: Kind::Place, class, text: text.into(), retry_after: None, is_answer: false }
    }

    /// A body that ended too early.
    pub(in crate::store) fn cut_off(found_bytes: u64, announced_bytes: u64) -> Self {
        Self::transient(format!("the answer ended after {found_bytes} of {announced_bytes} bytes"))
    }

    /// Whether the same attempt may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        self.class == Class::Transient
    }

    /// The error for the world outside.
    pub(super) fn into_error(self, action: &'static str, key: &Key, place: &str) -> Error {
        match self.kind {
            Kind::Exists => Error::Exists { key: key.clone() },
            Kind::Missing => Error::Missing { key: key.clone() },
            Kind::Place => {
                Error::Place { place: place.to_owned(), reason: self.text, class: self.class }
            }
            Kind::Object => Error::Failed {
                action,
                key: key.clone(),
                class: self.class,
                source: Box::new(Reason(self.text)),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The cause inside [`Error::Failed`]: one line, with what to do.
#[derive(Debug)]
struct Reason(String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reason {}
