//! Tree nodes, lists, extents and page maps: what decodes encodes to bytes that decode to the same.

use backstay::entry::TreePath;
use backstay::repo::reference::ChunkRef;
use backstay::repo::tree::content::{
    Item, decode_extents, decode_list, encode_extents, encode_list,
};
use backstay::repo::tree::inner::Inner;
use backstay::repo::tree::leaf::{self, StoredEntry};
use backstay::repo::tree::pages::{Page, SEGMENT_PAGES, Segment, Source};

fn assert_ascending<'a>(paths: impl Iterator<Item = &'a TreePath>) {
    let mut before: Option<&TreePath> = None;
    for path in paths {
        assert!(before.is_none_or(|before| before < path), "paths out of order");
        before = Some(path);
    }
}

fn assert_within(reference: &ChunkRef) {
    let place = reference.frame.place().expect("a reference that was read has its place");
    let end = u64::from(reference.offset_bytes) + u64::from(reference.length_bytes);
    assert!(end <= u64::from(place.plain_bytes), "a reference beyond its frame");
    assert!(u32::try_from(place.end_bytes()).is_ok(), "a frame beyond its pack");
}

fn assert_items_within(items: &[Item]) {
    for item in items {
        assert_within(&item.reference);
    }
}

/// A leaf.
pub fn leaf(bytes: &[u8]) {
    let Ok(entries) = leaf::decode(bytes) else {
        return;
    };
    assert_ascending(entries.iter().map(|stored| &stored.entry.path));
    for stored in &entries {
        assert_items_within(&stored.content.items);
    }
    let encoded = leaf::encode(&entries).expect("all frames have places");
    let again = leaf::decode(&encoded).expect("what we encode decodes");
    assert_eq!(entries.len(), again.len());
    entries.iter().zip(&again).for_each(|(first, second)| assert_same(first, second));
    assert_eq!(leaf::encode(&again).expect("all frames have places"), encoded);
}

fn assert_same(first: &StoredEntry, second: &StoredEntry) {
    assert_eq!(first.entry, second.entry);
    assert_eq!(first.fidelity, second.fidelity);
    assert_eq!(first.lacks_attributes, second.lacks_attributes);
    assert_eq!(first.content.cutter, second.content.cutter);
    assert_eq!(first.content.level, second.content.level);
    assert_eq!(first.content.items.len(), second.content.items.len());
}

/// An inner node.
pub fn inner(bytes: &[u8]) {
    let Ok(node) = Inner::decode(bytes) else {
        return;
    };
    assert_ascending(node.children.iter().map(|child| &child.last_path));
    node.children.iter().for_each(|child| assert_within(&child.reference));
    let encoded = node.encode().expect("all frames have places");
    let again = Inner::decode(&encoded).expect("what we encode decodes");
    assert_eq!((node.level, node.children.len()), (again.level, again.children.len()));
    for (first, second) in node.children.iter().zip(&again.children) {
        assert_eq!(first.last_path, second.last_path);
        assert_eq!(
            (first.entries, first.size_bytes, first.fingerprint),
            (second.entries, second.size_bytes, second.fingerprint)
        );
    }
    assert_eq!(again.encode().expect("all frames have places"), encoded);
}

/// A list node.
pub fn list(bytes: &[u8]) {
    let Ok((level, items)) = decode_list(bytes) else {
        return;
    };
    assert_items_within(&items);
    let encoded = encode_list(level, &items).expect("all frames have places");
    let (level_again, items_again) = decode_list(&encoded).expect("what we encode decodes");
    assert_eq!((level, items.len()), (level_again, items_again.len()));
    let same = |(first, second): (&Item, &Item)| first.covered_bytes == second.covered_bytes;
    assert!(items.iter().zip(&items_again).all(same));
    assert_eq!(encode_list(level_again, &items_again).expect("placed"), encoded);
}

/// An extents node. The first 16 bytes say where its runs go on, and how long the file is.
pub fn extents(bytes: &[u8]) {
    let Some((numbers, node)) = bytes.split_first_chunk::<16>() else {
        return;
    };
    let numbers = u128::from_le_bytes(*numbers);
    let start = u64::try_from(numbers & u128::from(u64::MAX)).expect("64 bits");
    let size_bytes = u64::try_from(numbers >> 64).expect("64 bits");
    let mut at_bytes = start;
    let Ok(runs) = decode_extents(node, &mut at_bytes, size_bytes) else {
        return;
    };
    let mut end = start;
    for run in &runs {
        assert!(run.offset_bytes >= end && run.length_bytes > 0);
        end = run.offset_bytes.checked_add(run.length_bytes).expect("ends within the file");
        assert!(end <= size_bytes);
    }
    assert_eq!(end, at_bytes);
    let (encoded, end_again) = encode_extents(&runs, start);
    let mut at_bytes = start;
    assert_eq!(decode_extents(&encoded, &mut at_bytes, size_bytes), Ok(runs));
    assert_eq!((at_bytes, end_again), (end, end));
}

/// One or two page map segments: the first four bytes are the length of the first, which may be an
/// overlay on the second.
pub fn pages(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let (first, second) = rest.split_at(length.min(rest.len()));
    let base = segment(second);
    let Some(upper) = segment(first) else {
        return;
    };
    let flat = match &upper {
        Segment::Full { .. } => upper.flatten(None),
        Segment::Overlay { .. } => upper.flatten(base),
    };
    if let Ok((chunks, pages)) = flat {
        assert_pages(&chunks, &pages);
        let full = Segment::Full { chunks, pages };
        segment(&full.encode().expect("all frames have places")).expect("a flat segment decodes");
    }
}

fn segment(bytes: &[u8]) -> Option<Segment> {
    let segment = Segment::decode(bytes).ok()?;
    let encoded = segment.encode().expect("all frames have places");
    let again = Segment::decode(&encoded).expect("what we encode decodes");
    assert_eq!(again.encode().expect("all frames have places"), encoded);
    match (&segment, &again) {
        (
            Segment::Full { chunks, pages },
            Segment::Full { chunks: chunks_again, pages: pages_again },
        ) => {
            assert_pages(chunks, pages);
            assert_eq!((chunks.len(), pages), (chunks_again.len(), pages_again));
        }
        (
            Segment::Overlay { page_count, patches, .. },
            Segment::Overlay { page_count: count_again, patches: patches_again, .. },
        ) => assert_eq!((page_count, patches), (count_again, patches_again)),
        _ => panic!("a segment came back in another form"),
    }
    Some(segment)
}

fn assert_pages(chunks: &[ChunkRef], pages: &[Page]) {
    assert!(pages.len() <= SEGMENT_PAGES);
    for page in pages {
        if let Source::Chunk { chunk, .. } = page.source {
            assert!(chunks.get(chunk as usize).is_some(), "a page in a chunk that is not listed");
        }
    }
}
