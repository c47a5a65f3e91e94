//! Values from outside: environment variables, and the files that some of them name. They pass this one
//! place, which trims what is never part of a value, such as the newline at the end of a Kubernetes Secret,
//! and refuses by name what cannot be meant. The value itself is never shown.

mod table;
mod text;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use zeroize::Zeroizing;

pub use table::{Reader, VARIABLES, Variable};
pub use text::{Fault, Form, clean};

/// No token, key or passphrase is longer.
const FILE_LIMIT_BYTES: u64 = 1 << 20;

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {fault}")]
pub struct Refusal {
    /// The variable, with the file that it names if that is at fault.
    pub name: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// The variables of [`VARIABLES`] that are set.
#[derive(Clone, Default)]
pub struct Environment {
    values: BTreeMap<&'static str, Result<Zeroizing<String>, Refusal>>,
}

impl std::fmt::Debug for Environment {
    /// Leaves the values out: they hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Environment {
    /// This process's variables.
    pub fn of_process() -> Self {
        Self::of(std::env::vars_os())
    }

    /// These variables; those that nothing reads are left out, and so are empty ones.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut values = BTreeMap::new();
        for (name, value) in variables {
            let Some(known) = name.to_str().and_then(table::find) else { continue };
            let cleaned = clean(known.name, value.as_encoded_bytes(), known.form);
            if let Some(cleaned) = cleaned.transpose() {
                values.insert(known.name, cleaned);
            }
        }
        Self { values }
    }

    /// A variable's value; `None` where it is not set, or [refused](Self::check).
    pub fn get(&self, name: &str) -> Option<&str> {
        debug_assert!(table::find(name).is_some(), "{name} is not in the table of variables");
        self.values.get(name)?.as_ref().ok().map(|value| value.as_str())
    }

    /// The first of these variables that is set.
    pub fn first_of(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.get(name))
    }

    /// A variable's value, for those who did not check before.
    ///
    /// # Errors
    /// Its [`Refusal`].
    pub fn value(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.values.get(name) {
            Some(Err(refusal)) => Err(refusal.clone()),
            _ => Ok(self.get(name)),
        }
    }

    /// Refuses what cannot be used of that which these readers read, before any of it is used.
    ///
    /// # Errors
    /// The first [`Refusal`].
    pub fn check(&self, readers: &[Reader]) -> Result<(), Refusal> {
        for variable in VARIABLES.iter().filter(|variable| readers.contains(&variable.reader)) {
            if let Some(Err(refusal)) = self.values.get(variable.name) {
                return Err(refusal.clone());
            }
        }
        Ok(())
    }
}

/// The text of a small file, cleaned like a variable; `None` if there is nothing in it. `what` is what it
/// is for, such as the variable that names it.
///
/// # Errors
/// A [`Refusal`] that names both, also where the file cannot be read.
pub fn read(what: &str, file: &Path, form: Form) -> Result<Option<Zeroizing<String>>, Refusal> {
    let name = file_name(what, file);
    let fail = |reason: String| Refusal { name: name.clone(), fault: Fault::Unreadable(reason) };
    let metadata = std::fs::metadata(file).map_err(|error| fail(error.to_string()))?;
    if metadata.len() > FILE_LIMIT_BYTES {
        return Err(fail(format!("it has {} bytes", metadata.len())));
    }
    let bytes = std::fs::read(file).map_err(|error| fail(error.to_string()))?;
    clean(&name, &Zeroizing::new(bytes), form)
}

/// A file that a library reads by itself, again and again: what we would trim is refused.
///
/// # Errors
/// A [`Refusal`] where it cannot be read, is empty, or would need trimming.
pub fn check_token_file(variable: &str, file: &Path) -> Result<(), Refusal> {
    let form = Form::Untouched;
    read(variable, file, form)?
        .map(drop)
        .ok_or_else(|| Refusal { name: file_name(variable, file), fault: Fault::Blank })
}

