//! Requests and answers as the kernel lays them out, in this machine's byte order: `linux/fuse.h`.

pub const LOOKUP: u32 = 1;
pub const FORGET: u32 = 2;
pub const GETATTR: u32 = 3;
pub const OPEN: u32 = 14;
pub const READ: u32 = 15;
pub const STATFS: u32 = 17;
pub const RELEASE: u32 = 18;
pub const GETXATTR: u32 = 22;
pub const LISTXATTR: u32 = 23;
pub const FLUSH: u32 = 25;
pub const INIT: u32 = 26;
pub const OPENDIR: u32 = 27;
pub const READDIR: u32 = 28;
pub const RELEASEDIR: u32 = 29;
pub const BATCH_FORGET: u32 = 42;

/// Reads go to the server whatever the size says.
const DIRECT_IO: u32 = 1;

/// Error numbers of Linux.
pub mod errno {
    pub const NOENT: i32 = 2;
    pub const IO: i32 = 5;
    pub const RANGE: i32 = 34;
    pub const NOSYS: i32 = 38;
    pub const NODATA: i32 = 61;
    pub const NOTSUP: i32 = 95;
}

/// A request of the kernel.
pub struct Request<'a> {
    pub operation: u32,
    pub unique: u64,
    pub node: u64,
    body: &'a [u8],
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_ne_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_ne_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap()
}

impl<'a> Request<'a> {
    pub fn parse(bytes: &'a [u8]) -> Self {
        Self {
            operation: u32_at(bytes, 4),
            unique: u64_at(bytes, 8),
            node: u64_at(bytes, 16),
            body: &bytes[40..],
        }
    }

    /// The name that is looked up.
    pub fn name(&self) -> &[u8] {
        text(self.body)
    }

    /// Offset and size of a read.
    pub fn range(&self) -> (usize, usize) {
        let offset = usize::try_from(u64_at(self.body, 8)).unwrap();
        (offset, usize::try_from(u32_at(self.body, 16)).unwrap())
    }

    /// Room for an extended attribute or their list.
    pub fn room(&self) -> usize {
        usize::try_from(u32_at(self.body, 0)).unwrap()
    }

    /// The extended attribute that is asked for.
    pub fn attribute(&self) -> &[u8] {
        text(&self.body[8..])
    }
}

/// What a node says of itself; without a size it is a directory.
pub struct Attributes {
    pub inode: u64,
    pub size_bytes: Option<u64>,
    pub links: u32,
    pub seconds: u64,
}

impl Attributes {
    fn put(&self, out: &mut Vec<u8>) {
        let size_bytes = self.size_bytes.unwrap_or(4096);
        let mode: u32 = if self.size_bytes.is_some() { 0o100_644 } else { 0o040_755 };
        put_u64(out, &[self.inode, size_bytes, size_bytes.div_ceil(512)]);
        put_u64(out, &[self.seconds; 3]);
        put_u32(out, &[5, 5, 5, mode, self.links, 0, 0, 0, 4096, 0]);
    }
}

/// What the kernel is told.
pub enum Answer {
    Data(Vec<u8>),
    Error(i32),
}

fn put_u64(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_ne_bytes());
    }
}

fn put_u32(out: &mut Vec<u8>, numbers: &[u32]) {
    for number in numbers {
        out.extend_from_slice(&number.to_ne_bytes());
    }
}

impl Answer {
    /// The answer as it is written to the device.
    pub fn bytes(self, unique: u64) -> Vec<u8> {
        let (data, error) = match self {
            Self::Data(data) => (data, 0),
            Self::Error(error) => (Vec::new(), -error),
        };
        let mut out = Vec::with_capacity(16 + data.len());
        put_u32(&mut out, &[u32::try_from(16 + data.len()).unwrap(), error.cast_unsigned()]);
        put_u64(&mut out, &[unique]);
        out.extend_from_slice(&data);
        out
    }

    /// Version 7.31, no feature.
    pub fn init() -> Self {
        let mut out = Vec::new();
        put_u32(&mut out, &[7, 31, 0, 0, 0x9_000C, 1 << 16, 1, 16]);
        out.resize(64, 0);
        Self::Data(out)
    }

    pub fn attributes(attributes: &Attributes) -> Self {
        let mut out = Vec::new();
        put_u64(&mut out, &[0, 0]);
        attributes.put(&mut out);
        Self::Data(out)
    }

    /// A node that was found; nothing of it may be remembered.
    pub fn entry(node: u64, attributes: &Attributes) -> Self {
        let mut out = Vec::new();
        put_u64(&mut out, &[node, 0, 0, 0, 0]);
        attributes.put(&mut out);
        Self::Data(out)
    }

    pub fn opened(is_direct: bool) -> Self {
        let mut out = Vec::new();
        put_u64(&mut out, &[0]);
        put_u32(&mut out, &[if is_direct { DIRECT_IO } else { 0 }, 0]);
        Self::Data(out)
    }

    pub fn space() -> Self {
        let mut out = Vec::new();
        put_u64(&mut out, &[1_000, 1_000, 1_000, 100, 100]);
        put_u32(&mut out, &[4096, 255, 4096]);
        out.resize(80, 0);
        Self::Data(out)
    }

    /// Names of a directory, as many as there is room for.
    pub fn names<'a>(
        names: impl Iterator<Item = (u64, &'a str)>,
        offset: usize,
        size: usize,
        is_directory: impl Fn(u64) -> bool,
    ) -> Self {
        let mut out = Vec::new();
        for (place, (node, name)) in names.enumerate() {
            let mut entry = Vec::new();
            put_u64(&mut entry, &[node, (offset + place + 1) as u64]);
            let kind = if is_directory(node) { 4 } else { 8 };
            put_u32(&mut entry, &[u32::try_from(name.len()).unwrap(), kind]);
            entry.extend_from_slice(name.as_bytes());
            entry.resize(entry.len().next_multiple_of(8), 0);
            if out.len() + entry.len() > size {
                break;
            }
            out.extend_from_slice(&entry);
        }
        Self::Data(out)
    }

    /// A value, its length where there is no room, or that there is too little.
    pub fn sized(value: &[u8], room: usize) -> Self {
        let mut out = Vec::new();
        if room == 0 {
            put_u32(&mut out, &[u32::try_from(value.len()).unwrap(), 0]);
        } else if room < value.len() {
            return Self::Error(errno::RANGE);
        } else {
            out.extend_from_slice(value);
        }
        Self::Data(out)
    }
}
