//! What a failed request means: may it pass, does it concern the place or the object, and what is an
//! operator told.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

use super::advice;
use super::answer::Answer;
use super::location::Location;
use crate::class::Class;
use crate::store::remote::{Failure, Kind};

/// Codes that say "not now", whatever their status.
const PASSING: [&str; 12] = [
    "SlowDown",
    "RequestTimeout",
    "InternalError",
    "ServiceUnavailable",
    "BadDigest",
    "XAmzContentSHA256Mismatch",
    "ConditionalRequestConflict",
    "OperationAborted",
    "ServerBusy",
    "OperationTimedOut",
    "ContainerBeingDeleted",
    "TooManyRequests",
];

/// What the library says where a server answers with success although the object has none of the bytes that
/// were asked for.
const OUT_OF_RANGE: [&str; 2] =
    ["Received non-partial response when range requested", "Wanted range starting at"];

/// A failed request, taken apart.
pub(super) fn of(
    error: &object_store::Error,
    said: Option<Answer>,
    location: &Location,
) -> Failure {
    match said {
        Some(said) if !location.is_own(&said.host) => advice::no_credential(&said, location),
        Some(said) => of_answer(&said, location),
        None => on_the_way(error, location),
    }
}

/// Whether the server said that an object has none of the bytes asked for.
pub(super) fn is_out_of_range(failure: &Failure) -> bool {
    failure.is_answer && failure.class == Class::Damaged
}

fn of_answer(said: &Answer, location: &Location) -> Failure {
    let mut failure = if PASSING.contains(&said.code.as_str()) {
        Failure::answer(Kind::Object, Class::Transient, advice::plain(said))
    } else if let Some((class, text)) = advice::place(said, location) {
        Failure { kind: Kind::Place, ..Failure::answer(Kind::Place, class, text) }
    } else {
        of_status(said, location)
    };
    failure.retry_after = said.retry_after;
    failure
}

fn of_status(said: &Answer, location: &Location) -> Failure {
    let (kind, class) = match said.status {
        404 => (Kind::Missing, Class::Missing),
        // A race of two creations ends with one of these for who comes second.
        409 | 412 | 304 => (Kind::Exists, Class::Refused),
        401 | 403 => {
            return Failure::answer(Kind::Object, Class::Denied, advice::denied(said, location));
        }
        416 => (Kind::Object, Class::Damaged),
        507 => return Failure::answer(Kind::Place, Class::Full, advice::full(said, location)),
        300..=399 => {
            let text = advice::wrong_region(said, location);
            return Failure::answer(Kind::Place, Class::Config, text);
        }
        408 | 425 | 429 | 500 | 502..=504 => (Kind::Object, Class::Transient),
        501 => {
            let text = advice::not_implemented(said, location);
            return Failure::answer(Kind::Place, Class::Config, text);
        }
        400..=499 => (Kind::Object, Class::Config),
        _ => (Kind::Object, Class::Transient),
    };
    Failure::answer(kind, class, advice::plain(said))
}

/// No answer came.
fn on_the_way(error: &object_store::Error, location: &Location) -> Failure {
    let mut kind = None;
    let mut texts: Vec<String> = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            kind = Some(http.kind());
        }
        // Most of these errors repeat their cause; the innermost says what happened.
        texts.push(cause.to_string());
        next = cause.source();
    }
    let innermost = texts.last().cloned().unwrap_or_default();
    let all = texts.join(": ");
    if advice::lacks_credentials(&all) {
        return Failure::place(Class::Denied, advice::credentials(location));
    }
    if all.contains("certificate") || all.contains("CertificateUnknown") {
        return Failure::place(Class::Config, advice::distrust(&innermost, location));
    }
    if all.contains("received corrupt message") || all.contains("InvalidContentType") {
        return Failure::place(Class::Config, advice::not_tls(location));
    }
    if OUT_OF_RANGE.iter().any(|text| all.contains(text)) {
        return Failure::answer(Kind::Object, Class::Damaged, innermost);
    }
    if let Some(code) = batch_code(&all) {
        let said = Answer { status: code, ..Answer::default() };
        return of_status(&said, location);
    }
    match kind {
        Some(HttpErrorKind::Connect) => Failure {
            kind: Kind::Place,
            ..Failure::transient(advice::no_connection(&innermost, location))
        },
        Some(_) => Failure::transient(format!("the connection failed: {innermost}")),
        // Something that came was not understood: half an answer, or not the server that was meant.
        None if matches!(error, object_store::Error::Generic { .. }) => {
            Failure::transient(format!("an answer that makes no sense: {innermost}"))
        }
        None => Failure { class: Class::Config, ..Failure::transient(all) },
    }
}

/// The status of one deletion in a batch, which is how Azure is asked to delete. The batch itself
/// succeeds whatever becomes of its parts, and only the library's text has their status.
fn batch_code(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("Bulk delete request failed for key ")?;
    after.rsplit_once("(code: ")?.1.split(')').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::location::Dialect;
    use super::*;

    fn location() -> Location {
        Location::parse(Dialect::S3, "s3://bucket", "http://host:1", "host:1").unwrap()
    }

    fn answer(status: u16, code: &str) -> Failure {
        let said = Answer { host: "host:1".into(), status, code: code.into(), ..Answer::default() };
        of_answer(&said, &location())
    }

    #[test]
    fn knows_what_may_pass() {
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (429, ""),
            (409, "OperationAborted"),
            (400, "BadDigest"),
            (502, ""),
        ] {
            assert_eq!(answer(status, code).class, Class::Transient, "{status} {code}");
        }
        for (status, code) in
            [(403, "AccessDenied"), (404, "NoSuchBucket"), (412, ""), (409, ""), (400, "Odd")]
        {
            assert_ne!(answer(status, code).class, Class::Transient, "{status} {code}");
        }
    }

    #[test]
    fn tells_a_lost_race_from_an_undecided_one() {
        assert_eq!(answer(412, "PreconditionFailed").kind, Kind::Exists);
        assert_eq!(answer(409, "BlobAlreadyExists").kind, Kind::Exists);
        assert_ne!(answer(409, "ConditionalRequestConflict").kind, Kind::Exists);
    }

    #[test]
    fn reads_the_status_of_a_batched_deletion() {
        let text = "Bulk delete request failed for key a/b(code: 1): Forbidden (code: 403)";
        assert_eq!(batch_code(text), Some(403));
        assert_eq!(batch_code("error sending request"), None);
    }

    #[test]
    fn keeps_when_to_come_back() {
        let retry_after = Some(Duration::from_secs(9));
        let said = Answer { status: 503, retry_after, ..Answer::default() };
        assert_eq!(of_answer(&said, &location()).retry_after, retry_after);
    }
}
