//! What `spec.sources` asks for, and the rules between one source and another.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;

use super::error::{Found, Mark, shown};
use super::place::Place;
use super::{Closed, Directory, Source, SourceKind, Wal};
use crate::entry::Cutter;
use crate::facts::naming::SegmentNaming;
use crate::units::parse_bytes;

/// How long a segment must stand still where the policy does not say.
const SETTLE: Duration = Duration::from_millis(200);
/// Nobody means to wait longer; a unit was mistaken.
const SETTLE_LIMIT: Duration = Duration::from_mins(10);

/// All of `spec.sources`; relative paths begin in `directory`.
pub(super) fn sources(spec: &Place<'_>, directory: &Path) -> Result<Vec<Source>, Found> {
    let list = spec.require("sources")?;
    // The names of the directories that WALs are replayed into, and where they say so.
    let mut replayed: BTreeMap<&str, Place<'_>> = BTreeMap::new();
    for item in list.items() {
        if let Some(place) = item.get("wal").and_then(|wal| wal.get("directory")) {
            replayed.insert(place.text(), place);
        }
    }
    let mut seen: BTreeMap<String, Mark> = BTreeMap::new();
    let mut sources = Vec::new();
    for item in list.items() {
        let place = item.require("name")?;
        let name = place.name()?;
        if let Some(first) = seen.insert(name.clone(), place.node.mark) {
            return Err(place.unusable(format!(
                "{} is the name of the source on line {} too; give each its own",
                shown(&name),
                first.line
            )));
        }
        let kind = match (item.get("directory"), item.get("wal")) {
            (Some(place), _) => {
                let pinned = replayed.remove(name.as_str()).is_some();
                SourceKind::Directory(read_directory(&place, spec, directory, pinned)?)
            }
            (None, Some(place)) => SourceKind::Wal(read_wal(&place, directory)?),
            (None, None) => return Err(item.missing("directory")),
        };
        sources.push(Source { name, kind });
    }
    match replayed.values().next() {
        None => Ok(sources),
        Some(place) => Err(place.unusable(format!(
            "no directory source is named {}; name one of spec.sources",
            shown(place.text())
        ))),
    }
}

fn read_directory(
    place: &Place<'_>,
    spec: &Place<'_>,
    directory: &Path,
    pinned: bool,
) -> Result<Directory, Found> {
    let mut exclude = spec.texts("exclude")?;
    exclude.extend(place.texts("exclude")?);
    Ok(Directory {
        path: place.require("path")?.path(directory)?,
        exclude,
        exclude_caches: place
            .flag("excludeCaches")
            .or_else(|| spec.flag("excludeCaches"))
            .unwrap_or(false),
        one_file_system: place.flag("oneFileSystem").unwrap_or(false),
        pin: place.flag("pin").unwrap_or(pinned),
        cutter: match place.get("cutter") {
            Some(place) => cutter(&place)?,
            None => None,
        },
        allow_empty: place.flag("allowEmpty").unwrap_or(false),
    })
}

fn cutter(place: &Place<'_>) -> Result<Option<Cutter>, Found> {
    let text = place.text().trim();
    let (word, size) = text
        .split_once(char::is_whitespace)
        .map_or((text, None), |(word, size)| (word, Some(size.trim())));
    // A power of two between the bounds, or the bounds in words.
    let bytes = |least: u32, most: u32, bounds: &str| {
        size.and_then(parse_bytes)
            .and_then(|bytes| u32::try_from(bytes).ok())
            .filter(|bytes| bytes.is_power_of_two() && (least..=most).contains(bytes))
            .ok_or_else(|| {
                let cause = format!("{word} takes a power of two {bounds}");
                place.unusable(cause)
            })
    };
    match (word, size) {
        ("auto", None) => Ok(None),
        ("whole", None) => Ok(Some(Cutter::Whole)),
        ("pages", _) => Ok(Some(Cutter::Pages {
            page_bytes: bytes(4 << 10, 64 << 10, "from 4KiB to 64KiB, such as pages 8KiB")?,
        })),
        ("cdc", _) => Ok(Some(Cutter::Content {
            average_bytes: bytes(64 << 10, 4 << 20, "from 64KiB to 4MiB, such as cdc 1MiB")?,
        })),
        _ => Err(place.unusable(format!(
            "{} is not a cutter; write auto, whole, pages 8KiB or cdc 1MiB",
            shown(text)
        ))),
    }
}

fn read_wal(place: &Place<'_>, directory: &Path) -> Result<Wal, Found> {
    Ok(Wal {
        path: place.require("path")?.path(directory)?,
        segments: segments(&place.require("segments")?)?,
        closed: closed(&place.require("closed")?)?,
        settle: match place.get("settle") {
            Some(place) => settle(&place)?,
            None => SETTLE,
        },
        allow_empty: place.flag("allowEmpty").unwrap_or(false),
        directory: place.get("directory").map(|place| place.text().to_owned()),
    })
}

fn segments(place: &Place<'_>) -> Result<SegmentNaming, Found> {
    let text = place.text();
    SegmentNaming::parse(text)
        .map_err(|reason| place.unusable(format!("{}: {reason}", shown(text))))
}

fn closed(place: &Place<'_>) -> Result<Closed, Found> {
    let suffix = |place: &Place<'_>, name: &str| {
        let place = place.require(name)?;
        if place.text().contains('/') || place.text().chars().any(char::is_control) {
            let cause = "the end of a file name has no slashes or control characters";
            return Err(place.unusable(cause));
        }
        Ok(place.text().to_owned())
    };
    match (place.get("renamed"), place.get("marker")) {
        (Some(place), _) => Ok(Closed::Renamed { open_suffix: suffix(&place, "openSuffix")? }),
        (None, Some(place)) => Ok(Closed::Marker { suffix: suffix(&place, "suffix")? }),
        (None, None) => Ok(Closed::AllButNewest),
    }
}

fn settle(place: &Place<'_>) -> Result<Duration, Found> {
    place
        .text()
        .parse::<SignedDuration>()
        .ok()
        .and_then(|settle| Duration::try_from(settle).ok())
        .filter(|settle| *settle <= SETTLE_LIMIT)
        .ok_or_else(|| {
            place.unusable(format!(
                "{} is not a time of 0s to 10m; write one such as 200ms",
                shown(place.text())
            ))
        })
}
