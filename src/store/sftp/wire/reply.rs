//! What a server answers, taken apart without trust.

use bytes::{Buf, Bytes};

const HAS_SIZE: u32 = 0x01;
const HAS_OWNER: u32 = 0x02;
const HAS_PERMISSIONS: u32 = 0x04;
const HAS_TIMES: u32 = 0x08;
const HAS_MORE: u32 = 0x8000_0000;

/// The draft's own limit.
const MOST_HANDLE_BYTES: usize = 256;
/// More than anybody wants to read in an error.
const MOST_TEXT_CHARS: usize = 200;

/// A packet that no server may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server does not keep to the SFTP protocol: {0}")]
pub struct Malformed(pub &'static str);

/// What is known of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its length.
    pub size_bytes: Option<u64>,
    /// Its kind and permissions as in `st_mode`.
    pub mode: Option<u32>,
}

/// A row of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The file's name; whatever bytes it has.
    pub name: Bytes,
    /// What is known of it; of a symbolic link, not of where it leads.
    pub attributes: Attributes,
}

/// An answer, except those that bring a file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The answer to the first packet: the version that the server speaks, and its extensions.
    Version(u32, Vec<(Bytes, Bytes)>),
    /// How a request ended: its code, and a text for people.
    Status(u32, String),
    /// A file or directory was opened.
    Handle(Bytes),
    /// Rows of a directory.
    Names(Vec<Name>),
    /// A file's attributes.
    Attributes(Attributes),
    /// The answer to an extension.
    Extended(Bytes),
}

impl Reply {
    /// Reads a packet behind its length: the kind, then the rest. Returns the request's number, zero
    /// for [`Reply::Version`].
    ///
    /// # Errors
    /// [`Malformed`] where anything is missing, left over or impossible.
    pub fn parse(kind: u8, body: Bytes) -> Result<(u32, Self), Malformed> {
        let mut body = Reader(body);
        if kind == 2 {
            return Ok((0, version(&mut body)?));
        }
        let id = body.u32()?;
        let reply = match kind {
            101 => status(&mut body)?,
            102 => {
                let handle = body.string()?;
                if handle.is_empty() || handle.len() > MOST_HANDLE_BYTES {
                    return Err(Malformed("a handle of no or too many bytes"));
                }
                Self::Handle(handle)
            }
            104 => names(&mut body)?,
            105 => Self::Attributes(body.attributes()?),
            201 => Self::Extended(body.rest()),
            _ => return Err(Malformed("a packet of a kind that no server sends")),
        };
        body.end()?;
        Ok((id, reply))
    }
}

fn version(body: &mut Reader) -> Result<Reply, Malformed> {
    let version = body.u32()?;
    let mut extensions = Vec::new();
    while !body.is_empty() {
        extensions.push((body.string()?, body.string()?));
    }
    Ok(Reply::Version(version, extensions))
}

fn status(body: &mut Reader) -> Result<Reply, Malformed> {
    let code = body.u32()?;
    // Old servers say no more; what else may stand there is of no use.
    let text = if body.is_empty() { Bytes::new() } else { body.string()? };
    body.rest();
    let text = String::from_utf8_lossy(&text);
    let printable = |next: char| if next.is_control() { ' ' } else { next };
    Ok(Reply::Status(code, text.chars().map(printable).take(MOST_TEXT_CHARS).collect()))
}

fn names(body: &mut Reader) -> Result<Reply, Malformed> {
    let count = body.u32()?;
    let mut names = Vec::new();
    for _ in 0..count {
        let name = body.string()?;
        // A line as `ls -l` prints it, in whatever form.
        body.string()?;
        names.push(Name { name, attributes: body.attributes()? });
    }
    Ok(Reply::Names(names))
}

/// What is left of a packet.
struct Reader(Bytes);

impl Reader {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.0.try_get_u32().map_err(|_| CUT_OFF)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.0.try_get_u64().map_err(|_| CUT_OFF)
    }

    fn string(&mut self) -> Result<Bytes, Malformed> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if length > self.0.len() {
            return Err(CUT_OFF);
        }
        Ok(self.0.split_to(length))
    }

    fn attributes(&mut self) -> Result<Attributes, Malformed> {
        let flags = self.u32()?;
        let mut attributes = Attributes::default();
        if flags & HAS_SIZE != 0 {
            attributes.size_bytes = Some(self.u64()?);
        }
        if flags & HAS_OWNER != 0 {
            self.u64()?;
        }
        if flags & HAS_PERMISSIONS != 0 {
            attributes.mode = Some(self.u32()?);
        }
        if flags & HAS_TIMES != 0 {
            self.u64()?;
        }
        if flags & HAS_MORE != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attributes)
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn end(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed("a packet with bytes left over")) }
    }
}

const CUT_OFF: Malformed = Malformed("a packet that ends too early");

impl Attributes {
    const KIND: u32 = 0o170_000;

    fn is_kind(self, kind: u32) -> Option<bool> {
        let mode = self.mode.filter(|mode| mode & Self::KIND != 0)?;
        Some(mode & Self::KIND == kind)
    }

    /// Whether it is a directory; none if the server does not say.
    pub fn is_directory(self) -> Option<bool> {
        self.is_kind(0o040_000)
    }

    /// Whether it is a file; none if the server does not say.
    pub fn is_file(self) -> Option<bool> {
        self.is_kind(0o100_000)
    }

    /// Whether it is a symbolic link; none if the server does not say.
    pub fn is_link(self) -> Option<bool> {
        self.is_kind(0o120_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: u8, body: &'static [u8]) -> Result<(u32, Reply), Malformed> {
        Reply::parse(kind, Bytes::from_static(body))
    }

    #[test]
    fn reads_what_openssh_says() {
        let (id, reply) = parse(2, b"\0\0\0\x03\0\0\0\x04fish\0\0\0\x011").unwrap();
        let extensions = vec![(Bytes::from("fish"), Bytes::from("1"))];
        assert_eq!((id, reply), (0, Reply::Version(3, extensions)));
        let (id, reply) = parse(101, b"\0\0\0\x09\0\0\0\x04\0\0\0\x04No\n!\0\0\0\0").unwrap();
        assert_eq!((id, reply), (9, Reply::Status(4, "No !".to_owned())));
        assert_eq!(parse(101, b"\0\0\0\x09\0\0\0\0").unwrap().1, Reply::Status(0, String::new()));
        let (_, reply) = parse(
            104,
            b"\0\0\0\x01\0\0\0\x01\0\0\0\x01a\0\0\0\0\0\0\0\x0f\0\0\0\0\0\0\0\x05\
              \0\0\0\x01\0\0\0\x02\0\0\x81\xa4\0\0\0\x03\0\0\0\x04",
        )
        .unwrap();
        let Reply::Names(names) = reply else { panic!("{reply:?}") };
        assert_eq!(names[0].attributes.size_bytes, Some(5));
        assert_eq!(names[0].attributes.is_file(), Some(true));
    }

    #[test]
    fn refuses_what_no_server_may_say() {
        for (kind, body) in [
            (101, &b"\0\0\0\x09\0\0"[..]),
            (102, b"\0\0\0\x09\0\0\0\0"),
            (102, b"\0\0\0\x09\xff\xff\xff\xffa"),
            (104, b"\0\0\0\x09\xff\xff\xff\xff"),
            (105, b"\0\0\0\x09\0\0\0\0\0"),
            (105, b"\0\0\0\x09\x80\0\0\0\xff\xff\xff\xff"),
            (99, b"\0\0\0\x09"),
        ] {
            parse(kind, body).unwrap_err();
        }
    }
}
