//! Every way in which a policy can be wrong, with the exact message.

use super::{HEAD, SOURCES, parse};

/// What is said of `text`, in one line and without the directory.
pub(super) fn refused(text: &str) -> String {
    let message = parse(text).expect_err(text).to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message.replace("/etc/backstay/", "")
}

/// Each pair is what follows [`HEAD`] and what is said of it.
fn assert_refused(cases: &[(&str, &str)]) {
    for (spec, message) in cases {
        assert_eq!(refused(&format!("{HEAD}{spec}")), *message, "{spec}");
    }
}

#[test]
fn what_is_no_policy() {
    for (text, message) in [
        ("", "p.yaml:1:1: the document is empty; begin with apiVersion: backstay.dev/v1"),
        ("hello", "p.yaml:1:1: must be a mapping, not text"),
        (
            "a: b: c",
            "p.yaml:1:5: this is not valid YAML: mapping values are not allowed in this context",
        ),
        ("a: [1", "p.yaml:1:4: this is not valid YAML: unclosed bracket '['"),
        ("a: !x y", "p.yaml:1:7: this is not valid YAML: unsupported tag `!x`"),
        ("~: x", "p.yaml:1:1: a key must be text; put it in quotes"),
        ("? [a]\n: b", "p.yaml:1:3: a key must be text; put it in quotes"),
        ("a: &a [*a]", "p.yaml:1:8: this alias contains itself; write its value out"),
        ("a: .inf", "p.yaml:1:4: no number here may be infinite; put text in quotes"),
        ("b: {<<: {a: 1}}", "p.yaml:1:5: <<: merge keys are not supported; write the keys out"),
        ("a: 1\na: 2", "p.yaml:2:1: a: this key is there twice; remove one"),
        (
            "--- a\n--- b",
            "p.yaml:2:5: a second document begins here; put each policy into a file of its own",
        ),
        (
            "apiVersion: v1\nkind: Secret\ndata: {}",
            "p.yaml:1:13: apiVersion: must be backstay.dev/v1, not v1",
        ),
        (
            "apiVersion: backstay.dev/v2",
            "p.yaml:1:13: apiVersion: must be backstay.dev/v1, not backstay.dev/v2; this Backstay reads no other version",
        ),
        ("apiVersion: backstay.dev/v1\nkind: Drill", "p.yaml:2:7: kind: must be Policy, not Drill"),
        ("kind: Policy", "p.yaml:1:1: apiVersion: missing; add apiVersion: backstay.dev/v1"),
        ("apiVersion: 1", "p.yaml:1:13: apiVersion: must be backstay.dev/v1, not a number"),
        (
            "apiVersion: backstay.dev/v1\nkind: Policy\nmetadata: {name: .p}\nspec: {sources: [{name: a, directory: {path: a}}]}",
            "p.yaml:3:18: metadata.name: .p: a name must not begin with a dot",
        ),
    ] {
        assert_eq!(refused(text), message, "{text}");
    }
}

#[test]
fn keys_and_types() {
    assert_refused(&[
        ("sorces: []", "p.yaml:5:3: spec.sorces: unknown key; did you mean sources?"),
        (
            "exclude_caches: true",
            "p.yaml:5:3: spec.exclude_caches: unknown key; did you mean excludeCaches?",
        ),
        (
            "zzz: 1",
            "p.yaml:5:3: spec.zzz: unknown key; known here: repository, host, sources, exclude, excludeCaches, compression, memory, limits, ssh, prices, labels",
        ),
        ("host: h", "p.yaml:5:3: spec.sources: missing; add sources: what is backed up, a list"),
        ("sources: []", "p.yaml:5:12: spec.sources: must not be empty"),
        ("sources: {}", "p.yaml:5:12: spec.sources: must be a list of mappings, not a mapping"),
        ("host:", "p.yaml:5:7: spec.host: must be text, not empty; give a value or remove the key"),
        ("host: ' '", "p.yaml:5:9: spec.host: must not be empty"),
        (
            "host: 7",
            "p.yaml:5:9: spec.host: must be text, not a number; put it in quotes if it is meant",
        ),
        (
            "exclude: [a, 1]",
            "p.yaml:5:16: spec.exclude[1]: must be text, not a number; put it in quotes if it is meant",
        ),
        ("excludeCaches: yes", "p.yaml:5:18: spec.excludeCaches: must be true or false, not text"),
        ("labels: {a: [b]}", "p.yaml:5:15: spec.labels.a: must be text, not a list"),
    ]);
}

