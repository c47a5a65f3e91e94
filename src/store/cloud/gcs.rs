//! Google Cloud Storage: a service account's key file, the application-default credentials, or the
//! service account that the machine or Pod runs as (workload identity, asked of the metadata server).

use std::path::PathBuf;

use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::http::UploadChecksum;
use super::location::{Dialect, Location, host_of, wrong};
use super::{connector, no_retries};
use crate::store::Error;
use crate::store::settings::Settings;

const ENDPOINT: &str = "https://storage.googleapis.com";
/// Where `gcloud auth application-default login` leaves what it got.
const DEFAULT_CREDENTIALS: &str = ".config/gcloud/application_default_credentials.json";

/// What is looked at in a file of credentials; the rest is `object_store`'s.
#[derive(Deserialize)]
struct CredentialFile {
    #[serde(rename = "type")]
    kind: Option<String>,
    gcs_base_url: Option<String>,
}

/// The client for a `gs://` URL.
pub(super) fn build(
    url: &str,
    settings: &Settings,
) -> Result<(GoogleCloudStorage, Location), Error> {
    let mut builder = GoogleCloudStorageBuilder::new().with_retry(no_retries());
    let mut endpoint = settings.get("STORAGE_EMULATOR_HOST").map(with_scheme);
    if let Some(endpoint) = &endpoint {
        // Google's own libraries send no credential to an emulator.
        builder = builder.with_base_url(endpoint).with_skip_signature(true);
    } else if let Some((name, path)) = credential_file(settings) {
        let fail = |reason: &dyn std::fmt::Display| {
            wrong(url, &format!("{name}, {}: {reason}", path.display()))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| fail(&error))?;
        let text = Zeroizing::new(text);
        // The parser's words could repeat the key.
        let file: CredentialFile = serde_json::from_str(&text)
            .map_err(|_| fail(&"it is not JSON as Google makes it; download the key file again"))?;
        builder = match file.kind.as_deref() {
            None | Some("service_account") => builder.with_service_account_key(text.as_str()),
            Some("authorized_user") => {
                builder.with_application_credentials(path.display().to_string())
            }
            Some(kind) => {
                return Err(fail(&format!(
                    "credentials of type {kind} are not supported; use a service account's key file \
                     or workload identity"
                )));
            }
        };
        endpoint = file.gcs_base_url;
    }
    let endpoint = endpoint.unwrap_or_else(|| ENDPOINT.to_owned());
    let host = host_of(url, "STORAGE_EMULATOR_HOST", &endpoint)?;
    let location = Location::parse(Dialect::Gcs, url, &endpoint, &host)?;
    let mut connector = connector(&location, settings, &["BACKSTAY_CA_BUNDLE"])?;
    connector.checksum = UploadChecksum::SaysCrc32c;
    let client = builder.with_bucket_name(&location.bucket).with_http_connector(connector).build();
    let client = client.map_err(|_| {
        wrong(url, "the service account's key is not one; download the key file again")
    })?;
    Ok((client, location))
}

/// The file that was named, or the one of the application-default login, if there is one.
fn credential_file(settings: &Settings) -> Option<(&'static str, PathBuf)> {
    for name in ["GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"] {
        if let Some(path) = settings.get(name) {
            return Some((name, path.into()));
        }
    }
    let path = settings.at_home(DEFAULT_CREDENTIALS).filter(|path| path.exists())?;
    Some(("application-default credentials", path))
}

fn with_scheme(host: &str) -> String {
    let host = host.trim_end_matches('/');
    if host.contains("://") { host.to_owned() } else { format!("http://{host}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build_with(text: &str) -> Result<(), Error> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.json");
        std::fs::write(&file, text).unwrap();
        let variable = ("GOOGLE_APPLICATION_CREDENTIALS".into(), file.display().to_string());
        build("gs://bucket/prefix", &Settings::with_environment([variable])).map(drop)
    }

    #[test]
    fn says_what_is_wrong_with_a_key_file_without_repeating_it() {
        for (text, word) in [
            ("hunter2", "not JSON"),
            (r#"{"type": "external_account", "x": "hunter2"}"#, "external_account"),
            (r#"{"type": "service_account", "private_key": "hunter2"}"#, "download"),
        ] {
            let error = build_with(text).unwrap_err().to_string();
            assert!(error.contains(word) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn an_emulator_needs_no_credential() {
        let host = ("STORAGE_EMULATOR_HOST".to_owned(), "127.0.0.1:9".to_owned());
        let (_, location) = build("gs://bucket", &Settings::with_environment([host])).unwrap();
        assert_eq!(location.endpoint, "http://127.0.0.1:9");
    }
}
