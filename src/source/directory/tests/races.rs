//! What happens when files come, go and change while they are listed and read; pinned copies.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[tokio::test]
async fn what_was_swapped_since_the_listing_is_never_followed() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["file", "gone", "new", "d/inside", "shrinks", "grows", "touched"]);
    fs::write(place.path().join("secret"), "s").unwrap();
    let read = read_with(place.path(), |_| {}).await;
    let path = |name: &str| place.path().join(name);
    fs::remove_file(path("file")).unwrap();
    symlink("secret", path("file")).unwrap();
    fs::remove_file(path("gone")).unwrap();
    fs::rename(path("new"), path("old")).unwrap();
    fs::write(path("new"), "other").unwrap();
    fs::rename(path("d"), path("real")).unwrap();
    symlink("real", path("d")).unwrap();
    let fault = |name| read.content(name).unwrap_err().fault;
    assert_eq!(fault("file"), Fault::Changed);
    assert_eq!(fault("gone"), Fault::Vanished);
    assert_eq!(fault("new"), Fault::Changed);
    assert_eq!(fault("d/inside"), Fault::Changed);
    let lacking = read.files.attributes(read.entry("file")).unwrap().lacking;
    assert_eq!(lacking.map(|problem| problem.fault), Some(Fault::Changed));
    assert_eq!(read.files.attributes(read.entry("gone")).unwrap_err().fault, Fault::Vanished);

    let open = |name| read.files.open(read.entry(name)).unwrap();
    let mut shrinks = open("shrinks");
    let (grows, touched) = (open("grows"), open("touched"));
    File::options().write(true).open(path("shrinks")).unwrap().set_len(3).unwrap();
    fs::write(path("grows"), "much longer than before").unwrap();
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    File::open(path("touched")).unwrap().set_times(times).unwrap();
    let mut buffer = [0; 100];
    assert_eq!(shrinks.read_at(&mut buffer, 0), Ok(3));
    assert_eq!(shrinks.close().unwrap().fault, Fault::Shrunk);
    assert_eq!(grows.close().unwrap().fault, Fault::Changed);
    assert_eq!(touched.close().unwrap().fault, Fault::Changed);
    // Losing its name is no change of what was read.
    let unlinked = open("secret");
    fs::remove_file(path("secret")).unwrap();
    assert_eq!(unlinked.close(), None);
}

#[tokio::test]
async fn a_pinned_directory_is_read_as_it_was() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["table", "log", "edited", "d/deep"]);
    let path = |name: &str| place.path().join(name);
    let mut options = DirectoryOptions::new("test", place.path());
    options.pin = true;
    let cut = cut(&DirectorySource::new(options).unwrap()).await.unwrap();
    fs::remove_file(path("table")).unwrap();
    fs::remove_dir_all(path("d")).unwrap();
    fs::write(path("table"), "another").unwrap();
    let mut log = fs::read(path("log")).unwrap();
    log.extend_from_slice(b" and more");
    File::options().append(true).open(path("log")).unwrap().write_all_at(b"", 0).unwrap();
    fs::write(path("late"), "late").unwrap();
    std::io::Write::write_all(&mut File::options().append(true).open(path("log")).unwrap(), b"+")
        .unwrap();
    let read = drain(cut).await;
    assert_eq!(read.paths(), ["", "d", "d/deep", "edited", "log", "table"]);
    assert_eq!(read.content("table").unwrap(), b"table");
    assert_eq!(read.content("d/deep").unwrap(), b"d/deep");
    assert_eq!(read.content("log").unwrap(), b"log");
    let edited = read.files.open(read.entry("edited")).unwrap();
    let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    File::options().write(true).open(path("edited")).unwrap().write_all_at(b"E", 0).unwrap();
    File::open(path("edited")).unwrap().set_times(times).unwrap();
    assert_eq!(edited.close().unwrap().fault, Fault::Changed);
}

