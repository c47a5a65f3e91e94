//! The policies that are shipped: each one runs as it is but for its paths, and the schema beside them is
//! the one that the program reads by.

use std::fs;
use std::path::Path;

use super::Place;

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The policy with all absolute paths below the place, and its repository there.
fn moved(place: &Place, name: &str) -> String {
    let here = place.path("");
    let here = here.to_str().unwrap().trim_end_matches('/');
    let line = |line: &str| {
        let line = line.replace("path: /", &format!("path: {here}/"));
        let is_repository = line.starts_with("  repository:");
        if is_repository { "  repository: repository".to_owned() } else { line }
    };
    shipped(name).lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_policy_of_an_engine_runs() {
    let place = Place::new();
    place.write("var/lib/engine/data/MANIFEST", b"tables: 1");
    place.write("var/lib/engine/data/1.tmp", b"excluded");
    for segment in ["00000001.wal", "00000002.wal", "00000003.wal"] {
        place.write(&format!("var/lib/engine/wal/{segment}"), segment.as_bytes());
    }
    place.write("wal-engine.yaml", moved(&place, "wal-engine.yaml").as_bytes());
    place.run(["run", "wal-engine.yaml"]).ok();
    let listed = place.run(["ls", "latest", "--recursive"]).ok().text();
    assert!(listed.contains("00000002.wal") && listed.contains("MANIFEST"), "{listed}");
    assert!(!listed.contains("00000003.wal") && !listed.contains("1.tmp"), "{listed}");
}

#[test]
fn the_policy_of_directories_runs() {
    let place = Place::new();
    let policy = moved(&place, "application.yaml");
    for path in policy.lines().filter_map(|line| line.trim().strip_prefix("path: ")) {
        let below = Path::new(path).strip_prefix(place.path("")).unwrap();
        place.write(&format!("{}/file", below.to_str().unwrap()), b"content");
    }
    place.write("application.yaml", policy.as_bytes());
    place.run(["run", "application.yaml"]).ok();
    assert!(place.run(["ls", "latest", "--recursive"]).ok().text().matches("file").count() >= 3);
}

/// With `UPDATE_SCHEMA` set, writes it.
#[test]
fn the_schema_is_the_one_in_force() {
    let schema = serde_json::to_string_pretty(&backstay::policy::schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/policy.schema.json");
        fs::write(path, &schema).unwrap();
    }
    assert_eq!(shipped("policy.schema.json"), schema, "UPDATE_SCHEMA=1 cargo test writes it");
    for name in ["wal-engine.yaml", "application.yaml"] {
        let line = "# yaml-language-server: $schema=policy.schema.json";
        assert!(shipped(name).lines().any(|found| found == line), "{name} does not name it");
    }
}
