//! What a build tells its listener while it runs.
//!
//! Lines are redacted and cut before they get here; escaping them for a screen is the
//! listener's part.

use std::time::Duration;

/// Listens to one build. Every call returns quickly: the build waits for it.
pub trait BuildEvents {
    /// A step begins.
    fn step_started(&mut self, step: &str);
    /// A step wrote one line.
    fn line(&mut self, step: &str, line: &str);
    /// A step ended well; `decision` is one line that says what it did and why.
    fn step_ended(&mut self, step: &str, decision: &str, took: Duration);
}

/// Listens to nothing.
#[derive(Debug, Default)]
pub struct Unheard;

impl BuildEvents for Unheard {
    fn step_started(&mut self, _: &str) {}
    fn line(&mut self, _: &str, _: &str) {}
    fn step_ended(&mut self, _: &str, _: &str, _: Duration) {}
}