fn file_name(what: &str, file: &Path) -> String {
    format!("{what}, {}", file.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn with(name: &str, value: &[u8]) -> Environment {
        Environment::of([(name.into(), OsString::from_vec(value.to_vec()))])
    }

    fn value(name: &str, value: &[u8]) -> Result<Option<String>, String> {
        let environment = with(name, value);
        let found = environment.value(name).map(|value| value.map(str::to_owned));
        found.map_err(|refusal| refusal.to_string())
    }

    /// A value that each form takes, so that what surrounds it decides.
    const PLAIN: &str = "value";

    #[test]
    fn every_variable_is_trimmed_or_refused_by_name() {
        for Variable { name, form, .. } in VARIABLES {
            assert_eq!(value(name, PLAIN.as_bytes()), Ok(Some(PLAIN.to_owned())), "{name}");
            assert_eq!(value(name, b""), Ok(None), "{name}");
            for end in ["\n", "\r\n"] {
                let found = value(name, format!("{PLAIN}{end}").as_bytes());
                match form {
                    Form::Untouched => assert!(found.unwrap_err().starts_with(name), "{name}"),
                    _ => assert_eq!(found, Ok(Some(PLAIN.to_owned())), "{name}{end:?}"),
                }
            }
            for around in [" ", "\t", "\u{a0}", "\n\n"] {
                let found = value(name, format!("{around}{PLAIN}{around}").as_bytes());
                match (form, &found) {
                    (Form::Word | Form::Token | Form::Credential, found) => {
                        assert_eq!(*found, Ok(Some(PLAIN.to_owned())), "{name}{around:?}");
                    }
                    (_, Ok(Some(kept))) => {
                        assert_eq!(*kept, format!("{around}{PLAIN}{around}"), "{name}{around:?}");
                    }
                    (_, found) => {
                        let refusal = found.as_ref().unwrap_err();
                        assert!(refusal.starts_with(&format!("{name}: holds a ")), "{refusal}");
                    }
                }
            }
            for (bad, column) in
                [("va\u{1b}lue", 3), ("val\0ue", 4), ("v\u{9b}alue", 2), ("va\nlue", 3)]
            {
                let refusal = value(name, bad.as_bytes()).unwrap_err();
                let place = format!("(line 1, column {column})");
                assert!(refusal.starts_with(&format!("{name}: holds a ")), "{refusal}");
                assert!(refusal.contains(&place) && !refusal.contains("lue"), "{refusal}");
            }
            let refusal = value(name, b"va\xfflue").unwrap_err();
            assert!(refusal.starts_with(&format!("{name}: is not UTF-8")), "{refusal}");
        }
    }

    #[test]
    fn blank_is_unset_or_named_where_that_would_hide_a_mistake() {
        for Variable { name, form, .. } in VARIABLES {
            for blank in [" ", "\n", " \t\r\n"] {
                match (form, value(name, blank.as_bytes())) {
                    (Form::Word | Form::Token, found) => assert_eq!(found, Ok(None), "{name}"),
                    (Form::Path, Ok(found)) => {
                        assert!(found.is_none_or(|path| path == " "), "{name}{blank:?}");
                    }
                    (_, found) => {
                        let refusal = found.unwrap_err();
                        assert!(refusal.starts_with(&format!("{name}: ")), "{refusal}");
                    }
                }
            }
        }
    }

    #[test]
    fn only_readers_are_refused() {
        let environment = with("AWS_REGION", b"eu\x01");
        environment.check(&[Reader::Gcs, Reader::Http, Reader::Home]).unwrap();
        assert!(environment.check(&[Reader::Http, Reader::S3]).is_err());
        assert_eq!(environment.get("AWS_REGION"), None);
        assert!(!format!("{environment:?}").contains("eu"));
        assert!(with("AWS_SECRET", b"x").values.is_empty(), "nothing reads it");
    }

    #[test]
    fn files_are_cleaned_alike() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let read_as = |bytes: &[u8], form| {
            std::fs::write(&file, bytes).unwrap();
            read("X_FILE", &file, form).map(|text| text.map(|text| text.to_string()))
        };
        let found = read_as("\u{feff}two words \r\n".as_bytes(), Form::Passphrase);
        assert_eq!(found, Ok(Some("two words ".to_owned())));
        let refusal = read_as(b"two\nlines\n", Form::Passphrase).unwrap_err().to_string();
        assert!(refusal.contains("X_FILE, ") && refusal.contains("line 1, column 4"), "{refusal}");
        assert!(read_as(b"token\n", Form::Untouched).is_err());
        std::fs::write(&file, "token").unwrap();
        check_token_file("X_FILE", &file).unwrap();
        std::fs::write(&file, "").unwrap();
        let empty = check_token_file("X_FILE", &file).unwrap_err().to_string();
        assert!(empty.contains("is empty"), "{empty}");
        std::fs::remove_file(&file).unwrap();
        let missing = check_token_file("X_FILE", &file).unwrap_err().to_string();
        assert!(missing.contains("X_FILE, ") && missing.contains("No such file"), "{missing}");
    }
}
