//! Hostile bytes: every parser of stored bytes is given thousands of damaged and made-up inputs, the
//! same in every run. `fuzz/` lets the same targets run for as long as one likes, and watches their
//! memory.

mod limits;
mod marker;
mod mutate;
mod names;
#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;

use self::mutate::Mutator;
use self::targets::{ALL, Target, named};

/// Far more than any input takes even on a machine that does other things.
const HANG: Duration = Duration::from_secs(10);

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Runs a target once; what breaks it can be pasted into a file of regressions.
fn run_once(target: &Target, origin: &str, bytes: &[u8]) {
    let start = Instant::now();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))) {
        let hex = HEXLOWER.encode(bytes);
        eprintln!("{} fails on {origin}, which in hexadecimal is\n{hex}", target.name);
        resume_unwind(panic);
    }
    let took = start.elapsed();
    assert!(took < HANG, "{} takes {took:?} on {origin}", target.name);
}

/// What once broke a target, oldest first.
fn regressions(target: &Target) -> Vec<(String, Vec<u8>)> {
    let folder = fuzz_directory().join("regressions").join(target.name);
    let Ok(found) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

fn run(name: &str) {
    let target = named(name);
    for (path, bytes) in regressions(target) {
        run_once(target, &path, &bytes);
    }
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty());
    for (number, seed) in seeds.iter().enumerate() {
        run_once(target, &format!("seed {number}"), seed);
    }
    for number in 0..target.mutations {
        let bytes = Mutator::new(number).mutate(&seeds);
        run_once(target, &format!("mutation {number}"), &bytes);
    }
}

macro_rules! bounded_runs {
    ($($name:ident)*) => {
        const RUN: &[&str] = &[$(stringify!($name)),*];

        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*
    };
}

bounded_runs! {
    cursor leaf inner list extents pages pack_header pack_trailer pack_directory index_header
    index_page config config_object sealed_object snapshot session abort_record checkpoint
    chunk_reference key_bundle agent_key key_file envelope wrapped_key layout tree_path
    timeline_marker segment_pattern byte_count cutter policy decompress sftp_replies
}

/// A target runs here and in `cargo fuzz`, or it is forgotten.
#[test]
fn every_target_runs_in_both_worlds() {
    let names: Vec<&str> = ALL.iter().map(|target| target.name).collect();
    assert_eq!(names, RUN);
    // Whoever needs more breaks the promise of 256 MiB for a whole backup.
    for target in ALL {
        assert!(target.grant_bytes(1 << 20) <= 256 << 20, "{}", target.name);
    }
    let manifest = fs::read_to_string(fuzz_directory().join("Cargo.toml")).unwrap();
    for name in &names {
        let path = format!("fuzz_targets/{name}.rs");
        let text = fs::read_to_string(fuzz_directory().join(&path)).unwrap();
        assert!(text.contains(&format!("fuzz!(\"{name}\")")), "{path} runs something else");
        assert!(manifest.contains(&format!("path = \"{path}\"")), "{path} is not in Cargo.toml");
    }
    let files = fs::read_dir(fuzz_directory().join("fuzz_targets")).unwrap().count();
    assert_eq!(files, names.len());
    for entry in fs::read_dir(fuzz_directory().join("regressions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name.as_str()), "regressions of no target: {name}");
    }
}

/// Seeds that parse to nothing would make all of this worthless.
#[test]
fn seeds_are_the_same_every_time() {
    for target in ALL {
        // What age seals, it seals with a key that it draws.
        let drawn = ["config", "config_object", "envelope", "wrapped_key"].contains(&target.name);
        assert!(drawn || (target.seeds)() == (target.seeds)(), "{}", target.name);
    }
}

/// Fills `fuzz/corpus/`, where `cargo fuzz` starts from.
#[test]
#[ignore = "writes files; fuzz/README.md has the command"]
fn write_corpus() {
    for target in ALL {
        let folder = fuzz_directory().join("corpus").join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed).unwrap();
        }
    }
}
