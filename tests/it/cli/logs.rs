//! Logs and series through the program: whose data is taken, how far a replay gets, and what is refused.

use std::fs;

use serde_json::Value;

use super::{Place, Said};

/// A policy of a log, and of a directory that it is replayed into.
fn policy(place: &Place, host: &str, segments: &str, more: &str) {
    let text = format!(
        "apiVersion: backstay.dev/v1\nkind: Policy\nmetadata: {{name: engine}}\nspec:\n  \
         repository: repository\n  host: {host}\n  sources:\n    - {{name: wal, wal: {{path: {host}, \
         segments: '{segments}', closed: allButNewest, settle: 0s}}}}\n{more}"
    );
    place.write(&format!("{host}.yaml"), text.as_bytes());
    fs::create_dir_all(place.path(host)).unwrap();
}

fn write(place: &Place, host: &str, life: &str, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let path = format!("{host}/{number}.wal");
        if !place.path(&path).exists() {
            place.write(&path, format!("{life} {number}").as_bytes());
        }
    }
}

fn empty(place: &Place, host: &str) {
    for entry in fs::read_dir(place.path(host)).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

fn run(place: &Place, host: &str) -> Said {
    place.run(["run".to_owned(), format!("{host}.yaml")])
}

/// Ids of snapshots, oldest first.
fn ids(place: &Place) -> Vec<String> {
    let answer = place.run(["snapshots", "--json"]).ok().json("snapshots");
    let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
    answer["snapshots"].as_array().unwrap().iter().map(id).collect()
}

fn texts(place: &Place, directory: &str) -> Vec<String> {
    let mut numbers: Vec<u64> = fs::read_dir(place.path(directory))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".wal")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    let path = |number: u64| place.path(&format!("{directory}/{number}.wal"));
    numbers.into_iter().map(|number| fs::read_to_string(path(number)).unwrap()).collect()
}

fn lives(life: &str, numbers: std::ops::RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|number| format!("{life} {number}")).collect()
}

/// Replicas share a policy and differ in their host: nothing of one is ever taken for the other's.
#[test]
fn replicas_are_series_of_their_own() {
    let place = Place::new();
    for host in ["engine-0", "engine-1"] {
        policy(&place, host, "{number}.wal", "");
    }
    write(&place, "engine-0", "zero", 1..=4);
    run(&place, "engine-0").ok();
    write(&place, "engine-1", "one", 1..=7);
    run(&place, "engine-1").ok();
    write(&place, "engine-0", "zero", 5..=8);
    run(&place, "engine-0").ok();
    let first = ids(&place).remove(0);
    let what = format!("{first}:wal");
    let said = place.recover(["restore", &what, "--to", "out", "--with-later-segments"]).ok();
    assert_eq!(texts(&place, "out"), lives("zero", 1..=7));
    assert!(said.text().contains("of job engine on host engine-0"), "{}", said.text());
    // The latest of two is never guessed.
    let choices = ["--host engine-0 --job engine", "--host engine-1 --job engine"];
    for command in
        [vec!["ls", "latest"], vec!["ls", "latest:wal"], vec!["find", "x", "-s", "latest"]]
    {
        place.run(&command).refuses(2, &choices);
    }
    place.recover(["restore", "latest:wal", "--to", "no"]).refuses(2, &choices);
    place.recover(["restore", "latest:wal", "--host", "engine-1", "--to", "one"]).ok();
    assert_eq!(texts(&place, "one"), lives("one", 1..=6));
    place.run(["ls", "latest", "--host", "engine-2"]).refuses(10, &["no snapshot of this host"]);
    place.run(["ls", &first, "--host", "engine-1"]).refuses(10, &["engine-0"]);
}

/// The volume is lost and the engine begins anew: the second life is another timeline by itself, said once.
#[test]
fn two_lives_are_never_joined() {
    let place = Place::new();
    policy(&place, "h", "{number}.wal", "");
    write(&place, "h", "first", 1..=6);
    run(&place, "h").ok();
    empty(&place, "h");
    write(&place, "h", "second", 1..=3);
    let said = run(&place, "h");
    said.refuses(3, &["1 problem"]);
    assert!(said.text().contains("a new timeline begins"), "{said:?}");
    write(&place, "h", "second", 4..=9);
    run(&place, "h").ok();
    let all = ids(&place);
    for (id, expected) in [(&all[0], lives("first", 1..=5)), (&all[1], lives("second", 1..=8))] {
        let (what, to) = (format!("{id}:wal"), format!("out-{id}"));
        place.recover(["restore", &what, "--to", &to, "--with-later-segments"]).ok();
        assert_eq!(texts(&place, &to), expected);
    }
    let shown = place.run(["snapshots"]).ok().text();
    assert!(shown.contains("segments 1 to 5") && shown.contains("timeline"), "{shown}");
    let listed = place.run(["ls", &all[0], "--json"]).ok().json("ls");
    assert_eq!(listed["entries"][0]["wal"]["last_segment"], 5);
}

