//! How a file should be cut into chunks, by what it is. Pure: path, size and first bytes in,
//! cutter out. A wrong guess costs space, never correctness.

use crate::entry::{Cutter, TreePath};
use crate::units::{KIB, MIB};

/// How many of a file's first bytes [`choose`] wants to see: enough for the magic of a tar header,
/// which stands at byte 257.
pub const HEAD_BYTES: usize = 512;

/// Up to here a file is a single chunk however it is cut: its head is not worth a read.
const SINGLE_CHUNK_BYTES: u64 = 128 * KIB as u64;

/// A WAL segment or table of up to this size is one chunk.
pub(super) const LARGEST_WHOLE_BYTES: u64 = 16 * MIB as u64;

/// One KiB in the width of a [`Cutter`]'s sizes.
const PAGE_KIB: u32 = 1024;

/// Anything that nothing better is known of.
const GENERAL: Cutter = Cutter::Content { average_bytes: 512 * PAGE_KIB };

/// Media, archives and whatever is compressed changes as a whole or not at all.
const COMPRESSED: Cutter = Cutter::Content { average_bytes: 4096 * PAGE_KIB };

/// Dumps and tar streams, in which rows and members shift.
const STREAM: Cutter = Cutter::Content { average_bytes: 64 * PAGE_KIB };

/// A source's cutter: by what each file is, or one for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CutterChoice {
    /// By name, size and first bytes.
    #[default]
    Auto,
    /// This one, whatever the file is.
    Forced(Cutter),
}

/// Whether the first bytes of a file of this size would change the choice.
pub fn needs_head(size_bytes: u64) -> bool {
    size_bytes > SINGLE_CHUNK_BYTES
}

/// Chooses the cutter. `head` may be shorter than [`HEAD_BYTES`], and may say anything.
pub fn choose(path: &TreePath, size_bytes: u64, head: &[u8]) -> Cutter {
    if !needs_head(size_bytes) {
        return GENERAL;
    }
    let name = path.name();
    // Ours is the order: exact magic first, then names that only a header confirms.
    sqlite(head)
        .or_else(|| bbolt(head))
        .or_else(|| postgres(path, size_bytes, head))
        .or_else(|| innodb(name, head))
        .or_else(|| sorted_table(name, size_bytes))
        .or_else(|| compressed(name, head))
        .or_else(|| stream(name, head))
        .unwrap_or(GENERAL)
}

fn pages(page_bytes: u32) -> Option<Cutter> {
    let sound = page_bytes.is_power_of_two() && page_bytes <= 64 * PAGE_KIB;
    // The format knows no pages below 4 KiB; several of the file's then share one of ours.
    sound.then(|| Cutter::Pages { page_bytes: page_bytes.max(4 * PAGE_KIB) })
}

fn bytes_at<const N: usize>(head: &[u8], offset_bytes: usize) -> Option<[u8; N]> {
    head.get(offset_bytes..)?.first_chunk().copied()
}

/// `SQLite`'s header: magic at 0, page size as a big-endian `u16` at 16, where 1 stands for 65,536
/// (<https://www.sqlite.org/fileformat2.html#the_database_header>).
fn sqlite(head: &[u8]) -> Option<Cutter> {
    if !head.starts_with(b"SQLite format 3\0") {
        return None;
    }
    match u32::from(u16::from_be_bytes(bytes_at(head, 16)?)) {
        1 => pages(64 * PAGE_KIB),
        small if small < 512 => None,
        page_bytes => pages(page_bytes),
    }
}

/// bbolt's meta page 0: after the 16-byte page header magic, version and page size as `u32` in the
/// machine's order (<https://github.com/etcd-io/bbolt>, `internal/common/meta.go`).
fn bbolt(head: &[u8]) -> Option<Cutter> {
    let magic = u32::from_le_bytes(bytes_at(head, 16)?);
    let page_bytes = u32::from_le_bytes(bytes_at(head, 24)?);
    if magic != 0xED0C_DAED || page_bytes < 1024 {
        return None;
    }
    pages(page_bytes)
}

