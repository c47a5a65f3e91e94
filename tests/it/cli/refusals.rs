//! Bad input: each gets one line with cause, place and remedy, and its own exit code.

use std::fs;

use super::Place;

#[test]
fn what_is_missing_on_the_command_line() {
    let place = Place::new();
    let mut bare = super::program(&place.path("."));
    super::said(bare.arg("snapshots")).refuses(2, &["no repository", "BACKSTAY_REPOSITORY"]);
    place.with_key(None, ["snapshots"]).refuses(2, &["no key", "--key-file"]);
    place.with_key(Some("gone.key"), ["snapshots"]).refuses(2, &["gone.key", "No such file"]);
    place.with_key(Some("data"), ["snapshots"]).refuses(2, &["data", "is a directory"]);
    place.run(["backup"]).refuses(2, &["PATH", "backstay backup --help"]);
    place.run(["bakup"]).refuses(2, &["bakup", "backup"]);
    place.run(["backup", "--memory", "1", "data"]).refuses(2, &["at least 184MiB"]);
    place.run(["backup", "--cutter", "pages:5KiB", "data"]).refuses(2, &["power of two"]);
    place.run(["restore", "latest", "--to", "x", "--delete"]).refuses(2, &["--overwrite"]);
    let said = place.run(["init", "--passphrase=hunter2", "--keys", "k"]);
    said.refuses(2, &["BACKSTAY_PASSPHRASE"]);
    assert!(!said.stderr.contains("hunter2"));
    place.run(["init", "--passphrase", "--keys", "k"]).refuses(2, &["BACKSTAY_PASSPHRASE_FILE"]);
    place.run(["init", "--recipient", "bob", "--keys", "k"]).refuses(2, &["bob", "age1"]);
    assert!(!place.path("k").exists());
}

#[test]
fn keys_that_do_not_fit() {
    let place = Place::new();
    place.with_key(None, ["init", "-r", "other", "--keys", "others"]).ok();
    let wrong = place.with_key(Some("others/recovery.key"), ["snapshots"]);
    wrong.refuses(9, &["does not open", "repository", "another repository"]);
    let foreign = place.with_key(Some("others/agent.key"), ["snapshots"]);
    foreign.refuses(9, &["belongs to repository", "repository"]);
    place.write("torn.key", &fs::read(place.path("keys/agent.key")).unwrap()[..200]);
    let torn = place.with_key(Some("torn.key"), ["snapshots", "--log", "off"]);
    torn.refuses(2, &["spoiled"]);
    let said = place.with_key(Some("data/a.txt"), ["snapshots", "--log", "error"]);
    said.refuses(2, &["data/a.txt is not a key file"]);
    place.back_up();
    place.run(["cat", "latest:data/a.txt"]).refuses(9, &["recovery key"]);
    place.run(["restore", "latest", "--to", "x"]).refuses(9, &["recovery key"]);
    assert!(!place.path("x").exists());
}

