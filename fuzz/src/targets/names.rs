//! Names and small texts: keys of objects, paths in trees, markers and patterns of a WAL.

use backstay::entry::TreePath;
use backstay::facts::naming::SegmentNaming;
use backstay::repo::layout;
use backstay::source::wal::{parse_timeline_marker_text, write_timeline_marker_text};
use backstay::store::Key;

/// An object's name. One that is understood is the one that we would give.
pub fn layout(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else {
        return;
    };
    let key = Key::new(name);
    let made = [
        layout::parse_config(&key).map(layout::config),
        layout::parse_checkpoint(&key).map(layout::checkpoint),
        layout::parse_pack(&key).map(layout::pack),
        layout::parse_index(&key).map(|(session, n)| layout::index(session, n)),
        layout::Place::parse(&key).map(|place| {
            if name.starts_with(layout::SESSION) {
                place.session_key()
            } else {
                place.register_key()
            }
        }),
    ];
    let mut understood = 0;
    for made in made.into_iter().flatten() {
        assert_eq!(made.as_str(), name, "a name that we would write otherwise");
        understood += 1;
    }
    assert!(understood <= 1, "a name of two meanings");
}

/// Two paths, a newline between them.
pub fn tree_path(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (first, second) = bytes.split_at(at);
    let Some(first) = TreePath::from_bytes(first) else {
        return;
    };
    assert_eq!(first.components().collect::<Vec<_>>().join(&b'/'), first.as_bytes());
    assert!(first.components().all(|name| !name.is_empty() && name != b"." && name != b".."));
    if let Some(parent) = first.parent() {
        assert!(parent < first && first.starts_with(&parent));
        assert_eq!(parent.join(first.name()), first);
    }
    let Some(second) = second.get(1..).and_then(TreePath::from_bytes) else {
        return;
    };
    assert_eq!(first.cmp(&second), second.cmp(&first).reverse());
    assert!(first.components().cmp(second.components()) == first.cmp(&second));
}

/// The marker that a restore leaves in a WAL.
pub fn timeline_marker(bytes: &[u8]) {
    if let Ok(marker) = parse_timeline_marker_text(bytes) {
        let text = write_timeline_marker_text(&marker);
        assert_eq!(parse_timeline_marker_text(text.as_bytes()), Ok(marker));
    }
}

/// A pattern of segment names in the first line, a file's name in the second.
pub fn segment_pattern(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (text, name) = bytes.split_at(at);
    let Ok(naming) = SegmentNaming::parse(&String::from_utf8_lossy(text)) else {
        return;
    };
    assert_eq!(SegmentNaming::parse(&naming.to_string()), Ok(naming.clone()));
    let name = name.get(1..).unwrap_or_default();
    if let Some(number) = naming.number(name) {
        assert_eq!(naming.number(naming.name_like(number, name).as_bytes()), Some(number));
        let shown = naming.shown(number);
        // A bare number may also be the name of a segment, which comes first.
        let given = naming.number(shown.as_bytes()).unwrap_or(number);
        assert_eq!(naming.number_given(&shown), Some(given));
        assert_eq!(naming.belongs_to(name), Some(number));
    }
}
