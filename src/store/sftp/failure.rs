//! What went wrong, in the words of the one policy.

use russh::AlgorithmKind;

use super::table::Trouble;
use super::url::Location;
use super::wire::status;
use crate::class::Class;
use crate::store::remote::{Failure, Kind};

/// A connection that is no more. The next attempt makes another.
pub(super) fn lost(address: &str, reason: &str) -> Failure {
    Failure::transient(format!("the connection to {address} was lost: {reason}"))
}

/// A request for `path` that failed, as far as its code tells.
pub(super) fn of(trouble: &Trouble, location: &Location, path: &str) -> Failure {
    let address = location.address();
    let (code, text) = match trouble {
        Trouble::Lost(reason) => return lost(&address, reason),
        Trouble::Odd => {
            return Failure::transient(format!("{address} answered something else than was asked"));
        }
        Trouble::Status(code, text) => (*code, text),
    };
    match code {
        status::NO_SUCH_FILE | status::NO_SUCH_PATH => {
            Failure::answer(Kind::Missing, Class::Missing, format!("{path} does not exist"))
        }
        status::PERMISSION_DENIED | status::WRITE_PROTECTED => Failure::answer(
            Kind::Object,
            Class::Denied,
            format!(
                "{address} denies {} the access to {path}; give it the permission, or log in as who \
                 has it",
                location.user
            ),
        ),
        status::EXISTS => Failure::answer(Kind::Exists, Class::Refused, "exists already"),
        status::NO_SPACE | status::QUOTA_EXCEEDED => full(location),
        status::NO_CONNECTION | status::CONNECTION_LOST => {
            let text = format!("{address} has lost its disk ({text})");
            Failure::answer(Kind::Object, Class::Transient, text)
        }
        status::UNSUPPORTED | status::BAD_MESSAGE => Failure::answer(
            Kind::Object,
            Class::Config,
            format!("{address} cannot do what is needed with {path} ({text}); use another server"),
        ),
        _ => Failure::answer(
            Kind::Object,
            Class::Transient,
            format!("{address} failed with {path} and says only: {text}"),
        ),
    }
}

/// No room.
pub(super) fn full(location: &Location) -> Failure {
    let text = format!(
        "no room is left at {}; free some there, or raise the quota of {}",
        location.address(),
        location.user
    );
    Failure::answer(Kind::Place, Class::Full, text)
}

/// A write that failed without a reason though the disk has room: OpenSSH has one word for a quota that is
/// used up, a disk that fails and a file that may not grow.
pub(super) fn refused_write(text: &str, location: &Location, may_pass: bool) -> Failure {
    let text = format!(
        "{text}, though its disk has room; the quota of {} may be used up (free some, or raise it) or \
         the disk be failing (see the log of that server)",
        location.user
    );
    let class = if may_pass { Class::Transient } else { Class::Full };
    Failure::answer(Kind::Object, class, text)
}

/// A file system that takes nothing.
pub(super) fn read_only(location: &Location) -> Failure {
    let text = format!(
        "the file system of {} at {} is mounted read-only; mount it writable",
        location.root,
        location.address()
    );
    Failure::answer(Kind::Place, Class::Denied, text)
}

/// The repository's directory is not there.
pub(super) fn no_root(location: &Location) -> Failure {
    let text = format!(
        "not a repository directory: {} does not exist at {}; check the path (after /./ it begins where \
         the login leads), or run `init`",
        location.root,
        location.address()
    );
    Failure::answer(Kind::Place, Class::Missing, text)
}

/// There is a file where a directory should be.
pub(super) fn a_file(location: &Location, directory: &str) -> Failure {
    let text = format!(
        "not a repository directory: {} at {}, or something above it, is a file; check the path",
        location.path_of(directory),
        location.address()
    );
    Failure::answer(Kind::Place, Class::Config, text)
}

/// The directory above the repository's is not there.
pub(super) fn no_parent(location: &Location) -> Failure {
    let text = format!(
        "the directory that should hold {} does not exist at {}; check the path (after /./ it begins \
         where the login leads), or make that directory",
        location.root,
        location.address()
    );
    Failure::answer(Kind::Place, Class::Config, text)
}

/// A key exchange that came to nothing.
pub(super) fn handshake(error: &russh::Error, location: &Location) -> Failure {
    let address = location.address();
    match error {
        russh::Error::NoCommonAlgo { kind, theirs, .. } => {
            let what = match kind {
                AlgorithmKind::Kex => "key exchanges",
                AlgorithmKind::Key => "host keys",
                AlgorithmKind::Cipher => "ciphers",
                AlgorithmKind::Compression => "compressions",
                AlgorithmKind::Mac => "checksums",
            };
            let text = format!(
                "{address} offers none of the {what} that are safe, only {}; update that server",
                theirs.join(", ")
            );
            Failure::answer(Kind::Place, Class::Config, text)
        }
        russh::Error::Version => {
            let text = format!("{address} does not speak SSH 2; check host and port in the URL");
            Failure::answer(Kind::Place, Class::Config, text)
        }
        russh::Error::WrongServerSig => {
            let text = format!("{address} does not hold the key that it shows; do not trust it");
            Failure::answer(Kind::Place, Class::Denied, text)
        }
        error => Failure {
            kind: Kind::Place,
            ..Failure::transient(format!(
                "{address} ended the connection before the login ({error}); too many may be open, or a \
                 firewall does not let this host in"
            ))
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::settings::Settings;

    #[test]
    fn knows_what_each_code_means() {
        let location = Location::parse("sftp://me@nas/srv", &Settings::default()).unwrap();
        for (code, kind, class) in [
            (status::NO_SUCH_FILE, Kind::Missing, Class::Missing),
            (status::PERMISSION_DENIED, Kind::Object, Class::Denied),
            (status::FAILURE, Kind::Object, Class::Transient),
            (status::UNSUPPORTED, Kind::Object, Class::Config),
            (status::CONNECTION_LOST, Kind::Object, Class::Transient),
            (status::EXISTS, Kind::Exists, Class::Refused),
            (status::NO_SPACE, Kind::Place, Class::Full),
            (status::QUOTA_EXCEEDED, Kind::Place, Class::Full),
            (12_345, Kind::Object, Class::Transient),
        ] {
            let trouble = Trouble::Status(code, "Failure".to_owned());
            let failure = of(&trouble, &location, "/srv/a");
            assert_eq!((failure.kind, failure.class), (kind, class), "{code}");
            assert!(failure.is_answer);
        }
        let lost = of(&Trouble::Lost("gone".to_owned()), &location, "/srv/a");
        assert_eq!(lost.class, Class::Transient);
        assert!(!lost.is_answer);
    }
}
