//! The in-progress marker: a text file in the root for as long as a restore is unfinished.
//!
//! It is made and synced first and removed last, so a directory without it is either untouched or
//! whole. It says which restore it belongs to, so that the same restore can go on and no other
//! one builds on half of it. While a restore runs it holds a lock on the marker.

use std::fs::File;
use std::io::{Read, Seek, Write};

use rustix::fs::{self as sys, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::super::{Error, Overwrite};
use super::Options;
use super::attributes::Stat;
use super::beneath::Root;
use crate::entry::{FileTime, TreePath};

/// The marker's name in the root.
pub(super) const NAME: &[u8] = b".backstay-restore";

/// Made by `mkfs` in every ext4 volume: part of an empty one.
pub(super) const LOST_AND_FOUND: &[u8] = b"lost+found";

const TITLE: &str = "Backstay is restoring into this directory; it is not complete while this \
                     file is here.\nRun the same restore again to finish it, or remove this file \
                     to give the restore up.\n";
const VERSION: &str = "version: 1";
/// Last line: without it the marker was torn while it was written, before anything else was.
const END: &str = "end";
/// No marker is longer; what is longer is none.
const LONGEST_BYTES: u64 = 64 * 1024;

/// The marker of a restore that runs.
#[derive(Debug)]
pub(super) struct Held {
    /// Keeps the lock.
    _file: File,
    is_resumed: bool,
    /// The root's mode before it was opened to us.
    found_mode: u32,
}

/// What may be done with things that are there already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// The mode in force: a resumed restore checks every byte. A file cut off by a power failure
    /// can have the right size and time and still be empty.
    pub(super) overwrite: Overwrite,
    /// Whether a link in a directory's place may be replaced.
    pub(super) replaces_links: bool,
}

/// What a marker says.
#[derive(Debug, PartialEq, Eq)]
struct Words {
    identity: String,
    /// Whether the root was empty when the restore began, so that all in it is the restore's own.
    began_empty: bool,
    /// Whether it began with the promise to leave what is there.
    began_never: bool,
    /// The root's mode before others lost the right to write to it.
    found_mode: u32,
}

/// Says why the root cannot be taken for this restore, and changes nothing.
pub(super) fn look(root: &Root, options: &Options) -> Result<(), Error> {
    let identity = options.identity.escape_default().to_string();
    let Some(mut file) = open(root)? else {
        return check_empty(root, options).map(drop);
    };
    let text = read(root, &mut file)?;
    match parse(&text) {
        Some(words) => check_resumed(root, options, &words, &identity),
        None if is_torn(&text) => check_empty(root, options).map(drop),
        None => Err(unknown(root)),
    }
}

/// Takes the root for this restore, or says why not.
pub(super) fn begin(root: &Root, options: &Options) -> Result<(Held, Rules), Error> {
    let identity = options.identity.escape_default().to_string();
    let found = open(root)?;
    if let Some(mut file) = found {
        lock(root, &file)?;
        let text = read(root, &mut file)?;
        match parse(&text) {
            Some(words) => return resume(root, options, file, &words, &identity),
            // That restore wrote nothing but this.
            None if is_torn(&text) => return fresh(root, options, Some(file), identity),
            None => return Err(unknown(root)),
        }
    }
    fresh(root, options, None, identity)
}