#[tokio::test]
async fn a_pinned_log_of_fixed_length_may_fill_up_but_not_change() {
    let place = tempfile::tempdir().unwrap();
    let journal = |name: &str| {
        let file = File::create(place.path().join(name)).unwrap();
        file.set_len(1 << 20).unwrap();
        file.write_all_at(&[1; 10_000], 0).unwrap();
        file
    };
    let (log, tree) = (journal("log"), journal("tree"));
    let read = read_with(place.path(), |options| options.pin = true).await;
    for (file, offset_bytes) in [(&log, 10_000), (&tree, 9_999)] {
        file.write_all_at(&[2; 5_000], offset_bytes).unwrap();
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        file.set_times(times).unwrap();
    }
    let mut expected = vec![1; 10_000];
    expected.resize(1 << 20, 0);
    assert!(read.content("log").unwrap() == expected);
    // Truncated to what is written, as some engines do when they close a log.
    let open = read.files.open(read.entry("log")).unwrap();
    log.set_len(15_000).unwrap();
    assert_eq!(open.close(), None);
    let run = Extent { offset_bytes: 0, length_bytes: 10_000 };
    let mut open = read.files.open(read.entry("tree")).unwrap();
    assert_eq!(open.extents().unwrap(), Some(vec![run]));
    let mut buffer = vec![0; 1 << 20];
    open.read_at(&mut buffer, 0).unwrap();
    tree.write_all_at(&[3], 5_000).unwrap();
    assert_eq!(open.close().unwrap().fault, Fault::Changed);
}

/// An engine that writes tables and then the list of them, as LSM trees do: every table that
/// a pinned list names must be in the pinned copy and be whole.
#[tokio::test]
async fn a_pinned_directory_is_consistent_under_a_busy_engine() {
    let place = tempfile::tempdir().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    fs::write(place.path().join("MANIFEST-1"), "").unwrap();
    let engine = std::thread::spawn({
        let (root, stop) = (place.path().to_owned(), Arc::clone(&stop));
        move || {
            let mut manifest = File::options().append(true).open(root.join("MANIFEST-1")).unwrap();
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                fs::write(root.join(format!("{number}.table")), vec![7; 10_000]).unwrap();
                std::io::Write::write_all(&mut manifest, format!("+{number}\n").as_bytes())
                    .unwrap();
                if number >= 3 {
                    let old = number - 3;
                    let line = format!("-{old}\n");
                    std::io::Write::write_all(&mut manifest, line.as_bytes()).unwrap();
                    fs::remove_file(root.join(format!("{old}.table"))).unwrap();
                }
                number += 1;
                // A flush now and then, not a storm of them.
                std::thread::park_timeout(std::time::Duration::from_millis(3));
            }
        }
    });
    for _ in 0..20 {
        let read = read_with(place.path(), |options| options.pin = true).await;
        let manifest = String::from_utf8(read.content("MANIFEST-1").unwrap()).unwrap();
        let mut live = std::collections::BTreeSet::new();
        for line in manifest.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match line.split_at(1) {
                ("+", number) => live.insert(number),
                (_, number) => live.remove(number),
            };
        }
        for number in live {
            let table = read.content(&format!("{number}.table")).unwrap();
            assert_eq!(table.len(), 10_000);
        }
    }
    stop.store(true, Ordering::Relaxed);
    engine.join().unwrap();
}

