//! A stolen agent key: it can list, deduplicate and add; it can read no byte of any file. And the
//! store's owner, with no key at all, sees neither content nor names.

use std::fs;
use std::sync::Arc;

use backstay::class::Class;
use backstay::repo::Repository;
use backstay::repo::cursor::LeafCursor;
use backstay::repo::keyfile::Unlock;
use backstay::repo::layout;
use backstay::repo::pack::{DirectoryFrame, PackKind, Trailer, frame_aad, open_directory};
use backstay::repo::seal::{NO_NONCE, Sealer, numbered_nonce};
use backstay::repo::secret::{Secret, data_pack_key};
use backstay::restore;
use backstay::store::Store;
use bytes::Bytes;

use super::scene::{
    DATA, KeyTexts, backup, database, init, noise, objects, open, recall_damaged, snapshots,
    store_of, tick,
};

const CONTENT: &str = "MARKER-OF-CONTENT-7d1f";
const NAME: &str = "marker-of-a-name-52c9";

struct Theft {
    store: Arc<dyn Store>,
    keys: KeyTexts,
    tree: tempfile::TempDir,
}

impl Theft {
    async fn new() -> Self {
        let tree = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(tree.path().join(name), bytes).unwrap();
        // Frames that compress, and frames that don't and so are stored as they are.
        write(NAME, CONTENT.repeat(20_000).as_bytes());
        write("short", CONTENT.as_bytes());
        write("noise", &[noise(1, 2_000_000), CONTENT.into()].concat());
        let mut pages = database(2, 400);
        pages[9_000..9_000 + CONTENT.len()].copy_from_slice(CONTENT.as_bytes());
        write("app.db", &pages);
        tick();
        let store = store_of([]).await;
        let keys = init(&store, 1).await;
        let agent = open(&store, 2, &keys.agent).await;
        backup(&agent, tree.path()).await;
        write("later", format!("{CONTENT} later").as_bytes());
        backup(&agent, tree.path()).await;
        Self { store, keys, tree }
    }

    /// All frames of one kind of pack, with the sealed bytes, as a directory tells them.
    async fn frames(&self, with: &Repository, kind: PackKind) -> Vec<(DirectoryFrame, Bytes)> {
        let mut all = Vec::new();
        for (key, bytes) in objects(&*self.store).await {
            let Some(id) = layout::parse_pack(&key).filter(|_| bytes[8] == kind as u8) else {
                continue;
            };
            let trailer = Trailer::parse(id, &bytes, bytes.len() as u64).unwrap();
            let start = trailer.directory_offset_bytes as usize;
            let sealed = &bytes[start..start + trailer.directory_bytes as usize];
            let keys = with.secrets().get(id.secret()).unwrap();
            let offset_bytes = trailer.directory_offset_bytes;
            let frames = open_directory(keys, with.id(), id, sealed, offset_bytes).unwrap();
            all.extend(frames.into_iter().map(|frame| {
                let start = frame.place.offset_bytes as usize;
                let end = usize::try_from(frame.place.end_bytes()).unwrap();
                (frame, bytes.slice(start..end))
            }));
        }
        assert!(!all.is_empty());
        all
    }
}

/// Every key that follows from what a thief holds, for the pack of a frame.
fn loot(thief: &Repository, agent_key: &str, frame: &DirectoryFrame) -> Vec<[u8; 32]> {
    let pack = frame.place.pack;
    let Unlock::Agent(key) = Unlock::from_file("key", agent_key.as_bytes(), None).unwrap() else {
        panic!("an agent key is one");
    };
    let mut keys = vec![[0; 32]];
    for secret in key.secrets.raw() {
        keys.push(secret.0);
        keys.push(*data_pack_key(secret, thief.id(), pack));
        keys.push(*data_pack_key(&Secret([0; 32]), thief.id(), pack));
        for context in
            ["chunk id", "cut points", "metadata", "names", "page hash", "tree", "config"]
        {
            let derived =
                blake3::derive_key(&format!("backstay.dev format 1 {context}"), &secret.0);
            keys.push(derived);
            keys.push(*data_pack_key(&Secret(derived), thief.id(), pack));
        }
    }
    let mut own = Vec::new();
    for number in 0..=thief.secrets().newest_number() {
        let derived = thief.secrets().get(number).unwrap();
        for purpose in ["data", "metadata", "directory", "index", "object", "commitment", ""] {
            own.push(*derived.pack_key(purpose, thief.id(), pack));
            own.push(*derived.object_key(purpose, &[0; 32]));
        }
        own.push(derived.config_tag(&[]));
    }
    let through = |key: &[u8; 32]| *data_pack_key(&Secret(*key), thief.id(), pack);
    keys.extend(own.iter().map(through));
    keys.extend(own);
    keys
}

