//! Hard links: which entries are names of one file. FORMAT.md §8.
//!
//! Equal volumes and inodes alone prove nothing: some file systems share inode numbers or change them, and a
//! file may have been replaced between the readings of two names. Entries that differ in anything are restored
//! as files of their own.

use crate::entry::{Cutter, Entry, Kind};
use crate::repo::reference::ChunkRef;
use crate::repo::tree::content::{Content, Extents};
use crate::repo::tree::leaf::StoredEntry;
use crate::units::to_u64;

/// Equal for entries that are names of one file.
pub(super) type OneFile = [u8; 32];

/// What names of one file agree in; `None` for what has one name.
pub(super) fn one_file(stored: &StoredEntry) -> Option<OneFile> {
    let StoredEntry { entry, content, extents, .. } = stored;
    if entry.links < 2 {
        return None;
    }
    let mut text = Text::default();
    text.numbers(&[entry.volume, entry.inode, entry.size_bytes]);
    text.numbers(&[entry.mode.into(), entry.user_id.into(), entry.group_id.into()]);
    let modified = entry.modified;
    text.numbers(&[modified.seconds.cast_unsigned(), modified.nanoseconds.into()]);
    text.kind(entry)?;
    text.content(content);
    text.extents(extents);
    Some(text.0.finalize().into())
}

#[derive(Default)]
struct Text(blake3::Hasher);

impl Text {
    fn numbers(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.0.update(&number.to_le_bytes());
        }
    }

    /// `None` for what has no links.
    fn kind(&mut self, entry: &Entry) -> Option<()> {
        match &entry.kind {
            Kind::File => self.numbers(&[1]),
            Kind::Symlink { target } => {
                self.numbers(&[3, to_u64(target.len())]);
                self.0.update(target);
            }
            Kind::Fifo => self.numbers(&[4]),
            Kind::Socket => self.numbers(&[5]),
            Kind::CharacterDevice { major, minor } => {
                self.numbers(&[6, u64::from(*major), u64::from(*minor)]);
            }
            Kind::BlockDevice { major, minor } => {
                self.numbers(&[7, u64::from(*major), u64::from(*minor)]);
            }
            Kind::Directory | Kind::Unknown => return None,
        }
        Some(())
    }

    fn content(&mut self, content: &Content) {
        let cut = match content.cutter {
            None => [0, 0],
            Some(Cutter::Content { average_bytes }) => [1, u64::from(average_bytes)],
            Some(Cutter::Pages { page_bytes }) => [2, u64::from(page_bytes)],
            Some(Cutter::Whole) => [3, 0],
        };
        self.numbers(&cut);
        self.numbers(&[content.level.into(), to_u64(content.items.len())]);
        for item in &content.items {
            self.numbers(&[item.covered_bytes]);
            self.chunk(&item.reference);
        }
    }

    fn extents(&mut self, extents: &Extents) {
        match extents {
            Extents::None => self.numbers(&[0]),
            Extents::Inline(runs) => {
                self.numbers(&[1, to_u64(runs.len())]);
                for run in runs {
                    self.numbers(&[run.offset_bytes, run.length_bytes]);
                }
            }
            Extents::Nodes(nodes) => {
                self.numbers(&[2, to_u64(nodes.len())]);
                for node in nodes {
                    self.chunk(node);
                }
            }
        }
    }

    /// By its id: the same chunk may be stored in two places.
    fn chunk(&mut self, reference: &ChunkRef) {
        self.0.update(&reference.id.0);
    }
}
