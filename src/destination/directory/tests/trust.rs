//! A local attacker beside a restore: another user who holds descriptors and mappings, plants files, links,
//! markers and ACLs, and owns directories. He reads nothing of what is restored, and changes nothing.

use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink as plant};

use rustix::fs as sys;

use super::*;

/// The attacker.
const NOBODY: u32 = 65_534;

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file of the attacker's, which he holds open.
fn held(path: &Path, mode: u32) -> fs::File {
    let mut options = fs::File::options();
    let file = options.read(true).write(true).create_new(true).open(path).unwrap();
    set_mode(path, mode);
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    file
}

/// Whether the inode that is held open is that of the path.
fn is_same(file: &fs::File, path: &Path) -> bool {
    let (held, there) = (file.metadata().unwrap(), fs::metadata(path).unwrap());
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

#[test]
fn a_file_that_someone_else_may_hold_open_is_replaced() {
    /// What is there before: mode and owner, and what the entry has: mode and owner.
    struct Case {
        what: &'static str,
        there: (u32, u32),
        entry: (u32, u32),
        is_kept: bool,
    }
    if !is_root() {
        return;
    }
    let case = |what, there, entry, is_kept| Case { what, there, entry, is_kept };
    for Case { what, there, entry: (mode, owner), is_kept } in [
        case("ours", (0o600, 0), (0o644, 0), true),
        case("the final owner's", (0o600, NOBODY), (0o600, NOBODY), true),
        case("a stranger's", (0o600, NOBODY), (0o600, 0), false),
        case("a stranger's, and open", (0o666, NOBODY), (0o644, 0), false),
        case("ours, wider for others", (0o644, 0), (0o600, 0), false),
        case("ours, wider for the group", (0o660, 0), (0o640, 0), false),
        case("ours, for another to execute", (0o711, 0), (0o700, 0), false),
        case("set-user-ID before", (0o4600, 0), (0o600, 0), false),
        case("set-user-ID in the end", (0o700, 0), (0o4755, 0), false),
        case("set-group-ID in the end", (0o700, 0), (0o2755, 0), false),
    ] {
        let place = Place::new();
        fs::create_dir(place.root()).unwrap();
        fs::write(place.at("f"), "old").unwrap();
        chown(place.at("f"), Some(there.1), None).unwrap();
        set_mode(place.at("f"), there.0);
        let before = fs::File::open(place.at("f")).unwrap();
        let destination = place.begin(Overwrite::Always);
        let mut entry = file("f", 3);
        (entry.mode, entry.user_id) = (mode, owner);
        let is_compared = destination.existing(&entry).unwrap().is_some();
        restore_file(&destination, &entry, b"new");
        finish(&destination);
        assert_eq!(is_compared, is_kept, "{what}");
        assert_eq!(is_same(&before, &place.at("f")), is_kept, "{what}");
        assert_eq!(fs::read(place.at("f")).unwrap(), b"new", "{what}");
        let old = if is_kept { "new" } else { "old" };
        let mut bytes = String::new();
        (&before).rewind().unwrap();
        (&before).read_to_string(&mut bytes).unwrap();
        assert_eq!(bytes, old, "{what}");
    }
}

/// Another group than the entry's could read what it may not, and an ACL is as good as a mode.
#[test]
fn a_foreign_group_and_a_foreign_acl_are_wider() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    for name in ["group", "acl"] {
        fs::write(place.at(name), "old").unwrap();
        set_mode(place.at(name), 0o640);
    }
    chown(place.at("group"), None, Some(NOBODY)).unwrap();
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [
        (1_u16, 6_u16, u32::MAX),
        (2, 4, NOBODY),
        (4, 0, u32::MAX),
        (16, 4, u32::MAX),
        (32, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let flags = sys::XattrFlags::empty();
    sys::setxattr(place.at("acl"), "system.posix_acl_access", &acl, flags).unwrap();
    let destination = place.begin(Overwrite::Always);
    for name in ["group", "acl"] {
        let mut entry = file(name, 3);
        entry.mode = 0o640;
        assert!(destination.existing(&entry).unwrap().is_none(), "{name}");
        restore_file(&destination, &entry, b"new");
        assert_eq!(fs::metadata(place.at(name)).unwrap().gid(), 0);
    }
    finish(&destination);
}

#[test]
fn a_new_file_is_for_us_alone_until_it_is_whole() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    set_mode(place.root(), 0o2777);
    if is_root() {
        chown(place.root(), None, Some(NOBODY)).unwrap();
        set_mode(place.root(), 0o2777);
    }
    let destination = place.begin(Overwrite::Refuse);
    let mut entry = file("f", 6);
    entry.mode = 0o666;
    let output = destination.create(&entry).unwrap();
    output.write_at(b"sec", 0).unwrap();
    assert_eq!(mode(place.at("f")), 0o600);
    output.write_at(b"ret", 3).unwrap();
    output.finish().unwrap();
    assert_eq!(mode(place.at("f")), 0o666);
    let made = fs::metadata(place.at("f")).unwrap();
    assert_eq!((made.uid(), made.gid()), (entry.user_id, entry.group_id));
    // During the restore no other user can rename what is in it. Afterwards its mode is as before.
    assert_eq!(mode(place.root()), 0o2755);
    finish(&destination);
    assert_eq!(mode(place.root()), 0o2777);
}

#[test]
fn the_mode_that_a_directory_was_found_with_outlives_an_interruption() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    set_mode(place.root(), 0o1777);
    let destination = place.begin(Overwrite::Refuse);
    restore(&destination, "f", "f");
    drop(destination);
    assert_eq!(mode(place.root()), 0o1755);
    let destination = place.begin(Overwrite::Refuse);
    assert!(destination.is_resumed());
    finish(&destination);
    assert_eq!(mode(place.root()), 0o1777);
}

