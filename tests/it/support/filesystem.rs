//! File systems of a test's own: images behind loop devices, memory, and one laid over another.
//! They are made and mounted as root, and go away with their handle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::tools::tool;

/// What an image is formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Ext4,
    Xfs,
    Btrfs,
    /// Times in steps of two seconds, no owners, no links, no inode numbers that last.
    Vfat,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Btrfs, Self::Vfat];

    /// The program that makes it, its options, and the least size that it takes.
    fn maker(self) -> (&'static str, &'static [&'static str], u64) {
        match self {
            Self::Ext4 => ("mkfs.ext4", &["-q", "-F"], 64 << 20),
            Self::Xfs => ("mkfs.xfs", &["-q", "-f"], 320 << 20),
            Self::Btrfs => ("mkfs.btrfs", &["-q", "-f"], 128 << 20),
            Self::Vfat => ("mkfs.vfat", &[], 64 << 20),
        }
    }
}

/// A mounted file system; unmounted when it is dropped.
#[derive(Debug)]
pub struct Mounted {
    path: PathBuf,
}

impl Mounted {
    /// Takes over what someone mounted at `path`.
    pub(super) fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: a test that fails may still have files open there.
        let status = Command::new(tool("umount")).arg("-l").arg(&self.path).status();
        if !std::thread::panicking() {
            assert!(status.unwrap().success(), "umount {}", self.path.display());
        }
    }
}

/// Whether this machine lets us mount `kind` at all: only root may, and not in every container. A test that
/// cannot run says so and passes.
pub fn can_mount(kind: &str) -> bool {
    let reason = if !rustix::process::geteuid().is_root() {
        "only root may mount"
    } else if !knows(kind) {
        "the kernel does not know it"
    } else if is_confined() {
        "this container may not mount"
    } else {
        return true;
    };
    eprintln!("skipped: {kind}: {reason}");
    false
}

fn knows(kind: &str) -> bool {
    let known = || {
        let list = fs::read_to_string("/proc/filesystems").unwrap();
        list.lines().any(|line| line.split_whitespace().next_back() == Some(kind))
    };
    known() || {
        // It may be a module that nobody has asked for yet.
        drop(Command::new("modprobe").arg(kind).output());
        known()
    }
}

fn is_confined() -> bool {
    let place = tempfile::tempdir().unwrap();
    let mount = Command::new(tool("mount"))
        .args(["-t", "tmpfs", "probe"])
        .arg(place.path())
        .output()
        .unwrap();
    if mount.status.success() {
        run(Command::new(tool("umount")).arg(place.path()));
    }
    !mount.status.success()
}

/// Runs a command that must work.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
}

/// Makes an image at `image`. `None` where the machine cannot have this file system.
pub fn make_image(format: Format, image: &Path) -> Option<()> {
    let (maker, options, size_bytes) = format.maker();
    let kind = maker.trim_start_matches("mkfs.");
    if !can_mount(kind) {
        return None;
    }
    File::create(image).unwrap().set_len(size_bytes).unwrap();
    run(Command::new(tool(maker)).args(options).arg(image));
    Some(())
}

/// Mounts an image at `path`, which is made if it is missing.
pub fn mount_image(image: &Path, path: &Path) -> Mounted {
    mount(&["-o", "loop"], image, path)
}

/// Mounts a file system of this format at `path`; its image lies beside `path`.
pub fn formatted(format: Format, path: &Path) -> Option<Mounted> {
    let image = path.with_extension("image");
    make_image(format, &image)?;
    Some(mount_image(&image, path))
}

/// Mounts a file system in memory at `path`.
pub fn memory(path: &Path) -> Option<Mounted> {
    can_mount("tmpfs").then(|| mount(&["-t", "tmpfs"], Path::new("tmpfs"), path))
}

/// Mounts a file system in memory at `path` that holds no more than one mebibyte.
pub fn small_memory(path: &Path) -> Option<Mounted> {
    let options = ["-t", "tmpfs", "-o", "size=1m"];
    can_mount("tmpfs").then(|| mount(&options, Path::new("tmpfs"), path))
}

/// Lays `upper` over `lower`, with `work` as the kernel's own place, at `path`.
pub fn overlay(lower: &Path, upper: &Path, work: &Path, path: &Path) -> Option<Mounted> {
    if !can_mount("overlay") {
        return None;
    }
    for directory in [lower, upper, work] {
        fs::create_dir_all(directory).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    Some(mount(&["-t", "overlay", "-o", &options], Path::new("overlay"), path))
}

/// Shows `from`, a file or a directory, at `path` too, which must exist.
pub fn bind(from: &Path, path: &Path) -> Option<Mounted> {
    can_mount("tmpfs").then(|| {
        run(Command::new(tool("mount")).arg("--bind").args([from, path]));
        Mounted::at(path)
    })
}

fn mount(options: &[&str], what: &Path, path: &Path) -> Mounted {
    fs::create_dir_all(path).unwrap();
    run(Command::new(tool("mount")).args(options).args([what, path]));
    Mounted::at(path)
}
