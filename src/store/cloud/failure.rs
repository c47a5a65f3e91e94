//! What a failed request means: may it pass, does it concern the place or the object, and what is an
//! operator told.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

use super::advice;
use super::answer::{Answer, Asked, NoAnswer};
use super::location::{Dialect, Location};
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

/// Codes of a store that looked for an object and found none.
const MISSING: [&str; 3] = ["NoSuchKey", "BlobNotFound", "ResourceNotFound"];

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
        Failure::answer(Kind::Object, Class::Transient, advice::passing(said, location))
    } else if let Some(text) = advice::object(said, location) {
        Failure::answer(Kind::Object, Class::Config, text)
    } else if let Some((class, text)) = advice::place(said, location) {
        Failure { kind: Kind::Place, ..Failure::answer(Kind::Place, class, text) }
    } else {
        of_status(said, location)
    };
    failure.retry_after = said.retry_after;
    failure
}

/// Whether a 404 says that there is no such object. A gateway whose store restarts, or the web server behind
/// a wrong address, sends one for everything, and that must not pass for a loss.
fn is_missing(said: &Answer, location: &Location) -> bool {
    match said.asked {
        // Only Azure has a header for the code, where there can be no body.
        Asked::Head if location.dialect != Dialect::Azure => true,
        Asked::Head | Asked::Object => MISSING.contains(&said.code.as_str()),
        Asked::Page | Asked::Other => false,
    }
}

/// Whether a refusal lacks what a store would say with it.
fn is_wordless(said: &Answer) -> bool {
    said.asked != Asked::Head && said.code.is_empty() && said.region.is_none()
}