#[test]
fn numbers() {
    assert_refused(&[
        ("compression: off", "p.yaml:5:16: spec.compression: must be a mapping, not text"),
        (
            "compression: {level: 40}",
            "p.yaml:5:24: spec.compression.level: must be a whole number from 1 to 19, not 40",
        ),
        (
            "compression: {level: of}",
            "p.yaml:5:24: spec.compression.level: must be a whole number from 1 to 19 or off, not of",
        ),
        (
            "compression: {level: true}",
            "p.yaml:5:24: spec.compression.level: must be a whole number from 1 to 19 or off, not true or false",
        ),
        ("memory: 1.5", "p.yaml:5:11: spec.memory: must be a size such as 256MiB, not a number"),
    ]);
}

#[test]
fn limits_and_files() {
    assert_refused(&[
        (
            "limits: {upload: 10}",
            "p.yaml:5:20: spec.limits.upload: must be a rate such as 10MiB or 80Mbit, not a number",
        ),
        (
            "limits: {upload: '10'}\n  sources: [{name: a, directory: {path: a}}]",
            "p.yaml:5:20: spec.limits.upload: 10: it lacks a unit: write 10MiB or 80Mbit, each per second, or off",
        ),
        (
            "limits: {download: 10Mb}\n  sources: [{name: a, directory: {path: a}}]",
            "p.yaml:5:22: spec.limits.download: 10Mb: bits or bytes? Write 80Mbit or 10MB, each per second",
        ),
        (
            "limits: {connections: 0}",
            "p.yaml:5:25: spec.limits.connections: must be a whole number from 1 to 256, not 0",
        ),
        (
            "limits: {retryFor: 2d}\n  sources: [{name: a, directory: {path: a}}]",
            "p.yaml:5:22: spec.limits.retryFor: 2d: it is not a time of 0s to 24h; write one such as 5m",
        ),
        (
            "limits: {retry_for: 5m}",
            "p.yaml:5:12: spec.limits.retry_for: unknown key; did you mean retryFor?",
        ),
        ("limits: 10MiB", "p.yaml:5:11: spec.limits: must be a mapping, not text"),
        (
            "ssh: {key: 7}",
            "p.yaml:5:14: spec.ssh.key: must be text, not a number; put it in quotes if it is meant",
        ),
        (
            "ssh: {knownHosts: \"a\\0\"}\n  sources: [{name: a, directory: {path: a}}]",
            "p.yaml:5:21: spec.ssh.knownHosts: a path must not contain NUL",
        ),
        (
            "ssh: {privateKey: x}",
            "p.yaml:5:9: spec.ssh.privateKey: this looks like a secret, and secrets have no place in a policy; mount it as a file and name that in BACKSTAY_SSH_KEY or spec.ssh.key",
        ),
    ]);
}

#[test]
fn price_lists() {
    let at = "spec.prices";
    for (prices, message) in [
        (
            "{perGiBMonth: 1}",
            format!(
                "p.yaml:5:11: {at}.currency: missing; add currency: what the amounts are of, such as USD"
            ),
        ),
        (
            "{currency: US dollars}",
            format!(
                "p.yaml:5:22: {at}.currency: US dollars is no currency; write a word such as USD"
            ),
        ),
        (
            "{currency: USD, perGiBMonth: -1}",
            format!(
                "p.yaml:5:40: {at}.perGiBMonth: must be a price, a number from 0 to 1000000, not -1"
            ),
        ),
        (
            "{currency: USD, perThousand: {put: cheap}}",
            format!(
                "p.yaml:5:46: {at}.perThousand.put: must be a price, a number from 0 to 1000000, not text"
            ),
        ),
        (
            "{currency: USD, perThousand: {write: 1}}",
            format!(
                "p.yaml:5:41: {at}.perThousand.write: unknown key; known here: put, get, list, delete"
            ),
        ),
        (
            "{currency: USD, perGib: {upload: 1}}",
            format!("p.yaml:5:27: {at}.perGib: unknown key; did you mean perGiB?"),
        ),
    ] {
        let text = format!("{HEAD}prices: {prices}\n  {SOURCES}");
        assert_eq!(refused(&text), message, "{prices}");
    }
}

