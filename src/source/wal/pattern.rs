//! How segment files are named: a number in decimal or hexadecimal between a prefix and a suffix.
//!
//! Numbers are parsed and compared as numbers. Comparing names would put `wal-10` before `wal-9`.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::facts::SegmentNaming;

/// A run of hexadecimal digits at least this long may be a number; a shorter one may be a word.
const LEAST_HEX_DIGITS: usize = 8;

/// `u64::MAX` has 20 decimal digits.
const MOST_DIGITS: usize = 20;

/// The pattern of segment names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SegmentPattern {
    prefix: String,
    suffix: String,
    radix: u32,
}

impl SegmentPattern {
    /// Parses `{number}.wal` or `wal-{number:x}.log`: exactly one number, `:x` for hexadecimal.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "segment pattern {text:?} is not valid: it must hold {{number}}, \
                 or {{number:x}} for hexadecimal, exactly once, as in wal-{{number}}.log"
            )
        };
        let (prefix, rest) = text.split_once('{').ok_or_else(bad)?;
        let (inner, suffix) = rest.split_once('}').ok_or_else(bad)?;
        let radix = match inner {
            "number" => 10,
            "number:x" => 16,
            _ => return Err(bad()),
        };
        let literal = |part: &str| !part.contains(['{', '}', '/', '\0']);
        if !literal(prefix) || !literal(suffix) {
            return Err(bad());
        }
        Ok(Self { prefix: prefix.to_owned(), suffix: suffix.to_owned(), radix })
    }

    /// From what a snapshot says.
    pub(super) fn of_naming(naming: &SegmentNaming) -> Option<Self> {
        matches!(naming.radix, 10 | 16).then(|| Self {
            prefix: naming.prefix.clone(),
            suffix: naming.suffix.clone(),
            radix: naming.radix,
        })
    }

    /// For the snapshot's facts.
    pub fn naming(&self) -> SegmentNaming {
        SegmentNaming {
            prefix: self.prefix.clone(),
            suffix: self.suffix.clone(),
            radix: self.radix,
        }
    }

    /// The number in a file name; `None` if it is no segment.
    pub fn number(&self, name: &[u8]) -> Option<u64> {
        let digits = self.digits(name)?;
        u64::from_str_radix(digits, self.radix).ok()
    }

    fn digits<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        let digits =
            name.strip_prefix(self.prefix.as_bytes())?.strip_suffix(self.suffix.as_bytes())?;
        let digits = std::str::from_utf8(digits).ok()?;
        // `from_str_radix` would let a sign pass.
        let sound = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(self.radix));
        sound.then_some(digits)
    }

    /// The name of segment `number`, as wide as the number in `neighbour`.
    pub(super) fn name_like(&self, number: u64, neighbour: &[u8]) -> String {
        let width = self.digits(neighbour).map_or(0, str::len);
        let upper = self
            .digits(neighbour)
            .is_some_and(|digits| digits.bytes().any(|byte| byte.is_ascii_uppercase()));
        let digits = match (self.radix, upper) {
            (16, true) => format!("{number:0width$X}"),
            (16, false) => format!("{number:0width$x}"),
            _ => format!("{number:0width$}"),
        };
        format!("{}{digits}{}", self.prefix, self.suffix)
    }

    /// Finds the pattern that most of `names` follow. `hint` is what was found before: it wins where
    /// it fits as many. An error tells what could not be decided.
    pub(super) fn detect(names: &[&[u8]], hint: Option<&Self>) -> Result<Self, String> {
        let mut found: HashMap<Self, HashSet<u64>> = HashMap::new();
        // Digits alone are taken for decimal ones.
        let mut lettered: HashSet<Self> = hint.iter().copied().cloned().collect();
        let mut note = |pattern: Self, name: &[u8]| {
            let Some(number) = pattern.number(name) else {
                return;
            };
            let digits = pattern.digits(name).unwrap_or_default();
            if digits.bytes().any(|digit| digit.is_ascii_alphabetic()) {
                lettered.insert(pattern.clone());
            }
            found.entry(pattern).or_default().insert(number);
        };
        for name in names {
            let text = std::str::from_utf8(name).unwrap_or_default();
            for pattern in [decimal(text), hexadecimal(text), hint.cloned()].into_iter().flatten() {
                note(pattern, name);
            }
        }
        found.retain(|pattern, _| pattern.radix == 10 || lettered.contains(pattern));
        let rank = |pattern: &Self, count: usize| (count, Some(pattern) == hint, pattern.radix);
        let mut ranked: Vec<_> = found
            .iter()
            .map(|(pattern, numbers)| (rank(pattern, numbers.len()), pattern))
            .collect();
        ranked.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        match ranked.as_slice() {
            [] => Err("no file in it has a number in its name".to_owned()),
            [(best, a), (second, b), ..] if best == second => Err(format!(
                "its files may be segments named {a} or {b}: say which with a segment pattern"
            )),
            [(_, best), ..] => Ok((*best).clone()),
        }
    }
}

