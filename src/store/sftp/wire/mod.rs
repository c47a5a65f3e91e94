//! The packets of SFTP version 3 that a store needs: <https://www.openssh.com/txt/draft-ietf-secsh-filexfer-02.txt>
//! and OpenSSH's extensions to it. Handles and names are bytes here, as the protocol has them, and what
//! a read brings goes straight to where the caller wants it.
//!
//! Public, since fuzz targets hand hostile bytes to it.

mod framer;
mod reply;
mod request;

pub use framer::{Framer, Receiver};
pub use reply::{Attributes, Malformed, Name, Reply};
pub use request::{Request, hello};

/// The version of the protocol that is spoken: what OpenSSH and nearly all others know.
pub const VERSION: u32 = 3;

/// Codes of a status.
pub mod status {
    #![expect(missing_docs, reason = "the protocol's own names")]

    pub const OK: u32 = 0;
    pub const END_OF_FILE: u32 = 1;
    pub const NO_SUCH_FILE: u32 = 2;
    pub const PERMISSION_DENIED: u32 = 3;
    pub const FAILURE: u32 = 4;
    pub const BAD_MESSAGE: u32 = 5;
    pub const NO_CONNECTION: u32 = 6;
    pub const CONNECTION_LOST: u32 = 7;
    pub const UNSUPPORTED: u32 = 8;
    // Later versions' codes, which some servers send all the same.
    pub const NO_SUCH_PATH: u32 = 10;
    pub const EXISTS: u32 = 11;
    pub const WRITE_PROTECTED: u32 = 12;
    pub const NO_SPACE: u32 = 14;
    pub const QUOTA_EXCEEDED: u32 = 15;
}
