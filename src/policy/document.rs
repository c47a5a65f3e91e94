//! From a checked tree of YAML to a [`Policy`]: what each value means, and the rules that tables
//! cannot say.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;

use super::error::{Found, shown};
use super::node::{self, Node, Value};
use super::place::Place;
use super::shape::{self, Shape};
use super::sources::sources;
use super::tables::{API_VERSION, DOCUMENT, KIND, PRICES};
use super::{Compression, Policy, secret};
use crate::memory::LEAST_BYTES;
use crate::store::{LimitsGiven, Prices, Rate, SshFiles, parse_retry_for};
use crate::units::parse_bytes;

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
        limits: match spec.get("limits") {
            Some(place) => limits(&place)?,
            None => LimitsGiven::default(),
        },
        ssh: match spec.get("ssh") {
            Some(place) => ssh(&place, directory)?,
            None => SshFiles::default(),
        },
        prices: spec.get("prices").map(|place| prices(&place)).transpose()?,
    })
}

/// Reads a price list that is a document of its own.
pub(super) fn read_prices(text: &str) -> Result<Prices, Found> {
    secret::scan(text)?;
    let node = node::parse(text)?;
    Shape::Mapping(&PRICES).check(&node, "")?;
    prices(&Place { node: &node, key: String::new() })
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
        let url = place.text().trim();
        if url.contains(char::is_control) {
            return Err(place.unusable("a URL must not contain control characters"));
        }
        return Ok(url.to_owned());
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

fn limits(place: &Place<'_>) -> Result<LimitsGiven, Found> {
    let said = |place: &Place<'_>, reason: &str| {
        place.unusable(format!("{}: {reason}", shown(place.text().trim())))
    };
    let rate = |name: &str| {
        let Some(place) = place.get(name) else { return Ok(None) };
        let is_off = matches!(place.node.value, Value::Flag(false));
        let text = if is_off { "off" } else { place.text() };
        Rate::parse(text).map(Some).map_err(|reason| said(&place, reason))
    };
    let connections = match place.get("connections").map(|place| &place.node.value) {
        Some(Value::Integer(number)) => usize::try_from(*number).ok().and_then(NonZeroUsize::new),
        _ => None,
    };
    let retry_for = match place.get("retryFor") {
        Some(place) => Some(parse_retry_for(place.text()).map_err(|reason| said(&place, reason))?),
        None => None,
    };
    Ok(LimitsGiven { upload: rate("upload")?, download: rate("download")?, connections, retry_for })
}

fn ssh(place: &Place<'_>, directory: &Path) -> Result<SshFiles, Found> {
    let file = |name| place.get(name).map(|place| place.path(directory)).transpose();
    Ok(SshFiles { key: file("key")?, known_hosts: file("knownHosts")? })
}

fn prices(place: &Place<'_>) -> Result<Prices, Found> {
    const LONGEST: usize = 12;
    let currency = place.require("currency")?;
    let word = currency.text().trim();
    if word.len() > LONGEST || word.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let cause = format!("{} is no currency; write a word such as USD", shown(word));
        return Err(currency.unusable(cause));
    }
    let price = |place: Option<&Place<'_>>, name: &str| {
        let place = place.and_then(|place| place.get(name));
        place.and_then(|place| shape::price(place.node)).unwrap_or_default()
    };
    let (requests, transfer) = (place.get("perThousand"), place.get("perGiB"));
    Ok(Prices {
        currency: word.to_owned(),
        put: price(requests.as_ref(), "put"),
        get: price(requests.as_ref(), "get"),
        list: price(requests.as_ref(), "list"),
        delete: price(requests.as_ref(), "delete"),
        uploaded: price(transfer.as_ref(), "upload"),
        downloaded: price(transfer.as_ref(), "download"),
        stored: price(Some(place), "perGiBMonth"),
    })
}

fn memory(place: &Place<'_>) -> Result<u64, Found> {
    let bytes = match &place.node.value {
        Value::Integer(bytes) => u64::try_from(*bytes).ok(),
        _ => parse_bytes(place.text()),
    };
    match bytes {
        None => Err(place
            .unusable(format!("{} is not a size; write one such as 256MiB", shown(place.text())))),
        Some(bytes) if bytes < LEAST_BYTES => Err(place.unusable(format!(
            "a backup needs at least {}MiB; write a size such as 256MiB",
            LEAST_BYTES >> 20
        ))),
        Some(bytes) => Ok(bytes),
    }
}
