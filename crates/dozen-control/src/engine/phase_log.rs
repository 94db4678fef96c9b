//! The release phase's lines on their way to whoever follows the change, while the phase runs.
//!
//! They are read from the phase's own stream of the log, so a phase that outlives its server is
//! heard to its end by the next one. What that server finds told already is not told twice. A phase
//! that writes without end is told up to [`MOST_TOLD`]; `dozen logs` has the rest.

use std::collections::VecDeque;

use dozen_logs::{Cursor, LogQuery};

use super::Change;
use crate::{launcher::Loaded, store::LaunchRow};

/// Bytes of events that are passed on.
const MOST_TOLD: usize = 4 << 20;
/// What an event takes beside its line.
const EVENT: usize = 32;

/// A reader of one phase's lines.
pub(super) struct PhaseLog<'a> {
    change: &'a Change,
    query: LogQuery,
    secrets: Vec<Vec<u8>>,
    /// Lines that an earlier server told, oldest first.
    told: VecDeque<String>,
    /// Bytes that were told, by an earlier server too.
    bytes: usize,
}

impl<'a> PhaseLog<'a> {
    /// A reader of the phase from its first line on.
    pub(super) fn of(change: &'a Change, launch: &LaunchRow, loaded: &Loaded) -> Self {
        let stage = change.key();
        let folder = change.control.log_dir(stage, launch);
        let mut query = LogQuery::new(stage.app.clone(), stage.stage.clone());
        query.stream = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        query.from = Some(Cursor::default());
        let told: VecDeque<String> = change.work.progress.lines_since("release-phase").into();
        let bytes = told.iter().map(|line| line.len() + EVENT).sum();
        Self { change, query, secrets: loaded.config.secrets(), told, bytes }
    }

    /// Tells what is new; whether there was anything.
    pub(super) fn pass_on(&mut self) -> bool {
        if self.bytes >= MOST_TOLD {
            return false;
        }
        // A log that cannot be read now is read at the next look, and `dozen logs` has it all.
        let Ok(page) = self.change.control.logs.read(&self.query) else { return false };
        self.query.from = Some(page.cursor);
        for line in &page.lines {
            let text = dozen_build::redaction::redact(&line.text, &self.secrets);
            let text = String::from_utf8_lossy(&text).into_owned();
            match self.told.iter().position(|told| *told == text) {
                Some(at) => drop(self.told.drain(..=at)),
                None => {
                    self.bytes += text.len() + EVENT;
                    self.change.work.progress.line(text);
                }
            }
            if self.bytes >= MOST_TOLD {
                let limit = MOST_TOLD >> 20;
                let text = format!("(more than {limit} MiB of output; the rest is in `dozen logs`)");
                self.change.work.progress.line(text);
                return false;
            }
        }
        !page.lines.is_empty()
    }

    /// Tells the last lines of a phase that has ended: its shim says so only once they are in the log.
    pub(super) fn pass_on_the_rest(mut self) {
        while self.pass_on() {}
    }
}
