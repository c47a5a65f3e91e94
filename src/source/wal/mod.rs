//! Closed segments of a write-ahead log as a source.
//!
//! It encloses the other sources of a snapshot: at the cut all present segments are opened and the
//! newest number is noted as the floor; after the last directory was read the closed ones are listed
//! again up to the ceiling. So the log reaches back to before the first byte of the directories and
//! on to after their last one, and a segment that the engine deletes meanwhile is still in our
//! hands.

mod cut;
mod epoch;
mod look;
mod pattern;
mod segments;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::epoch::{
    EPOCH_MARKER_NAME, EpochMarker, parse_epoch_marker_text, write_epoch_marker_text,
};
pub use self::pattern::SegmentPattern;
pub use self::segments::ClosedRule;

use self::cut::WalCut;
use self::look::Place;
use super::{Cut, Error, Previous, Source};
use crate::facts::{Epoch, Facts, WalFacts};
use crate::world::World;

/// How long a closed segment must hold still.
const SETTLE: Duration = Duration::from_millis(200);

/// Which segments to back up.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// The name under which a snapshot keeps it.
    pub name: String,
    /// The directory that holds the segments.
    pub path: PathBuf,
    /// How segments are named; found from the listing where `None`.
    pub pattern: Option<SegmentPattern>,
    /// How a closed segment is known.
    pub closed: ClosedRule,
    /// Size and time of a closed segment must be the same at two looks this far apart.
    pub settle: Duration,
    /// Whether pages of large segments are dropped from the cache after reading.
    pub drop_cache: bool,
}

impl WalOptions {
    /// All segments but the newest in `path`, whatever they are called.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            pattern: None,
            closed: ClosedRule::default(),
            settle: SETTLE,
            drop_cache: false,
        }
    }
}

/// Closed segments of a write-ahead log.
#[derive(Debug)]
pub struct WalSource {
    options: WalOptions,
}

impl WalSource {
    /// Checks the options; touches no file.
    pub fn new(options: WalOptions) -> Result<Self, Error> {
        let empty = match &options.closed {
            ClosedRule::AllButNewest => false,
            ClosedRule::Renamed { open_suffix } => open_suffix.is_empty(),
            ClosedRule::Marker { suffix } => suffix.is_empty(),
        };
        if empty {
            return Err(Error::Option {
                name: options.name,
                reason: "the suffix that tells open from closed segments is empty".to_owned(),
            });
        }
        Ok(Self { options })
    }
}

#[async_trait]
impl Source for WalSource {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn location(&self) -> String {
        self.options.path.display().to_string()
    }

    fn encloses_others(&self) -> bool {
        true
    }

    async fn cut(&self, world: &World, previous: Option<&Previous>) -> Result<Box<dyn Cut>, Error> {
        let previous = match previous.and_then(|previous| previous.facts.as_ref()) {
            Some(Facts::Wal(facts)) => Some(facts.clone()),
            _ => None,
        };
        let options = self.options.clone();
        let hint = previous.as_ref().and_then(|facts| SegmentPattern::of_naming(&facts.naming));
        let opening = move || {
            let place = Place::open(options, hint.as_ref())?;
            let marker = place.epoch_marker()?;
            let look = place.look(&look::Held::new())?;
            Ok::<_, Error>((place, marker, look))
        };
        let (place, marker, look) = world.cpu.run(opening).await?;
        let life = life(marker, previous.as_ref(), world);
        Ok(Box::new(WalCut::new(world, Arc::new(place), life, look)))
    }
}

/// The log's epoch and where it came from.
#[derive(Clone, Copy, Debug)]
struct Life {
    epoch: Epoch,
    forked_from: Option<(Epoch, u64)>,
}

/// The marker that a restore left decides; else the life goes on; else it begins.
fn life(marker: Option<EpochMarker>, previous: Option<&WalFacts>, world: &World) -> Life {
    match (marker, previous) {
        (Some(marker), _) => Life {
            epoch: marker.epoch,
            forked_from: Some((marker.forked_from, marker.forked_after)),
        },
        (None, Some(facts)) => Life { epoch: facts.epoch, forked_from: facts.forked_from },
        (None, None) => Life { epoch: Epoch(world.random.array()), forked_from: None },
    }
}
