//! Sources on real file systems: what is mounted below a source, in which order, and what their times
//! prove.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use backstay::backup;
use backstay::entry::{Kind, Seen};
use backstay::repo::Repository;
use backstay::source::DirectoryOptions;

use super::scene::{
    backup, database, directory_with, init, job, open, path, recall, restore, store_of, tick,
    try_backup,
};
use crate::support::filesystem::{
    Format, Mounted, bind, formatted, make_image, memory, mount_image, overlay, run,
};
use crate::support::tools::tool;

async fn repository() -> Repository {
    let store = store_of([]).await;
    let keys = init(&store, 1).await;
    open(&store, 2, &keys.recovery).await
}

fn same(a: &Path, b: &Path) {
    run(Command::new("diff").arg("-r").arg("--no-dereference").args([a, b]));
}

/// Device numbers go to whatever is mounted first. Nothing but them changes here.
#[tokio::test]
async fn volumes_that_are_attached_in_another_order_keep_their_files() {
    for format in [Format::Ext4, Format::Xfs, Format::Btrfs] {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let mount = |first: &str, second: &str| -> [Mounted; 2] {
            [first, second]
                .map(|name| mount_image(&at(&format!("{name}.image")), &at("tree").join(name)))
        };
        for name in ["a", "b"] {
            if make_image(format, &at(&format!("{name}.image"))).is_none() {
                return;
            }
        }
        let mounted = mount("a", "b");
        for name in ["a", "b"] {
            for number in 0..300 {
                let file = at("tree").join(name).join(format!("f{number:03}"));
                fs::write(&file, format!("{name} {number:03}")).unwrap();
                fs::hard_link(&file, file.with_extension("link")).unwrap();
            }
        }
        let device = |name: &str| at("tree").join(name).metadata().unwrap().dev();
        let before = [device("a"), device("b")];
        let repository = repository().await;
        tick();
        assert_eq!(backup(&repository, &at("tree")).await.problems, []);
        drop(mounted);
        let mounted = mount("b", "a");
        assert_ne!([device("a"), device("b")], before, "{format:?}: nothing was attached anew");
        fs::write(at("tree/a/new"), "new").unwrap();
        fs::write(at("tree/b/f100-new"), "new").unwrap();
        let report = backup(&repository, &at("tree")).await;
        assert_eq!(report.problems, []);
        assert_eq!(report.new_files, 2, "{format:?}");
        restore(&repository, &report.snapshot, &at("restored")).await;
        same(&at("tree"), &at("restored"));
        let links = |name: &str| at("restored").join(name).metadata().unwrap().nlink();
        assert_eq!([links("a/f000"), links("b/f299.link")], [2, 2], "{format:?}");
        // Known by more than their numbers, they are the same file systems as before.
        assert_eq!(report.read_bytes, 6, "{format:?}");
        drop(mounted);
    }
}

/// Another volume in the same place may have the same numbers and times all over.
#[tokio::test]
async fn another_volume_in_the_same_place_is_read() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::create_dir_all(at("tree/volume")).unwrap();
    fs::write(at("tree/volume/below"), "hidden by the mount").unwrap();
    let Some(first) = formatted(Format::Ext4, &at("tree/volume")) else { return };
    fs::write(at("tree/volume/file"), "first").unwrap();
    tick();
    let repository = repository().await;
    backup(&repository, &at("tree")).await;
    drop(first);
    // A copy of the bytes has the same inodes and times; only what it says of itself is new.
    fs::copy(at("tree/volume.image"), at("second.image")).unwrap();
    run(Command::new(tool("tune2fs")).args(["-U", "random"]).arg(at("second.image")));
    let second = mount_image(&at("second.image"), &at("tree/volume"));
    let report = backup(&repository, &at("tree")).await;
    assert_eq!((report.new_files, report.read_bytes), (0, 5));
    drop(second);
    // Not mounted at all, it is another file system too.
    let report = backup(&repository, &at("tree")).await;
    let items = recall(&repository, &report.snapshot).await;
    assert_eq!(items[&path("volume/below")].bytes, b"hidden by the mount");
    assert_eq!(backup(&repository, &at("tree")).await.read_files, 0);
}

