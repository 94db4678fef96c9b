//! Where a reader stands: a position in every stream that it has read from.
//!
//! A cursor outlives the reader: it can be stored, and a later read goes on from it without
//! giving a line twice or leaving one out. A stream that it does not name is new and is read
//! from its beginning.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// The name of a stream within its stage: `web.1~4f0c` for an app stream (instance and launch),
/// `dozen` for the platform's own, `router` for the access lines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamId(pub(crate) String);

impl StreamId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place between two lines (or two pieces of one long line) of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The number of the file.
    pub file: u64,
    /// The offset of the next byte in it.
    pub offset: u64,
    /// How many index records are behind; 0 in a stream without an index.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub records: u64,
    /// Whether the next byte continues a line whose first piece was given out.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mid_line: bool,
}

/// Where a reader stands in all the streams of a stage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub(crate) BTreeMap<StreamId, Position>);

impl Cursor {
    /// The position in one stream, or `None` where nothing of it was read yet.
    pub fn position(&self, stream: &StreamId) -> Option<Position> {
        self.0.get(stream).copied()
    }

    /// What of it is not in an `earlier` one: [`Cursor::advance`] adds it there.
    pub fn since(&self, earlier: &Self) -> Self {
        let moved = self.0.iter().filter(|(stream, position)| earlier.0.get(stream) != Some(position));
        Self(moved.map(|(stream, position)| (stream.clone(), *position)).collect())
    }

    /// Takes over the positions of a later one, which need not name each stream.
    pub fn advance(&mut self, later: Self) {
        self.0.extend(later.0);
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_moved_brings_an_earlier_cursor_to_the_later_one() {
        let at = |offset| Position { offset, ..Position::default() };
        let stream = |name: &str| StreamId(name.to_owned());
        let mut earlier = Cursor([(stream("a"), at(1)), (stream("b"), at(2))].into());
        let later = Cursor([(stream("a"), at(1)), (stream("b"), at(5)), (stream("c"), at(3))].into());
        let moved = later.since(&earlier);
        assert_eq!(moved.0.len(), 2);
        earlier.advance(moved);
        assert_eq!(earlier, later);
        assert_eq!(later.since(&later), Cursor::default());
    }
}
