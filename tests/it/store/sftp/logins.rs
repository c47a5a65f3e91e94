//! Who we are.

use std::fs;

use backstay::class::Class;

use super::{Environment, content, key, open, refusal};
use crate::support::password_ssh::{Asks, PASSWORD, PasswordSsh};
use crate::support::sshd::{Agent, ClientKey, Kind, PASSPHRASE, Sshd};

fn with(server: &Sshd, variables: &[(&str, &str)]) -> Environment {
    let mut environment = server.environment();
    environment.remove("BACKSTAY_SSH_KEY");
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    environment.extend(variables);
    environment
}

#[tokio::test]
async fn keys_of_all_kinds_let_in() {
    let server = Sshd::start(Kind::Plain);
    let passphrase = tempfile::NamedTempFile::new().unwrap();
    fs::write(passphrase.path(), format!("{PASSPHRASE}\n")).unwrap();
    let passphrase = passphrase.path().to_str().unwrap();
    let [plain, wrapped, rsa] = [ClientKey::Ed25519, ClientKey::Wrapped, ClientKey::Rsa]
        .map(|key| server.key(key).display().to_string());
    let agent = Agent::start(plain.as_ref());
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    fs::copy(&rsa, home.path().join(".ssh/id_rsa")).unwrap();
    for (name, variables) in [
        ("ed25519", vec![("BACKSTAY_SSH_KEY", plain.as_str())]),
        ("rsa", vec![("BACKSTAY_SSH_KEY", &rsa)]),
        ("wrapped", vec![("BACKSTAY_SSH_KEY", &wrapped), ("BACKSTAY_SSH_PASSPHRASE", PASSPHRASE)]),
        (
            "wrapped-file",
            vec![("BACKSTAY_SSH_KEY", &wrapped), ("BACKSTAY_SSH_PASSPHRASE_FILE", passphrase)],
        ),
        ("agent", vec![("SSH_AUTH_SOCK", agent.socket().to_str().unwrap())]),
        ("usual-file", vec![("HOME", home.path().to_str().unwrap())]),
        (
            "usual-file-behind-a-dead-agent",
            vec![("HOME", home.path().to_str().unwrap()), ("SSH_AUTH_SOCK", "/nowhere")],
        ),
    ] {
        let store = open(&server.url(&format!("/./{name}")), with(&server, &variables));
        let created = store.create(&key("a/b"), content("x")).await;
        created.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn what_does_not_let_in_is_explained() {
    let server = Sshd::start(Kind::Plain);
    let plain = server.key(ClientKey::Ed25519).display().to_string();
    let wrapped = server.key(ClientKey::Wrapped).display().to_string();
    let elsewhere = Sshd::start(Kind::Plain);
    let strange = elsewhere.key(ClientKey::Ed25519).display().to_string();
    for (variables, class, expected) in [
        (vec![("BACKSTAY_SSH_KEY", wrapped.as_str())], Class::Denied, "BACKSTAY_SSH_PASSPHRASE"),
        (
            vec![("BACKSTAY_SSH_KEY", &wrapped), ("BACKSTAY_SSH_PASSPHRASE", "test-wrong-secret")],
            Class::Denied,
            "does not open",
        ),
        (vec![("BACKSTAY_SSH_KEY", "/nowhere/key")], Class::Config, "/nowhere/key"),
        (vec![("BACKSTAY_SSH_KEY", &strange)], Class::Denied, &strange),
        (vec![], Class::Denied, "nothing to log in"),
        (vec![("BACKSTAY_SSH_PASSWORD", "test-wrong-secret")], Class::Denied, "refused"),
    ] {
        let store = open(&server.url("/./repository"), with(&server, &variables));
        let text = refusal(&*store, class).await;
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("test-wrong-secret"), "{text}");
    }
    let other = server.url("/./repository").replace(server.user(), "nobody-of-that-name");
    let text =
        refusal(&*open(&other, with(&server, &[("BACKSTAY_SSH_KEY", &plain)])), Class::Denied)
            .await;
    assert!(text.contains("nobody-of-that-name") && text.contains("SHA256:"), "{text}");
}

/// By the method of that name, and as the answer to a question, as servers with PAM ask.
#[tokio::test]
async fn a_password_lets_in() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{PASSWORD}\n")).unwrap();
    for asks in [Asks::Password, Asks::Question] {
        let server = PasswordSsh::start(asks).await;
        for (name, value) in [
            ("BACKSTAY_SSH_PASSWORD", PASSWORD),
            ("BACKSTAY_SSH_PASSWORD_FILE", file.path().to_str().unwrap()),
        ] {
            let mut environment = server.environment();
            environment.insert(name.to_owned(), value.to_owned());
            let store = open(&server.url(), environment);
            let object = key(&name.to_lowercase().replace('_', "-"));
            let created = store.create(&object, content("x")).await;
            created.unwrap_or_else(|error| panic!("{asks:?}, {name}: {error:?}"));
            assert_eq!(store.get(&object, 1).await.unwrap(), "x");
        }
        let mut environment = server.environment();
        environment.insert("BACKSTAY_SSH_PASSWORD".to_owned(), "test-wrong-secret".to_owned());
        let text = refusal(&*open(&server.url(), environment), Class::Denied).await;
        assert!(text.contains("password") && !text.contains("test-wrong-secret"), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_meanwhile_lets_nobody_in() {
    let server = Sshd::start(Kind::Plain);
    let store = open(&server.url("/./repository"), server.environment());
    store.create(&key("a/b"), content("x")).await.unwrap();
    server.revoke();
    server.server().restart();
    let text = refusal(&*store, Class::Denied).await;
    assert!(text.contains("refused"), "{text}");
}
