//! S3 over a connection that loses answers: a server of a few lines that follows a script, since
//! no real one can be told when to hang up.

use std::collections::BTreeMap;
use std::sync::Arc;

use backstay::class::Class;
use backstay::store::{self, Error, Key, Settings, Store};
use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the server does with one request.
#[derive(Clone, Copy)]
enum Step {
    /// Takes it and hangs up.
    HangUp,
    /// Answers with a status, an error code, or with the content `mine`.
    Answer(u16, &'static str),
}

/// Serves one request per connection and returns their methods.
async fn serve(steps: Vec<Step>) -> (Arc<dyn Store>, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut methods = Vec::new();
        for step in steps {
            let (connection, _) = listener.accept().await.unwrap();
            let mut connection = BufReader::new(connection);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(connection.read_line(&mut head).await.unwrap(), 0);
            }
            methods.push(head.split(' ').next().unwrap().to_owned());
            let head = head.to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().unwrap());
            connection.read_exact(&mut vec![0; length]).await.unwrap();
            if let Step::Answer(status, body) = step {
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nConnection: close\r\nETag: \"e\"\r\n\
                     Last-Modified: Sat, 21 Nov 2026 12:00:00 GMT\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                connection.write_all(answer.as_bytes()).await.unwrap();
                connection.shutdown().await.unwrap();
            }
        }
        methods
    });
    let environment: BTreeMap<String, String> = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let store =
        store::open("s3://bucket/prefix", &Settings::with_environment(environment)).unwrap();
    (store, served)
}

async fn create(steps: Vec<Step>) -> (Result<(), Error>, Vec<String>) {
    let (store, served) = serve(steps).await;
    let parts = vec![Bytes::from_static(b"mi"), Bytes::from_static(b"ne")];
    let outcome = store.create(&Key::new("register"), parts).await;
    (outcome, served.await.unwrap())
}

const EXISTS: Step = Step::Answer(412, "<Error><Code>PreconditionFailed</Code></Error>");

#[tokio::test]
async fn a_repeated_put_that_meets_itself_has_succeeded() {
    for first in [Step::HangUp, Step::Answer(500, "<Error><Code>InternalError</Code></Error>")] {
        let (outcome, methods) = create(vec![first, EXISTS, Step::Answer(200, "mine")]).await;
        outcome.unwrap();
        assert_eq!(methods, ["PUT", "PUT", "GET"]);
    }
}

#[tokio::test]
async fn a_repeated_put_that_meets_another_has_lost() {
    for other in ["mink", "min", "mine!"] {
        let (outcome, _) = create(vec![Step::HangUp, EXISTS, Step::Answer(200, other)]).await;
        assert!(matches!(outcome, Err(Error::Exists { .. })), "{outcome:?}");
    }
}

/// Something on the way may have sent it twice.
#[tokio::test]
async fn a_first_put_that_meets_itself_has_succeeded() {
    let (outcome, methods) = create(vec![EXISTS, Step::Answer(200, "mine")]).await;
    outcome.unwrap();
    assert_eq!(methods, ["PUT", "GET"]);
}

/// A conflict may be reported although nothing was stored.
#[tokio::test]
async fn a_put_that_meets_nobody_is_sent_again() {
    let conflict = Step::Answer(409, "<Error><Code>Conflict</Code></Error>");
    let gone = Step::Answer(404, "<Error><Code>NoSuchKey</Code></Error>");
    let (outcome, methods) = create(vec![conflict, gone, Step::Answer(200, "")]).await;
    outcome.unwrap();
    assert_eq!(methods, ["PUT", "GET", "PUT"]);
}

#[tokio::test]
async fn an_undecided_race_is_run_again() {
    let undecided = Step::Answer(409, "<Error><Code>ConditionalRequestConflict</Code></Error>");
    let (outcome, methods) = create(vec![undecided, Step::Answer(200, "")]).await;
    outcome.unwrap();
    assert_eq!(methods, ["PUT", "PUT"]);
}

#[tokio::test]
async fn says_what_is_wrong_and_what_to_do() {
    for (status, code, class, word) in [
        (404, "NoSuchBucket", Class::Config, "no bucket bucket"),
        (403, "AccessDenied", Class::Denied, "denies"),
        (403, "InvalidAccessKeyId", Class::Denied, "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", Class::Denied, "AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", Class::Config, "clock"),
        (301, "PermanentRedirect", Class::Config, "AWS_REGION"),
        (507, "XMinioStorageFull", Class::Full, "507"),
    ] {
        let body: &'static str = format!("<Error><Code>{code}</Code></Error>").leak();
        let (outcome, _) = create(vec![Step::Answer(status, body)]).await;
        let error = outcome.unwrap_err();
        assert_eq!(error.class(), class, "{error:?}");
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error}: {}", cause.unwrap_or_default());
        assert!(text.contains(word), "{text}");
        assert!(!text.contains('\n'), "{text}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_within_seconds() {
    // Bound and dropped: nothing listens there any more.
    let (store, served) = serve(vec![]).await;
    served.await.unwrap();
    let error = store.get(&Key::new("a"), 1).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient);
    assert!(error.to_string().contains("cannot connect"), "{error}");
}
