//! Owners, modes, times, extended attributes; and as another user than root, the shortfalls.

use std::os::unix::fs::PermissionsExt;

use rustix::fs as sys;

use super::*;

const SOMEONE: u32 = 12_345;

/// `user::rw-`, `user:12345:rwx`, `group::r--`, `mask::rwx`, `other::---`.
fn acl() -> Vec<u8> {
    let mut acl = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [
        (0x01_u16, 6_u16, u32::MAX),
        (0x02, 7, SOMEONE),
        (0x04, 4, u32::MAX),
        (0x10, 7, u32::MAX),
        (0x20, 0, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(permissions.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    acl
}

/// `cap_net_bind_service=ep`, version 2.
fn capability() -> Vec<u8> {
    let words = [0x0200_0001_u32, 1 << 10, 0, 0, 0];
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn xattr_of(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let length = sys::lgetxattr(path, name, value.as_mut_slice()).ok()?;
    value.truncate(length);
    Some(value)
}

/// Whether file systems here take user attributes and ACLs.
fn has_xattrs(place: &Place) -> bool {
    let flags = sys::XattrFlags::empty();
    sys::setxattr(place.outside(), "user.test", b"1", flags).is_ok()
        && sys::removexattr(place.outside(), "user.test").is_ok()
}

#[test]
fn modes_are_exact() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    for bits in [0, 0o1, 0o400, 0o644, 0o777, 0o1777, 0o2755, 0o4755, 0o7777, 0o6000] {
        let name = format!("f{bits:o}");
        let mut entry = file(&name, 1);
        entry.mode = bits;
        restore_file(&destination, &entry, b"x");
        assert_eq!(mode(place.at(&name)), bits);
        let mut entry = directory(&format!("d{bits:o}"));
        entry.mode = bits;
        destination.directory(&entry).unwrap();
        destination.seal_directory(&entry).unwrap();
        assert_eq!(mode(place.at(&format!("d{bits:o}"))), bits);
    }
    finish(&destination);
}

#[test]
fn times_are_exact() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let times = [(0, 0), (-1, 999_999_999), (-2_000_000_000, 1), (7_258_118_400, 5)];
    for (number, (seconds, nanoseconds)) in times.into_iter().enumerate() {
        let time = FileTime { seconds, nanoseconds };
        let mut entries = [
            file(&format!("file{number}"), 1),
            symlink(&format!("link{number}"), "nowhere"),
            entry(&format!("fifo{number}"), Kind::Fifo, 0o640),
            directory(&format!("directory{number}")),
        ];
        for entry in &mut entries {
            entry.modified = time;
            match entry.kind {
                Kind::File => restore_file(&destination, entry, b"x"),
                Kind::Directory => {
                    destination.directory(entry).unwrap();
                    destination.seal_directory(entry).unwrap();
                }
                _ => destination.special(entry).unwrap(),
            }
            assert_eq!(modified(place.at(&entry.path.to_string())), time);
        }
    }
    finish(&destination);
}

#[test]
fn a_time_that_cannot_be_is_a_shortfall() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let mut entry = file("f", 0);
    // The kernel's word for "now".
    entry.modified.nanoseconds = 0x3fff_ffff;
    restore_file(&destination, &entry, b"");
    let shortfalls = destination.finish().unwrap().listed;
    assert_eq!(shortfalls.len(), 1);
    assert_eq!(shortfalls[0].what, "times");
}

#[test]
fn read_only_directories_are_filled_first_and_sealed_last() {
    let place = Place::new();
    let sealed = |text: &str| Entry { mode: 0o555, ..directory(text) };
    for _ in 0..2 {
        let destination = place.begin(Overwrite::Always);
        destination.directory(&sealed("")).unwrap();
        destination.directory(&sealed("d")).unwrap();
        destination.directory(&sealed("d/e")).unwrap();
        restore(&destination, "d/e/f", "f");
        for text in ["d/e", "d", ""] {
            destination.seal_directory(&sealed(text)).unwrap();
        }
        finish(&destination);
        for text in ["", "d", "d/e"] {
            assert_eq!(mode(place.at(text)), 0o555, "{text:?}");
            assert_eq!(modified(place.at(text)), THEN, "{text:?}");
        }
    }
}

#[test]
fn a_root_that_is_not_in_the_snapshot_keeps_its_mode() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    fs::set_permissions(place.root(), fs::Permissions::from_mode(0o555)).unwrap();
    let destination = place.begin(Overwrite::Refuse);
    restore(&destination, "f", "f");
    finish(&destination);
    assert_eq!(mode(place.root()), 0o555);
}

