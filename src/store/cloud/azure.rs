//! Azure Blob Storage: an account key, a shared access signature, a service principal, or workload
//! identity; without any of them the machine's managed identity is asked for.

use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use super::http::UploadChecksum;
use super::location::{Dialect, Location, host_of, wrong};
use super::{connector, no_retries};
use crate::environment::check_token_file;
use crate::store::Error;
use crate::store::settings::Settings;

/// The names that Azure's own tools and its workload identity use, and what each stands for.
const VARIABLES: [(&str, AzureConfigKey); 12] = [
    ("AZURE_STORAGE_ACCOUNT_KEY", AzureConfigKey::AccessKey),
    ("AZURE_STORAGE_ACCESS_KEY", AzureConfigKey::AccessKey),
    ("AZURE_STORAGE_KEY", AzureConfigKey::AccessKey),
    ("AZURE_STORAGE_SAS_TOKEN", AzureConfigKey::SasKey),
    ("AZURE_STORAGE_SAS_KEY", AzureConfigKey::SasKey),
    ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
    ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
    ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
    ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
    ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
    ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
    ("MSI_ENDPOINT", AzureConfigKey::MsiEndpoint),
];

/// With one of these nobody asks for another credential.
const SECRETS: [&str; 6] = [
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCESS_KEY",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_SAS_KEY",
    "AZURE_CLIENT_SECRET",
];

const ACCOUNT: [&str; 2] = ["AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"];
const ENDPOINT: [&str; 2] = ["AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_BLOB_ENDPOINT"];

/// The client for an `az://container/prefix` URL.
pub(super) fn build(url: &str, settings: &Settings) -> Result<(MicrosoftAzure, Location), Error> {
    let account = settings.first_of(&ACCOUNT).ok_or_else(|| {
        wrong(url, "which storage account? set AZURE_STORAGE_ACCOUNT_NAME to its name")
    })?;
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if !account.bytes().all(is_name) {
        return Err(wrong(
            url,
            "AZURE_STORAGE_ACCOUNT_NAME must be the account's name alone: lower case letters and digits",
        ));
    }
    let endpoint = settings.first_of(&ENDPOINT).map_or_else(
        || format!("https://{account}.blob.core.windows.net"),
        |endpoint| endpoint.trim_end_matches('/').to_owned(),
    );
    let host = host_of(url, "AZURE_STORAGE_ENDPOINT", &endpoint)?;
    let location = Location::parse(Dialect::Azure, url, &endpoint, &host)?;
    let mut builder = MicrosoftAzureBuilder::new()
        .with_account(account)
        .with_container_name(&location.bucket)
        .with_endpoint(endpoint.clone())
        .with_allow_http(endpoint.starts_with("http://"))
        .with_retry(no_retries());
    for (name, key) in VARIABLES {
        if let Some(value) = settings.get(name) {
            // The portal shows signatures with the mark that joins them to a URL.
            builder = builder.with_config(key, value.trim_start_matches('?'));
        }
    }
    let variable = "AZURE_FEDERATED_TOKEN_FILE";
    let has_secret = SECRETS.iter().any(|name| settings.get(name).is_some());
    if let Some(file) = settings.get(variable).filter(|_| !has_secret) {
        check_token_file(variable, file.as_ref()).map_err(Error::Setting)?;
    }
    let mut connector = connector(&location, settings, &["BACKSTAY_CA_BUNDLE"])?;
    connector.checksum = UploadChecksum::ComparesMd5;
    let client = builder.with_http_connector(connector).build();
    // What the library says could repeat a part of the credential.
    let client = client.map_err(|_| {
        wrong(
            url,
            "the credential is not one: AZURE_STORAGE_ACCOUNT_KEY must be base64, and \
             AZURE_STORAGE_SAS_TOKEN the text after the ? of a signed URL",
        )
    })?;
    Ok((client, location))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build_with(pairs: &[(&str, &str)]) -> Result<Location, Error> {
        let owned = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let (_, location) = build("az://container/prefix", &Settings::with_environment(owned))?;
        Ok(location)
    }

    #[test]
    fn needs_an_account_and_a_credential_that_is_one() {
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "mine");
        let location = build_with(&[account, ("AZURE_STORAGE_ACCOUNT_KEY", "aGVsbG8=")]).unwrap();
        assert_eq!(location.endpoint, "https://mine.blob.core.windows.net");
        assert!(build_with(&[account, ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=x")]).is_ok());
        for (pairs, word) in [
            (&[][..], "AZURE_STORAGE_ACCOUNT_NAME"),
            (&[("AZURE_STORAGE_ACCOUNT", "https://mine")][..], "name alone"),
            (&[account, ("AZURE_STORAGE_ACCOUNT_KEY", "hunter2!")][..], "base64"),
        ] {
            let text = build_with(pairs).unwrap_err().to_string();
            assert!(text.contains(word) && !text.contains("hunter2"), "{text}");
        }
    }
}
