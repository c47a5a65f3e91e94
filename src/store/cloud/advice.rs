//! What an operator is told about a request that failed: the cause in one line, and the remedy, with the
//! names of the variables that the store at hand takes.

use jiff::SignedDuration;

use super::answer::Answer;
use super::location::{Dialect, Location};
use crate::class::Class;
use crate::store::remote::{Failure, Kind};

/// Beyond this, two clocks are not only read at two times.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The server's words, where there is no remedy to add.
pub(super) fn plain(said: &Answer) -> String {
    let words = [said.status.to_string(), said.code.clone(), said.message.clone()];
    words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}

/// Cause and remedy of what concerns the place as a whole, by the server's own code.
pub(super) fn place(said: &Answer, location: &Location) -> Option<(Class, String)> {
    let Location { bucket, endpoint, dialect, .. } = location;
    let text = match said.code.as_str() {
        "NoSuchBucket" => (
            Class::Config,
            format!(
                "there is no bucket {bucket} at {endpoint}; create it, or correct the URL{}",
                match dialect {
                    Dialect::S3 => ", AWS_REGION or AWS_ENDPOINT_URL",
                    _ => "",
                }
            ),
        ),
        "ContainerNotFound" => (
            Class::Config,
            format!("there is no container {bucket} at {endpoint}; create it, or correct the URL"),
        ),
        "InvalidBucketName" | "InvalidResourceName" => (
            Class::Config,
            format!("{endpoint} says that {bucket} is no valid name; correct the URL"),
        ),
        "InvalidAccessKeyId" => (
            Class::Denied,
            format!("{endpoint} does not know this access key; correct AWS_ACCESS_KEY_ID"),
        ),
        "SignatureDoesNotMatch" => (
            Class::Denied,
            format!(
                "{endpoint} does not accept the signature; correct AWS_SECRET_ACCESS_KEY, and make \
                 sure that no proxy changes requests"
            ),
        ),
        "AuthenticationFailed" => azure_authentication(said, location),
        // Emulators have one code for both, and the sentence tells.
        "AuthorizationFailure" if said.message.contains("failed to authenticate") => {
            azure_authentication(said, location)
        }
        "RequestTimeTooSkewed" => (Class::Config, skewed(location)),
        "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => (
            Class::Denied,
            match dialect {
                Dialect::S3 => "the session token has expired; renew AWS_SESSION_TOKEN".to_owned(),
                _ => "the token has expired; renew the credential".to_owned(),
            },
        ),
        "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => (Class::Config, wrong_region(said, location)),
        "QuotaExceeded" | "XMinioStorageFull" | "AccountStorageFull" | "InsufficientStorage" => {
            (Class::Full, full(said, location))
        }
        "UserProjectMissing" => (
            Class::Config,
            format!(
                "bucket {bucket} lets the one who asks pay, which is not supported; turn that off"
            ),
        ),
        "AccountIsDisabled" | "AccountProblem" | "AllAccessDisabled" | "UserSuspended" => {
            (Class::Denied, format!("the account at {endpoint} is disabled ({})", plain(said)))
        }
        "EntityTooLarge" | "RequestBodyTooLarge" | "MaxMessageLengthExceeded" => {
            (Class::Config, too_large(said, location))
        }
        _ => return None,
    };
    Some(text)
}

/// Cause and remedy of what concerns one object, by the server's own code.
pub(super) fn object(said: &Answer, location: &Location) -> Option<String> {
    let archived = "the object is in an archive, from where it cannot be read at once";
    let rule = "and keep the repository out of lifecycle rules that archive";
    let text = match said.code.as_str() {
        "InvalidObjectState" => format!(
            "{archived}; restore it (aws s3api restore-object, or a copy into class STANDARD), wait until \
             that is done, {rule} ({})",
            plain(said)
        ),
        "BlobBeingRehydrated" => format!(
            "the object is on its way out of the archive, which is still under way and takes hours; run the \
             command again then ({})",
            plain(said)
        ),
        "BlobArchived" => format!(
            "{archived}; rehydrate it (az storage blob set-tier --tier Hot), wait until that is done, \
             {rule} ({})",
            plain(said)
        ),
        _ => return refused_header(said, location),
    };
    Some(text)
}