#[test]
fn a_price_list_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.yaml");
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        crate::policy::read_prices(&file).map_err(|error| {
            error.to_string().replace(&format!("{}/", directory.path().display()), "")
        })
    };
    assert_eq!(read("currency: EUR\nperGiB: {upload: 0.01}").unwrap().currency, "EUR");
    for (text, message) in [
        ("", "prices.yaml:1:1: must be a mapping, not empty; give a value or remove the key"),
        (
            "perGiBMonth: 1",
            "prices.yaml:1:1: currency: missing; add currency: what the amounts are of, such as USD",
        ),
        (
            "currency: USD\nput: 1",
            "prices.yaml:2:1: put: unknown key; known here: currency, perThousand, perGiB, perGiBMonth",
        ),
        (
            "currency: USD\nperGiBMonth: .inf",
            "prices.yaml:2:14: no number here may be infinite; put text in quotes",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), message);
    }
    std::fs::remove_file(&file).unwrap();
    let gone = crate::policy::read_prices(&file).unwrap_err().to_string();
    assert!(gone.ends_with("prices.yaml: cannot read the price list"), "{gone}");
}

#[test]
fn what_comes_later() {
    for later in ["schedule", "retention", "objectives", "hooks", "drill", "notify"] {
        let message = format!(
            "p.yaml:5:3: spec.{later}: comes with a later version of Backstay; remove it for now"
        );
        assert_eq!(refused(&format!("{HEAD}{later}: x")), message);
    }
}

#[test]
fn values() {
    let memory = "p.yaml:5:11: spec.memory: ";
    for (value, cause) in [
        ("256", "a backup needs at least 64MiB; write a size such as 256MiB"),
        ("much", "much is not a size; write one such as 256MiB"),
    ] {
        let text = format!("{HEAD}memory: {value}\n  {SOURCES}");
        assert_eq!(refused(&text), format!("{memory}{cause}"));
    }
    assert_refused(&[
        (
            "sources: [{name: a/b, directory: {path: a}}]",
            "p.yaml:5:20: spec.sources[0].name: a/b: a name must not contain a slash",
        ),
        (
            "sources: [{name: \"a\\0\", directory: {path: a}}]",
            "p.yaml:5:20: spec.sources[0].name: a\\u{0}: a name must not contain control characters",
        ),
        (
            "sources: [{name: a, directory: {path: \"a\\0\"}}]",
            "p.yaml:5:41: spec.sources[0].directory.path: a path must not contain NUL",
        ),
        (
            "sources:\n  - {name: a, directory: {path: x}}\n  - {name: a, directory: {path: y}}",
            "p.yaml:7:12: spec.sources[1].name: a is the name of the source on line 6 too; give each its own",
        ),
        (
            "sources:\n  - name: a",
            "p.yaml:6:5: spec.sources[0]: missing; add one of directory or wal",
        ),
        (
            "sources:\n  - name: a\n    directory: {path: x}\n    wal: {path: y, segments: '{number}', closed: allButNewest}",
            "p.yaml:8:5: spec.sources[0].wal: cannot stand beside directory; keep one of them",
        ),
        (
            "sources: [{name: a, directory: {}}]",
            "p.yaml:5:34: spec.sources[0].directory.path: missing; add path: the directory; if relative, from the policy file's directory",
        ),
        (
            "sources: [{name: a, directory: {path: a, cutter: pages 3KiB}}]",
            "p.yaml:5:52: spec.sources[0].directory.cutter: pages takes a power of two from 4KiB to 64KiB, such as pages 8KiB",
        ),
        (
            "sources: [{name: a, directory: {path: a, cutter: cdc}}]",
            "p.yaml:5:52: spec.sources[0].directory.cutter: cdc takes a power of two from 64KiB to 4MiB, such as cdc 1MiB",
        ),
        (
            "sources: [{name: a, directory: {path: a, cutter: fine}}]",
            "p.yaml:5:52: spec.sources[0].directory.cutter: fine is not a cutter; write auto, whole, pages 8KiB or cdc 1MiB",
        ),
        (
            "sources: [{name: a, directory: {path: a, exclude: [\"a\\nb\"]}}]",
            "p.yaml:5:54: spec.sources[0].directory.exclude[0]: must be one line without NUL",
        ),
    ]);
    let long = format!("{HEAD}host: {}\n  {SOURCES}", "x".repeat(256));
    let message = "p.yaml:5:9: spec.host: 256 bytes long; a name has at most 255";
    assert_eq!(refused(&long), message);
}

