//! Policies that are right, files that are none, and texts made to break a reader. What is wrong
//! within a policy is in `refusals`.

mod refusals;

use std::fs;

use proptest::prelude::*;

use super::*;
use crate::facts::naming::Numbering;
use crate::store::{Money, Rate};
use refusals::refused;

/// Lines 1 to 4 of a policy; what a test adds begins on line 5, column 3.
const HEAD: &str = "apiVersion: backstay.dev/v1\nkind: Policy\nmetadata: {name: p}\nspec:\n  ";
/// The least that `spec` needs.
const SOURCES: &str = "sources: [{name: a, directory: {path: /a}}]";

fn parse(text: &str) -> Result<Policy, Error> {
    Policy::parse(text, Path::new("/etc/backstay/p.yaml"))
}

/// A policy with one source, of which `source` is the kind and what is in it.
fn source(source: &str) -> Result<SourceKind, Error> {
    let policy = parse(&format!("{HEAD}sources:\n  - name: a\n    {source}"))?;
    Ok(policy.sources.into_iter().next().unwrap().kind)
}

#[test]
fn everything_set() {
    let text = format!(
        "{HEAD}repository: ./repo\n  host: h\n  exclude: ['*.tmp']\n  excludeCaches: true\n  \
         compression: {{level: 9}}\n  memory: 128MiB\n  labels: {{app: x}}\n  \
         limits: {{upload: 80Mbit, download: 10MiB/s, connections: 8, retryFor: 90s}}\n  \
         ssh: {{key: ./id, knownHosts: /etc/known}}\n  prices: {{currency: USD, perThousand: {{put: \
         0.005, get: 0.0004, delete: 0}}, perGiB: {{download: 0.09}}, perGiBMonth: 1}}\n  sources:
  - name: data
    directory: {{path: ./data, exclude: [b], excludeCaches: false, oneFileSystem: true, pin: false,
      cutter: pages 8 KiB, allowEmpty: true}}
  - name: wal
    wal: {{path: /wal, segments: 's{{number:hex}}.w', closed: {{marker: {{suffix: .ready}}}},
      settle: 1s, directory: data}}"
    );
    let policy = parse(&text).unwrap();
    let directory = Directory {
        path: "/etc/backstay/data".into(),
        exclude: vec!["*.tmp".to_owned(), "b".to_owned()],
        exclude_caches: false,
        one_file_system: true,
        pin: false,
        cutter: Some(Cutter::Pages { page_bytes: 8192 }),
        allow_empty: true,
    };
    let wal = Wal {
        path: "/wal".into(),
        segments: SegmentNaming {
            prefix: "s".to_owned(),
            suffix: ".w".to_owned(),
            numbering: Numbering::Hexadecimal,
        },
        closed: Closed::Marker { suffix: ".ready".to_owned() },
        settle: Duration::from_secs(1),
        allow_empty: false,
        directory: Some("data".to_owned()),
    };
    let source = |name: &str, kind| Source { name: name.to_owned(), kind };
    let expected = Policy {
        name: "p".to_owned(),
        repository: Some("/etc/backstay/repo".to_owned()),
        host: Some("h".to_owned()),
        sources: vec![
            source("data", SourceKind::Directory(directory)),
            source("wal", SourceKind::Wal(wal)),
        ],
        compression: Compression::Level(9),
        memory_bytes: Some(128 << 20),
        labels: BTreeMap::from([("app".to_owned(), "x".to_owned())]),
        limits: LimitsGiven {
            upload: Rate::parse("10MB").ok(),
            download: Rate::parse("10MiB").ok(),
            connections: std::num::NonZeroUsize::new(8),
            retry_for: Some(Duration::from_secs(90)),
        },
        ssh: SshFiles {
            key: Some("/etc/backstay/id".into()),
            known_hosts: Some("/etc/known".into()),
        },
        prices: Some(Prices {
            currency: "USD".to_owned(),
            put: Money::from_price(0.005).unwrap(),
            get: Money::from_price(0.0004).unwrap(),
            downloaded: Money::from_price(0.09).unwrap(),
            stored: Money::from_price(1.0).unwrap(),
            ..Prices::default()
        }),
    };
    assert_eq!(policy, expected);
}

#[test]
fn defaults() {
    let policy = parse(&format!("{HEAD}{SOURCES}")).unwrap();
    assert_eq!(policy.compression, Compression::Level(3));
    assert_eq!(policy.memory_bytes, None);
    assert_eq!((policy.limits, policy.ssh, policy.prices), Default::default());
    let kind = source("wal: {path: w, segments: '{number}.wal', closed: allButNewest}").unwrap();
    let SourceKind::Wal(wal) = kind else { panic!() };
    assert_eq!(wal.settle, Duration::from_millis(200));
    assert_eq!(wal.closed, Closed::AllButNewest);
    assert_eq!(wal.path, Path::new("/etc/backstay/w"));
    assert_eq!(wal.segments.numbering, Numbering::Decimal);
}

