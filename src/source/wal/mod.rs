//! Closed segments of a write-ahead log as a source.
//!
//! It encloses the other sources of a snapshot: at the cut all present segments are opened and the
//! newest number is noted as the floor; after the last directory was read the closed ones are listed
//! again up to the ceiling. So the log reaches back to before the first byte of the directories and
//! on to after their last one, and a segment that the engine deletes meanwhile is still in our
//! hands.

mod cut;
mod history;
mod look;
mod segments;
#[cfg(test)]
mod tests;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub use self::segments::ClosedRule;
pub use self::timeline::{
    TIMELINE_MARKER_NAME, TimelineMarker, parse_timeline_marker_text, write_timeline_marker_text,
};

use self::cut::WalCut;
use self::look::Place;
use super::{Cut, Error, Previous, Source};
use crate::facts::naming::SegmentNaming;
use crate::facts::{Facts, WalFacts};
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
    /// How segments are named.
    pub naming: SegmentNaming,
    /// How a closed segment is known.
    pub closed: ClosedRule,
    /// Size and time of a closed segment must be the same at two looks this far apart.
    pub settle: Duration,
    /// Whether a log without a segment is meant; else the snapshot is partial.
    pub allow_empty: bool,
    /// Whether pages of large segments are dropped from the cache after reading.
    pub drop_cache: bool,
}

impl WalOptions {
    /// All segments but the newest in `path`.
    pub fn new(name: impl Into<String>, path: impl Into<PathBuf>, naming: SegmentNaming) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            naming,
            closed: ClosedRule::default(),
            settle: SETTLE,
            allow_empty: false,
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
        let opening = move || {
            let place = Place::open(options)?;
            let marker = place.timeline_marker()?;
            let look = place.look(&look::Held::new())?;
            Ok::<_, Error>((place, marker, look))
        };
        let (place, marker, look) = world.cpu.run(opening).await?;
        Ok(Box::new(WalCut::new(world, place, Before { marker, previous }, look)))
    }
}

/// What is known of the log before it is read.
#[derive(Clone, Debug)]
struct Before {
    /// The marker that a restore left.
    marker: Option<TimelineMarker>,
    /// What the last snapshot says.
    previous: Option<WalFacts>,
}
