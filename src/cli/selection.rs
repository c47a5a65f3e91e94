//! How people name snapshots and what is in them: `SNAPSHOT[:SOURCE[/PATH]]`, where SNAPSHOT is the
//! first digits of an id, or `latest`. `latest:NAME` is the newest snapshot that has a source NAME.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use super::failure::Failure;
use super::series::SeriesArgs;
use crate::entry::TreePath;
use crate::repo::catalog::Wanted;
use crate::repo::snapshot::Snapshot;
use crate::repo::{Error, Repository};

/// What was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection {
    /// The snapshot.
    pub wanted: Wanted,
    /// One source of it, or all.
    pub source: Option<String>,
    /// A path in the source; empty for all of it.
    pub path: TreePath,
}

impl Selection {
    /// Understands what a person wrote. Paths may be any bytes.
    pub(super) fn parse(text: &OsStr) -> Result<Self, Failure> {
        let bytes = text.as_bytes();
        let shown = super::show::path(bytes);
        let wrong = |reason: &str| {
            Failure::usage(format!("{shown}: {reason}; write SNAPSHOT[:SOURCE[/PATH]]"))
        };
        let (snapshot, rest) = split(bytes, b':');
        let (source, path) = match rest {
            Some(rest) => split(rest, b'/'),
            None => (b"".as_slice(), None),
        };
        let source = match (rest, std::str::from_utf8(source)) {
            (None, _) => None,
            (Some(_), Ok("")) => return Err(wrong("the name of a source must follow the colon")),
            (Some(_), Ok(source)) => Some(source.to_owned()),
            (Some(_), Err(_)) => return Err(wrong("names of sources are UTF-8")),
        };
        let path = trimmed(path.unwrap_or_default());
        let path = TreePath::from_bytes(path)
            .ok_or_else(|| wrong("this path cannot be: it has empty parts, . or .."))?;
        let wanted = match (std::str::from_utf8(snapshot), &source) {
            (Ok(""), _) => return Err(wrong("the snapshot is missing")),
            (Ok("latest"), Some(source)) => Wanted::LatestOf(source.clone()),
            (Ok("latest"), None) => Wanted::Latest,
            (Ok(id), _) => Wanted::Id(id.to_owned()),
            (Err(_), _) => return Err(wrong("this is no snapshot's id")),
        };
        Ok(Self { wanted, source, path })
    }

    /// Whether it is the newest one, and not one by its id.
    pub(super) fn is_latest(&self) -> bool {
        !matches!(self.wanted, Wanted::Id(_))
    }

    /// Finds the snapshot.
    pub(super) async fn snapshot(
        &self,
        repository: &Repository,
        series: &SeriesArgs,
    ) -> Result<Snapshot, Error> {
        repository.catalog().await?.find_in(&self.wanted, &series.series()).await
    }

    /// Source and path, which must both be named: a file is wanted.
    pub(super) fn file(&self, written: &OsString) -> Result<(&str, &TreePath), Failure> {
        match &self.source {
            Some(source) if !self.path.is_root() => Ok((source, &self.path)),
            _ => Err(Failure::usage(format!(
                "{}: name one file, as in latest:SOURCE/PATH; backstay ls shows them",
                super::show::path(written.as_bytes())
            ))),
        }
    }
}

fn split(bytes: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    match bytes.iter().position(|byte| *byte == separator) {
        Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..)),
        None => (bytes, None),
    }
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    path.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(String, Option<String>, String), String> {
        let selection = Selection::parse(OsStr::new(text));
        let selection = selection.map_err(|failure| failure.message().to_owned())?;
        let Selection { wanted, source, path } = selection;
        Ok((wanted.to_string(), source, path.to_string()))
    }

    #[test]
    fn all_forms() {
        let source = |name: &str| Some(name.to_owned());
        for (text, wanted, name, path) in [
            ("latest", "latest", None, ""),
            ("3fa2", "3fa2", None, ""),
            ("latest:etc", "latest:etc", source("etc"), ""),
            ("3fa2:etc", "3fa2", source("etc"), ""),
            ("3fa2:etc/", "3fa2", source("etc"), ""),
            ("3fa2:etc/ssh/config", "3fa2", source("etc"), "ssh/config"),
            ("3fa2:a b:c/d:e/", "3fa2", source("a b:c"), "d:e"),
        ] {
            assert_eq!(parse(text), Ok((wanted.to_owned(), name, path.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in ["", ":etc", "latest:", "latest:/x", "3fa2:etc/../x", "3fa2:etc//x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
