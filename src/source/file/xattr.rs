//! Extended attributes of entries of any kind, links included, without following a link.
//!
//! Open files and directories are asked through their descriptor. What cannot be opened (links,
//! pipes, sockets, devices, what we may not read) is held by an `O_PATH` descriptor and asked
//! through `/proc/self/fd`, which leads to exactly what is held.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{fgetxattr, flistxattr, getxattr, listxattr};
use rustix::io::Errno;

use super::{Root, inode_flags_of_fd, is_replaced, problem, stat_fd};
use crate::entry::{Entry, Kind, TreePath, Xattr};
use crate::source::{Attributes, Fault, Problem};
use crate::units::MIB;

/// Names and values of one entry together.
const MOST_BYTES: usize = 4 * MIB;

/// Most names and values fit.
const FIRST_BUFFER_BYTES: usize = 1024;

/// The attributes of an open file or directory.
pub(in crate::source) fn attributes_of_fd(fd: impl AsFd, entry: &Entry) -> Attributes {
    let attributes = read(&Place::Open(fd.as_fd()), &entry.path);
    let inode_flags = inode_flags_of_fd(fd, entry);
    Attributes { inode_flags, ..attributes }
}

/// The attributes of an entry that was listed below `root`. An error if it is gone; whatever else
/// goes wrong costs attributes only.
pub(in crate::source) fn attributes_of_entry(
    root: &Root,
    entry: &Entry,
) -> Result<Attributes, Problem> {
    match try_attributes_of_entry(root, entry) {
        Err(problem) if problem.fault != Fault::Vanished => Ok(Attributes::lacking(problem)),
        told => told,
    }
}

fn try_attributes_of_entry(root: &Root, entry: &Entry) -> Result<Attributes, Problem> {
    let opened = match entry.kind {
        Kind::File => root.open_file(&entry.path),
        Kind::Directory => root.open_directory(&entry.path),
        _ => Err(Errno::ACCESS),
    };
    let held = match opened {
        Ok(fd) => {
            is_same(&fd, entry)?;
            return Ok(attributes_of_fd(&fd, entry));
        }
        Err(Errno::ACCESS | Errno::PERM) => root.hold(&entry.path),
        Err(errno) => Err(errno),
    };
    let held = held.map_err(|errno| problem(&entry.path, "open for attributes", errno))?;
    is_same(&held, entry)?;
    let place = format!("/proc/self/fd/{}", held.as_raw_fd());
    Ok(read(&Place::Held(&place), &entry.path))
}

fn is_same(fd: impl AsFd, entry: &Entry) -> Result<(), Problem> {
    let stat = stat_fd(fd.as_fd()).map_err(|errno| problem(&entry.path, "stat", errno))?;
    if !is_replaced(fd, &stat, entry) {
        return Ok(());
    }
    Err(Problem {
        path: entry.path.clone(),
        fault: Fault::Changed,
        detail: "replaced between listing and reading its attributes".to_owned(),
    })
}

enum Place<'a> {
    Open(BorrowedFd<'a>),
    Held(&'a str),
}

impl Place<'_> {
    fn list(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => flistxattr(fd, buffer),
            Self::Held(path) => listxattr(*path, buffer),
        }
    }

    fn get(&self, name: &[u8], buffer: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Self::Open(fd) => fgetxattr(fd, name, buffer),
            Self::Held(path) => getxattr(*path, name, buffer),
        }
    }
}

/// Reads what can be read; of what cannot, the first is named.
fn read(place: &Place<'_>, path: &TreePath) -> Attributes {
    // Most entries have no attributes: ask without touching the heap first.
    let mut small = [0; 512];
    let names = match place.list(&mut small) {
        Ok(length_bytes) => Ok(small.get(..length_bytes).unwrap_or_default().to_vec()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Vec::new()),
        Err(Errno::RANGE) => sized(|buffer| place.list(buffer)),
        Err(errno) => Err(errno),
    };
    let names = match names {
        Ok(names) => names,
        Err(errno) => return Attributes::lacking(failed(place, path, "list attributes", errno)),
    };
    let mut total_bytes = names.len();
    let mut xattrs = Vec::new();
    let mut lacking = None;
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        let value = match sized(|buffer| place.get(name, buffer)) {
            Ok(value) => value,
            // Removed since it was listed, or listed by a file system that has no value for it.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            Err(errno) => {
                let action = format!("read attribute {}", String::from_utf8_lossy(name));
                lacking.get_or_insert_with(|| failed(place, path, &action, errno));
                continue;
            }
        };
        if total_bytes + value.len() > MOST_BYTES {
            lacking.get_or_insert_with(|| Problem {
                path: path.clone(),
                fault: Fault::Unreadable,
                detail: format!("its attributes exceed {} MiB", MOST_BYTES / MIB),
            });
            continue;
        }
        total_bytes += value.len();
        xattrs.push(Xattr { name: name.to_vec(), value });
    }
    xattrs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Attributes { xattrs, inode_flags: 0, lacking }
}

/// Asks with larger and larger buffers. A size asked for beforehand may be old by then, and an
/// empty buffer is no question for the size here.
fn sized(ask: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; FIRST_BUFFER_BYTES];
    loop {
        match ask(&mut buffer) {
            Ok(length_bytes) => {
                return Ok(buffer.get(..length_bytes).unwrap_or_default().to_vec());
            }
            Err(Errno::RANGE) if buffer.len() < MOST_BYTES => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

fn failed(place: &Place<'_>, path: &TreePath, action: &str, errno: Errno) -> Problem {
    match (place, errno) {
        // What is held cannot vanish: it is `/proc` that is not there.
        (Place::Held(_), Errno::NOENT) => Problem {
            path: path.clone(),
            fault: Fault::Unreadable,
            detail: format!("{action}: /proc is not mounted"),
        },
        // What is open cannot vanish or be replaced.
        _ => {
            let detail = format!("{action}: {}", std::io::Error::from(errno));
            Problem { path: path.clone(), fault: Fault::Unreadable, detail }
        }
    }
}
