//! Directories: new ones get mode 0700; an existing one is used only if its owner is this user, root or the
//! owner in the snapshot. Both are closed to the writes of others while the restore works in them, since a
//! user who can write to a directory can rename and replace what is in it.

use rustix::fs::{self as sys, Mode};
use rustix::io::Errno;

use super::super::Error;
use super::attributes::Stat;
use super::{Begun, Shared, flags, marker};
use crate::entry::{Entry, Seen};

impl Shared {
    /// Makes a directory that the restore can write into, or takes over the one that is there.
    pub(super) fn directory(&self, entry: &Entry) -> Result<(), Error> {
        let begun = self.begun()?;
        if entry.path.is_root() {
            return self.take_over_top(begun, entry);
        }
        Self::require_safe_top(begun)?;
        if marker::is_reserved(&entry.path) {
            self.leave_out_reserved(&entry.path);
            return Ok(());
        }
        let (parent, name) = begun.root.parent(&entry.path)?;
        let make = || sys::mkdirat(&parent, name, Mode::RWXU);
        match make() {
            // A default ACL of the destination may keep even us out of what we made.
            Ok(()) => return begun.root.make_usable(&entry.path),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(begun.root.error("make directory", &entry.path, errno)),
        }
        let there = begun.root.stat(&parent, name, &entry.path)?;
        if there.is_some_and(|there| there.is_directory()) {
            return self.take_over_directory(begun, entry);
        }
        // A link is replaced itself and never looked behind. `if-changed` is not enough: someone
        // may have moved the directory to a bigger disk and left the link on purpose.
        if there.is_some() && !begun.rules.replaces_links {
            return Err(Error::InTheWay {
                path: begun.root.full(&entry.path),
                reason: "the snapshot has a directory here, and links are never followed: \
                         move it away, or say --overwrite always"
                    .to_owned(),
            });
        }
        self.clear_way(begun, &parent, name, &entry.path)?;
        make().map_err(|errno| begun.root.error("make directory", &entry.path, errno))?;
        begun.root.make_usable(&entry.path)
    }

    /// Gives the restore up if the root belongs to someone who must not see to what is in it.
    pub(super) fn require_safe_top(begun: &Begun) -> Result<(), Error> {
        begun.root.require_safe_top().inspect_err(|_| begun.marker.give_up(&begun.root))
    }

    fn take_over_top(&self, begun: &Begun, entry: &Entry) -> Result<(), Error> {
        let top = begun.root.top().handle();
        let stat = top
            .stat()
            .map_err(|errno| begun.root.error("read the attributes of", &entry.path, errno))?;
        if self.may_hold(entry, &stat) {
            begun.root.top_is_safe();
        }
        Self::require_safe_top(begun)?;
        begun.root.close_to_others(&entry.path)
    }

    fn take_over_directory(&self, begun: &Begun, entry: &Entry) -> Result<(), Error> {
        let directory = begun.root.directory(&entry.path)?;
        let stat = directory
            .handle()
            .stat()
            .map_err(|errno| begun.root.error("read the attributes of", &entry.path, errno))?;
        if !self.may_hold(entry, &stat) {
            return Err(Error::InTheWay {
                path: begun.root.full(&entry.path),
                reason: format!(
                    "the directory belongs to user {}, who is neither the user that restores nor \
                     the owner in the snapshot, and who could exchange what is restored into it: \
                     move it away, or give it to its owner",
                    stat.owner().0
                ),
            });
        }
        flags::lift(begun, entry);
        let is_in_use = stat.is_mount() || begun.root.is_protected(&stat);
        if entry.seen == Seen::LeftOut && is_in_use {
            // Nothing is restored into another file system or the repository, and someone may use it.
            return begun.root.make_usable(&entry.path);
        }
        begun.root.close_to_others(&entry.path)
    }

    /// Whether the owner of a directory that is there may see to what is restored into it.
    fn may_hold(&self, entry: &Entry, there: &Stat) -> bool {
        let owner = there.owner().0;
        owner == self.user_id || owner == 0 || owner == self.owners.of(entry).0
    }
}
