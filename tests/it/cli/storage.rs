//! What can be wrong with where things are stored: damage, newer formats, no space, no rights.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use backstay::repo::keyfile::Unlock;
use backstay::repo::{Repository, layout};
use backstay::store::Settings;
use backstay::world::World;

use super::{Place, Said};
use crate::support::filesystem;

/// An account without any rights, to be used where the tests run as root, for whom no file is shut.
const NOBODY: u32 = 65_534;

/// Runs `script` in a shell where `$0` is the program, as an account for whom modes count.
fn as_someone(place: &Place, script: &str) -> Said {
    let everyone = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.path("."), everyone).unwrap();
    let program = place.path("program");
    if !program.exists() {
        // Where it was built may be shut to others.
        fs::copy(assert_cmd::cargo::cargo_bin!("backstay"), &program).unwrap();
    }
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(program).current_dir(place.path("."));
    command.env("BACKSTAY_REPOSITORY", "repository").env("BACKSTAY_KEY_FILE", "keys/agent.key");
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
        for directory in ["repository", "keys"] {
            let mut chown = Command::new("chown");
            chown.args(["-R", "65534:65534", directory]).current_dir(place.path("."));
            assert!(chown.status().unwrap().success());
        }
    }
    let output = command.output().unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_source_that_is_partly_shut_makes_a_partial_snapshot() {
    let place = Place::new();
    fs::set_permissions(place.path("data/a.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    let said = as_someone(&place, "\"$0\" backup data");
    said.refuses(3, &["partial", "1 problem", "data/a.txt"]);
    assert!(said.text().contains("unreadable data/a.txt: "), "{said:?}");
    let said = as_someone(&place, "\"$0\" backup data --json");
    assert_eq!(said.code, 3);
    let answer = said.json("backup");
    assert_eq!(answer["error"]["class"], "partial");
    assert_eq!(answer["problems"][0]["path"], "a.txt");
    assert!(place.run(["snapshots"]).ok().text().contains("partial"));
    // The file is named and not there; the rest is.
    let said = place.recover(["restore", "latest", "--to", "back"]);
    said.refuses(3, &["1 entry", "a.txt"]);
    assert!(place.path("back/data/sub/b.txt").exists());
    assert!(!place.path("back/data/a.txt").exists());
    place.recover(["cat", "latest:data/a.txt"]).refuses(10, &["could not be read"]);
}

#[test]
fn a_repository_that_cannot_be_written_to() {
    let place = Place::new();
    place.back_up();
    let said = as_someone(&place, "chmod -R a-w repository && \"$0\" backup data");
    said.refuses(9, &["repository", "Permission denied", "mount it writable"]);
    let said = as_someone(&place, "\"$0\" snapshots");
    assert_eq!(said.code, 0, "reading needs no right to write: {said:?}");
    let said = as_someone(&place, "\"$0\" check");
    assert_eq!(said.code, 0, "a check goes on where nothing may be written: {said:?}");
    assert!(said.text().contains("store not probed: "), "{said:?}");
    let said = as_someone(&place, "\"$0\" check --json");
    let reason = said.json("check")["probe"]["not_probed"].to_string();
    assert!(reason.contains("Permission denied"), "{reason}");
    let said = as_someone(&place, "\"$0\" store test");
    said.refuses(9, &["repository", "Permission denied", "mount it writable"]);
    let script = "mkdir -p repository/r && chmod a-w repository/r && \"$0\" init -r repository/r \
                  --keys keys/more";
    let said = as_someone(&place, &format!("chmod u+w repository && {script}"));
    said.refuses(9, &["repository/r", "Permission denied"]);
    assert!(!place.path("keys/more").exists(), "no keys to a repository that cannot be made");
    let said = as_someone(&place, "chmod 000 keys/agent.key && \"$0\" snapshots");
    said.refuses(2, &["keys/agent.key", "Permission denied"]);
    assert_eq!(as_someone(&place, "chmod -R u+rwX repository keys").code, 0);
}

/// A limit on the size of files fails like a full disk, and needs no disk to be filled.
#[test]
fn no_space_left() {
    let place = Place::new();
    let bytes: Vec<u8> =
        (0..400_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    place.write("data/big", &bytes);
    let said = as_someone(&place, "trap '' XFSZ; ulimit -f 100; exec \"$0\" backup data");
    said.refuses(12, &["repository", "File too large", "free space"]);
    assert_eq!(place.run(["snapshots"]).ok().text(), "no snapshots\n");
    place.back_up();
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$0\" --key-file keys/recovery.key \
                  restore latest --to /tmp/$$/backstay";
    let said = as_someone(&place, &format!("{script}; code=$?; rm -rf /tmp/$$; exit $code"));
    // There is room for others: only this file is given up.
    said.refuses(3, &["1 entry refused", "big: File too large"]);
    let Some(_mounted) = filesystem::small_memory(&place.path("small")) else {
        return;
    };
    let said = place.recover(["restore", "latest", "--to", "small/out"]);
    said.refuses(12, &["big: No space left on device"]);
}

#[test]
fn damage_is_named() {
    let place = Place::new();
    let id = place.back_up();
    // The largest pack holds content.
    let pack = place.objects("pack");
    let pack = pack.iter().max_by_key(|file| fs::metadata(file).unwrap().len()).unwrap();
    let sound = fs::read(pack).unwrap();
    fs::write(pack, vec![0; sound.len()]).unwrap();
    let said = place.recover(["cat", "latest:data/a.txt"]);
    assert_eq!(said.code, 6, "{said:?}");
    let said = place.recover(["restore", "latest", "--to", "back"]);
    assert_eq!(said.code, 6, "{said:?}");
    let said = place.recover(["check", "--read-data"]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.text().contains("DAMAGED pack/"), "{said:?}");
    fs::remove_file(pack).unwrap();
    let said = place.recover(["check", "--json"]);
    assert_eq!(said.json("check")["findings"].as_array().unwrap().len(), 1);
    let said = place.recover(["cat", "latest:data/a.txt"]);
    said.refuses(6, &["pack/", "does not exist", "refers to it"]);
    fs::write(pack, sound).unwrap();
    place.recover(["check", "--read-data"]).ok();

    let snapshot = &place.objects("snapshot")[0];
    fs::write(snapshot, b"nonsense").unwrap();
    place.run(["snapshots"]).refuses(6, &[&id, "1 snapshot cannot be read"]);
    let later = place.run(["backup", "data", "--job", "another"]);
    assert_eq!(later.code, 0, "{later:?}");
    let said = place.run(["ls", "latest"]);
    assert_eq!(said.code, 0, "what is sound can be had: {said:?}");
    assert!(said.stderr.contains("WARN"), "and it is said what was skipped: {said:?}");
}

#[test]
fn a_newer_format_is_left_alone() {
    let place = Place::new();
    let key = fs::read(place.path("keys/recovery.key")).unwrap();
    let unlock = Unlock::from_file("recovery.key", &key, None).unwrap();
    let path = place.path("repository");
    let store = backstay::store::open(path.to_str().unwrap(), &Settings::default()).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = runtime.block_on(Repository::open(store, World::system(), &unlock)).unwrap();
    let mut config = opened.config().clone();
    config.format = 2;
    config.generation = 1;
    let keys = opened.secrets();
    let object = config.to_object(opened.id(), keys.newest_number(), keys.newest());
    fs::write(path.join(layout::config(1).as_str()), object).unwrap();
    for command in ["snapshots", "stats", "check"] {
        place.run([command]).refuses(11, &["newer Backstay", "format 2"]);
    }
    place.run(["backup", "data"]).refuses(11, &["newer Backstay"]);
}

/// What is kept on this machine saves requests, is worth nothing to who judges the store, and may go, or
/// be spoiled, at any time.
#[test]
fn a_cache_saves_requests_and_nothing_else() {
    let place = Place::new();
    place.back_up();
    let cached = |command: &[&str]| {
        let mut words = vec!["--cache", "cache", "--json"];
        words.extend(command);
        place.recover(words)
    };
    let gets = |said: &Said| said.json("restore")["requests"]["get"].as_u64().unwrap();
    let restore = |to: &str| cached(&["restore", "latest", "--to", to]);
    let first = restore("one");
    let second = restore("two");
    assert!(gets(&second) < gets(&first), "{first:?} {second:?}");
    let kept = walk_files(&place.path("cache"));
    assert!(kept.len() > 2, "{kept:?}");
    for file in &kept {
        let bytes = fs::read(file).unwrap();
        assert!(!bytes.windows(5).any(|part| part == b"a.txt"), "names stand in clear in {file:?}");
        if !file.ends_with("CACHEDIR.TAG") {
            fs::write(file, vec![7; bytes.len()]).unwrap();
        }
    }
    let third = restore("three");
    assert_eq!((third.code, gets(&third)), (0, gets(&first)));
    // Everything that it needs is kept again, but the check asks the store.
    for pack in place.objects("pack") {
        fs::write(pack, b"gone").unwrap();
    }
    assert_eq!(cached(&["ls", "latest"]).code, 0);
    assert_eq!(cached(&["check"]).code, 6);
    fs::remove_dir_all(place.path("cache")).unwrap();
    assert_eq!(cached(&["ls", "latest"]).code, 6);
}

/// What only a cache still holds is not in the store, and a backup that mends takes nothing of it over.
#[test]
fn what_only_a_cache_holds_is_stored_anew() {
    let place = Place::new();
    let backup = ["--cache", "cache", "backup", "data"];
    place.run(backup).ok();
    place.run(backup).ok();
    for pack in place.objects("pack") {
        fs::remove_file(pack).unwrap();
    }
    place.run(backup.into_iter().chain(["--read-all"])).ok();
    place.recover(["restore", "latest", "--to", "back"]).ok();
}

fn walk_files(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk_files(&path)) } else { files.push(path) }
    }
    files
}
