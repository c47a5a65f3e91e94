//! That the comparer finds each kind of difference, and nothing where there is none.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rustix::fs::{FallocateFlags, Gid, Uid, XattrFlags};
use tempfile::TempDir;

use super::super::{Size, is_root, make_removable, materialise, nasty_tree, tree_plan};
use super::*;

/// Two equal trees.
struct Twins {
    base: TempDir,
}

impl Twins {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        for twin in ["a", "b"] {
            let at = |name: &str| base.path().join(twin).join(name);
            fs::create_dir_all(at("d")).unwrap();
            fs::write(at("d/f"), "content").unwrap();
            fs::hard_link(at("d/f"), at("linked")).unwrap();
            fs::write(at("alone"), "content").unwrap();
            symlink("target", at("link")).unwrap();
            let sparse = File::create(at("sparse")).unwrap();
            sparse.set_len(1 << 20).unwrap();
            fs::write(at("dense"), vec![0; 1 << 20]).unwrap();
            sys::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
            for name in ["d/f", "alone", "sparse", "dense", "d", ""] {
                let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_000_000_000_001);
                File::open(at(name)).unwrap().set_modified(then).unwrap();
            }
            let link = at("link");
            for name in [link, at("fifo")] {
                let time = sys::Timespec { tv_sec: 1, tv_nsec: 2 };
                let times = sys::Timestamps { last_access: time, last_modification: time };
                sys::utimensat(CWD, name, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            }
        }
        Self { base }
    }

    fn a(&self) -> std::path::PathBuf {
        self.base.path().join("a")
    }

    fn b(&self, name: &str) -> std::path::PathBuf {
        self.base.path().join("b").join(name)
    }

    /// Path and attribute of each difference, times of directories aside: most changes of a
    /// name change those too.
    fn found(&self) -> Vec<(String, String)> {
        compare(&self.a(), &self.b(""))
            .into_iter()
            .map(|difference| {
                let path = String::from_utf8(difference.path).unwrap();
                (path, difference.what)
            })
            .filter(|(path, what)| what != "modified" || !["", "d"].contains(&path.as_str()))
            .collect()
    }

    #[track_caller]
    fn assert_found(&self, path: &str, what: &str) {
        let expected = (path.to_owned(), what.to_owned());
        assert_eq!(self.found(), [expected]);
    }
}

fn rewrite_keeping_time(path: &Path, content: &str) {
    let time = fs::metadata(path).unwrap().modified().unwrap();
    fs::write(path, content).unwrap();
    File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn equal_trees_are_equal() {
    let twins = Twins::new();
    assert_same_tree(&twins.a(), &twins.b(""));
}

#[test]
fn one_changed_byte() {
    let twins = Twins::new();
    rewrite_keeping_time(&twins.b("alone"), "conTent");
    twins.assert_found("alone", "byte 3");
    let message = compare(&twins.a(), &twins.b(""))[0].to_string();
    assert_eq!(message, "\"alone\": byte 3: 0x74 became 0x54");
}

#[test]
fn size() {
    let twins = Twins::new();
    rewrite_keeping_time(&twins.b("alone"), "contents");
    twins.assert_found("alone", "size");
}

#[test]
fn mode() {
    let twins = Twins::new();
    let mode = fs::Permissions::from_mode(0o4711);
    fs::set_permissions(twins.b("alone"), mode).unwrap();
    twins.assert_found("alone", "mode");
}

#[test]
fn owner() {
    let twins = Twins::new();
    if is_root() {
        let (user, group) = (Uid::from_raw(0), Gid::from_raw(12_345));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        sys::chownat(CWD, twins.b("link"), Some(user), Some(group), flags).unwrap();
        twins.assert_found("link", "owner");
        return;
    }
    // A plain user has no second owner to give; what belongs to root is there to compare.
    let found = compare(&twins.a(), Path::new("/"));
    assert!(found.iter().any(|difference| difference.what == "owner"));
}

#[test]
fn a_nanosecond() {
    let twins = Twins::new();
    let then = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_000_000_000_000_000_002);
    let file = File::open(twins.b("alone")).unwrap();
    file.set_modified(then).unwrap();
    twins.assert_found("alone", "modified");
}

#[test]
fn a_directorys_time() {
    let twins = Twins::new();
    let directory = File::open(twins.b("d")).unwrap();
    directory.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let found = compare(&twins.a(), &twins.b(""));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].path.as_slice(), found[0].what.as_str()), (&b"d"[..], "modified"));
}

#[test]
fn missing_and_extra_names() {
    let twins = Twins::new();
    fs::remove_file(twins.b("alone")).unwrap();
    twins.assert_found("alone", "presence");
    let twins = Twins::new();
    fs::create_dir(twins.b("d/extra")).unwrap();
    twins.assert_found("d/extra", "presence");
}

