//! The config object: format, features and who can open the repository. FORMAT.md §3, §5.

use bytes::Bytes;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::repo::envelope::{self, Identity, Opener, Recipient, Shut};
use crate::repo::error::Error;
use crate::repo::id::RepositoryId;
use crate::repo::record;
use crate::repo::seal::{MAGIC, VERSION};
use crate::repo::secret::{Keys, Secret, Secrets};
use crate::repo::wire::{Cursor, put_bytes, put_length, put_var};
use crate::store::StoreClass;

/// The only format so far.
pub const FORMAT: u32 = 1;
/// Kind byte of a config object.
const KIND: u8 = 8;
const HEADER_BYTES: usize = 28;
const TAG_BYTES: usize = 32;
/// Envelopes that are tried: opening one with a passphrase takes a second on purpose.
const ENVELOPES: usize = 256;

/// One sealed copy of the key bundle.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Envelope {
    /// What a person called it.
    #[n(0)]
    pub label: String,
    /// Who can open it; empty for a passphrase.
    #[n(1)]
    pub recipients: Vec<String>,
    /// The age file.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

/// The record in a config object.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Config {
    /// Always 1 so far.
    #[n(0)]
    pub format: u32,
    /// Counts from 0; the highest is in force.
    #[n(1)]
    pub generation: u64,
    /// When this generation was made, in nanoseconds since 1970.
    #[n(2)]
    pub created: i64,
    /// Features that one must know to read.
    #[n(3)]
    pub read_features: Vec<String>,
    /// Features that one must know to write.
    #[n(4)]
    pub write_features: Vec<String>,
    /// Features that one must know to collect.
    #[n(5)]
    pub collect_features: Vec<String>,
    /// Sealed copies of the key bundle.
    #[n(6)]
    pub envelopes: Vec<Envelope>,
    /// Public halves of the content identities, oldest first.
    #[n(7)]
    pub content_recipients: Vec<String>,
    /// What the store honours, where it was probed.
    #[n(8)]
    pub store_class: Option<String>,
    /// Proof that someone who can open the repository wrote this; see [`Config::sign`].
    #[n(9)]
    pub owner_tag: Option<ByteArray<TAG_BYTES>>,
}

/// A config object taken apart but not yet trusted: nobody checked its tag.
#[derive(Clone, Debug)]
pub struct StoredConfig {
    /// Whose it is.
    pub repository: RepositoryId,
    /// Which secret's tag it bears.
    pub secret: u8,
    /// The record.
    pub config: Config,
    tagged: Bytes,
    tag: [u8; TAG_BYTES],
}

/// What envelopes hold: with it, everything can be read.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The repository.
    pub repository: RepositoryId,
    /// Repository secrets, oldest first.
    pub secrets: Secrets,
    /// Content identities, oldest first.
    pub identities: Vec<Identity>,
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct BundleRecord {
    #[n(0)]
    repository: RepositoryId,
    #[cbor(n(1), with = "crate::repo::record::secrets")]
    secrets: Vec<Secret>,
    #[n(2)]
    identities: Vec<String>,
}

impl Bundle {
    /// The content identity that new sessions are sealed to.
    pub fn newest_identity(&self) -> Result<&Identity, Error> {
        let newest = self.identities.last();
        newest.ok_or_else(|| Error::damaged("the key bundle in config", "holds no identity"))
    }