/// A header of an upload that the server does not take.
fn refused_header(said: &Answer, location: &Location) -> Option<String> {
    let message = said.message.to_ascii_lowercase();
    if location.dialect != Dialect::S3 || !matches!(said.status, 400 | 501) {
        return None;
    }
    let remedy = if message.contains("checksum") {
        WITHOUT_CHECKSUM
    } else if message.contains("if-none-match") {
        WITHOUT_CONDITION
    } else {
        return None;
    };
    Some(format!(
        "{} does not take a part of the request ({}); {remedy}",
        location.endpoint,
        plain(said)
    ))
}

const WITHOUT_CHECKSUM: &str =
    "if it does not know checksums of uploads, set BACKSTAY_S3_CHECKSUM=false";
const WITHOUT_CONDITION: &str = "if it does not know If-None-Match, set \
                                 BACKSTAY_S3_CONDITIONAL_PUT=false, which makes the repository class B";

/// What is tried again, with a word for those whom it fails each time.
pub(super) fn passing(said: &Answer, location: &Location) -> String {
    let is_checksum = matches!(said.code.as_str(), "BadDigest" | "XAmzContentSHA256Mismatch");
    if is_checksum && location.dialect == Dialect::S3 {
        return format!(
            "{}: what arrives is not what was sent; if that stays so and nothing between changes uploads, \
             set BACKSTAY_S3_CHECKSUM=false",
            plain(said)
        );
    }
    plain(said)
}

/// An upload is longer than someone on the way takes. Packs have 32 MiB and the rest of what filled them.
pub(super) fn too_large(said: &Answer, location: &Location) -> String {
    if said.code.is_empty() {
        return format!(
            "a proxy in front of {} refuses uploads of this length ({}); let it pass 64 MiB \
             (nginx: client_max_body_size 64m; an ingress: the annotation \
             nginx.ingress.kubernetes.io/proxy-body-size: 64m)",
            location.endpoint,
            plain(said)
        );
    }
    format!(
        "{} refuses objects of this length ({}); raise its limit to 64 MiB, or use another store",
        location.endpoint,
        plain(said)
    )
}

/// Azure has one code for a wrong key, an expired signature and a wrong clock; its sentence tells.
fn azure_authentication(said: &Answer, location: &Location) -> (Class, String) {
    if said.message.contains("date header") || said.message.contains("too old") {
        return (Class::Config, skewed(location));
    }
    let text = format!(
        "{} does not accept the credential; correct AZURE_STORAGE_ACCOUNT_NAME and \
         AZURE_STORAGE_ACCOUNT_KEY, or renew AZURE_STORAGE_SAS_TOKEN, and check this machine's clock",
        location.endpoint
    );
    (Class::Denied, text)
}

fn skewed(location: &Location) -> String {
    format!(
        "this machine's clock and that of {} differ by more than 15 minutes; set this machine's clock",
        location.endpoint
    )
}

/// A measured difference of clocks that no credential outlives: those that are signed here bear the time.
fn measured_skew(said: &Answer) -> Option<String> {
    let minutes = said.clock_ahead.as_mins();
    let direction = if minutes > 0 { "ahead of" } else { "behind" };
    (said.clock_ahead.abs() > SKEW).then(|| {
        format!(
            "this machine's clock is {} minutes {direction} that of {}; set this machine's clock",
            minutes.abs(),
            said.host
        )
    })
}

/// Who asks is not known: the clock is wrong, or the credential.
pub(super) fn unauthorized(said: &Answer, location: &Location) -> (Class, String) {
    if let Some(text) = measured_skew(said) {
        return (Class::Config, text);
    }
    let text = format!(
        "{} does not accept the credential ({}); check {}",
        location.endpoint,
        plain(said),
        match location.dialect {
            Dialect::S3 => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
            Dialect::Gcs => {
                "that the key in GOOGLE_APPLICATION_CREDENTIALS, or the service account that the Pod \
                 runs as, is still valid"
            }
            Dialect::Azure => {
                "AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or the identity's role on the \
                 container"
            }
        }
    );
    (Class::Denied, text)
}

/// What answers is no store.
pub(super) fn no_store(said: &Answer, location: &Location) -> String {
    format!(
        "{} answers {}, but not as a store does; check host, port and http or https in {}, and what \
         stands between",
        location.endpoint,
        plain(said),
        match location.dialect {
            Dialect::S3 => "AWS_ENDPOINT_URL",
            Dialect::Gcs => "STORAGE_EMULATOR_HOST or gcs_base_url",
            Dialect::Azure => "AZURE_STORAGE_ENDPOINT",
        }
    )
}

