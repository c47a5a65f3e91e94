//! `backup -`: what comes from a pipe is stored whole, or there is no snapshot.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use super::{Place, Said, run_until, said};

fn pipe(place: &Place, bytes: impl Into<Vec<u8>>, arguments: &[&str]) -> Said {
    let mut command = place.command();
    said(command.arg("backup").args(arguments).write_stdin(bytes))
}

/// How many objects of a kind the repository has.
fn count(place: &Place, kind: &str) -> usize {
    if place.path("repository").join(kind).exists() { place.objects(kind).len() } else { 0 }
}

fn snapshots(place: &Place) -> usize {
    count(place, "snapshot")
}

#[test]
fn a_dump_comes_back_as_it_was_piped() {
    let place = Place::new();
    // Longer than any piece that is read at once, and not a multiple of anything.
    let dump: Vec<u8> =
        (0..3_000_001_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    pipe(&place, dump.clone(), &["-", "--stdin-name", "shop.sql"]).ok();
    place.recover(["restore", "latest:shop.sql", "--to", "r"]).ok();
    assert!(fs::read(place.path("r/shop.sql")).unwrap() == dump);
    let mode = fs::metadata(place.path("r/shop.sql")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let text = place.run(["ls", "-l", "latest:shop.sql"]).ok().text();
    assert!(text.contains("11.4 MiB") && text.contains("cdc 64 KiB"), "{text}");
    // The same again is in the repository already, with a little in front of it too.
    let answer = pipe(
        &place,
        [b"x".as_slice(), &dump].concat(),
        &["-", "--stdin-name", "shop.sql", "--json"],
    );
    let answer = answer.ok().json("backup");
    assert_eq!(answer["read_bytes"], dump.len() + 1);
    assert!(answer["new_bytes"].as_u64().unwrap() < 1 << 20, "{answer}");
    place.recover(["check", "--read-data"]).ok();
}

#[test]
fn a_pipe_is_a_source_among_others() {
    let place = Place::new();
    let answer = pipe(&place, "dump", &["data", "db=-", "--stdin-name", ".hidden", "--json"]).ok();
    let answer = answer.json("backup");
    assert_eq!(answer["sources"].as_array().unwrap().len(), 2);
    assert_eq!(place.recover(["cat", "latest:db/.hidden"]).ok().stdout, b"dump");
    pipe(&place, "small", &["-"]).ok();
    assert_eq!(place.recover(["cat", "latest:stdin/stdin"]).ok().stdout, b"small");
    // A file of that name is a file.
    place.write("-", b"file");
    pipe(&place, "small", &["dash=./-"]).ok();
    assert_eq!(place.recover(["cat", "latest:dash/-"]).ok().stdout, b"file");
}

#[test]
fn a_pipe_that_fails_or_ends_early_makes_no_snapshot() {
    let place = Place::new();
    pipe(&place, "", &["-"]).refuses(4, &["standard input: is empty", "--allow-empty"]);
    pipe(&place, "", &["data", "-"]).refuses(4, &["source stdin", "is empty"]);
    pipe(&place, "cut o", &["-", "--stdin-least-bytes", "6"])
        .refuses(4, &["ended after 5 bytes", "at least 6"]);
    assert_eq!(snapshots(&place), 0);
    pipe(&place, "", &["-", "--allow-empty"]).ok();
    pipe(&place, "enough", &["-", "--stdin-least-bytes", "6"]).ok();
    assert_eq!(snapshots(&place), 2);
    // It cannot be read: a directory in a pipe's place.
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("backstay"));
    command.args(["-r", "repository", "--key-file", "keys/agent.key", "backup", "-"]);
    command.current_dir(place.path(".")).stdin(fs::File::open(place.path("data")).unwrap());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("cannot be read on after byte 0"), "{stderr}");
    assert_eq!(snapshots(&place), 2);
}

/// A program before the pipe may pause as long as it likes, and a pipe may have been made not to wait.
#[test]
fn a_slow_pipe_is_waited_for() {
    let place = Place::new();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
    rustix::fs::fcntl_setfl(&reader, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("backstay"))
        .args(["-r", "repository", "--key-file", "keys/agent.key", "backup", "-"])
        .current_dir(place.path("."))
        .stdin(reader)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has begun to read, or will: then it waits for more.
    run_until(&mut child, || count(&place, "session") > 0);
    writer.write_all(b"first ").unwrap();
    writer.write_all(b"second").unwrap();
    drop(writer);
    assert!(child.wait().unwrap().success());
    assert_eq!(place.recover(["cat", "latest:stdin/stdin"]).ok().stdout, b"first second");
}

#[test]
fn what_a_pipe_cannot_do_is_refused() {
    let place = Place::new();
    for (arguments, words) in [
        (vec!["-", "x=-"], vec!["once"]),
        (vec!["-", "--dry-run"], vec!["dry run", "leave - out"]),
        (vec!["-", "--files-from", "-"], vec!["list and a file"]),
        (vec!["-", "--files-from", "list"], vec!["none below"]),
        (vec!["-", "--stdin-name", "a/b"], vec!["a/b", "without a slash"]),
        (vec!["-", "--stdin-name", ".x"], vec![".x", "NAME=-"]),
        (vec!["-", "--stdin-name", ""], vec!["--stdin-name"]),
        (vec!["-", "--cutter", "pages:8KiB"], vec!["cut by its content"]),
        (vec!["data", "--stdin-least-bytes", "1"], vec!["path -"]),
        (vec!["data", "--stdin-name", "x"], vec!["path -"]),
    ] {
        pipe(&place, "x", &arguments).refuses(2, &words);
    }
    assert_eq!(snapshots(&place), 0);
}
