//! Finding snapshots: what `latest`, `latest:NAME` and the first digits of an id stand for.
//!
//! A listing brings names alone, and a name says lane, sequence and id. So a snapshot is found by
//! its id at the cost of one GET, and the newest one at the cost of one GET per lane.

use std::collections::BTreeMap;
use std::fmt;

use futures::{StreamExt as _, TryStreamExt as _};

use crate::repo::error::Error;
use crate::repo::id::{Lane, SessionId};
use crate::repo::layout::{self, Place};
use crate::repo::open::Repository;
use crate::repo::session::{Register, head_for_reading, read_register};
use crate::repo::snapshot::Snapshot;

/// Series that a message names.
const CHOICES: usize = 10;
/// Snapshots that are read side by side.
const READ_AHEAD: usize = 16;

/// The names of all valid commit registers.
#[derive(Debug)]
pub struct Catalog {
    repository: Repository,
    /// By lane, newest first.
    lanes: BTreeMap<Lane, Vec<Place>>,
}

/// Which snapshot is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The newest of all.
    Latest,
    /// The newest that has a source of this name.
    LatestOf(String),
    /// The one whose id begins so.
    Id(String),
}

/// Which series a name is looked for in; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Series {
    /// The machine.
    pub host: Option<String>,
    /// The job; an ad-hoc one goes by its sources, with commas between.
    pub job: Option<String>,
}

impl Series {
    /// Whether a snapshot is of such a series.
    pub fn admits(&self, snapshot: &Snapshot) -> bool {
        let is_job = |job: &String| *job == snapshot.job || *job == snapshot.job_shown();
        self.host.as_ref().is_none_or(|host| *host == snapshot.host)
            && self.job.as_ref().is_none_or(is_job)
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::LatestOf(source) => write!(f, "latest:{source}"),
            Self::Id(id) => f.write_str(id),
        }
    }
}

/// A snapshot that is there but cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// Its id.
    pub id: SessionId,
    /// Why not.
    pub error: Error,
}

/// All snapshots of a repository.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Oldest first.
    pub snapshots: Vec<Snapshot>,
    /// Those that cannot be read.
    pub unreadable: Vec<Unreadable>,
}

impl Repository {
    /// Lists the snapshots' names. Costs 2 LIST, and a GET where there is a checkpoint.
    pub async fn catalog(&self) -> Result<Catalog, Error> {
        let mut listing = self.store().list(layout::SNAPSHOT);
        let mut places = Vec::new();
        while let Some(object) = listing.try_next().await? {
            places.extend(Place::parse(&object.key));
        }
        // Read after the listing, so that what was forgotten meanwhile is known.
        let (head, _) = head_for_reading(self).await?;
        places.retain(|place| head.is_valid(place.session, place.checkpoint));
        let mut lanes: BTreeMap<Lane, Vec<Place>> = BTreeMap::new();
        for place in places {
            lanes.entry(place.lane).or_default().push(place);
        }
        for lane in lanes.values_mut() {
            lane.sort_unstable_by_key(|place| std::cmp::Reverse(place.sequence));
        }
        Ok(Catalog { repository: self.clone(), lanes })
    }
}

impl Catalog {
    /// Reads all snapshots. Costs a GET for each.
    pub async fn snapshots(&self) -> Result<Snapshots, Error> {
        let places: Vec<Place> = self.lanes.values().flatten().copied().collect();
        let reads = futures::stream::iter(places)
            .map(|place| async move { (place, read_register(&self.repository, &place).await) });
        let mut reads = reads.buffer_unordered(READ_AHEAD);
        let mut found = Snapshots::default();
        while let Some((place, read)) = reads.next().await {
            match read {
                Ok(Register::Snapshot(snapshot)) => found.snapshots.push(*snapshot),
                Ok(Register::Aborted(_)) => {}
                Err(error) if error.is_unreadable() => {
                    found.unreadable.push(Unreadable { id: place.session, error });
                }
                Err(error) => return Err(error),
            }
        }
        found.snapshots.sort_by_key(rank);
        found.unreadable.sort_by_key(|unreadable| unreadable.id);
        Ok(found)
    }

    /// The snapshot that is meant, of any series.
    pub async fn find(&self, wanted: &Wanted) -> Result<Snapshot, Error> {
        self.find_in(wanted, &Series::default()).await
    }

    /// The snapshot that is meant, of these series. What is the latest of several is never guessed: their
    /// clocks may differ, and a restore of another machine's data looks like a good one.
    pub async fn find_in(&self, wanted: &Wanted, series: &Series) -> Result<Snapshot, Error> {
        match wanted {
            Wanted::Latest => self.latest(wanted, None, series).await,
            Wanted::LatestOf(source) => self.latest(wanted, Some(source), series).await,
            Wanted::Id(prefix) => {
                let found = self.by_id(prefix).await?;
                if series.admits(&found) {
                    return Ok(found);
                }
                Err(Error::Snapshot {
                    wanted: prefix.clone(),
                    reason: format!("it is of {}, not of the one given", found.series()),
                })
            }
        }
    }