/// A program that keeps a file mapped, and writes to it when it is told to.
struct Mapping {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Mapping {
    fn of(file: &Path) -> Self {
        const PROGRAM: &str = "
import mmap, sys
with open(sys.argv[1], 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0)
    for line in sys.stdin:
        m[0:4] = line[:4].encode()
        print('done', flush=True)
";
        let mut child = Command::new("python3")
            .args(["-c", PROGRAM])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, answers }
    }

    fn write(&mut self, bytes: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{bytes}").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// A page that is dirty already takes further writes through a mapping without moving any time.
#[tokio::test]
async fn writes_through_a_mapping_are_noticed() {
    for format in [Some(Format::Ext4), Some(Format::Xfs), Some(Format::Btrfs), None] {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        let mounted = match format {
            Some(format) => formatted(format, &tree),
            None => memory(&tree),
        };
        if mounted.is_none() {
            return;
        }
        let file = tree.join("index");
        fs::write(&file, vec![0; 1 << 20]).unwrap();
        File::open(&file).unwrap().sync_all().unwrap();
        tick();
        let mut mapping = Mapping::of(&file);
        mapping.write("AAAA");
        tick();
        let repository = repository().await;
        backup(&repository, &tree).await;
        tick();
        mapping.write("BBBB");
        let report = backup(&repository, &tree).await;
        let items = recall(&repository, &report.snapshot).await;
        assert_eq!(&items[&path("index")].bytes[..4], b"BBBB", "{format:?}");
    }
}

/// Times on a disk prove what did not change, times in memory do not.
#[tokio::test]
async fn files_are_read_again_where_times_prove_nothing() {
    for (format, read) in
        [(Some(Format::Ext4), 0), (Some(Format::Xfs), 0), (Some(Format::Btrfs), 0), (None, 3)]
    {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        let mounted = match format {
            Some(format) => formatted(format, &tree),
            None => memory(&tree),
        };
        if mounted.is_none() {
            return;
        }
        for name in ["a", "b", "c"] {
            fs::write(tree.join(name), name).unwrap();
        }
        let repository = repository().await;
        let first = backup(&repository, &tree).await;
        assert_eq!((first.new_files, first.read_bytes), (3, 3));
        let second = backup(&repository, &tree).await;
        assert_eq!((second.new_files, second.changed_files), (0, 0), "{format:?}");
        assert_eq!(second.read_bytes, read, "{format:?}");
    }
}

/// With nothing believed, counts are as right as ever.
#[tokio::test]
async fn all_is_read_when_all_is_asked_for() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    for name in ["a", "b", "c"] {
        fs::write(tree.join(name), name).unwrap();
    }
    let repository = repository().await;
    backup(&repository, &tree).await;
    tick();
    fs::write(tree.join("b"), "other").unwrap();
    fs::write(tree.join("d"), "new").unwrap();
    let options = backup::Options { read_all: true, ..job() };
    let sources = [directory_with(&tree, |_| {})];
    let report = backup::run(&repository, &sources, &options, std::sync::Arc::default());
    let report = report.await.unwrap();
    assert_eq!((report.new_files, report.changed_files, report.read_files), (1, 1, 5));
    assert_eq!(report.read_bytes, 10);
}

#[tokio::test]
async fn what_is_left_out_is_marked() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::create_dir_all(at("tree/cache")).unwrap();
    fs::create_dir_all(at("tree/own/repository")).unwrap();
    fs::create_dir_all(at("tree/dir")).unwrap();
    fs::write(at("tree/own/repository/pack"), "x").unwrap();
    let tag = "Signature: 8a477f597d28d172789f06886806bc55";
    fs::write(at("tree/cache/CACHEDIR.TAG"), tag).unwrap();
    fs::write(at("tree/cache/data"), "x").unwrap();
    fs::write(at("tree/name"), "covered").unwrap();
    let Some(_volume) = memory(&at("tree/volume")) else { return };
    fs::write(at("tree/volume/file"), "foreign").unwrap();
    let Some(_file) = bind(&at("tree/volume/file"), &at("tree/name")) else { return };
    let adjust = |options: &mut DirectoryOptions| {
        options.one_file_system = true;
        options.exclude_caches = true;
        options.own = vec![at("tree/own/repository"), at("not there")];
    };
    let repository = repository().await;
    let report = try_backup(&repository, &[directory_with(&at("tree"), adjust)]).await.unwrap();
    assert_eq!(report.problems, []);
    assert_eq!(report.snapshot.sources[0].excluded, 4);
    let seen = listed(&repository, &report).await;
    let seen: Vec<_> = seen.iter().map(|(path, seen)| (path.as_str(), *seen)).collect();
    assert_eq!(
        seen,
        [
            ("", Seen::Whole),
            ("cache", Seen::LeftOut),
            ("cache/CACHEDIR.TAG", Seen::Whole),
            ("dir", Seen::Whole),
            ("name", Seen::LeftOut),
            ("own", Seen::Whole),
            ("own/repository", Seen::LeftOut),
            ("volume", Seen::LeftOut),
        ]
    );
    // Included the next time, it is noticed.
    let report = backup(&repository, &at("tree")).await;
    let items = recall(&repository, &report.snapshot).await;
    assert_eq!(items[&path("volume/file")].bytes, b"foreign");
    assert_eq!(items[&path("name")].bytes, b"foreign");
    assert_eq!(items[&path("cache/data")].bytes, b"x");
}

