//! Limits as people write them: on a command line, in a policy, in the environment. The rules for their
//! values are here once, for all three.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use jiff::SignedDuration;

use super::settings::Limits;
use crate::units::parse_bytes;

/// A slower peer looks like a dead one.
const SLOWEST_BYTES_PER_SECOND: u64 = 32 << 10;
/// More than any server of ours grants one client.
const MOST_CONNECTIONS: usize = 256;
/// Nobody means to wait longer; a unit was mistaken.
const LONGEST_RETRY: Duration = Duration::from_hours(24);

/// A speed, or explicitly none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes per second; `None`: as fast as it goes.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl Rate {
    /// Understands `10MiB`, `80Mbit` and `off`, each with or without `/s`.
    ///
    /// # Errors
    /// What is wrong, to stand after the text itself.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let text = text.strip_suffix("/s").unwrap_or(text).trim_end();
        if text == "off" {
            return Ok(Self { bytes_per_second: None });
        }
        if text.ends_with(|c: char| c.is_ascii_digit()) {
            return Err("it lacks a unit: write 10MiB or 80Mbit, each per second, or off");
        }
        if text.ends_with("Mb") || text.ends_with("kb") || text.ends_with("Kb") {
            return Err("bits or bytes? Write 80Mbit or 10MB, each per second");
        }
        match bits(text).or_else(|| parse_bytes(text)) {
            None => Err("it is no rate: write 10MiB or 80Mbit, each per second, or off"),
            Some(bytes) if bytes < SLOWEST_BYTES_PER_SECOND => {
                Err("it is too slow: at less than 32KiB per second a peer looks dead")
            }
            Some(bytes) => Ok(Self { bytes_per_second: NonZeroU64::new(bytes) }),
        }
    }
}

/// Bytes in `80Mbit`: networks count bits by thousands.
fn bits(text: &str) -> Option<u64> {
    let number = text.strip_suffix("bit")?;
    // The same numbers and prefixes as those of bytes, but for binary ones.
    let bits = parse_bytes(&format!("{number}B")).filter(|_| !number.ends_with('i'))?;
    Some(bits / 8)
}

/// Understands a number of connections.
///
/// # Errors
/// What is wrong, to stand after the text itself.
pub fn parse_connections(text: &str) -> Result<NonZeroUsize, &'static str> {
    let number = text.trim().parse::<NonZeroUsize>().ok();
    number
        .filter(|number| number.get() <= MOST_CONNECTIONS)
        .ok_or("it must be a whole number from 1 to 256")
}

/// Understands how long to try again, such as `5m`.
///
/// # Errors
/// What is wrong, to stand after the text itself.
pub fn parse_retry_for(text: &str) -> Result<Duration, &'static str> {
    let parsed = text.trim().parse::<SignedDuration>().ok();
    parsed
        .and_then(|parsed| Duration::try_from(parsed).ok())
        .filter(|parsed| *parsed <= LONGEST_RETRY)
        .ok_or("it is not a time of 0s to 24h; write one such as 5m")
}

/// Limits as one place says them; what it leaves out, another may say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsGiven {
    /// The speed to the store.
    pub upload: Option<Rate>,
    /// The speed from the store.
    pub download: Option<Rate>,
    /// Connections at a time.
    pub connections: Option<NonZeroUsize>,
    /// How long after its first failure an operation is still tried again.
    pub retry_for: Option<Duration>,
}

impl LimitsGiven {
    /// These, and what they leave out as `other` says.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            upload: self.upload.or(other.upload),
            download: self.download.or(other.download),
            connections: self.connections.or(other.connections),
            retry_for: self.retry_for.or(other.retry_for),
        }
    }

    /// The limits that hold where nobody says more.
    pub fn limits(self) -> Limits {
        let default = Limits::default();
        Limits {
            upload_bytes_per_second: self.upload.and_then(|rate| rate.bytes_per_second),
            download_bytes_per_second: self.download.and_then(|rate| rate.bytes_per_second),
            connections: self.connections.or(default.connections),
            retry_for: self.retry_for.unwrap_or(default.retry_for),
            first_contact: self.retry_for.unwrap_or(default.first_contact),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_in_bits_and_bytes() {
        for (text, bytes) in [
            ("10MiB", 10 << 20),
            ("10MiB/s", 10 << 20),
            ("80Mbit", 10_000_000),
            ("80 Mbit/s", 10_000_000),
            ("1.5Gbit", 187_500_000),
            ("512kbit", 64_000),
            ("10MB", 10_000_000),
            ("32k", 32 << 10),
        ] {
            let rate = Rate::parse(text).map(|rate| rate.bytes_per_second);
            assert_eq!(rate, Ok(NonZeroU64::new(bytes)), "{text}");
        }
        assert_eq!(Rate::parse("off"), Ok(Rate { bytes_per_second: None }));
        for (text, word) in [
            ("10", "unit"),
            ("", "no rate"),
            ("fast", "no rate"),
            ("-1MiB", "no rate"),
            ("8Mibit", "no rate"),
            ("10Mb", "bits or bytes"),
            ("1B", "too slow"),
            ("0MiB", "too slow"),
            ("100kbit", "too slow"),
        ] {
            let reason = Rate::parse(text).unwrap_err();
            assert!(reason.contains(word), "{text}: {reason}");
        }
    }

    #[test]
    fn numbers_and_times() {
        assert_eq!(parse_connections("10"), Ok(NonZeroUsize::new(10).unwrap()));
        for text in ["0", "257", "-1", "many", ""] {
            parse_connections(text).unwrap_err();
        }
        assert_eq!(parse_retry_for("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_retry_for("0s"), Ok(Duration::ZERO));
        for text in ["5", "-1s", "25h", "soon", ""] {
            parse_retry_for(text).unwrap_err();
        }
    }

    #[test]
    fn what_is_said_first_holds() {
        let off = Rate { bytes_per_second: None };
        let slow = Rate::parse("1MiB").unwrap();
        let first = LimitsGiven { upload: Some(off), ..LimitsGiven::default() };
        let second = LimitsGiven { upload: Some(slow), download: Some(slow), ..first };
        let limits = first.or(second).limits();
        assert_eq!(limits.upload_bytes_per_second, None);
        assert_eq!(limits.download_bytes_per_second, slow.bytes_per_second);
        assert_eq!(limits.retry_for, Limits::default().retry_for);
        assert!(limits.first_contact < limits.retry_for, "a wrong address is reported soon");
        let patient = LimitsGiven { retry_for: Some(Duration::from_mins(9)), ..first }.limits();
        assert_eq!(patient.first_contact, patient.retry_for);
    }
}
