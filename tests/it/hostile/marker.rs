//! The marker of an unfinished restore: it lies where anyone may have written who writes to the
//! volume, and decides whether a restore goes on in somebody's files.

use std::fs;

use backstay::destination::directory::{DirectoryDestination, Options};
use backstay::destination::{Destination, Overwrite};

use super::mutate::Mutator;

/// Each takes a few calls to the file system.
const MUTATIONS: u32 = 1_000;

fn destination(root: &std::path::Path) -> DirectoryDestination {
    DirectoryDestination::new(Options {
        path: root.to_owned(),
        overwrite: Overwrite::IfChanged,
        identity: "repository 5 snapshot 7".to_owned(),
        ..Options::default()
    })
}

#[test]
fn damaged_markers_resume_no_other_restore() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join(".backstay-restore");
    destination(directory.path()).begin().unwrap();
    let sound = fs::read(&marker).unwrap();
    let seeds = vec![sound.clone(), sound[..sound.len() / 2].to_vec(), vec![0; 100]];
    for number in 0..MUTATIONS {
        let bytes = Mutator::new(number).mutate(&seeds);
        fs::write(&marker, &bytes).unwrap();
        let destination = destination(directory.path());
        match destination.begin() {
            Ok(()) if destination.is_resumed() => {
                let text = String::from_utf8_lossy(&bytes);
                assert!(text.contains("\nrestore: repository 5 snapshot 7\n"), "{number}: {text}");
            }
            // A torn marker is written anew; the root was empty but for it.
            Ok(()) => assert_eq!(fs::read(&marker).unwrap(), sound, "mutation {number}"),
            Err(_) => assert_eq!(fs::read(&marker).unwrap(), bytes, "mutation {number}"),
        }
    }
}