/// The entries of the snapshot, as they are stored.
async fn listed(repository: &Repository, report: &backup::Report) -> Vec<(String, Seen)> {
    let mut walk =
        backstay::repo::walk::EntryCursor::open(repository, &report.snapshot.sources[0].root)
            .await
            .unwrap();
    let mut found = Vec::new();
    while let Some(stored) = walk.next().await.unwrap() {
        found.push((stored.entry.path.to_string(), stored.entry.seen));
    }
    found
}

#[tokio::test]
async fn every_file_system_comes_back_as_it_was() {
    for format in Format::ALL {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        let Some(_mounted) = formatted(format, &at("tree")) else { return };
        fs::create_dir(at("tree/deep")).unwrap();
        fs::write(at("tree/deep/file"), "content").unwrap();
        fs::write(at("tree/large"), database(1, 600)).unwrap();
        let repository = repository().await;
        for _ in 0..2 {
            let report = backup(&repository, &at("tree")).await;
            assert_eq!(report.problems, [], "{format:?}");
            let items = recall(&repository, &report.snapshot).await;
            assert_eq!(items[&path("deep/file")].bytes, b"content", "{format:?}");
            assert!(items[&path("large")].bytes == database(1, 600), "{format:?}");
        }
    }
}

#[tokio::test]
async fn an_overlay_comes_back_as_it_looks() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    // Two file systems below one overlay: files of the lower one have a device of their own.
    let Some(_lower) = formatted(Format::Ext4, &at("lower")) else { return };
    let Some(_upper) = formatted(Format::Ext4, &at("disk")) else { return };
    fs::write(at("lower/from-below"), "lower").unwrap();
    fs::write(at("lower/changed"), "lower").unwrap();
    let mounted = overlay(&at("lower"), &at("disk/upper"), &at("disk/work"), &at("tree"));
    let Some(_overlay) = mounted else { return };
    fs::write(at("tree/changed"), "upper").unwrap();
    fs::write(at("tree/new"), "upper").unwrap();
    let repository = repository().await;
    tick();
    let adjust = |options: &mut DirectoryOptions| options.one_file_system = true;
    let report = try_backup(&repository, &[directory_with(&at("tree"), adjust)]).await.unwrap();
    assert_eq!(report.problems, []);
    restore(&repository, &report.snapshot, &at("restored")).await;
    same(&at("tree"), &at("restored"));
    let again = try_backup(&repository, &[directory_with(&at("tree"), adjust)]).await.unwrap();
    assert_eq!(again.read_files, 0);
}

