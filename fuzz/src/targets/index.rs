//! Index tables: the header, which no seal protects until a page is opened, and pages behind theirs.

use backstay::repo::id::ChunkId;
use backstay::repo::index::{TABLE_HEADER_BYTES, TableHeader};
use backstay::repo::seal::{Sealer, numbered_nonce};

use super::seeds::{REPOSITORY, index_name, secrets, table};

/// The header, and where it sends a reader.
pub fn header(bytes: &[u8]) {
    let Ok(header) = TableHeader::parse(REPOSITORY, secrets(), &index_name(), bytes) else {
        return;
    };
    let pack_pages = header.pack_pages();
    assert!(!pack_pages.is_empty());
    for id in [ChunkId([0; 24]), ChunkId([0x5a; 24]), ChunkId([0xff; 24])] {
        let page = header.entry_page(&id);
        assert!(page < pack_pages.start);
        assert!(header.next_entry_page(page) < pack_pages.start);
        assert!(header.page_range(page).end <= header.table_bytes());
    }
    for number in [0, 1, header.packs().wrapping_sub(1), header.packs(), u32::MAX] {
        if let Some(page) = header.pack_page(number) {
            assert!(pack_pages.contains(&page), "pack {number} in page {page}");
            assert!(header.page_range(page).end <= header.table_bytes());
        }
    }
}

/// The plaintext of a page, after four bytes that are its number.
pub fn page(bytes: &[u8]) {
    let Some((number, plain)) = bytes.split_first_chunk::<4>() else {
        return;
    };
    let number = u32::from_le_bytes(*number);
    let (name, secrets, table) = (index_name(), secrets(), table());
    let front = &table[..usize::try_from(TABLE_HEADER_BYTES).expect("80")];
    let header = TableHeader::parse(REPOSITORY, secrets, &name, front).expect("our own table");
    let salt: [u8; 32] = front[28..60].try_into().expect("32 bytes");
    let mut sealed = plain.to_vec();
    let aad = [front, name.as_str().as_bytes()].concat();
    let sealer = Sealer::new(&secrets.newest().object_key("index", &salt));
    sealer.seal(numbered_nonce(number), &aad, &mut sealed);
    let mut head = [0; 24];
    head[..8].copy_from_slice(plain.get(2..10).unwrap_or(&[0; 8]));
    if let Ok((hits, _)) = header.find(&name, number, &sealed, &ChunkId(head)) {
        assert!(hits.len() <= plain.len() / 16);
    }
    if let Ok(packs) = header.packs_of(&name, number, &sealed) {
        assert!(packs.len() <= plain.len() / 40);
    }
    // Whatever page it is, a pack is looked up in its own only.
    drop(header.pack(&name, number, &sealed));
}