#[test]
fn directories_are_closed_to_others_until_they_are_sealed() {
    let place = Place::new();
    fs::create_dir_all(place.at("d")).unwrap();
    set_mode(place.at("d"), 0o777);
    let destination = place.begin(Overwrite::IfChanged);
    let wanted = Entry { mode: 0o1777, ..directory("d") };
    destination.directory(&wanted).unwrap();
    assert_eq!(mode(place.at("d")), 0o755);
    destination.seal_directory(&wanted).unwrap();
    assert_eq!(mode(place.at("d")), 0o1777);
    finish(&destination);
}

#[test]
fn a_strangers_directory_is_refused_and_the_owners_is_not() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    for name in ["strangers", "owners"] {
        fs::create_dir_all(place.at(name)).unwrap();
        chown(place.at(name), Some(NOBODY), None).unwrap();
    }
    let destination = place.begin(Overwrite::Always);
    let refused = destination.directory(&directory("strangers")).unwrap_err();
    assert!(!refused.ends_restore() && refused.to_string().contains("65534"), "{refused}");
    let owned = Entry { user_id: NOBODY, ..directory("owners") };
    destination.directory(&owned).unwrap();
    destination.seal_directory(&owned).unwrap();
    finish(&destination);
}

/// The top directory may be the owner's own where the snapshot says so, and no one else's.
#[test]
fn a_top_that_belongs_to_a_stranger_ends_the_restore() {
    if !is_root() {
        return;
    }
    let place = Place::new();
    let tops = [(directory(""), false), (Entry { user_id: NOBODY, ..directory("") }, true)];
    for (entry, is_allowed) in tops {
        fs::create_dir(place.root()).unwrap();
        chown(place.root(), Some(NOBODY), None).unwrap();
        set_mode(place.root(), 0o777);
        let destination = place.begin(Overwrite::Refuse);
        let made = destination.directory(&entry);
        assert_eq!(made.is_ok(), is_allowed, "{made:?}");
        if let Err(error) = made {
            assert!(error.ends_restore(), "{error}");
            assert!(destination.create(&file("f", 0)).is_err());
            assert_eq!(fs::read_dir(place.root()).unwrap().count(), 0);
            assert_eq!(mode(place.root()), 0o777);
        }
        drop(destination);
        fs::remove_dir_all(place.root()).unwrap();
    }
    // No entry of the snapshot names an owner for it.
    fs::create_dir(place.root()).unwrap();
    chown(place.root(), Some(NOBODY), None).unwrap();
    let destination = place.begin(Overwrite::Refuse);
    assert!(destination.directory(&directory("source")).unwrap_err().ends_restore());
    assert_eq!(fs::read_dir(place.root()).unwrap().count(), 0);
}

#[test]
fn a_planted_marker_resumes_nothing() {
    let place = Place::new();
    let marker = place.at(".backstay-restore");
    drop(place.begin(Overwrite::Refuse));
    let text = fs::read(&marker).unwrap();
    let again = || DirectoryDestination::new(place.options(Overwrite::Refuse)).begin();
    let replace = |change: &dyn Fn()| {
        let _ = fs::remove_file(&marker);
        let _ = fs::remove_file(place.outside().join("marker"));
        fs::write(&marker, &text).unwrap();
        set_mode(&marker, 0o600);
        change();
    };
    replace(&|| {});
    again().unwrap();
    let changes: [(&str, &dyn Fn()); 4] = [
        ("for all to write", &|| set_mode(&marker, 0o622)),
        ("of two names", &|| fs::hard_link(&marker, place.outside().join("marker")).unwrap()),
        ("a link", &|| {
            fs::rename(&marker, place.outside().join("marker")).unwrap();
            plant(place.outside().join("marker"), &marker).unwrap();
        }),
        ("a stranger's", &|| {
            if is_root() {
                chown(&marker, Some(NOBODY), None).unwrap();
            } else {
                set_mode(&marker, 0o602);
            }
        }),
    ];
    for (what, change) in changes {
        replace(change);
        let refused = again().unwrap_err();
        assert_eq!(refused.class(), crate::class::Class::Refused, "{what}: {refused}");
    }
    fs::remove_file(place.outside().join("marker")).ok();
}

/// Someone exchanges a file between its comparison and its writing.
#[test]
fn a_file_that_is_exchanged_while_it_is_compared_is_refused() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    for name in ["f", "other"] {
        fs::write(place.at(name), "same").unwrap();
        set_mode(place.at(name), 0o600);
    }
    let destination = place.begin(Overwrite::Always);
    let mut there = destination.existing(&file("f", 4)).unwrap().unwrap();
    assert_eq!(there.read_at(&mut [0; 4], 0).unwrap(), 4);
    fs::rename(place.at("other"), place.at("f")).unwrap();
    let refused = destination.create(&file("f", 4)).err().unwrap();
    assert!(!refused.ends_restore() && refused.to_string().contains("exchanged"), "{refused}");
}

/// Through a descriptor that he opened before, a stranger neither reads what comes nor changes it.
#[test]
fn a_held_descriptor_is_of_no_use() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    let spy = held(&place.at("f"), 0o666);
    spy.write_all_at(b"spying", 0).unwrap();
    let destination = place.begin(Overwrite::Always);
    let mut entry = file("f", 6);
    entry.mode = 0o600;
    restore_file(&destination, &entry, b"secret");
    finish(&destination);
    let mut read = [0; 6];
    spy.read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"spying");
    (&spy).write_all(b"forged").unwrap();
    assert_eq!(fs::read(place.at("f")).unwrap(), b"secret");
}