impl fmt::Display for SegmentPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = if self.radix == 16 { "{number:x}" } else { "{number}" };
        write!(f, "{}{number}{}", self.prefix, self.suffix)
    }
}

/// The last run of decimal digits as the number.
fn decimal(name: &str) -> Option<SegmentPattern> {
    let end = name.rfind(|letter: char| letter.is_ascii_digit())? + 1;
    around(name, end, 10)
}

/// The last long run of hexadecimal digits, if it has a letter among them.
fn hexadecimal(name: &str) -> Option<SegmentPattern> {
    let mut end = name.len();
    loop {
        let head = name.get(..end)?;
        end = head.rfind(|letter: char| letter.is_ascii_hexdigit())? + 1;
        let digits = run(name, end, 16)?;
        if digits.len() >= LEAST_HEX_DIGITS {
            return around(name, end, 16);
        }
        end -= digits.len();
    }
}

/// The run of digits that ends at `end`.
fn run(name: &str, end: usize, radix: u32) -> Option<&str> {
    let head = name.get(..end)?;
    let start = head.rfind(|letter: char| !letter.is_digit(radix)).map_or(0, |place| {
        place + head.get(place..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
    });
    head.get(start..)
}

fn around(name: &str, end: usize, radix: u32) -> Option<SegmentPattern> {
    let digits = run(name, end, radix)?;
    if digits.is_empty() || digits.len() > MOST_DIGITS {
        return None;
    }
    let pattern = SegmentPattern {
        prefix: name.get(..end - digits.len())?.to_owned(),
        suffix: name.get(end..)?.to_owned(),
        radix,
    };
    (!pattern.prefix.contains(['{', '}']) && !pattern.suffix.contains(['{', '}']))
        .then_some(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect(names: &[&str]) -> Result<String, String> {
        let names: Vec<&[u8]> = names.iter().map(|name| name.as_bytes()).collect();
        SegmentPattern::detect(&names, None).map(|pattern| pattern.to_string())
    }

    #[test]
    fn patterns_parse_or_tell_why_not() {
        let pattern = SegmentPattern::parse("wal-{number:x}.log").unwrap();
        assert_eq!(pattern.number(b"wal-00fF.log"), Some(255));
        assert_eq!(SegmentPattern::parse("{number}").unwrap().number(b"007"), Some(7));
        for hostile in [
            "wal-.log",
            "wal-+1.log",
            "wal--1.log",
            "wal-g.log",
            "wal-1.lo",
            "1",
            "wal-11111111111111111.log",
            "wal-1.log.log",
        ] {
            assert_eq!(pattern.number(hostile.as_bytes()), None, "{hostile}");
        }
        for bad in ["", "x", "{n}", "{number}{number}", "{number", "a/{number}", "{number:o}"] {
            assert!(SegmentPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_are_detected() {
        assert_eq!(detect(&["9.wal", "10.wal", "LOCK"]).unwrap(), "{number}.wal");
        assert_eq!(detect(&["wal-v2-01.log", "wal-v2-02.log"]).unwrap(), "wal-v2-{number}.log");
        assert_eq!(
            detect(&["0000000a-00000001.wal", "0000000a-0000000b.wal"]).unwrap(),
            "0000000a-{number:x}.wal"
        );
        assert_eq!(detect(&["0000000000000009", "000000000000000a"]).unwrap(), "{number:x}");
        assert_eq!(detect(&["00000008.wal", "00000009.wal"]).unwrap(), "{number}.wal");
        assert!(detect(&["LOCK", "CURRENT"]).unwrap_err().contains("no file"));
        assert!(detect(&["1.wal", "2.log"]).unwrap_err().contains("say which"));
        assert!(detect(&[]).is_err());
        assert!(detect(&["\u{e9}\u{fc}1", "\u{e9}\u{fc}2"]).is_ok());
    }

    #[test]
    fn names_are_as_wide_as_their_neighbours() {
        let pattern = SegmentPattern::parse("w{number:x}").unwrap();
        assert_eq!(pattern.name_like(11, b"w000A"), "w000B");
        assert_eq!(pattern.name_like(11, b"w000a"), "w000b");
        let pattern = SegmentPattern::parse("{number}.wal").unwrap();
        assert_eq!(pattern.name_like(10, b"9.wal"), "10.wal");
    }
}