#[test]
fn wals() {
    let at = "spec.sources[0].wal";
    for (wal, message) in [
        (
            "{path: /w}",
            format!(
                "p.yaml:5:28: {at}.segments: missing; add segments: how segments are named: {{number}}.wal, {{number:hex}}.wal, or 00000001{{number:postgresql}}"
            ),
        ),
        (
            "{path: /w, segments: x, closed: allButNewest}",
            format!(
                "p.yaml:5:49: {at}.segments: x: it does not say where the number stands; write {{number}}.wal, {{number:hex}}.wal for hexadecimal, or 00000001{{number:postgresql}}"
            ),
        ),
        (
            "{path: /w, segments: 'a/{number}', closed: allButNewest}",
            format!(
                "p.yaml:5:49: {at}.segments: a/{{number}}: besides one number, a segment's name has no braces, slashes or control characters"
            ),
        ),
        (
            "{path: /w, segments: '{number}', closed: newest}",
            format!("p.yaml:5:69: {at}.closed: must be allButNewest or a mapping, not newest"),
        ),
        (
            "{path: /w, segments: '{number}', closed: {}}",
            format!("p.yaml:5:69: {at}.closed: missing; add one of renamed or marker"),
        ),
        (
            "{path: /w, segments: '{number}', closed: {marker: {suffix: a/b}}}",
            format!(
                "p.yaml:5:87: {at}.closed.marker.suffix: the end of a file name has no slashes or control characters"
            ),
        ),
        (
            "{path: /w, segments: '{number}', closed: allButNewest, settle: 5}",
            format!("p.yaml:5:91: {at}.settle: must be a time such as 200ms, not a number"),
        ),
        (
            "{path: /w, segments: '{number}', closed: allButNewest, settle: -1s}",
            format!(
                "p.yaml:5:91: {at}.settle: -1s is not a time of 0s to 10m; write one such as 200ms"
            ),
        ),
        (
            "{path: /w, segments: '{number}', closed: allButNewest, directory: d}",
            format!(
                "p.yaml:5:94: {at}.directory: no directory source is named d; name one of spec.sources"
            ),
        ),
    ] {
        let text = format!("{HEAD}sources: [{{name: a, wal: {wal}}}]");
        assert_eq!(refused(&text), message, "{wal}");
    }
}

#[test]
fn secrets_have_no_place() {
    let why = "this looks like a secret, and secrets have no place in a policy;";
    let store = "give a store's credentials in its own environment variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
    let keys = "mount it as a file and name that in BACKSTAY_KEY_FILE";
    for (spec, message) in [
        (
            "passphrase: hunter2",
            format!(
                "p.yaml:5:3: spec.passphrase: {why} mount it as a file and name that in BACKSTAY_PASSPHRASE_FILE"
            ),
        ),
        ("secretKey: hunter2", format!("p.yaml:5:3: spec.secretKey: {why} {store}")),
        (
            "labels: {awsSecret: hunter2}",
            format!("p.yaml:5:12: spec.labels.awsSecret: {why} {store}"),
        ),
        ("host: AGE-SECRET-KEY-1X # hunter2", format!("p.yaml:5:9: {why} {keys}")),
        ("repository: sftp://me:hunter2@host/p", format!("p.yaml:5:25: {why} {store}")),
    ] {
        let said = refused(&format!("{HEAD}{spec}"));
        assert_eq!(said, message, "{spec}");
        assert!(!said.contains("hunter2"));
    }
}
