//! Bytes, holes and modes of overwriting.

use rustix::fs::{SeekFrom, seek};

use super::*;

const MIB: u64 = 1024 * 1024;

/// Runs of data as the file system sees them.
fn runs(path: &Path) -> Vec<(u64, u64)> {
    let file = fs::File::open(path).unwrap();
    let mut runs = Vec::new();
    let mut position = 0;
    while let Ok(start) = seek(&file, SeekFrom::Data(position)) {
        position = seek(&file, SeekFrom::Hole(start)).unwrap();
        runs.push((start, position - start));
    }
    runs
}

fn bytes(length: u64) -> Vec<u8> {
    let length = usize::try_from(length).unwrap();
    (1..=u8::MAX).cycle().take(length).collect()
}

/// A sparse file and its bytes.
fn sparse(name: &str, size_bytes: u64, data: &[(u64, u64)]) -> (Entry, Vec<u8>) {
    let mut entry = file(name, size_bytes);
    entry.extents = Some(data.iter().map(|&(at, length)| extent(at, length)).collect());
    let mut content = bytes(size_bytes);
    let mut at = 0;
    for &(start, length) in data.iter().chain([&(size_bytes, 0)]) {
        content[usize::try_from(at).unwrap()..usize::try_from(start).unwrap()].fill(0);
        at = start + length;
    }
    (entry, content)
}

#[test]
fn pieces_come_in_any_order_from_any_thread() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let content = bytes(MIB + 77);
    let output = destination.create(&file("f", MIB + 77)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (output, content) = (&output, &content);
            scope.spawn(move || {
                for (number, piece) in
                    content.chunks(10_007).enumerate().collect::<Vec<_>>().iter().rev()
                {
                    if number % 2 == thread {
                        let offset = u64::try_from(number * 10_007).unwrap();
                        output.write_at(piece, offset).unwrap();
                    }
                }
            });
        }
    });
    output.finish().unwrap();
    finish(&destination);
    assert_eq!(fs::read(place.at("f")).unwrap(), content);
    assert_eq!(modified(place.at("f")), THEN);
}

#[test]
fn holes_stay_holes() {
    let cases: [&[(u64, u64)]; 5] = [
        &[],
        &[(0, MIB)],
        &[(MIB, MIB)],
        &[(2 * MIB, MIB)],
        &[(4096, 4096), (MIB, 8192), (3 * MIB - 4096, 4096)],
    ];
    for overwrites in [false, true] {
        let place = Place::new();
        let destination = place.begin(Overwrite::Always);
        for (number, data) in cases.iter().enumerate() {
            let name = format!("f{number}");
            let (entry, content) = sparse(&name, 3 * MIB, data);
            if overwrites {
                fs::write(place.at(&name), bytes(4 * MIB)).unwrap();
            }
            restore_file(&destination, &entry, &content);
            assert_eq!(fs::read(place.at(&name)).unwrap(), content, "{data:?}");
            assert_eq!(runs(&place.at(&name)), *data);
        }
        finish(&destination);
    }
}

/// The last block of a file is seldom full, and a hole in it is a hole all the same.
#[test]
fn holes_reach_to_the_end_of_files_of_any_size() {
    for (size, data) in [(1, &[][..]), (5000, &[][..]), (4097, &[(0, 4096)][..])] {
        for before in [size, 3 * size + 9000] {
            let place = Place::new();
            let destination = place.begin(Overwrite::Always);
            let (entry, content) = sparse("f", size, data);
            fs::write(place.at("f"), bytes(before)).unwrap();
            restore_file(&destination, &entry, &content);
            assert_eq!(fs::read(place.at("f")).unwrap(), content);
            assert_eq!(runs(&place.at("f")), *data, "{size} bytes over {before}");
            finish(&destination);
        }
    }
}

#[test]
fn damaged_extents_leave_nothing_out() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let mut entry = file("f", 9);
    entry.extents = Some(vec![extent(5, 9), extent(0, 1)]);
    restore_file(&destination, &entry, b"ninebytes");
    assert_eq!(fs::read(place.at("f")).unwrap(), b"ninebytes");
}

#[test]
fn a_file_with_two_names_gives_way_to_a_new_one() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    let (entry, content) = sparse("f", 3 * MIB, &[(MIB, MIB)]);
    fs::write(place.at("f"), bytes(3 * MIB)).unwrap();
    fs::hard_link(place.at("f"), place.at("g")).unwrap();
    let destination = place.begin(Overwrite::Always);
    assert!(destination.existing(&entry).unwrap().is_none());
    restore_file(&destination, &entry, &content);
    finish(&destination);
    assert!(fs::read(place.at("f")).unwrap() == content);
    assert!(fs::read(place.at("g")).unwrap() == bytes(3 * MIB));
    assert_eq!(runs(&place.at("f")), [(MIB, MIB)]);
}

