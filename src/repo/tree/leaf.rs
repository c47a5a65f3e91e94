//! Leaves: runs of entries in path order, with everything a restore needs. FORMAT.md §8.

use std::collections::HashMap;
use std::sync::Arc;

use crate::entry::{Entry, FileTime, INODE_FLAGS_KEPT, Kind, NANOSECONDS_PER_SECOND, Seen, Xattr};
use crate::repo::reference::{FrameTable, Frames};
use crate::repo::secret::Keys;
use crate::repo::tree::content::{Content, Extents, Unplaced};
use crate::repo::tree::path::{PATH_LIMIT_BYTES, PATHS_LIMIT_BYTES, PathReader, put_path};
use crate::repo::wire::{Cursor, Malformed, Read, put_bytes, put_length, put_signed, put_var};

/// Kind byte of a leaf.
pub const LEAF_NODE: u8 = 1;
/// Fingerprint that equals none.
pub const NO_FINGERPRINT: [u8; 16] = [0; 16];

/// Names of users and groups in a leaf: two for each entry that it may have.
const STRINGS_LIMIT: usize = 131_072;
/// Extended attributes in a leaf.
const XATTRS_LIMIT: usize = 524_288;
/// Names and values of an entry's extended attributes together.
const XATTRS_LIMIT_BYTES: usize = 4 << 20;

const FLAG_XATTRS: u64 = 1;
const FLAG_HARD_LINKED: u64 = 2;
const FLAG_SPARSE: u64 = 4;
const FLAG_CHANGED: u64 = 8;
const FLAG_ABSENT: u64 = 16;
const FLAG_LEFT_OUT: u64 = 32;
const FLAG_LACKS_ATTRIBUTES: u64 = 64;
const FLAG_INODE_FLAGS: u64 = 128;
const FLAGS_KNOWN: u64 = 255;

/// Whether the stored bytes of a file are what the file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fidelity {
    /// They are.
    #[default]
    Exact,
    /// It changed while it was read: they may mix two states.
    Changed,
    /// It could not be read: nothing is stored. Of a directory: it could not be listed, or not to its end.
    Absent,
}

/// An entry as the repository keeps it.
#[derive(Clone, Debug)]
pub struct StoredEntry {
    /// The entry; its `extents` are kept beside it.
    pub entry: Entry,
    /// Where its bytes are.
    pub content: Content,
    /// Where its holes are.
    pub extents: Extents,
    /// What the bytes are worth.
    pub fidelity: Fidelity,
    /// Extended attributes are missing that could not be read.
    pub lacks_attributes: bool,
}

impl StoredEntry {
    /// Whether nothing of it is missing and nothing may be wrong.
    pub fn is_exact(&self) -> bool {
        self.fidelity == Fidelity::Exact && !self.lacks_attributes
    }

    /// An entry without content: anything but a regular file, or an empty one.
    pub fn bare(entry: Entry) -> Self {
        let is_unreadable = entry.seen == Seen::Unreadable;
        Self {
            entry,
            content: Content::default(),
            extents: Extents::None,
            fidelity: if is_unreadable { Fidelity::Absent } else { Fidelity::Exact },
            lacks_attributes: false,
        }
    }
}

fn type_byte(kind: &Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Directory => 2,
        Kind::Symlink { .. } => 3,
        Kind::Fifo => 4,
        Kind::Socket => 5,
        Kind::CharacterDevice { .. } => 6,
        Kind::BlockDevice { .. } => 7,
        Kind::Unknown => 8,
    }
}

