//! How things look: times, modes, names. What comes out of a repository was written by others, so no
//! control character of theirs reaches a terminal.

use std::fmt::Write as _;

use data_encoding::BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use crate::entry::{Entry, FileTime, Kind};
use crate::plain::is_plain;
use crate::source::Problem;

/// Problems that a report names; the rest is only counted.
const PROBLEMS_SHOWN: usize = 20;

/// A time for people: in this machine's zone, with its offset.
pub(super) fn time(nanoseconds: i64) -> String {
    local(Timestamp::from_nanosecond(i128::from(nanoseconds)).ok(), nanoseconds)
}

/// A file's time for people.
pub(super) fn file_time(time: FileTime) -> String {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    local(Timestamp::new(time.seconds, nanoseconds).ok(), time.seconds)
}

fn local(time: Option<Timestamp>, number: i64) -> String {
    match time {
        Some(time) => {
            let zoned = time.to_zoned(TimeZone::system());
            zoned.strftime("%Y-%m-%d %H:%M:%S%:z").to_string()
        }
        // Some file systems keep times that no calendar has.
        None => format!("@{number}"),
    }
}

/// A time for programs: RFC 3339 in UTC.
pub(super) fn json_time(nanoseconds: i64) -> Value {
    match Timestamp::from_nanosecond(i128::from(nanoseconds)) {
        Ok(time) => json!(time.to_string()),
        Err(_) => Value::Null,
    }
}

/// A file's time for programs; seconds and nanoseconds where no calendar has it.
pub(super) fn json_file_time(time: FileTime) -> Value {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or(0);
    match Timestamp::new(time.seconds, nanoseconds) {
        Ok(time) => json!(time.to_string()),
        Err(_) => json!({"seconds": time.seconds, "nanoseconds": time.nanoseconds}),
    }
}

/// Type and mode as `ls -l` has them.
pub(super) fn mode(entry: &Entry) -> String {
    let kind = match entry.kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink { .. } => 'l',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
        Kind::CharacterDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
        Kind::Unknown => '?',
    };
    let mut text = String::from(kind);
    for (shift, special, set, unset) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = entry.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, entry.mode & special != 0) {
            (true, false) => 'x',
            (false, false) => '-',
            (true, true) => set,
            (false, true) => unset,
        });
    }
    text
}

/// The word for what an entry is.
pub(super) fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Symlink { .. } => "symlink",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
        Kind::CharacterDevice { .. } => "character-device",
        Kind::BlockDevice { .. } => "block-device",
        Kind::Unknown => "unknown",
    }
}

/// A name or path for people: as it is where it is plain text, else in the shell's `$'…'` notation,
/// which can be pasted back.
pub(super) fn path(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_plain) => text.to_owned(),
        _ => quoted(bytes),
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("$'");
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\t' => text.push_str("\\t"),
                '\r' => text.push_str("\\r"),
                '\'' | '\\' => text.extend(['\\', character]),
                _ if is_plain(character) => text.push(character),
                _ => hex(&mut text, character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        hex(&mut text, chunk.invalid());
    }
    text.push('\'');
    text
}

fn hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// A text of someone else's for people.
pub(super) fn text(text: &str) -> String {
    let plain = |c: char| if is_plain(c) { c } else { '\u{fffd}' };
    text.chars().map(plain).collect()
}

/// A path for programs: under `key`, and if it is no UTF-8, under `key_base64` what it really is.
pub(super) fn json_path(row: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    row.insert(key.to_owned(), json!(String::from_utf8_lossy(bytes)));
    if std::str::from_utf8(bytes).is_err() {
        row.insert(format!("{key}_base64"), json!(BASE64.encode(bytes)));
    }
}

/// The first problems by name, and how many more there are.
pub(super) fn problems(problems: &[(String, Problem)]) -> String {
    let mut text = String::new();
    for (source, problem) in problems.iter().take(PROBLEMS_SHOWN) {
        let place = joined(source, problem.path.as_bytes());
        let fault = problem.fault.as_str();
        let _ = writeln!(text, "  {fault} {place}: {}", self::text(&problem.detail));
    }
    more(&mut text, problems.len());
    text
}

/// A problem for programs.
pub(super) fn json_problem((source, problem): &(String, Problem)) -> Value {
    let mut row = Map::new();
    row.insert("source".to_owned(), json!(source));
    json_path(&mut row, "path", problem.path.as_bytes());
    row.insert("fault".to_owned(), json!(problem.fault.as_str()));
    row.insert("detail".to_owned(), json!(problem.detail));
    Value::Object(row)
}

/// Says how many of `count` were not shown.
pub(super) fn more(text: &mut String, count: usize) {
    if count > PROBLEMS_SHOWN {
        let _ = writeln!(text, "  … and {} more", count - PROBLEMS_SHOWN);
    }
}

/// The first lines, and how many more there are.
pub(super) fn first_lines(lines: impl ExactSizeIterator<Item = String>) -> String {
    let count = lines.len();
    let mut text = String::new();
    for line in lines.take(PROBLEMS_SHOWN) {
        let _ = writeln!(text, "  {line}");
    }
    more(&mut text, count);
    text
}

/// `SOURCE/PATH`, as after the colon on the command line.
pub(super) fn joined(source: &str, entry_path: &[u8]) -> String {
    if entry_path.is_empty() {
        return path(source.as_bytes());
    }
    path(&[source.as_bytes(), b"/", entry_path].concat())
}

/// A number of things, with the right form of the word.
pub(super) fn count(number: u64, word: &str) -> String {
    if number == 1 {
        return format!("1 {word}");
    }
    match word.strip_suffix('y') {
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {word}s"),
    }
}

/// A duration as people read it.
pub(super) fn duration(nanoseconds: i64) -> String {
    let milliseconds = nanoseconds.max(0) / 1_000_000;
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1000 / 100),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_raw_reaches_a_terminal() {
        assert_eq!(path(b"etc/app.conf"), "etc/app.conf");
        assert_eq!(path("größe 1".as_bytes()), "größe 1");
        assert_eq!(path(b"a\x1b[31m"), "$'a\\x1b[31m'");
        assert_eq!(path(b"a\xffb\n'"), "$'a\\xffb\\n\\''");
        assert_eq!(path("a\u{202e}b".as_bytes()), "$'a\\xe2\\x80\\xaeb'");
        assert_eq!(text("a\u{7}b"), "a\u{fffd}b");
    }

    #[test]
    fn paths_lose_nothing_in_json() {
        let mut row = Map::new();
        json_path(&mut row, "path", b"a\xff");
        assert_eq!(row["path_base64"], json!("Yf8="));
        json_path(&mut row, "target", b"a");
        assert!(!row.contains_key("target_base64"));
    }

    #[test]
    fn words_have_the_right_form() {
        assert_eq!(count(1, "entry"), "1 entry");
        assert_eq!(count(0, "entry"), "0 entries");
        assert_eq!(count(2, "file"), "2 files");
        assert_eq!(duration(1_540_000_000), "1.5 s");
        assert_eq!(duration(3_661_000_000_000), "1 h 1 min");
    }
}
