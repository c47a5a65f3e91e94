//! What a kind of file system promises: by the numbers of `statfs(2)` and `linux/magic.h`.

use std::os::fd::AsFd;

use rustix::fs::{fstatfs, fstatvfs};

use super::born;

const EXT: u64 = 0xef53;
const XFS: u64 = 0x5846_5342;
const BTRFS: u64 = 0x9123_683e;
const F2FS: u64 = 0xf2f5_2010;
const ZFS: u64 = 0x2fc1_2fc1;
const BCACHEFS: u64 = 0xca45_1a4e;
const OVERLAY: u64 = 0x794c_7630;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;
const VFAT: u64 = 0x4d44;
const EXFAT: u64 = 0x2011_bab0;
const FUSE: u64 = 0x6573_5546;
const CIFS: u64 = 0xff53_4d42;
const SMB2: u64 = 0xfe53_4d42;
const PLAN_9: u64 = 0x0102_1997;

/// File systems without disks that the kernel makes up: their times say when someone first looked.
const MADE_UP: [u64; 15] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0xcafe_4a11, // bpf
    0x9584_58f6, // hugetlbfs
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x1cd1,      // devpts
    0x6573_5543, // fusectl
    0xf97c_ff8c, // selinuxfs
];

/// A kind of file system; unknown ones promise nothing but that an unchanged time means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::source) struct Magic(u64);

impl Magic {
    /// What an open file is on; the unknown kind where the system does not say.
    pub(in crate::source) fn of(fd: impl AsFd) -> Self {
        Self(fstatfs(fd).map_or(0, |found| found.f_type.cast_unsigned() & 0xffff_ffff))
    }

    /// Whether time stamps come from this machine's own clock. A file system of a server has the
    /// server's.
    pub(in crate::source) fn has_local_clock(self) -> bool {
        self.is_local_disk() || matches!(self.0, TMPFS | RAMFS)
    }

    /// Whether it is one of this machine that writes what is mapped in memory to a disk. Once it has
    /// done so, the next write moves the file's time.
    pub(in crate::source) fn is_local_disk(self) -> bool {
        matches!(self.0, EXT | XFS | BTRFS | F2FS | ZFS | BCACHEFS | OVERLAY)
    }

    /// Whether the time of a file moves when its content changes. In memory a write through a mapping
    /// moves none, and what the kernel makes up has no time of its own.
    pub(in crate::source) fn has_telling_times(self) -> bool {
        !matches!(self.0, TMPFS | RAMFS) && !MADE_UP.contains(&self.0)
    }

    /// Whether a file may have another inode number each time it is looked at.
    pub(in crate::source) fn has_unstable_inodes(self) -> bool {
        matches!(self.0, FUSE | CIFS | SMB2 | PLAN_9 | VFAT | EXFAT)
    }

    /// Whether inode flags exist that only an open file tells.
    pub(in crate::source) fn hides_inode_flags(self) -> bool {
        self.0 == BTRFS
    }

    /// What tells the file system behind an open directory from others; 0 where nothing does.
    pub(in crate::source) fn identity(self, fd: impl AsFd) -> u64 {
        let number = match self.0 {
            // These have only their device's number, which the next mount may give to another.
            VFAT | EXFAT | FUSE => 0,
            // The same, but the time when this directory was made stays.
            XFS => born(fd).map_or(0, |born| {
                (born.seconds.cast_unsigned() << 30) ^ u64::from(born.nanoseconds)
            }),
            _ => fstatvfs(fd).map_or(0, |found| found.f_fsid),
        };
        if number == 0 { 0 } else { number ^ self.0.rotate_left(32) }
    }
}
