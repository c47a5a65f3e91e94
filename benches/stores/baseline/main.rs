//! What the library alone makes of the same bytes and the same server: puts a file as objects of
//! 32 MiB, or gets them back into a file, so many at a time. Backstay is held against this.
//!
//! The client is set up as `src/store/s3/settings.rs` does it: path style, SHA-256 checksum,
//! put-if-absent. It neither cuts, hashes, compresses nor seals; what it reads and writes goes through
//! files as Backstay's does, since a backup reads its source and a restore writes its destination.
//!
//!     store-baseline put|get BUCKET PREFIX FILE CONNECTIONS

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark stops at the first trouble")]

use std::env;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use futures::stream::{StreamExt as _, TryStreamExt as _};
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload};

/// What a full pack has.
const OBJECT_BYTES: u64 = 32 << 20;
/// As many as Backstay's own runtime has.
const WORKERS: usize = 2;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [verb, bucket, prefix, file, connections] = arguments.as_slice() else {
        panic!("store-baseline put|get BUCKET PREFIX FILE CONNECTIONS");
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(WORKERS).enable_all().build().unwrap();
    let connections = connections.parse().unwrap();
    let client = Arc::new(client(bucket));
    match verb.as_str() {
        "put" => runtime.block_on(put(client, prefix, file, connections)),
        "get" => runtime.block_on(get(client, prefix, file, connections)),
        other => panic!("{other} is neither put nor get"),
    }
}

fn client(bucket: &str) -> AmazonS3 {
    let variable = |name| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let options = ClientOptions::new().with_timeout_disabled().with_allow_http(true);
    AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_endpoint(variable("AWS_ENDPOINT_URL"))
        .with_region(variable("AWS_REGION"))
        .with_access_key_id(variable("AWS_ACCESS_KEY_ID"))
        .with_secret_access_key(variable("AWS_SECRET_ACCESS_KEY"))
        .with_virtual_hosted_style_request(false)
        .with_checksum_algorithm(Checksum::SHA256)
        .with_client_options(options)
        .build()
        .unwrap()
}

/// The name of the object that holds the file's bytes from `number` × 32 MiB on.
fn name(prefix: &str, number: u64) -> Path {
    Path::from(format!("{prefix}/{number:06}"))
}

async fn put(client: Arc<AmazonS3>, prefix: &str, file: &str, connections: usize) {
    let file = Arc::new(File::open(file).unwrap());
    let size_bytes = file.metadata().unwrap().len();
    let puts = (0..size_bytes.div_ceil(OBJECT_BYTES)).map(|number| {
        let (client, file, name) = (Arc::clone(&client), Arc::clone(&file), name(prefix, number));
        // A task each, so that both cores hash and send.
        async move {
            tokio::spawn(async move {
                let start = number * OBJECT_BYTES;
                let length = OBJECT_BYTES.min(size_bytes - start);
                let read = move || {
                    let mut bytes = vec![0; usize::try_from(length).unwrap()];
                    file.read_exact_at(&mut bytes, start).map(|()| bytes)
                };
                let bytes = tokio::task::spawn_blocking(read).await.unwrap().unwrap();
                client.put_opts(&name, PutPayload::from(bytes), PutMode::Create.into()).await
            })
            .await
        }
    });
    let mut done = futures::stream::iter(puts).buffer_unordered(connections);
    while let Some(outcome) = done.next().await {
        outcome.unwrap().unwrap();
    }
}

async fn get(client: Arc<AmazonS3>, prefix: &str, file: &str, connections: usize) {
    let listing = client.list(Some(&Path::from(prefix)));
    let count = listing.try_fold(0, |count, _| async move { Ok(count + 1) }).await.unwrap();
    assert!(count > 0, "there is nothing under {prefix}");
    let file = Arc::new(File::create_new(file).unwrap());
    let gets = (0..count).map(|number| {
        let (client, file, name) = (Arc::clone(&client), Arc::clone(&file), name(prefix, number));
        async move {
            tokio::spawn(async move {
                let bytes = client.get(&name).await?.bytes().await?;
                let write = move || file.write_all_at(&bytes, number * OBJECT_BYTES);
                tokio::task::spawn_blocking(write).await.unwrap().unwrap();
                Ok::<_, object_store::Error>(())
            })
            .await
        }
    });
    let mut done = futures::stream::iter(gets).buffer_unordered(connections);
    while let Some(outcome) = done.next().await {
        outcome.unwrap().unwrap();
    }
}
