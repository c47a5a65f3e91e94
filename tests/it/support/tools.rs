//! Where test servers and readers come from.

use std::path::PathBuf;

/// Where `tests/run` installs programs.
const INSTALLED: [&str; 2] = [".tools/venv/bin", ".tools/node/node_modules/.bin"];

/// Where Debian keeps servers, which not everybody has in PATH.
const SYSTEM: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/lib/openssh"];

/// The program `name`: as `tests/run` installed it, else from PATH.
///
/// # Panics
/// If it is nowhere: a test that cannot run has not passed.
pub fn tool(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = INSTALLED.iter().map(|directory| root.join(directory));
    installed
        .chain(std::env::split_paths(&path))
        .chain(SYSTEM.iter().map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("the test tool `{name}` is missing: run tests/run, which installs it")
        })
}
