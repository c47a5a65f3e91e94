//! The timeline marker: a small text file that a restore leaves in the WAL directory, so that what is
//! written there afterwards is known as another life of the log.
//!
//! Three lines in this order, each ended by a newline:
//!
//! ```text
//! timeline: <32 hexadecimal digits>
//! forked-from: <32 hexadecimal digits>
//! forked-after: <number of the last replayed segment>
//! ```

use data_encoding::HEXLOWER;

use crate::facts::Timeline;

/// The marker's name in the WAL directory.
pub const TIMELINE_MARKER_NAME: &str = ".backstay-timeline";

/// Longer than any sound marker.
pub(super) const MOST_BYTES: usize = 256;

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelineMarker {
    /// The timeline that began with the restore.
    pub timeline: Timeline,
    /// The timeline whose segments were replayed.
    pub forked_from: Timeline,
    /// The last segment that was replayed.
    pub forked_after: u64,
}

/// The marker's text.
pub fn write_timeline_marker_text(marker: &TimelineMarker) -> String {
    format!(
        "timeline: {}\nforked-from: {}\nforked-after: {}\n",
        HEXLOWER.encode(&marker.timeline.0),
        HEXLOWER.encode(&marker.forked_from.0),
        marker.forked_after,
    )
}

/// Parses a marker's text: exactly as it is written, or not at all.
pub fn parse_timeline_marker_text(text: &[u8]) -> Result<TimelineMarker, String> {
    if text.len() > MOST_BYTES {
        return Err(format!("longer than {MOST_BYTES} bytes"));
    }
    let text = std::str::from_utf8(text).map_err(|_| "not text".to_owned())?;
    let mut lines = text.split_inclusive('\n');
    let mut value = |key: &str| {
        lines
            .next()
            .and_then(|line| line.strip_suffix('\n'))
            .and_then(|line| line.strip_prefix(key))
            .and_then(|line| line.strip_prefix(": "))
            .ok_or_else(|| format!("no line \"{key}: …\" in its place"))
    };
    let timeline = parse_timeline(value("timeline")?)?;
    let forked_from = parse_timeline(value("forked-from")?)?;
    let number = value("forked-after")?;
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let forked_after = number
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or_else(|| format!("{number:?} is not a segment number"))?;
    if lines.next().is_some() {
        return Err("more than three lines".to_owned());
    }
    if timeline == forked_from {
        return Err("a timeline cannot be forked from itself".to_owned());
    }
    Ok(TimelineMarker { timeline, forked_from, forked_after })
}

fn parse_timeline(text: &str) -> Result<Timeline, String> {
    HEXLOWER
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Timeline)
        .ok_or_else(|| format!("{text:?} is not a timeline of 32 lower-case hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_parses_and_nothing_else_does() {
        let marker = TimelineMarker {
            timeline: Timeline([7; 16]),
            forked_from: Timeline([0xAB; 16]),
            forked_after: u64::MAX,
        };
        let text = write_timeline_marker_text(&marker);
        assert_eq!(parse_timeline_marker_text(text.as_bytes()), Ok(marker));
        let hostile = [
            String::new(),
            text.trim_end().to_owned(),
            format!("{text}\n"),
            format!("{text}more: 1\n"),
            text.replace('\n', "\r\n"),
            text.replace(": ", ":"),
            text.replace("ab", "AB"),
            text.replace("0707", "07"),
            text.replace(&u64::MAX.to_string(), "+1"),
            text.replace(&u64::MAX.to_string(), "18446744073709551616"),
            text.replace("ab", "07"),
            text.split_inclusive('\n').rev().collect(),
            "x".repeat(10_000),
        ];
        for text in hostile {
            assert!(parse_timeline_marker_text(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(parse_timeline_marker_text(&[0xFF; 10]).is_err());
    }
}