/// The fingerprint of a run of entries as a listing sees them.
pub fn fingerprint<'a>(keys: &Keys, entries: impl Iterator<Item = &'a Entry>) -> [u8; 16] {
    let mut hasher = keys.fingerprint();
    let mut bytes = Vec::with_capacity(256);
    for entry in entries {
        bytes.clear();
        put_bytes(&mut bytes, entry.path.as_bytes());
        bytes.push(type_byte(&entry.kind));
        let numbers = [
            u64::from(entry.mode),
            u64::from(entry.user_id),
            u64::from(entry.group_id),
            entry.size_bytes,
            entry.modified.seconds.cast_unsigned(),
            u64::from(entry.modified.nanoseconds),
            entry.changed.seconds.cast_unsigned(),
            u64::from(entry.changed.nanoseconds),
            entry.inode,
            // As a leaf keeps it, so that whoever reads the leaf can check the fingerprint.
            if hard_linked(entry) { entry.volume } else { 0 },
            u64::from(entry.inode_flags),
            u64::from(entry.seen == Seen::LeftOut),
        ];
        for number in numbers {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        put_kind(&mut bytes, entry);
        hasher.update(&bytes);
    }
    let mut fingerprint = [0; 16];
    hasher.finalize_xof().fill(&mut fingerprint);
    fingerprint
}

#[derive(Default)]
struct Strings<'a> {
    numbers: HashMap<&'a str, u64>,
    list: Vec<&'a str>,
}

impl<'a> Strings<'a> {
    fn number(&mut self, text: Option<&'a Arc<str>>) -> u64 {
        let Some(text) = text else {
            return 0;
        };
        *self.numbers.entry(text).or_insert_with(|| {
            self.list.push(text);
            self.list.len() as u64
        })
    }
}

/// The entry before, from which some numbers are counted.
#[derive(Default)]
struct Before {
    path: Vec<u8>,
    modified_seconds: i64,
    inode: u64,
}

/// The entry before, and what was read so far.
#[derive(Default)]
struct ReadBefore {
    paths: PathReader,
    modified_seconds: i64,
    inode: u64,
    xattrs: usize,
}

/// Whether a leaf of these entries keeps the limits that a reader holds it to, with room to spare.
pub fn fits(entries: &[StoredEntry]) -> bool {
    let paths: usize = entries.iter().map(|stored| stored.entry.path.as_bytes().len()).sum();
    let xattrs: usize = entries.iter().map(|stored| stored.entry.xattrs.len()).sum();
    paths <= PATHS_LIMIT_BYTES / 4 && xattrs <= XATTRS_LIMIT / 4
}

/// Encodes a leaf.
pub fn encode(entries: &[StoredEntry]) -> Result<Vec<u8>, Unplaced> {
    let mut table = FrameTable::default();
    let mut strings = Strings::default();
    let mut before = Before::default();
    let mut rest = Vec::with_capacity(entries.len() * 96);
    put_length(&mut rest, entries.len());
    for stored in entries {
        put_entry(&mut rest, &mut before, &mut strings, &stored.entry, flags(stored));
        let entry = &stored.entry;
        if !entry.xattrs.is_empty() {
            put_length(&mut rest, entry.xattrs.len());
            for xattr in &entry.xattrs {
                put_bytes(&mut rest, &xattr.name);
                put_bytes(&mut rest, &xattr.value);
            }
        }
        if hard_linked(entry) {
            put_var(&mut rest, entry.volume);
            put_var(&mut rest, entry.links);
        }
        if entry.inode_flags != 0 {
            put_var(&mut rest, u64::from(entry.inode_flags));
        }
        stored.extents.put(&mut table, &mut rest)?;
        if entry.is_file() {
            stored.content.put(&mut table, &mut rest)?;
        }
    }
    let mut body = Vec::with_capacity(rest.len() + 64);
    put_length(&mut body, strings.list.len());
    strings.list.iter().for_each(|text| put_bytes(&mut body, text.as_bytes()));
    body.extend_from_slice(&rest);
    Ok(table.node(LEAF_NODE, &body))
}

fn hard_linked(entry: &Entry) -> bool {
    entry.links > 1 && !entry.is_directory()
}

