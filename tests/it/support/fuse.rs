//! A small FUSE server: a directory of a few files, on a file system with one peculiarity.
//!
//! It speaks the kernel's protocol (`linux/fuse.h`, version 7.31) over `/dev/fuse` and needs no library.
//! The file system is mounted and unmounted with its handle.

mod wire;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use self::wire::{Answer, Request, errno};
use super::filesystem::{Mounted, can_mount, run};
use super::tools::tool;

/// What is odd about the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    None,
    /// Each look at a file gives another inode number.
    UnstableInodes,
    /// All files have the same inode number and claim to have two names.
    SharedInode,
    /// Files say that they have no byte.
    SizeZero,
    /// Files say that they have 1,000 bytes more than they have.
    SizeTooLarge,
    /// One extended attribute cannot be read.
    XattrFails,
    /// Reading `b.bin` fails beyond its first 64 KiB.
    ReadFails,
    /// Listing `sub` fails after its first name.
    ListingFails,
    /// `sub/c.txt` is listed but cannot be looked at.
    LookupFails,
    /// All times are zero.
    TimesZero,
}

/// The files and what they hold.
pub fn files() -> [(&'static str, Vec<u8>); 4] {
    [
        ("a.txt", b"content of a\n".to_vec()),
        ("b.bin", (0..102_400_u32).map(|n| n.to_le_bytes()[0]).collect()),
        ("sub/b.txt", b"content of b in sub\n".to_vec()),
        ("sub/c.txt", b"content of c\n".to_vec()),
    ]
}

/// A mounted file system and its server.
#[derive(Debug)]
pub struct Fuse {
    mounted: Option<Mounted>,
    server: Option<JoinHandle<()>>,
}

impl Fuse {
    /// Mounts it at `path`; `None` where this machine cannot.
    pub fn mount(path: &Path, oddity: Oddity) -> Option<Self> {
        if !can_mount("fuse") {
            return None;
        }
        fs::create_dir_all(path).unwrap();
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        // mount(8) has the device as its standard input: that is descriptor 0.
        let options = "fd=0,rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions";
        run(Command::new(tool("mount"))
            .args(["-i", "-t", "fuse", "-o", options, "peculiar"])
            .arg(path)
            .stdin(Stdio::from(device.try_clone().unwrap())));
        let server = std::thread::spawn(move || Server { device, oddity, looks: 1_000 }.run());
        Some(Self { mounted: Some(Mounted::at(path)), server: Some(server) })
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        drop(self.mounted.take());
        if let Some(server) = self.server.take() {
            let ended = server.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

/// A node by its number: 1 is the root, 2 is `sub`, and files follow.
fn node(number: u64) -> Option<(&'static str, Option<Vec<u8>>)> {
    match number {
        1 => Some(("", None)),
        2 => Some(("sub", None)),
        _ => {
            let (path, content) = files().into_iter().nth(usize::try_from(number - 3).ok()?)?;
            Some((path, Some(content)))
        }
    }
}

/// The nodes in a directory with their names.
fn children(directory: u64) -> Vec<(u64, &'static str)> {
    let prefix = if directory == 1 { "" } else { "sub/" };
    let all = (2..).map_while(|number| node(number).map(|(path, _)| (number, path)));
    all.filter_map(|(number, path)| Some((number, path.strip_prefix(prefix)?)))
        .filter(|(_, name)| !name.is_empty() && !name.contains('/'))
        .collect()
}

struct Server {
    device: File,
    oddity: Oddity,
    /// How often a file was looked at.
    looks: u64,
}

impl Server {
    fn run(mut self) {
        let mut buffer = vec![0; 1 << 18];
        loop {
            let length = match self.device.read(&mut buffer) {
                Ok(length) => length,
                // A request was taken back, or we were interrupted.
                Err(error) if matches!(error.raw_os_error(), Some(2 | 4 | 11)) => continue,
                // Unmounted.
                Err(_) => return,
            };
            let request = Request::parse(&buffer[..length]);
            if let Some(answer) = self.answer(&request) {
                // Whoever asked may be gone.
                drop(self.device.write_all(&answer.bytes(request.unique)));
            }
        }
    }

    fn answer(&mut self, request: &Request<'_>) -> Option<Answer> {
        Some(match request.operation {
            wire::FORGET | wire::BATCH_FORGET => return None,
            wire::INIT => Answer::init(),
            wire::LOOKUP => self.look_up(request.node, request.name()),
            wire::GETATTR => match self.attributes(request.node) {
                Some(attributes) => Answer::attributes(&attributes),
                None => Answer::Error(errno::NOENT),
            },
            wire::OPEN | wire::OPENDIR => {
                let direct = request.operation == wire::OPEN && self.lies_about_size();
                Answer::opened(direct)
            }
            wire::READ => self.read(request),
            wire::READDIR => self.list(request),
            wire::LISTXATTR => self.list_xattrs(request),
            wire::GETXATTR => self.xattr(request),
            wire::RELEASE | wire::RELEASEDIR | wire::FLUSH => Answer::Data(Vec::new()),
            wire::STATFS => Answer::space(),
            _ => Answer::Error(errno::NOSYS),
        })
    }

    fn lies_about_size(&self) -> bool {
        matches!(self.oddity, Oddity::SizeZero | Oddity::SizeTooLarge)
    }

    fn attributes(&mut self, number: u64) -> Option<wire::Attributes> {
        let (_, content) = node(number)?;
        self.looks += 1;
        let shared = self.oddity == Oddity::SharedInode;
        let size_bytes = content.as_ref().map(|content| content.len() as u64);
        Some(wire::Attributes {
            inode: match self.oddity {
                Oddity::UnstableInodes if content.is_some() => self.looks,
                Oddity::SharedInode if content.is_some() => 77,
                _ => number,
            },
            size_bytes: match self.oddity {
                Oddity::SizeZero => size_bytes.map(|_| 0),
                Oddity::SizeTooLarge => size_bytes.map(|size_bytes| size_bytes + 1_000),
                _ => size_bytes,
            },
            links: if content.is_none() || shared { 2 } else { 1 },
            seconds: if self.oddity == Oddity::TimesZero { 0 } else { 1_700_000_000 },
        })
    }

    fn look_up(&mut self, directory: u64, name: &[u8]) -> Answer {
        let found = children(directory).into_iter().find(|(_, child)| child.as_bytes() == name);
        let Some((number, name)) = found else {
            return Answer::Error(errno::NOENT);
        };
        if self.oddity == Oddity::LookupFails && name == "c.txt" {
            return Answer::Error(errno::IO);
        }
        match self.attributes(number) {
            Some(attributes) => Answer::entry(number, &attributes),
            None => Answer::Error(errno::NOENT),
        }
    }

    fn read(&self, request: &Request<'_>) -> Answer {
        let (offset, size) = request.range();
        let Some((path, Some(content))) = node(request.node) else {
            return Answer::Error(errno::IO);
        };
        if self.oddity == Oddity::ReadFails && path == "b.bin" && offset + size > 1 << 16 {
            return Answer::Error(errno::IO);
        }
        let rest = content.get(offset..).unwrap_or_default();
        Answer::Data(rest[..rest.len().min(size)].to_vec())
    }

    fn list(&self, request: &Request<'_>) -> Answer {
        let (offset, size) = request.range();
        let fails = self.oddity == Oddity::ListingFails && request.node == 2;
        if fails && offset > 0 {
            return Answer::Error(errno::IO);
        }
        let mut names = children(request.node);
        if fails {
            names.truncate(1);
        }
        Answer::names(names.into_iter().skip(offset), offset, size, |number| number == 2)
    }

    fn list_xattrs(&self, request: &Request<'_>) -> Answer {
        let is_file = node(request.node).is_some_and(|(_, content)| content.is_some());
        if self.oddity != Oddity::XattrFails || !is_file {
            return Answer::Error(errno::NOTSUP);
        }
        Answer::sized(b"user.bad\0user.good\0", request.room())
    }

    fn xattr(&self, request: &Request<'_>) -> Answer {
        match request.attribute() {
            b"user.good" if self.oddity == Oddity::XattrFails => {
                Answer::sized(b"value", request.room())
            }
            b"user.bad" if self.oddity == Oddity::XattrFails => Answer::Error(errno::IO),
            _ => Answer::Error(errno::NODATA),
        }
    }
}