#[test]
fn sizes_change_both_ways() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    fs::write(place.at("long"), "too long").unwrap();
    fs::write(place.at("short"), "too").unwrap();
    let destination = place.begin(Overwrite::Always);
    let long = file("long", 3);
    assert!(destination.existing(&long).unwrap().is_some());
    destination.create(&long).unwrap().finish().unwrap();
    let short = file("short", 9);
    assert!(destination.existing(&short).unwrap().is_some());
    let output = destination.create(&short).unwrap();
    output.write_at(b" short", 3).unwrap();
    output.finish().unwrap();
    destination.create(&file("empty", 0)).unwrap().finish().unwrap();
    destination.create(&file("hole", 5)).unwrap().finish().unwrap();
    finish(&destination);
    assert_eq!(fs::read(place.at("long")).unwrap(), b"too");
    assert_eq!(fs::read(place.at("short")).unwrap(), b"too short");
    assert_eq!(fs::read(place.at("empty")).unwrap(), b"");
    assert_eq!(fs::read(place.at("hole")).unwrap(), [0; 5]);
}

#[test]
fn what_is_skipped_in_which_mode() {
    let place = Place::new();
    let same = file("d/same", 4);
    let mut newer = same.clone();
    newer.modified.nanoseconds += 1;
    let cases = [
        (Overwrite::Always, [false, false, false, false]),
        (Overwrite::IfChanged, [true, false, false, false]),
        (Overwrite::Never, [true, true, true, false]),
    ];
    for (overwrite, expected) in cases {
        let destination = place.begin(Overwrite::Always);
        destination.directory(&directory("d")).unwrap();
        restore(&destination, "d/same", "same");
        finish(&destination);
        let destination = place.begin(overwrite);
        let entries = [&same, &newer, &file("d/same", 5), &file("d/new", 4)];
        let skipped = entries.map(|entry| destination.skip(entry).unwrap());
        assert_eq!(skipped, expected, "{overwrite:?}");
        let compares = destination.existing(&newer).unwrap().is_some();
        assert_eq!(compares, overwrite != Overwrite::Never);
        assert!(!destination.skip(&directory("d")).unwrap());
        assert!(!destination.skip(&file("missing/f", 4)).unwrap());
        finish(&destination);
    }
}

#[test]
fn never_writes_nothing_over() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    for name in ["f", "l", "h"] {
        fs::write(place.at(name), name).unwrap();
    }
    let destination = place.begin(Overwrite::Never);
    assert!(destination.create(&file("f", 9)).is_err());
    destination.special(&symlink("l", "x")).unwrap();
    assert_eq!(destination.link(&file("h", 1), &path("f")).unwrap(), Linked::Made);
    finish(&destination);
    for name in ["f", "l", "h"] {
        assert_eq!(fs::read(place.at(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn a_fresh_restore_never_replaces_what_appears() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    restore(&destination, "f", "f");
    let again = destination.create(&file("f", 9)).err();
    assert!(matches!(again, Some(Error::InTheWay { .. })), "{again:?}");
    let again = destination.special(&symlink("f", "x"));
    assert!(matches!(again, Err(Error::InTheWay { .. })), "{again:?}");
    assert_eq!(fs::read(place.at("f")).unwrap(), b"f");
}

#[test]
fn hard_links_are_made_and_made_again() {
    let place = Place::new();
    for _ in 0..2 {
        let destination = place.begin(Overwrite::Always);
        destination.directory(&directory("d")).unwrap();
        restore(&destination, "f", "f");
        assert_eq!(destination.link(&file("d/g", 1), &path("f")).unwrap(), Linked::Made);
        assert_eq!(destination.link(&file("h", 1), &path("f")).unwrap(), Linked::Made);
        assert_eq!(destination.link(&file("h", 1), &path("f")).unwrap(), Linked::Made);
        finish(&destination);
        let first = fs::metadata(place.at("f")).unwrap();
        for name in ["d/g", "h"] {
            assert_eq!(fs::metadata(place.at(name)).unwrap().ino(), first.ino());
        }
        assert_eq!(first.nlink(), 3);
    }
}

#[test]
fn a_full_directory_gives_way_only_to_delete() {
    let place = Place::new();
    fs::create_dir_all(place.at("d/e/f")).unwrap();
    fs::create_dir_all(place.at("empty")).unwrap();
    let destination = place.begin(Overwrite::Always);
    restore(&destination, "empty", "file");
    let refused = destination.create(&file("d", 4)).err();
    assert!(matches!(refused, Some(Error::InTheWay { .. })), "{refused:?}");
    finish(&destination);
    let mut options = place.options(Overwrite::Always);
    options.delete = true;
    let destination = begun(options);
    // Holds `d/e` open, which must not be found again once `d` is new.
    restore(&destination, "d/e/g", "g");
    restore(&destination, "d", "file");
    assert!(destination.create(&file("d/e/g", 1)).is_err());
    finish(&destination);
    assert_eq!(fs::read(place.at("d")).unwrap(), b"file");
}
