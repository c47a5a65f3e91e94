//! Files with numbers for names, and files that are whole or absent: what the log, the tables and
//! the manifest all need of a file system.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::error::Error;

/// What a table's name has after its number.
pub(super) const TABLE_SUFFIX: &str = ".table";
/// What a log segment's name has after its number.
pub(super) const SEGMENT_SUFFIX: &str = ".wal";
/// What a file is called until it is whole.
pub(super) const UNFINISHED_SUFFIX: &str = ".tmp";

/// The numbers of all files in `directory` that are called a number and `suffix`, ascending.
pub(super) fn numbered(directory: &Path, suffix: &str) -> Result<Vec<u64>, Error> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let name = entry.map_err(Error::io("list", directory))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(suffix));
        numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Where table `number` is.
pub(super) fn table_path(data: &Path, number: u64) -> PathBuf {
    data.join(format!("{number:06}{TABLE_SUFFIX}"))
}

/// Where log segment `number` is.
pub(super) fn segment_path(log: &Path, number: u64) -> PathBuf {
    log.join(format!("{number:08}{SEGMENT_SUFFIX}"))
}

/// Writes a file of `directory` whole: another name, fsync, rename, fsync of the directory.
pub(super) fn replace(directory: &Path, name: &str, bytes: &[u8]) -> Result<(), Error> {
    let path = directory.join(name);
    let unfinished = directory.join(format!("{name}{UNFINISHED_SUFFIX}"));
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)
    };
    write().map_err(Error::io("write", &path))?;
    sync_directory(directory)
}

/// Makes names in `directory` durable.
pub(super) fn sync_directory(directory: &Path) -> Result<(), Error> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(Error::io("sync", directory))
}

/// Removes a file that nothing names any more.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(Error::io("remove", path))
}

/// Removes what a crash left of files that were being written.
pub(super) fn remove_unfinished(directory: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::io("list", directory))? {
        let path = entry.map_err(Error::io("list", directory))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.ends_with(UNFINISHED_SUFFIX)) {
            remove(&path)?;
        }
    }
    Ok(())
}
