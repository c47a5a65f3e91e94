//! Keeps secrets out of policies: a policy is committed to Git, shown by `kubectl` and printed in
//! logs, so what looks like a secret is refused, and the message says where it belongs.

use super::error::{Fault, Found, Mark};

const KEYS: &str = "mount it as a file and name that in BACKSTAY_KEY_FILE";
const PASSPHRASE: &str = "mount it as a file and name that in BACKSTAY_PASSPHRASE_FILE";
const STORE: &str = "give a store's credentials in its own environment variables, \
     such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
const SSH: &str = "mount it as a file and name that in BACKSTAY_SSH_KEY or spec.ssh.key";

/// Words in a key (lower case, letters and digits only) that promise a secret as its value. The
/// first that fits decides.
const WORDS: [(&str, &str); 11] = [
    ("passphrase", PASSPHRASE),
    ("sshkey", SSH),
    ("privatekey", SSH),
    ("recoverykey", KEYS),
    ("agentkey", KEYS),
    ("password", STORE),
    ("passwd", STORE),
    ("secret", STORE),
    ("accesskey", STORE),
    ("credential", STORE),
    ("token", STORE),
];

/// Where the value of `key` belongs instead, if the key promises a secret.
pub(super) fn remedy(key: &str) -> Option<&'static str> {
    let plain: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| character.to_ascii_lowercase())
        .collect();
    let (_, remedy) = WORDS.iter().find(|(word, _)| plain.contains(word))?;
    Some(remedy)
}

/// Looks for secrets in all of the text, comments too: they leak no less from there.
pub(super) fn scan(text: &str) -> Result<(), Found> {
    for (number, line) in (1..).zip(text.lines()) {
        for (find, remedy) in FINDERS {
            if let Some(place) = find(line) {
                let before = line.get(..place).unwrap_or_default();
                let mark =
                    Mark { line: number, column: 1 + crate::units::to_u64(before.chars().count()) };
                return Err(Found::new(mark, "", Fault::Secret { remedy }));
            }
        }
    }
    Ok(())
}

type Finder = fn(&str) -> Option<usize>;

const FINDERS: [(Finder, &str); 4] =
    [(age_identity, KEYS), (private_key, SSH), (access_key, STORE), (url_password, STORE)];

fn age_identity(line: &str) -> Option<usize> {
    line.to_ascii_uppercase().find("AGE-SECRET-KEY-")
}

fn private_key(line: &str) -> Option<usize> {
    line.contains("PRIVATE KEY-----").then(|| line.find("-----BEGIN")).flatten()
}

/// An AWS access key's number: `AKIA` or `ASIA` and 16 capitals or digits.
fn access_key(line: &str) -> Option<usize> {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    let bytes = line.as_bytes();
    bytes.windows(20).enumerate().find_map(|(place, window)| {
        let alone = place
            .checked_sub(1)
            .and_then(|before| bytes.get(before))
            .is_none_or(|&byte| !byte.is_ascii_alphanumeric());
        let named = window.starts_with(b"AKIA") || window.starts_with(b"ASIA");
        (alone && named && window.iter().all(|&byte| fits(byte))).then_some(place)
    })
}

/// `scheme://user:password@host`.
fn url_password(line: &str) -> Option<usize> {
    for (place, _) in line.match_indices("://") {
        let rest = line.get(place + 3..)?;
        let end = rest
            .find(|character: char| character == '/' || character.is_whitespace())
            .unwrap_or(rest.len());
        let user = rest.get(..end)?.rsplit_once('@').map(|(user, _)| user);
        if let Some((name, password)) = user.and_then(|user| user.split_once(':'))
            && !password.is_empty()
        {
            return Some(place + 3 + name.len() + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_promise_secrets() {
        for key in ["password", "secretKey", "AWS_SECRET_ACCESS_KEY", "api-token"] {
            assert!(remedy(key).is_some(), "{key}");
        }
        for key in ["name", "path", "keys", "settle"] {
            assert!(remedy(key).is_none(), "{key}");
        }
    }

    #[test]
    fn values_that_are_secrets() {
        for (line, column) in [
            ("key: AGE-SECRET-KEY-1QQQ", 6),
            ("# age-secret-key-1qqq", 3),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", 1),
            ("ü: AKIAIOSFODNN7EXAMPLE", 4),
            ("repository: sftp://me:hunter2@host:23/x", 23),
        ] {
            assert_eq!(scan(line).unwrap_err().mark.column, column, "{line}");
        }
        for line in [
            "repository: sftp://me@host:23/x@y:z",
            "repository: s3://bucket/prefix",
            "# set AWS_SECRET_ACCESS_KEY in the environment",
            "XAKIAIOSFODNN7EXAMPLE",
        ] {
            assert!(scan(line).is_ok(), "{line}");
        }
    }
}
