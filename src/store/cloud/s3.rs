//! Amazon S3 and the many that speak its language: which server, with which credential.
//!
//! Only variables that are named here count. `object_store` would take any setting from the
//! environment, one that switches put-if-absent off among them.

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, Checksum, S3ConditionalPut};

use super::location::{Dialect, Location, host_of, wrong};
use super::profile::Profile;
use super::{connector, no_retries};
use crate::environment::check_token_file;
use crate::store::Error;
use crate::store::settings::Settings;

/// Variables that are handed on as they are: the names that AWS's own tools use.
const HANDED_ON: [&str; 9] = [
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

/// With one of these a credential is asked for elsewhere, so none is needed here.
const ASKED_FOR: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// Files that the library reads again and again, each time that it asks for a credential.
const TOKEN_FILES: [&str; 2] =
    ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];

/// A client and how it is used.
pub(super) struct Built {
    pub(super) client: AmazonS3,
    pub(super) location: Location,
    pub(super) asks_if_absent: bool,
}

/// What environment and profile say together.
struct Given<'a> {
    url: &'a str,
    settings: &'a Settings,
    profile: Profile,
}

/// The client for an `s3://` URL.
pub(super) fn build(url: &str, settings: &Settings) -> Result<Built, Error> {
    let profile = Profile::read(url, settings)?;
    let given = Given { url, settings, profile };
    let (endpoint, location) = given.location()?;
    let asks_if_absent = given.flag("BACKSTAY_S3_CONDITIONAL_PUT", true)?;
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_retry(no_retries())
        .with_conditional_put(if asks_if_absent {
            S3ConditionalPut::ETagMatch
        } else {
            S3ConditionalPut::Disabled
        })
        // One DELETE per object: the bulk request is missing from some servers.
        .with_disable_bulk_delete(true);
    builder = given.credentials(builder, endpoint.is_some())?;
    let region = settings.first_of(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
    if let Some(region) = region.or(given.profile.get("region")) {
        builder = builder.with_region(region);
    }
    // Some old servers refuse the header.
    if given.flag("BACKSTAY_S3_CHECKSUM", true)? {
        // Costs nothing: the signature needs this hash anyway.
        builder = builder.with_checksum_algorithm(Checksum::SHA256);
    }
    // AWS means to retire path style; a bucket with a dot has no certificate in the other one.
    let default = endpoint.is_some() || location.bucket.contains('.');
    let path_style = given.flag("BACKSTAY_S3_PATH_STYLE", default)?;
    builder = builder.with_virtual_hosted_style_request(!path_style);
    if let Some(endpoint) = &endpoint {
        builder = builder.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => format!("{scheme}://{}.{host}", location.bucket),
            _ => endpoint.clone(),
        });
    }
    let connector = connector(&location, settings, &["AWS_CA_BUNDLE", "BACKSTAY_CA_BUNDLE"])?;
    let client = builder.with_http_connector(connector).build();
    let client = client.map_err(|error| wrong(url, &error.to_string()))?;
    Ok(Built { client, location, asks_if_absent })
}

impl Given<'_> {
    /// The server, where it is not AWS, and where in it the repository is.
    fn location(&self) -> Result<(Option<String>, Location), Error> {
        let variable = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"];
        let endpoint = self.settings.first_of(&variable).or(self.profile.get("endpoint_url"));
        let endpoint = endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned());
        let location = match &endpoint {
            Some(endpoint) => {
                let host = host_of(self.url, "AWS_ENDPOINT_URL", endpoint)?;
                Location::parse(Dialect::S3, self.url, endpoint, &host)?
            }
            None => Location::parse(Dialect::S3, self.url, "Amazon S3", "amazonaws.com")?,
        };
        if location.bucket.ends_with("--x-s3") {
            return Err(wrong(
                self.url,
                "directory buckets do not list keys in order; use a general-purpose bucket",
            ));
        }
        Ok((endpoint, location))
    }

    fn credentials(
        &self,
        mut builder: AmazonS3Builder,
        is_elsewhere: bool,
    ) -> Result<AmazonS3Builder, Error> {
        let fail = |reason: &str| wrong(self.url, reason);
        for name in HANDED_ON {
            if let Some(value) = self.settings.get(name) {
                let key: AmazonS3ConfigKey = name
                    .to_ascii_lowercase()
                    .parse()
                    .map_err(|error| fail(&format!("{name}: {error}")))?;
                builder = builder.with_config(key, value);
            }
        }
        let from_environment = [
            self.settings.get("AWS_ACCESS_KEY_ID"),
            self.settings.get("AWS_SECRET_ACCESS_KEY"),
            self.settings.get("AWS_SESSION_TOKEN"),
        ];
        let from_profile = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"]
            .map(|name| self.profile.get(name));
        let asks = ASKED_FOR.iter().any(|name| self.settings.get(name).is_some());
        let found = match (from_environment, from_profile) {
            (found @ ([Some(_), ..] | [_, Some(_), _]), _) => Some((found, "the environment")),
            (_, found @ ([Some(_), ..] | [_, Some(_), _])) if !asks => {
                Some((found, "the profile in ~/.aws"))
            }
            _ => None,
        };
        match found {
            // Nobody reads the token's file where there is a key.
            Some(([Some(id), Some(secret), token], _)) => {
                builder = builder.with_access_key_id(id).with_secret_access_key(secret);
                Ok(match token {
                    Some(token) => builder.with_token(token),
                    None => builder,
                })
            }
            Some(([id, ..], place)) => {
                let missing = if id.is_some() { "secret access key" } else { "access key id" };
                Err(fail(&format!("{place} has half a credential: the {missing} is missing")))
            }
            // Only a machine inside AWS has a credential to ask for.
            None if is_elsewhere && !asks => Err(fail(
                "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
            )),
            None => {
                for variable in TOKEN_FILES {
                    if let Some(file) = self.settings.get(variable) {
                        check_token_file(variable, file.as_ref()).map_err(Error::Setting)?;
                    }
                }
                Ok(builder)
            }
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        match self.settings.get(name) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => {
                Err(wrong(self.url, &format!("{name} is {other:?}; it must be true or false")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_credentials_outside_aws_and_plain_words() {
        let at_home = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
        let keys = [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")];
        let build_with = |pairs: &[(&str, &str)]| {
            let owned = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            build("s3://bucket", &Settings::with_environment(owned))
        };
        assert!(build_with(&[at_home]).is_err());
        assert!(build_with(&[at_home, keys[0], keys[1]]).is_ok());
        assert!(build_with(&[at_home, keys[0]]).is_err());
        assert!(build_with(&[at_home, keys[1]]).is_err());
        for name in ["BACKSTAY_S3_PATH_STYLE", "BACKSTAY_S3_CONDITIONAL_PUT"] {
            assert!(build_with(&[at_home, keys[0], keys[1], (name, "maybe")]).is_err());
        }
        assert!(build_with(&[("AWS_ENDPOINT_URL", "minio:9000")]).is_err());
        let bundle = ("AWS_CA_BUNDLE", "/nonexistent/bundle.pem");
        let secure = ("AWS_ENDPOINT_URL", "https://127.0.0.1:1");
        let text = build_with(&[secure, keys[0], keys[1], bundle]).err().unwrap().to_string();
        assert!(text.contains("AWS_CA_BUNDLE, /nonexistent/bundle.pem: "), "{text}");
    }
}
