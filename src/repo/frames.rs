//! Frames of metadata: from this process, from what this machine keeps, or from the store. Around the
//! root of a tree more is read than was asked for, since that of a small source holds all that one will
//! ask for next, and so do those of other small sources beside it.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::repo::error::Error;
use crate::repo::id::PackId;
use crate::repo::layout;
use crate::repo::open::Repository;
use crate::repo::reader::PackOpener;
use crate::repo::reference::{ChunkRef, Place};
use crate::units::{KIB, MIB, to_usize};

/// Plaintext of metadata frames that is kept for the next node of the same frame.
const FRAMES_BYTES: usize = 8 * MIB;
/// Stored bytes that were read around roots and are kept for whoever asks for them.
const WINDOWS_BYTES: usize = 4 * MIB;
/// What is read before a root: its tree, if that is small, since children are written first.
const BEFORE_BYTES: u64 = 512 * KIB as u64;
/// Roots that lie closer together than this are read with one GET.
const GAP_BYTES: u64 = 512 * KIB as u64;
/// The most that is read around roots with one GET.
const AROUND_BYTES: u64 = 2 * MIB as u64;

/// The metadata read last.
#[derive(Debug, Default)]
pub(super) struct FrameCache {
    state: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    frames: HashMap<(PackId, u32), Arc<Vec<u8>>>,
    order: VecDeque<(PackId, u32)>,
    bytes: usize,
    /// Oldest first.
    windows: VecDeque<Window>,
}

/// A part of a pack as it is stored.
#[derive(Debug)]
struct Window {
    pack: PackId,
    start_bytes: u64,
    stored: Bytes,
}

impl Window {
    fn get(&self, place: &Place) -> Option<Bytes> {
        let start = u64::from(place.offset_bytes).checked_sub(self.start_bytes)?;
        let start = to_usize(start);
        let end = start + to_usize(place.stored_bytes.into());
        (self.pack == place.pack && end <= self.stored.len()).then(|| self.stored.slice(start..end))
    }
}

impl FrameCache {
    fn lock(&self) -> MutexGuard<'_, CacheState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, place: &Place) -> Option<Arc<Vec<u8>>> {
        self.lock().frames.get(&(place.pack, place.offset_bytes)).cloned()
    }

    fn put(&self, place: &Place, plain: &Arc<Vec<u8>>) {
        let mut state = self.lock();
        let key = (place.pack, place.offset_bytes);
        if state.frames.insert(key, Arc::clone(plain)).is_none() {
            state.order.push_back(key);
            state.bytes += plain.len();
        }
        while state.bytes > FRAMES_BYTES && state.order.len() > 1 {
            let oldest = state.order.pop_front();
            let gone = oldest.and_then(|oldest| state.frames.remove(&oldest));
            state.bytes -= gone.map_or(0, |plain| plain.len());
        }
    }

    /// A frame as it is stored, if it was read around a root.
    fn stored(&self, place: &Place) -> Option<Bytes> {
        self.lock().windows.iter().rev().find_map(|window| window.get(place))
    }

    fn keep(&self, window: Window) {
        let mut state = self.lock();
        state.windows.push_back(window);
        let mut total: usize = state.windows.iter().map(|window| window.stored.len()).sum();
        while total > WINDOWS_BYTES && state.windows.len() > 1 {
            total -= state.windows.pop_front().map_or(0, |window| window.stored.len());
        }
    }
}

/// What to read of the pack of `root`: something before it, and the roots behind it that are near.
fn around(root: Place, others: impl Iterator<Item = Place>) -> Range<u64> {
    let start = u64::from(root.offset_bytes).saturating_sub(BEFORE_BYTES);
    let mut behind: Vec<Place> = others
        .filter(|other| other.pack == root.pack && other.offset_bytes > root.offset_bytes)
        .collect();
    behind.sort_by_key(|other| other.offset_bytes);
    let mut end = root.end_bytes();
    for other in behind {
        let is_near = u64::from(other.offset_bytes).saturating_sub(end) <= GAP_BYTES;
        if !is_near || other.end_bytes() - start > AROUND_BYTES {
            break;
        }
        end = end.max(other.end_bytes());
    }
    start..end
}

