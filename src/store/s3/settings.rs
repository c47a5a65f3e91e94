//! Which bucket, at which server, with which credential: from the URL and the environment.
//!
//! Only variables that are named here count. `object_store` would take any setting from the
//! environment, one that switches put-if-absent off among them.

use std::collections::BTreeMap;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, RetryConfig};

use crate::class::Class;
use crate::store::Error;

/// Variables that are handed on as they are: the names that AWS's own tools use.
const HANDED_ON: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SERVER_SIDE_ENCRYPTION",
    "AWS_SSE_KMS_KEY_ID",
];

/// Without one of these only a machine inside AWS has a credential to ask for.
const CREDENTIALS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// An address that does not answer is given up on sooner than a busy server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a repository is.
#[derive(Debug)]
pub(super) struct Location {
    /// What the user wrote; holds no secret.
    pub(super) url: String,
    pub(super) bucket: String,
    /// Before every key: empty, or ends with a slash.
    base: String,
    /// The server, for people.
    pub(super) endpoint: String,
    /// The server, where it is not AWS.
    custom_endpoint: Option<String>,
}

impl Location {
    pub(super) fn parse(url: &str, environment: &BTreeMap<String, String>) -> Result<Self, Error> {
        let rest = url.split_once("://").map_or("", |(_, rest)| rest);
        let (bucket, base) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', ':', '?', '#', '%']) {
            return Err(wrong(url, "a bucket's URL is s3://bucket or s3://bucket/prefix"));
        }
        if bucket.ends_with("--x-s3") {
            return Err(wrong(
                url,
                "directory buckets do not list keys in order; use a general-purpose bucket",
            ));
        }
        let base = base.trim_matches('/');
        if base.contains(['?', '#']) || Path::parse(base).is_err() {
            return Err(wrong(
                url,
                "the prefix has an empty part, `.`, `..`, `?`, `#` or a control character",
            ));
        }
        let custom_endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
            .iter()
            .find_map(|name| environment.get(*name))
            .map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        if let Some(endpoint) = &custom_endpoint
            && (!endpoint.starts_with("http://") && !endpoint.starts_with("https://")
                || endpoint.contains('@'))
        {
            return Err(wrong(
                url,
                "AWS_ENDPOINT_URL must be https://host:port or, unencrypted, http://host:port",
            ));
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            bucket: bucket.to_owned(),
            base: if base.is_empty() { String::new() } else { format!("{base}/") },
            endpoint: custom_endpoint.clone().unwrap_or_else(|| "Amazon S3".to_owned()),
            custom_endpoint,
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
}

/// The client for `location`.
pub(super) fn build(
    location: &Location,
    environment: &BTreeMap<String, String>,
) -> Result<AmazonS3, Error> {
    let fail = |reason: &str| wrong(&location.url, reason);
    if location.custom_endpoint.is_some()
        && !CREDENTIALS.iter().any(|name| environment.contains_key(*name))
    {
        return Err(fail(
            "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles in ~/.aws \
             are not read)",
        ));
    }
    let retries_are_ours = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_retry(retries_are_ours)
        .with_client_options(client_options(location, environment)?)
        // One DELETE per object: the bulk request is missing from some servers.
        .with_disable_bulk_delete(true);
    for name in HANDED_ON {
        if let Some(value) = environment.get(name) {
            let key: AmazonS3ConfigKey = name
                .to_ascii_lowercase()
                .parse()
                .map_err(|error| fail(&format!("{name}: {error}")))?;
            builder = builder.with_config(key, value);
        }
    }
    let region = ["AWS_REGION", "AWS_DEFAULT_REGION"];
    if let Some(region) = region.iter().find_map(|name| environment.get(*name)) {
        builder = builder.with_region(region);
    }
    if checksum_is_on(location, environment)? {
        // Costs nothing: the signature needs this hash anyway.
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    // AWS means to retire path style; a bucket with a dot has no certificate in the other one.
    let default = location.custom_endpoint.is_some() || location.bucket.contains('.');
    let path_style = flag(location, environment, "BACKSTAY_S3_PATH_STYLE", default)?;
    builder = builder.with_virtual_hosted_style_request(!path_style);
    if let Some(endpoint) = &location.custom_endpoint {
        builder = builder.with_endpoint(match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{}.{host}", location.bucket),
            _ => endpoint.clone(),
        });
    }
    builder.build().map_err(|error| fail(&error.to_string()))
}

fn client_options(
    location: &Location,
    environment: &BTreeMap<String, String>,
) -> Result<ClientOptions, Error> {
    let endpoint = location.custom_endpoint.as_deref().unwrap_or_default();
    let mut options = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        // Each request has its own limit, by its size: see `retry.rs`.
        .with_timeout_disabled()
        .with_allow_http(endpoint.starts_with("http://"));
    if let Some(path) = environment.get("AWS_CA_BUNDLE") {
        let fail = |error: &dyn std::fmt::Display| {
            wrong(&location.url, &format!("AWS_CA_BUNDLE, {path}: {error}"))
        };
        let bundle = std::fs::read(path).map_err(|error| fail(&error))?;
        for certificate in Certificate::from_pem_bundle(&bundle).map_err(|error| fail(&error))? {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}

/// Whether the server is sent a hash to keep with the object. Some old servers refuse the header.
fn checksum_is_on(
    location: &Location,
    environment: &BTreeMap<String, String>,
) -> Result<bool, Error> {
    flag(location, environment, "BACKSTAY_S3_CHECKSUM", true)
}

fn flag(
    location: &Location,
    environment: &BTreeMap<String, String>,
    name: &str,
    default: bool,
) -> Result<bool, Error> {
    match environment.get(name).map(String::as_str) {
        None => Ok(default),
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => {
            Err(wrong(&location.url, &format!("{name} is {other:?}; it must be true or false")))
        }
    }
}

fn wrong(url: &str, reason: &str) -> Error {
    Error::Place { place: url.to_owned(), reason: reason.to_owned(), class: Class::Config }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn takes_urls_apart() {
        let location = Location::parse("s3://bucket/a/b/", &environment(&[])).unwrap();
        assert_eq!(location.bucket, "bucket");
        assert_eq!(location.full_name("packs/x"), "a/b/packs/x");
        assert_eq!(location.key_of("a/b/packs/x"), Some("packs/x"));
        // What a console leaves to show a folder.
        assert_eq!(location.key_of("a/b"), None);
        for url in ["s3://", "s3:///x", "s3://b@c/x", "s3://b/x?y=z", "s3://b/x//y", "s3://b/../c"]
        {
            assert!(Location::parse(url, &environment(&[])).is_err(), "{url}");
        }
    }

    #[test]
    fn needs_credentials_outside_aws_and_plain_words() {
        let at_home = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let build_with = |pairs: &[(&str, &str)]| {
            let environment = environment(pairs);
            let location = Location::parse("s3://bucket", &environment)?;
            build(&location, &environment)
        };
        assert!(build_with(&[at_home]).is_err());
        assert!(build_with(&[at_home, keys[0], keys[1]]).is_ok());
        assert!(build_with(&[at_home, keys[0]]).is_err());
        let path_style = ("BACKSTAY_S3_PATH_STYLE", "maybe");
        assert!(build_with(&[at_home, keys[0], keys[1], path_style]).is_err());
        assert!(build_with(&[("AWS_ENDPOINT_URL", "minio:9000")]).is_err());
    }
}