#[tokio::test]
async fn what_comes_and_goes_during_the_walk_is_named_or_absent() {
    let place = tempfile::tempdir().unwrap();
    make(place.path(), &["stays/a", "stays/b"]);
    let stop = Arc::new(AtomicBool::new(false));
    let churn = std::thread::spawn({
        let (root, stop) = (place.path().to_owned(), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                for number in 0..50 {
                    let directory = root.join(format!("t{number}"));
                    fs::create_dir(&directory).unwrap();
                    fs::write(directory.join("x"), "x").unwrap();
                }
                for number in 0..50 {
                    fs::remove_dir_all(root.join(format!("t{number}"))).unwrap();
                }
            }
        }
    });
    for _ in 0..50 {
        let read = read_with(place.path(), |_| {}).await;
        assert_eq!(read.content("stays/a").unwrap(), b"stays/a");
        for problem in &read.problems {
            assert!(matches!(problem.fault, Fault::Vanished | Fault::Changed), "{problem}");
        }
        for entry in read.entries.iter().filter(|entry| entry.is_file()) {
            drop(content(&*read.files, entry));
        }
    }
    stop.store(true, Ordering::Relaxed);
    churn.join().unwrap();
}

#[tokio::test]
async fn bytes_are_appended_whatever_room_there_is() {
    let place = tempfile::tempdir().unwrap();
    let whole: Vec<u8> = (0..100_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    fs::write(place.path().join("file"), &whole).unwrap();
    let read = read_with(place.path(), |_| ()).await;
    for (room, wanted, at) in
        [(500, 500, 7), (564, 500, 7), (50_000, 500, 7), (0, 500, 7), (100_000, 100_000, 60_000)]
    {
        let mut open = read.files.open(read.entry("file")).unwrap();
        let mut buffer = Vec::with_capacity(3 + room);
        buffer.extend_from_slice(b"abc");
        let appended = open.append_to(&mut buffer, wanted, at).unwrap();
        let from = to_usize(at);
        let expected = [b"abc", &whole[from..whole.len().min(from + wanted)]].concat();
        assert!(buffer == expected && appended == expected.len() - 3, "{room} {wanted} {at}");
    }
    let mut open = read.files.open(read.entry("file")).unwrap();
    File::options().write(true).open(place.path().join("file")).unwrap().set_len(50).unwrap();
    let mut buffer = Vec::with_capacity(500);
    assert_eq!(open.append_to(&mut buffer, 500, 7), Ok(43));
    assert!(buffer == whole[7..50]);
    assert_eq!(open.close().unwrap().fault, Fault::Shrunk);
}

/// A plain file is read on to where it ends when that is noticed, a pinned one to where it ended.
#[tokio::test]
async fn a_file_that_grows_is_read_to_an_end() {
    for pin in [false, true] {
        let place = tempfile::tempdir().unwrap();
        make(place.path(), &["file"]);
        let read = read_with(place.path(), |options| options.pin = pin).await;
        let mut open = read.files.open(read.entry("file")).unwrap();
        fs::write(place.path().join("file"), "file and more").unwrap();
        let mut buffer = Vec::with_capacity(100);
        let expected: &[u8] = if pin { b"file" } else { b"file and more" };
        assert_eq!(open.append_to(&mut buffer, 100, 0), Ok(expected.len()));
        assert_eq!(buffer, expected);
        fs::write(place.path().join("file"), "file and more and more").unwrap();
        assert_eq!(open.read_at(&mut [0; 100], 0), Ok(expected.len()));
        assert_eq!(open.close().map(|problem| problem.fault), (!pin).then_some(Fault::Changed));
    }
}

/// The kernel's own files have no size that says what they hold.
#[tokio::test]
async fn a_size_is_only_a_hint() {
    for path in
        ["/proc/self/mountinfo", "/proc/version", "/sys/kernel/mm/transparent_hugepage/enabled"]
    {
        let Ok(expected) = fs::read(path) else {
            eprintln!("skipped: there is no {path} here");
            continue;
        };
        for pin in [false, true] {
            let read = read_with(Path::new(path), |options| options.pin = pin).await;
            let name = path.rsplit('/').next().unwrap();
            let mut open = read.files.open(read.entry(name)).unwrap();
            assert_ne!(open.entry().size_bytes, expected.len() as u64, "{path}");
            let mut buffer = Vec::new();
            open.append_to(&mut buffer, 1 << 20, 0).unwrap();
            assert!(buffer == expected, "{path}");
        }
    }
}
