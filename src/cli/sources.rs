//! From what a command line or a policy names to sources that can be backed up.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::show;
use crate::entry::Cutter;
use crate::policy::{self, Policy, SourceKind};
use crate::repo::codec::Compression;
use crate::repo::snapshot::is_source_name;
use crate::source::{
    ClosedRule, CutterChoice, DirectoryOptions, DirectorySource, Source, WalOptions, WalSource,
};
use crate::units::parse_bytes;

/// Splits `NAME=PATH`. What stands before `=` is a name only if it can be one, so `./a=b` is a path.
pub(super) fn name_and_path(text: &OsStr) -> Result<(String, PathBuf), Failure> {
    let bytes = text.as_bytes();
    if let Some(at) = bytes.iter().position(|byte| *byte == b'=') {
        let (name, path) = (bytes.get(..at), bytes.get(at + 1..));
        let name = name.and_then(|name| std::str::from_utf8(name).ok());
        if let (Some(name), Some(path)) = (name.filter(|name| !name.contains('/')), path) {
            if !is_source_name(name) {
                return Err(Failure::usage(format!(
                    "{}: {name:?} cannot be the name of a source; it must not be empty or begin \
                     with a dot (a path goes as ./PATH)",
                    show::path(bytes)
                )));
            }
            if path.is_empty() {
                let shown = show::path(bytes);
                return Err(Failure::usage(format!("{shown}: a path must follow the =")));
            }
            return Ok((name.to_owned(), PathBuf::from(OsStr::from_bytes(path))));
        }
    }
    let path = Path::new(text);
    let unnamed = || {
        Failure::usage(format!(
            "{}: its last part cannot be the name of a source; give it one: NAME={0}",
            show::path(bytes)
        ))
    };
    if path.as_os_str().is_empty() {
        return Err(Failure::usage("a path is empty; name what is to be backed up"));
    }
    let name = if let Some(name) = path.file_name() {
        name.to_owned()
    } else {
        // `.`, `..` and `/`.
        let real = path.canonicalize().map_err(|error| {
            Failure::usage(format!("{}: {error}; check the path", show::path(bytes)))
        })?;
        real.file_name().ok_or_else(unnamed)?.to_owned()
    };
    let name = name.into_string().ok().filter(|name| is_source_name(name)).ok_or_else(unnamed)?;
    Ok((name, path.to_owned()))
}

/// Understands `auto`, `whole`, `pages:8KiB`, `cdc:1MiB`.
pub(super) fn cutter(text: &str) -> Result<CutterChoice, String> {
    let (word, size) = match text.split_once(':') {
        Some((word, size)) => (word, Some(size)),
        None => (text, None),
    };
    let bytes = |least: u32, most: u32, bounds: &str| {
        let bytes = size.and_then(parse_bytes).and_then(|bytes| u32::try_from(bytes).ok());
        bytes
            .filter(|bytes| bytes.is_power_of_two() && (least..=most).contains(bytes))
            .ok_or_else(|| format!("{word} takes a power of two {bounds}"))
    };
    match (word, size) {
        ("auto", None) => Ok(CutterChoice::Auto),
        ("whole", None) => Ok(CutterChoice::Forced(Cutter::Whole)),
        ("pages", _) => Ok(CutterChoice::Forced(Cutter::Pages {
            page_bytes: bytes(4 << 10, 64 << 10, "from 4KiB to 64KiB, such as pages:8KiB")?,
        })),
        ("cdc", _) => Ok(CutterChoice::Forced(Cutter::Content {
            average_bytes: bytes(64 << 10, 4 << 20, "from 64KiB to 4MiB, such as cdc:1MiB")?,
        })),
        _ => Err("write auto, whole, pages:8KiB or cdc:1MiB".to_owned()),
    }
}