/// `PostgreSQL`: 8-KiB pages of relations and of the transaction status logs.
fn postgres(path: &TreePath, size_bytes: u64, head: &[u8]) -> Option<Cutter> {
    if !size_bytes.is_multiple_of(8 * KIB as u64) {
        return None;
    }
    let components: Vec<&[u8]> = path.components().collect();
    let (name, above) = components.split_last()?;
    if let Some(parent) = above.last()
        && is_status_log(above, parent, name)
    {
        return pages(8 * PAGE_KIB);
    }
    let placed = match above {
        [.., base, oid] if *base == b"base" => oid.iter().all(u8::is_ascii_digit),
        [.., global] => *global == b"global",
        [] => false,
    };
    (is_relation(name) && (placed || is_relation_page(head))).then_some(())?;
    pages(8 * PAGE_KIB)
}

/// The simple-LRU logs: hexadecimal file names in known directories
/// (<https://www.postgresql.org/docs/current/storage-file-layout.html>).
fn is_status_log(above: &[&[u8]], parent: &[u8], name: &[u8]) -> bool {
    let grandparent = above.iter().rev().nth(1).copied().unwrap_or_default();
    let known = match parent {
        b"pg_xact" | b"pg_clog" | b"pg_subtrans" | b"pg_commit_ts" | b"pg_serial" => true,
        b"members" | b"offsets" => grandparent == b"pg_multixact",
        _ => false,
    };
    known && name.len() >= 4 && name.iter().all(u8::is_ascii_hexdigit)
}

/// `16384`, `16384.1`, `16384_fsm`, `16384_vm.2`, `t3_16384`: a relation's fork and segment.
fn is_relation(name: &[u8]) -> bool {
    let name = match name {
        [b't' | b'T', rest @ ..] => rest,
        _ => name,
    };
    let Some(mut rest) = after_digits(name) else {
        return false;
    };
    if let Some(second) = rest.strip_prefix(b"_").and_then(after_digits) {
        rest = second;
    }
    for fork in [b"_fsm".as_slice(), b"_vm", b"_init"] {
        if let Some(after) = rest.strip_prefix(fork) {
            rest = after;
            break;
        }
    }
    match rest.strip_prefix(b".") {
        Some(segment) => after_digits(segment).is_some_and(<[u8]>::is_empty),
        None => rest.is_empty(),
    }
}

/// What follows the digits at the start; `None` where there are none.
fn after_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| text.get(digits..).unwrap_or_default())
}

/// `pd_pagesize_version` at byte 18 of a page header: 8,192 plus the layout's version
/// (`src/include/storage/bufpage.h`). A page that was never written is all zero.
fn is_relation_page(head: &[u8]) -> bool {
    let Some(word) = bytes_at(head, 18).map(u16::from_le_bytes) else {
        return false;
    };
    (0x2003..=0x2005).contains(&word) || head.iter().all(|&byte| byte == 0)
}

/// `InnoDB` table spaces: page type 8 (`FSP_HDR`) at byte 24 of page 0, flags at 54
/// (<https://dev.mysql.com/doc/dev/mysql-server/latest/>, `fil0types.h`, `fsp0types.h`; `MariaDB`'s
/// `full_crc32` flags have bit 4 set and the page size in bits 0 to 3).
fn innodb(name: &[u8], head: &[u8]) -> Option<Cutter> {
    let named = name.ends_with(b".ibd")
        || name.ends_with(b".ibu")
        || name.starts_with(b"ibdata")
        || name.starts_with(b"undo");
    if !named || u16::from_be_bytes(bytes_at(head, 24)?) != 8 {
        return None;
    }
    let flags = u32::from_be_bytes(bytes_at(head, 54)?);
    let shift = if flags & 0x10 == 0 { (flags >> 6) & 0xF } else { flags & 0xF };
    match shift {
        0 => pages(16 * PAGE_KIB),
        3..=7 => pages(512 << shift),
        _ => None,
    }
}

