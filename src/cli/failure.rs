//! Failures as people and scripts meet them: one line, and an exit code that a script may rely on.
//!
//! | code | what it means |
//! |---|---|
//! | 0 | done, and everything asked for is there |
//! | 1 | an internal error: a mistake in Backstay |
//! | 2 | wrong command line, policy, environment or key file |
//! | 3 | done in part: a snapshot was made, or files restored, but something is missing or may be wrong |
//! | 4 | a source failed; no snapshot was made |
//! | 5 | the repository cannot be reached |
//! | 6 | stored data is damaged |
//! | 7 | refused, because it would destroy something |
//! | 8 | not verified |
//! | 9 | denied: wrong key, passphrase or credential |
//! | 10 | no such repository, snapshot or path |
//! | 11 | written by a newer Backstay |
//! | 12 | no space left where it writes |
//! | 130 | interrupted |

use std::error::Error as StdError;
use std::io;
use std::process::ExitCode;

use crate::class::Class;
use crate::environment::Refusal;
use crate::{backup, demo, destination, plain, policy, probe, repo, restore, source, store};

/// What `--help` says of exit codes.
pub(super) const HELP: &str = "\
Exit codes:
    0  done, and everything asked for is there
    1  internal error: a mistake in Backstay
    2  wrong command line, policy, environment or key file
    3  done in part: something is missing or may be wrong
    4  a source failed; no snapshot was made
    5  the repository cannot be reached
    6  stored data is damaged
    7  refused, because it would destroy something
    8  not verified
    9  denied: wrong key, passphrase or credential
   10  no such repository, snapshot or path
   11  written by a newer Backstay
   12  no space left
  130  interrupted";

/// How a run that did not go well ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// A mistake in Backstay.
    Bug = 1,
    /// Wrong command line, policy, environment or key file.
    Usage = 2,
    /// Done in part.
    Partial = 3,
    /// A source failed; no snapshot was made.
    Source = 4,
    /// The repository cannot be reached.
    Unreachable = 5,
    /// Stored data is damaged.
    Integrity = 6,
    /// It would destroy something.
    Refused = 7,
    /// What should be verified was not.
    NotVerified = 8,
    /// Wrong key, passphrase or credential.
    Denied = 9,
    /// No such repository, snapshot or path.
    Missing = 10,
    /// Written by a newer Backstay.
    Newer = 11,
    /// No space left.
    Full = 12,
    /// Someone asked to stop.
    Interrupted = 130,
}

impl Exit {
    fn of(class: Class) -> Self {
        match class {
            Class::Transient => Self::Unreachable,
            Class::Missing => Self::Missing,
            Class::Damaged => Self::Integrity,
            Class::Config => Self::Usage,
            Class::Denied => Self::Denied,
            Class::Refused => Self::Refused,
            Class::Source => Self::Source,
            Class::Full => Self::Full,
            Class::Newer => Self::Newer,
            Class::Interrupted => Self::Interrupted,
            Class::Bug => Self::Bug,
        }
    }

