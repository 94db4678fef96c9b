//! Times and durations as people say them: `3 minutes ago`, `2h 5m`, `--since 10m`.

use jiff::{Timestamp, Zoned, fmt::strtime};

/// How long ago a moment was.
pub(crate) fn ago(unix_seconds: i64, now: i64) -> String {
    let seconds = now.saturating_sub(unix_seconds);
    let say = |count: i64, unit: &str| format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" });
    match seconds {
        ..5 => "just now".to_owned(),
        5..60 => say(seconds, "second"),
        60..3_600 => say(seconds / 60, "minute"),
        3_600..86_400 => say(seconds / 3_600, "hour"),
        _ => say(seconds / 86_400, "day"),
    }
}

/// A duration in its two largest units.
pub(crate) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ ..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m {}s", s / 60, s % 60),
        s @ 3_600..86_400 => format!("{}h {}m", s / 3_600, s % 3_600 / 60),
        s => format!("{}d {}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// A duration in milliseconds, with a tenth below a minute.
pub(crate) fn took(milliseconds: u64) -> String {
    if milliseconds < 60_000 {
        return format!("{}.{}s", milliseconds / 1_000, milliseconds % 1_000 / 100);
    }
    span(i64::try_from(milliseconds / 1_000).unwrap_or(i64::MAX))
}

/// A moment in the reader's time zone.
pub(crate) fn local(unix_seconds: i64) -> String {
    let Ok(moment) = Timestamp::from_second(unix_seconds) else { return unix_seconds.to_string() };
    let here: Zoned = moment.to_zoned(jiff::tz::TimeZone::system());
    strtime::format("%Y-%m-%d %H:%M:%S", &here).unwrap_or_else(|_| moment.to_string())
}

/// The log's time stamp: UTC, microseconds, with its offset.
pub(crate) fn log_stamp(unix_nanoseconds: u64) -> String {
    let moment = Timestamp::from_nanosecond(i128::from(unix_nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH);
    let utc = moment.to_zoned(jiff::tz::TimeZone::UTC);
    strtime::format("%Y-%m-%dT%H:%M:%S.%6f+00:00", &utc).unwrap_or_default()
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// The moment that `--since` means: `30s`, `10m`, `2h`, `1d` before now, or a time stamp.
pub(crate) fn since(text: &str) -> Result<u64, String> {
    let refused = || {
        "write a duration such as `10m`, `2h` or `1d`, or a time such as `2026-11-22T10:00:00Z`".to_owned()
    };
    let nanoseconds = match text.parse::<Timestamp>() {
        Ok(moment) => moment.as_nanosecond(),
        Err(_) => {
            Timestamp::now().as_nanosecond() - i128::from(duration(text).ok_or_else(refused)?) * 1_000_000_000
        }
    };
    u64::try_from(nanoseconds).map_err(|_| refused())
}

/// Seconds of `90s`, `10m`, `2h` or `1d`.
fn duration(text: &str) -> Option<u64> {
    let unit = text.chars().last()?;
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let number = &text[..text.len() - unit.len_utf8()];
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| number.parse::<u64>().ok()?.checked_mul(each)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_in_its_largest_unit() {
        for (before, said) in [
            (0, "just now"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7_200, "2 hours ago"),
            (86_400, "1 day ago"),
        ] {
            assert_eq!(ago(1_000_000 - before, 1_000_000), said);
        }
    }

    #[test]
    fn a_span_has_two_units() {
        assert_eq!([span(59), span(61), span(3_660), span(90_000)], ["59s", "1m 1s", "1h 1m", "1d 1h"]);
        assert_eq!([took(140), took(61_000)], ["0.1s", "1m 1s"]);
    }

    #[test]
    fn since_takes_durations_and_time_stamps_only() {
        assert_eq!(since("2026-11-22T10:00:00Z").unwrap(), 1_795_341_600_000_000_000);
        for good in ["30s", "10m", "2h", "1d"] {
            assert!(since(good).is_ok(), "{good}");
        }
        for bad in ["", "10", "m", "-5m", "+5m", "1w", "ten", "99999999999999999d", "1970", "5é"] {
            assert!(since(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_log_stamp_has_microseconds_and_its_offset() {
        assert_eq!(log_stamp(1_795_341_600_123_456_789), "2026-11-22T10:00:00.123456+00:00");
    }
}