/// Sorted tables of `RocksDB`, `LevelDB` and kin: written once, never changed.
fn sorted_table(name: &[u8], size_bytes: u64) -> Option<Cutter> {
    let table = name.ends_with(b".sst") || name.ends_with(b".ldb");
    (table && size_bytes <= LARGEST_WHOLE_BYTES).then_some(Cutter::Whole)
}

/// Magic numbers of media, archives and compressed streams
/// (<https://en.wikipedia.org/wiki/List_of_file_signatures>).
fn compressed(name: &[u8], head: &[u8]) -> Option<Cutter> {
    const MAGICS: [&[u8]; 16] = [
        b"\xFF\xD8\xFF",        // JPEG
        b"\x89PNG\r\n\x1A\n",   // PNG
        b"GIF8",                // GIF
        b"\x1A\x45\xDF\xA3",    // Matroska, WebM
        b"PK\x03\x04",          // ZIP and all that is one
        b"\x1F\x8B\x08",        // gzip
        b"\x28\xB5\x2F\xFD",    // zstd
        b"\xFD7zXZ\0",          // xz
        b"BZh",                 // bzip2
        b"7z\xBC\xAF\x27\x1C",  // 7z
        b"\x04\x22\x4D\x18",    // lz4
        b"Rar!\x1A\x07",        // RAR
        b"ID3",                 // MP3 with tags
        b"fLaC",                // FLAC
        b"OggS",                // Ogg
        b"age-encryption.org/", // age
    ];
    let bare_mp3 = name.to_ascii_lowercase().ends_with(b".mp3") && head.first() == Some(&0xFF);
    let mp4 = bytes_at::<4>(head, 4) == Some(*b"ftyp");
    let webp = head.starts_with(b"RIFF") && bytes_at::<4>(head, 8) == Some(*b"WEBP");
    let known = MAGICS.iter().any(|magic| head.starts_with(magic));
    (known || mp4 || webp || bare_mp3).then_some(COMPRESSED)
}

/// Dumps (`PGDMP` opens `pg_dump`'s custom format) and tar archives (`ustar` at byte 257,
/// POSIX.1-1988).
fn stream(name: &[u8], head: &[u8]) -> Option<Cutter> {
    let named = [b".sql".as_slice(), b".tar", b".dump"].iter().any(|suffix| name.ends_with(suffix));
    let tar = bytes_at::<5>(head, 257) == Some(*b"ustar");
    let magic =
        [b"PGDMP".as_slice(), b"--\n-- PostgreSQL database", b"-- MySQL dump", b"-- MariaDB dump"]
            .iter()
            .any(|magic| head.starts_with(magic));
    (named || tar || magic).then_some(STREAM)
}

