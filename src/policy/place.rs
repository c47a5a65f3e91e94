//! A value and where it stands, through which a checked document is read.

use std::path::{Path, PathBuf};

use super::error::{Fault, Found, shown};
use super::node::{Node, Value};
use super::shape::below;

/// A file name's limit on every file system that we restore to.
const NAME_BYTES: usize = 255;

/// A value and the whole key that it stands under, for messages.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) key: String,
}

impl<'a> Place<'a> {
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let node = self.node.get(name)?;
        let key = below(&self.key, name);
        Some(Self { node, key })
    }

    pub(super) fn items(&self) -> impl Iterator<Item = Self> {
        let items = self.node.items().iter().enumerate();
        items.map(|(place, node)| Self { node, key: format!("{}[{place}]", self.key) })
    }

    /// The text here; the shape was checked, so there is one.
    pub(super) fn text(&self) -> &'a str {
        self.node.text().unwrap_or_default()
    }

    /// The text here without the end of a line that YAML's blocks leave behind it.
    pub(super) fn line(&self) -> &'a str {
        let text = self.text();
        text.strip_suffix('\n').unwrap_or(text)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.node.get(name)?.value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        }
    }

    pub(super) fn unusable(&self, cause: impl Into<String>) -> Found {
        Found::unusable(self.node.mark, self.key.as_str(), cause)
    }

    pub(super) fn missing(&self, name: &str) -> Found {
        let fault = Fault::Missing(format!("add {name}"));
        Found::new(self.node.mark, below(&self.key, name), fault)
    }

    /// The value under a key that the tables require.
    pub(super) fn require(&self, name: &str) -> Result<Self, Found> {
        self.get(name).ok_or_else(|| self.missing(name))
    }

    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Found> {
        let Some(list) = self.get(name) else {
            return Ok(Vec::new());
        };
        list.items()
            .map(|item| {
                if item.line().contains(['\0', '\n']) {
                    return Err(item.unusable("must be one line without NUL"));
                }
                Ok(item.line().to_owned())
            })
            .collect()
    }

    /// The name here: fit to be a directory's, since a restore makes it one.
    pub(super) fn name(&self) -> Result<String, Found> {
        let name = self.line();
        let cause = if name.len() > NAME_BYTES {
            format!("{} bytes long; a name has at most {NAME_BYTES}", name.len())
        } else if name.starts_with('.') {
            format!("{}: a name must not begin with a dot", shown(name))
        } else if name.contains('/') {
            format!("{}: a name must not contain a slash", shown(name))
        } else if name.chars().any(char::is_control) {
            format!("{}: a name must not contain control characters", shown(name))
        } else {
            return Ok(name.to_owned());
        };
        Err(self.unusable(cause))
    }

    /// The path here; a relative one begins in `directory`.
    pub(super) fn path(&self, directory: &Path) -> Result<PathBuf, Found> {
        let path = Path::new(self.line());
        if self.line().contains(char::is_control) {
            return Err(self.unusable("a path must not contain control characters"));
        }
        // `join` keeps an absolute path as it is.
        Ok(directory.join(path.strip_prefix(".").unwrap_or(path)))
    }
}
