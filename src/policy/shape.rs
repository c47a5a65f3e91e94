//! Shapes: which keys and types a document may have, as tables. One table serves the check, the
//! "did you mean" and the JSON Schema, so that the three cannot disagree.

use super::error::{Fault, Found, shown};
use super::nearest::nearest;
use super::node::{Member, Node, Value};
use super::secret;
use crate::store::Money;

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// Text that is not empty.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Flag,
    /// `false`, which YAML 1.1 tools make of `off`.
    False,
    /// A whole number from the first to the last.
    Integer(i64, i64),
    /// A byte count: a number or text such as `256MiB`.
    Size,
    /// A length of time: text such as `200ms`.
    Time,
    /// A speed: text such as `10MiB`.
    Rate,
    /// An amount of money.
    Price,
    /// A list of texts, none of them empty.
    Texts,
    /// A mapping of any keys to texts.
    Labels,
    /// A mapping with the keys of a table.
    Mapping(&'static Table),
    /// A list, not empty, of mappings with the keys of a table.
    Mappings(&'static Table),
    /// The first of these that has the value's type.
    Either(&'static [Shape]),
}

/// The keys of a mapping.
#[derive(Debug)]
pub(super) struct Table {
    /// The keys that are known.
    pub(super) fields: &'static [Field],
    /// Exactly one of these must be there; empty where there is nothing to choose.
    pub(super) one_of: &'static [&'static str],
    /// Keys that the design has and this version has not.
    pub(super) later: &'static [&'static str],
}

/// A key.
#[derive(Debug)]
pub(super) struct Field {
    /// As it stands in the document.
    pub(super) name: &'static str,
    /// What its value may be.
    pub(super) shape: Shape,
    /// Whether it must be there.
    pub(super) required: bool,
    /// What it means, in a sentence for the schema.
    pub(super) about: &'static str,
}

impl Shape {
    /// Checks `node`, which stands under `key`, and all below it.
    pub(super) fn check(&self, node: &Node, key: &str) -> Result<(), Found> {
        match (self, &node.value) {
            (Self::Text | Self::Size | Self::Time | Self::Rate, Value::Text(text))
                if text.trim().is_empty() =>
            {
                Err(empty(node, key))
            }
            (Self::Word(words), Value::Text(word)) if !words.contains(&word.as_str()) => {
                Err(self.refuse(node, key, shown(word)))
            }
            (Self::Integer(least, most), Value::Integer(number))
                if *number < i128::from(*least) || *number > i128::from(*most) =>
            {
                Err(self.refuse(node, key, number.to_string()))
            }
            (Self::Price, _) if price(node).is_some() => Ok(()),
            (Self::Price, Value::Integer(number)) => {
                Err(self.refuse(node, key, number.to_string()))
            }
            (Self::Price, Value::Fraction(number)) => {
                Err(self.refuse(node, key, number.to_string()))
            }
            (Self::Text | Self::Word(_) | Self::Size | Self::Time | Self::Rate, Value::Text(_))
            | (Self::Flag, Value::Flag(_))
            | (Self::False, Value::Flag(false))
            | (Self::Size | Self::Integer(..), Value::Integer(_)) => Ok(()),
            (Self::Texts, Value::List(items)) => each(items, key, &Self::Text),
            (Self::Labels, Value::Mapping(members)) => labels(members, key),
            (Self::Mapping(table), Value::Mapping(_)) => table.check(node, key),
            (Self::Mappings(_), Value::List(items)) if items.is_empty() => Err(empty(node, key)),
            (Self::Mappings(table), Value::List(items)) => each(items, key, &Self::Mapping(table)),
            (Self::Either(shapes), _) => match shapes.iter().find(|shape| shape.fits(node)) {
                Some(shape) => shape.check(node, key),
                None => Err(self.refuse(node, key, found_kind(node, self))),
            },
            _ => Err(self.refuse(node, key, found_kind(node, self))),
        }
    }

    /// Whether the value has the type of this shape, so that what else is wrong with it is said
    /// in this shape's words.
    fn fits(&self, node: &Node) -> bool {
        match self {
            Self::Text | Self::Time | Self::Rate => matches!(node.value, Value::Text(_)),
            Self::Price => matches!(node.value, Value::Integer(_) | Value::Fraction(_)),
            Self::Size => matches!(node.value, Value::Text(_) | Value::Integer(_)),
            Self::Word(words) => node.text().is_some_and(|word| words.contains(&word)),
            Self::Flag => matches!(node.value, Value::Flag(_)),
            Self::False => matches!(node.value, Value::Flag(false)),
            Self::Integer(..) => matches!(node.value, Value::Integer(_)),
            Self::Texts | Self::Mappings(_) => matches!(node.value, Value::List(_)),
            Self::Labels | Self::Mapping(_) => matches!(node.value, Value::Mapping(_)),
            Self::Either(shapes) => shapes.iter().any(|shape| shape.fits(node)),
        }
    }

