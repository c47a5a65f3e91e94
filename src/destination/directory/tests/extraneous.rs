//! Removing what the snapshot doesn't have.

use std::os::unix::fs::{PermissionsExt, symlink as plant};

use super::*;

fn deleting(place: &Place) -> DirectoryDestination {
    let mut options = place.options(Overwrite::Always);
    options.delete = true;
    begun(options)
}

#[test]
fn only_what_is_extraneous_goes() {
    let place = Place::new();
    fs::create_dir_all(place.at("lost+found")).unwrap();
    fs::create_dir_all(place.at("old/lost+found/deep/er")).unwrap();
    fs::create_dir_all(place.at("old/other/deep")).unwrap();
    fs::write(place.at("old/lost+found/deep/er/f"), "").unwrap();
    fs::write(place.at("old/.backstay-removed-1"), "").unwrap();
    fs::create_dir_all(place.at("kept/new")).unwrap();
    plant(place.outside(), place.at("old/link")).unwrap();
    plant(place.outside(), place.at("link")).unwrap();
    let destination = deleting(&place);
    let keep = BTreeSet::from([b"kept".to_vec()]);
    let removed = destination.remove_extraneous(&TreePath::root(), &keep);
    // old, lost+found, deep, er, f, other, deep, .backstay-removed-1, link; link.
    assert_eq!(removed.unwrap().names, 10);
    let removed = destination.remove_extraneous(&path("kept"), &BTreeSet::new());
    assert_eq!(removed.unwrap().names, 1);
    finish(&destination);
    let mut left: Vec<_> =
        fs::read_dir(place.root()).unwrap().map(|item| item.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["kept", "lost+found"]);
    place.assert_outside_untouched();
}

#[test]
fn nothing_goes_unless_asked() {
    let place = Place::new();
    fs::create_dir_all(place.at("old")).unwrap();
    let destination = place.begin(Overwrite::Always);
    let removed = destination.remove_extraneous(&TreePath::root(), &BTreeSet::new());
    assert_eq!(removed.unwrap().names, 0);
    assert!(place.at("old").exists());
}

#[test]
fn directories_that_keep_us_out_go_too() {
    let place = Place::new();
    fs::create_dir_all(place.at("a/b/c/d")).unwrap();
    for name in ["a/b/c", "a/b", "a"] {
        fs::set_permissions(place.at(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let destination = deleting(&place);
    let removed = destination.remove_extraneous(&TreePath::root(), &BTreeSet::new());
    assert_eq!(removed.unwrap().names, 4);
    finish(&destination);
}
