//! How segment files are named: a number between a prefix and a suffix. Written as policies have it:
//! `{number}.wal`, `wal-{number:hex}.log`, `00000001{number:postgresql}`.
//!
//! Numbers are parsed and compared as numbers. Comparing names would put `wal-10` before `wal-9`.

use std::fmt;

/// A `PostgreSQL` segment's name counts 16-MiB segments to 255, then goes on with the next log file:
/// `…000000FF` is followed by `…0000000100000000`
/// (<https://www.postgresql.org/docs/current/wal-internals.html>).
const POSTGRESQL_SEGMENTS: u64 = 256;
/// Digits of each of the two fields.
const POSTGRESQL_DIGITS: usize = 8;

/// How the number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Numbering {
    /// In decimal.
    #[default]
    Decimal,
    /// In hexadecimal.
    Hexadecimal,
    /// As `PostgreSQL` writes it, behind the 8 digits of its timeline: 16 hexadecimal digits, of which the
    /// lower 8 count to 255. Segments have 16 MiB.
    Postgresql,
}

impl Numbering {
    /// The number that stands for it in a snapshot.
    pub fn code(self) -> u32 {
        match self {
            Self::Decimal => 10,
            Self::Hexadecimal => 16,
            Self::Postgresql => 256,
        }
    }

    /// From the number that stands for it; `None` for one of a later version.
    pub fn of_code(code: u32) -> Option<Self> {
        [Self::Decimal, Self::Hexadecimal, Self::Postgresql].into_iter().find(|n| n.code() == code)
    }

    fn radix(self) -> u32 {
        if self == Self::Decimal { 10 } else { 16 }
    }

    /// What stands between the braces of a pattern.
    fn word(self) -> &'static str {
        match self {
            Self::Decimal => "number",
            Self::Hexadecimal => "number:hex",
            Self::Postgresql => "number:postgresql",
        }
    }

    /// The number that these digits stand for; `None` if it is none, or too large.
    fn parse(self, digits: &str) -> Option<u64> {
        // `from_str_radix` would let a sign pass.
        let plain = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(self.radix()));
        if !plain {
            return None;
        }
        if self != Self::Postgresql {
            return u64::from_str_radix(digits, self.radix()).ok();
        }
        let (high, low) = digits.split_at_checked(POSTGRESQL_DIGITS)?;
        let high = u64::from_str_radix(high, 16).ok().filter(|_| low.len() == POSTGRESQL_DIGITS)?;
        let low = u64::from_str_radix(low, 16).ok().filter(|low| *low < POSTGRESQL_SEGMENTS)?;
        Some(high * POSTGRESQL_SEGMENTS + low)
    }

    fn write(self, number: u64, width: usize, is_upper: bool) -> String {
        match (self, is_upper) {
            (Self::Decimal, _) => format!("{number:0width$}"),
            (Self::Hexadecimal, false) => format!("{number:0width$x}"),
            (Self::Hexadecimal, true) => format!("{number:0width$X}"),
            (Self::Postgresql, _) => {
                let (high, low) = (number / POSTGRESQL_SEGMENTS, number % POSTGRESQL_SEGMENTS);
                format!("{high:08X}{low:08X}")
            }
        }
    }
}

/// The pattern of segment names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct SegmentNaming {
    /// What stands before the number.
    pub prefix: String,
    /// What stands after it.
    pub suffix: String,
    /// How the number is written.
    pub numbering: Numbering,
}