#[test]
fn kind() {
    let twins = Twins::new();
    fs::remove_file(twins.b("alone")).unwrap();
    fs::create_dir(twins.b("alone")).unwrap();
    twins.assert_found("alone", "type");
}

#[test]
fn a_links_target() {
    let twins = Twins::new();
    fs::remove_file(twins.b("link")).unwrap();
    symlink("Target", twins.b("link")).unwrap();
    let found = twins.found();
    assert!(found.contains(&("link".to_owned(), "target".to_owned())), "{found:?}");
}

#[test]
fn extended_attributes() {
    let twins = Twins::new();
    let flags = XattrFlags::empty();
    let set = |name, value: &[u8]| sys::setxattr(twins.b("alone"), name, value, flags);
    set("user.extra", b"").unwrap();
    twins.assert_found("alone", "xattr user.extra");
    sys::setxattr(twins.a().join("alone"), "user.extra", b"x", flags).unwrap();
    twins.assert_found("alone", "xattr user.extra");
    set("user.extra", b"x").unwrap();
    assert_eq!(twins.found(), []);
    let acl = super::super::gallery::acl([6, 0, 4, 4, 4]);
    let acl_name = "system.posix_acl_access";
    set(acl_name, &acl).unwrap();
    twins.assert_found("alone", "xattr system.posix_acl_access");
}

#[test]
fn long_values_are_compared_whole() {
    let twins = Twins::new();
    let mut value = vec![b'v'; 1000];
    let flags = XattrFlags::empty();
    sys::setxattr(twins.a().join("alone"), "user.long", &value, flags).unwrap();
    value[500] = b'V';
    sys::setxattr(twins.b("alone"), "user.long", &value, flags).unwrap();
    twins.assert_found("alone", "xattr user.long");
}

#[test]
fn holes_that_were_filled_and_no_others() {
    let twins = Twins::new();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let dense = File::options().write(true).open(twins.b("dense")).unwrap();
    let time = dense.metadata().unwrap().modified().unwrap();
    sys::fallocate(&dense, flags, 0, 1 << 19).unwrap();
    dense.set_modified(time).unwrap();
    assert_eq!(twins.found(), []);
    let sparse = File::options().write(true).open(twins.b("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, &[0; 4096], 1 << 19).unwrap();
    sparse.set_modified(time).unwrap();
    twins.assert_found("sparse", "hole");
}

#[test]
fn hard_links_cut_and_joined() {
    let twins = Twins::new();
    let time = fs::metadata(twins.b("linked")).unwrap().modified().unwrap();
    fs::remove_file(twins.b("linked")).unwrap();
    fs::write(twins.b("linked"), "content").unwrap();
    let file = File::open(twins.b("linked")).unwrap();
    file.set_modified(time).unwrap();
    twins.assert_found("linked", "hard link to");
    fs::remove_file(twins.b("linked")).unwrap();
    fs::hard_link(twins.b("alone"), twins.b("linked")).unwrap();
    twins.assert_found("linked", "hard link to");
}

#[test]
fn device_numbers() {
    if !is_root() {
        return; // Only root can make any; the other tests run for everyone.
    }
    let twins = Twins::new();
    for (twin, minor) in [(twins.a(), 3), (twins.b(""), 5)] {
        let device = sys::makedev(1, minor);
        let kind = FileType::CharacterDevice;
        sys::mknodat(CWD, twin.join("null"), kind, Mode::RUSR, device).unwrap();
    }
    let found = twins.found();
    assert!(found.contains(&("null".to_owned(), "device".to_owned())), "{found:?}");
}

#[test]
fn a_nasty_tree_is_the_same_each_time() {
    let base = tempfile::tempdir().unwrap();
    let at = |name: &str| base.path().join(name);
    let plan = nasty_tree(&at("a"), 7, Size::SMALL);
    assert_eq!(nasty_tree(&at("b"), 7, Size::SMALL), plan);
    assert_same_tree(&at("a"), &at("b"));
    assert_ne!(nasty_tree(&at("c"), 8, Size::SMALL), plan);
    assert!(!compare(&at("a"), &at("c")).is_empty());
    for name in ["a", "b", "c"] {
        make_removable(&at(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_makes_equal_trees(plan in tree_plan()) {
        let base = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| base.path().join(name));
        materialise(&a, &plan);
        materialise(&b, &plan);
        let differences = compare(&a, &b);
        make_removable(&a);
        make_removable(&b);
        prop_assert_eq!(differences, Vec::new());
    }
}
