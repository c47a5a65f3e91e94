//! What can go wrong with a repository; each variant says where, and its class decides the rest.

use crate::class::Class;
use crate::store;

/// An error of the stored format or of the keys to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store below failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Stored bytes break a rule of FORMAT.md.
    #[error("{object} is damaged: {reason}")]
    Damaged {
        /// The object's name, or a snapshot and path.
        object: String,
        /// Which rule.
        reason: String,
    },
    /// There is no `config/` object.
    #[error(
        "{place} is not a Backstay repository: nothing under config/ (backstay init makes one)"
    )]
    NotARepository {
        /// The repository's URL.
        place: String,
    },
    /// `init` where a repository is already.
    #[error("{place} holds a Backstay repository already; nothing was changed")]
    AlreadyInitialised {
        /// The repository's URL.
        place: String,
    },
    /// The key opens another repository.
    #[error(
        "the key belongs to repository {key_repository}, but {place} is {found}: \
         choose the other key or the other repository"
    )]
    Foreign {
        /// The repository's URL.
        place: String,
        /// Its id.
        found: String,
        /// The id in the key.
        key_repository: String,
    },
    /// A newer Backstay wrote this.
    #[error("{place} needs a newer Backstay: {what}")]
    Newer {
        /// The repository's URL or the object's name.
        place: String,
        /// The format number or feature.
        what: String,
    },
    /// No envelope opens with what was given.
    #[error("{0}")]
    Denied(String),
    /// An agent key was used where file content must be read.
    #[error(
        "this needs file content, which an agent key cannot read: \
         use the recovery key (--key-file recovery.key)"
    )]
    AgentKey,
    /// A key file or passphrase cannot be used.
    #[error("{0}")]
    Key(String),
    /// No snapshot, or more than one, goes by the name.
    #[error("snapshot {wanted}: {reason}")]
    Snapshot {
        /// What was asked for.
        wanted: String,
        /// Why it is not to be had.
        reason: String,
    },
    /// A name that several series could mean.
    #[error(
        "{wanted} could be of several series; say which with --host or --job, or give an id: {choices}"
    )]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// The newest snapshot of each.
        choices: String,
    },
    /// A collector gave this session up; what it stored will be used by the next attempt.
    #[error("session {session} was aborted: {reason}; run the backup again")]
    Aborted {
        /// The session.
        session: String,
        /// Why.
        reason: String,
    },
    /// A mistake in Backstay itself, caught before it did harm.
    #[error("this is a mistake in Backstay: {0}")]
    Bug(String),
}

impl Error {
    /// Damage of `object`.
    pub fn damaged(object: impl ToString, reason: impl Into<String>) -> Self {
        Self::Damaged { object: object.to_string(), reason: reason.into() }
    }

    /// Decides retry, exit code and metric label.
    pub fn class(&self) -> Class {
        match self {
            Self::Store(error) => error.class(),
            Self::Damaged { .. } => Class::Damaged,
            Self::NotARepository { .. } | Self::Snapshot { .. } => Class::Missing,
            Self::AlreadyInitialised { .. } => Class::Refused,
            Self::Foreign { .. } | Self::Denied(_) | Self::AgentKey => Class::Denied,
            Self::Newer { .. } => Class::Newer,
            Self::Key(_) | Self::Ambiguous { .. } => Class::Config,
            Self::Aborted { .. } => Class::Transient,
            Self::Bug(_) => Class::Bug,
        }
    }

    /// Whether an object alone is lost, rather than the repository out of reach: a volume that is not
    /// mounted has lost nothing.
    pub(crate) fn is_loss(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Store(store::Error::Place { .. }) => false,
            Self::Store(error) => matches!(error.class(), Class::Damaged | Class::Missing),
            _ => false,
        }
    }

    /// Whether a commit register or a checkpoint is of no use to this key: lost, or sealed with a secret
    /// that the key does not have. The latter can be claimed by anyone who may write to the store. What
    /// the store refuses to hand out may be read by the next one, so that is neither.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.is_loss() || matches!(self, Self::Denied(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Key;

    #[test]
    fn a_repository_out_of_reach_has_lost_nothing() {
        let key = Key::new("pack/1");
        let place = |class| store::Error::Place {
            place: "/mnt/backups".to_owned(),
            reason: "it does not exist".to_owned(),
            class,
        };
        let failed = |class| store::Error::Failed {
            action: "get",
            key: key.clone(),
            class,
            source: "said so".into(),
        };
        for (error, is_loss, is_unreadable) in [
            (Error::damaged("pack/1", "is not what it was"), true, true),
            (store::Error::Missing { key: key.clone() }.into(), true, true),
            (place(Class::Missing).into(), false, false),
            (failed(Class::Transient).into(), false, false),
            (failed(Class::Denied).into(), false, false),
            (
                Error::Denied("sealed with a secret that the key does not have".to_owned()),
                false,
                true,
            ),
            (Error::NotARepository { place: "/mnt/backups".to_owned() }, false, false),
        ] {
            assert_eq!(
                (error.is_loss(), error.is_unreadable()),
                (is_loss, is_unreadable),
                "{error}"
            );
        }
    }
}
