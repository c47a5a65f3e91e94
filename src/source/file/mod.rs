//! Reading what is on a file system: opening below a directory without ever following a link,
//! metadata, extended attributes, content. Shared by the sources that read directories.

mod beneath;
mod content;
mod magic;
mod pinned;
mod preallocated;
mod stat;
mod xattr;

pub(super) use beneath::Root;
pub(super) use content::{Cutting, OpenFile, Reading, Steadiness, judge};
pub(super) use magic::Magic;
pub(super) use pinned::{Pinned, PinnedFiles, raise_descriptor_limit};
pub(super) use preallocated::written_bytes;
pub(super) use stat::{
    Identity, Marks, Owners, born, entry_of, inode_flags_of_fd, is_replaced, stat_at, stat_fd,
};
pub(super) use xattr::{attributes_of_entry, attributes_of_fd};

use rustix::io::Errno;

use super::{Fault, Problem};
use crate::entry::TreePath;

/// What an operating-system error says of an entry that was listed a moment ago.
pub(super) fn problem(path: &TreePath, action: &str, errno: Errno) -> Problem {
    let (fault, why) = match errno {
        Errno::NOENT | Errno::STALE => (Fault::Vanished, "gone since it was listed"),
        Errno::LOOP | Errno::NOTDIR | Errno::NXIO => {
            (Fault::Changed, "replaced by something else since it was listed")
        }
        _ => (Fault::Unreadable, ""),
    };
    let detail = if why.is_empty() {
        format!("{action}: {}", std::io::Error::from(errno))
    } else {
        format!("{action}: {why}")
    };
    Problem { path: path.clone(), fault, detail }
}