#[test]
fn a_resumed_restore_opens_what_it_had_sealed() {
    let place = Place::new();
    let mut closed = file("d/f", 4);
    closed.mode = 0;
    let sealed = Entry { mode: 0o500, ..directory("d") };
    let destination = place.begin(Overwrite::Refuse);
    destination.directory(&sealed).unwrap();
    restore_file(&destination, &closed, b"old!");
    destination.seal_directory(&sealed).unwrap();
    drop(destination);
    let destination = place.begin(Overwrite::Refuse);
    destination.directory(&sealed).unwrap();
    let mut there = destination.existing(&closed).unwrap().unwrap();
    assert_eq!(there.read_at(&mut [0; 4], 0).unwrap(), 4);
    restore_file(&destination, &closed, b"new!");
    restore(&destination, "d/g", "g");
    destination.seal_directory(&sealed).unwrap();
    finish(&destination);
    assert_eq!(mode(place.at("d/f")), 0);
    assert_eq!(mode(place.at("d")), 0o500);
    fs::set_permissions(place.at("d/f"), fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(fs::read(place.at("d/f")).unwrap(), b"new!");
}

#[test]
fn set_ids_survive_a_change_of_owner_or_are_dropped_aloud() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let mut entry = file("f", 1);
    entry.mode = 0o6755;
    (entry.user_id, entry.group_id) = (SOMEONE, SOMEONE);
    restore_file(&destination, &entry, b"x");
    let shortfalls = destination.finish().unwrap().listed;
    let made = fs::metadata(place.at("f")).unwrap();
    if is_root() {
        assert_eq!(shortfalls, []);
        assert_eq!((made.uid(), made.gid()), (SOMEONE, SOMEONE));
        assert_eq!(mode(place.at("f")), 0o6755);
    } else {
        assert_eq!(shortfalls.len(), 1);
        assert_eq!(shortfalls[0].what, "owner");
        assert!(shortfalls[0].detail.contains("set-user-ID"), "{shortfalls:?}");
        assert_eq!(mode(place.at("f")), 0o755);
    }
}

#[test]
fn the_number_that_means_unchanged_is_no_owner() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let mut entry = file("f", 1);
    entry.user_id = u32::MAX;
    restore_file(&destination, &entry, b"x");
    assert_eq!(destination.finish().unwrap().listed[0].what, "owner");
}

#[test]
fn names_are_mapped_only_when_asked() {
    let place = Place::new();
    let mut options = place.options(Overwrite::Refuse);
    options.map_names = true;
    let destination = begun(options);
    let owners = &destination.shared.owners;
    let mut entry = file("f", 1);
    (entry.user_id, entry.group_id) = (SOMEONE, SOMEONE);
    entry.user_name = Some("root".into());
    entry.group_name = Some("no such group here".into());
    assert_eq!(owners.of(&entry), (0, SOMEONE));
    assert_eq!(Owners::new(false).of(&entry), (SOMEONE, SOMEONE));
}

#[test]
fn special_files_get_owner_mode_and_time() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let long = "t".repeat(4095);
    let mut entries = vec![
        symlink("long", &long),
        entry("fifo", Kind::Fifo, 0o4640),
        entry("socket", Kind::Socket, 0o777),
    ];
    if is_root() {
        let (major, minor) = (1, 3);
        let kind = Kind::CharacterDevice { major, minor };
        entries.push(entry("character", kind, 0o666));
        let (major, minor) = (259, 70_000);
        entries.push(entry("block", Kind::BlockDevice { major, minor }, 0o600));
        for entry in &mut entries {
            (entry.user_id, entry.group_id) = (SOMEONE, SOMEONE + 1);
        }
    }
    for entry in &entries {
        destination.special(entry).unwrap();
        let made = fs::symlink_metadata(place.at(&entry.path.to_string())).unwrap();
        assert_eq!((made.uid(), made.gid()), (entry.user_id, entry.group_id));
        assert_eq!(made.mode() & 0o7777, entry.mode, "{entry:?}");
        if let Kind::CharacterDevice { major, minor } | Kind::BlockDevice { major, minor } =
            entry.kind
        {
            assert_eq!(made.rdev(), sys::makedev(major, minor));
        }
    }
    finish(&destination);
    assert_eq!(fs::read_link(place.at("long")).unwrap(), Path::new(&long));
}

