//! What an operator is told about an S3 request that failed: the cause in one line, and the remedy.

use std::error::Error as StdError;
use std::fmt;

use object_store::client::HttpErrorKind;

use super::failure::Failure;
use super::settings::Location;
use crate::class::Class;
use crate::store::{Error, Key};

/// The cause inside [`Error::Failed`]: one line, with what to do.
#[derive(Debug)]
pub(super) struct Reason {
    text: String,
    /// The object has none of the bytes that were asked for.
    pub(super) is_out_of_range: bool,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Reason {}

impl Failure {
    /// The error for the world outside, with the cause in one line and what to do.
    pub(super) fn explain(self, action: &'static str, key: &Key, location: &Location) -> Error {
        let class = self.class();
        // A HEAD has no body, so no code: then a missing bucket looks like a missing key.
        if class == Class::Missing {
            return Error::Missing { key: key.clone() };
        }
        match self.advice(location) {
            Some((true, advice)) => Error::Place {
                place: location.url.clone(),
                reason: advice,
                class,
            },
            advice => {
                let text = match advice {
                    Some((_, advice)) => advice,
                    None => self.text.split_whitespace().collect::<Vec<_>>().join(" "),
                };
                Error::Failed {
                    action,
                    key: key.clone(),
                    class,
                    source: Box::new(Reason {
                        text,
                        is_out_of_range: self.status == Some(416),
                    }),
                }
            }
        }
    }

    /// Cause and remedy for what operators can mend, and whether it concerns the place as a whole.
    fn advice(&self, location: &Location) -> Option<(bool, String)> {
        let Location {
            bucket, endpoint, ..
        } = location;
        let place = |text: String| Some((true, text));
        match self.code.as_str() {
            "NoSuchBucket" => {
                return place(format!(
                    "there is no bucket {bucket} at {endpoint}; create it, or correct the URL, \
                     AWS_REGION or AWS_ENDPOINT_URL"
                ));
            }
            "InvalidAccessKeyId" => {
                return place(format!(
                    "{endpoint} does not know this access key; correct AWS_ACCESS_KEY_ID"
                ));
            }
            "SignatureDoesNotMatch" => {
                return place(format!(
                    "{endpoint} does not accept the signature; correct AWS_SECRET_ACCESS_KEY, and \
                     make sure that no proxy changes requests"
                ));
            }
            "RequestTimeTooSkewed" => {
                return place(format!(
                    "this machine's clock and that of {endpoint} differ by more than 15 minutes; \
                     set this machine's clock"
                ));
            }
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => {
                return place("the session token has expired; renew AWS_SESSION_TOKEN".to_owned());
            }
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => {
                return place(wrong_region(bucket));
            }
            _ => {}
        }
        if self.lacks_credentials() {
            return place(
                "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (profiles in \
                 ~/.aws are not read)"
                    .to_owned(),
            );
        }
        match (self.status, self.transport) {
            (Some(401 | 403), _) => Some((
                false,
                format!(
                    "{endpoint} denies it; let the credential list {bucket}, and get, put and \
                     (for prune) delete its objects"
                ),
            )),
            (None, _) if self.text.contains("redirect") => place(wrong_region(bucket)),
            (None, Some(_)) if self.is_distrust() => place(format!(
                "the certificate of {endpoint} is not trusted; name its authority's file in \
                 AWS_CA_BUNDLE ({})",
                self.text
            )),
            (None, Some(HttpErrorKind::Connect)) => place(format!(
                "cannot connect to {endpoint}; check its name, port and the network ({})",
                self.text
            )),
            _ => None,
        }
    }
}

fn wrong_region(bucket: &str) -> String {
    format!("bucket {bucket} is in another region; set AWS_REGION to that")
}
