//! What a restore could not give is no success, unless its kind is accepted by name; and what the destination
//! refuses is named, by the program as people run it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::Place;

const NOBODY: u32 = 65_534;

/// A place with a file of two names of which one is there already, so that the other becomes a copy.
fn place_with_a_copy() -> Place {
    let place = Place::new();
    fs::hard_link(place.path("data/a.txt"), place.path("data/h.txt")).unwrap();
    place.back_up();
    place.write("out/a.txt", b"kept\n");
    place
}

#[test]
fn a_shortfall_is_said_and_is_no_success() {
    let place = place_with_a_copy();
    let restore = ["restore", "latest:data", "--to", "out", "--overwrite", "never"];
    let quiet = place.recover(restore.iter().chain(&["--quiet"]));
    quiet.refuses(3, &["h.txt", "copy", "--accept link"]);
    assert_eq!(fs::read(place.path("out/h.txt")).unwrap(), b"alpha\n");
    fs::remove_file(place.path("out/h.txt")).unwrap();
    let answer = place.recover(restore.iter().chain(&["--json"])).json("restore");
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["shortfall_counts"]["link"], 1);
    assert_eq!(answer["shortfalls"][0]["kind"], "link");
}

#[test]
fn accepted_kinds_are_shown_and_change_no_exit_code() {
    let place = place_with_a_copy();
    let restore = ["restore", "latest:data", "--to", "out", "--overwrite", "never"];
    let with = |accept: &str, more: &str| {
        let _ = fs::remove_file(place.path("out/h.txt"));
        place.recover(restore.iter().copied().chain(["--accept", accept, more]))
    };
    with("owner,mode", "--quiet").refuses(3, &["link"]);
    assert!(with("link", "--log=warn").ok().text().contains("link (accepted)"));
    let answer = with("owner,link", "--json").ok().json("restore");
    assert_eq!(answer["accepted"], serde_json::json!(["owner", "link"]));
    assert_eq!(answer["shortfall_count"], 1);
    with("everything", "--quiet").refuses(2, &["--accept"]);
}

#[test]
fn an_immutable_file_costs_nothing_but_itself() {
    let place = Place::new();
    place.back_up();
    place.write("out/a.txt", b"mine\n");
    let attribute = |change: &str| {
        let file = place.path("out/a.txt");
        Command::new("chattr").args([change]).arg(file).status().is_ok_and(|done| done.success())
    };
    if !attribute("+i") {
        println!("skipped: this file system, or this user, makes no file immutable");
        return;
    }
    let restore = ["restore", "latest:data", "--to", "out", "--overwrite", "if-changed", "-q"];
    for _ in 0..2 {
        let said = place.recover(restore);
        said.refuses(3, &["1 entry refused", "a.txt", "Operation not permitted"]);
        assert_eq!(fs::read(place.path("out/sub/b.txt")).unwrap(), [7; 5000]);
        assert!(place.path("out/.backstay-restore").exists());
    }
    assert!(attribute("-i"));
    place.recover(restore).ok();
    assert_eq!(fs::read(place.path("out/a.txt")).unwrap(), b"alpha\n");
    assert!(!place.path("out/.backstay-restore").exists());
}

#[test]
fn inode_flags_come_back_last() {
    let place = Place::new();
    fs::hard_link(place.path("data/a.txt"), place.path("data/h.txt")).unwrap();
    let flags = |change: &str, names: &[&str]| {
        let paths = names.iter().map(|name| place.path(name));
        Command::new("chattr").arg(change).args(paths).status().is_ok_and(|done| done.success())
    };
    if !flags("+i", &["data/a.txt", "data/sub"]) {
        println!("skipped: this file system, or this user, makes no file immutable");
        return;
    }
    place.back_up();
    let said = place.recover(["restore", "latest:data", "--to", "out"]);
    let is_immutable = fs::write(place.path("out/h.txt"), "").is_err()
        && fs::write(place.path("out/sub/new"), "").is_err();
    for root in ["data", "out"] {
        flags("-i", &[&format!("{root}/a.txt"), &format!("{root}/sub")]);
    }
    said.ok();
    assert!(is_immutable);
}

