//! Long work as the user sees it: one line for each step that ended.
//!
//! On a terminal the step under way is drawn below those lines, with a spinner and the tail of its
//! log; elsewhere (a pipe, CI, `git push`) its log lines are printed as they come. All of it goes
//! to stderr. What the server sends is made printable first.
//!
//! ```text
//!   ✓ Dependencies              uv.lock unchanged, layer reused  0.1s
//!   ⠹ Running the release phase
//!       Applying blog.0003_tags... OK
//! ```
//!
//! It draws events and decides nothing: [`crate::follow`] does.
//!
//! Start reading at [`ProgressView::event`].

use std::{collections::VecDeque, time::Instant};

use dozen_control::api::wire::Progress;
use dozen_model::printable::printable;

use crate::{
    output::{Output, Style, Tint},
    time_words::took,
};

mod live;

use live::LiveStep;

/// Titles are padded to this, so that results stand in a column.
const TITLE_WIDTH: usize = 27;

/// An error's log tail has at most so many lines.
const LONGEST_TAIL: usize = 100;

/// Draws the events of one piece of work.
pub(crate) struct ProgressView {
    out: Output,
    step: Option<OpenStep>,
    /// The last log lines that stay on the screen, as the server sent them.
    shown: VecDeque<String>,
}

/// The step under way.
struct OpenStep {
    name: String,
    title: String,
    since: Instant,
    /// Drawn on a terminal; absent elsewhere.
    live: Option<LiveStep>,
    /// Elsewhere: whether its title stands above log lines already.
    announced: bool,
}

/// The marks before a line.
struct Marks {
    done: &'static str,
    failed: &'static str,
    open: &'static str,
}

fn marks(style: Style) -> Marks {
    if style.unicode {
        Marks { done: "✓", failed: "✗", open: "…" }
    } else {
        Marks { done: "+", failed: "x", open: "." }
    }
}

impl ProgressView {
    /// A view that has drawn nothing yet.
    pub(crate) fn new(out: Output) -> Self {
        Self { out, step: None, shown: VecDeque::new() }
    }

    /// A view that shows every log line, as where there is no terminal to draw on.
    pub(crate) fn whole(mut out: Output) -> Self {
        out.style.redraw = false;
        Self::new(out)
    }

    /// Draws one event. The last one ends what is drawn live; its outcome is the caller's to tell.
    pub(crate) fn event(&mut self, event: &Progress) {
        match event {
            Progress::Queued { waiting: true, .. } => {
                self.say("waiting for another deploy of this stage to end")
            }
            Progress::Queued { .. } => {}
            Progress::Step { step, title } => self.begin(step, title),
            Progress::Log { line } => self.log(line),
            Progress::Done { step, result, took_ms } => self.end(step, result, *took_ms),
            Progress::Warning { text } => self.print(&self.out.labelled("warning", Tint::Yellow, text)),
            Progress::Hint { text } => self.print(&self.out.labelled("hint", Tint::Cyan, text)),
            Progress::Finished { error, .. } => self.finish(error.is_some()),
        }
    }

    /// Whether these lines were the last of the log and are on the screen already.
    pub(crate) fn has_shown(&self, tail: &[String]) -> bool {
        let mut shown = self.shown.iter().rev();
        tail.iter().rev().filter(|line| !line.trim().is_empty()).all(|line| shown.next() == Some(line))
    }

    /// A step of our own.
    pub(crate) fn begin(&mut self, step: &str, title: &str) {
        self.finish(false);
        let title = printable(title, false).into_owned();
        let live = self.out.style.redraw.then(|| LiveStep::begin(self.out.style, &title));
        let step = step.to_owned();
        self.step = Some(OpenStep { name: step, title, since: Instant::now(), live, announced: false });
    }

    /// The end of a step of our own.
    pub(crate) fn done(&mut self, step: &str, result: &str) {
        let took = self.step.as_ref().map_or(0, |open| open.since.elapsed().as_millis());
        self.end(step, result, u64::try_from(took).unwrap_or(u64::MAX));
    }

    /// A line between the steps.
    pub(crate) fn say(&mut self, text: &str) {
        self.print(&Tint::Dim.paint(&format!("  {}", printable(text, false)), self.out.style.colour_err));
    }

    /// Takes away what is drawn live; a step that did not end is marked when it failed.
    pub(crate) fn finish(&mut self, failed: bool) {
        let Some(step) = self.step.take() else { return };
        if failed {
            let mark = Tint::Red.paint(marks(self.out.style).failed, self.out.style.colour_err);
            let line = format!("  {mark} {}", step.title);
            print_above(&step, &self.out, &line);
        }
        if let Some(live) = step.live {
            live.clear();
        }
    }

    fn log(&mut self, line: &str) {
        let text = printable(line, false);
        if text.trim().is_empty() {
            return;
        }
        let Some(step) = &mut self.step else {
            return self.out.note(Tint::Dim.paint(&format!("      {text}"), self.out.style.colour_err));
        };
        if let Some(live) = &mut step.live {
            return live.log(&text);
        }
        if !step.announced {
            step.announced = true;
            self.out.note(format!("  {} {}", marks(self.out.style).open, step.title));
        }
        self.out.note(format!("      {text}"));
        if self.shown.len() == LONGEST_TAIL {
            self.shown.pop_front();
        }
        self.shown.push_back(line.to_owned());
    }

    fn end(&mut self, step: &str, result: &str, took_ms: u64) {
        // A step that ended without having begun is told by its stable name.
        let open = self.step.take().filter(|open| open.name == step);
        let title = open.as_ref().map_or(step, |open| open.title.as_str());
        let colour = self.out.style.colour_err;
        let mark = Tint::Green.paint(marks(self.out.style).done, colour);
        let result = printable(result, false);
        let time = Tint::Dim.paint(&took(took_ms), colour);
        let gap = if result.is_empty() { "" } else { "  " };
        // A title that fills its column still stands apart from the result.
        let title = format!("{title}  ");
        let line = format!("  {mark} {title:<TITLE_WIDTH$}{result}{gap}{time}");
        match open {
            Some(open) => {
                print_above(&open, &self.out, &line);
                if let Some(live) = open.live {
                    live.clear();
                }
            }
            None => self.out.note(line),
        }
    }

    /// A whole line above what is drawn live.
    fn print(&self, line: &str) {
        match &self.step {
            Some(step) => print_above(step, &self.out, line),
            None => self.out.note(line),
        }
    }
}

fn print_above(step: &OpenStep, out: &Output, line: &str) {
    match &step.live {
        Some(live) => live.above(|| out.note(line)),
        None => out.note(line),
    }
}
