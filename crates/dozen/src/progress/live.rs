//! The step under way, drawn on a terminal: a spinner, its title, and the last lines of its log.

use std::{collections::VecDeque, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::{Style, Tint};

/// Lines of the log that are shown.
const TAIL: usize = 5;

/// A step being drawn. Dropping it leaves nothing on the screen.
pub(super) struct LiveStep {
    bars: MultiProgress,
    spinner: ProgressBar,
    tail_bar: ProgressBar,
    tail: VecDeque<String>,
    style: Style,
}

impl LiveStep {
    /// Begins to draw a step.
    pub(super) fn begin(style: Style, title: &str) -> Self {
        let bars = MultiProgress::new();
        let spinner = bars.add(ProgressBar::new_spinner());
        let ticks = if style.unicode { "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ " } else { "-\\|/ " };
        spinner.set_style(template("  {spinner} {wide_msg}").tick_chars(ticks));
        spinner.set_message(title.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(100));
        let tail_bar = bars.add(ProgressBar::new_spinner());
        tail_bar.set_style(template("{msg}"));
        Self { bars, spinner, tail_bar, tail: VecDeque::new(), style }
    }

    /// A line of the step's log.
    pub(super) fn log(&mut self, line: &str) {
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        let width = columns().saturating_sub(8);
        self.tail.push_back(line.replace('\t', "    ").chars().take(width).collect());
        let lines =
            self.tail.iter().map(|line| Tint::Dim.paint(&format!("      {line}"), self.style.colour_err));
        self.tail_bar.set_message(lines.collect::<Vec<_>>().join("\n"));
    }

    /// Runs `print` while nothing is drawn.
    pub(super) fn above(&self, print: impl FnOnce()) {
        self.bars.suspend(print);
    }

    /// Takes the drawing away.
    pub(super) fn clear(self) {
        self.spinner.finish_and_clear();
        self.tail_bar.finish_and_clear();
    }
}

impl Drop for LiveStep {
    fn drop(&mut self) {
        self.spinner.finish_and_clear();
        self.tail_bar.finish_and_clear();
    }
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// The terminal's width; some terminals do not know theirs and say 0.
fn columns() -> usize {
    let known = rustix::termios::tcgetwinsize(std::io::stderr()).ok().filter(|size| size.ws_col > 0);
    known.map_or(80, |size| usize::from(size.ws_col)).max(20)
}