/// A WAL segment's cutter.
pub(super) fn of_segment(size_bytes: u64) -> Cutter {
    if size_bytes <= LARGEST_WHOLE_BYTES {
        Cutter::Whole
    } else {
        Cutter::Content { average_bytes: 1024 * PAGE_KIB }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANY: u64 = 64 * MIB as u64;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0xA5; HEAD_BYTES];
        for (offset_bytes, bytes) in parts {
            head[*offset_bytes..*offset_bytes + bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    fn of(path: &str, size_bytes: u64, head: &[u8]) -> String {
        choose(&TreePath::from_bytes(path).unwrap(), size_bytes, head).to_string()
    }

    #[test]
    fn each_kind_is_recognised() {
        let page = head(&[(18, &0x2004_u16.to_le_bytes())]);
        let sqlite = |size: u16| head(&[(0, b"SQLite format 3\0"), (16, &size.to_be_bytes())]);
        let bolt = head(&[(16, &0xED0C_DAED_u32.to_le_bytes()), (24, &4096_u32.to_le_bytes())]);
        let inno = |flags: u32| head(&[(24, &[0, 8]), (54, &flags.to_be_bytes())]);
        let none = head(&[]);
        let table: [(&str, &[u8], &str); 33] = [
            ("base/16384/2619", &none, "pages 8 KiB"),
            ("data/base/16384/2619.3", &none, "pages 8 KiB"),
            ("base/16384/t3_16390", &none, "pages 8 KiB"),
            ("global/1262_fsm", &none, "pages 8 KiB"),
            ("elsewhere/2619_vm.1", &page, "pages 8 KiB"),
            ("elsewhere/2619_init", &[0; 128], "pages 8 KiB"),
            ("elsewhere/2619", &none, "cdc 512 KiB"),
            ("base/16384/PG_VERSION", &page, "cdc 512 KiB"),
            ("base/16384/2619_xyz", &page, "cdc 512 KiB"),
            ("base/16384/2619.", &page, "cdc 512 KiB"),
            ("pg_xact/0000", &none, "pages 8 KiB"),
            ("pg_multixact/offsets/00AF", &none, "pages 8 KiB"),
            ("offsets/00AF", &none, "cdc 512 KiB"),
            ("app.db", &sqlite(4096), "pages 4 KiB"),
            ("app.db", &sqlite(1024), "pages 4 KiB"),
            ("app.db", &sqlite(1), "pages 64 KiB"),
            ("app.db", &sqlite(4097), "cdc 512 KiB"),
            ("app.db", &sqlite(0), "cdc 512 KiB"),
            ("member/snap/db", &bolt, "pages 4 KiB"),
            ("shop/orders.ibd", &inno(0x15), "pages 16 KiB"),
            ("shop/orders.ibd", &inno(5 << 6), "pages 16 KiB"),
            ("shop/orders.ibd", &inno(0), "pages 16 KiB"),
            ("ibdata1", &inno(3 << 6), "pages 4 KiB"),
            ("undo_001", &inno(15 << 6), "cdc 512 KiB"),
            ("orders.ibd", &none, "cdc 512 KiB"),
            ("a.mp4", b"\0\0\0\x20ftypisom", "cdc 4096 KiB"),
            ("a", b"\x1F\x8B\x08\0", "cdc 4096 KiB"),
            ("a.jpg", b"\xFF\xD8\xFF\xE0", "cdc 4096 KiB"),
            ("dump.sql", b"SELECT", "cdc 64 KiB"),
            ("dump", b"PGDMP\x01", "cdc 64 KiB"),
            ("x", &head(&[(257, b"ustar\0")]), "cdc 64 KiB"),
            ("x", b"", "cdc 512 KiB"),
            ("00001.sst", b"", "cdc 512 KiB"),
        ];
        for (path, head, expected) in table {
            assert_eq!(of(path, MANY, head), expected, "{path}");
        }
        assert_eq!(of("000123.sst", 2 << 20, b"whatever"), "whole");
    }

    #[test]
    fn small_files_and_odd_sizes_are_general() {
        let page = head(&[(18, &0x2004_u16.to_le_bytes())]);
        assert_eq!(of("base/1/2", 128 * 1024, &page), "cdc 512 KiB");
        assert_eq!(of("base/1/2", (1 << 20) + 1, &page), "cdc 512 KiB");
        assert!(!needs_head(128 * 1024));
    }

    #[test]
    fn no_head_is_too_short() {
        let full = head(&[(0, b"SQLite format 3\0"), (16, &4096_u16.to_be_bytes())]);
        for length in 0..full.len() {
            for path in ["x", "base/1/2", "a.ibd", "ibdata1", "a.mp3", ""] {
                of(path, MANY, &full[..length]);
                of(path, MANY, &vec![0; length]);
                of(path, MANY, &vec![0xFF; length]);
            }
        }
    }
}
