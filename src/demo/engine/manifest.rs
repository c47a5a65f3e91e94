//! The manifest: which tables are alive, and up to which record they hold everything.
//!
//! Text, one fact a line, the last line a checksum of those before. It is replaced by a rename,
//! so that at any instant there is one whole manifest; files that it does not name are leftovers.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::disk;
use super::error::Error;

const NAME: &str = "MANIFEST";
const TITLE: &str = "backstay demo engine 1";

/// What the manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The tables hold all records up to this one.
    pub(super) contains: u64,
    /// The newest log segment when this was written; numbers up to it are used.
    pub(super) segment: u64,
    /// The number that the next table gets.
    pub(super) next_table: u64,
    /// The live tables' numbers, ascending.
    pub(super) tables: Vec<u64>,
}

impl Manifest {
    /// Reads the manifest of `data`; a new engine gets its first one before anything else is
    /// written, so that tables without a manifest are always a loss and never a young engine.
    pub(super) fn read(data: &Path) -> Result<Self, Error> {
        let path = data.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => Self::parse(&text)
                .ok_or_else(|| Error::damaged(&path, 0, "its checksum does not fit")),
            Err(error) if error.kind() == ErrorKind::NotFound => Self::create(data),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(Error::damaged(&path, 0, "it is not text"))
            }
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    fn create(data: &Path) -> Result<Self, Error> {
        if !disk::numbered(data, disk::TABLE_SUFFIX)?.is_empty() {
            let reason = "it is missing, but there are tables";
            return Err(Error::damaged(&data.join(NAME), 0, reason));
        }
        let manifest = Self { contains: 0, segment: 0, next_table: 1, tables: Vec::new() };
        manifest.write(data)?;
        Ok(manifest)
    }

    /// Replaces the manifest of `data`; on return it is durable.
    pub(super) fn write(&self, data: &Path) -> Result<(), Error> {
        disk::replace(data, NAME, self.render().as_bytes())
    }

    fn render(&self) -> String {
        let mut lines = vec![
            TITLE.to_owned(),
            format!("contains {}", self.contains),
            format!("segment {}", self.segment),
            format!("next {}", self.next_table),
        ];
        lines.extend(self.tables.iter().map(|number| format!("table {number}")));
        lines.push(String::new());
        let text = lines.join("\n");
        format!("{text}checksum {}\n", blake3::hash(text.as_bytes()))
    }

    fn parse(text: &str) -> Option<Self> {
        let (facts, checksum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
        let facts = format!("{facts}\n");
        let expected = blake3::hash(facts.as_bytes()).to_string();
        if checksum.strip_prefix("checksum ")? != expected {
            return None;
        }
        let mut lines = facts.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let number = |line: &str, word: &str| -> Option<u64> {
            line.strip_prefix(word)?.strip_prefix(' ')?.parse().ok()
        };
        Some(Self {
            contains: number(lines.next()?, "contains")?,
            segment: number(lines.next()?, "segment")?,
            next_table: number(lines.next()?, "next")?,
            tables: lines.map(|line| number(line, "table")).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        let manifest = Manifest { contains: 7, segment: 3, next_table: 5, tables: vec![2, 4] };
        let text = manifest.render();
        assert_eq!(Manifest::parse(&text), Some(manifest));
        assert_eq!(Manifest::parse(&text.replace("table 4", "table 3")), None);
        assert_eq!(Manifest::parse(&text[..text.len() - 1]), None);
        assert_eq!(Manifest::parse(""), None);
    }
}
