//! Values from outside: each variable of the table is trimmed or refused by its name, whoever reads it, and a
//! Secret that ends with a newline works. Nothing hostile in a name, a label or a server's reply reaches a
//! terminal.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use backstay::environment::{Reader, VARIABLES, Variable};
use backstay::plain::is_plain;

use crate::support::moto::{Moto, moto};
use crate::support::proxy::{Action, HttpProxy, Reply, Rule};

use super::{Place, Said, program, said};

/// A command that reads the variable.
fn command_that_reads(place: &Place, variable: &Variable) -> assert_cmd::Command {
    let mut command = program(&place.path("."));
    command.env("BACKSTAY_KEY_FILE", "keys/agent.key");
    let url = match variable.reader {
        Reader::Program => "repository",
        Reader::Home | Reader::Http | Reader::S3 => "s3://bucket/x",
        Reader::Gcs => "gs://bucket/x",
        Reader::Azure => "az://container/x",
        Reader::Ssh => "sftp://me@127.0.0.1:1/x",
    };
    if variable.name != "BACKSTAY_REPOSITORY" {
        command.args(["--repository", url]);
    }
    if variable.name.starts_with("BACKSTAY_NEW_") {
        command.args(["key", "passphrase"]);
    } else {
        command.args(["snapshots", "--retry-for", "0s"]);
    }
    command
}

#[test]
fn every_variable_that_is_read_is_refused_by_name() {
    let place = Place::new();
    for variable in VARIABLES {
        let name = variable.name;
        for (bad, words) in [
            (&b"va\x1blue"[..], "holds a control character (line 1, column 3)"),
            (b"va\nlue", "holds a line break (line 1, column 3)"),
            (b"va\xfflue", "is not UTF-8"),
        ] {
            let mut command = command_that_reads(&place, variable);
            // Limits of the command line go before the variables, which are read all the same.
            command.env(name, OsStr::from_bytes(bad));
            let said = said(&mut command);
            said.refuses(2, &[&format!("{name}: {words}")]);
            assert!(!said.stderr.contains("lue"), "{said:?}");
        }
    }
}

/// Around every value of an environment that works, what a Secret or an editor may leave there.
#[test]
fn what_surrounds_a_value_is_no_part_of_it() {
    let place = Place::bare();
    place.write("data/a.txt", b"alpha\n");
    let run = |end: &str, arguments: &[&str], key: Option<&str>| {
        let mut command = program(&place.path("."));
        let around = |value: &String| format!("{value}{end}");
        let variables: BTreeMap<String, String> = moto()
            .environment()
            .iter()
            .map(|(name, value)| (name.clone(), around(value)))
            .collect();
        command.envs(variables);
        command.env("BACKSTAY_REPOSITORY", around(&Moto::url("surrounded")));
        command.envs(key.map(|key| ("BACKSTAY_KEY_FILE", key)));
        said(command.args(arguments)).ok()
    };
    run("\n", &["init", "--keys", "keys", "--no-probe"], None);
    for end in ["\n", "\r\n", " ", "\t\n"] {
        run(end, &["backup", "data"], Some("keys/agent.key\n"));
    }
}

#[test]
fn a_token_file_that_is_missing_or_odd_is_a_setting() {
    let place = Place::bare();
    place.write("keys/agent.key", b"x");
    place.write("odd", b"token\n");
    place.write("empty", b"");
    let at = |url: &str, variables: &[(&str, &str)]| {
        let mut command = program(&place.path("."));
        command.env("BACKSTAY_KEY_FILE", "keys/agent.key").env("HOME", place.path("."));
        command.envs(variables.iter().copied());
        said(command.args(["snapshots", "-r", url]))
    };
    for (file, word) in [("gone", "No such file"), ("odd", "line break"), ("empty", "is empty")] {
        let role = ("AWS_ROLE_ARN", "arn:aws:iam::1:role/x");
        let token = ("AWS_WEB_IDENTITY_TOKEN_FILE", file);
        at("s3://bucket/x", &[role, token]).refuses(2, &[token.0, file, word]);
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "mine");
        let token = ("AZURE_FEDERATED_TOKEN_FILE", file);
        at("az://container/x", &[account, token]).refuses(2, &[token.0, file, word]);
    }
    for (url, variable) in [
        ("gs://bucket/x", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("s3://bucket/x", "AWS_SHARED_CREDENTIALS_FILE"),
    ] {
        at(url, &[(variable, "gone")]).refuses(2, &[variable, "gone"]);
    }
    for variable in ["BACKSTAY_KEY_FILE", "BACKSTAY_PASSPHRASE_FILE"] {
        at("repository", &[(variable, "gone")]).refuses(2, &[variable, "gone"]);
    }
}

/// Each kind of what must not reach a terminal.
const HOSTILE: &str = "x\u{1b}]0;t\u{7}\u{7f}\u{9b}31m\u{202e}\u{2028}\u{200b}\u{feff}\u{e0041}y";

/// Nothing but plain characters and ends of lines.
#[track_caller]
fn assert_plain(said: &Said) {
    for text in [said.text(), said.stderr.clone()] {
        let odd = text.chars().find(|character| !is_plain(*character) && *character != '\n');
        assert_eq!(odd, None, "{said:?}");
    }
}