    fn refuse(&self, node: &Node, key: &str, found: String) -> Found {
        let expected = self.to_string();
        Found::new(node.mark, key, Fault::WrongType { expected, found })
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::Word(words) => f.write_str(&words.join(" or ")),
            Self::Flag => f.write_str("true or false"),
            Self::False => f.write_str("false"),
            Self::Integer(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Size => f.write_str("a size such as 256MiB"),
            Self::Time => f.write_str("a time such as 200ms"),
            Self::Rate => f.write_str("a rate such as 10MiB or 80Mbit"),
            Self::Price => f.write_str("a price, a number from 0 to 1000000"),
            Self::Texts => f.write_str("a list of texts"),
            Self::Labels | Self::Mapping(_) => f.write_str("a mapping"),
            Self::Mappings(_) => f.write_str("a list of mappings"),
            Self::Either(shapes) => {
                let words: Vec<String> = shapes
                    .iter()
                    .filter(|shape| !matches!(shape, Self::False))
                    .map(ToString::to_string)
                    .collect();
                f.write_str(&words.join(" or "))
            }
        }
    }
}

/// What stands where `shape` should be, with the remedy where it is a matter of quoting.
fn found_kind(node: &Node, shape: &Shape) -> String {
    match (&node.value, shape) {
        (Value::Nothing, _) => "empty; give a value or remove the key".to_owned(),
        (Value::Flag(_) | Value::Integer(_) | Value::Fraction(_), Shape::Text) => {
            format!("{}; put it in quotes if it is meant", node.kind())
        }
        (Value::Text(text), Shape::Either(_)) => shown(text),
        _ => node.kind().to_owned(),
    }
}

/// The amount of money here, if it can be a price.
pub(super) fn price(node: &Node) -> Option<Money> {
    match node.value {
        Value::Integer(number) => Money::from_price(number as f64),
        Value::Fraction(number) => Money::from_price(number),
        _ => None,
    }
}

fn empty(node: &Node, key: &str) -> Found {
    Found::unusable(node.mark, key, "must not be empty")
}

fn each(items: &[Node], key: &str, shape: &Shape) -> Result<(), Found> {
    for (place, item) in items.iter().enumerate() {
        shape.check(item, &format!("{key}[{place}]"))?;
    }
    Ok(())
}

fn labels(members: &[Member], key: &str) -> Result<(), Found> {
    for member in members {
        let key = below(key, &member.key);
        if let Some(remedy) = secret::remedy(&member.key) {
            return Err(Found::new(member.mark, key, Fault::Secret { remedy }));
        }
        Shape::Text.check(&member.node, &key)?;
    }
    Ok(())
}

impl Table {
    /// Checks the mapping `node`, which stands under `key`, and all below it.
    fn check(&self, node: &Node, key: &str) -> Result<(), Found> {
        for member in node.members() {
            let key = below(key, &member.key);
            match self.fields.iter().find(|field| field.name == member.key) {
                Some(field) => field.shape.check(&member.node, &key)?,
                None => return Err(self.unknown(member, key)),
            }
        }
        let missing =
            self.fields.iter().find(|field| field.required && node.get(field.name).is_none());
        if let Some(field) = missing {
            let fault = Fault::Missing(format!("add {}: {}", field.name, field.about));
            return Err(Found::new(node.mark, below(key, field.name), fault));
        }
        self.check_choice(node, key)
    }

    fn check_choice(&self, node: &Node, key: &str) -> Result<(), Found> {
        let choices = self.one_of.join(" or ");
        let mut chosen =
            node.members().iter().filter(|member| self.one_of.contains(&member.key.as_str()));
        let (first, second) = (chosen.next(), chosen.next());
        match (first, second) {
            (None, _) if !self.one_of.is_empty() => {
                let fault = Fault::Missing(format!("add one of {choices}"));
                Err(Found::new(node.mark, key, fault))
            }
            (Some(first), Some(second)) => Err(Found::unusable(
                second.mark,
                below(key, &second.key),
                format!("cannot stand beside {}; keep one of them", first.key),
            )),
            _ => Ok(()),
        }
    }

    fn unknown(&self, member: &Member, key: String) -> Found {
        let fault = if self.later.contains(&member.key.as_str()) {
            Fault::Later
        } else if let Some(remedy) = secret::remedy(&member.key) {
            Fault::Secret { remedy }
        } else {
            let names = || self.fields.iter().map(|field| field.name);
            let hint = match nearest(&member.key, names()) {
                Some(name) => format!("did you mean {name}?"),
                None => format!("known here: {}", names().collect::<Vec<_>>().join(", ")),
            };
            Fault::UnknownKey { hint }
        };
        Found::new(member.mark, key, fault)
    }
}

/// The key of a member of the mapping under `key`.
pub(super) fn below(key: &str, name: &str) -> String {
    if key.is_empty() { shown(name) } else { format!("{key}.{}", shown(name)) }
}
