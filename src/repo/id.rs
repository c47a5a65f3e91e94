//! Identifiers: fixed numbers of bytes that people see as hex.

use std::fmt;

use data_encoding::HEXLOWER;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Reads the full hex form; `None` for anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $bytes];
                if text.len() != 2 * $bytes {
                    return None;
                }
                HEXLOWER.decode_mut(text.as_bytes(), &mut bytes).ok()?;
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?;
                Ok(())
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                let bytes = d.bytes()?;
                let bytes = bytes.try_into().map_err(|_| {
                    minicbor::decode::Error::message(concat!(stringify!($name), " of wrong length"))
                })?;
                Ok(Self(bytes))
            }
        }
    };
}

identifier! {
    /// Names a repository for its whole life.
    RepositoryId, 16
}
identifier! {
    /// Names one writer's attempt, and the snapshot that it commits.
    SessionId, 12
}
identifier! {
    /// Names a pack: session, number in the session, random bytes, secret number.
    PackId, 24
}
identifier! {
    /// Names a chunk by its content: a keyed hash.
    ChunkId, 24
}
identifier! {
    /// Names a series, the snapshots of one job on one host: a keyed hash of both.
    Lane, 16
}

impl PackId {
    /// Puts the parts together.
    pub fn new(session: SessionId, number: u32, random: [u8; 7], secret: u8) -> Self {
        let mut bytes = [0; 24];
        bytes[..12].copy_from_slice(&session.0);
        bytes[12..16].copy_from_slice(&number.to_be_bytes());
        bytes[16..23].copy_from_slice(&random);
        bytes[23] = secret;
        Self(bytes)
    }

    /// The session that wrote it.
    pub fn session(&self) -> SessionId {
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&self.0[..12]);
        SessionId(bytes)
    }

    /// Number of the repository secret that its chunk ids and metadata keys come from.
    pub fn secret(&self) -> u8 {
        self.0[23]
    }
}
