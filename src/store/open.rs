//! From what a person writes after `--repository` to a store.

use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::count::Meter;
use super::settings::Settings;
use super::{Counted, Error, LocalStore, Store, cloud, sftp};
use crate::class::Class;

const SUPPORTED: &str = "supported are a path, file:///path, s3://bucket/prefix, gs://bucket/prefix, \
                         az://container/prefix and sftp://user@host:port/path";

/// Other tools' ways to name a place without `//`, which must not become a directory's name here.
const FOREIGN: [&str; 9] =
    ["s3:", "gs:", "az:", "azure:", "sftp:", "file:", "b2:", "rest:", "rclone:"];

/// The store that `url` names, counting what is asked of it. Contacts nobody: a wrong place shows with
/// the first request.
///
/// # Errors
/// [`Error::Place`] of class `config` if it cannot be understood.
pub fn open(url: &str, settings: &Settings) -> Result<Arc<Counted>, Error> {
    let meter = Arc::new(Meter::default());
    let store = open_with(url, settings, &meter)?;
    Ok(Arc::new(Counted::with_meter(store, meter)))
}

/// Whether `url` leads across a network.
pub fn is_remote(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| !scheme.eq_ignore_ascii_case("file"))
}

/// The directory that `url` leads to, if it is one of this machine.
pub fn local_directory(url: &str) -> Option<PathBuf> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some(PathBuf::from(url));
    };
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let decoded = percent_decode(path).filter(|path| path.starts_with('/'));
    decoded.filter(|_| scheme.eq_ignore_ascii_case("file")).map(PathBuf::from)
}

/// Whether `url` leads to an SSH server.
pub fn is_over_ssh(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("sftp"))
}

fn open_with(url: &str, settings: &Settings, meter: &Arc<Meter>) -> Result<Arc<dyn Store>, Error> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return open_path(url);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Whatever goes wrong from here on, what stands before an @ may be a secret.
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, _)) => (user, format!("{scheme}://{}", &rest[user.len() + 1..])),
        None => ("", url.to_owned()),
    };
    // A slash in a password makes its beginning look like a port.
    let is_cut = user.is_empty() && authority.contains(':') && rest.contains('@');
    if user.contains(':') || is_cut {
        return Err(wrong(
            &place,
            "there is a password in this URL, where process lists and logs show it; give \
             credentials in the environment or a file instead (an @ in a path is written %40)",
        ));
    }
    match scheme.to_ascii_lowercase().as_str() {
        "file" if user.is_empty() => open_file_url(url, authority, rest),
        "sftp" => sftp::open(url, settings, meter),
        scheme @ ("s3" | "gs" | "az") => cloud::open(scheme, &place, settings, meter),
        _ => Err(wrong(&place, SUPPORTED)),
    }
}

fn open_path(path: &str) -> Result<Arc<dyn Store>, Error> {
    if path.is_empty() {
        return Err(wrong("the repository's URL", "it is empty"));
    }
    if let Some(scheme) = FOREIGN.iter().find(|scheme| path.starts_with(**scheme)) {
        // What follows may hold a password in another tool's notation.
        return Err(wrong(
            &format!("{scheme}…"),
            &format!("not a URL: two slashes must follow the colon; {SUPPORTED}"),
        ));
    }
    Ok(Arc::new(LocalStore::new(path)))
}

fn open_file_url(url: &str, authority: &str, rest: &str) -> Result<Arc<dyn Store>, Error> {
    if !matches!(authority, "" | "localhost") || rest.len() == authority.len() {
        return Err(wrong(url, "a file URL has three slashes: file:///absolute/path"));
    }
    let path = percent_decode(&rest[authority.len()..])
        .ok_or_else(|| wrong(url, "a % must be followed by two hexadecimal digits"))?;
    Ok(Arc::new(LocalStore::new(PathBuf::from(path))))
}

/// A URL for people who mistyped it: without what may be a secret in it. That is what follows a `?`, such as a
/// signature, and a key or a password before an `@`, which a slash in them puts behind what looks like a host.
fn without_secrets(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    if rest.find(':').is_some_and(|colon| rest[colon..].contains('@')) {
        return format!("{scheme}://…");
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let authority = rest.split('/').next().unwrap_or_default();
    // Only there is it the name of a user.
    let user_bytes = match authority.rfind('@') {
        Some(at) if !scheme.eq_ignore_ascii_case("sftp") => at + 1,
        _ => 0,
    };
    format!("{scheme}://{}", &rest[user_bytes..])
}

/// Replaces `%20` and the like.
pub(super) fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2)?.as_bytes();
        decoded.extend(HEXLOWER_PERMISSIVE.decode(digits).ok()?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(decoded).ok()
}

/// A place that cannot be used as it was written. Leaves out of `place` what may be a secret.
pub(super) fn wrong(place: &str, reason: &str) -> Error {
    Error::Place { place: without_secrets(place), reason: reason.to_owned(), class: Class::Config }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_paths_and_file_urls() {
        let place = |url| open(url, &Settings::default()).unwrap().place();
        assert_eq!(place("/srv/backup"), "/srv/backup");
        assert_eq!(place("file:///srv/my%20backup"), "/srv/my backup");
        assert_eq!(place("file://localhost/srv"), "/srv");
        assert!(place("backup").ends_with("/backup"));
        assert!(!is_remote("/srv/backup") && !is_remote("file:///srv") && !is_remote("a:b"));
        assert!(is_remote("s3://bucket") && is_remote("sftp://host/path"));
    }

    #[test]
    fn refuses_what_it_does_not_understand_and_says_what_it_does() {
        for url in [
            "",
            "s3:bucket",
            "sftp:user@host:/path",
            "ftp://bucket",
            "file://srv/backup",
            "file:///srv/100%",
            "https://example.org/",
        ] {
            let error = open(url, &Settings::default()).unwrap_err();
            assert_eq!(error.class(), Class::Config, "{url}");
        }
        let text = open("ftp://host", &Settings::default()).unwrap_err().to_string();
        assert!(text.contains("sftp://user@host"), "{text}");
    }

    #[test]
    fn repeats_what_is_no_secret() {
        for url in [
            "s3://bucket/a:b/c",
            "s3://bucket/a@b",
            "sftp://me@host:22/a%2",
            "sftp://me@[::1]/a",
            "file:///srv/100%",
            "/srv/a:b@c?d",
        ] {
            assert_eq!(without_secrets(url), url);
        }
        assert_eq!(without_secrets("https://host/c?sig=x"), "https://host/c");
        assert_eq!(without_secrets("s3://id@bucket/a@b"), "s3://bucket/a@b");
    }

    #[test]
    fn never_repeats_a_secret() {
        for url in [
            "s3://key:hunter2@bucket/prefix",
            "sftp://user:hunter2@host/path",
            "rest:https://user:hunter2@host/",
            "https://mine.blob.core.windows.net/c?sv=1&sig=hunter2",
            "https://hunter2@host/x",
            "az://container/prefix?sv=1&sig=hunter2",
            "gs://bucket#hunter2",
            "s3://KEY:abc/hunter2@bucket/x",
            "s3://KEY:hunter2/def@bucket/x",
            "sftp://user:pa/hunter2@host/path",
            "sftp://user:hunter2/pa@host/path",
            "sftp://user:22/hunter2@host/path",
            "sftp://user:hunter2?@host/path",
            "sftp://user@host/path?hunter2",
        ] {
            let text = open(url, &Settings::default()).unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