    async fn by_id(&self, prefix: &str) -> Result<Snapshot, Error> {
        let none = |reason: &str| Error::Snapshot {
            wanted: prefix.to_owned(),
            reason: format!("{reason}; backstay snapshots lists what there is"),
        };
        let digits = prefix.to_ascii_lowercase();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(none("not an id: give the first digits of one, latest or latest:NAME"));
        }
        let places = self.lanes.values().flatten();
        let mut fitting = Vec::new();
        for place in places.filter(|place| place.session.to_string().starts_with(&digits)) {
            match read_register(&self.repository, place).await {
                Ok(Register::Snapshot(snapshot)) => fitting.push(Ok(*snapshot)),
                Ok(Register::Aborted(_)) => {}
                Err(error) if error.is_unreadable() => fitting.push(Err(error)),
                Err(error) => return Err(error),
            }
            if fitting.len() > 1 {
                return Err(none("more than one id begins so: give more digits"));
            }
        }
        fitting.pop().unwrap_or_else(|| Err(none("there is no such snapshot")))
    }

    /// The highest sequence of the one series that fits.
    async fn latest(
        &self,
        wanted: &Wanted,
        source: Option<&str>,
        series: &Series,
    ) -> Result<Snapshot, Error> {
        let lanes = futures::stream::iter(self.lanes.values());
        let lanes =
            lanes.map(|lane| self.newest_of_lane(lane, source)).buffer_unordered(READ_AHEAD);
        let newest: Vec<Option<Snapshot>> = lanes.try_collect().await?;
        let all = newest.into_iter().flatten();
        let mut fitting: Vec<Snapshot> = all.filter(|found| series.admits(found)).collect();
        if fitting.len() > 1 {
            fitting.sort_by_key(Snapshot::series);
            let choices = fitting.iter().take(CHOICES).map(choice).collect::<Vec<_>>().join("; ");
            let more = if fitting.len() > CHOICES { "; …" } else { "" };
            let choices = format!("{choices}{more}");
            return Err(Error::Ambiguous { wanted: wanted.to_string(), choices });
        }
        let found = fitting.pop().ok_or_else(|| no_latest(wanted, series))?;
        if found.finished > self.repository.now() {
            tracing::warn!(
                snapshot = %found.id,
                finished = %instant(found.finished),
                "this snapshot says that it was finished in the future: a clock was wrong"
            );
        }
        Ok(found)
    }

    async fn newest_of_lane(
        &self,
        lane: &[Place],
        source: Option<&str>,
    ) -> Result<Option<Snapshot>, Error> {
        let mut newest: Option<Snapshot> = None;
        let now = self.repository.now();
        // Sessions that ran side by side have the same sequence.
        for side_by_side in lane.chunk_by(|one, other| one.sequence == other.sequence) {
            for place in side_by_side {
                let Some(found) = self.read(place, source).await? else {
                    continue;
                };
                let order = |snapshot: &Snapshot| (snapshot.finished <= now, rank(snapshot));
                if newest.as_ref().is_none_or(|newest| order(newest) < order(&found)) {
                    newest = Some(found);
                }
            }
            if newest.is_some() {
                break;
            }
        }
        Ok(newest)
    }

    /// The snapshot at a place, if it can be read and has the source.
    async fn read(&self, place: &Place, source: Option<&str>) -> Result<Option<Snapshot>, Error> {
        match read_register(&self.repository, place).await {
            Ok(Register::Snapshot(snapshot)) => {
                let fits = source.is_none_or(|name| snapshot.source(name).is_some());
                Ok(fits.then_some(*snapshot))
            }
            Ok(Register::Aborted(_)) => Ok(None),
            // What stands before it is worth more than an error.
            Err(error) if error.is_unreadable() => {
                tracing::warn!(snapshot = %place.session, %error, "skipped: it cannot be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// A series that could be meant.
fn choice(newest: &Snapshot) -> String {
    let Snapshot { host, finished, .. } = newest;
    let (id, job) = (newest.short_id(), newest.job_shown());
    format!("--host {host} --job {job} (newest {id}, {})", instant(*finished))
}

/// Seconds are enough for people.
fn instant(nanoseconds: i64) -> String {
    let instant = jiff::Timestamp::from_second(nanoseconds.div_euclid(1_000_000_000));
    instant.map_or_else(|_| "at no time".to_owned(), |instant| instant.to_string())
}

fn no_latest(wanted: &Wanted, series: &Series) -> Error {
    let of_these = *series != Series::default();
    let reason = match wanted {
        _ if of_these => "no snapshot of this host and job; backstay snapshots lists all",
        Wanted::LatestOf(_) => {
            "no snapshot has a source of this name; backstay snapshots lists them"
        }
        _ => "the repository has no snapshot yet; backstay backup makes one",
    };
    Error::Snapshot { wanted: wanted.to_string(), reason: reason.to_owned() }
}

/// What makes one snapshot later than another.
fn rank(snapshot: &Snapshot) -> (i64, SessionId) {
    (snapshot.finished, snapshot.id)
}
