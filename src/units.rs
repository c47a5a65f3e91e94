//! Numbers and units: conversions that cannot lose, and figures as people read them.

use std::fmt;

// Offsets and lengths in memory are `usize`; the format's are up to `u64`.
const _: () = assert!(usize::BITS == 64, "Backstay runs on 64-bit machines only");

/// One KiB in bytes.
pub const KIB: usize = 1024;
/// One MiB in bytes.
pub const MIB: usize = 1024 * KIB;

/// Lossless on every machine that Backstay compiles for.
#[expect(clippy::cast_possible_truncation, reason = "asserted above: usize is 64 bits")]
pub const fn to_usize(value: u64) -> usize {
    value as usize
}

/// Lossless on every machine that Backstay compiles for.
pub const fn to_u64(value: usize) -> u64 {
    value as u64
}

/// Shows a byte count with a binary unit: `0 B`, `1.5 KiB`, `12.0 MiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in UNITS {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        f.pad(&format!("{value:.1} {unit}"))
    }
}

/// Parses a byte count as a person writes it: `4096`, `64KiB`, `64k`, `1.5 GiB`, `32MB`.
/// Decimal units (`kB`, `MB`) are powers of 1000; binary ones and single letters powers of 1024.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "range checked")]
    (value.is_finite() && (0.0..=9.0e18).contains(&value)).then_some(value as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(Bytes(u64::MAX).to_string(), "16.0 EiB");
    }

    #[test]
    fn bytes_parse() {
        assert_eq!(parse_bytes("64KiB"), Some(65_536));
        assert_eq!(parse_bytes("1.5 g"), Some(1_610_612_736));
        assert_eq!(parse_bytes("32MB"), Some(32_000_000));
        assert_eq!(parse_bytes("-1"), None);
        assert_eq!(parse_bytes("1 parsec"), None);
        assert_eq!(parse_bytes("99999999999999t"), None);
    }
}
