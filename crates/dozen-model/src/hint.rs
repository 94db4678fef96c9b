//! What the reader of an error can do next.

/// An error that may know what its reader can do about it.
///
/// A hint is one sentence without a full stop, in lower case. A command in it stands in
/// backticks and exists: a test parses each one with the real command line.
pub trait Hint {
    /// The next step, or `None` where any advice would be vague.
    fn hint(&self) -> Option<String> {
        None
    }
}