#[test]
fn a_dry_run_counts_what_would_go_and_refuses_what_a_restore_refuses() {
    let place = Place::new();
    place.back_up();
    place.write("out/old/f", b"");
    let delete = ["restore", "latest:data", "--to", "out", "--overwrite", "if-changed", "--delete"];
    let answer = place.recover(delete.iter().chain(&["--dry-run", "--json"])).ok().json("restore");
    assert_eq!(answer["removed"], 2);
    assert!(place.path("out/old/f").exists() && !place.path("out/a.txt").exists());
    let answer = place.recover(delete.iter().chain(&["--json"])).ok().json("restore");
    assert_eq!(answer["removed"], 2);
    for more in [vec![], vec!["--dry-run"]] {
        let restore = ["restore", "latest:data", "--to", "repository/x"];
        let inside = place.recover(restore.into_iter().chain(more.clone()));
        inside.refuses(7, &["repository", "choose another directory"]);
        let restore = ["restore", "latest:data", "--to", "out"];
        place.recover(restore.into_iter().chain(more)).refuses(7, &["not empty"]);
    }
    assert!(!place.path("repository/x").exists());
}

/// Another user reads, renames and plants in a loop while a restore runs into a directory that all may
/// write to.
#[test]
fn a_racing_user_reads_and_changes_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: acting as another user needs root");
        return;
    }
    let place = Place::new();
    for number in 0..300 {
        place.write(&format!("data/d{}/secret{number}", number % 7), b"TOPSECRET");
        let file = place.path(&format!("data/d{}/secret{number}", number % 7));
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    place.back_up();
    fs::set_permissions(place.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["out", "victim", "loot"] {
        fs::create_dir(place.path(name)).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o2777)).unwrap();
    }
    chown(place.path("victim"), Some(0), None).unwrap();
    let script = "while [ -e go ]; do for d in 0 1 2 3 4 5 6; do
        mv out/d$d out/x$d; ln -s ../victim out/d$d; mkdir out/d$d; mv out/d$d/secret* loot/
        cat out/d$d/secret* >> loot/read; ln out/d$d/secret* loot/; rm -f out/d$d out/.backstay-restore
        echo planted > out/a.txt; done; done 2>/dev/null";
    let mut racer = Command::new("sh");
    racer.args(["-c", script]).current_dir(place.path("")).uid(NOBODY).gid(NOBODY);
    place.write("go", b"");
    let mut racing = racer.stdout(Stdio::null()).spawn().unwrap();
    // It begins when it planted something.
    while !place.path("out/a.txt").exists() {
        std::thread::yield_now();
    }
    let restore = ["restore", "latest:data", "--to", "out", "--overwrite", "always"];
    let said = place.recover(restore);
    fs::remove_file(place.path("go")).unwrap();
    racing.wait().unwrap();
    assert!([0, 3, 7].contains(&said.code), "{said:?}");
    assert_eq!(fs::read_dir(place.path("victim")).unwrap().count(), 0, "{said:?}");
    let loot = fs::read_dir(place.path("loot")).unwrap().map(|item| item.unwrap().path());
    for stolen in loot {
        let text = fs::read(&stolen).unwrap();
        let is_owned =
            std::os::unix::fs::MetadataExt::uid(&fs::metadata(&stolen).unwrap()) == NOBODY;
        assert!(is_owned || !text.starts_with(b"TOPSECRET"), "{stolen:?}: {said:?}");
        assert!(stolen.file_name().unwrap() != "read" || text.is_empty(), "{said:?}");
    }
    if said.code == 0 {
        assert_eq!(fs::read(place.path("out/a.txt")).unwrap(), b"alpha\n");
        assert_eq!(fs::read(place.path("out/d3/secret3")).unwrap(), b"TOPSECRET");
    }
}
