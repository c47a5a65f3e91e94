//! Whether a repository and a destination overlap: a restore into the repository that it reads from, or
//! one that would delete it, is refused before anything is touched.
//!
//! Links are resolved, and a bind mount is another path to the same directory of the same file system. So
//! each path is named by its file system and its path in that file system, as the kernel's table of mounts
//! has them; what is mounted below a path belongs to it as well.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use super::super::Error;

/// A line of the kernel's table of mounts.
#[derive(Debug)]
struct Mount {
    /// Major and minor number of the file system.
    device: String,
    /// What of that file system is mounted.
    part: PathBuf,
    /// Where.
    point: PathBuf,
}

/// A directory of a file system.
type Spot = (String, PathBuf);

/// Fails if `destination` holds one of `others`, lies in one, or is one. A path that does not exist is
/// judged by what of it exists.
pub(super) fn refuse(destination: &Path, others: &[PathBuf]) -> Result<(), Error> {
    if others.is_empty() {
        return Ok(());
    }
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = parse(&table);
    let real_destination = resolve(destination);
    for other in others {
        let real_other = resolve(other);
        if overlap(&mounts, &real_destination, &real_other) {
            return Err(Error::Unsafe {
                path: destination.to_owned(),
                reason: format!(
                    "it and the repository {} lie in one another, so that a restore could write \
                     over the repository: choose another directory",
                    other.display()
                ),
            });
        }
    }
    Ok(())
}

/// The path without links. What does not exist yet is appended as it is.
fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing: Vec<OsString> = Vec::new();
    let mut there = absolute.as_path();
    loop {
        if let Ok(real) = there.canonicalize() {
            return missing.iter().rev().fold(real, |path, name| path.join(name));
        }
        let (Some(parent), Some(Component::Normal(name))) =
            (there.parent(), there.components().next_back())
        else {
            return absolute;
        };
        missing.push(name.to_owned());
        there = parent;
    }
}

fn parse(table: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let mut fields = line.split(' ');
        let device = fields.nth(2)?.to_owned();
        let (part, point) = (unescape(fields.next()?), unescape(fields.next()?));
        Some(Mount { device, part, point })
    };
    table.lines().filter_map(mount).collect()
}

/// The table has blanks and the like as octal numbers.
fn unescape(field: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let number = after.get(..3).filter(|_| first == b'\\');
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = number.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = after.get(3..).unwrap_or_default();
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn overlap(mounts: &[Mount], one: &Path, other: &Path) -> bool {
    let nested = |a: &Path, b: &Path| a.starts_with(b) || b.starts_with(a);
    if nested(one, other) {
        return true;
    }
    let others = spots(mounts, other);
    spots(mounts, one)
        .iter()
        .any(|(device, path)| others.iter().any(|(of, spot)| of == device && nested(path, spot)))
}

/// The directory at a path, and those that are mounted below it.
fn spots(mounts: &[Mount], path: &Path) -> Vec<Spot> {
    // The last one mounted on a point is the one that is seen.
    let over = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    let over =
        over.enumerate().max_by_key(|(number, mount)| (mount.point.as_os_str().len(), *number));
    let own = over.and_then(|(_, mount)| {
        let below = path.strip_prefix(&mount.point).ok()?;
        Some((mount.device.clone(), mount.part.join(below)))
    });
    let below = mounts.iter().filter(|mount| mount.point.starts_with(path) && mount.point != path);
    let below = below.map(|mount| (mount.device.clone(), mount.part.clone()));
    own.into_iter().chain(below).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 8:2 / /srv rw - ext4 /dev/sdb1 rw
31 22 8:2 /backups/repo /mnt/r rw - ext4 /dev/sdb1 rw
32 22 8:2 /backups/repo/pack /mnt/p\\040x rw - ext4 /dev/sdb1 rw
33 22 8:1 /home /mnt/all/home rw - ext4 /dev/sda1 rw
34 22 8:2 /backups /mnt/all/kept rw - ext4 /dev/sdb1 rw
35 22 0:40 / /proc rw - proc proc rw
";

    #[test]
    fn one_in_the_other_is_found_by_any_path() {
        let mounts = parse(TABLE);
        for (destination, expected) in [
            ("/srv/backups/repo", true),
            ("/srv/backups/repo/pack/x", true),
            ("/srv/backups", true),
            ("/srv/data", false),
            ("/srv/backups/repo-2", false),
            ("/mnt/r", true),
            ("/mnt/r/deep/er", true),
            ("/mnt/p x/y", true),
            ("/mnt/all", true),
            ("/mnt/all/home", false),
            ("/mnt/all/kept", true),
            ("/home/x", false),
            ("/", true),
        ] {
            let repository = Path::new("/srv/backups/repo");
            let destination = Path::new(destination);
            assert_eq!(overlap(&mounts, destination, repository), expected, "{destination:?}");
            assert_eq!(overlap(&mounts, repository, destination), expected, "{destination:?}");
        }
    }

    #[test]
    fn links_and_missing_names_are_resolved() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("d")).unwrap();
        std::os::unix::fs::symlink(real.join("d"), real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/new/er")), real.join("d/new/er"));
        let refused = refuse(&real.join("link/new"), &[real.join("d")]);
        assert!(matches!(refused, Err(Error::Unsafe { .. })), "{refused:?}");
        refuse(&real.join("e"), &[real.join("d")]).unwrap();
    }
}
