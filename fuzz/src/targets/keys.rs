//! What opens a repository: its config, the bundle in an envelope, and key files.

use age::secrecy::SecretString;
use backstay::repo::config::{Bundle, StoredConfig};
use backstay::repo::envelope::{self, Opener};
use backstay::repo::keyfile::{AgentKey, Unlock};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;

use super::seeds::{IDENTITY, PASSPHRASE, config_front, identity, secrets};

/// A config as anyone with access to the store can put it there.
pub fn config_object(bytes: &[u8]) {
    let Ok(stored) = StoredConfig::parse("config/x", &Bytes::copy_from_slice(bytes)) else {
        return;
    };
    drop(stored.check_tag("config/x", secrets()));
    drop(stored.config.check_readable("here"));
    drop(stored.config.check_writable("here"));
}

/// The record of a config that bears the right tag.
pub fn config(bytes: &[u8]) {
    let mut object = config_front();
    object.extend_from_slice(bytes);
    let secrets = secrets();
    object.extend_from_slice(&secrets.newest().config_tag(&object));
    let Ok(stored) = StoredConfig::parse("config/x", &object.into()) else {
        return;
    };
    stored.check_tag("config/x", secrets).expect("the tag is right");
    drop(stored.config.check_readable("here"));
    let identity = IDENTITY.parse::<age::x25519::Identity>().expect("a known identity");
    drop(stored.open_bundle("here", &Opener::Identities(vec![Box::new(identity)])));
    let keys = secrets.newest();
    let again = stored.config.to_object(stored.repository, stored.secret, keys);
    let again = StoredConfig::parse("config/x", &again).expect("what we encode decodes");
    assert_eq!(again.config.generation, stored.config.generation);
    assert_eq!(again.config.envelopes.len(), stored.config.envelopes.len());
}

/// The plaintext of an envelope.
pub fn key_bundle(bytes: &[u8]) {
    if let Ok(bundle) = Bundle::decode(bytes) {
        let again = Bundle::decode(&bundle.encode()).expect("what we encode decodes");
        assert_eq!(again.repository, bundle.repository);
        assert!(again.secrets.raw().eq(bundle.secrets.raw()));
        assert_eq!(again.identities.len(), bundle.identities.len());
    }
}

/// The payload of an agent key, to which the right checksum is put.
pub fn agent_key(bytes: &[u8]) {
    let mut payload = bytes.to_vec();
    payload.extend_from_slice(&blake3::hash(bytes).as_bytes()[..4]);
    let text = format!("# key\nBACKSTAY-AGENT-KEY-1-{}\n", BASE64URL_NOPAD.encode(&payload));
    if let Ok(Unlock::Agent(key)) = Unlock::from_file("agent.key", text.as_bytes(), None) {
        assert_comes_back(&key);
    }
}

fn assert_comes_back(key: &AgentKey) {
    let text = key.to_text();
    match Unlock::from_file("agent.key", text.as_bytes(), None) {
        Ok(Unlock::Agent(again)) => {
            assert_eq!((again.repository, &again.recipient), (key.repository, &key.recipient));
        }
        other => panic!("an agent key does not come back: {other:?}"),
    }
}

/// A key file of any kind that needs no passphrase.
pub fn key_file(bytes: &[u8]) {
    if let Ok(Unlock::Agent(key)) = Unlock::from_file("a.key", bytes, None) {
        assert_comes_back(&key);
    }
}

/// An age file sealed to an identity that we have.
pub fn envelope(bytes: &[u8]) {
    if let Ok(plain) = envelope::open_with(&[identity()], bytes) {
        assert!(plain.len() < bytes.len());
    }
}

/// A key file wrapped with a passphrase.
pub fn wrapped_key(bytes: &[u8]) {
    // Work is what scrypt is for. The format's limit on it is not what is tested here.
    let cheap = |line: &[u8]| line.rsplit(|byte| *byte == b' ').next().is_some_and(is_cheap);
    let mut lines = bytes.split(|byte| *byte == b'\n');
    if lines.any(|line| line.starts_with(b"-> scrypt ") && !cheap(line)) {
        return;
    }
    if bytes.starts_with(b"-----") {
        return;
    }
    let passphrase = SecretString::from(PASSPHRASE);
    drop(Unlock::from_file("wrapped.key", bytes, Some(&passphrase)));
}

/// Whether a work factor in a stanza is far below what takes time.
fn is_cheap(word: &[u8]) -> bool {
    std::str::from_utf8(word).ok().and_then(|word| word.parse::<u8>().ok()).is_some_and(|n| n <= 4)
}