/// Holes of a database are passed over, however long they are.
#[tokio::test]
async fn holes_of_a_database_cost_nothing() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let sparse = File::create(tree.join("sparse.db")).unwrap();
    sparse.write_all_at(&database(1, 2), 0).unwrap();
    sparse.write_all_at(&database(2, 1), 300 << 20).unwrap();
    // More segments than may wait for the pages of one.
    sparse.set_len((2 << 30) + 5_000).unwrap();
    let repository = repository().await;
    let first = backup(&repository, &tree).await;
    assert_eq!(first.problems, []);
    assert!(first.read_bytes <= 6 << 20, "{}", first.read_bytes);
    restore(&repository, &first.snapshot, &place.path().join("restored")).await;
    let same_bytes = |name: &str| {
        let back = place.path().join(name).join("sparse.db");
        assert_eq!(back.metadata().unwrap().blocks(), sparse.metadata().unwrap().blocks());
        run(Command::new("cmp").args([tree.join("sparse.db"), back]));
    };
    same_bytes("restored");
    // A hole that was filled, and bytes that became a hole.
    sparse.write_all_at(&database(3, 1), 500 << 20).unwrap();
    rustix::fs::fallocate(
        &sparse,
        rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
        300 << 20,
        4096,
    )
    .unwrap();
    let second = backup(&repository, &tree).await;
    assert!(second.read_bytes <= 6 << 20, "{}", second.read_bytes);
    restore(&repository, &second.snapshot, &place.path().join("again")).await;
    same_bytes("again");
}

#[tokio::test]
async fn inode_flags_are_kept() {
    for (format, flags, kept) in [
        (Format::Ext4, "+iad", 0x70),
        (Format::Xfs, "+iad", 0x70),
        (Format::Btrfs, "+C", 0x80_0000),
    ] {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        let Some(_mounted) = formatted(format, &tree) else { return };
        let file = tree.join("file");
        File::create(&file).unwrap();
        let change = |flags: &str| run(Command::new(tool("chattr")).arg(flags).arg(&file));
        change(flags);
        let repository = repository().await;
        tick();
        let report = backup(&repository, &tree).await;
        let flags_of = async |report: &backup::Report| {
            recall(&repository, &report.snapshot).await[&path("file")].entry.inode_flags
        };
        assert_eq!(flags_of(&report).await, kept, "{format:?}");
        assert_eq!(backup(&repository, &tree).await.read_files, 0, "{format:?}");
        change(&flags.replace('+', "-"));
        let report = backup(&repository, &tree).await;
        assert_eq!(flags_of(&report).await, 0, "{format:?}");
    }
}

/// A program that holds a lease on a file and gives it back when it is asked to.
#[tokio::test]
async fn a_file_under_a_lease_is_waited_for() {
    const PROGRAM: &str = "
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR)
signal.signal(signal.SIGIO, lambda *_: fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK))
fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()
";
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    fs::write(&file, "content").unwrap();
    let mut holder = Command::new("python3")
        .args(["-c", PROGRAM])
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    let repository = repository().await;
    let report = backup(&repository, place.path()).await;
    assert_eq!(report.problems, []);
    let items = recall(&repository, &report.snapshot).await;
    assert_eq!(items[&path("file")].bytes, b"content");
    assert_eq!(items[&path("file")].entry.kind, Kind::File);
    drop(holder.stdin.take());
    holder.wait().unwrap();
}
