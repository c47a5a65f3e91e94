//! What an S3 request's failure means: may it pass, may it have worked all the same.
//!
//! `object_store` keeps the status and the server's own error code in the text of its errors; they
//! are read back from there.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

use crate::class::Class;

/// One failed attempt, taken apart.
#[derive(Debug)]
pub(super) struct Failure {
    /// The HTTP status, if the server answered.
    pub(super) status: Option<u16>,
    /// The server's word for it, such as `NoSuchBucket`; else empty.
    pub(super) code: String,
    /// What happened on the way, if no answer came.
    pub(super) transport: Option<HttpErrorKind>,
    /// Everything that is known, for people.
    pub(super) text: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Self {
        let mut transport = None;
        let mut texts: Vec<String> = Vec::new();
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(cause) = next {
            if let Some(http) = cause.downcast_ref::<HttpError>() {
                transport = Some(http.kind());
            }
            let text = cause.to_string();
            // Most of these errors repeat their cause.
            if !texts.iter().any(|outer| outer.contains(&text)) {
                texts.push(text);
            }
            next = cause.source();
        }
        let mut failure = Self::from_text(texts.join(": "));
        failure.transport = transport;
        failure.status = failure.status.or(match error {
            object_store::Error::NotFound { .. } => Some(404),
            object_store::Error::Precondition { .. } => Some(412),
            _ => None,
        });
        failure
    }
}

impl Failure {
    fn from_text(text: String) -> Self {
        let after = |mark: &str| text.split_once(mark).map(|(_, after)| after);
        let status = after("status code: ").and_then(|after| after.get(..3)?.parse().ok());
        let code = after("<Code>").and_then(|after| Some(after.split_once('<')?.0.to_owned()));
        Self { status, code: code.unwrap_or_default(), transport: None, text }
    }

    /// An attempt that we gave up on.
    pub(super) fn timed_out(after: Duration) -> Self {
        Self {
            status: None,
            code: String::new(),
            transport: Some(HttpErrorKind::Timeout),
            text: format!("not finished within {} s", after.as_secs()),
        }
    }

    /// A body that ended too early.
    pub(super) fn cut_off(found_bytes: u64, announced_bytes: u64) -> Self {
        Self {
            status: None,
            code: String::new(),
            transport: Some(HttpErrorKind::Interrupted),
            text: format!("the answer ended after {found_bytes} of {announced_bytes} bytes"),
        }
    }

    /// Whether the server itself said so.
    pub(super) fn is_answer(&self) -> bool {
        self.status.is_some()
    }

    /// Whether the same request may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        !self.is_exists() && self.class() == Class::Transient
    }

    /// Whether something was under the key before this attempt.
    pub(super) fn is_exists(&self) -> bool {
        match self.status {
            Some(412 | 304) => true,
            Some(409) => !self.is_conflict(),
            _ => false,
        }
    }

    /// A race with another request, which nobody has won yet.
    fn is_conflict(&self) -> bool {
        matches!(self.code.as_str(), "ConditionalRequestConflict" | "OperationAborted")
    }

    /// Whether this attempt may have stored the object in spite of its failure.
    pub(super) fn may_have_landed(&self) -> bool {
        match (self.status, self.transport) {
            (Some(status), _) => status >= 500 || status == 408,
            (None, transport) => transport != Some(HttpErrorKind::Connect),
        }
    }

    pub(super) fn class(&self) -> Class {
        match self.code.as_str() {
            "NoSuchBucket"
            | "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "RequestTimeTooSkewed"
            | "InvalidBucketName" => return Class::Config,
            "SlowDown" | "RequestTimeout" | "BadDigest" | "XAmzContentSHA256Mismatch" => {
                return Class::Transient;
            }
            "QuotaExceeded" | "XMinioStorageFull" => return Class::Full,
            _ => {}
        }
        if self.lacks_credentials() {
            return Class::Denied;
        }
        match self.status {
            Some(404) => Class::Missing,
            Some(401 | 403) => Class::Denied,
            Some(507) => Class::Full,
            Some(400 | 405 | 501) => Class::Config,
            Some(416) => Class::Damaged,
            None if self.text.contains("redirect") || self.is_distrust() => Class::Config,
            _ => Class::Transient,
        }
    }

    /// Whether asking the machine itself for a credential failed: none was given.
    pub(super) fn lacks_credentials(&self) -> bool {
        self.text.contains("169.254.169.254")
    }

    /// Whether the server's certificate was not accepted.
    pub(super) fn is_distrust(&self) -> bool {
        self.text.contains("certificate")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, code: &str) -> Failure {
        Failure::from_text(format!(
            "Server returned non-2xx status code: {status} X: <Error><Code>{code}</Code></Error>"
        ))
    }

    #[test]
    fn reads_status_and_code_back() {
        let failure = answer(403, "AccessDenied");
        assert_eq!((failure.status, failure.code.as_str()), (Some(403), "AccessDenied"));
    }

    #[test]
    fn knows_what_may_pass() {
        for (status, code) in
            [(503, "SlowDown"), (500, "InternalError"), (429, ""), (409, "OperationAborted")]
        {
            assert!(answer(status, code).may_pass(), "{status} {code}");
        }
        for (status, code) in [(403, "AccessDenied"), (404, "NoSuchBucket"), (412, ""), (409, "")] {
            assert!(!answer(status, code).may_pass(), "{status} {code}");
        }
    }

    #[test]
    fn tells_a_lost_race_from_an_undecided_one() {
        assert!(answer(412, "PreconditionFailed").is_exists());
        assert!(!answer(409, "ConditionalRequestConflict").is_exists());
    }

    #[test]
    fn doubts_only_what_may_have_reached_the_server() {
        assert!(answer(500, "InternalError").may_have_landed());
        assert!(Failure::timed_out(Duration::from_secs(1)).may_have_landed());
        assert!(!answer(412, "PreconditionFailed").may_have_landed());
        let mut refused = Failure::from_text("refused".to_owned());
        refused.transport = Some(HttpErrorKind::Connect);
        assert!(!refused.may_have_landed());
    }
}
