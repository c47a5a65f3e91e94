//! From what a person writes after `--repository` to a store.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::s3::S3Store;
use super::{Error, LocalStore, Store};
use crate::class::Class;

const SUPPORTED: &str = "supported are a path, file:///path and s3://bucket/prefix; \
                         gs://, az:// and sftp:// come with a later version";

/// Other tools' ways to name a place without `//`, which must not become a directory's name here.
const FOREIGN: [&str; 9] =
    ["s3:", "gs:", "az:", "azure:", "sftp:", "file:", "b2:", "rest:", "rclone:"];

/// The store that `url` names, with credentials from this process's environment. Contacts nobody:
/// a wrong place shows with the first request.
///
/// # Errors
/// [`Error::Place`] of class `config` if it cannot be understood.
pub fn open(url: &str) -> Result<Arc<dyn Store>, Error> {
    let utf8 = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    open_with(url, &std::env::vars_os().filter_map(utf8).collect())
}

/// Like [`open`], with credentials and settings from `environment`. An empty value counts as none.
pub fn open_with(
    url: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Arc<dyn Store>, Error> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return open_path(url);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Whatever goes wrong from here on, what stands before an @ may be a secret.
    let (user, place) = match authority.rsplit_once('@') {
        Some((user, _)) => (user, format!("{scheme}://{}", &rest[user.len() + 1..])),
        None => ("", url.to_owned()),
    };
    if user.contains(':') {
        return Err(wrong(
            &place,
            "there is a password in this URL, where process lists and logs show it; give \
             credentials in the environment or a file instead",
        ));
    }
    match scheme.to_ascii_lowercase().as_str() {
        "file" if user.is_empty() => open_file_url(url, authority, rest),
        "s3" => {
            let mut environment = environment.clone();
            environment.retain(|_, value| !value.is_empty());
            Ok(Arc::new(S3Store::open(&place, &environment)?))
        }
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

/// Replaces `%20` and the like.
fn percent_decode(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut decoded = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2)?.as_bytes();
        decoded.extend(HEXLOWER_PERMISSIVE.decode(digits).ok()?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(decoded).ok()
}

fn wrong(place: &str, reason: &str) -> Error {
    Error::Place { place: place.to_owned(), reason: reason.to_owned(), class: Class::Config }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_paths_and_file_urls() {
        let place = |url| open(url).unwrap().place();
        assert_eq!(place("/srv/backup"), "/srv/backup");
        assert_eq!(place("file:///srv/my%20backup"), "/srv/my backup");
        assert_eq!(place("file://localhost/srv"), "/srv");
        assert!(place("backup").ends_with("/backup"));
    }

    #[test]
    fn refuses_what_it_does_not_understand_and_says_what_it_does() {
        for url in [
            "",
            "s3:bucket",
            "sftp:user@host:/path",
            "gs://bucket",
            "file://srv/backup",
            "file:///srv/100%",
            "https://example.org/",
        ] {
            let error = open(url).unwrap_err();
            assert_eq!(error.class(), Class::Config, "{url}");
        }
        let text = open("gs://bucket").unwrap_err().to_string();
        assert!(text.contains("later version"), "{text}");
    }

    #[test]
    fn never_repeats_a_secret() {
        for url in [
            "s3://key:hunter2@bucket/prefix",
            "sftp://user:hunter2@host/path",
            "rest:https://user:hunter2@host/",
        ] {
            let text = open(url).unwrap_err().to_string();
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
