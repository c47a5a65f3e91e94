//! Extended attributes, ACLs and capabilities among them.

use rustix::io::Errno;

use super::super::ShortfallKind;
use super::Shared;
use super::attributes::Handle;
use crate::entry::{Entry, Kind};

/// The ACL that decides access, as the kernel's raw bytes.
pub(super) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// Kept by the system itself: labels and hashes that a security module gives each file. What the
/// snapshot has is restored; what it lacks is not taken away.
const KEPT_BY_THE_SYSTEM: [&[u8]; 4] =
    [b"security.selinux", b"security.SMACK64", b"security.ima", b"security.evm"];

/// Whether any user who may write the file may set it.
pub(super) fn is_for_users(name: &[u8]) -> bool {
    name.starts_with(b"user.")
}

/// The entry's access ACL.
pub(super) fn access_acl(entry: &Entry) -> Option<&[u8]> {
    let acl = entry.xattrs.iter().find(|xattr| xattr.name == ACCESS_ACL);
    acl.map(|acl| acl.value.as_slice())
}

/// Whether the access ACL of what is there is the entry's own, or there is none.
pub(super) fn has_acl_of(entry: &Entry, handle: Handle<'_>) -> bool {
    let mut value = vec![0; 4096];
    match handle.get_xattr(ACCESS_ACL, &mut value) {
        Ok(length) => value.get(..length) == access_acl(entry),
        // A longer one is not compared.
        Err(errno) => matches!(errno, Errno::NODATA | Errno::NOTSUP),
    }
}

/// Sets the attributes whose name `wanted` picks.
pub(super) fn set_if(
    shared: &Shared,
    handle: Handle<'_>,
    entry: &Entry,
    wanted: impl Fn(&[u8]) -> bool,
) {
    for xattr in entry.xattrs.iter().filter(|xattr| wanted(&xattr.name)) {
        if let Err(errno) = handle.set_xattr(&xattr.name, &xattr.value) {
            report(shared, entry, &xattr.name, errno);
        }
    }
}

/// Removes what the entry doesn't have: from a file that was there before, and what a new one
/// inherits (a default ACL of the directory that it was made in).
pub(super) fn remove_foreign(shared: &Shared, handle: Handle<'_>, entry: &Entry) {
    // Links are always made anew, and inherit nothing.
    if matches!(entry.kind, Kind::Symlink { .. }) {
        return;
    }
    // Nearly every file has few or none; the kernel allows no list beyond the longer buffer.
    let mut few = [0; 512];
    let mut many = Vec::new();
    let listed = match handle.list_xattrs(&mut few) {
        Ok(length) => few.get(..length),
        Err(Errno::RANGE) => {
            many.resize(64 * 1024, 0);
            let length = handle.list_xattrs(&mut many).unwrap_or(0);
            many.get(..length)
        }
        // No attributes on this file system, or no way to see them: nothing to remove.
        Err(_) => None,
    };
    for name in listed.unwrap_or_default().split(|&byte| byte == 0) {
        let wanted = name.is_empty()
            || KEPT_BY_THE_SYSTEM.contains(&name)
            || entry.xattrs.iter().any(|xattr| xattr.name == name);
        if wanted {
            continue;
        }
        match handle.remove_xattr(name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(errno) => report(shared, entry, name, errno),
        }
    }
}

fn report(shared: &Shared, entry: &Entry, name: &[u8], errno: Errno) {
    let what = format!("xattr {}", String::from_utf8_lossy(name));
    shared.shortfalls.add_named(&entry.path, ShortfallKind::of_xattr(name), what, errno);
}

/// `mode` with the group bits that the ACL grants to the owning group. Under an ACL the mode's
/// group bits are the mask of all named users and groups, which may be far more.
pub(super) fn mode_without_acl(mode: u32, acl: &[u8]) -> u32 {
    /// Tag of the owning group's entry, in `linux/posix_acl.h`.
    const OWNING_GROUP: [u8; 2] = [0x04, 0];
    let entries = acl.get(4..).unwrap_or_default();
    let group = entries.chunks_exact(8).find_map(|entry| match entry {
        [tag_low, tag_high, permissions, ..] if [*tag_low, *tag_high] == OWNING_GROUP => {
            Some(u32::from(permissions & 0o7))
        }
        _ => None,
    });
    let group = group.unwrap_or(0) << 3;
    (mode & !0o070) | (mode & 0o070 & group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_acl_never_widens_the_group() {
        // user::rw-, user:1000:rwx, group::r--, mask::rwx, other::---
        let mut acl = vec![2, 0, 0, 0];
        for (tag, permissions, id) in [
            (0x01_u16, 6_u16, u32::MAX),
            (0x02, 7, 1000),
            (0x04, 4, u32::MAX),
            (0x10, 7, u32::MAX),
            (0x20, 0, u32::MAX),
        ] {
            acl.extend(tag.to_le_bytes());
            acl.extend(permissions.to_le_bytes());
            acl.extend(id.to_le_bytes());
        }
        assert_eq!(mode_without_acl(0o2670, &acl), 0o2640);
        assert_eq!(mode_without_acl(0o670, b"broken"), 0o600);
    }
}
