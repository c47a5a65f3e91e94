//! What can be wrong with a policy or a price list: one line that names file, line, column, key, cause and remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::class::Class;
use crate::plain::is_plain;

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot read {what}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What it is: the policy, or the price list.
        what: &'static str,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// The file is too long to be a policy.
    #[error(
        "{}: longer than {limit_bytes} bytes, which no policy is; is this the right file?",
        file.display()
    )]
    TooLong {
        /// The policy file.
        file: PathBuf,
        /// What is allowed.
        limit_bytes: u64,
    },
    /// The bytes are not text.
    #[error("{}:{line}: this is not UTF-8 text; save the file as UTF-8", file.display())]
    NotText {
        /// The policy file.
        file: PathBuf,
        /// The line with the first wrong byte.
        line: u64,
    },
    /// Something in the document is wrong.
    #[error("{0}")]
    Invalid(Box<Invalid>),
}

impl Error {
    /// Decides exit code and metric label. A policy that does not exist is a wrong command line.
    pub fn class(&self) -> Class {
        Class::Config
    }
}

/// One wrong place in a document.
#[derive(Debug)]
pub struct Invalid {
    /// The policy file.
    pub file: PathBuf,
    /// Where in the file.
    pub mark: Mark,
    /// The key from the top, such as `spec.sources[0].name`; empty where no key is at fault.
    pub key: String,
    /// What is wrong there.
    pub fault: Fault,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mark { line, column } = self.mark;
        write!(f, "{}:{line}:{column}: ", self.file.display())?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.fault)
    }
}

/// A place in a text; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

impl Mark {
    /// Where every text begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// What is wrong at a place in a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not YAML, or YAML of a kind that policies don't use.
    #[error("this is not valid YAML: {0}")]
    Syntax(String),
    /// More than one document in the file.
    #[error("a second document begins here; put each policy into a file of its own")]
    ManyDocuments,
    /// Anchors, nesting or size beyond all reason.
    #[error("too deep, too long or too many aliases for a policy; write it plainly")]
    TooComplex,
    /// A key twice in one mapping.
    #[error("this key is there twice; remove one")]
    DuplicateKey,
    /// A key that nothing reads.
    #[error("unknown key; {hint}")]
    UnknownKey {
        /// The nearest known key, or all of them.
        hint: String,
    },
    /// A key that the design has but this version does not.
    #[error("comes with a later version of Backstay; remove it for now")]
    Later,
    /// A key that must be there.
    #[error("missing; {0}")]
    Missing(String),
    /// A value of another type.
    #[error("must be {expected}, not {found}")]
    WrongType {
        /// What fits.
        expected: String,
        /// What is there, and what to do about it.
        found: String,
    },
    /// A value of the right type that cannot be used.
    #[error("{0}")]
    Unusable(String),
    /// Something that looks like a secret.
    #[error("this looks like a secret, and secrets have no place in a policy; {remedy}")]
    Secret {
        /// The right place for it.
        remedy: &'static str,
    },
}

/// A fault and its place, before the file's name is put to it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) mark: Mark,
    pub(super) key: String,
    pub(super) fault: Fault,
}

impl Found {
    pub(super) fn new(mark: Mark, key: impl Into<String>, fault: Fault) -> Self {
        Self { mark, key: key.into(), fault }
    }

    /// The fault with the file's name put to it.
    pub(super) fn in_file(self, file: &Path) -> Error {
        Error::Invalid(Box::new(Invalid {
            file: file.to_owned(),
            mark: self.mark,
            key: self.key,
            fault: self.fault,
        }))
    }

    /// A value of the right type that cannot be used.
    pub(super) fn unusable(mark: Mark, key: impl Into<String>, cause: impl Into<String>) -> Self {
        Self::new(mark, key, Fault::Unusable(cause.into()))
    }
}

/// What a document says, fit for one line of a message: what is not plain escaped, and cut where
/// it is long.
pub(super) fn shown(text: &str) -> String {
    const CHARACTERS: usize = 120;
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == CHARACTERS {
            shown.push('…');
            break;
        }
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    shown
}
