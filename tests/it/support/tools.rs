//! Where test servers and readers come from.

use std::path::PathBuf;

/// The program `name`: from `.tools/venv/bin`, where `tests/run` puts it, else from PATH.
///
/// # Panics
/// If it is nowhere: a test that cannot run has not passed.
pub fn tool(name: &str) -> PathBuf {
    let installed = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(installed)
        .chain(std::env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("the test tool `{name}` is missing: run tests/run, which installs it")
        })
}
