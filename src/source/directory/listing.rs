//! The names in one directory, sorted by their bytes, in bounded memory.
//!
//! Names are read into one arena. When that is full its names are sorted and written as a run to an
//! unlinked temporary file; runs are merged while the walk goes on. So ten million names in one
//! directory take no more memory than a few hundred thousand.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::RawDir;
use rustix::io::Errno;

use super::spill::{Merge, Spill};

/// Memory for one name beside its bytes.
const PLACE_BYTES: usize = size_of::<Place>();

/// Names of one directory, in order, each once.
#[derive(Debug)]
pub(super) enum Names {
    /// All in memory.
    Held(Held),
    /// In sorted runs on disk.
    Merged(Box<Merge>),
}

impl Names {
    /// The next name.
    pub(super) fn next(&mut self) -> io::Result<Option<&CStr>> {
        match self {
            Self::Held(held) => Ok(held.next()),
            Self::Merged(merge) => merge.next(),
        }
    }

    /// Memory in use.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Held(held) => held.memory_bytes(),
            Self::Merged(merge) => merge.memory_bytes(),
        }
    }

    /// A single name.
    pub(super) fn only(name: &CStr) -> Self {
        let mut held = Held::default();
        held.push(name);
        Self::Held(held)
    }

    /// Names in order, none of which holds a NUL.
    pub(super) fn these<'a>(names: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut held = Held::default();
        for name in names {
            if let Ok(name) = CString::new(name) {
                held.push(&name);
            }
        }
        Self::Held(held)
    }
}

/// A list of names that was read, and where reading it ended early.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) names: Names,
    /// Why the list may be incomplete.
    pub(super) cut_short: Option<Errno>,
}

/// Reads all names of an open directory but `.` and `..`. Beyond `memory_bytes` they go to
/// a temporary file in `scratch`, the only thing that can fail here.
pub(super) fn list(
    directory: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    memory_bytes: usize,
    scratch: &Path,
) -> io::Result<Listing> {
    let mut held = Held::default();
    let mut spill: Option<Spill> = None;
    let mut cut_short = None;
    buffer.clear();
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(Errno::INTR) => continue,
            Err(errno) => {
                cut_short = Some(errno);
                break;
            }
        };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b".." | b"") {
            continue;
        }
        held.push(name);
        if held.memory_bytes() >= memory_bytes {
            held.sort();
            let spill = match &mut spill {
                Some(spill) => spill,
                none => none.insert(Spill::create(scratch)?),
            };
            spill.write_run(&mut held)?;
        }
    }
    held.sort();
    let names = match spill {
        None => Names::Held(held),
        Some(mut spill) => {
            spill.write_run(&mut held)?;
            Names::Merged(Box::new(spill.merge()?))
        }
    };
    Ok(Listing { names, cut_short })
}

/// Names in an arena, each with its closing NUL.
#[derive(Debug, Default)]
pub(super) struct Held {
    arena: Vec<u8>,
    places: Vec<Place>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    length_bytes: u32,
}

impl Held {
    fn push(&mut self, name: &CStr) {
        let name = name.to_bytes_with_nul();
        // The memory limit keeps the arena far below 4 GiB.
        if let (Ok(start), Ok(length_bytes)) =
            (u32::try_from(self.arena.len()), u32::try_from(name.len()))
        {
            self.arena.extend_from_slice(name);
            self.places.push(Place { start, length_bytes });
        }
    }

    fn sort(&mut self) {
        let arena = &self.arena;
        self.places.sort_unstable_by(|a, b| bytes(arena, *a).cmp(bytes(arena, *b)));
        // A name that was given away and given anew while we listed shows up twice.
        self.places.dedup_by(|a, b| bytes(arena, *a) == bytes(arena, *b));
    }

    fn next(&mut self) -> Option<&CStr> {
        let place = *self.places.get(self.next)?;
        self.next += 1;
        CStr::from_bytes_with_nul(bytes(&self.arena, place)).ok()
    }

    fn memory_bytes(&self) -> usize {
        self.arena.len() + self.places.len() * PLACE_BYTES
    }

    /// All names with their closing NUL.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.places.iter().map(|place| bytes(&self.arena, *place))
    }

    /// Empties it but keeps its memory.
    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.places.clear();
        self.next = 0;
    }
}

fn bytes(arena: &[u8], place: Place) -> &[u8] {
    let start = place.start as usize;
    arena.get(start..start + place.length_bytes as usize).unwrap_or_default()
}