#[test]
fn a_wal_pins_its_directory() {
    let wal =
        "{name: w, wal: {path: /w, segments: '{number}', closed: allButNewest, directory: d}}";
    for (pin, expected) in [("", true), (", pin: true", true), (", pin: false", false)] {
        let text = format!("{HEAD}sources: [{wal}, {{name: d, directory: {{path: /d{pin}}}}}]");
        let policy = parse(&text).unwrap();
        let SourceKind::Directory(directory) = &policy.sources[1].kind else { panic!() };
        assert_eq!(directory.pin, expected, "{pin}");
    }
}

#[test]
fn values_in_every_spelling() {
    for (text, cutter) in [
        ("auto", None),
        ("whole", Some(Cutter::Whole)),
        ("pages 16KiB", Some(Cutter::Pages { page_bytes: 16_384 })),
        ("cdc 1 MiB", Some(Cutter::Content { average_bytes: 1 << 20 })),
    ] {
        let kind = source(&format!("directory: {{path: /a, cutter: {text}}}")).unwrap();
        let SourceKind::Directory(directory) = kind else { panic!() };
        assert_eq!(directory.cutter, cutter, "{text}");
    }
    // A tool that speaks YAML 1.1 turns `off` into `false` on its way to us.
    for level in ["off", "false"] {
        let text = format!("{HEAD}compression: {{level: {level}}}\n  {SOURCES}");
        assert_eq!(parse(&text).unwrap().compression, Compression::Off);
    }
    for off in ["off", "false"] {
        let text = format!("{HEAD}limits: {{upload: {off}}}\n  {SOURCES}");
        let upload = parse(&text).unwrap().limits.upload;
        assert_eq!(upload, Some(Rate { bytes_per_second: None }));
    }
    let text = format!("{HEAD}memory: 268435456\n  repository: s3://b/p\n  {SOURCES}");
    let policy = parse(&text).unwrap();
    assert_eq!(policy.memory_bytes, Some(256 << 20));
    assert_eq!(policy.repository.as_deref(), Some("s3://b/p"));
    let suffix =
        source("wal: {path: /w, segments: '{number}', closed: {renamed: {openSuffix: .o}}}");
    let SourceKind::Wal(wal) = suffix.unwrap() else { panic!() };
    let open_suffix = ".o".to_owned();
    assert_eq!(wal.closed, Closed::Renamed { open_suffix });
}

#[test]
fn bombs_fizzle() {
    let mut laughs = vec!["a0: &a0 [x,x,x,x,x,x,x,x,x,x]".to_owned()];
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        let list = vec![alias; 10].join(",");
        laughs.push(format!("a{level}: &a{level} [{list}]"));
    }
    let deep = format!("{}a{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_blocks = format!("{}a", "- ".repeat(10_000));
    let wide = "- a\n".repeat(200_000);
    for bomb in [laughs.join("\n"), deep, deep_blocks, wide] {
        let message = refused(&bomb);
        let fizzle = "too deep, too long or too many aliases for a policy; write it plainly";
        assert!(message.ends_with(fizzle), "{message}");
    }
}

#[test]
fn files() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p.yaml");
    let read = || {
        let error = Policy::read(&file).unwrap_err();
        assert_eq!(error.class(), crate::class::Class::Config);
        error.to_string().replace(&format!("{}/", directory.path().display()), "")
    };
    assert_eq!(read(), "p.yaml: cannot read the policy");
    fs::write(&file, b"a: b\nc: \xff").unwrap();
    assert_eq!(read(), "p.yaml:2: this is not UTF-8 text; save the file as UTF-8");
    fs::write(&file, "#".repeat((1 << 20) + 1)).unwrap();
    let message = "p.yaml: longer than 1048576 bytes, which no policy is; is this the right file?";
    assert_eq!(read(), message);
}

#[test]
fn examples_are_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut names = Vec::new();
    for file in fs::read_dir(examples).unwrap() {
        let path = file.unwrap().path();
        // The schema stands beside them.
        if path.extension().is_some_and(|extension| extension == "json") {
            continue;
        }
        let policy = Policy::read(&path).unwrap_or_else(|error| panic!("{error}"));
        names.push(policy.name);
    }
    assert!(names.len() >= 2, "{names:?}");
}

/// Pieces of which policies, and things much like policies, are made.
fn piece() -> impl Strategy<Value = String> {
    let known = "apiVersion|backstay.dev/v1|kind|Policy|metadata|name|spec|sources|directory|wal\
                 |path|closed|segments|settle|cutter|labels|memory|level";
    prop_oneof![
        known.prop_map(|word| word),
        "[ \n\t]{1,3}",
        "[-:?&*!|>'\"%@`,#{}\\[\\]~<]{1,2} ?",
        "[0-9a-zé.]{1,3}",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #[test]
    fn never_panics_on_any_text(text in ".{0,200}") {
        drop(parse(&text));
    }

    #[test]
    fn never_panics_on_near_policies(pieces in prop::collection::vec(piece(), 0..60)) {
        drop(parse(&pieces.concat()));
        drop(parse(&format!("{HEAD}{}", pieces.concat())));
    }
}