    /// The number.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    /// The word used in JSON.
    fn as_str(self) -> &'static str {
        match self {
            Self::Bug => Class::Bug.as_str(),
            Self::Usage => Class::Config.as_str(),
            Self::Partial => "partial",
            Self::Source => Class::Source.as_str(),
            Self::Unreachable => Class::Transient.as_str(),
            Self::Integrity => Class::Damaged.as_str(),
            Self::Refused => Class::Refused.as_str(),
            Self::NotVerified => "not-verified",
            Self::Denied => Class::Denied.as_str(),
            Self::Missing => Class::Missing.as_str(),
            Self::Newer => Class::Newer.as_str(),
            Self::Full => Class::Full.as_str(),
            Self::Interrupted => Class::Interrupted.as_str(),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a run did not go well.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    /// Whether nobody is there to be told.
    is_silent: bool,
    /// Whether a person was told already.
    is_told: bool,
    /// Whether a store failed whose place the message does not name.
    lacks_place: bool,
}

impl Failure {
    /// A failure with a message of one line: what was wrong, where, what to do.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: one_line(&message.into()),
            is_silent: false,
            is_told: false,
            lacks_place: false,
        }
    }

    /// A wrong command line or environment.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Done in part.
    pub(super) fn partial(message: impl Into<String>) -> Self {
        Self::new(Exit::Partial, message)
    }

    /// Someone asked to stop.
    pub(super) fn interrupted() -> Self {
        let message =
            "interrupted; what was stored is used again when the same command is run again";
        Self::new(Exit::Interrupted, message)
    }

    /// A panic, of which the hook told already.
    pub(super) fn panicked() -> Self {
        let mut failure = Self::new(Exit::Bug, "this is a mistake in Backstay; please report it");
        failure.is_told = true;
        failure
    }

    /// What was to be printed could not be. Where nobody reads any more, that is no news.
    pub(super) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            let mut failure = Self::new(Exit::Interrupted, "nobody reads the output any more");
            failure.is_silent = true;
            return failure;
        }
        let exit = if Class::of_io(error) == Class::Full { Exit::Full } else { Exit::Usage };
        Self::new(exit, format!("cannot write to standard output: {error}"))
    }

    fn of(class: Class, error: &(dyn StdError + 'static)) -> Self {
        let mut message = chain(error);
        if class == Class::Bug && !message.contains("report") {
            message.push_str("; please report it");
        }
        let mut failure = Self::new(Exit::of(class), message);
        let Some(error) = store_error(error) else {
            return failure;
        };
        failure.lacks_place =
            !matches!(error, store::Error::Place { .. } | store::Error::Setting(_));
        // What a store lacks although something refers to it was lost.
        if matches!(error, store::Error::Missing { .. }) {
            failure.exit = Exit::Integrity;
            failure.message.push_str(", though the repository refers to it");
        }
        if let Some(advice) = advice(error) {
            failure.message.push_str(advice);
        }
        failure
    }

    /// Says which repository it was, where the message does not.
    #[must_use]
    pub(super) fn at(mut self, place: Option<&str>) -> Self {
        if let (true, Some(place)) = (self.lacks_place, place) {
            self.message = one_line(&format!("repository {place}: {}", self.message));
            self.lacks_place = false;
        }
        self
    }

    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// The word used in JSON.
    pub(super) fn class(&self) -> &'static str {
        self.exit.as_str()
    }

    /// One line.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Whether a person was told already.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// Whether nobody is there to be told.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent
    }
}

/// An error and its causes in one line, each said once.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.ends_with(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
        cause = error.source();
    }
    text
}

/// The text on one line, with nothing in it that a terminal must not get.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    plain::escaped(&words.join(" ")).into_owned()
}

/// The store's error that an error is or wraps.
fn store_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a store::Error> {
    if let Some(error) = error.downcast_ref::<store::Error>() {
        return Some(error);
    }
    if let Some(probe::Error::Store(error)) = error.downcast_ref::<probe::Error>() {
        return Some(error);
    }
    let repository = match error.downcast_ref::<backup::Error>() {
        Some(backup::Error::Repository(error)) => Some(error),
        _ => match error.downcast_ref::<restore::Error>() {
            Some(restore::Error::Repository(error)) => Some(error),
            _ => error.downcast_ref::<repo::Error>(),
        },
    };
    match repository? {
        repo::Error::Store(error) => Some(error),
        _ => None,
    }
}

/// What to do about an error of the operating system; a store on the network says so itself.
fn advice(error: &store::Error) -> Option<&'static str> {
    let store::Error::Failed { class, source, .. } = error else {
        return None;
    };
    source.downcast_ref::<io::Error>()?;
    match class {
        Class::Full => Some("; free space there, then run the command again"),
        Class::Denied => Some("; check owner and mode of the directory, or mount it writable"),
        Class::Transient => Some("; check the disk, then run the command again"),
        _ => None,
    }
}

macro_rules! from_error {
    ($($error:ty),*) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::of(error.class(), &error)
            }
        })*
    };
}

from_error!(
    repo::Error,
    store::Error,
    backup::Error,
    restore::Error,
    source::Error,
    destination::Error,
    policy::Error,
    probe::Error,
    demo::Error
);

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::usage(refusal.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    #[test]
    fn help_and_page_agree() {
        let page = include_str!("failure.rs");
        for line in HELP.lines().skip(1) {
            let code = line.split_whitespace().next().unwrap();
            assert!(page.contains(&format!("//! | {code} |")), "{code}");
        }
    }

    #[test]
    fn a_lost_object_is_damage_and_names_the_repository() {
        let error = repo::Error::from(store::Error::Missing { key: Key::new("pack/a") });
        let failure = Failure::from(error).at(Some("/srv/backup"));
        assert_eq!(failure.exit(), Exit::Integrity);
        assert_eq!(
            failure.message(),
            "repository /srv/backup: pack/a does not exist, though the repository refers to it"
        );
    }

    #[test]
    fn causes_follow_on_one_line() {
        let source = io::Error::from_raw_os_error(28).into();
        let key = Key::new("pack/a");
        let error = store::Error::Failed { action: "create", key, class: Class::Full, source };
        let failure = Failure::from(backup::Error::from(repo::Error::from(error)));
        assert_eq!(failure.exit(), Exit::Full);
        assert!(failure.message().starts_with("create pack/a failed: No space left on device"));
        assert!(failure.message().ends_with("run the command again"));
    }
}