impl Repository {
    /// Reads what lies around the root of a tree that will be walked, and on the way roots of `others`
    /// that will be walked after it. Costs one GET, or none where the root is at hand. What is lost is no
    /// error here: whoever asks for it is told.
    pub async fn approach<'a>(
        &self,
        root: &ChunkRef,
        others: impl Iterator<Item = &'a ChunkRef>,
    ) -> Result<(), Error> {
        let Some(place) = root.frame.place() else {
            return Ok(());
        };
        let cache = self.frame_cache();
        let at_hand = cache.get(&place).is_some() || cache.stored(&place).is_some();
        if at_hand || self.is_kept(place).await {
            return Ok(());
        }
        let range = around(place, others.filter_map(|other| other.frame.place()));
        let read = self.store().get_range(&layout::pack(place.pack), range.clone()).await;
        match read.map_err(Error::from) {
            Ok(stored) => {
                cache.keep(Window { pack: place.pack, start_bytes: range.start, stored });
                Ok(())
            }
            Err(error) if error.is_loss() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A metadata frame's plaintext. Costs one GET unless it was read lately.
    pub async fn metadata_frame(&self, place: Place) -> Result<Arc<Vec<u8>>, Error> {
        if let Some(plain) = self.frame_cache().get(&place) {
            return Ok(plain);
        }
        let opener = self.metadata_opener(place.pack)?;
        let plain = match self.kept_frame(&opener, place).await {
            Some(plain) => plain,
            None => self.fetched_frame(opener, place).await?,
        };
        let plain = Arc::new(plain);
        self.frame_cache().put(&place, &plain);
        Ok(plain)
    }

    async fn is_kept(&self, place: Place) -> bool {
        let Ok(opener) = self.metadata_opener(place.pack) else {
            return false;
        };
        match self.kept_frame(&opener, place).await {
            Some(plain) => {
                self.frame_cache().put(&place, &Arc::new(plain));
                true
            }
            None => false,
        }
    }

    async fn kept_frame(&self, opener: &PackOpener, place: Place) -> Option<Vec<u8>> {
        let cache = self.cache()?;
        let opener = opener.clone();
        let open = move || {
            let (key, offset) = (layout::pack(place.pack), place.offset_bytes.into());
            let stored = cache.get(&key, offset, place.stored_bytes.into())?;
            let plain = opener.open(&place, &stored);
            plain.inspect_err(|_| cache.forget(&key, offset)).ok()
        };
        self.world().cpu.run(open).await
    }

    async fn fetched_frame(&self, opener: PackOpener, place: Place) -> Result<Vec<u8>, Error> {
        let key = layout::pack(place.pack);
        let stored = if let Some(stored) = self.frame_cache().stored(&place) {
            stored
        } else {
            let range = u64::from(place.offset_bytes)..place.end_bytes();
            self.store().get_range(&key, range).await?
        };
        let cache = self.cache();
        let open = move || {
            let plain = opener.open(&place, &stored)?;
            if let Some(cache) = cache {
                cache.put(&key, place.offset_bytes.into(), &stored);
            }
            Ok(plain)
        };
        self.world().cpu.run(open).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pack: u8, offset_kib: u32, stored_kib: u32) -> Place {
        Place {
            pack: PackId([pack; 24]),
            offset_bytes: offset_kib << 10,
            stored_bytes: stored_kib << 10,
            plain_bytes: stored_kib << 10,
        }
    }

    fn around_kib(root: Place, others: &[Place]) -> (u64, u64) {
        let range = around(root, others.iter().copied());
        (range.start >> 10, range.end >> 10)
    }

    #[test]
    fn what_lies_before_a_root_is_read_with_it_and_near_roots_behind() {
        assert_eq!(around_kib(place(1, 0, 4), &[]), (0, 4));
        assert_eq!(around_kib(place(1, 600, 4), &[place(2, 610, 1)]), (88, 604));
        let near = [place(1, 1500, 4), place(1, 1000, 8), place(1, 10, 4)];
        assert_eq!(around_kib(place(1, 600, 4), &near), (88, 1504));
    }

    #[test]
    fn neither_a_gap_nor_many_roots_make_it_read_without_end() {
        assert_eq!(around_kib(place(1, 600, 4), &[place(1, 1200, 4)]), (88, 604));
        let many: Vec<Place> = (0..100).map(|n| place(1, 700 + n * 100, 4)).collect();
        let (start, end) = around_kib(place(1, 600, 4), &many);
        assert!((2000..=2048).contains(&(end - start)), "{start} to {end}");
    }

    #[test]
    fn windows_give_whole_frames_only_and_the_oldest_goes() {
        let cache = FrameCache::default();
        let window = |pack: u8, kib: usize| Window {
            pack: PackId([pack; 24]),
            start_bytes: 1024,
            stored: Bytes::from((0..kib << 10).map(|n| n.to_le_bytes()[1]).collect::<Vec<u8>>()),
        };
        cache.keep(window(1, 2048));
        let found = cache.stored(&place(1, 3, 2)).unwrap();
        assert_eq!((found.len(), found[0]), (2048, 8));
        assert!(cache.stored(&place(1, 0, 2)).is_none());
        assert!(cache.stored(&place(1, 2048, 2)).is_none());
        assert!(cache.stored(&place(2, 3, 2)).is_none());
        cache.keep(window(2, 2048));
        cache.keep(window(3, 2));
        assert!(cache.stored(&place(1, 3, 1)).is_none());
        assert!(cache.stored(&place(2, 3, 1)).is_some() && cache.stored(&place(3, 1, 1)).is_some());
    }
}
