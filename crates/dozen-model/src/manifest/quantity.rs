//! Durations, sizes and CPU shares as a manifest writes them: `30s`, `512M`, `500m`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::Hsts;
use crate::excerpt::excerpt;

/// A text that is not the quantity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: write it as {example}")]
pub struct NotAQuantity {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// The longest duration a manifest may ask for.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads `30s`, `5m`, `1h30m` or `500ms`: whole numbers, each with its unit, largest first or not,
/// at most a week in all.
pub fn parse_duration(text: &str) -> Result<Duration, NotAQuantity> {
    duration_up_to(text, LONGEST, "`30s`, `5m` or `1h` (a week at most)")
}

/// The same for times in days and years: ten years at most.
pub fn parse_long_duration(text: &str) -> Result<Duration, NotAQuantity> {
    duration_up_to(text, Hsts::LONGEST, "`180d` or `365d` (3650 days at most)")
}

fn duration_up_to(text: &str, longest: Duration, example: &'static str) -> Result<Duration, NotAQuantity> {
    let refused = || NotAQuantity { text: excerpt(text), what: "a duration", example };
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or_else(refused)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let milliseconds: u64 = match &after[..unit_end] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refused()),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis).ok_or_else(refused)?;
        total = total.checked_add(part).filter(|sum| *sum <= longest).ok_or_else(refused)?;
        rest = &after[unit_end..];
    }
    if text.is_empty() { Err(refused()) } else { Ok(total) }
}

/// A number of bytes, written with a unit of 1024: `64K`, `512M`, `1G`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = NotAQuantity;

    /// Reads `512M`, also `512MB` and `512MiB`; a unit is required and zero is refused.
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let refused =
            || NotAQuantity { text: excerpt(text), what: "a size", example: "`64K`, `512M` or `2G`" };
        let (number, unit) = leading_number(text).ok_or_else(refused)?;
        let shift = match unit.to_ascii_uppercase().as_str() {
            "B" => 0,
            "K" | "KB" | "KI" | "KIB" => 10,
            "M" | "MB" | "MI" | "MIB" => 20,
            "G" | "GB" | "GI" | "GIB" => 30,
            "T" | "TB" | "TI" | "TIB" => 40,
            _ => return Err(refused()),
        };
        let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes > 0 && *bytes < 1 << 60);
        bytes.map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for ByteSize {
    /// Writes the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        match units.iter().find(|(shift, _)| self.0 != 0 && self.0.trailing_zeros() >= *shift) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// CPU time as thousandths of one CPU, written `500m`, `1` or `1.5`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuLimit(pub u32);

impl CpuLimit {
    /// Thousandths of one CPU.
    pub fn thousandths(self) -> u32 {
        self.0
    }
}

impl FromStr for CpuLimit {
    type Err = NotAQuantity;

    /// Reads `500m`, `2` or `1.5`, from a hundredth of a CPU to 1024 of them.
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        let refused =
            || NotAQuantity { text: excerpt(text), what: "a CPU limit", example: "`500m`, `1` or `1.5`" };
        let (whole, rest) = leading_number(text).ok_or_else(refused)?;
        let thousandths = match rest {
            "m" => Some(whole),
            "" => whole.checked_mul(1000),
            _ => {
                let digits =
                    rest.strip_prefix('.').filter(|d| (1..=3).contains(&d.len())).ok_or_else(refused)?;
                let (part, "") = leading_number(digits).ok_or_else(refused)? else { return Err(refused()) };
                let scale = [100, 10, 1][digits.len() - 1];
                whole.checked_mul(1000).and_then(|sum| sum.checked_add(part * scale))
            }
        };
        let fits = thousandths.filter(|t| (10..=1_024_000).contains(t)).and_then(|t| u32::try_from(t).ok());
        fits.map(Self).ok_or_else(refused)
    }
}

impl fmt::Display for CpuLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

/// The decimal number `text` starts with, and what follows it.
fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    // Eighteen digits fit a u64 with room for a unit's check.
    let number = text[..end].parse().ok().filter(|_| end <= 18)?;
    Some((number, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_whole_numbers_with_units() {
        let of = |text| parse_duration(text).unwrap();
        assert_eq!(of("30s"), Duration::from_secs(30));
        assert_eq!(of("5m"), Duration::from_secs(300));
        assert_eq!(of("1h30m"), Duration::from_secs(5400));
        assert_eq!(of("250ms"), Duration::from_millis(250));
        assert_eq!(of("0s"), Duration::ZERO);
        for bad in [
            "",
            "30",
            "s",
            "1.5h",
            "-1s",
            "30 s",
            "1y",
            "8d",
            "99999999999999999999s",
            "999999999999999999d",
            "1s2",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_has_a_unit_and_is_written_back_as_it_was() {
        for (text, bytes) in [("64K", 64 << 10), ("512M", 512 << 20), ("2G", 2 << 30), ("1000B", 1000)] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.bytes(), size.to_string().as_str()), (bytes, text));
        }
        assert_eq!("512MiB".parse(), "512mb".parse::<ByteSize>());
        for bad in ["", "512", "0M", "1.5G", "M", "-1M", "1X", "9999999999999T", "1é"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cpu_limit_is_read_in_thousandths() {
        for (text, thousandths) in [("500m", 500), ("1", 1000), ("1.5", 1500), ("0.25", 250), ("2.125", 2125)]
        {
            assert_eq!(text.parse::<CpuLimit>().unwrap().thousandths(), thousandths, "{text}");
        }
        assert_eq!(CpuLimit(1500).to_string(), "1500m");
        assert_eq!(CpuLimit(2000).to_string(), "2");
        for bad in ["", "0", "9m", "1.", "1.2345", "1.5m", "-1", "1.x", "2000", "1,5"] {
            assert!(bad.parse::<CpuLimit>().is_err(), "{bad}");
        }
    }
}