#[test]
fn nothing_hostile_reaches_a_terminal() {
    let place = Place::new();
    place.write(&format!("data/{HOSTILE}"), b"content");
    place.write("hostile.yaml", format!("apiVersion: {HOSTILE}\nkind: Policy\n").as_bytes());
    let mut outputs = 0;
    let mut run = |arguments: &[&str]| {
        for more in
            [&[][..], &["--json"], &["--log", "debug"], &["--log", "debug", "--log-format", "json"]]
        {
            let mut command = place.command();
            command.env("USER", HOSTILE);
            if arguments.contains(&"restore") {
                command.env("BACKSTAY_KEY_FILE", "keys/recovery.key");
            }
            assert_plain(&said(command.args(arguments).args(more)));
            outputs += 1;
        }
    };
    let label = format!("{HOSTILE}={HOSTILE}");
    let source = format!("{}=data", HOSTILE.replace(char::is_control, ""));
    run(&["backup", "data", "--host", HOSTILE, "--job", HOSTILE, "--label", &label]);
    run(&["backup", &source]);
    for words in [
        &["snapshots"][..],
        &["ls", "latest", "--recursive", "--long"],
        &["find", "x*"],
        &["stats"],
        &["check", "--read-data"],
        &["key", "list"],
        &["restore", "latest", "--to", "back"],
        &["diff", "latest", "latest"],
    ] {
        run(words);
    }
    // What is refused is repeated.
    for words in [
        &[HOSTILE][..],
        &["snapshots", HOSTILE],
        &["snapshots", "--log", HOSTILE],
        &["ls", HOSTILE],
        &["backup", HOSTILE],
        &["backup", "data", "--cutter", HOSTILE],
        &["run", HOSTILE],
        &["run", "hostile.yaml"],
        &["restore", HOSTILE, "--to", HOSTILE],
        &["-r", HOSTILE, "snapshots"],
        &["-r", &format!("sftp://{HOSTILE}"), "snapshots"],
        &["--key-file", HOSTILE, "snapshots"],
        &["init", "--recipient", HOSTILE, "--keys", "other"],
    ] {
        run(words);
    }
    assert!(outputs > 80, "{outputs}");
}

#[test]
fn nothing_hostile_that_a_server_says_reaches_a_terminal() {
    let place = Place::bare();
    let proxy = HttpProxy::start(moto().endpoint());
    let body = format!("<Error><Code>Odd{HOSTILE}</Code><Message>{HOSTILE}</Message></Error>");
    proxy.add(Rule::new(Action::Answer(Reply::new(400).body(body))));
    for log in ["warn", "debug"] {
        let mut command = program(&place.path("."));
        command.envs(Moto::environment_via(proxy.address()));
        let url = Moto::url("hostile");
        let said = said(command.args(["init", "--keys", "keys", "-r", &url, "--log", log]));
        assert!(said.stderr.contains("Odd"), "{said:?}");
        assert_plain(&said);
    }
}

/// Refusals of a server or of a proxy before it that a person can do something about.
#[test]
fn what_a_store_refuses_says_what_to_do() {
    let place = Place::bare();
    place.write("data/a.txt", b"alpha\n");
    let proxy = HttpProxy::start(moto().endpoint());
    let run = |arguments: &[&str], key: &str| {
        let mut command = program(&place.path("."));
        command.envs(Moto::environment_via(proxy.address())).env("BACKSTAY_KEY_FILE", key);
        said(command.args(arguments).args(["-r", &Moto::url("refusals")]))
    };
    run(&["init", "--keys", "keys", "--no-probe"], "").ok();
    let error = |status, code: &str, message: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        Action::Answer(Reply::new(status).body(body))
    };
    let checksum = "Unsupported header 'x-amz-checksum-sha256' received for this API call.";
    for (action, word) in [
        (Action::Answer(Reply::new(413)), "client_max_body_size"),
        (error(413, "EntityTooLarge", ""), "64 MiB"),
        (error(400, "InvalidArgument", checksum), "BACKSTAY_S3_CHECKSUM=false"),
    ] {
        proxy.add(Rule::new(action).method("PUT").path("pack/"));
        run(&["backup", "data"], "keys/agent.key").refuses(2, &[word]);
        proxy.clear();
    }
    run(&["backup", "data"], "keys/agent.key").ok();
    let archived = error(403, "InvalidObjectState", "not valid for the storage class");
    proxy.add(Rule::new(archived).method("GET").path("pack/"));
    for arguments in
        [&["restore", "latest", "--to", "back"][..], &["check", "--read-data", "--no-probe"]]
    {
        let said = run(arguments, "keys/recovery.key");
        assert!(!matches!(said.code, 0 | 6), "{said:?}");
        let all = format!("{}{}", said.text(), said.stderr);
        assert!(all.contains("archive") && !all.contains("damage"), "{said:?}");
    }
}

#[test]
fn snapshots_are_found_by_label() {
    let place = Place::new();
    place.run(["backup", "data", "--label", "app=engine", "--label", "tier=db"]).ok();
    place.run(["backup", "data", "--label", "app=shop"]).ok();
    let found = |labels: &[&str]| {
        let mut arguments: Vec<OsString> = vec!["snapshots".into(), "--json".into()];
        for label in labels {
            arguments.extend(["--label".into(), (*label).into()]);
        }
        place.run(arguments).ok().json("snapshots")["snapshots"].as_array().unwrap().len()
    };
    assert_eq!(found(&[]), 2);
    assert_eq!(found(&["app"]), 2);
    assert_eq!(found(&["app=engine"]), 1);
    assert_eq!(found(&["app=engine", "tier"]), 1);
    assert_eq!(found(&["app=shop", "tier"]), 0);
    assert_eq!(found(&["app="]), 0);
    place.run(["snapshots", "--label", "=x"]).refuses(2, &["KEY=VALUE"]);
}
