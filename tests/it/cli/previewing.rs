//! `backup --dry-run`: what it says is what a backup does, and it does nothing itself.

use std::fs;

use serde_json::Value;

use super::Place;

fn dry(place: &Place, arguments: &[&str]) -> Value {
    let before = place.objects("");
    let said = place.run(["backup", "--dry-run", "--json"].iter().chain(arguments)).ok();
    assert_eq!(place.objects(""), before, "nothing is written to the repository");
    said.json("backup")
}

fn paths(answer: &Value, change: &str) -> Vec<String> {
    let rows = answer["changes"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["change"] == change);
    rows.map(|row| format!("{}/{}", row["source"].as_str().unwrap(), row["path"].as_str().unwrap()))
        .collect()
}

#[test]
fn a_dry_run_tells_what_is_new_and_what_has_changed() {
    let place = Place::new();
    let answer = dry(&place, &["data"]);
    assert_eq!(answer["dry_run"], true);
    assert_eq!(answer["parent"], Value::Null);
    assert_eq!(
        paths(&answer, "new"),
        ["data/a.txt", "data/sub", "data/sub/b.txt", "data/sub/link"]
    );
    assert_eq!((&answer["new_files"], &answer["new_file_bytes"]), (&2.into(), &5006.into()));

    let first = place.back_up();
    place.write("data/a.txt", b"longer\n");
    place.write("data/new/c.txt", b"gamma");
    place.write("data/x.tmp", b"tmp");
    fs::remove_file(place.path("data/sub/b.txt")).unwrap();
    let answer = dry(&place, &["data", "--exclude", "*.tmp"]);
    assert_eq!(answer["parent"], first);
    assert_eq!(paths(&answer, "new"), ["data/new", "data/new/c.txt"]);
    assert_eq!(paths(&answer, "changed"), ["data/a.txt"]);
    assert_eq!((&answer["new_files"], &answer["new_file_bytes"]), (&1.into(), &5.into()));
    assert_eq!((&answer["changed_files"], &answer["changed_file_bytes"]), (&1.into(), &7.into()));
    assert_eq!(answer["excluded"], 1);

    let text = place.run(["backup", "--dry-run", "data", "--exclude", "*.tmp"]).ok().text();
    assert!(
        text.starts_with("M  data/a.txt  7 B\n+  data/new/\n+  data/new/c.txt  5 B\n"),
        "{text}"
    );
    assert!(text.contains("nothing was stored") && text.contains(&first[..8]), "{text}");

    // The backup does what was said.
    let done = place.run(["backup", "data", "--exclude", "*.tmp", "--json"]).ok().json("backup");
    assert_eq!(done["parent"], first);
    for key in ["new_files", "changed_files"] {
        assert_eq!(done[key], answer[key], "{key}");
    }
    assert_eq!(done["sources"][0]["entries"], answer["entries"]);
}

/// As far as it can know without reading.
#[test]
fn a_dry_run_ends_as_the_backup_would() {
    let place = Place::new();
    place.run(["backup", "--dry-run", "missing"]).refuses(4, &["missing", "No such file"]);
    place.run(["backup", "--dry-run", "data", "data"]).refuses(2, &["two sources"]);
    place.run(["backup", "--dry-run", "data", "--exclude", "[a"]).refuses(2, &["[a"]);
    place.back_up();
    fs::remove_dir_all(place.path("data")).unwrap();
    fs::create_dir(place.path("data")).unwrap();
    place.run(["backup", "--dry-run", "data"]).refuses(4, &["is empty", "mounted"]);
    place.run(["backup", "--dry-run", "data", "--allow-empty"]).ok();
    let mut command = place.command();
    command.env("BACKSTAY_REPOSITORY", "nowhere").args(["backup", "--dry-run", "data"]);
    super::said(&mut command).refuses(10, &["nowhere"]);
}
