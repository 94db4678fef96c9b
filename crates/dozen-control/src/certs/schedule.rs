//! When something is done again: renewals well before the end, failed tries later and later.

use std::time::Duration;

use crate::seal::random;

/// After the first failed try; each further one waits twice as long …
const FIRST_WAIT: i64 = 5 * 60;
/// … up to this.
const LONGEST_WAIT: i64 = 12 * 3600;
/// When a server refuses for its limits and does not say for how long.
const LIMITED: Duration = Duration::from_secs(3600);

/// When the certificate with this number is renewed: at two thirds of its life, a little earlier
/// for most, so that many of the same age do not come on one day.
pub(crate) fn renewal(id: i64, not_before: i64, not_after: i64) -> i64 {
    let life = (not_after - not_before).max(0);
    // Neighbouring numbers land far apart: steps of the golden ratio.
    let part = (id.wrapping_mul(618_034)).rem_euclid(1_000_000);
    not_before + life * 2 / 3 - (life / 30).saturating_mul(part) / 1_000_000
}

/// The renewal of one that came just now: not before a third of what is left of it has gone, or a clock
/// that is ahead, or a certificate that was old when it came, would have us order without a pause.
pub(crate) fn not_at_once(now: i64, renewal: i64, not_after: i64) -> i64 {
    renewal.max(now + (not_after - now).max(3) / 3)
}

/// When a failed try is made again.
pub(crate) fn retry(now: i64, failures: u32) -> i64 {
    let doublings = failures.saturating_sub(1).min(20);
    let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
    now + wait + up_to(wait / 5)
}

/// Until when a server that limits us is left alone.
pub(crate) fn limited(now: i64, asked: Option<Duration>) -> i64 {
    let wait = i64::try_from(asked.unwrap_or(LIMITED).as_secs()).unwrap_or(LONGEST_WAIT);
    // A server is believed only so far: a wait of years is no wait.
    let wait = wait.clamp(1, 7 * 24 * 3600);
    now + wait + up_to(wait / 20)
}

/// A random number from zero up to this one.
fn up_to(most: i64) -> i64 {
    let mut bytes = [0; 4];
    random(&mut bytes);
    i64::from(u32::from_le_bytes(bytes)) % (most.max(0) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_before_two_thirds_of_its_life() {
        let day = 24 * 3600;
        for id in 0..100 {
            let at = renewal(id, 0, 90 * day);
            assert_eq!(at, renewal(id, 0, 90 * day));
            assert!((57 * day..=60 * day).contains(&at), "{at}");
        }
        assert!((renewal(1, 0, 90 * day) - renewal(2, 0, 90 * day)).abs() > day / 2);
        assert_eq!(renewal(7, 100, 109), 106);
    }

    #[test]
    fn a_certificate_that_is_old_when_it_comes_is_not_ordered_again_at_once() {
        let day = 24 * 3600;
        assert_eq!(not_at_once(80 * day, 60 * day, 90 * day), 80 * day + 10 * day / 3);
        assert_eq!(not_at_once(0, 60 * day, 90 * day), 60 * day);
        assert_eq!(not_at_once(100, 60, 100), 101);
    }

    #[test]
    fn failed_tries_wait_longer_and_longer() {
        for (failures, least, most) in [(1, 300, 360), (2, 600, 720), (4, 2400, 2880), (30, 43200, 51840)] {
            let at = retry(0, failures);
            assert!((least..=most).contains(&at), "{failures}: {at}");
        }
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks() {
        assert_eq!(limited(1000, Some(Duration::from_secs(2))), 1002);
        assert!(limited(0, None) >= 3600);
        assert!(limited(0, Some(Duration::from_secs(u64::MAX))) <= 8 * 24 * 3600);
    }
}
