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

    /// The snapshot that is meant.
    pub async fn find(&self, wanted: &Wanted) -> Result<Snapshot, Error> {
        match wanted {
            Wanted::Latest => self.latest(None).await,
            Wanted::LatestOf(source) => self.latest(Some(source)).await,
            Wanted::Id(prefix) => self.by_id(prefix).await,
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

    /// The highest sequence of each lane, and of those the one that finished last.
    async fn latest(&self, source: Option<&str>) -> Result<Snapshot, Error> {
        let lanes = futures::stream::iter(self.lanes.values());
        let lanes =
            lanes.map(|lane| self.newest_of_lane(lane, source)).buffer_unordered(READ_AHEAD);
        let newest: Vec<Option<Snapshot>> = lanes.try_collect().await?;
        newest.into_iter().flatten().max_by_key(rank).ok_or_else(|| match source {
            None => Error::Snapshot {
                wanted: "latest".to_owned(),
                reason: "the repository has no snapshot yet; backstay backup makes one".to_owned(),
            },
            Some(source) => Error::Snapshot {
                wanted: format!("latest:{source}"),
                reason: "no snapshot has a source of this name; backstay snapshots lists them"
                    .to_owned(),
            },
        })
    }

    async fn newest_of_lane(
        &self,
        lane: &[Place],
        source: Option<&str>,
    ) -> Result<Option<Snapshot>, Error> {
        let mut newest: Option<Snapshot> = None;
        // Sessions that ran side by side have the same sequence.
        for side_by_side in lane.chunk_by(|one, other| one.sequence == other.sequence) {
            for place in side_by_side {
                let Some(found) = self.read(place, source).await? else {
                    continue;
                };
                if newest.as_ref().is_none_or(|newest| rank(newest) < rank(&found)) {
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

/// What makes one snapshot later than another.
fn rank(snapshot: &Snapshot) -> (i64, SessionId) {
    (snapshot.finished, snapshot.id)
}