#[test]
fn key_files_that_all_can_read_are_mentioned() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    fs::set_permissions(place.path("keys/agent.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = place.run(["snapshots"]).ok();
    assert!(said.stderr.contains("WARN") && said.stderr.contains("chmod 600"), "{said:?}");
}

#[test]
fn places_that_are_no_repository() {
    let place = Place::new();
    let at = |url: &str| place.run(["-r", url, "snapshots"]);
    at("nowhere").refuses(10, &["nowhere", "does not exist"]);
    at("data").refuses(10, &["data", "not a Backstay repository", "backstay init"]);
    at("data/a.txt").refuses(2, &["data/a.txt", "it is a file"]);
    at("rest:host").refuses(2, &["supported are"]);
    let said = at("rest:https://user:hunter2@host/");
    said.refuses(2, &["password"]);
    assert!(!said.stderr.contains("hunter2"));
    at("b2:bucket").refuses(2, &["two slashes"]);
    let said = place.with_key(None, ["init", "-r", "no/where/at/all", "--keys", "k"]);
    said.refuses(2, &["no/where", "does not exist"]);
    assert!(!place.path("k/agent.key").exists(), "keys to nothing are taken back");
}

#[test]
fn init_overwrites_nothing() {
    let place = Place::new();
    let before = fs::read(place.path("keys/agent.key")).unwrap();
    place.with_key(None, ["init", "-r", "new", "--keys", "keys"]).refuses(7, &["keys/agent.key"]);
    assert!(!place.path("new").exists(), "no repository without its keys");
    assert_eq!(fs::read(place.path("keys/agent.key")).unwrap(), before);
    place.with_key(None, ["init", "--keys", "more"]).refuses(7, &["already"]);
    assert!(!place.path("more/agent.key").exists());
}

#[test]
fn sources_that_fail() {
    let place = Place::new();
    let missing = place.run(["backup", "data", "gone"]);
    missing.refuses(4, &["source gone", "No such file"]);
    assert_eq!(place.run(["snapshots"]).ok().text(), "no snapshots\n");
    place.run(["backup", "data", "x/data"]).refuses(2, &["two sources are called \"data\""]);
    place.run(["backup", ".x=data"]).refuses(2, &[".x", "name of a source"]);
    place.run(["backup", "/"]).refuses(2, &["NAME=/"]);
    place.run(["backup", "data", "--exclude", "["]).refuses(2, &["pattern"]);

    place.back_up();
    fs::rename(place.path("data"), place.path("unmounted")).unwrap();
    fs::create_dir(place.path("data")).unwrap();
    place.run(["backup", "data"]).refuses(4, &["is empty", "--allow-empty"]);
    fs::create_dir(place.path("data/lost+found")).unwrap();
    place.run(["backup", "data"]).refuses(4, &["is empty"]);
    place.run(["backup", "data", "--allow-empty"]).ok();
}

#[test]
fn policies_with_a_mistake_say_where() {
    let place = Place::new();
    place.write(
        "p.yaml",
        b"apiVersion: backstay.dev/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  \
          sources: [{name: a, directory: {path: data}}]\n  retries: 3\n",
    );
    place.run(["run", "p.yaml"]).refuses(2, &["p.yaml:6:3", "retries", "unknown key"]);
    place.run(["run", "q.yaml"]).refuses(2, &["q.yaml", "cannot read the policy"]);
}

#[test]
fn snapshots_that_cannot_be_meant() {
    let place = Place::new();
    place.run(["ls", "latest"]).refuses(10, &["latest", "no snapshot yet"]);
    let mut ids = vec![place.back_up()];
    // Seventeen ids have two that begin alike; mostly fewer do.
    let twice = loop {
        let id = place.back_up();
        if let Some(twin) = ids.iter().find(|other| other[..1] == id[..1]) {
            break twin[..1].to_owned();
        }
        ids.push(id);
    };
    place.run(["ls", &twice]).refuses(10, &["more than one", "more digits"]);
    place.run(["ls", "ffffffffffff"]).refuses(10, &["no such snapshot", "backstay snapshots"]);
    place.run(["ls", "yesterday"]).refuses(10, &["yesterday", "not an id"]);
    place.run(["ls", "latest:nothing"]).refuses(10, &["latest:nothing", "source of this name"]);
    let id = &ids[0];
    place.run(["ls", &format!("{id}:nothing")]).refuses(10, &["no source", "data"]);
    place.run(["ls", &format!("{id}:data/x/y")]).refuses(10, &["x/y", "no such path"]);
    place.run(["ls", "latest:data/../x"]).refuses(2, &["cannot be"]);
    let to = ["--to", "y"];
    let nowhere = place.recover(["restore", "latest:data/x"].iter().chain(&to));
    nowhere.refuses(10, &["data/x"]);
    place.recover(["cat", "latest:data"]).refuses(2, &["name one file"]);
    place.recover(["cat", "latest:data/sub"]).refuses(10, &["is a directory"]);
    place.recover(["cat", "latest:data/sub/link"]).refuses(10, &["no regular file"]);
    place.run(["find", "[a"]).refuses(2, &["[a", "not valid"]);
}

#[test]
fn destinations_that_hold_something() {
    let place = Place::new();
    place.back_up();
    place.write("full/mine", b"mine");
    let said = place.recover(["restore", "latest", "--to", "full"]);
    said.refuses(7, &["full", "mine", "--overwrite"]);
    place.recover(["restore", "latest", "--to", "data/a.txt"]).refuses(2, &["data/a.txt"]);
}
