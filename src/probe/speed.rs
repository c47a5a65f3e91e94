//! How fast a store is: what a small request takes, and what goes through with objects as large as packs.

use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::{self, StreamExt as _};

use super::{Deletion, Error, Probe, noise};
use crate::repo::layout;
use crate::store::Key;
use crate::units::{KIB, MIB, to_u64, to_usize};
use crate::world::Stopwatch;

/// Small requests of each kind.
const SMALL: usize = 11;
/// As large as a pack.
const LARGEST_BYTES: usize = 32 * MIB;
const SMALLEST_BYTES: usize = 256 * KIB;
/// Objects on their way at a time: as many as a backup has.
const TRANSFERS: usize = 4;
/// After this nothing new is begun.
const PATIENCE: Duration = Duration::from_secs(5);
/// Objects that are stored only to see how large the others should be.
const PILOTS: usize = 3;
/// What the objects are called together where they are made once and found again.
const KEPT: &str = "transfer";

/// How much to transfer.
#[derive(Clone, Copy, Debug)]
pub struct SpeedOptions {
    /// Bytes each way; fewer where they would take more than about 5 s.
    pub transfer_bytes: u64,
}

impl Default for SpeedOptions {
    fn default() -> Self {
        Self { transfer_bytes: 128 << 20 }
    }
}

/// Bytes and the time that they took together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// From the first byte of the first to the last byte of the last.
    pub duration: Duration,
}

impl Transfer {
    /// Bytes per second.
    pub fn bytes_per_second(&self) -> f64 {
        self.bytes as f64 / self.duration.as_secs_f64().max(1e-9)
    }
}

/// How fast a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// What storing a small object takes, in the middle.
    pub put: Duration,
    /// What reading one takes.
    pub get: Duration,
    /// To the store; `None` where objects of an earlier test are there and cannot be deleted.
    pub upload: Option<Transfer>,
    /// From the store.
    pub download: Transfer,
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// An object to transfer.
#[derive(Clone)]
struct Load {
    key: Key,
    number: u64,
    size_bytes: usize,
}

impl Load {
    fn is(&self, found: &[u8], noise: &[u8]) -> bool {
        let head = self.number.to_le_bytes();
        let rest = noise.get(head.len()..self.size_bytes);
        found.strip_prefix(&head) == rest
    }

    fn parts(&self, noise: &Bytes) -> Vec<Bytes> {
        let head = Bytes::copy_from_slice(&self.number.to_le_bytes());
        let rest = noise.slice(head.len()..self.size_bytes);
        vec![head, rest]
    }
}

