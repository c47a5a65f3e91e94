//! From a checked tree of YAML to a [`Policy`]: what each value means, and the rules that tables
//! cannot say.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{Found, shown};
use super::node::{self, Node, Value};
use super::place::Place;
use super::shape::Shape;
use super::sources::sources;
use super::tables::{API_VERSION, DOCUMENT, KIND};
use super::{Compression, Policy, secret};
use crate::units::parse_bytes;

/// Less cannot hold one pack; a unit was forgotten.
const MEMORY_LEAST_BYTES: u64 = 64 << 20;

/// Reads a document whose relative paths begin in `directory`.
pub(super) fn read(text: &str, directory: &Path) -> Result<Policy, Found> {
    secret::scan(text)?;
    let node = node::parse(text)?;
    check_identity(&node)?;
    Shape::Mapping(&DOCUMENT).check(&node, "")?;
    let root = Place { node: &node, key: String::new() };
    let spec = root.require("spec")?;
    let mut labels = BTreeMap::new();
    if let Some(mapping) = spec.get("labels") {
        for member in mapping.node.members() {
            let value = member.node.text().unwrap_or_default();
            labels.insert(member.key.clone(), value.to_owned());
        }
    }
    Ok(Policy {
        name: root.require("metadata")?.require("name")?.name()?,
        repository: match spec.get("repository") {
            Some(place) => Some(repository(&place, directory)?),
            None => None,
        },
        host: spec.get("host").map(|place| place.name()).transpose()?,
        sources: sources(&spec, directory)?,
        compression: compression(&spec),
        memory_bytes: spec.get("memory").map(|place| memory(&place)).transpose()?,
        labels,
    })
}

/// Whether this is a policy at all. Asked first: of another kind of document every key is wrong,
/// and saying so of the first one would not help.
fn check_identity(node: &Node) -> Result<(), Found> {
    if matches!(node.value, Value::Nothing) {
        let cause = format!("the document is empty; begin with apiVersion: {API_VERSION}");
        return Err(Found::unusable(node.mark, "", cause));
    }
    for (key, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        let Some((value, text)) =
            node.get(key).and_then(|value| value.text().map(|text| (value, text)))
        else {
            continue;
        };
        if text != wanted {
            let mut cause = format!("must be {wanted}, not {}", shown(text));
            if key == "apiVersion" && text.starts_with("backstay.dev/") {
                cause.push_str("; this Backstay reads no other version");
            }
            return Err(Found::unusable(value.mark, key, cause));
        }
    }
    Ok(())
}

fn repository(place: &Place<'_>, directory: &Path) -> Result<String, Found> {
    if place.text().contains("://") {
        return Ok(place.text().to_owned());
    }
    place
        .path(directory)?
        .into_os_string()
        .into_string()
        .map_err(|_| place.unusable("the policy's directory is not UTF-8; give an absolute path"))
}

fn compression(spec: &Place<'_>) -> Compression {
    let level = spec.get("compression").and_then(|place| place.get("level"));
    match level.map(|place| &place.node.value) {
        None => Compression::default(),
        Some(Value::Integer(level)) => {
            i32::try_from(*level).map_or_else(|_| Compression::default(), Compression::Level)
        }
        Some(_) => Compression::Off,
    }
}

fn memory(place: &Place<'_>) -> Result<u64, Found> {
    let bytes = match &place.node.value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        _ => parse_bytes(place.text()),
    };
    match bytes {
        None => Err(place
            .unusable(format!("{} is not a size; write one such as 256MiB", shown(place.text())))),
        Some(bytes) if bytes < MEMORY_LEAST_BYTES => {
            Err(place.unusable("a backup needs at least 64MiB; write a size such as 256MiB"))
        }
        Some(bytes) => Ok(bytes),
    }
}
