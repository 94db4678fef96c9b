//! Merging streams by time, each one's own order kept.

use crate::LogLine;

/// The most bytes of text that one read holds.
const MAX_BYTES: usize = 64 << 20;

/// Merges two runs of lines by time, and by stream where the times are the same. The order within a run stays even where its times go
/// backwards: a clock may be set, but what a process wrote first stands first.
pub(crate) fn merge(left: Vec<LogLine>, right: Vec<LogLine>) -> Vec<LogLine> {
    if left.is_empty() || right.is_empty() {
        return if left.is_empty() { right } else { left };
    }
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let left_first = (a.time_ns, &a.stream) <= (b.time_ns, &b.stream);
        let earlier = if left_first { left.next() } else { right.next() };
        merged.extend(earlier);
    }
    merged.extend(left);
    merged.extend(right);
    merged
}

/// The newest lines of all that it was given, up to a number of lines and bytes.
#[derive(Debug)]
pub(crate) struct Newest {
    limit: usize,
    lines: Vec<LogLine>,
}

impl Newest {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, lines: Vec::new() }
    }

    pub(crate) fn add(&mut self, lines: Vec<LogLine>) {
        self.lines = merge(std::mem::take(&mut self.lines), lines);
        let surplus = self.lines.len().saturating_sub(self.limit).max(surplus_by_bytes(&self.lines));
        self.lines.drain(..surplus);
    }

    /// The time of the oldest line kept, once there are as many as wanted: what is older than
    /// that need not be read.
    pub(crate) fn floor(&self) -> Option<u64> {
        if self.limit == 0 {
            return Some(u64::MAX);
        }
        (self.lines.len() >= self.limit).then(|| self.lines[0].time_ns)
    }

    pub(crate) fn into_lines(self) -> Vec<LogLine> {
        self.lines
    }
}

fn surplus_by_bytes(lines: &[LogLine]) -> usize {
    let mut bytes = 0;
    let fitting = lines.iter().rev().take_while(|line| {
        bytes += line.text.len();
        bytes <= MAX_BYTES
    });
    lines.len() - fitting.count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, StreamId};

    fn line(time_ns: u64, stream: &str) -> LogLine {
        LogLine {
            time_ns,
            source: Source::App,
            process: "web.1".to_owned(),
            stream: StreamId(stream.to_owned()),
            text: Vec::new(),
            continued: false,
            unfinished: false,
            dropped: None,
        }
    }

    fn order(lines: &[LogLine]) -> Vec<(u64, &str)> {
        lines.iter().map(|line| (line.time_ns, line.stream.as_str())).collect()
    }

    #[test]
    fn streams_merge_by_time_and_keep_their_own_order() {
        let merged = merge(vec![line(1, "a"), line(9, "a"), line(4, "a")], vec![line(2, "b"), line(9, "b")]);
        assert_eq!(order(&merged), [(1, "a"), (2, "b"), (9, "a"), (4, "a"), (9, "b")]);
    }

    #[test]
    fn only_the_newest_lines_are_kept() {
        let mut newest = Newest::new(2);
        newest.add(vec![line(1, "a"), line(5, "a")]);
        assert_eq!(newest.floor(), Some(1));
        newest.add(vec![line(3, "b"), line(4, "b")]);

        assert_eq!(newest.floor(), Some(4));
        assert_eq!(order(&newest.into_lines()), [(4, "b"), (5, "a")]);
    }
}