fn flags(stored: &StoredEntry) -> u64 {
    let mut flags = 0;
    let mut set = |flag, on: bool| flags |= if on { flag } else { 0 };
    set(FLAG_XATTRS, !stored.entry.xattrs.is_empty());
    set(FLAG_HARD_LINKED, hard_linked(&stored.entry));
    set(FLAG_SPARSE, !matches!(stored.extents, Extents::None));
    set(FLAG_CHANGED, stored.fidelity == Fidelity::Changed);
    set(FLAG_ABSENT, stored.fidelity == Fidelity::Absent || stored.entry.seen == Seen::Unreadable);
    set(FLAG_LEFT_OUT, stored.entry.seen == Seen::LeftOut);
    set(FLAG_LACKS_ATTRIBUTES, stored.lacks_attributes);
    set(FLAG_INODE_FLAGS, stored.entry.inode_flags != 0);
    flags
}

fn put_entry<'a>(
    out: &mut Vec<u8>,
    before: &mut Before,
    strings: &mut Strings<'a>,
    entry: &'a Entry,
    flags: u64,
) {
    put_path(out, &before.path, entry.path.as_bytes());
    out.push(type_byte(&entry.kind));
    put_var(out, flags);
    put_var(out, u64::from(entry.mode));
    put_var(out, u64::from(entry.user_id));
    put_var(out, u64::from(entry.group_id));
    let (user, group) =
        (strings.number(entry.user_name.as_ref()), strings.number(entry.group_name.as_ref()));
    put_var(out, user);
    put_var(out, group);
    put_signed(out, entry.modified.seconds.wrapping_sub(before.modified_seconds));
    put_var(out, u64::from(entry.modified.nanoseconds));
    put_signed(out, entry.changed.seconds.wrapping_sub(entry.modified.seconds));
    put_var(out, u64::from(entry.changed.nanoseconds));
    put_signed(out, entry.inode.wrapping_sub(before.inode).cast_signed());
    put_kind(out, entry);
    before.path.clear();
    before.path.extend_from_slice(entry.path.as_bytes());
    before.modified_seconds = entry.modified.seconds;
    before.inode = entry.inode;
}

/// What an entry's type adds to its attributes.
fn put_kind(out: &mut Vec<u8>, entry: &Entry) {
    match &entry.kind {
        Kind::File => put_var(out, entry.size_bytes),
        Kind::Symlink { target } => put_bytes(out, target),
        Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } => {
            put_var(out, u64::from(*major));
            put_var(out, u64::from(*minor));
        }
        Kind::Directory | Kind::Fifo | Kind::Socket | Kind::Unknown => {}
    }
}

/// Decodes a leaf.
pub fn decode(node: &[u8]) -> Read<Vec<StoredEntry>> {
    let mut cursor = Cursor::new(node);
    let frames = Frames::read(&mut cursor, LEAF_NODE)?;
    let strings = cursor.count(1)?;
    if strings > STRINGS_LIMIT {
        return Err(Malformed("a leaf with too many names"));
    }
    let strings: Vec<Arc<str>> =
        (0..strings).map(|_| Ok(Arc::from(cursor.text()?))).collect::<Read<_>>()?;
    let count = cursor.count(14)?;
    if count > 65_536 {
        return Err(Malformed("a leaf with too many entries"));
    }
    let mut before = ReadBefore::default();
    let mut entries: Vec<StoredEntry> = Vec::with_capacity(count);
    for _ in 0..count {
        let stored = read_entry(&mut cursor, &frames, &strings, &mut before)?;
        if entries.last().is_some_and(|last| last.entry.path >= stored.entry.path) {
            return Err(Malformed("entries out of order"));
        }
        entries.push(stored);
    }
    cursor.end()?;
    Ok(entries)
}

fn read_time(seconds: i64, cursor: &mut Cursor<'_>) -> Read<FileTime> {
    let nanoseconds = cursor.var_u32()?;
    if nanoseconds >= NANOSECONDS_PER_SECOND {
        return Err(Malformed("a time with more than a second of nanoseconds"));
    }
    Ok(FileTime { seconds, nanoseconds })
}