#[test]
fn devices_without_the_right_are_a_shortfall() {
    if is_root() {
        return; // `special_files_get_owner_mode_and_time` makes them.
    }
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let (major, minor) = (8, 1);
    let device = entry("sda1", Kind::BlockDevice { major, minor }, 0o600);
    destination.special(&device).unwrap();
    assert_eq!(destination.finish().unwrap().listed[0].what, "device");
}

#[test]
fn extended_attributes_come_and_go() {
    let place = Place::new();
    if !has_xattrs(&place) {
        return;
    }
    let destination = place.begin(Overwrite::Always);
    let mut entry = file("f", 1);
    entry.mode = 0o470;
    entry.xattrs = vec![
        xattr("system.posix_acl_access", &acl()),
        xattr("user.comment", b"\0bytes\xff"),
        xattr("user.empty", b""),
    ];
    // Another owner takes from us the right to set `user.*`, unless that comes first.
    if is_root() {
        entry.user_id = SOMEONE;
        entry.xattrs.push(xattr("security.capability", &capability()));
        entry.xattrs.push(xattr("trusted.overlay", b"y"));
    }
    entry.mode = 0o670;
    restore_file(&destination, &entry, b"x");
    for xattr in &entry.xattrs {
        let name = std::str::from_utf8(&xattr.name).unwrap();
        assert_eq!(xattr_of(&place.at("f"), name).as_ref(), Some(&xattr.value));
    }
    assert_eq!(mode(place.at("f")), 0o670);
    // Written over, it keeps none of them.
    restore_file(&destination, &file("f", 1), b"y");
    for xattr in &entry.xattrs {
        let name = std::str::from_utf8(&xattr.name).unwrap();
        assert_eq!(xattr_of(&place.at("f"), name), None, "{name}");
    }
    finish(&destination);
}

#[test]
fn nothing_is_inherited_from_the_destination() {
    let place = Place::new();
    if !has_xattrs(&place) {
        return;
    }
    fs::create_dir(place.root()).unwrap();
    fs::set_permissions(place.root(), fs::Permissions::from_mode(0o2755)).unwrap();
    let flags = sys::XattrFlags::empty();
    sys::setxattr(place.root(), "system.posix_acl_default", &acl(), flags).unwrap();
    let destination = place.begin(Overwrite::Refuse);
    restore(&destination, "f", "f");
    destination.directory(&directory("d")).unwrap();
    restore(&destination, "d/f", "f");
    destination.special(&entry("fifo", Kind::Fifo, 0o600)).unwrap();
    destination.seal_directory(&directory("d")).unwrap();
    finish(&destination);
    for name in ["f", "d", "d/f", "fifo"] {
        for acl in ["system.posix_acl_access", "system.posix_acl_default"] {
            assert_eq!(xattr_of(&place.at(name), acl), None, "{name}");
        }
    }
    assert_eq!(mode(place.at("d")), 0o755);
    assert_eq!(mode(place.at("f")), 0o644);
}

#[test]
fn an_attribute_that_cannot_be_set_is_a_shortfall() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let mut entry = file("f", 1);
    entry.xattrs = vec![xattr("nonsense.name", b"x")];
    restore_file(&destination, &entry, b"x");
    assert_eq!(destination.shortfall_count(), 1);
    let shortfalls = destination.finish().unwrap().listed;
    assert_eq!(shortfalls[0].what, "xattr nonsense.name");
    assert_eq!(fs::read(place.at("f")).unwrap(), b"x");
}
