//! What a restore adds to the segments of a restore point: those of later ones, and the marker by which the
//! next backup knows that a new timeline began.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::destination::{Destination, Output};
use crate::entry::{Entry, FileTime, Kind, Seen};
use crate::facts::Timeline;
use crate::restore::fetch::Fetcher;
use crate::restore::pass::Pass;
use crate::restore::wal::{LogPlan, RestoredWal};
use crate::restore::{Damage, Error, Loss, blocking};
use crate::source::wal::{TIMELINE_MARKER_NAME, TimelineMarker, write_timeline_marker_text};
use crate::units::to_u64;

impl Pass<'_> {
    /// Restores segments of later restore points after those of this one.
    pub(in crate::restore) async fn later(
        &mut self,
        fetcher: &mut Fetcher,
        damage: &mpsc::UnboundedSender<Damage>,
        log: &LogPlan,
    ) -> Result<(), Error> {
        // What shall stay is not known then.
        self.delete &= log.unreadable.is_empty();
        for reason in &log.unreadable {
            let detail = format!("segments may be missing: {reason}");
            let path = self.prefix.clone();
            drop(damage.send(Damage { path, loss: Loss::LaterSegments, detail }));
        }
        for stored in &log.later {
            // The snapshot's own tree does not have it, and `--delete` goes by that.
            if let Some(names) = &mut self.extra_names {
                names.insert(stored.entry.path.name().to_vec());
            }
            self.report.entries += 1;
            self.entry(fetcher, stored.clone(), damage).await?;
        }
        Ok(())
    }

    /// Leaves the marker of the timeline that begins with this restore: the engine will write segments
    /// with numbers that the repository knows, and other content.
    pub(in crate::restore) async fn begin_timeline(
        &mut self,
        log: &RestoredWal,
    ) -> Result<(), Error> {
        let before = || log.facts.floor.map(|floor| floor.saturating_sub(1));
        let Some(forked_after) = log.last().or_else(before) else {
            return Ok(());
        };
        let marker = TimelineMarker {
            timeline: Timeline(self.repository.world().random.array()),
            forked_from: log.facts.timeline,
            forked_after,
        };
        let text = write_timeline_marker_text(&marker);
        let entry = self.marker_entry(text.len());
        let refused = Arc::clone(&self.refused);
        let write = move |destination: &dyn Destination| {
            let write = || {
                let output: Arc<dyn Output> = destination.create(&entry)?.into();
                output.write_at(text.as_bytes(), 0)?;
                output.finish()
            };
            refused.take_in(&entry.path, write()).map(drop)
        };
        if let Some(names) = &mut self.extra_names {
            names.insert(TIMELINE_MARKER_NAME.as_bytes().to_vec());
        }
        blocking(self.repository, self.destination, write).await
    }

    fn marker_entry(&self, length: usize) -> Entry {
        let root = self.root_entry.as_ref();
        let modified = FileTime::from_nanoseconds(self.repository.now());
        Entry {
            path: self.prefix.join(TIMELINE_MARKER_NAME.as_bytes()),
            kind: Kind::File,
            mode: 0o644,
            user_id: root.map_or(0, |root| root.user_id),
            group_id: root.map_or(0, |root| root.group_id),
            user_name: root.and_then(|root| root.user_name.clone()),
            group_name: root.and_then(|root| root.group_name.clone()),
            modified,
            changed: modified,
            device: 0,
            inode: 0,
            links: 1,
            size_bytes: to_u64(length),
            xattrs: Vec::new(),
            extents: None,
            volume: 0,
            inode_flags: 0,
            seen: Seen::Whole,
        }
    }
}
