//! `backup --files-from`: lists of paths, taken as they stand. Names may hold anything but a slash and
//! NUL, so a list with a path a line cannot hold all of them, and one with NUL between paths can.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::show;
use crate::entry::TreePath;
use crate::world::Cpu;

/// The lists of a command line.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct ListArgs {
    /// Back up of PATH only what this file lists, one path a line: below PATH, verbatim, without
    /// patterns or comments; - is standard input; may be given several times
    #[arg(long, value_name = "FILE")]
    files_from: Vec<PathBuf>,
    /// The same with NUL between paths, as find -print0 writes them
    #[arg(long, value_name = "FILE")]
    files_from0: Vec<PathBuf>,
}

impl ListArgs {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.files_from.is_empty() && self.files_from0.is_empty()
    }

    /// Whether standard input is a list, and so cannot be a file.
    pub(super) fn takes_stdin(&self) -> bool {
        self.all().any(|(file, _)| is_stdin(file))
    }

    fn all(&self) -> impl Iterator<Item = (&PathBuf, u8)> {
        let lines = self.files_from.iter().map(|file| (file, b'\n'));
        lines.chain(self.files_from0.iter().map(|file| (file, 0)))
    }

    /// Reads all lists; paths come from `root` on, in the order of the lists.
    pub(super) async fn read(&self, root: &Path, cpu: &Cpu) -> Result<Vec<TreePath>, Failure> {
        if self.all().filter(|(file, _)| is_stdin(file)).count() > 1 {
            return Err(Failure::usage("standard input can be one list, not several"));
        }
        let roots = Roots::of(root);
        let mut paths = Vec::new();
        for (file, separator) in self.all() {
            let wanted = file.clone();
            // Standard input may take its time, and meanwhile a signal must be heard.
            let bytes = cpu.run(move || read(&wanted)).await.map_err(|error| {
                Failure::usage(format!("{}: {error}; check --files-from", shown(file)))
            })?;
            paths.extend(parse(&bytes, separator, &roots).map_err(|(number, reason)| {
                let unit = if separator == 0 { "path" } else { "line" };
                Failure::usage(format!("{}, {unit} {number}: {reason}", shown(file)))
            })?);
        }
        Ok(paths)
    }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == "-"
}

fn shown(file: &Path) -> String {
    if is_stdin(file) {
        return "standard input".to_owned();
    }
    show::path(file.as_os_str().as_bytes())
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_stdin(file) {
        io::stdin().lock().read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// The paths of a list, or the number of the first that cannot be, and why.
fn parse(bytes: &[u8], separator: u8, roots: &Roots) -> Result<Vec<TreePath>, (usize, String)> {
    let mut paths = Vec::new();
    let body = bytes.strip_suffix(&[separator]).unwrap_or(bytes);
    if body.is_empty() {
        return Ok(paths);
    }
    for (place, text) in body.split(|byte| *byte == separator).enumerate() {
        let number = place + 1;
        if text.is_empty() && separator == b'\n' {
            continue;
        }
        if text.is_empty() {
            return Err((number, "is empty; was the list written with another separator?".into()));
        }
        if text.contains(&0) {
            let reason = "holds NUL: give a list with NUL between paths to --files-from0";
            return Err((number, reason.into()));
        }
        paths.push(roots.below(text).map_err(|reason| (number, reason))?);
    }
    Ok(paths)
}

/// A root as listed paths may name it.
#[derive(Debug)]
struct Roots {
    shown: String,
    /// Components of its absolute path, as it was given and with all links followed.
    forms: Vec<Vec<Vec<u8>>>,
}

impl Roots {
    fn of(root: &Path) -> Self {
        let real = root.canonicalize().ok();
        let given = std::path::absolute(root).ok();
        let mut forms = Vec::new();
        for path in [given, real].into_iter().flatten() {
            let parts = components(path.as_os_str().as_bytes());
            forms.extend(parts.map(|parts| parts.into_iter().map(<[u8]>::to_vec).collect()));
        }
        Self { shown: show::path(root.as_os_str().as_bytes()), forms }
    }

    /// The path from the root on.
    fn below(&self, text: &[u8]) -> Result<TreePath, String> {
        let shown = show::path(text);
        let root = &self.shown;
        let parts = components(text).ok_or_else(|| {
            format!("{shown} has .. in it, which may lead anywhere: write the path without it")
        })?;
        let mut rest = Some(parts.as_slice());
        if text.starts_with(b"/") {
            rest = self.forms.iter().find_map(|form| {
                let (head, rest) = parts.split_at_checked(form.len())?;
                (head == form.as_slice()).then_some(rest)
            });
        }
        let rest = rest.ok_or_else(|| {
            format!(
                "{shown} is outside {root}: list paths below it, or back up a directory above both"
            )
        })?;
        Ok(rest.iter().fold(TreePath::root(), |path, part| path.join(part)))
    }
}

/// The names in a path, without those that mean nothing; `None` where one goes up.
fn components(path: &[u8]) -> Option<Vec<&[u8]>> {
    let parts = path.split(|byte| *byte == b'/');
    let parts = parts.filter(|part| !part.is_empty() && *part != b".");
    parts.map(|part| (part != b"..").then_some(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8], separator: u8, root: &Path) -> Result<Vec<String>, (usize, String)> {
        let paths = parse(bytes, separator, &Roots::of(root))?;
        Ok(paths.iter().map(|path| show::path(path.as_bytes())).collect())
    }

    #[test]
    fn lines_are_taken_as_they_stand() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        let mut text = b"a\n\n./b/c\n # no comment \nd*[e]\nf//g/\n  \nh\r\n\xff\n".to_vec();
        text.extend(root.join("i/j").as_os_str().as_bytes());
        assert_eq!(
            parsed(&text, b'\n', root).unwrap(),
            ["a", "b/c", " # no comment ", "d*[e]", "f/g", "  ", "$'h\\r'", "$'\\xff'", "i/j"]
        );
        assert_eq!(parsed(b"a\nb\0c\0", 0, root).unwrap(), ["$'a\\nb'", "c"]);
        assert_eq!(parsed(b".\n", b'\n', root).unwrap(), [""]);
        for (empty, separator) in [(b"".as_slice(), b'\n'), (b"\n", b'\n'), (b"", 0), (b"\0", 0)] {
            assert!(parsed(empty, separator, root).unwrap().is_empty());
        }
    }

    #[test]
    fn a_root_has_the_name_it_was_given_and_its_real_one() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&real).unwrap();
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for form in [&link, &real] {
            let text = form.join("x").into_os_string();
            assert_eq!(parsed(text.as_bytes(), b'\n', &link).unwrap(), ["x"]);
        }
    }

    #[test]
    fn what_cannot_be_is_named_with_its_line() {
        let place = tempfile::tempdir().unwrap();
        let wrong = |bytes: &[u8], separator| parsed(bytes, separator, place.path()).unwrap_err();
        for (bytes, separator, number, word) in [
            (b"a\n/etc/passwd\n".as_slice(), b'\n', 2, "outside"),
            (b"a\n\nb/../../c", b'\n', 3, ".."),
            (b"a\0b\0", b'\n', 1, "--files-from0"),
            (b"a\0\0b", 0, 2, "empty"),
        ] {
            let (found, reason) = wrong(bytes, separator);
            assert_eq!(found, number);
            assert!(reason.contains(word), "{reason}");
        }
        // A name that begins as the root's does is another one.
        let mut beside = place.path().as_os_str().as_bytes().to_vec();
        beside.extend(b"x/y");
        assert!(wrong(&beside, b'\n').1.contains("outside"));
    }
}