/// A listing that cannot be read for a key on it.
pub(super) fn odd_key(error: &object_store::path::Error) -> String {
    format!("the bucket has an object that no listing can show ({error}); delete that object")
}

pub(super) fn wrong_region(said: &Answer, location: &Location) -> String {
    let Location { bucket, dialect, endpoint, .. } = location;
    match (dialect, &said.region) {
        (Dialect::S3, Some(region)) => {
            format!("bucket {bucket} is in region {region}; set AWS_REGION={region}")
        }
        (Dialect::S3, None) => {
            format!("bucket {bucket} is in another region; set AWS_REGION to that")
        }
        _ => format!("{endpoint} sends requests elsewhere ({}); correct the endpoint", plain(said)),
    }
}

pub(super) fn full(said: &Answer, location: &Location) -> String {
    format!(
        "no space left at {} ({}); free space or raise the quota there, then run the command again",
        location.endpoint,
        plain(said)
    )
}

pub(super) fn not_implemented(said: &Answer, location: &Location) -> String {
    let remedy = match location.dialect {
        Dialect::S3 => format!("; {WITHOUT_CONDITION}; {WITHOUT_CHECKSUM}"),
        _ => String::new(),
    };
    format!("{} does not know this kind of request ({}){remedy}", location.endpoint, plain(said))
}

pub(super) fn denied(said: &Answer, location: &Location) -> String {
    let Location { bucket, endpoint, .. } = location;
    format!(
        "{endpoint} denies it ({}); let the credential list {bucket}, and get and put its objects (and \
         delete them, to prune)",
        plain(said)
    )
}

/// Who gives credentials gave none.
pub(super) fn no_credential(said: &Answer, location: &Location) -> Failure {
    // What was signed here is refused with one of these where the time in it is wrong.
    if (said.status == 401 || said.code == "invalid_grant")
        && let Some(text) = measured_skew(said)
    {
        return Failure::answer(Kind::Place, Class::Config, text);
    }
    let class = match said.status {
        408 | 429 | 500..=599 => Class::Transient,
        _ => Class::Denied,
    };
    let text = format!("{} gave no credential ({}); {}", said.host, plain(said), remedy(location));
    Failure { retry_after: said.retry_after, ..Failure::answer(Kind::Place, class, text) }
}

fn remedy(location: &Location) -> &'static str {
    match location.dialect {
        Dialect::S3 => {
            "check AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE and the role's trust policy"
        }
        Dialect::Gcs => {
            "check the key file in GOOGLE_APPLICATION_CREDENTIALS, or the service account that the \
             Pod runs as"
        }
        Dialect::Azure => {
            "check AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_FEDERATED_TOKEN_FILE and the identity's \
             role on the container"
        }
    }
}

/// Whether the machine itself was asked for a credential, which only one inside a cloud answers.
pub(super) fn lacks_credentials(text: &str) -> bool {
    text.contains("169.254.169.254") || text.contains("metadata.google.internal")
}

pub(super) fn credentials(location: &Location) -> String {
    match location.dialect {
        Dialect::S3 => {
            "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        }
        Dialect::Gcs => {
            "no credentials; name a service account's key file in GOOGLE_APPLICATION_CREDENTIALS, or \
             run as a service account (workload identity)"
        }
        Dialect::Azure => {
            "no credentials; set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or run with \
             workload identity"
        }
    }
    .to_owned()
}

/// Where more authorities are named.
fn authorities(location: &Location) -> &'static str {
    match location.dialect {
        Dialect::S3 => "AWS_CA_BUNDLE",
        Dialect::Gcs | Dialect::Azure => "BACKSTAY_CA_BUNDLE",
    }
}

pub(super) fn distrust(cause: &str, location: &Location) -> String {
    format!(
        "the certificate of {} is not trusted; name its authority's file in {} ({cause})",
        location.endpoint,
        authorities(location)
    )
}

pub(super) fn not_tls(location: &Location) -> String {
    format!(
        "{} does not speak TLS; correct the port, or write http:// if it is meant to be unencrypted",
        location.endpoint
    )
}

pub(super) fn no_connection(cause: &str, other: Option<&str>, location: &Location) -> String {
    match other {
        None => format!(
            "cannot connect to {}; check its name, port and the network ({cause})",
            location.endpoint
        ),
        Some(host) => {
            format!(
                "cannot connect to {host}, which gives credentials; check the network ({cause})"
            )
        }
    }
}
