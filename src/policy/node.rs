//! YAML as it was written: each key and value with its line and column.
//!
//! The document is first read into this, not into its final types, because a message about a
//! wrong value must name the place and the whole key of it, which typed reading forgets.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::MergeKeyPolicy;
use serde_saphyr::{Error as YamlError, Location, Spanned};

use super::error::{Fault, Found, Mark, shown};

/// Far more than any policy needs, far less than would hurt.
const NODES: usize = 20_000;
/// Levels of nesting; the deepest policy has seven.
const DEPTH: usize = 24;
/// Uses of YAML anchors.
const ALIASES: usize = 200;

/// A value and its place.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// What stands in YAML.
#[derive(Debug)]
pub(super) enum Value {
    Nothing,
    Flag(bool),
    Integer(i128),
    Fraction(f64),
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Member>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) mark: Mark,
    pub(super) node: Node,
}

impl Node {
    /// The members, if this is a mapping.
    pub(super) fn members(&self) -> &[Member] {
        match &self.value {
            Value::Mapping(members) => members,
            _ => &[],
        }
    }

    /// The items, if this is a list.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if this is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value under `key`.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let member = self.members().iter().find(|member| member.key == key)?;
        Some(&member.node)
    }

    /// What this is, in a message that says it should be something else.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Nothing => "empty",
            Value::Flag(_) => "true or false",
            Value::Integer(_) | Value::Fraction(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// Reads exactly one document.
pub(super) fn parse(text: &str) -> Result<Node, Found> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES,
            max_events: 4 * NODES,
            max_depth: DEPTH,
            max_aliases: ALIASES,
            max_anchors: ALIASES,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES,
        },
        merge_keys: MergeKeyPolicy::Error,
        // `yes` and `off` are text, as YAML 1.2 has it: one spelling of each value.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| found(&error))
}

/// Turns the YAML reader's error into ours.
fn found(error: &YamlError) -> Found {
    let mark = error.location().map_or(Mark::START, |at| mark_of(&at));
    let (key, fault) = match error.without_snippet() {
        YamlError::AliasError { error, .. } => return found(error),
        YamlError::MultipleDocuments { .. } => (None, Fault::ManyDocuments),
        YamlError::DuplicateMappingKey { key, .. } => (key.as_deref(), Fault::DuplicateKey),
        YamlError::Budget { .. }
        | YamlError::AliasReplayCounterOverflow { .. }
        | YamlError::AliasReplayLimitExceeded { .. }
        | YamlError::AliasExpansionLimitExceeded { .. }
        | YamlError::AliasReplayStackDepthExceeded { .. } => (None, Fault::TooComplex),
        YamlError::MergeKeyNotAllowed { .. } => (
            Some("<<"),
            Fault::Unusable("merge keys are not supported; write the keys out".to_owned()),
        ),
        // Only keys are read as text without a look at what they are.
        YamlError::NullIntoString { .. } | YamlError::Unexpected { .. } => {
            (None, Fault::Unusable("a key must be text; put it in quotes".to_owned()))
        }
        YamlError::RecursiveReferencesRequireWeakTypes { .. } => {
            (None, Fault::Unusable("this alias contains itself; write its value out".to_owned()))
        }
        YamlError::NonFiniteFloat { .. } => {
            (None, Fault::Unusable("no number here may be infinite; put text in quotes".to_owned()))
        }
        other => match cause(other) {
            // The parser's own guard, which has no variant.
            cause if cause.contains("recursion limit") => (None, Fault::TooComplex),
            cause => (None, Fault::Syntax(cause)),
        },
    };
    Found::new(mark, key.map(shown).unwrap_or_default(), fault)
}

/// The YAML reader's own words in one line, without the place that we name ourselves.
fn cause(error: &YamlError) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    let place = line.rfind(" at line ").unwrap_or(line.len());
    shown(line.get(..place).unwrap_or(line))
}

fn mark_of(location: &Location) -> Mark {
    Mark { line: location.line().max(1), column: location.column().max(1) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { mark: mark_of(&spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        // No value of a policy comes near; the range check names the limit.
        Ok(Value::Integer(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Fraction(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, node)) = mapping.next_entry::<Spanned<String>, Node>()? {
            members.push(Member { mark: mark_of(&key.referenced), key: key.value, node });
        }
        Ok(Value::Mapping(members))
    }
}
