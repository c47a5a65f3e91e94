//! `restore --include` and `--exclude`: what is asked for comes back, and nothing else is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::Place;

/// A place with a small server's files in a snapshot.
fn server() -> Place {
    let place = Place::new();
    for (name, text) in [
        ("server/etc/app.conf", "app"),
        ("server/etc/private/key", "key"),
        ("server/log/today.log", "today"),
        ("server/log/deep/er/old.log", "old"),
        ("server/notes", "notes"),
    ] {
        place.write(name, text.as_bytes());
    }
    let mode = fs::Permissions::from_mode(0o750);
    fs::set_permissions(place.path("server/log/deep"), mode).unwrap();
    place.run(["backup", "server"]).ok();
    place
}

/// Every name below a directory, in order; directories with a slash.
fn names(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![top.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            if path.is_dir() {
                found.push(name + "/");
                directories.push(path);
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn an_include_comes_back_with_the_directories_that_hold_it() {
    let place = server();
    place.recover(["restore", "latest:server", "--to", "r", "--include", "old.log"]).ok();
    assert_eq!(
        names(&place.path("r")),
        ["log/", "log/deep/", "log/deep/er/", "log/deep/er/old.log"]
    );
    let mode = fs::metadata(place.path("r/log/deep")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);
    let modified = |path: &str| fs::metadata(place.path(path)).unwrap().modified().unwrap();
    assert_eq!(modified("r/log/deep/er"), modified("server/log/deep/er"));
    // A directory stands for all that is in it, unless it is taken back.
    let arguments =
        ["restore", "latest", "--to", "s", "--include", "/log/", "--include", "!today.log"];
    place.recover(arguments).ok();
    assert_eq!(
        names(&place.path("s")),
        [
            "server/",
            "server/log/",
            "server/log/deep/",
            "server/log/deep/er/",
            "server/log/deep/er/old.log"
        ]
    );
}

#[test]
fn an_exclude_stays_away_with_all_that_is_in_it() {
    let place = server();
    let arguments =
        ["restore", "latest:server", "--to", "r", "--exclude", "log", "--exclude", "/etc/app*"];
    place.recover(arguments).ok();
    assert_eq!(names(&place.path("r")), ["etc/", "etc/private/", "etc/private/key", "notes"]);
    let arguments =
        ["restore", "latest:server/etc", "--to", "s", "--include", "/etc", "--exclude", "private/"];
    place.recover(arguments).ok();
    assert_eq!(names(&place.path("s")), ["app.conf"]);
}

#[test]
fn a_dry_run_counts_what_a_restore_restores() {
    let place = server();
    for patterns in [
        vec![],
        vec!["--include", "*.log"],
        vec!["--exclude", "log/"],
        vec!["--include", "etc/", "--exclude", "key"],
    ] {
        let base = ["restore", "latest:server", "--to", "r", "--json"];
        let dry = place.recover(base.iter().chain(&["--dry-run"]).chain(&patterns)).ok();
        let dry = dry.json("restore");
        assert!(!place.path("r").exists());
        let done = place.recover(base.iter().chain(&patterns)).ok().json("restore");
        for key in ["entries", "files"] {
            assert_eq!(dry[key], done[key], "{patterns:?}");
        }
        assert_eq!(dry["size_bytes"], done["written_bytes"], "{patterns:?}");
        fs::remove_dir_all(place.path("r")).unwrap();
    }
}

#[test]
fn a_pattern_that_matches_nothing_is_said() {
    let place = server();
    let restore = |patterns: &[&str]| {
        let base = ["restore", "latest:server", "--to", "r"];
        place.recover(base.iter().chain(patterns))
    };
    restore(&["--include", "etx/"]).refuses(10, &["--include", "backstay find"]);
    restore(&["--include", "etx/", "--dry-run"]).refuses(10, &["--include", "backstay find"]);
    // Nothing is left that keeps a right command from running.
    let said = restore(&["--include", "etx/", "--include", "notes"]);
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.stderr.contains("1 include pattern matched nothing, first etx/"), "{said:?}");
    assert_eq!(names(&place.path("r")), ["notes"]);
    restore(&["--include", "[a"]).refuses(2, &["include pattern \"[a\"", "not valid"]);
    restore(&["--exclude", ""]).refuses(2, &["exclude pattern \"\"", "matches nothing"]);
}

/// A log of which a part is missing cannot be replayed.
#[test]
fn a_log_is_not_taken_apart() {
    let place = server();
    place.write("wal/1.wal", b"one");
    place.write("wal/2.wal", b"open");
    place.write(
        "policy.yaml",
        b"apiVersion: backstay.dev/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  repository: \
          ./repository\n  sources:\n  - name: data\n    directory: {path: data}\n  - name: log\n    \
          wal: {path: wal, segments: '{number}.wal', closed: allButNewest, directory: data}\n",
    );
    place.run(["run", "policy.yaml"]).ok();
    for dry in [&[][..], &["--dry-run"]] {
        let arguments = ["restore", "latest", "--job", "p", "--to", "r", "--exclude", "2*"];
        place.recover(arguments.iter().chain(dry)).refuses(2, &["source log is a WAL"]);
    }
    assert!(!place.path("r").exists());
    let arguments = ["restore", "latest:data", "--job", "p", "--to", "r", "--exclude", "sub"];
    place.recover(arguments).ok();
    assert_eq!(names(&place.path("r")), ["a.txt"]);
}

/// What the patterns leave out stays, be it in the snapshot or not, and so does a directory that they do
/// not name.
#[test]
fn delete_removes_only_what_the_patterns_select() {
    let place = server();
    let fill = || {
        drop(fs::remove_dir_all(place.path("r")));
        for name in
            ["log/x.log", "log/mine", "log/deep/er/y.log", "etc/z.log", "q/a.log", "w.log/v"]
        {
            place.write(&format!("r/{name}"), b"mine");
        }
    };
    let restore = |patterns: &[&str]| {
        let base = ["restore", "latest:server", "--to", "r", "--overwrite", "always", "--delete"];
        let dry = place.recover(base.iter().chain(patterns).chain(&["--dry-run", "--json"])).ok();
        let done = place.recover(base.iter().chain(patterns).chain(&["--json"])).ok();
        let removed = dry.json("restore")["removed"].clone();
        assert_eq!(removed, done.json("restore")["removed"], "{patterns:?}");
        names(&place.path("r")).join(" ")
    };
    fill();
    assert_eq!(
        restore(&["--include", "*.log"]),
        "etc/ etc/z.log log/ log/deep/ log/deep/er/ log/deep/er/old.log log/mine log/today.log q/ q/a.log"
    );
    fill();
    assert_eq!(
        restore(&["--include", "log/", "--exclude", "x.log"]),
        "etc/ etc/z.log log/ log/deep/ log/deep/er/ log/deep/er/old.log log/today.log log/x.log q/ q/a.log \
         w.log/ w.log/v"
    );
    fill();
    assert_eq!(
        restore(&["--exclude", "*.log"]),
        "etc/ etc/app.conf etc/private/ etc/private/key etc/z.log log/ log/deep/ log/deep/er/ \
         log/deep/er/y.log log/x.log notes q/ q/a.log w.log/ w.log/v"
    );
}

/// What a list did not name, and what is beside a single file or a stream, was not looked at.
#[test]
fn delete_leaves_what_no_backup_looked_at() {
    let place = server();
    place.write("list", b"log/today.log\n");
    place.run(["backup", "part=server", "--files-from", "list"]).ok();
    place.run(["backup", "one=server/notes"]).ok();
    let mut command = place.command();
    super::said(command.args(["backup", "db=-", "--stdin-name", "dump"]).write_stdin("dump")).ok();
    for what in ["latest:part", "latest:one", "latest:db"] {
        let arguments = ["restore", what, "--to", "server", "--overwrite", "always", "--delete"];
        place.recover(arguments).ok();
        assert_eq!(fs::read(place.path("server/etc/private/key")).unwrap(), b"key", "{what}");
        assert!(place.path("server/log/deep/er/old.log").exists(), "{what}");
    }
    assert_eq!(fs::read(place.path("server/dump")).unwrap(), b"dump");
}
