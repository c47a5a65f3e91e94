//! Hostile repositories and planted links: nothing is ever written outside the root.

use std::os::unix::fs::symlink as plant;

use super::*;

/// Every call that writes, at a path.
fn try_everything(destination: &dyn Destination, below: &str) -> Vec<Error> {
    let at = |name: &str| format!("{below}/{name}");
    let output = destination.create(&file(&at("secret"), 6));
    let created = output.and_then(|output| {
        output.write_at(b"broken", 0)?;
        output.finish()
    });
    [
        created,
        destination.special(&symlink(&at("link"), "x")),
        destination.special(&entry(&at("fifo"), Kind::Fifo, 0o600)),
        destination.link(&file(&at("hard"), 0), &path("ours")).map(drop),
        destination.link(&file("hard", 6), &path(&at("secret"))).map(drop),
        destination.directory(&directory(&at("directory"))),
        destination.seal_directory(&directory(below)),
        destination.existing(&file(&at("secret"), 6)).map(drop),
        destination.remove_extraneous(&path(below), &BTreeSet::new()).map(drop),
    ]
    .into_iter()
    .filter_map(Result::err)
    .collect()
}

#[test]
fn a_link_planted_at_any_component_is_not_followed() {
    for depth in 0..4 {
        for overwrite in [Overwrite::Refuse, Overwrite::Always] {
            let place = Place::new();
            let mut options = place.options(overwrite);
            options.delete = true;
            let destination = begun(options);
            restore(&destination, "ours", "ours");
            let components = ["a", "b", "c", "d"];
            let mut parent = String::new();
            for component in &components[..depth] {
                parent = format!("{parent}{component}/");
                let made = parent.trim_end_matches('/');
                destination.directory(&directory(made)).unwrap();
            }
            plant(place.outside(), place.at(&parent).join(components[depth])).unwrap();
            let below = components.join("/");
            let errors = try_everything(&destination, &below);
            // Without anything to compare, `existing` does not even look.
            let expected = if overwrite == Overwrite::Refuse { 8 } else { 9 };
            assert!(errors.len() == expected, "{depth} {overwrite:?} {errors:?}");
            place.assert_outside_untouched();
        }
    }
}

#[test]
fn a_restored_link_is_not_followed() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let outside = place.outside();
    destination.special(&symlink("a", outside.to_str().unwrap())).unwrap();
    assert!(matches!(destination.create(&file("a/secret", 1)).err(), Some(Error::InTheWay { .. })));
    assert!(matches!(destination.directory(&directory("a")), Err(Error::InTheWay { .. })));
    place.assert_outside_untouched();
}

#[test]
fn always_replaces_the_link_itself() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Always);
    plant(place.outside(), place.at("a")).unwrap();
    plant(place.outside().join("secret"), place.at("f")).unwrap();
    plant(place.outside().join("new"), place.at("g")).unwrap();
    destination.directory(&directory("a")).unwrap();
    for name in ["a/secret", "f", "g"] {
        assert!(destination.existing(&file(name, 6)).unwrap().is_none());
        restore(&destination, name, "broken");
        assert!(place.at(name).symlink_metadata().unwrap().is_file());
    }
    finish(&destination);
    place.assert_outside_untouched();
}

#[test]
fn if_changed_leaves_a_directory_that_was_moved_away() {
    let place = Place::new();
    let destination = place.begin(Overwrite::IfChanged);
    plant(place.outside(), place.at("a")).unwrap();
    assert!(matches!(destination.directory(&directory("a")), Err(Error::InTheWay { .. })));
}

#[test]
fn a_hard_link_to_the_outside_is_not_written_through() {
    for overwrite in [Overwrite::IfChanged, Overwrite::Always] {
        let place = Place::new();
        fs::create_dir(place.root()).unwrap();
        fs::hard_link(place.outside().join("secret"), place.at("f")).unwrap();
        let destination = place.begin(overwrite);
        // It has a name that is none of ours: nothing of it is used, and it makes way.
        assert!(destination.existing(&file("f", 6)).unwrap().is_none());
        let output = destination.create(&file("f", 6)).unwrap();
        output.write_at(b"public", 0).unwrap();
        output.finish().unwrap();
        assert_eq!(fs::read(place.at("f")).unwrap(), b"public");
        place.assert_outside_untouched();
        finish(&destination);
    }
}

#[test]
fn a_fifo_or_device_in_the_way_is_replaced_and_not_opened() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Always);
    destination.special(&entry("fifo", Kind::Fifo, 0o600)).unwrap();
    // Would wait for a reader forever.
    restore(&destination, "fifo", "bytes");
    assert_eq!(fs::read(place.at("fifo")).unwrap(), b"bytes");
    finish(&destination);
}

#[test]
fn writing_beyond_the_size_is_refused() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    let output = destination.create(&file("f", 3)).unwrap();
    assert!(output.write_at(b"four", 0).is_err());
    assert!(output.write_at(b"f", u64::MAX).is_err());
    output.write_at(b"thr", 0).unwrap();
    output.finish().unwrap();
    assert!(output.write_at(b"t", 0).is_err());
    assert!(output.finish().is_err());
}

#[test]
fn paths_longer_than_the_system_takes() {
    let place = Place::new();
    let mut options = place.options(Overwrite::Refuse);
    options.delete = true;
    let destination = begun(options);
    // 60 × 201 bytes: three times PATH_MAX, and more levels than stay open.
    let name = "n".repeat(200);
    let mut deep = TreePath::root();
    let mut directories = Vec::new();
    for _ in 0..70 {
        deep = deep.join(name.as_bytes());
        let mut entry = directory("x");
        entry.path = deep.clone();
        destination.directory(&entry).unwrap();
        directories.push(entry);
    }
    let mut entry = file("x", 4);
    entry.path = deep.join(b"file");
    restore_file(&destination, &entry, b"deep");
    assert!(destination.existing(&entry).unwrap().is_none());
    let mut link = entry.clone();
    link.path = path("top");
    assert_eq!(destination.link(&link, &entry.path).unwrap(), Linked::Made);
    for entry in directories.iter().rev() {
        destination.seal_directory(entry).unwrap();
    }
    assert_eq!(fs::read(place.at("top")).unwrap(), b"deep");
    assert_eq!(fs::metadata(place.at("top")).unwrap().nlink(), 2);
    let keep = BTreeSet::from([b"top".to_vec()]);
    let removed = destination.remove_extraneous(&TreePath::root(), &keep);
    assert_eq!(removed.unwrap().names, 71);
    assert_eq!(fs::metadata(place.at("top")).unwrap().nlink(), 1);
    finish(&destination);
}
