//! `backup --files-from`: what is listed is backed up, what is not is neither looked at nor touched by
//! a restore.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;

use super::{Place, Said};

fn list(place: &Place, paths: &str, more: &[&str]) -> Said {
    place.write("list", paths.as_bytes());
    place.run(["backup", "data", "--files-from", "list"].iter().chain(more))
}

fn stored(place: &Place) -> String {
    place.run(["ls", "-R", "latest:data"]).ok().text()
}

fn grown() -> Place {
    let place = Place::new();
    for name in ["data/sub/deep/c", "data/sub/deep/d", "data/other/e", "data/other.x", "data/z"] {
        place.write(name, name.as_bytes());
    }
    place
}

#[test]
fn what_is_listed_is_all_that_is_backed_up() {
    let place = grown();
    let listed =
        format!("z\n\n./sub/deep/\n{}\nsub/b.txt\nz\n", place.path("data/a.txt").display());
    list(&place, &listed, &[]).ok();
    assert_eq!(stored(&place), "a.txt\nsub/\nsub/b.txt\nsub/deep/\nsub/deep/c\nsub/deep/d\nz\n");
    // Patterns still hold, and what is not listed is not looked at.
    fs::remove_file(place.path("data/sub/b.txt")).unwrap();
    let answer = list(&place, "sub\nother\n", &["--exclude", "deep/", "--json"]).ok();
    let answer = answer.json("backup");
    assert_eq!((&answer["new_files"], &answer["sources"][0]["excluded"]), (&1.into(), &1.into()));
    assert_eq!(stored(&place), "other/\nother/e\nsub/\nsub/link\n");
    list(&place, ".\n", &[]).ok();
    assert_eq!(stored(&place).lines().count(), 10);
    // A dry run follows the list too.
    let text = list(&place, "z\n", &["--dry-run", "--read-all"]).ok().text();
    assert!(text.starts_with("+  data/z  6 B\ndry run: 2 entries"), "{text}");
}

#[test]
fn a_listed_path_that_is_not_there_is_named() {
    let place = grown();
    for pin in [&[][..], &["--pin"]] {
        let said =
            list(&place, "a.txt\nsub/nothing\nnowhere/x\nnowhere/y\nz/below\nsub/link/x\n", pin);
        assert_eq!(said.code, 3, "{said:?}");
        let text = said.text();
        for line in [
            "missing data/sub/nothing: is listed, but is not there",
            "missing data/nowhere/x: is listed, but is not there",
            "missing data/nowhere/y: is listed, but is not there",
            "missing data/z/below: is listed, but z is no directory",
            "missing data/sub/link/x: is listed, but sub/link is a symbolic link",
        ] {
            assert!(text.contains(line), "{line} {text}");
        }
        assert_eq!(stored(&place), "a.txt\nsub/\n");
    }
}

#[test]
fn names_with_anything_in_them_can_be_listed() {
    let place = Place::new();
    let names: [&[u8]; 6] = [b"new\nline", b"*", b" space ", b"#hash", b"[a]{b}", b"not \xff text"];
    let mut bytes = Vec::new();
    for name in names {
        fs::write(place.path("data").join(std::ffi::OsStr::from_bytes(name)), b"x").unwrap();
        bytes.extend([name, b"\0"].concat());
    }
    place.write("list", &bytes);
    let answer = place.run(["backup", "data", "--files-from0", "list", "--json"]).ok();
    assert_eq!(answer.json("backup")["new_files"], 6);
    // From standard input.
    let mut command = place.command();
    command.args(["backup", "data", "--files-from", "-", "--json"]).write_stdin("[a]{b}\n#hash\n");
    let answer = super::said(&mut command).ok().json("backup");
    assert_eq!(answer["sources"][0]["entries"], 3);
}

#[test]
fn lists_that_cannot_be_meant_are_refused() {
    let place = grown();
    list(&place, "", &[]).refuses(2, &["names no path", "--allow-empty"]);
    list(&place, "", &["--allow-empty"]).ok();
    assert_eq!(stored(&place), "");
    list(&place, "a.txt\n/etc/passwd\n", &[]).refuses(2, &["list, line 2", "outside data"]);
    list(&place, "sub/../a.txt\n", &[]).refuses(2, &["list, line 1", ".."]);
    list(&place, "a.txt\n", &["other"]).refuses(2, &["exactly one"]);
    let arguments = ["backup", "data/z", "--files-from", "list"];
    list(&place, "x\n", &[]);
    place.run(arguments).refuses(4, &["not a directory"]);
    place
        .run(["backup", "data", "--files-from", "nowhere"])
        .refuses(2, &["nowhere", "--files-from"]);
    let both = ["backup", "data", "--files-from", "-", "--files-from0", "-"];
    place.run(both).refuses(2, &["standard input"]);
}