fn read_name(cursor: &mut Cursor<'_>, strings: &[Arc<str>]) -> Read<Option<Arc<str>>> {
    match usize::try_from(cursor.var()?) {
        Ok(0) => Ok(None),
        Ok(n) => strings.get(n - 1).cloned().map(Some).ok_or(Malformed("an owner not listed")),
        Err(_) => Err(Malformed("an owner not listed")),
    }
}

fn read_kind(cursor: &mut Cursor<'_>, type_byte: u8, size_bytes: &mut u64) -> Read<Kind> {
    Ok(match type_byte {
        1 => {
            *size_bytes = cursor.var()?;
            if i64::try_from(*size_bytes).is_err() {
                return Err(Malformed("a file larger than any file system holds"));
            }
            Kind::File
        }
        2 => Kind::Directory,
        3 => Kind::Symlink { target: limited(cursor.bytes()?, PATH_LIMIT_BYTES)?.to_vec() },
        4 => Kind::Fifo,
        5 => Kind::Socket,
        6 => Kind::CharacterDevice { major: cursor.var_u32()?, minor: cursor.var_u32()? },
        7 => Kind::BlockDevice { major: cursor.var_u32()?, minor: cursor.var_u32()? },
        8 => Kind::Unknown,
        _ => return Err(Malformed("an entry of an unknown type")),
    })
}

/// Reads an entry's own attributes, up to those that its type has.
fn read_attributes(
    cursor: &mut Cursor<'_>,
    strings: &[Arc<str>],
    before: &mut ReadBefore,
) -> Read<(Entry, u64)> {
    let path = before.paths.read(cursor)?;
    let type_byte = cursor.u8()?;
    let flags = cursor.var()?;
    if flags & !FLAGS_KNOWN != 0 {
        return Err(Malformed("an entry with unknown flags"));
    }
    let mode = cursor.var_u32()?;
    if mode > 0o7777 {
        return Err(Malformed("a mode with unknown bits"));
    }
    let (user_id, group_id) = (cursor.var_u32()?, cursor.var_u32()?);
    let user_name = read_name(cursor, strings)?;
    let group_name = read_name(cursor, strings)?;
    let modified = read_time(before.modified_seconds.wrapping_add(cursor.signed()?), cursor)?;
    let changed = read_time(modified.seconds.wrapping_add(cursor.signed()?), cursor)?;
    let inode = before.inode.wrapping_add(cursor.signed()?.cast_unsigned());
    before.modified_seconds = modified.seconds;
    before.inode = inode;
    let mut size_bytes = 0;
    let kind = read_kind(cursor, type_byte, &mut size_bytes)?;
    let entry = Entry {
        path,
        kind,
        mode,
        user_id,
        group_id,
        user_name,
        group_name,
        modified,
        changed,
        device: 0,
        inode,
        links: 1,
        size_bytes,
        xattrs: Vec::new(),
        extents: None,
        volume: 0,
        inode_flags: 0,
        seen: Seen::Whole,
    };
    Ok((entry, flags))
}