fn opens(thief: &Repository, key: &[u8; 32], frame: &DirectoryFrame, sealed: &Bytes) -> bool {
    let bound = frame_aad(thief.id(), &frame.place);
    let nonces = [numbered_nonce(frame.place.offset_bytes), NO_NONCE];
    let aads: [&[u8]; 3] = [&bound, &bound[..40], &[]];
    nonces.into_iter().any(|nonce| {
        aads.into_iter().any(|aad| Sealer::new(key).open(nonce, aad, &mut sealed.to_vec()).is_ok())
    })
}

#[tokio::test]
async fn a_stolen_agent_key_reads_no_file() {
    let theft = Theft::new().await;
    let thief = open(&theft.store, 3, &theft.keys.agent).await;
    assert!(!thief.reads_content());
    // Names it can list: that is its work.
    let found = snapshots(&thief).await;
    assert_eq!(found.len(), 2);
    let root = &found[0].source(DATA).unwrap().root;
    let mut cursor = LeafCursor::open(&thief, root).await.unwrap();
    let leaf = cursor.peek().await.unwrap().unwrap().reference.clone();
    let names = thief.leaf(&leaf).await.unwrap();
    assert!(names.iter().any(|stored| stored.entry.path.name() == NAME.as_bytes()));
    // Content it cannot.
    for snapshot in &found {
        let refused = recall_damaged(&thief, snapshot).await.unwrap_err();
        assert_eq!(refused.class(), Class::Denied);
        assert!(matches!(refused, restore::Error::Repository(backstay::repo::Error::AgentKey)));
    }
    for pack in found.iter().flat_map(|snapshot| &snapshot.packs) {
        assert_eq!(thief.data_opener(pack.id).await.unwrap_err().class(), Class::Denied);
    }
    assert!(thief.bundle().is_err());

    // It deduplicates: the same content anew, in another job, adds none.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(theft.tree.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let options = backstay::backup::Options { job: Some("other".into()), ..super::scene::job() };
    let sources = [super::scene::directory(copy.path())];
    let report = backstay::backup::run(&thief, &sources, &options, Arc::default()).await.unwrap();
    assert_eq!(report.snapshot.parent, None);
    assert_eq!((report.stored.new_bytes, report.read_files), (0, 6));
}

#[tokio::test]
async fn no_key_that_follows_from_an_agent_key_opens_a_data_frame() {
    let theft = Theft::new().await;
    let thief = open(&theft.store, 3, &theft.keys.agent).await;
    let owner = open(&theft.store, 4, &theft.keys.recovery).await;
    let mut seen = 0;
    for (frame, sealed) in theft.frames(&thief, PackKind::Data).await {
        for key in loot(&thief, &theft.keys.agent, &frame) {
            assert!(!opens(&thief, &key, &frame, &sealed), "{:?}", frame.place);
        }
        // The same attempt with the right key works, so the ones above could have.
        let pack = frame.place.pack;
        let header = owner.pack_header(pack).await.unwrap();
        let secret = owner.open_session_secret(pack, &header).unwrap();
        assert!(opens(&thief, &data_pack_key(&secret, owner.id(), pack), &frame, &sealed));
        let plain = owner.data_opener(pack).await.unwrap();
        let plain = plain.open(&frame.place, &sealed).unwrap();
        seen += plain.windows(CONTENT.len()).filter(|part| *part == CONTENT.as_bytes()).count();
    }
    // Once in short, once in noise, once in the pages, many times in the file of the marked name.
    assert!(seen > 10_000, "the marker was seen {seen} times");
    let metadata = theft.frames(&thief, PackKind::Metadata).await;
    for (frame, sealed) in metadata {
        let keys = loot(&thief, &theft.keys.agent, &frame);
        assert!(keys.iter().any(|key| opens(&thief, key, &frame, &sealed)), "loot holds its key");
    }
}

/// Neither in an object nor in its name does anything stand in clear.
#[tokio::test]
async fn the_store_sees_neither_content_nor_names() {
    let theft = Theft::new().await;
    let tree = theft.tree.path().to_str().unwrap();
    let hidden = [CONTENT, NAME, "app.db", "SQLite format", DATA, tree];
    for (key, bytes) in objects(&*theft.store).await {
        for word in hidden {
            let clear = bytes.windows(word.len()).any(|part| part == word.as_bytes());
            // Four letters come by chance in megabytes of noise.
            assert!(!clear || word == DATA && bytes.len() > 4_096, "{word} stands in {key}");
            let hex = data_encoding::HEXLOWER.encode(word.as_bytes());
            assert!(!key.as_str().contains(word) && !key.as_str().contains(&hex), "{word}: {key}");
        }
    }
    // Nor do objects betray equal content by equal bytes.
    let again = Theft::new().await;
    let bodies = |all: Vec<(backstay::store::Key, Bytes)>| -> Vec<Bytes> {
        all.into_iter().map(|(_, bytes)| bytes.slice(bytes.len().min(4_096)..)).collect()
    };
    let (first, second) =
        (bodies(objects(&*theft.store).await), bodies(objects(&*again.store).await));
    assert!(first.iter().filter(|body| !body.is_empty()).all(|body| !second.contains(body)));
}
