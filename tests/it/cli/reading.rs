//! ls, find, diff, cat and stats: that they say what is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

use super::Place;

/// Bytes that do not repeat.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn cat_gives_the_bytes_however_they_are_kept() {
    let place = Place::new();
    let mut table = noise(3 << 20, 1);
    table[65_536..131_072].fill(0);
    table.extend_from_slice(&[9; 100]);
    place.write("data/table", &table);
    place.write("data/big", &noise(6 << 20, 2));
    place.write("data/empty", b"");
    let sparse = File::create(place.path("data/sparse")).unwrap();
    sparse.set_len(9 << 20).unwrap();
    sparse.write_all_at(&noise(70_000, 3), 3 << 20).unwrap();
    File::create(place.path("data/hole")).unwrap().set_len(5 << 20).unwrap();
    let check = |place: &Place, cutter: &str| {
        let cutter = format!("--cutter={cutter}");
        place.run(["backup", "data", &cutter, "--read-all", "--json"]).ok();
        for name in ["table", "big", "empty", "sparse", "hole", "a.txt"] {
            let said = place.recover(["cat", &format!("latest:data/{name}")]).ok();
            let expected = fs::read(place.path("data").join(name)).unwrap();
            assert!(said.stdout == expected, "{name} cut by {cutter}");
        }
    };
    check(&place, "auto");
    check(&place, "pages:8KiB");
    // A few pages more, so that the map becomes one laid over another.
    for page in [3, 77, 300] {
        table[page * 8192..(page + 1) * 8192].copy_from_slice(&noise(8192, page as u64));
    }
    table.extend_from_slice(&noise(20_000, 5));
    place.write("data/table", &table);
    check(&place, "pages:8KiB");
    check(&place, "whole");
    check(&place, "cdc:64KiB");

    let answer = place.recover(["cat", "latest:data/a.txt", "--json"]).ok().json("cat");
    assert_eq!(answer["content_base64"], "YWxwaGEK");
}

#[test]
fn ls_shows_one_level_or_all() {
    let place = Place::new();
    place.write("data/sub-2/c", b"");
    place.write("data/sub/deep/er/d", b"");
    place.back_up();
    let text = |arguments: &[&str]| place.run(arguments).ok().text();
    assert_eq!(text(&["ls", "latest"]), "data/\n");
    assert_eq!(text(&["ls", "latest:data"]), "a.txt\nsub/\nsub-2/\n");
    assert_eq!(text(&["ls", "latest:data/sub"]), "sub/b.txt\nsub/deep/\nsub/link\n");
    assert_eq!(text(&["ls", "latest:data/sub/b.txt"]), "sub/b.txt\n");
    assert_eq!(text(&["ls", "-R", "latest:data/sub/deep"]), "sub/deep/er/\nsub/deep/er/d\n");
    assert_eq!(text(&["ls", "-R", "latest"]).lines().count(), 10);
    let long = text(&["ls", "-l", "latest:data/sub"]);
    let line = long.lines().find(|line| line.contains("link")).unwrap();
    assert!(line.starts_with("lrwxrwxrwx") && line.ends_with("sub/link -> ../a.txt"), "{line}");
    let file = long.lines().next().unwrap();
    assert!(file.starts_with("-rw-") && file.contains(" 4.9 KiB ") && file.contains(" cdc "));
    let answer = place.run(["ls", "latest:data", "--json"]).ok().json("ls");
    assert_eq!(answer["entries"][0]["path"], "a.txt");
    assert_eq!(answer["entries"][0]["size_bytes"], 6);
    assert_eq!(answer["entries"][1]["kind"], "directory");
}

#[test]
fn find_tells_versions_and_where_they_are() {
    let place = Place::new();
    let first = place.back_up();
    let second = place.back_up();
    place.write("data/a.txt", b"longer\n");
    let third = place.back_up();
    let answer = place.run(["find", "*.txt", "--json"]).ok().json("find");
    let rows = answer["found"].as_array().unwrap();
    let seen: Vec<(&str, u64, Vec<&str>)> = rows
        .iter()
        .map(|row| {
            let ids = row["snapshots"].as_array().unwrap();
            let ids = ids.iter().map(|id| id.as_str().unwrap()).collect();
            (row["path"].as_str().unwrap(), row["size_bytes"].as_u64().unwrap(), ids)
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("a.txt", 7, vec![third.as_str()]),
            ("a.txt", 6, vec![second.as_str(), first.as_str()]),
            ("sub/b.txt", 5000, vec![third.as_str(), second.as_str(), first.as_str()]),
        ]
    );
    let text = place.run(["find", "a.txt", "--snapshot", &first]).ok().text();
    assert_eq!(text, "data/a.txt\n");
    assert_eq!(place.run(["find", "sub/*", "-s", "latest:data"]).ok().text().lines().count(), 2);
}

#[test]
fn find_takes_any_case_when_asked_to() {
    let place = Place::new();
    place.write("data/Photos/ÜBER.JPG", b"x");
    place.back_up();
    place.run(["find", "über.jpg"]).refuses(10, &["--ignore-case"]);
    let text = place.run(["find", "--ignore-case", "über.jpg", "-s", "latest"]).ok().text();
    assert_eq!(text, "data/Photos/ÜBER.JPG\n");
    let text = place.run(["find", "-i", "PHOTOS/*", "-s", "latest"]).ok().text();
    assert_eq!(text, "data/Photos/ÜBER.JPG\n");
}

