//! How long a crashed instance waits before it is started again.

use std::time::Duration;

/// A life of this length starts the row anew.
pub(crate) const HEALTHY_LIFE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(60);

/// The pause after so many short lives in a row: 0, 1, 2, 4 … 60 s.
pub(crate) fn pause_after(short_lives: u32) -> Duration {
    match short_lives {
        0 => Duration::ZERO,
        n => Duration::from_secs(1 << (n - 1).min(6)).min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_the_pause_doubles_up_to_a_minute() {
        let seconds: Vec<u64> = (0..10).map(|lives| pause_after(lives).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause_after(u32::MAX).as_secs(), 60);
    }
}