fn read_entry(
    cursor: &mut Cursor<'_>,
    frames: &Frames,
    strings: &[Arc<str>],
    before: &mut ReadBefore,
) -> Read<StoredEntry> {
    let (mut entry, flags) = read_attributes(cursor, strings, before)?;
    if flags & FLAG_XATTRS != 0 {
        entry.xattrs = read_xattrs(cursor)?;
        before.xattrs += entry.xattrs.len();
        if before.xattrs > XATTRS_LIMIT {
            return Err(Malformed("a leaf with too many extended attributes"));
        }
    }
    if flags & FLAG_HARD_LINKED != 0 {
        (entry.volume, entry.links) = (cursor.var()?, cursor.var()?);
        if !hard_linked(&entry) {
            return Err(Malformed("a hard link that cannot be one"));
        }
    }
    if flags & FLAG_INODE_FLAGS != 0 {
        entry.inode_flags = cursor.var_u32()?;
        if entry.inode_flags == 0 || entry.inode_flags & !INODE_FLAGS_KEPT != 0 {
            return Err(Malformed("unknown inode flags"));
        }
    }
    entry.seen = read_seen(&entry.kind, flags)?;
    if entry.kind == Kind::Unknown {
        check_bare(&entry, flags)?;
    }
    if flags & FLAG_SPARSE != 0 && !entry.is_file() {
        return Err(Malformed("holes in something that is no file"));
    }
    let extents = if flags & FLAG_SPARSE != 0 {
        Extents::read(cursor, frames, entry.size_bytes)?
    } else {
        Extents::None
    };
    let content = if entry.is_file() { Content::read(cursor, frames)? } else { Content::default() };
    let fidelity = match (flags & FLAG_CHANGED != 0, flags & FLAG_ABSENT != 0) {
        (_, true) => Fidelity::Absent,
        (true, false) => Fidelity::Changed,
        (false, false) => Fidelity::Exact,
    };
    if fidelity == Fidelity::Absent && content.cutter.is_some() {
        return Err(Malformed("content of a file whose content is not stored"));
    }
    if entry.is_file() && entry.size_bytes > 0 && content.cutter.is_none() {
        let all_hole = matches!(&extents, Extents::Inline(runs) if runs.is_empty());
        if fidelity != Fidelity::Absent && !all_hole {
            return Err(Malformed("a file without its content"));
        }
    }
    let lacks_attributes = flags & FLAG_LACKS_ATTRIBUTES != 0;
    Ok(StoredEntry { entry, content, extents, fidelity, lacks_attributes })
}

/// How much of an entry was looked at; for a file that is said by its fidelity.
fn read_seen(kind: &Kind, flags: u64) -> Read<Seen> {
    let (absent, left_out) = (flags & FLAG_ABSENT != 0, flags & FLAG_LEFT_OUT != 0);
    match (kind, absent, left_out) {
        (Kind::Directory | Kind::Unknown, false, true) => Ok(Seen::LeftOut),
        (_, _, true) => Err(Malformed("an entry left out that cannot be")),
        (Kind::Unknown, false, false) => Err(Malformed("a bare name without a reason")),
        (Kind::File, ..) | (_, false, false) => Ok(Seen::Whole),
        (_, true, false) => Ok(Seen::Unreadable),
    }
}

/// Of a bare name nothing else is known.
fn check_bare(entry: &Entry, flags: u64) -> Read<()> {
    let ids = u64::from(entry.mode) | u64::from(entry.user_id) | u64::from(entry.group_id);
    let is_owned = entry.user_name.is_some() || entry.group_name.is_some();
    let is_timed = [entry.modified, entry.changed] != [FileTime::default(); 2];
    let has_more = flags & !(FLAG_ABSENT | FLAG_LEFT_OUT) != 0;
    if has_more || is_owned || is_timed || ids | entry.inode != 0 {
        return Err(Malformed("a bare name with more than a name"));
    }
    Ok(())
}

fn limited(bytes: &[u8], most_bytes: usize) -> Read<&[u8]> {
    if bytes.len() > most_bytes { Err(Malformed("a value too long")) } else { Ok(bytes) }
}

fn read_xattrs(cursor: &mut Cursor<'_>) -> Read<Vec<Xattr>> {
    let count = cursor.count(2)?;
    let mut room_bytes = XATTRS_LIMIT_BYTES;
    let mut xattrs: Vec<Xattr> = Vec::new();
    for _ in 0..count {
        let (name, value) = (cursor.bytes()?, cursor.bytes()?);
        room_bytes = name
            .len()
            .checked_add(value.len())
            .and_then(|bytes| room_bytes.checked_sub(bytes))
            .ok_or(Malformed("an entry with too large extended attributes"))?;
        if xattrs.last().is_some_and(|last| last.name.as_slice() >= name) {
            return Err(Malformed("extended attributes out of order"));
        }
        xattrs.push(Xattr { name: name.to_vec(), value: value.to_vec() });
    }
    Ok(xattrs)
}