impl Probe<'_> {
    /// Measures.
    pub(super) async fn speed(
        &mut self,
        options: SpeedOptions,
        deletion: Deletion,
    ) -> Result<Speed, Error> {
        let (put, get) = self.latency().await?;
        // Each object is a number and these bytes: no copies.
        let noise = noise(LARGEST_BYTES);
        let kept = layout::kept_probes(KEPT);
        let may_delete = deletion == Deletion::Allowed;
        let mut loads = if may_delete { Vec::new() } else { self.kept_loads(&kept).await? };
        let mut upload = None;
        if loads.is_empty() {
            let size_bytes = self.pilot(options.transfer_bytes, put, &noise).await?;
            let count = options.transfer_bytes.div_ceil(to_u64(size_bytes)).max(1);
            for number in 0..count {
                let key = if may_delete {
                    self.key(format!("transfer-{number}"))
                } else {
                    Key::new(format!("{kept}{number}"))
                };
                loads.push(Load { key, number, size_bytes });
            }
            let (done, transfer) = self.upload(loads, &noise).await?;
            self.kept_objects += if may_delete { 0 } else { transfer.objects };
            (loads, upload) = (done, Some(transfer));
        }
        let download = self.download(loads, &noise, may_delete).await?;
        Ok(Speed { put, get, upload, download })
    }

    async fn latency(&mut self) -> Result<(Duration, Duration), Error> {
        let (mut puts, mut gets) = (Vec::new(), Vec::new());
        for number in 0..SMALL {
            let watch = Stopwatch::start();
            let key = self.create(format!("small-{number}"), Bytes::from_static(b"small")).await?;
            puts.push(watch.elapsed());
            let watch = Stopwatch::start();
            self.written(&key, 5).await?;
            gets.push(watch.elapsed());
        }
        Ok((median(puts), median(gets)))
    }

    /// What an earlier test left because it could not delete.
    async fn kept_loads(&self, prefix: &str) -> Result<Vec<Load>, Error> {
        let listed: Vec<_> = self.store.list(prefix).try_collect().await?;
        let load = |object: &crate::store::Object| {
            let number = object.key.as_str().strip_prefix(prefix)?.parse().ok()?;
            let size_bytes = to_usize(object.size_bytes);
            let fits = (SMALLEST_BYTES..=LARGEST_BYTES).contains(&size_bytes);
            fits.then(|| Load { key: object.key.clone(), number, size_bytes })
        };
        Ok(listed.iter().filter_map(load).collect())
    }

    /// How large objects may be so that several of them pass in the time that there is.
    async fn pilot(
        &mut self,
        transfer_bytes: u64,
        latency: Duration,
        noise: &Bytes,
    ) -> Result<usize, Error> {
        let most = to_usize(transfer_bytes).clamp(SMALLEST_BYTES, LARGEST_BYTES);
        let mut size_bytes = SMALLEST_BYTES;
        for pilot in 0..PILOTS {
            let key = self.key(format!("pilot-{pilot}"));
            let load = Load { key, number: 0, size_bytes };
            let watch = Stopwatch::start();
            self.store.create(&load.key, load.parts(noise)).await?;
            let seconds = watch.elapsed().saturating_sub(latency).as_secs_f64().max(1e-3);
            let share = PATIENCE.as_secs_f64() / TRANSFERS as f64 / seconds;
            // A line may be slow to start, and so is a guess that it is fast: it is made in steps.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            let next = size_bytes * (share.clamp(1.0, 64.0) as usize);
            let next = next.clamp(SMALLEST_BYTES, most);
            let is_settled = next <= 2 * size_bytes;
            size_bytes = next;
            if is_settled {
                break;
            }
        }
        Ok(size_bytes)
    }

    /// Stores as many as fit into the time, at least one.
    async fn upload(
        &self,
        loads: Vec<Load>,
        noise: &Bytes,
    ) -> Result<(Vec<Load>, Transfer), Error> {
        let watch = Stopwatch::start();
        let uploads = loads.into_iter().map(|load| async move {
            if load.number > 0 && watch.elapsed() > PATIENCE {
                return Ok::<_, Error>(None);
            }
            self.store.create(&load.key, load.parts(noise)).await?;
            Ok(Some(load))
        });
        let uploads = stream::iter(uploads).buffer_unordered(TRANSFERS);
        let done: Vec<Load> =
            uploads.try_filter_map(|load| async { Ok(load) }).try_collect().await?;
        let transfer = transferred(&done, watch.elapsed());
        Ok((done, transfer))
    }

    /// Reads as many as fit into the time, at least one, and compares them if they are this probe's own.
    async fn download(
        &self,
        loads: Vec<Load>,
        noise: &Bytes,
        own: bool,
    ) -> Result<Transfer, Error> {
        let watch = Stopwatch::start();
        let downloads = loads.into_iter().enumerate().map(|(at, load)| async move {
            if at > 0 && watch.elapsed() > PATIENCE {
                return Ok::<_, Error>(None);
            }
            let found = self.written(&load.key, load.size_bytes).await?;
            if own && !load.is(&found, noise) {
                return Err(self.unusable("a large object came back as something else"));
            }
            Ok(Some(load))
        });
        let downloads = stream::iter(downloads).buffer_unordered(TRANSFERS);
        let done: Vec<Load> =
            downloads.try_filter_map(|load| async { Ok(load) }).try_collect().await?;
        Ok(transferred(&done, watch.elapsed()))
    }
}

fn transferred(done: &[Load], duration: Duration) -> Transfer {
    let bytes = done.iter().map(|load| to_u64(load.size_bytes)).sum();
    Transfer { objects: to_u64(done.len()), bytes, duration }
}
