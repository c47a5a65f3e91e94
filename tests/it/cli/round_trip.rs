//! There and back again, through every way of naming what is wanted.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;

use super::Place;
use crate::support::tree::{Size, assert_same_tree, make_removable, nasty_tree};

#[test]
fn init_writes_keys_for_their_owner_alone_and_says_which_to_keep_offline() {
    let place = Place::bare();
    let said = place.with_key(None, ["init", "--keys", "new/keys"]).ok();
    for key in ["new/keys/agent.key", "new/keys/recovery.key"] {
        let mode = fs::metadata(place.path(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{key}");
    }
    let text = said.text();
    let offline = text.lines().find(|line| line.contains("OFFLINE")).unwrap();
    assert!(offline.contains("recovery.key"), "{text}");
    assert_eq!(said.stderr, "");
}

#[test]
fn a_nasty_tree_comes_back_as_it_was() {
    let place = Place::new();
    nasty_tree(&place.path("nasty"), 5, Size::SMALL);
    let said = place.run(["backup", "tree=nasty"]);
    assert_eq!(said.code, 0, "{said:?}");
    place.recover(["restore", "latest:tree", "--to", "back"]).ok();
    assert_same_tree(&place.path("nasty"), &place.path("back"));
    let said = place.recover(["restore", "latest", "--to", "whole"]).ok();
    assert!(said.text().contains("restored"), "{said:?}");
    assert_same_tree(&place.path("nasty"), &place.path("whole/tree"));
    // Nothing on a terminal or in a log is a control character, whatever files are called.
    for arguments in
        [vec!["ls", "-R", "latest"], vec!["ls", "-lR", "latest:tree"], vec!["find", "*"]]
    {
        let text = place.run(&arguments).ok().text();
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{arguments:?}");
    }
    for root in ["nasty", "back", "whole"] {
        make_removable(&place.path(root));
    }
}

#[test]
fn each_way_to_name_a_part() {
    let place = Place::new();
    let first = place.back_up();
    place.write("data/a.txt", b"omega\n");
    place.write("other/c.txt", b"gamma\n");
    place.run(["backup", "other"]).ok();
    let second = place.back_up();

    place.recover(["restore", &first[..10], "--to", "r1"]).ok();
    assert_eq!(fs::read(place.path("r1/data/a.txt")).unwrap(), b"alpha\n");
    place
        .recover(["restore", "latest", "--to", "r2"])
        .refuses(2, &["several series", "--job other"]);
    place.recover(["restore", "latest", "--job", "data", "--to", "r2"]).ok();
    assert_eq!(fs::read(place.path("r2/data/a.txt")).unwrap(), b"omega\n");
    place.recover(["restore", "latest:other", "--to", "r3"]).ok();
    assert_eq!(fs::read(place.path("r3/c.txt")).unwrap(), b"gamma\n");
    place.recover(["restore", &format!("{second}:data/sub/"), "--to", "r4"]).ok();
    assert_eq!(fs::read(place.path("r4/b.txt")).unwrap(), [7; 5000]);
    assert!(!place.path("r4/a.txt").exists());
    place.recover(["restore", &format!("{}:data/a.txt", &first[..8]), "--to", "r5"]).ok();
    assert_eq!(fs::read(place.path("r5/a.txt")).unwrap(), b"alpha\n");
    assert_eq!(fs::read_link(place.path("r4/link")).unwrap().as_os_str(), "../a.txt");

    // Over what is there, in each manner.
    fs::write(place.path("r5/a.txt"), b"mine!\n").unwrap();
    let over = |when: &str| {
        let what = format!("{first}:data/a.txt");
        place.recover(["restore", &what, "--to", "r5", "--overwrite", when]).ok();
        fs::read(place.path("r5/a.txt")).unwrap()
    };
    assert_eq!(over("never"), b"mine!\n");
    assert_eq!(over("if-changed"), b"alpha\n");
    fs::write(place.path("r5/more"), b"").unwrap();
    let what = format!("{first}:data");
    let delete = ["restore", &what, "--to", "r5", "--overwrite", "always", "--delete"];
    place.recover(delete).ok();
    assert!(!place.path("r5/more").exists() && place.path("r5/sub/b.txt").exists());
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    place.back_up();
    let answer = place.run(["restore", "latest:data/sub", "--to", "x", "--dry-run", "--json"]).ok();
    let answer = answer.json("restore");
    assert_eq!((&answer["entries"], &answer["files"]), (&3.into(), &1.into()));
    assert_eq!(answer["size_bytes"], 5000);
    assert!(!place.path("x").exists());
}

#[test]
fn global_options_stand_before_or_after() {
    let place = Place::new();
    place.back_up();
    let bare = |arguments: &[&str]| {
        let mut command = super::program(&place.path("."));
        super::said(command.args(arguments)).ok()
    };
    let options = ["-r", "repository", "--key-file", "keys/agent.key", "--cache", "cache"];
    bare(&[&options[..], &["snapshots"]].concat());
    bare(&[&["snapshots"], &options[..]].concat());
}

#[test]
fn a_policy_runs_with_its_own_repository() {
    let place = Place::new();
    place.write("wal/00000001.wal", b"one");
    place.write("wal/00000002.wal", b"two");
    place.write("wal/00000003.wal", b"open");
    place.write(
        "policy.yaml",
        b"apiVersion: backstay.dev/v1\nkind: Policy\nmetadata: {name: nightly}\nspec:\n  \
          repository: ./repository\n  host: node-1\n  labels: {team: storage}\n  sources:\n  \
          - name: data\n    directory: {path: data, exclude: [sub]}\n  - name: log\n    \
          wal: {path: wal, segments: '{number}.wal', closed: allButNewest, directory: data}\n",
    );
    let mut command = place.command();
    command.env("BACKSTAY_REPOSITORY", "/nowhere").args(["run", "policy.yaml", "--json"]);
    let answer = super::said(&mut command).ok().json("run");
    assert_eq!(answer["job"], "nightly");
    assert_eq!(answer["host"], "node-1");
    assert_eq!(answer["labels"]["team"], "storage");
    assert_eq!(answer["sources"][1]["last_segment"], 2);
    assert_eq!(answer["sources"][0]["excluded"], 1);

    let restore = ["restore", "latest:log", "--to", "back", "--until-segment", "1"];
    place.recover(restore).refuses(7, &["may hold writes of segments up to 3", "--log-alone"]);
    let restore = [&restore[..], &["--log-alone", "--json"]].concat();
    let answer = place.recover(restore).ok().json("restore");
    assert_eq!(answer["wal"][0]["last_segment"], 1);
    assert!(place.path("back/00000001.wal").exists() && !place.path("back/00000002.wal").exists());
}

#[test]
fn sources_options_reach_the_source() {
    let place = Place::new();
    place.write("data/x.tmp", b"x");
    place.write("data/y.log", b"y");
    place.write("data/cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
    place.write("data/cache/z", b"z");
    place.write("patterns", b"# logs\n\n*.log\n");
    let arguments = [
        "backup",
        "data",
        "--exclude",
        "*.tmp",
        "--exclude-file",
        "patterns",
        "--exclude-caches",
        "--one-file-system",
        "--pin",
        "--cutter",
        "cdc:64KiB",
        "--job",
        "j",
        "--host",
        "h",
        "--label",
        "k=v",
        "--compression",
        "19",
        "--memory",
        "256MiB",
        "--json",
    ];
    let answer = place.run(arguments).ok().json("backup");
    assert_eq!(answer["sources"][0]["pinned"], true);
    assert_eq!((&answer["job"], &answer["host"]), (&"j".into(), &"h".into()));
    let text = place.run(["ls", "-R", "latest:data"]).ok().text();
    assert_eq!(text, "a.txt\ncache/\ncache/CACHEDIR.TAG\nsub/\nsub/b.txt\nsub/link\n");
}

#[test]
fn names_that_are_no_text_can_be_asked_for() {
    let place = Place::new();
    let name = std::ffi::OsStr::from_bytes(b"data/n\xff");
    fs::write(place.path("").join(name), b"bytes").unwrap();
    place.back_up();
    let mut command = place.command();
    command.env("BACKSTAY_KEY_FILE", "keys/recovery.key").arg("cat");
    command.arg(std::ffi::OsStr::from_bytes(b"latest:data/n\xff"));
    assert_eq!(super::said(&mut command).ok().stdout, b"bytes");
    let answer = place.run(["find", "n*", "--json"]).ok().json("find");
    assert_eq!(answer["found"][0]["path_base64"], "bv8=");
    assert!(place.run(["ls", "latest:data"]).ok().text().contains("$'n\\xff'"));
}

#[test]
fn a_passphrase_alone_opens_everything() {
    let place = Place::bare();
    place.write("data/a", b"a");
    let with_passphrase = |passphrase: &str, arguments: &[&str]| {
        let mut command = place.command();
        command.env_remove("BACKSTAY_KEY_FILE").env("BACKSTAY_PASSPHRASE", passphrase);
        super::said(command.args(arguments))
    };
    with_passphrase("correct horse", &["init", "--passphrase", "--keys", "keys"]).ok();
    assert!(!place.path("keys/recovery.key").exists());
    place.run(["backup", "data"]).ok();
    let said = with_passphrase("correct horse", &["cat", "latest:data/a"]).ok();
    assert_eq!(said.stdout, b"a");
    let said = with_passphrase("wrong horse", &["cat", "latest:data/a"]);
    said.refuses(9, &["the passphrase does not open", "repository"]);
    assert!(!said.stderr.contains("horse"));
}