impl SegmentNaming {
    /// Parses a pattern. An error says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let all = [Numbering::Decimal, Numbering::Hexadecimal, Numbering::Postgresql];
        let found = all.into_iter().find_map(|numbering| {
            let (prefix, suffix) = text.split_once(&format!("{{{}}}", numbering.word()))?;
            Some((prefix, suffix, numbering))
        });
        let Some((prefix, suffix, numbering)) = found else {
            return Err("it does not say where the number stands; write {number}.wal, \
                        {number:hex}.wal for hexadecimal, or 00000001{number:postgresql}"
                .to_owned());
        };
        let is_odd =
            |part: &str| part.contains(['{', '}', '/']) || part.chars().any(char::is_control);
        if is_odd(prefix) || is_odd(suffix) {
            return Err("besides one number, a segment's name has no braces, slashes or control \
                        characters"
                .to_owned());
        }
        Ok(Self { prefix: prefix.to_owned(), suffix: suffix.to_owned(), numbering })
    }

    /// The number of the segment that a file of this name is; `None` for any other file.
    pub fn number(&self, name: &[u8]) -> Option<u64> {
        self.numbering.parse(self.digits(name)?)
    }

    fn digits<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        let digits = name.strip_prefix(self.prefix.as_bytes())?;
        std::str::from_utf8(digits.strip_suffix(self.suffix.as_bytes())?).ok()
    }

    /// The segment that a file belongs to, be it the segment itself or a file named after it, such as
    /// `7.wal.partial`, `7.wal.zst` or `7.wal.ready`.
    pub fn belongs_to(&self, name: &[u8]) -> Option<u64> {
        if let Some(number) = self.number(name) {
            return Some(number);
        }
        let rest = name.strip_prefix(self.prefix.as_bytes())?;
        let is_digit = |byte: &&u8| char::from(**byte).is_digit(self.numbering.radix());
        let digits = rest.iter().take_while(is_digit).count();
        let (digits, rest) = rest.split_at(digits);
        let named = rest.starts_with(self.suffix.as_bytes()) && rest.first() == Some(&b'.');
        let digits = std::str::from_utf8(digits).ok().filter(|_| named)?;
        self.numbering.parse(digits)
    }

    /// The number of the segment that a file is on another timeline of `PostgreSQL`, which the first 8 digits of
    /// its name tell.
    pub fn number_elsewhere(&self, name: &[u8]) -> Option<u64> {
        let is_timeline = |part: &str| {
            part.len() == POSTGRESQL_DIGITS && part.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let name = std::str::from_utf8(name).ok()?;
        let (timeline, digits) = name.split_at_checked(POSTGRESQL_DIGITS)?;
        let fits = self.numbering == Numbering::Postgresql
            && is_timeline(&self.prefix)
            && is_timeline(timeline)
            && timeline != self.prefix;
        self.numbering.parse(digits.strip_suffix(self.suffix.as_str())?).filter(|_| fits)
    }

    /// The number that a person gave: the segment's name, or its number as names have it.
    pub fn number_given(&self, text: &str) -> Option<u64> {
        self.number(text.as_bytes()).or_else(|| self.numbering.parse(text))
    }

    /// A number as a person may give it.
    pub fn shown(&self, number: u64) -> String {
        self.numbering.write(number, 1, false)
    }

    /// A run of numbers for people.
    pub fn shown_run(&self, run: (u64, u64)) -> String {
        let (first, last) = run;
        if first == last {
            return format!("segment {}", self.shown(first));
        }
        format!("segments {} to {}", self.shown(first), self.shown(last))
    }

    /// The name of segment `number`, as wide as the number in `neighbour`.
    pub fn name_like(&self, number: u64, neighbour: &[u8]) -> String {
        let digits = self.digits(neighbour).unwrap_or_default();
        let is_upper = digits.bytes().any(|byte| byte.is_ascii_uppercase());
        let digits = self.numbering.write(number, digits.len(), is_upper);
        format!("{}{digits}{}", self.prefix, self.suffix)
    }
}

impl fmt::Display for SegmentNaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}{}", self.prefix, self.numbering.word(), self.suffix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_parse_or_tell_why_not() {
        let naming = SegmentNaming::parse("wal-{number:hex}.log").unwrap();
        assert_eq!(naming.to_string(), "wal-{number:hex}.log");
        assert_eq!(naming.number(b"wal-00fF.log"), Some(255));
        assert_eq!(SegmentNaming::parse("{number}").unwrap().number(b"007"), Some(7));
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
            assert_eq!(naming.number(hostile.as_bytes()), None, "{hostile}");
        }
        for bad in ["", "x", "{n}", "{number}{number}", "{number", "a/{number}", "{number:x}"] {
            assert!(SegmentNaming::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_given_as_names_have_them() {
        let hex = SegmentNaming::parse("{number:hex}.wal").unwrap();
        assert_eq!(hex.number_given("10"), Some(16));
        assert_eq!(hex.number_given("0010.wal"), Some(16));
        assert_eq!(hex.shown(16), "10");
        let decimal = SegmentNaming::parse("{number}.wal").unwrap();
        assert_eq!(decimal.number_given("10"), Some(10));
        assert_eq!(decimal.number_given("a"), None);
        assert_eq!(decimal.number_given("10.log"), None);
    }

    #[test]
    fn postgresql_counts_to_255() {
        let naming = SegmentNaming::parse("00000001{number:postgresql}").unwrap();
        let before = naming.number(b"0000000100000000000000FF").unwrap();
        let after = naming.number(b"000000010000000100000000").unwrap();
        assert_eq!(before + 1, after);
        assert_eq!(
            naming.name_like(after, b"0000000100000000000000FF"),
            "000000010000000100000000"
        );
        assert_eq!(naming.number_given(&naming.shown(after)), Some(after));
        // A segment of another timeline, a number that 16-MiB segments never have, a history file.
        for other in ["0000000200000000000000FF", "000000010000000000000100", "00000002.history"] {
            assert_eq!(naming.number(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn names_are_as_wide_as_their_neighbours() {
        let naming = SegmentNaming::parse("w{number:hex}").unwrap();
        assert_eq!(naming.name_like(11, b"w000A"), "w000B");
        assert_eq!(naming.name_like(11, b"w000a"), "w000b");
        let naming = SegmentNaming::parse("{number}.wal").unwrap();
        assert_eq!(naming.name_like(10, b"9.wal"), "10.wal");
    }

    #[test]
    fn files_named_after_a_segment_belong_to_it() {
        let naming = SegmentNaming::parse("{number}.wal").unwrap();
        for (name, number) in [
            ("7.wal", Some(7)),
            ("7.wal.partial", Some(7)),
            ("7.wal.zst", Some(7)),
            ("x7.wal", None),
            ("7.log", None),
            ("LOCK", None),
        ] {
            assert_eq!(naming.belongs_to(name.as_bytes()), number, "{name}");
        }
        let bare = SegmentNaming::parse("{number}").unwrap();
        assert_eq!(bare.belongs_to(b"7.partial"), Some(7));
        assert_eq!(bare.belongs_to(b"7th"), None);
    }
}
