//! What the user sees: results on stdout, everything else on stderr.
//!
//! The only place in the workspace that prints (with [`crate::progress`], which draws below what
//! was printed here). Text that came from elsewhere goes through [`printable`]: an app's log
//! line cannot move the cursor or retitle the terminal. Colour never carries meaning alone, so
//! every line reads the same without it. Nobody reading stdout any more ends the verb quietly.
//!
//! Start reading at [`Output`].

use std::{
    ffi::OsStr,
    fmt::Display,
    io::{self, Write},
};

use dozen_model::{
    hint::Hint,
    printable::{printable, printable_json},
};

use crate::{cli_error::CliError, settings::Environment};

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColourChoice {
    // Plain comments: documented variants would make every verb's help a screen longer.
    // On a terminal, unless `NO_COLOR` says otherwise.
    Auto,
    Always,
    Never,
}

/// How output looks, decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    /// Colour on stdout.
    pub(crate) colour_out: bool,
    /// Colour on stderr.
    pub(crate) colour_err: bool,
    /// Characters beyond ASCII in our own words.
    pub(crate) unicode: bool,
    /// Whether stderr is a terminal that can redraw lines.
    pub(crate) redraw: bool,
}

impl Style {
    /// Decides from `--color`, the environment and whether stdout and stderr are terminals.
    pub(crate) fn decide(choice: Option<ColourChoice>, env: &Environment, terminals: (bool, bool)) -> Self {
        let is = |name: &str, value: &str| env.get(name) == Some(OsStr::new(value));
        let dumb = env.get("TERM").is_none() || is("TERM", "dumb");
        let forced = env.get("CLICOLOR_FORCE").is_some() && !is("CLICOLOR_FORCE", "0");
        let colour = |terminal: bool| match choice.unwrap_or(ColourChoice::Auto) {
            ColourChoice::Always => true,
            ColourChoice::Never => false,
            ColourChoice::Auto if env.get("NO_COLOR").is_some() => false,
            ColourChoice::Auto => forced || (terminal && !dumb && !is("CLICOLOR", "0")),
        };
        // The first of these that is set decides, as in the C library.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| env.get(name));
        let locale = locale.and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
        Self {
            colour_out: colour(terminals.0),
            colour_err: colour(terminals.1),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            redraw: terminals.1 && !dumb,
        }
    }
}

/// A way to stress a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    /// Something to read first.
    Bold,
    /// Something to read last.
    Dim,
    /// Good.
    Green,
    /// Bad.
    Red,
    /// Take care.
    Yellow,
    /// A name.
    Cyan,
    /// Another name.
    Magenta,
    /// Yet another name.
    Blue,
}

impl Tint {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Green => "32",
            Self::Red => "1;31",
            Self::Yellow => "33",
            Self::Cyan => "36",
            Self::Magenta => "35",
            Self::Blue => "34",
        }
    }

    /// The text, tinted when `colour` allows it.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        if colour { format!("\x1b[{}m{text}\x1b[0m", self.code()) } else { text.to_owned() }
    }
}

/// Where a verb writes to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// How it looks.
    pub(crate) style: Style,
}

impl Output {
    /// A line of result, on stdout.
    pub(crate) fn result(&self, line: impl Display) -> Result<(), CliError> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// A value as JSON, on stdout, with nothing in it that a terminal would act on.
    pub(crate) fn json(&self, value: &impl serde::Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(|error| CliError::System {
            what: "the answer does not fit into JSON",
            source: error.into(),
        })?;
        self.result(printable_json(text))
    }

    /// Bytes of result, on stdout, as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(CliError::OutputClosed),
            Err(source) => Err(CliError::System { what: "stdout could not be written", source }),
            Ok(()) => Ok(()),
        }
    }

    /// A line for the user, on stderr.
    pub(crate) fn note(&self, line: impl Display) {
        self.aside(format!("{line}\n").as_bytes());
    }

    /// Bytes for the user, on stderr, as they are. Nobody reading stderr is no reason to stop.
    pub(crate) fn aside(&self, bytes: &[u8]) {
        let mut stderr = io::stderr().lock();
        drop(stderr.write_all(bytes).and_then(|()| stderr.flush()));
    }

    /// Something to take care of.
    pub(crate) fn warning(&self, text: &str) {
        self.note(self.labelled("warning", Tint::Yellow, text));
    }

    /// Advice.
    pub(crate) fn hint(&self, text: &str) {
        self.note(self.labelled("hint", Tint::Cyan, text));
    }

    /// Why a verb failed, with the log that explains it and what to do next.
    pub(crate) fn error(&self, error: &CliError) {
        for line in error.log_tail() {
            let line = format!("    {}", printable(line, false));
            self.note(Tint::Dim.paint(&line, self.style.colour_err));
        }
        self.note(self.labelled("error", Tint::Red, &error.chain()));
        if let Some(hint) = error.hint() {
            self.hint(&hint);
        }
    }

    /// What is wrong with the words of the command line.
    pub(crate) fn usage_error(&self, text: &str) {
        self.note(self.labelled("error", Tint::Red, text));
        self.note("\nFor more information, try '--help'.");
    }

    /// `label: text`, the label tinted, the text without control characters.
    pub(crate) fn labelled(&self, label: &str, tint: Tint, text: &str) -> String {
        let label = tint.paint(&format!("{label}:"), self.style.colour_err);
        format!("{label} {}", printable(text, false))
    }

    /// A word tinted for stdout.
    pub(crate) fn tint(&self, tint: Tint, text: &str) -> String {
        tint.paint(text, self.style.colour_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(choice: Option<ColourChoice>, vars: &[(&str, &str)], terminal: bool) -> bool {
        Style::decide(choice, &Environment::of(vars), (terminal, terminal)).colour_out
    }

    #[test]
    fn colour_needs_a_terminal_that_knows_it() {
        assert!(colour(None, &[("TERM", "xterm")], true));
        assert!(!colour(None, &[("TERM", "xterm")], false));
        assert!(!colour(None, &[("TERM", "dumb")], true));
        assert!(!colour(None, &[], true));
    }

    #[test]
    fn no_color_wins_over_the_terminal_and_the_flag_over_both() {
        assert!(!colour(None, &[("TERM", "xterm"), ("NO_COLOR", "1")], true));
        assert!(colour(None, &[("TERM", "xterm"), ("NO_COLOR", "")], true));
        assert!(!colour(None, &[("TERM", "xterm"), ("CLICOLOR", "0")], true));
        assert!(colour(None, &[("CLICOLOR_FORCE", "1")], false));
        assert!(colour(Some(ColourChoice::Always), &[("NO_COLOR", "1")], false));
        assert!(!colour(Some(ColourChoice::Never), &[("CLICOLOR_FORCE", "1")], true));
    }

    #[test]
    fn the_first_locale_variable_that_is_set_decides_about_unicode() {
        let unicode =
            |vars: &[(&str, &str)]| Style::decide(None, &Environment::of(vars), (false, false)).unicode;
        assert!(unicode(&[("LANG", "de_DE.UTF-8")]));
        assert!(!unicode(&[("LANG", "de_DE.UTF-8"), ("LC_ALL", "C")]));
        assert!(unicode(&[("LC_ALL", "C.utf8")]));
        assert!(!unicode(&[]));
    }
}