fn fresh(
    root: &Root,
    options: &Options,
    torn: Option<File>,
    identity: String,
) -> Result<(Held, Rules), Error> {
    let example = check_empty(root, options)?;
    let found_mode = mode_of(root)?;
    let words = Words {
        identity,
        began_empty: example.is_none(),
        began_never: options.overwrite == Overwrite::Never,
        found_mode,
    };
    root.close_to_others(&TreePath::root())?;
    let mut file = match torn {
        Some(file) => file,
        None => make(root)?,
    };
    let failed = |source| Error::Io { action: "write", path: root.full(&path()), source };
    file.set_len(0).map_err(failed)?;
    file.write_all(words.to_text().as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    root.sync_root()?;
    let held = Held { _file: file, is_resumed: false, found_mode };
    let rules = Rules {
        overwrite: options.overwrite,
        replaces_links: options.overwrite == Overwrite::Always,
    };
    Ok((held, rules))
}

fn unknown(root: &Root) -> Error {
    unusable(
        root,
        "its marker .backstay-restore is not one that this version writes: \
         finish the restore with the version that began it, or remove the marker \
         to give that restore up",
    )
}

/// A name in the root, where one may be.
fn check_empty(root: &Root, options: &Options) -> Result<Option<Vec<u8>>, Error> {
    let example = example_in(root)?;
    if let (Overwrite::Refuse, Some(example)) = (options.overwrite, &example) {
        return Err(Error::NotEmpty {
            path: root.full(&TreePath::root()),
            example: String::from_utf8_lossy(example).into_owned(),
        });
    }
    Ok(example)
}

fn resume(
    root: &Root,
    options: &Options,
    file: File,
    words: &Words,
    identity: &str,
) -> Result<(Held, Rules), Error> {
    check_resumed(root, options, words, identity)?;
    // The root may have got its final mode before the interruption.
    root.close_to_others(&TreePath::root())?;
    let held = Held { _file: file, is_resumed: true, found_mode: words.found_mode };
    let rules = Rules {
        overwrite: Overwrite::Always,
        replaces_links: words.began_empty || options.overwrite == Overwrite::Always,
    };
    Ok((held, rules))
}

fn check_resumed(
    root: &Root,
    options: &Options,
    words: &Words,
    identity: &str,
) -> Result<(), Error> {
    if words.identity != identity {
        return Err(unusable(
            root,
            &format!(
                "it holds the unfinished restore of {}: finish that one, or remove the file \
                 .backstay-restore to give it up",
                words.identity
            ),
        ));
    }
    let keeps = match options.overwrite {
        Overwrite::Never => true,
        Overwrite::Refuse => words.began_never,
        Overwrite::IfChanged | Overwrite::Always => false,
    };
    if keeps && !words.began_empty {
        return Err(unusable(
            root,
            "an unfinished restore lies here among other files, and what it left half written \
             can't be told from what must not be overwritten: go on with --overwrite if-changed \
             or always, or remove the file .backstay-restore and restore elsewhere",
        ));
    }
    Ok(())
}

impl Held {
    pub(super) fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// Gives the root the mode back that it was found with. If that fails, the mode that it has lets
    /// in fewer.
    pub(super) fn give_mode_back(&self, root: &Root) {
        let _ = root.top().handle().set_mode(self.found_mode);
    }

    /// Takes back what `begin` did, where nothing was restored yet and nothing will be.
    pub(super) fn give_up(&self, root: &Root) {
        if !self.is_resumed {
            let _ = sys::unlinkat(root.top(), NAME, AtFlags::empty());
        }
        self.give_mode_back(root);
    }

    /// Removes the marker. A sealed root has its final mode and gets its time (`modified`) here;
    /// any other gets the mode back that it was found with.
    pub(super) fn remove(&self, root: &Root, modified: Option<FileTime>) -> Result<(), Error> {
        let handle = root.top().handle();
        let mode = match modified {
            Some(_) => mode_of(root)?,
            None => self.found_mode,
        };
        let unlink = || sys::unlinkat(root.top(), NAME, AtFlags::empty());
        let removed = match unlink() {
            Err(Errno::ACCESS) => {
                root.make_usable(&TreePath::root())?;
                unlink()
            }
            removed => removed,
        };
        match removed {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(root.error("remove", &path(), errno)),
        }
        // Both succeeded once already, or their failure is reported already.
        if mode_of(root)? != mode {
            let _ = handle.set_mode(mode);
        }
        if let Some(modified) = modified {
            let _ = handle.set_times(modified);
        }
        Ok(())
    }
}

fn mode_of(root: &Root) -> Result<u32, Error> {
    let stat = root.top().handle().stat();
    let stat =
        stat.map_err(|errno| root.error("read the attributes of", &TreePath::root(), errno))?;
    Ok(stat.mode())
}

/// Whether a path lies where the marker lies. Such an entry is left out: it can only stem from a
/// backup of an unfinished restore, and writing it would end our own marker.
pub(super) fn is_reserved(path: &TreePath) -> bool {
    path.components().next() == Some(NAME)
}

impl Words {
    fn to_text(&self) -> String {
        let Self { identity, began_empty, began_never, found_mode } = self;
        format!(
            "{TITLE}{VERSION}\nrestore: {identity}\nbegan empty: {began_empty}\n\
             began with overwrite never: {began_never}\nfound mode: {found_mode:04o}\n{END}\n"
        )
    }
}

fn parse(text: &str) -> Option<Words> {
    let rest = text.strip_prefix(TITLE)?.strip_prefix(VERSION)?;
    let rest = rest.strip_prefix("\nrestore: ")?;
    let (identity, rest) = rest.split_once("\nbegan empty: ")?;
    let (began_empty, rest) = rest.split_once("\nbegan with overwrite never: ")?;
    let (began_never, rest) = rest.split_once("\nfound mode: ")?;
    let (found_mode, rest) = rest.split_once('\n')?;
    (rest == format!("{END}\n")).then_some(())?;
    Some(Words {
        identity: identity.to_owned(),
        began_empty: began_empty.parse().ok()?,
        began_never: began_never.parse().ok()?,
        found_mode: u32::from_str_radix(found_mode, 8).ok().filter(|mode| *mode <= 0o7777)?,
    })
}

/// Whether this is what a power failure leaves of a marker that was being written.
fn is_torn(text: &str) -> bool {
    text.trim_matches('\0').is_empty()
        || TITLE.starts_with(text)
        || (text.starts_with(TITLE) && !text.lines().any(|line| line == END))
}

fn path() -> TreePath {
    TreePath::root().join(NAME)
}

fn unusable(root: &Root, reason: &str) -> Error {
    Error::Unusable { path: root.full(&TreePath::root()), reason: reason.to_owned() }
}

fn open(root: &Root) -> Result<Option<File>, Error> {
    let there = root.stat(root.top(), NAME, &path())?;
    let Some(there) = there else {
        return Ok(None);
    };
    let in_the_way = || Error::InTheWay {
        path: root.full(&path()),
        reason: "the restore needs this name for its marker, and it is no regular file: \
                 remove it"
            .to_owned(),
    };
    if !there.is_file() {
        return Err(in_the_way());
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let descriptor = sys::openat(root.top(), NAME, flags, Mode::empty())
        .map_err(|errno| root.error("open", &path(), errno))?;
    let opened = Stat::of(&descriptor, b"", AtFlags::EMPTY_PATH)
        .map_err(|errno| root.error("read the attributes of", &path(), errno))?;
    if !opened.is_file() {
        return Err(in_the_way());
    }
    // Someone else's marker would make us go on with a restore that is none, in a directory whose
    // content is not ours to replace.
    let is_ours = opened.owner().0 == rustix::process::geteuid().as_raw()
        && opened.links() == 1
        && opened.mode() & 0o022 == 0;
    if !is_ours {
        return Err(Error::Unsafe {
            path: root.full(&path()),
            reason: "this marker of an unfinished restore belongs to another user, has further \
                     names, or can be written by others: finish the restore as the user that \
                     began it, or remove the marker to give that restore up"
                .to_owned(),
        });
    }
    Ok(Some(descriptor.into()))
}

fn make(root: &Root) -> Result<File, Error> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let file = match sys::openat(root.top(), NAME, flags, mode) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::EXIST) => return Err(busy(root)),
        Err(errno) => return Err(root.error("make", &path(), errno)),
    };
    lock(root, &file)?;
    Ok(file)
}

