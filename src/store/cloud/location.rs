//! Where in a cloud a repository is: `scheme://bucket/prefix`, and at which server.

use object_store::path::Path;

use crate::store::Error;
pub(super) use crate::store::open::wrong;

/// Whose language a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Amazon S3 and the many that do as it does.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// Where a repository is.
#[derive(Debug)]
pub(super) struct Location {
    pub(super) dialect: Dialect,
    /// What the user wrote; holds no secret.
    pub(super) url: String,
    /// The bucket or container.
    pub(super) bucket: String,
    /// Before every key: empty, or ends with a slash.
    base: String,
    /// The server, for people.
    pub(super) endpoint: String,
    /// How the names of the store's own hosts end, with the port; others give credentials.
    pub(super) host: String,
}

impl Location {
    pub(super) fn parse(
        dialect: Dialect,
        url: &str,
        endpoint: &str,
        host: &str,
    ) -> Result<Self, Error> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (bucket, base) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', ':', '?', '#', '%']) {
            let reason = format!("the URL must be {scheme}://bucket or {scheme}://bucket/prefix");
            return Err(wrong(url, &reason));
        }
        let base = base.trim_matches('/');
        if base.contains(['?', '#']) || Path::parse(base).is_err() {
            return Err(wrong(
                url,
                "the prefix has an empty part, `.`, `..`, `?`, `#` or a control character",
            ));
        }
        Ok(Self {
            dialect,
            url: url.trim_end_matches('/').to_owned(),
            bucket: bucket.to_owned(),
            base: if base.is_empty() { String::new() } else { format!("{base}/") },
            endpoint: endpoint.to_owned(),
            host: host.to_owned(),
        })
    }

    /// The name in the bucket of a key, or of what a key starts with.
    pub(super) fn full_name(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// The key of a name in the bucket.
    pub(super) fn key_of<'a>(&self, full_name: &'a str) -> Option<&'a str> {
        full_name.strip_prefix(&self.base).filter(|name| !name.is_empty())
    }

    /// Whether `host` is of the store, rather than of who gives credentials.
    pub(super) fn is_own(&self, host: &str) -> bool {
        host.ends_with(&self.host) && !host.starts_with("sts.")
    }
}

/// Host and port, written in the one way in which hosts are compared: in small letters, and without the port
/// that the scheme means anyway.
pub(super) fn authority(url: &reqwest::Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Checks the URL of a server; returns host and port.
pub(super) fn host_of(url: &str, variable: &str, endpoint: &str) -> Result<String, Error> {
    let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
    let is_plain =
        host.is_some_and(|host| !host.starts_with('/') && !host.contains(['@', '?', '#']));
    // The parser would leave out some of them.
    let is_plain = is_plain && !endpoint.contains(|c: char| c.is_control() || c.is_whitespace());
    let parsed = endpoint.parse().ok().filter(|_| is_plain);
    parsed.as_ref().map(authority).ok_or_else(|| {
        wrong(
            url,
            &format!("{variable} must be https://host:port or, unencrypted, http://host:port"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let parse = |url: &str| Location::parse(Dialect::S3, url, "a server", "host");
        let location = parse("s3://bucket/a/b/").unwrap();
        assert_eq!(location.bucket, "bucket");
        assert_eq!(location.full_name("packs/x"), "a/b/packs/x");
        assert_eq!(location.key_of("a/b/packs/x"), Some("packs/x"));
        // What a console leaves to show a folder.
        assert_eq!(location.key_of("a/b"), None);
        for url in ["s3://", "s3:///x", "s3://b@c/x", "s3://b/x?y=z", "s3://b/x//y", "s3://b/../c"]
        {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn tells_the_store_from_who_gives_credentials() {
        let location = Location::parse(Dialect::S3, "s3://b", "S3", "amazonaws.com").unwrap();
        assert!(location.is_own("b.s3.eu-west-1.amazonaws.com"));
        assert!(!location.is_own("sts.eu-west-1.amazonaws.com"));
        assert!(!location.is_own("169.254.169.254"));
        assert_eq!(host_of("", "X", "http://h:1/base").unwrap(), "h:1");
        for endpoint in [
            "minio:9000",
            "https://",
            "http:///x",
            "http://a@b",
            "http://h:port",
            "http://h\nx",
            "http://h x",
        ] {
            assert!(host_of("", "X", endpoint).is_err(), "{endpoint}");
        }
    }

    /// As written in a variable and as the library asks it.
    #[test]
    fn compares_hosts_however_they_are_written() {
        for (endpoint, asked) in [
            ("https://Mine.Blob.Example.org:443", "https://mine.blob.example.org/c/x"),
            ("https://mine.example.org", "https://MINE.example.org:443/c/x"),
            ("http://HOST:80/base", "http://host/base/c"),
            ("http://[2001:DB8::1]:9", "http://[2001:db8::1]:9/c"),
        ] {
            let host = host_of("", "X", endpoint).unwrap();
            let location = Location::parse(Dialect::Azure, "az://c", endpoint, &host).unwrap();
            assert!(location.is_own(&authority(&asked.parse().unwrap())), "{endpoint}");
        }
    }
}
