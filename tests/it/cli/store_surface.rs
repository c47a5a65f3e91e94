//! What an operator hears of the store: its class, its speed, what the credential could do, what a run cost,
//! and how limits and price lists are said.

use std::fs;

use serde_json::Value;

use super::{Place, said};

const PRICES: &str = "currency: USD\nperThousand: {put: 0.005, list: 0.005, get: 0.0004}\n\
                      perGiBMonth: 0.023\n";

/// Objects below `probe/`.
fn probes(place: &Place) -> usize {
    let has_any = place.path("repository/probe").exists();
    if has_any { place.objects("probe").len() } else { 0 }
}

#[test]
fn init_looks_at_the_store_and_keeps_what_it_saw() {
    let place = Place::bare();
    let init = ["init", "--keys", "keys"];
    let said = place.with_key(None, init).ok();
    let text = said.text();
    assert!(text.contains("store class A: of 16 writers who raced for a key"), "{text}");
    assert!(text.lines().last().unwrap().starts_with("requests: "), "{text}");
    assert_eq!(probes(&place), 0);
    assert!(place.run(["stats"]).ok().text().contains("format 1, store class A\n"));
    assert_eq!(place.run(["stats", "--json"]).ok().json("stats")["store_class"], "A");

    let init = ["init", "-r", "other", "--keys", "others", "--no-probe", "--json"];
    let answer = place.with_key(None, init).ok().json("init");
    assert_eq!((&answer["store_class"], &answer["probe"]), (&Value::Null, &Value::Null));
    assert_eq!(answer["requests"]["put"], 1);
    let stats = ["stats", "-r", "other", "--key-file", "others/agent.key"];
    assert!(place.run(stats).ok().text().contains("a store that was not probed"));
}

#[test]
fn check_looks_again_unless_told_not_to() {
    let place = Place::new();
    place.back_up();
    for key in ["keys/agent.key", "keys/recovery.key"] {
        let answer = place.with_key(Some(key), ["check", "--json"]).ok().json("check");
        assert_eq!(answer["probe"]["class"], "A");
        assert_eq!(answer["probe"]["deletion"], "allowed");
        assert_eq!(answer["strangers"], serde_json::json!([]));
        assert!(answer["requests"]["put"].as_u64().unwrap() > 1_000);
        assert_eq!(probes(&place), 0);
    }
    let answer = place.run(["check", "--no-probe", "--json"]).ok().json("check");
    assert_eq!(answer["probe"], Value::Null);
    assert_eq!(answer["requests"]["put"], 0);
    // What an earlier probe left is no stranger, and nothing that is checked.
    place.write("repository/probe/0123/x", b"");
    let text = place.run(["check", "--no-probe"]).ok().text();
    assert!(!text.contains("did not make") && text.contains("no damage found"), "{text}");
    let stats = place.run(["stats", "--json"]).ok().json("stats");
    assert_eq!(stats["kinds"]["probe"]["objects"], 1);
}

#[test]
fn check_of_many_packs_lists_no_more() {
    let place = Place::new();
    place.back_up();
    for number in 0..1_000 {
        place.write(&format!("repository/pack/{:024x}/{number:08x}-{:016x}", 1, 0), b"");
    }
    let answer = place.run(["check", "--json"]).ok().json("check");
    assert!(answer["requests"]["put"].as_u64().unwrap() < 200, "{answer}");
    let findings = answer["probe"]["findings"].to_string();
    assert!(findings.contains("the repository's own packs are listed completely"), "{findings}");
}