fn of_status(said: &Answer, location: &Location) -> Failure {
    let (kind, class) = match said.status {
        404 if is_missing(said, location) => (Kind::Missing, Class::Missing),
        // It may pass, and a wrong address is no server that has answered.
        404 => {
            return Failure {
                kind: Kind::Place,
                ..Failure::transient(advice::no_store(said, location))
            };
        }
        // Plain HTTP at a port for TLS, or the other way round; a web server that takes no uploads.
        400 | 405 | 301 | 302 | 307 | 308 if is_wordless(said) => {
            return Failure::place(Class::Config, advice::no_store(said, location));
        }
        // A race of two creations ends with one of these for who comes second.
        409 | 412 | 304 if said.asked == Asked::Other => (Kind::Exists, Class::Refused),
        401 => {
            let (class, text) = advice::unauthorized(said, location);
            return Failure::answer(Kind::Place, class, text);
        }
        403 => {
            return Failure::answer(Kind::Object, Class::Denied, advice::denied(said, location));
        }
        413 => {
            let text = advice::too_large(said, location);
            return Failure::answer(Kind::Place, Class::Config, text);
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
    let (mut kind, mut host) = (None, None);
    let mut texts: Vec<String> = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(http) = cause.downcast_ref::<HttpError>() {
            kind = Some(http.kind());
        }
        if let Some(NoAnswer { host: asked, .. }) = cause.downcast_ref() {
            host = Some(asked.as_str()).filter(|asked| !location.is_own(asked));
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
    if let object_store::Error::InvalidPath { source } = error {
        return Failure::place(Class::Config, advice::odd_key(source));
    }
    if let Some(code) = batch_code(&all) {
        // A batch is no answer of a web server, whatever becomes of its parts.
        if code == 404 {
            return Failure::answer(Kind::Missing, Class::Missing, innermost);
        }
        let said = Answer { status: code, ..Answer::default() };
        return of_status(&said, location);
    }
    match kind {
        Some(HttpErrorKind::Connect) => Failure {
            kind: Kind::Place,
            ..Failure::transient(advice::no_connection(&innermost, host, location))
        },
        Some(HttpErrorKind::Decode) => {
            Failure::transient(format!("an answer that makes no sense: {innermost}"))
        }
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

    use jiff::SignedDuration;

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
    fn an_archived_object_is_neither_damaged_nor_there_already() {
        for (dialect, status, code, word) in [
            (Dialect::S3, 403, "InvalidObjectState", "restore-object"),
            (Dialect::Azure, 409, "BlobArchived", "rehydrate"),
            (Dialect::Azure, 409, "BlobBeingRehydrated", "under way"),
        ] {
            let failure = answer_to(dialect, Asked::Object, status, code);
            assert_eq!((failure.kind, failure.class), (Kind::Object, Class::Config), "{code}");
            assert!(failure.text.contains("archive") && failure.text.contains(word), "{failure}");
        }
        // Whatever else a read meets, it is no race of two who create.
        let failure = answer_to(Dialect::Azure, Asked::Object, 409, "LeaseIdMissing");
        assert_eq!(failure.kind, Kind::Object);
        assert!(failure.text.contains("LeaseIdMissing"), "{failure}");
    }

    #[test]
    fn a_refused_checksum_names_the_variable() {
        let said = |status, code: &str, message: &str| {
            let (code, message) = (code.to_owned(), message.to_owned());
            let host = "host:1".to_owned();
            of_answer(&Answer { host, status, code, message, ..Answer::default() }, &location())
        };
        let checksum = "BACKSTAY_S3_CHECKSUM=false";
        let condition = "BACKSTAY_S3_CONDITIONAL_PUT=false";
        for (status, code, message, expected) in [
            (
                400,
                "InvalidArgument",
                "Unsupported header 'x-amz-checksum-sha256' received",
                checksum,
            ),
            (501, "NotImplemented", "Header 'x-amz-checksum-sha256' not implemented", checksum),
            (400, "InvalidRequest", "The checksum algorithm is not supported", checksum),
            (400, "BadDigest", "The sha256 you specified did not match", checksum),
            (501, "NotImplemented", "A header you provided: If-None-Match", condition),
            (400, "InvalidArgument", "Unsupported header 'if-none-match'", condition),
        ] {
            let failure = said(status, code, message);
            assert!(failure.text.contains(expected), "{code} {message}: {failure}");
            let other = if expected == checksum { condition } else { checksum };
            assert!(!failure.text.contains(other), "{code} {message}: {failure}");
            let is_passing = code == "BadDigest";
            assert_eq!(failure.class == Class::Transient, is_passing, "{failure}");
        }
        let silent = said(501, "NotImplemented", "no").text;
        assert!(silent.contains(checksum) && silent.contains(condition), "{silent}");
    }

    #[test]
    fn an_upload_that_is_too_large_names_who_limits_it() {
        let proxy = answer(413, "");
        assert_eq!((proxy.kind, proxy.class), (Kind::Place, Class::Config));
        for word in ["client_max_body_size", "proxy-body-size", "64m"] {
            assert!(proxy.text.contains(word), "{proxy}");
        }
        let store = answer(413, "EntityTooLarge").text;
        assert!(store.contains("EntityTooLarge") && store.contains("64 MiB"), "{store}");
        let store = answer(400, "EntityTooLarge").text;
        assert!(store.contains("64 MiB"), "{store}");
    }

    #[test]
    fn tells_a_lost_race_from_an_undecided_one() {
        assert_eq!(answer(412, "PreconditionFailed").kind, Kind::Exists);
        assert_eq!(answer(409, "BlobAlreadyExists").kind, Kind::Exists);
        assert_ne!(answer(409, "ConditionalRequestConflict").kind, Kind::Exists);
    }

    /// What a 404 says, or another refusal, to what was asked.
    fn answer_to(dialect: Dialect, asked: Asked, status: u16, code: &str) -> Failure {
        let location = Location::parse(dialect, "x://bucket", "http://host:1", "host:1").unwrap();
        let code = code.to_owned();
        of_answer(
            &Answer { host: "host:1".into(), asked, status, code, ..Answer::default() },
            &location,
        )
    }

    #[test]
    fn a_missing_object_is_one_that_a_store_looked_for() {
        use Asked::{Head, Object, Other, Page};
        use Dialect::{Azure, Gcs, S3};
        for (dialect, asked, code) in [
            (S3, Object, "NoSuchKey"),
            (Gcs, Object, "NoSuchKey"),
            (Azure, Object, "BlobNotFound"),
            (Azure, Head, "BlobNotFound"),
            (S3, Head, ""),
            (Gcs, Head, ""),
        ] {
            let failure = answer_to(dialect, asked, 404, code);
            assert_eq!((failure.kind, failure.class), (Kind::Missing, Class::Missing), "{code}");
        }
        for (dialect, asked, code) in [
            (S3, Object, ""),
            (S3, Object, "not found"),
            (S3, Page, ""),
            (S3, Page, "NoSuchKey"),
            (S3, Other, "NoSuchKey"),
            (Azure, Object, ""),
            (Azure, Head, ""),
        ] {
            let failure = answer_to(dialect, asked, 404, code);
            // Tried again, and after a short time where nothing else ever answered.
            assert_eq!((failure.kind, failure.class), (Kind::Place, Class::Transient), "{code}");
            assert!(!failure.is_answer && failure.text.contains("404"), "{failure}");
            assert!(failure.text.contains("not as a store does"), "{failure}");
        }
    }

    #[test]
    fn knows_a_web_server() {
        for status in [400, 405, 301, 308] {
            let failure = answer_to(Dialect::S3, Asked::Object, status, "");
            assert_eq!((failure.kind, failure.class), (Kind::Place, Class::Config), "{status}");
            assert!(failure.text.contains("AWS_ENDPOINT_URL"), "{failure}");
        }
        for (asked, status, code) in [(Asked::Head, 400, ""), (Asked::Object, 400, "Odd")] {
            let failure = answer_to(Dialect::S3, asked, status, code);
            assert!(!failure.text.contains("not as a store does"), "{failure}");
        }
    }

    #[test]
    fn a_wrong_clock_is_no_wrong_credential() {
        let said = |host: &str, status, code: &str, minutes| Answer {
            host: host.to_owned(),
            status,
            code: code.to_owned(),
            clock_ahead: SignedDuration::from_mins(minutes),
            ..Answer::default()
        };
        let location = Location::parse(Dialect::Gcs, "gs://bucket", "http://host:1", "host:1");
        let location = location.unwrap();
        let failure_of = |said: Answer| {
            let error = object_store::Error::NotImplemented {
                operation: String::new(),
                implementer: String::new(),
            };
            of(&error, Some(said), &location)
        };
        for (minutes, words) in [(61, "61 minutes ahead"), (-6, "6 minutes behind")] {
            for said in [
                said("host:1", 401, "", minutes),
                said("tokens", 400, "invalid_grant", minutes),
                said("tokens", 401, "invalid_client", minutes),
            ] {
                let failure = failure_of(said);
                assert_eq!(failure.class, Class::Config, "{failure}");
                assert!(failure.text.contains(words), "{failure}");
            }
        }
        for said in [said("host:1", 401, "", 4), said("tokens", 400, "invalid_grant", 0)] {
            let failure = failure_of(said);
            assert_eq!(failure.class, Class::Denied, "{failure}");
            assert!(failure.text.contains("GOOGLE_APPLICATION_CREDENTIALS"), "{failure}");
        }
    }

    #[test]
    fn names_the_key_that_spoils_a_listing() {
        let source = object_store::path::Path::parse("config//x").unwrap_err();
        let failure = of(&object_store::Error::InvalidPath { source }, None, &location());
        assert!(failure.text.contains("config//x") && failure.text.contains("delete"), "{failure}");
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