/// Understands `off` and a zstd level.
pub(super) fn compression(text: &str) -> Result<Compression, String> {
    if text == "off" {
        return Ok(Compression::Off);
    }
    let level = text.parse::<i32>().ok().filter(|level| (1..=19).contains(level));
    level.map(Compression::Level).ok_or_else(|| "write off, or a level from 1 to 19".to_owned())
}

/// Understands `10MiB`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "this is not a size; write one such as 10MiB".to_owned())
}

/// Understands `key=value`.
pub(super) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Understands `key` and `key=value`.
pub(super) fn wanted_label(text: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    if key.is_empty() {
        Err("write KEY or KEY=VALUE".to_owned())
    } else {
        Ok((key.to_owned(), value))
    }
}

/// The sources of a policy; `own` are directories that they leave out.
pub(super) fn of_policy(policy: &Policy, own: &[PathBuf]) -> Result<Vec<Box<dyn Source>>, Failure> {
    policy.sources.iter().map(|source| of_policy_source(source, own)).collect()
}

fn of_policy_source(source: &policy::Source, own: &[PathBuf]) -> Result<Box<dyn Source>, Failure> {
    let name = source.name.as_str();
    Ok(match &source.kind {
        SourceKind::Directory(directory) => Box::new(DirectorySource::new(DirectoryOptions {
            exclude: directory.exclude.clone(),
            exclude_caches: directory.exclude_caches,
            one_file_system: directory.one_file_system,
            pin: directory.pin,
            cutter: directory.cutter.map_or(CutterChoice::Auto, CutterChoice::Forced),
            allow_empty: directory.allow_empty,
            own: own.to_vec(),
            ..DirectoryOptions::new(name, &directory.path)
        })?),
        SourceKind::Wal(wal) => Box::new(WalSource::new(WalOptions {
            closed: match &wal.closed {
                policy::Closed::AllButNewest => ClosedRule::AllButNewest,
                policy::Closed::Renamed { open_suffix } => {
                    ClosedRule::Renamed { open_suffix: open_suffix.clone() }
                }
                policy::Closed::Marker { suffix } => ClosedRule::Marker { suffix: suffix.clone() },
            },
            settle: wal.settle,
            allow_empty: wal.allow_empty,
            ..WalOptions::new(name, &wal.path, wal.segments.clone())
        })?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<(String, String), String> {
        let split = name_and_path(OsStr::new(text));
        split
            .map(|(name, path)| (name, path.display().to_string()))
            .map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn sources_have_names() {
        let pair = |name: &str, path: &str| Ok((name.to_owned(), path.to_owned()));
        assert_eq!(named("/var/lib/app/"), pair("app", "/var/lib/app/"));
        assert_eq!(named("db=/var/lib/app"), pair("db", "/var/lib/app"));
        assert_eq!(named("db=a=b"), pair("db", "a=b"));
        assert_eq!(named("./a=b"), pair("a=b", "./a=b"));
        assert!(named(".").is_ok());
        for text in ["", "/", "=x", "a=", ".hidden", ".x=/y"] {
            assert!(named(text).is_err(), "{text}");
        }
    }

    #[test]
    fn values_are_understood_or_explained() {
        assert_eq!(cutter("auto"), Ok(CutterChoice::Auto));
        assert_eq!(
            cutter("pages:8KiB"),
            Ok(CutterChoice::Forced(Cutter::Pages { page_bytes: 8192 }))
        );
        for text in ["pages", "pages:3KiB", "cdc:8MiB", "whole:1", "x"] {
            assert!(cutter(text).is_err(), "{text}");
        }
        assert!(compression("20").is_err() && compression("off").is_ok());
        assert!(label("=x").is_err() && label("x").is_err());
        let pair = |key: &str, value: Option<&str>| Ok((key.to_owned(), value.map(str::to_owned)));
        assert_eq!(wanted_label("a"), pair("a", None));
        assert_eq!(wanted_label("a="), pair("a", Some("")));
        assert_eq!(wanted_label("a=b=c"), pair("a", Some("b=c")));
        assert!(wanted_label("=x").is_err() && wanted_label("").is_err());
    }
}