#[test]
fn a_test_tells_what_an_operator_must_know() {
    let place = Place::new();
    let test = ["store", "test", "--size", "1MiB"];
    let text = place.with_key(None, test).ok().text();
    for word in [
        "store class A\n  of 16 writers who raced for a key exactly one won, in each of 5 races\n",
        "a listing of 1100 objects is complete and in order",
        "can delete     yes",
        "can overwrite  yes",
        "give backups a credential that cannot (README, Least rights)",
        "/s",
        " ms",
    ] {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
    assert_eq!(probes(&place), 0);
    let elsewhere = ["store", "test", "elsewhere", "--size", "1MiB", "--json"];
    let answer = place.with_key(None, elsewhere).ok().json("store");
    assert_eq!(answer["class"], "A");
    assert_eq!((&answer["may_delete"], &answer["may_overwrite"]), (&true.into(), &true.into()));
    assert_eq!(answer["upload"]["bytes"], 1 << 20);
    assert_eq!(answer["download"]["bytes"], 1 << 20);
    for key in ["put_seconds", "get_seconds"] {
        assert!(answer[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert!(place.path("elsewhere").is_dir());

    place.run(["store", "test", "--size", "1"]).refuses(2, &["from 1MiB to 64GiB"]);
    place.run(["store", "test", "ftp://x"]).refuses(2, &["ftp://x", "supported are"]);
    place.run(["store", "test", "no/where/at/all"]).refuses(2, &["no/where", "does not exist"]);
    place.run(["store"]).refuses(2, &["backstay --help"]);
}

#[test]
fn limits_are_taken_from_the_line_the_policy_and_the_environment() {
    let place = Place::new();
    let limits = ["--upload-limit", "80Mbit", "--download-limit=off", "--connections", "3"];
    place.run(["backup", "data", "--retry-for", "1m"].iter().chain(&limits)).ok();
    for (option, value, word) in [
        ("--upload-limit", "10", "lacks a unit"),
        ("--upload-limit", "10Mb", "bits or bytes"),
        ("--download-limit", "1B", "too slow"),
        ("--download-limit", "fast", "no rate"),
        ("--connections", "0", "from 1 to 256"),
        ("--retry-for", "5", "such as 5m"),
    ] {
        place.run(["snapshots", option, value]).refuses(2, &[option, value, word]);
    }
    for (variable, value, word) in [
        ("BACKSTAY_UPLOAD_LIMIT", "10", "lacks a unit"),
        ("BACKSTAY_DOWNLOAD_LIMIT", "x", "no rate"),
        ("BACKSTAY_CONNECTIONS", "many", "from 1 to 256"),
        ("BACKSTAY_RETRY_FOR", "-1s", "such as 5m"),
    ] {
        let mut command = place.command();
        let refused = said(command.args(["snapshots"]).env(variable, value));
        refused.refuses(2, &[variable, value, word]);
    }
    let mut command = place.command();
    command.args(["snapshots"]).env("BACKSTAY_UPLOAD_LIMIT", "10MiB");
    said(command.env("BACKSTAY_CONNECTIONS", "8").env("BACKSTAY_RETRY_FOR", "")).ok();
}

fn policy(place: &Place, spec: &str) {
    let text = format!(
        "apiVersion: backstay.dev/v1\nkind: Policy\nmetadata: {{name: p}}\nspec:\n  \
         repository: repository\n  sources: [{{name: a, directory: {{path: data}}}}]\n  {spec}\n"
    );
    place.write("p.yaml", text.as_bytes());
}

#[test]
fn a_policy_says_limits_files_and_prices() {
    let place = Place::new();
    place.write("prices.yaml", PRICES.as_bytes());
    policy(
        &place,
        "limits: {upload: 10MiB, retryFor: 1m}\n  ssh: {key: id, knownHosts: known}\n  \
         prices: {currency: EUR, perThousand: {put: 1000}}",
    );
    let answer = place.run(["run", "p.yaml", "--json"]).ok().json("run");
    let puts = answer["requests"]["put"].as_f64().unwrap();
    assert_eq!(answer["cost"]["currency"], "EUR");
    assert_eq!(answer["cost"]["amount"].as_f64(), Some(puts));
    assert_eq!(answer["cost"]["stored_per_month"], 0.0);
    // The command line goes first.
    let run = ["run", "p.yaml", "--prices", "prices.yaml"];
    let text = place.run(run).ok().text();
    assert!(text.ends_with("USD a month\n"), "{text}");
    policy(&place, "limits: {upload: 10}");
    place.run(["run", "p.yaml"]).refuses(2, &["p.yaml:7:20", "spec.limits.upload", "10MiB"]);
}

#[test]
fn reports_tell_what_was_asked_and_what_that_costs() {
    let place = Place::new();
    place.write("prices.yaml", PRICES.as_bytes());
    let with = ["--prices", "prices.yaml", "--json"];
    let backup = place.run(["backup", "data"].iter().chain(&with)).ok().json("backup");
    let requests = &backup["requests"];
    for key in ["put", "get", "list", "delete", "retries", "uploaded_bytes", "downloaded_bytes"] {
        assert!(requests[key].is_u64(), "{key}: {requests}");
    }
    let count = |key: &str| requests[key].as_f64().unwrap();
    let amount = (count("put") + count("list")) * 5e-6 + count("get") * 4e-7;
    assert!((backup["cost"]["amount"].as_f64().unwrap() - amount).abs() < 1e-8, "{backup}");
    let month = count("uploaded_bytes") / f64::from(1 << 30) * 0.023;
    let found = backup["cost"]["stored_per_month"].as_f64().unwrap();
    assert!((found - month).abs() < 2e-9, "{backup}");

    for command in [
        &["restore", "latest", "--to", "back"][..],
        &["restore", "latest", "--to", "x", "--dry-run"],
        &["check"],
        &["stats"],
        &["store", "test", "--size", "1MiB"],
    ] {
        let text = place.recover(command).ok().text();
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("requests: ") && last.contains("; up "), "{command:?}: {text}");
        assert!(!last.contains("USD"), "{last}");
        fs::remove_dir_all(place.path("back")).ok();
        let answer = place.recover(command.iter().chain(&with)).ok().json(command[0]);
        assert_eq!(answer["cost"]["currency"], "USD", "{command:?}");
        fs::remove_dir_all(place.path("back")).ok();
    }
    let answer = place.run(["backup", "data", "--json"]).ok().json("backup");
    assert_eq!(answer["cost"], Value::Null);

    let before = place.run(["snapshots", "--json"]).ok().json("snapshots");
    place.write("prices.yaml", b"currency: USD\nput: 1\n");
    let wrong = place.run(["backup", "data", "--prices", "prices.yaml"]);
    wrong.refuses(2, &["prices.yaml:2:1", "unknown key", "perThousand"]);
    let gone = place.run(["backup", "data", "--prices", "gone.yaml"]);
    gone.refuses(2, &["gone.yaml", "cannot read the price list"]);
    let after = place.run(["snapshots", "--json"]).ok().json("snapshots");
    assert_eq!(before["snapshots"], after["snapshots"], "nothing was backed up for nothing");
}