/// Silence could be taken for a search that did not happen.
#[test]
fn find_says_that_it_found_nothing() {
    let place = Place::new();
    place.run(["find", "*"]).refuses(10, &["nothing matches *", "no snapshot"]);
    place.back_up();
    place.back_up();
    let said = place.run(["find", "b.tx"]);
    said.refuses(10, &["nothing matches b.tx in 2 snapshots", "*", "--ignore-case"]);
    assert_eq!(said.text(), "");
    let said = place.run(["find", "b.tx", "--snapshot", "latest:data"]);
    said.refuses(10, &["in 1 snapshot;"]);
    let said = place.run(["find", "b.tx", "--json"]);
    let answer = said.json("find");
    assert_eq!(
        (&answer["found"], &answer["searched_snapshots"]),
        (&serde_json::json!([]), &2.into())
    );
    assert_eq!((said.code, &answer["error"]["class"]), (10, &"missing".into()));
    // What cannot be read may have it.
    let damaged = place.objects("snapshot").into_iter().next().unwrap();
    fs::write(damaged, b"rubbish").unwrap();
    let said = place.run(["find", "b.tx"]);
    assert_ne!(said.code, 10, "{said:?}");
    assert!(said.stderr.contains("cannot be read"), "{said:?}");
}

/// Many files, so that trees have many nodes: what a comparison of all names would find is what diff
/// must find.
#[test]
fn diff_finds_every_difference_in_a_large_tree() {
    let place = Place::new();
    let name = |n: u32| format!("data/d{:02}/f{n:05}", n % 40);
    for n in 0..6000 {
        place.write(&name(n), &n.to_le_bytes());
    }
    let before = place.back_up();
    let mut expected = BTreeMap::new();
    for n in (0..6000).step_by(617) {
        place.write(&name(n), b"something else");
        expected.insert(name(n), "content");
    }
    for n in (100..6000).step_by(1501) {
        fs::remove_file(place.path(&name(n))).unwrap();
        expected.insert(name(n), "removed");
    }
    for n in 7000..7005 {
        place.write(&name(n), b"new");
        expected.insert(name(n), "added");
    }
    for n in 0..300 {
        place.write(&format!("data/e/{n}"), b"more");
        expected.insert(format!("data/e/{n}"), "added");
    }
    let after = place.back_up();
    let found = |a: &str, b: &str| {
        let answer = place.run(["diff", a, b, "--json"]).ok().json("diff");
        let rows = answer["differences"].as_array().unwrap();
        let pair = |row: &serde_json::Value| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            (format!("{}/{}", text("source"), text("path")), text("change"))
        };
        // Directories have new times and come along.
        let is_file = |row: &&serde_json::Value| {
            let side = row.get("after").or(row.get("before")).unwrap();
            side["kind"] == "file"
        };
        rows.iter().filter(is_file).map(pair).collect::<BTreeMap<_, _>>()
    };
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(name, change)| (name, change.to_owned())).collect();
    assert_eq!(found(&before, &after), expected);
    let reversed: Vec<_> = found(&after, &before).into_values().collect();
    assert_eq!(reversed.iter().filter(|change| *change == "removed").count(), 305);
    assert!(found(&after, &after).is_empty());
    let within = found(&format!("{before}:data/d05"), &after);
    let expected_within: BTreeMap<_, _> =
        expected.into_iter().filter(|(name, _)| name.starts_with("data/d05/")).collect();
    assert_eq!(within, expected_within);
}

#[test]
fn diff_tells_kinds_of_change_and_sources_apart() {
    let place = Place::new();
    place.write("data/c", b"c");
    place.run(["backup", "data", "gone=data/sub"]).ok();
    let first = place.run(["snapshots", "--json"]).ok().json("snapshots");
    let first = first["snapshots"][0]["id"].as_str().unwrap().to_owned();
    fs::remove_file(place.path("data/c")).unwrap();
    std::os::unix::fs::symlink("x", place.path("data/c")).unwrap();
    fs::remove_file(place.path("data/sub/link")).unwrap();
    std::os::unix::fs::symlink("elsewhere", place.path("data/sub/link")).unwrap();
    let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(5);
    File::options()
        .write(true)
        .open(place.path("data/a.txt"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    place.run(["backup", "data"]).ok();
    let said = place.run(["diff", &first, "latest", "--job", "data"]).ok();
    let lines: Vec<String> = said.text().lines().map(str::to_owned).collect();
    for line in ["U  data/a.txt", "T  data/c", "M  data/sub/link", "-  gone/b.txt"] {
        assert!(lines.contains(&line.to_owned()), "{line} is not in {lines:?}");
    }
    let answer = place.run(["diff", &first, "latest", "--job", "data", "--json"]).ok().json("diff");
    assert_eq!(answer["counts"]["retyped"], 1);
    let said = place.run(["diff", &format!("{first}:gone"), "latest:data/x", "--job", "data"]);
    said.refuses(2, &["same path"]);
}

#[test]
fn stats_count_what_is_there() {
    let place = Place::new();
    place.back_up();
    place.back_up();
    let answer = place.run(["stats", "--json"]).ok().json("stats");
    assert_eq!(answer["snapshots"], 2);
    assert_eq!(answer["kinds"]["snapshot"]["objects"], 2);
    assert_eq!(answer["restore_bytes"], 2 * 5006);
    let on_disk: u64 = place.objects("").iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert_eq!(answer["stored_bytes"], on_disk);
    assert_eq!(answer["newest"][0]["snapshots"], 2);
}
