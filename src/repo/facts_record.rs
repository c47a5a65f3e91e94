//! Facts of sources as a snapshot stores them. FORMAT.md §10.

use minicbor::{Decode, Encode};

use crate::facts::naming::{Numbering, SegmentNaming};
use crate::facts::{DirectoryFacts, EARLIER_KEPT, Facts, Timeline, WalFacts};
use crate::repo::record;

/// Facts as stored: one CBOR item that is taken apart only by who knows the kind, so that a kind of
/// a later version does no harm.
#[derive(Clone, Debug)]
pub struct FactsRecord(Vec<u8>);

impl<C> Encode<C> for FactsRecord {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.writer_mut().write_all(&self.0).map_err(minicbor::encode::Error::write)
    }
}

impl<'b, C> Decode<'b, C> for FactsRecord {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let start = d.position();
        d.skip()?;
        Ok(Self(d.input().get(start..d.position()).unwrap_or_default().to_vec()))
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct DirectoryRecord {
    #[n(0)]
    pinned: bool,
    #[n(1)]
    exclude: Option<Vec<String>>,
    #[n(2)]
    exclude_caches: Option<bool>,
    #[n(3)]
    volumes: Option<Vec<(u64, u64)>>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct WalRecord {
    #[cbor(n(0), with = "minicbor::bytes")]
    timeline: [u8; 16],
    #[n(1)]
    first: Option<u64>,
    #[n(2)]
    last: Option<u64>,
    #[n(3)]
    floor: Option<u64>,
    #[n(4)]
    gaps: Vec<(u64, u64)>,
    #[n(5)]
    prefix: String,
    #[n(6)]
    suffix: String,
    #[n(7)]
    numbering: u32,
    #[n(8)]
    forked_from: Option<Fork>,
    #[n(9)]
    ceiling: Option<u64>,
    #[n(10)]
    earlier: Option<Vec<Id>>,
    #[n(11)]
    directory: Option<u64>,
    #[n(12)]
    marker: Option<Id>,
    #[n(13)]
    reached: Option<u64>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Fork {
    #[cbor(n(0), with = "minicbor::bytes")]
    timeline: [u8; 16],
    #[n(1)]
    after: u64,
}

#[derive(Encode, Decode)]
#[cbor(transparent)]
struct Id(#[cbor(with = "minicbor::bytes")] [u8; 16]);

/// Lists that are empty are left out.
fn some<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

impl FactsRecord {
    /// The kind's name and the record of `facts`.
    pub fn of(facts: &Facts) -> (&'static str, Self) {
        match facts {
            Facts::Directory(directory) => {
                let record = DirectoryRecord {
                    pinned: directory.pinned,
                    exclude: some(&directory.exclude),
                    exclude_caches: directory.exclude_caches.then_some(true),
                    volumes: some(&directory.volumes),
                };
                ("directory", Self(record::encode(&record)))
            }
            Facts::Wal(wal) => ("wal", Self(record::encode(&WalRecord::of(wal)))),
        }
    }

    /// The facts of a source of this kind, if the kind is one that this version knows.
    pub(super) fn read(&self, kind: &str) -> Option<Facts> {
        match kind {
            "directory" => minicbor::decode(&self.0).ok().map(DirectoryRecord::facts),
            "wal" => minicbor::decode(&self.0).ok().and_then(WalRecord::facts),
            _ => None,
        }
    }
}

impl DirectoryRecord {
    fn facts(self) -> Facts {
        Facts::Directory(DirectoryFacts {
            pinned: self.pinned,
            exclude: self.exclude.unwrap_or_default(),
            exclude_caches: self.exclude_caches.unwrap_or_default(),
            volumes: self.volumes.unwrap_or_default(),
        })
    }
}

impl WalRecord {
    fn of(wal: &WalFacts) -> Self {
        let earlier: Vec<Id> =
            wal.earlier.iter().take(EARLIER_KEPT).map(|timeline| Id(timeline.0)).collect();
        Self {
            timeline: wal.timeline.0,
            first: wal.first,
            last: wal.last,
            floor: wal.floor,
            gaps: wal.gaps.clone(),
            prefix: wal.naming.prefix.clone(),
            suffix: wal.naming.suffix.clone(),
            numbering: wal.naming.numbering.code(),
            forked_from: wal
                .forked_from
                .map(|(timeline, after)| Fork { timeline: timeline.0, after }),
            ceiling: wal.ceiling,
            earlier: (!earlier.is_empty()).then_some(earlier),
            directory: wal.directory,
            marker: wal.marker.map(|timeline| Id(timeline.0)),
            reached: wal.reached,
        }
    }

    fn facts(self) -> Option<Facts> {
        let earlier = self.earlier.unwrap_or_default().into_iter();
        let numbering = Numbering::of_code(self.numbering)?;
        Some(Facts::Wal(WalFacts {
            timeline: Timeline(self.timeline),
            forked_from: self.forked_from.map(|fork| (Timeline(fork.timeline), fork.after)),
            earlier: earlier.take(EARLIER_KEPT).map(|timeline| Timeline(timeline.0)).collect(),
            first: self.first,
            last: self.last,
            floor: self.floor,
            ceiling: self.ceiling,
            gaps: self.gaps,
            naming: SegmentNaming { prefix: self.prefix, suffix: self.suffix, numbering },
            directory: self.directory,
            marker: self.marker.map(|timeline| Timeline(timeline.0)),
            reached: self.reached,
        }))
    }
}