fn lock(root: &Root, file: &File) -> Result<(), Error> {
    match sys::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(busy(root)),
        // Some network file systems know no locks; the marker's words still guard.
        _ => Ok(()),
    }
}

fn busy(root: &Root) -> Error {
    unusable(root, "another restore is writing into it at this moment: wait until it ends")
}

fn read(root: &Root, file: &mut File) -> Result<String, Error> {
    let failed = |source| Error::Io { action: "read", path: root.full(&path()), source };
    let mut bytes = Vec::new();
    let mut start = file.take(LONGEST_BYTES);
    start.read_to_end(&mut bytes).map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A name that makes the root non-empty.
fn example_in(root: &Root) -> Result<Option<Vec<u8>>, Error> {
    let failed = |errno| root.error("list", &TreePath::root(), errno);
    for item in sys::Dir::read_from(root.top()).map_err(failed)? {
        let item = item.map_err(failed)?;
        let name = item.file_name().to_bytes();
        if ![&b"."[..], b"..", NAME, LOST_AND_FOUND].contains(&name) {
            return Ok(Some(name.to_vec()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_the_text() {
        assert!(is_torn("") && is_torn("\0\0") && !is_torn("my notes"));
        let words = Words {
            identity: "snapshot 4f source a\\nb\\nend".to_owned(),
            began_empty: true,
            began_never: false,
            found_mode: 0o1777,
        };
        let text = words.to_text();
        assert_eq!(parse(&text), Some(words));
        for cut in 0..text.len() {
            let torn = text.get(..cut).unwrap();
            assert_eq!(parse(torn), None, "cut at {cut}");
            assert!(is_torn(torn) || torn.ends_with(END), "cut at {cut}");
        }
    }
}
