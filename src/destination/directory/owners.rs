//! Which account on this system an entry's owner is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{Group, User};

use crate::entry::Entry;

type Names = Mutex<HashMap<Arc<str>, Option<u32>>>;

/// Numbers as they are stored, or names as this system knows them. Each name is looked up once: a
/// directory service behind it may be slow.
#[derive(Debug)]
pub(super) struct Owners {
    map_names: bool,
    users: Names,
    groups: Names,
}

impl Owners {
    pub(super) fn new(map_names: bool) -> Self {
        Self { map_names, users: Names::default(), groups: Names::default() }
    }

    /// User and group number for an entry.
    pub(super) fn of(&self, entry: &Entry) -> (u32, u32) {
        if !self.map_names {
            return (entry.user_id, entry.group_id);
        }
        let user = look_up(&self.users, entry.user_name.as_ref(), |name| {
            let user = User::from_name(name).ok().flatten();
            user.map(|user| user.uid.as_raw())
        });
        let group = look_up(&self.groups, entry.group_name.as_ref(), |name| {
            let group = Group::from_name(name).ok().flatten();
            group.map(|group| group.gid.as_raw())
        });
        (user.unwrap_or(entry.user_id), group.unwrap_or(entry.group_id))
    }
}

fn look_up(
    known: &Names,
    name: Option<&Arc<str>>,
    ask: impl Fn(&str) -> Option<u32>,
) -> Option<u32> {
    let name = name?;
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry(Arc::clone(name)).or_insert_with_key(|name| ask(name))
}
