//! The table of all environment variables that the program reads, or that a library below it reads.

use super::Form;

/// Who reads a variable: what it holds is of no interest to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The command line.
    Program,
    /// Whoever looks for files in the home directory.
    Home,
    /// Every store over HTTP.
    Http,
    /// Amazon S3 and what speaks its language.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// SFTP.
    Ssh,
}

/// A variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub form: Form,
    /// Who reads it.
    pub reader: Reader,
}

const fn variable(reader: Reader, form: Form, name: &'static str) -> Variable {
    Variable { name, form, reader }
}

use Form::{Credential, Passphrase, Path, Token, Untouched, Word};
use Reader::{Azure, Gcs, Home, Http, Program, S3, Ssh};

/// All of them.
pub const VARIABLES: &[Variable] = &[
    variable(Program, Word, "BACKSTAY_REPOSITORY"),
    variable(Program, Path, "BACKSTAY_KEY_FILE"),
    variable(Program, Path, "BACKSTAY_CACHE"),
    variable(Program, Passphrase, "BACKSTAY_PASSPHRASE"),
    variable(Program, Path, "BACKSTAY_PASSPHRASE_FILE"),
    variable(Program, Passphrase, "BACKSTAY_NEW_PASSPHRASE"),
    variable(Program, Path, "BACKSTAY_NEW_PASSPHRASE_FILE"),
    variable(Program, Word, "BACKSTAY_UPLOAD_LIMIT"),
    variable(Program, Word, "BACKSTAY_DOWNLOAD_LIMIT"),
    variable(Program, Word, "BACKSTAY_CONNECTIONS"),
    variable(Program, Word, "BACKSTAY_RETRY_FOR"),
    variable(Home, Path, "HOME"),
    variable(Http, Path, "BACKSTAY_CA_BUNDLE"),
    variable(Http, Token, "http_proxy"),
    variable(Http, Token, "HTTP_PROXY"),
    variable(Http, Token, "https_proxy"),
    variable(Http, Token, "HTTPS_PROXY"),
    variable(Http, Token, "all_proxy"),
    variable(Http, Token, "ALL_PROXY"),
    variable(Http, Word, "no_proxy"),
    variable(Http, Word, "NO_PROXY"),
    variable(Http, Untouched, "SSL_CERT_FILE"),
    variable(Http, Untouched, "SSL_CERT_DIR"),
    variable(S3, Credential, "AWS_ACCESS_KEY_ID"),
    variable(S3, Credential, "AWS_SECRET_ACCESS_KEY"),
    variable(S3, Credential, "AWS_SESSION_TOKEN"),
    variable(S3, Token, "AWS_REGION"),
    variable(S3, Token, "AWS_DEFAULT_REGION"),
    variable(S3, Token, "AWS_ENDPOINT_URL"),
    variable(S3, Token, "AWS_ENDPOINT_URL_S3"),
    variable(S3, Token, "AWS_ENDPOINT_URL_STS"),
    variable(S3, Word, "AWS_PROFILE"),
    variable(S3, Word, "AWS_DEFAULT_PROFILE"),
    variable(S3, Path, "AWS_CONFIG_FILE"),
    variable(S3, Path, "AWS_SHARED_CREDENTIALS_FILE"),
    variable(S3, Path, "AWS_CA_BUNDLE"),
    variable(S3, Path, "AWS_WEB_IDENTITY_TOKEN_FILE"),
    variable(S3, Token, "AWS_ROLE_ARN"),
    variable(S3, Token, "AWS_ROLE_SESSION_NAME"),
    variable(S3, Token, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    variable(S3, Token, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    variable(S3, Path, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    variable(S3, Token, "AWS_SERVER_SIDE_ENCRYPTION"),
    variable(S3, Token, "AWS_SSE_KMS_KEY_ID"),
    variable(S3, Word, "BACKSTAY_S3_CONDITIONAL_PUT"),
    variable(S3, Word, "BACKSTAY_S3_CHECKSUM"),
    variable(S3, Word, "BACKSTAY_S3_PATH_STYLE"),
    variable(Gcs, Token, "STORAGE_EMULATOR_HOST"),
    variable(Gcs, Path, "GOOGLE_APPLICATION_CREDENTIALS"),
    variable(Gcs, Path, "GOOGLE_SERVICE_ACCOUNT"),
    variable(Gcs, Untouched, "GCE_METADATA_HOST"),
    variable(Gcs, Untouched, "GCE_METADATA_ROOT"),
    variable(Gcs, Untouched, "GCE_METADATA_IP"),
    variable(Azure, Token, "AZURE_STORAGE_ACCOUNT_NAME"),
    variable(Azure, Token, "AZURE_STORAGE_ACCOUNT"),
    variable(Azure, Token, "AZURE_STORAGE_ENDPOINT"),
    variable(Azure, Token, "AZURE_STORAGE_BLOB_ENDPOINT"),
    variable(Azure, Credential, "AZURE_STORAGE_ACCOUNT_KEY"),
    variable(Azure, Credential, "AZURE_STORAGE_ACCESS_KEY"),
    variable(Azure, Credential, "AZURE_STORAGE_KEY"),
    variable(Azure, Credential, "AZURE_STORAGE_SAS_TOKEN"),
    variable(Azure, Credential, "AZURE_STORAGE_SAS_KEY"),
    variable(Azure, Token, "AZURE_CLIENT_ID"),
    variable(Azure, Credential, "AZURE_CLIENT_SECRET"),
    variable(Azure, Token, "AZURE_TENANT_ID"),
    variable(Azure, Token, "AZURE_AUTHORITY_HOST"),
    variable(Azure, Path, "AZURE_FEDERATED_TOKEN_FILE"),
    variable(Azure, Token, "IDENTITY_ENDPOINT"),
    variable(Azure, Untouched, "IDENTITY_HEADER"),
    variable(Azure, Token, "MSI_ENDPOINT"),
    variable(Ssh, Path, "BACKSTAY_SSH_KEY"),
    variable(Ssh, Path, "BACKSTAY_SSH_KNOWN_HOSTS"),
    variable(Ssh, Passphrase, "BACKSTAY_SSH_PASSPHRASE"),
    variable(Ssh, Path, "BACKSTAY_SSH_PASSPHRASE_FILE"),
    variable(Ssh, Passphrase, "BACKSTAY_SSH_PASSWORD"),
    variable(Ssh, Path, "BACKSTAY_SSH_PASSWORD_FILE"),
    variable(Ssh, Path, "SSH_AUTH_SOCK"),
    variable(Ssh, Word, "USER"),
    variable(Ssh, Word, "LOGNAME"),
];

/// The variable of this name.
pub(super) fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|variable| variable.name == name)
}
