//! `memory` bounds the process: the real binary on data that fills its buffers, judged by the most memory that it
//! ever had, and the shipped policy under the limit of the shipped container.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::seaweed::{Seaweed, seaweed};

use super::Place;

/// Enough to fill all buffers several times. Random, so that nothing becomes smaller.
const DATA_BYTES: u64 = 240 << 20;

/// Runs a command and prints the peak of its memory, in KiB. Small itself, as the peak of who forks counts; moves the
/// command into a control group first, if one is named.
const LAUNCHER: &str = "
import os, sys
group, program = sys.argv[1], sys.argv[2:]
child = os.fork()
if child == 0:
    if group:
        with open(group + '/cgroup.procs', 'w') as procs:
            procs.write(str(os.getpid()))
    os.dup2(2, 1)
    os.execvp(program[0], program)
_, status, usage = os.wait4(child, 0)
print(usage.ru_maxrss)
sys.exit(min(abs(os.waitstatus_to_exitcode(status)), 255))
";

/// A place with data to back up, and where its repository is.
struct Scene {
    place: Place,
    url: String,
    environment: BTreeMap<String, String>,
}

impl Scene {
    fn new(url: &str, environment: BTreeMap<String, String>) -> Self {
        let place = Place::bare();
        fs::create_dir(place.path("data")).unwrap();
        let mut file = fs::File::create(place.path("data/file")).unwrap();
        let mut random = fs::File::open("/dev/urandom").unwrap();
        let mut buffer = vec![0; 1 << 20];
        for _ in 0..DATA_BYTES >> 20 {
            random.read_exact(&mut buffer).unwrap();
            file.write_all(&buffer).unwrap();
        }
        let scene = Self { place, url: url.to_owned(), environment };
        scene.run("", &["init", "--keys", "keys", "--no-probe", "--quiet"]);
        scene
    }

    /// The peak of one run, which succeeds, in bytes.
    fn run(&self, group: &str, arguments: &[&str]) -> u64 {
        let mut command = Command::new("python3");
        command.args(["-c", LAUNCHER, group]).arg(assert_cmd::cargo::cargo_bin!("backstay"));
        command.args(["--repository", &self.url]).args(arguments).envs(&self.environment);
        command.current_dir(self.place.path(".")).env("BACKSTAY_KEY_FILE", "keys/agent.key");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        1024 * String::from_utf8(output.stdout).unwrap().trim().parse::<u64>().unwrap()
    }

    fn keeps_to(&self, mib: u64, more: &[&str]) {
        let memory = format!("{mib}MiB");
        let arguments = [&["backup", "data", "--quiet", "--memory", &memory], more].concat();
        let peak = self.run("", &arguments);
        assert!(peak <= mib << 20, "{mib} MiB {more:?}: {} MiB", peak >> 20);
        // Not because the buffers were never used.
        assert!(peak >= 60 << 20, "{mib} MiB {more:?}: {} MiB", peak >> 20);
    }
}

#[test]
fn bounds_the_process_on_a_local_disk() {
    let scene = Scene::new("repository", BTreeMap::new());
    scene.keeps_to(184, &["--cutter", "pages:8KiB"]);
    fs::remove_dir_all(scene.place.path("repository")).unwrap();
    fs::remove_dir_all(scene.place.path("keys")).unwrap();
    scene.run("", &["init", "--keys", "keys", "--no-probe", "--quiet"]);
    scene.keeps_to(256, &[]);
}

/// Slower than the data is read, so that all buffers are full.
#[test]
fn bounds_the_process_across_a_network() {
    for (mib, cutter) in [(184, "pages:8KiB"), (224, "pages:8KiB"), (320, "auto")] {
        let url = Seaweed::url(&format!("memory-{mib}"));
        let scene = Scene::new(&url, seaweed().environment());
        scene.keeps_to(mib, &["--cutter", cutter, "--upload-limit", "40MiB"]);
    }
}

/// A control group with a limit of memory, removed when dropped; none where this user may not make one.
struct Group(PathBuf);

impl Group {
    fn new(limit_bytes: u64) -> Option<Self> {
        let name = format!("backstay-test-{}", std::process::id());
        // The second version's, and the first's.
        for (root, file) in
            [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")]
        {
            let directory = Path::new(root).join(&name);
            if fs::create_dir(&directory).is_err() {
                continue;
            }
            let group = Self(directory);
            if fs::write(group.0.join(file), limit_bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).unwrap_or_default();
    }
}

/// What stands behind `key` in a shipped file, in bytes.
fn shipped(file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap();
    let number: String = value.trim().chars().take_while(char::is_ascii_digit).collect();
    assert!(value.contains("Mi"), "{file}: {key}{value}");
    number.parse::<u64>().unwrap() << 20
}

#[test]
fn the_shipped_policy_fits_into_the_shipped_container() {
    let memory = shipped("policies/wal-engine.yaml", "memory:");
    let limit = shipped("deploy/cronjob.yaml", "limits: {memory:");
    assert!(memory + (48 << 20) <= limit, "{memory} of {limit} leaves the kernel no room");
    let Some(group) = Group::new(limit) else {
        eprintln!("skipped: no control group with a limit of memory can be made here");
        return;
    };
    let url = Seaweed::url("memory-shipped");
    let scene = Scene::new(&url, seaweed().environment());
    let memory = format!("{}MiB", memory >> 20);
    let arguments = ["backup", "data", "--quiet", "--cutter", "pages:8KiB", "--memory", &memory];
    scene.run(group.0.to_str().unwrap(), &arguments);
}