/// Less than was asked for is said, by the dry run too; nothing of it is refused.
#[test]
fn how_far_a_replay_gets_is_said() {
    let place = Place::new();
    policy(&place, "h", "{number}.wal", "");
    write(&place, "h", "life", 1..=4);
    run(&place, "h").ok();
    empty(&place, "h");
    write(&place, "h", "life", 9..=11);
    let said = run(&place, "h");
    said.refuses(3, &["1 problem"]);
    assert!(said.text().contains("segments 4 to 8 are missing: deleted before"), "{said:?}");
    let first = ids(&place).remove(0);
    let what = format!("{first}:wal");
    let target = |to: &'static str, until: &'static str, more: &[&'static str]| {
        let mut words = vec!["restore", &what, "--to", to, "--until-segment", until];
        words.extend(more);
        place.recover(words)
    };
    for more in [&["--with-later-segments", "--dry-run"][..], &["--with-later-segments"]] {
        target("a", "9999", more).refuses(3, &["ends with segment 3, though 9999 was asked for"]);
    }
    assert_eq!(texts(&place, "a"), lives("life", 1..=3));
    target("b", "8", &[]).refuses(3, &["--with-later-segments looks for more"]);
    target("c", "2.wal", &[]).ok();
    assert_eq!(texts(&place, "c"), lives("life", 1..=2));
    target("d", "x", &[]).refuses(2, &["no segment of this log", "{number}.wal"]);
    place
        .recover(["restore", "latest:wal", "--to", "e", "--until-segment", "5"])
        .refuses(10, &["segment 5"]);
    assert!(!place.path("e").exists());
}

/// What lies beyond the target would be replayed too: it goes, or the restore is refused.
#[test]
fn nothing_beyond_the_target_is_left() {
    let place = Place::new();
    policy(&place, "h", "{number}.wal", "");
    write(&place, "h", "write", 1..=7);
    run(&place, "h").ok();
    let target = |to: &'static str, more: &[&'static str]| {
        for number in 1..=7 {
            let text = format!("write {number}");
            place.write(&format!("{to}/{number}.wal"), text.as_bytes());
        }
        let mut words = vec!["restore", "latest:wal", "--to", to, "--until-segment", "4"];
        words.extend(more);
        place.recover(words)
    };
    for overwrite in ["if-changed", "always", "never"] {
        target("kept", &["--overwrite", overwrite]).refuses(7, &["an engine would replay it"]);
        target("kept", &["--overwrite", overwrite, "--dry-run"]).refuses(7, &["replay"]);
    }
    assert_eq!(texts(&place, "kept"), lives("write", 1..=7));
    let said = target("live", &["--overwrite", "always", "--delete"]).ok();
    assert!(said.text().contains("3 removed"), "{said:?}");
    assert_eq!(texts(&place, "live"), lives("write", 1..=4));
}

/// Tables that hold a write cannot be taken back before it: the snapshot to take is named.
#[test]
fn a_target_before_the_tables_is_refused() {
    let place = Place::new();
    let tables = "    - {name: data, directory: {path: db}}\n";
    policy(&place, "h", "{number}.wal", tables);
    place.write("db/table", b"checkpointed to 3");
    write(&place, "h", "write", 1..=4);
    run(&place, "h").ok();
    place.write("db/table", b"checkpointed to 8: has the bad write of 7");
    write(&place, "h", "write", 5..=9);
    run(&place, "h").ok();
    let early = ids(&place).remove(0);
    let until = |what: &str, to: &str, more: &[&str]| {
        let mut words = vec!["restore", what, "--to", to, "--until-segment", "6"];
        words.extend(more);
        place.recover(words)
    };
    for what in ["latest", "latest:wal"] {
        let remedy = format!("take snapshot {}", &early[..8]);
        until(what, "out", &[]).refuses(7, &["up to 9", &remedy]);
        until(what, "out", &["--dry-run"]).refuses(7, &["up to 9", &remedy]);
    }
    assert!(!place.path("out").exists());
    until(&early, "out", &["--with-later-segments"]).ok();
    assert_eq!(texts(&place, "out/wal"), lives("write", 1..=6));
    assert_eq!(fs::read(place.path("out/data/table")).unwrap(), b"checkpointed to 3");
    until("latest:wal", "log", &["--log-alone"]).ok();
    assert_eq!(texts(&place, "log"), lives("write", 1..=6));
}

/// Numbers are given as names have them, and `PostgreSQL`'s names have no gap where a log file ends.
#[test]
fn numbers_are_those_of_the_names() {
    let place = Place::new();
    policy(&place, "h", "00000001{number:postgresql}", "");
    for number in ["00000000000000FE", "00000000000000FF", "0000000100000000", "0000000100000001"] {
        place.write(&format!("h/00000001{number}"), b"wal");
    }
    run(&place, "h").ok();
    let what = ["restore", "latest:wal", "--to", "out", "--until-segment"];
    place.recover([&what[..], &["0000000100000000000000FF"]].concat()).ok();
    assert_eq!(fs::read_dir(place.path("out")).unwrap().count(), 3);
}

/// An empty log is named, and the directory beside it is backed up all the same.
#[test]
fn an_empty_log_takes_nothing_down() {
    let place = Place::new();
    policy(&place, "h", "{number}.wal", "    - {name: data, directory: {path: data}}\n");
    run(&place, "h").refuses(3, &["1 problem"]);
    assert!(place.run(["ls", "latest:data"]).ok().text().contains("a.txt"));
    let text = fs::read_to_string(place.path("h.yaml")).unwrap();
    let text = text.replace("settle: 0s", "settle: 0s, allowEmpty: true");
    place.write("h.yaml", text.as_bytes());
    run(&place, "h").ok();
}

/// All is read again, and what is as it was is neither new nor another life.
#[test]
fn reading_all_again_sees_a_rewritten_segment() {
    let place = Place::new();
    policy(&place, "h", "{number}.wal", "");
    write(&place, "h", "life", 1..=4);
    run(&place, "h").ok();
    let again = place.run(["run", "h.yaml", "--read-all", "--json"]).ok().json("run");
    assert_eq!((&again["new_files"], &again["changed_files"]), (&0.into(), &0.into()));
    assert_eq!(again["read_files"], 4, "three segments and the marker");
    place.write("h/2.wal", b"LIFE 2");
    let said = place.run(["run", "h.yaml", "--read-all"]);
    said.refuses(3, &["1 problem", "2.wal"]);
}
