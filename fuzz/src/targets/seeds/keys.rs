//! Seeds of configs, bundles and key files.

use age::secrecy::SecretString;
use backstay::repo::config::{Config, envelope_for};
use backstay::repo::envelope::{self, Recipient};
use backstay::repo::keyfile::{AgentKey, recovery_text};
use backstay::repo::record;
use data_encoding::{BASE64, BASE64URL_NOPAD};

use super::{PASSPHRASE, REPOSITORY, bundle, empty_config, identity, secrets};

fn recipient() -> Recipient {
    identity().recipient().expect("an identity has a recipient")
}

fn full_config() -> Config {
    Config {
        generation: 2,
        write_features: vec!["shards".into()],
        envelopes: vec![envelope_for(&bundle(), "recovery key", &[recipient()]).expect("sealed")],
        content_recipients: vec![recipient().as_str().into()],
        store_class: Some("A".into()),
        ..empty_config()
    }
}

/// Whole objects.
pub fn config_object() -> Vec<Vec<u8>> {
    [empty_config(), full_config()]
        .map(|config| config.to_object(REPOSITORY, 0, secrets().newest()).into())
        .into()
}

/// Their records.
pub fn config() -> Vec<Vec<u8>> {
    [empty_config(), full_config()].map(|config| record::encode(&config)).into()
}

/// Bundles with and without an identity.
pub fn key_bundle() -> Vec<Vec<u8>> {
    let mut bare = bundle();
    bare.identities.clear();
    vec![bundle().encode().to_vec(), bare.encode().to_vec()]
}

fn agent_text() -> String {
    let key =
        AgentKey { repository: REPOSITORY, secrets: secrets().clone(), recipient: recipient() };
    key.to_text().to_string()
}

/// The payload of an agent key.
pub fn agent_key() -> Vec<Vec<u8>> {
    let text = agent_text();
    let code = text.lines().last().and_then(|line| line.rsplit("-1-").next()).expect("a key");
    let payload = BASE64URL_NOPAD.decode(code.as_bytes()).expect("what we encode decodes");
    vec![payload[..payload.len() - 4].to_vec()]
}

/// Key files that need no passphrase.
pub fn key_file() -> Vec<Vec<u8>> {
    let recovery = recovery_text(REPOSITORY, &identity()).expect("an identity");
    vec![agent_text().into(), recovery.as_bytes().to_vec(), ssh_key().into()]
}

/// An Ed25519 key in the form of OpenSSH's `PROTOCOL.key`. It belongs to no one.
fn ssh_key() -> String {
    let string = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).expect("short");
        [length.to_be_bytes().as_slice(), bytes].concat()
    };
    let public = [string(b"ssh-ed25519"), string(&[5; 32])].concat();
    let mut private = [&[1; 8][..], &public, &string(&[5; 64]), &string(b"nobody")].concat();
    (1..=(8 - private.len() % 8) % 8).for_each(|n| private.push(u8::try_from(n).expect("small")));
    let body = [
        b"openssh-key-v1\0".to_vec(),
        string(b"none"),
        string(b"none"),
        string(b""),
        vec![0, 0, 0, 1],
        string(&public),
        string(&private),
    ];
    let code = BASE64.encode(&body.concat());
    let lines: Vec<&str> =
        (0..code.len()).step_by(70).map(|at| &code[at..code.len().min(at + 70)]).collect();
    format!(
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
        lines.join("\n")
    )
}

/// A session secret sealed to the identity.
pub fn envelope() -> Vec<Vec<u8>> {
    vec![envelope::seal(&[recipient()], &[5; 32]).expect("sealed")]
}

/// A recovery key wrapped with little work.
pub fn wrapped_key() -> Vec<Vec<u8>> {
    use std::io::Write;
    let text = recovery_text(REPOSITORY, &identity()).expect("an identity");
    let mut recipient = age::scrypt::Recipient::new(SecretString::from(PASSPHRASE));
    recipient.set_work_factor(2);
    let recipients = std::iter::once(&recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).expect("one recipient");
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).expect("memory takes it");
    writer.write_all(text.as_bytes()).expect("memory takes it");
    writer.finish().expect("memory takes it");
    vec![sealed]
}
