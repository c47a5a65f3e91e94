//! What may be restored into, and what an interruption leaves.

use super::*;

const MARKER: &str = ".backstay-restore";

#[test]
fn a_missing_directory_is_made_with_its_parents() {
    let place = Place::new();
    let mut options = place.options(Overwrite::Refuse);
    options.path = place.at("deep/er");
    let destination = begun(options);
    assert!(place.at("deep/er").join(MARKER).is_file());
    finish(&destination);
    assert_eq!(fs::read_dir(place.at("deep/er")).unwrap().count(), 0);
}

#[test]
fn a_directory_with_data_is_refused() {
    let place = Place::new();
    fs::create_dir_all(place.at("lost+found")).unwrap();
    finish(&place.begin(Overwrite::Refuse));

    fs::write(place.at("precious"), "data").unwrap();
    let refused = DirectoryDestination::new(place.options(Overwrite::Refuse)).begin();
    let Err(Error::NotEmpty { example, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(example, "precious");
    assert!(!place.at(MARKER).exists());
    for mode in [Overwrite::IfChanged, Overwrite::Always, Overwrite::Never] {
        finish(&place.begin(mode));
    }
    assert_eq!(fs::read(place.at("precious")).unwrap(), b"data");
}

#[test]
fn a_regular_file_as_root_is_refused() {
    let place = Place::new();
    fs::write(place.root(), "").unwrap();
    let refused = DirectoryDestination::new(place.options(Overwrite::Always)).begin();
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
}

#[test]
fn nothing_works_before_begin() {
    let place = Place::new();
    let destination = DirectoryDestination::new(place.options(Overwrite::Always));
    assert!(destination.directory(&directory("a")).is_err());
    assert!(destination.finish().is_err());
    assert!(!place.root().exists());
}

#[test]
fn an_interrupted_restore_is_resumed() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Refuse);
    assert!(!destination.is_resumed());
    destination.directory(&directory("d")).unwrap();
    restore(&destination, "d/whole", "whole");
    let output = destination.create(&file("half", 8)).unwrap();
    output.write_at(b"half", 0).unwrap();
    drop(output);
    // Right in size and time, wrong in bytes: as a power failure may leave it.
    restore(&destination, "torn", "torn");
    destination.seal_directory(&directory("d")).unwrap();
    fs::write(place.at("torn"), [0; 4]).unwrap();
    drop(destination);

    let destination = place.begin(Overwrite::Refuse);
    assert!(destination.is_resumed());
    destination.directory(&directory("d")).unwrap();
    let mut whole = destination.existing(&file("d/whole", 5)).unwrap().unwrap();
    let mut buffer = [0; 9];
    assert_eq!(whole.read_at(&mut buffer, 0).unwrap(), 5);
    assert_eq!(&buffer[..5], b"whole");
    for name in ["d/whole", "half", "torn"] {
        assert!(!destination.skip(&file(name, 4)).unwrap());
    }
    let output = destination.create(&file("d/whole", 5)).unwrap();
    output.finish().unwrap();
    restore(&destination, "half", "halfhalf");
    restore(&destination, "torn", "torn");
    destination.seal_directory(&directory("d")).unwrap();
    finish(&destination);
    assert_eq!(fs::read(place.at("d/whole")).unwrap(), b"whole");
    assert_eq!(fs::read(place.at("half")).unwrap(), b"halfhalf");
    assert_eq!(fs::read(place.at("torn")).unwrap(), b"torn");
    assert!(!place.at(MARKER).exists());
}

#[test]
fn another_restores_marker_is_respected() {
    let place = Place::new();
    drop(place.begin(Overwrite::Refuse));
    let mut options = place.options(Overwrite::Always);
    options.identity = "snapshot 2 source a".to_owned();
    let refused = DirectoryDestination::new(options).begin();
    let Err(Error::Unusable { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("snapshot 1 source a"), "{reason}");
}

#[test]
fn two_restores_at_once_are_refused() {
    let place = Place::new();
    let first = place.begin(Overwrite::Refuse);
    let second = DirectoryDestination::new(place.options(Overwrite::Refuse));
    assert!(matches!(second.begin(), Err(Error::Unusable { .. })));
    assert!(matches!(first.begin(), Err(Error::Unusable { .. })));
    finish(&first);
}

#[test]
fn a_torn_marker_counts_as_none_and_a_strange_one_stops() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    fs::write(place.at(MARKER), "").unwrap();
    let destination = place.begin(Overwrite::Refuse);
    assert!(!destination.is_resumed());
    finish(&destination);

    fs::write(place.at(MARKER), "my notes on Backstay").unwrap();
    let refused = DirectoryDestination::new(place.options(Overwrite::Always)).begin();
    assert!(matches!(refused, Err(Error::Unusable { .. })), "{refused:?}");
    fs::remove_file(place.at(MARKER)).unwrap();
    std::os::unix::fs::symlink(place.outside().join("secret"), place.at(MARKER)).unwrap();
    let refused = DirectoryDestination::new(place.options(Overwrite::Always)).begin();
    assert!(matches!(refused, Err(Error::InTheWay { .. })), "{refused:?}");
    place.assert_outside_untouched();
}

#[test]
fn never_cannot_resume_among_other_files() {
    let place = Place::new();
    fs::create_dir(place.root()).unwrap();
    fs::write(place.at("mine"), "mine").unwrap();
    drop(place.begin(Overwrite::Never));
    for mode in [Overwrite::Never, Overwrite::Refuse] {
        let refused = DirectoryDestination::new(place.options(mode)).begin();
        assert!(matches!(refused, Err(Error::Unusable { .. })), "{refused:?}");
    }
    assert!(place.begin(Overwrite::IfChanged).is_resumed());
}

#[test]
fn a_snapshot_of_an_unfinished_restore_does_not_end_ours() {
    let place = Place::new();
    let destination = place.begin(Overwrite::Always);
    restore(&destination, MARKER, "false");
    destination.special(&symlink(MARKER, "/")).unwrap();
    destination.directory(&directory(MARKER)).unwrap();
    assert!(fs::read_to_string(place.at(MARKER)).unwrap().contains("snapshot 1"));
    let shortfalls = destination.finish().unwrap().listed;
    assert_eq!(shortfalls.len(), 3);
    assert!(!place.at(MARKER).exists());
}

#[test]
fn deleting_and_never_overwriting_contradict() {
    let place = Place::new();
    let mut options = place.options(Overwrite::Never);
    options.delete = true;
    assert!(matches!(DirectoryDestination::new(options).begin(), Err(Error::Unusable { .. })));
}