    /// The plaintext of an envelope.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(record::encode(&BundleRecord {
            repository: self.repository,
            secrets: self.secrets.raw().cloned().collect(),
            identities: self.identities.iter().map(|i| i.expose().to_owned()).collect(),
        }))
    }

    /// Reads the plaintext of an envelope.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let record: BundleRecord = record::decode(&"the key bundle in config", bytes)?;
        let damaged = |reason: &str| Error::damaged("the key bundle in config", reason);
        Ok(Self {
            repository: record.repository,
            secrets: Secrets::new(record.secrets).ok_or_else(|| damaged("holds no secret"))?,
            identities: record
                .identities
                .iter()
                .map(|text| Identity::parse(text).ok_or_else(|| damaged("holds no identity")))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Config {
    /// The whole object.
    pub fn to_object(&self, repository: RepositoryId, secret: u8, keys: &Keys) -> Bytes {
        let mut object = Vec::new();
        object.extend_from_slice(MAGIC);
        object.extend_from_slice(&[KIND, VERSION, secret, 0]);
        object.extend_from_slice(&repository.0);
        object.extend_from_slice(&record::encode(self));
        let tag = keys.config_tag(&object);
        object.extend_from_slice(&tag);
        object.into()
    }

    /// Puts the owner's tag on. An agent key is enough for the object's own tag, and whoever has one must
    /// not be able to name recipients to whom the next change of keys seals everything.
    pub fn sign(&mut self, newest: &Identity) {
        self.owner_tag = Some(ByteArray::from(self.owner_tag_by(newest)));
    }

    /// Checks the owner's tag.
    pub fn check_owner(&self, name: &str, newest: &Identity) -> Result<(), Error> {
        let Some(tag) = &self.owner_tag else {
            return Err(Error::damaged(name, "nobody who can open it vouches for it"));
        };
        // Hashes compare in constant time.
        if blake3::Hash::from_bytes(**tag) == blake3::Hash::from_bytes(self.owner_tag_by(newest)) {
            Ok(())
        } else {
            Err(Error::damaged(name, "was not written by anyone who can open it"))
        }
    }

    fn owner_tag_by(&self, newest: &Identity) -> [u8; TAG_BYTES] {
        let mut said = Vec::new();
        put_var(&mut said, self.generation);
        for features in [&self.read_features, &self.write_features, &self.collect_features] {
            put_texts(&mut said, features);
        }
        put_length(&mut said, self.envelopes.len());
        for envelope in &self.envelopes {
            put_bytes(&mut said, envelope.label.as_bytes());
            put_texts(&mut said, &envelope.recipients);
            put_bytes(&mut said, &envelope.sealed);
        }
        put_texts(&mut said, &self.content_recipients);
        let context = "backstay.dev format 1 owner";
        let key = Zeroizing::new(blake3::derive_key(context, newest.expose().as_bytes()));
        blake3::keyed_hash(&key, &said).into()
    }

    /// What the store was found to honour when the repository was made, if it was probed.
    pub fn promised_class(&self) -> Option<StoreClass> {
        StoreClass::parse(self.store_class.as_deref()?)
    }

    /// Fails if this program may not even read the repository at `place`. To be asked once the tag is
    /// found right: a feature that anyone could have written there is no reason to refuse.
    pub fn check_readable(&self, place: &str) -> Result<(), Error> {
        match self.read_features.first() {
            Some(feature) => Err(Error::Newer {
                place: place.to_owned(),
                what: format!("feature {feature:?} to read it"),
            }),
            None => Ok(()),
        }
    }

    /// Fails if this program may not write.
    pub fn check_writable(&self, place: &str) -> Result<(), Error> {
        match self.write_features.first() {
            Some(feature) => Err(Error::Newer {
                place: place.to_owned(),
                what: format!("feature {feature:?} to write to it; reading is possible"),
            }),
            None => Ok(()),
        }
    }
}

impl StoredConfig {
    /// Takes an object apart.
    pub fn parse(name: &str, object: &Bytes) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::damaged(name, reason);
        let body_end = object.len().checked_sub(TAG_BYTES).filter(|end| *end >= HEADER_BYTES);
        let body_end = body_end.ok_or_else(|| damaged("shorter than its header"))?;
        let mut cursor = Cursor::new(object);
        let magic: [u8; 8] = cursor.array().map_err(|e| damaged(e.0))?;
        let [kind, version, secret, zero] = cursor.array().map_err(|e| damaged(e.0))?;
        let repository = RepositoryId(cursor.array().map_err(|e| damaged(e.0))?);
        let body = cursor.take(body_end - HEADER_BYTES).map_err(|e| damaged(e.0))?;
        let tag = cursor.array().map_err(|e| damaged(e.0))?;
        if &magic != MAGIC || kind != KIND {
            return Err(damaged("does not start like a config of Backstay"));
        }
        if version != VERSION {
            return Err(newer(name, &format!("version {version}")));
        }
        if zero != 0 {
            return Err(damaged("byte 11 is not 0"));
        }
        let config = record::decode(&name, body)?;
        Ok(Self { repository, secret, config, tagged: object.slice(..body_end), tag })
    }

    /// Fails if the format is not one that this program knows. What the config says of itself cannot
    /// be checked then, so the error names the object.
    pub fn check_format(&self, name: &str) -> Result<(), Error> {
        match self.config.format {
            FORMAT => Ok(()),
            format => Err(newer(name, &format!("format {format}"))),
        }
    }

    /// Checks the tag, which must be of the newest of the repository's secrets: whoever has an agent
    /// key that was rotated out could make one of an older secret.
    pub fn check_tag(&self, name: &str, secrets: &Secrets) -> Result<(), Error> {
        let keys = secrets.get(self.secret).ok_or_else(|| {
            Error::Denied(format!(
                "{name} needs secret {}, which this key does not have: the agent key was rotated \
                 since; fetch the new one",
                self.secret
            ))
        })?;
        if self.secret != secrets.newest_number() {
            return Err(Error::damaged(name, "its tag is not of the newest secret"));
        }
        let tag = blake3::Hash::from_bytes(keys.config_tag(&self.tagged));
        // Hashes compare in constant time.
        if tag == blake3::Hash::from_bytes(self.tag) {
            Ok(())
        } else {
            Err(Error::damaged(name, "its tag does not belong to its content and this key"))
        }
    }

    /// Opens the first envelope that `opener` fits.
    pub fn open_bundle(&self, place: &str, opener: &Opener) -> Result<Bundle, Error> {
        let mut damage = None;
        if self.config.envelopes.len() > ENVELOPES {
            return Err(Error::damaged(format!("a config of {place}"), "has too many envelopes"));
        }
        for envelope in &self.config.envelopes {
            match envelope::open(opener, &envelope.sealed) {
                Ok(plaintext) => return Bundle::decode(&plaintext),
                Err(Shut::NotForUs) => {}
                Err(Shut::Damaged(reason)) => damage = Some(reason),
            }
        }
        if let Some(reason) = damage {
            return Err(Error::damaged(format!("an envelope of {place}"), reason));
        }
        Err(Error::Denied(match opener {
            Opener::Passphrase(_) => format!(
                "the passphrase does not open {place}: it is wrong, or the repository is opened with \
                 a key file (--key-file)"
            ),
            Opener::Identities(_) => format!(
                "the key does not open {place}: it is the recovery key of another repository \
                 ({} is {})",
                place, self.repository
            ),
        }))
    }
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_length(out, texts.len());
    for text in texts {
        put_bytes(out, text.as_bytes());
    }
}

/// A config of a version that is not known, which nobody can vouch for.
fn newer(name: &str, what: &str) -> Error {
    Error::Newer {
        place: name.to_owned(),
        what: format!(
            "{what} (this one knows {FORMAT}). If nobody upgraded the repository, someone else put \
             that object there: move it away"
        ),
    }
}

/// Seals a bundle to recipients.
pub fn envelope_for(
    bundle: &Bundle,
    label: &str,
    recipients: &[Recipient],
) -> Result<Envelope, Error> {
    Ok(Envelope {
        label: label.to_owned(),
        recipients: recipients.iter().map(|r| r.as_str().to_owned()).collect(),
        sealed: envelope::seal(recipients, &bundle.encode())?,
    })
}
