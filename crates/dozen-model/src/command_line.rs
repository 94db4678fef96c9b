//! A Procfile's command line, turned into arguments without a shell where that is possible.
//!
//! A shell between us and the app costs a process, does not pass SIGTERM on (dash) and would run
//! whatever a config var's value says. So the common subset is done here, by POSIX rules: quotes,
//! backslashes, `$VAR`, `${VAR}`, `${VAR:-x}` and `${VAR-x}` with field splitting, assignments
//! before the command, a comment, a leading `exec`. Anything else that means something to a shell
//! (`|`, `&&`, redirections, globs, `$(..)`, builtins …) makes the line a script for `sh -c`.
//!
//! One difference is meant: a *value* is never expanded as a pattern. `sh` would turn a config
//! var `*` in `--hosts=$HOSTS` into the names of files, if some matched.
//!
//! Which variables exist is the caller's matter; nothing is executed here.
//!
//! Start reading at [`CommandTemplate::parse`], then [`CommandTemplate::expand`].

use std::{collections::BTreeSet, fmt};

use crate::hint::Hint;

mod expansion;
mod syntax;
#[cfg(test)]
mod tests;

/// A command line that was read once and can be expanded for any environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandTemplate {
    form: Form,
}

/// What a command line is for one environment.
///
/// It may hold values of config vars, so `Debug` shows names and numbers only.
#[derive(Clone, PartialEq, Eq)]
pub struct Expanded {
    /// Variables that the line sets for its command, in order; they win over the environment.
    pub env: Vec<(String, Vec<u8>)>,
    /// What to execute.
    pub command: Command,
}

impl fmt::Debug for Expanded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Expanded").field("env", &names).field("command", &self.command).finish()
    }
}

/// What to execute. `Debug` does not show the arguments: some may be values of config vars.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments; there is at least the program.
    Exec {
        /// The program's name, looked up in `PATH`, and its arguments.
        argv: Vec<Vec<u8>>,
    },
    /// A script for `sh -c`, as it was written: the shell expands it from the environment.
    Shell {
        /// The script.
        script: String,
    },
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec { argv } => f.debug_struct("Exec").field("words", &argv.len()).finish(),
            // As the Procfile has it: no value was put into it.
            Self::Shell { script } => f.debug_struct("Shell").field("script", script).finish(),
        }
    }
}

/// Why a line is no command. None of these quotes the line or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandLineError {
    /// No word is left to execute.
    #[error("the command line has no command")]
    Empty,
    /// A quote or a brace that nothing closes.
    #[error("the command line does not close its `{open}`")]
    Unclosed {
        /// What opened it.
        open: &'static str,
    },
    /// A NUL, which no argument can hold.
    #[error("the command line holds a NUL character")]
    Nul,
    /// More than a program can be given.
    #[error("the command line is longer than {} bytes", CommandTemplate::LIMIT)]
    TooLong,
}

impl Hint for CommandLineError {}

/// What a shell leaves out between words, and between commands.
const BLANKS: [char; 3] = [' ', '\t', '\n'];

/// The two ways to run a line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Simple { assignments: Vec<(String, Word)>, words: Vec<Word> },
    Shell { script: String },
}

/// One word of a simple command: pieces side by side.
type Word = Vec<Piece>;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// Text that stands for itself; quoted text makes a field even when it is empty.
    Literal { text: String, quoted: bool },
    /// A variable, and what stands in for it.
    Variable { name: String, fallback: Option<Fallback>, quoted: bool },
}

/// What stands in for a variable that is unset: `${NAME-word}`, or also empty: `${NAME:-word}`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fallback {
    word: Word,
    when_empty: bool,
}

impl CommandTemplate {
    /// The most bytes a line may have, and all that it expands to together.
    pub const LIMIT: usize = 1 << 20;

    /// Reads a command line, such as `gunicorn app.wsgi --bind :$PORT`.
    pub fn parse(line: &str) -> Result<Self, CommandLineError> {
        if line.len() > Self::LIMIT {
            return Err(CommandLineError::TooLong);
        }
        if line.contains('\0') {
            return Err(CommandLineError::Nul);
        }
        // A backslash may make the last blank a part of the last word.
        let trimmed = line.trim_matches(BLANKS);
        let line = if trimmed.ends_with('\\') { line.trim_start_matches(BLANKS) } else { trimmed };
        Ok(Self { form: syntax::read(line)? })
    }

    /// Whether the line needs a shell.
    pub fn needs_shell(&self) -> bool {
        matches!(self.form, Form::Shell { .. })
    }

    /// The names of the variables that the line reads; nothing is known about a shell's script.
    pub fn variables(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        if let Form::Simple { assignments, words } = &self.form {
            let all = assignments.iter().map(|(_, word)| word).chain(words);
            all.for_each(|word| variables_of(word, &mut names));
        }
        names
    }

    /// The command for the environment that `lookup` answers for; a variable without a value
    /// there is empty, as for `sh`.
    pub fn expand(&self, lookup: impl Fn(&str) -> Option<Vec<u8>>) -> Result<Expanded, CommandLineError> {
        match &self.form {
            Form::Shell { script } => {
                Ok(Expanded { env: Vec::new(), command: Command::Shell { script: script.clone() } })
            }
            Form::Simple { assignments, words } => expansion::expand(assignments, words, &lookup),
        }
    }
}

fn variables_of<'a>(word: &'a Word, names: &mut BTreeSet<&'a str>) {
    for piece in word {
        if let Piece::Variable { name, fallback, .. } = piece {
            names.insert(name);
            fallback.iter().for_each(|fallback| variables_of(&fallback.word, names));
        }
    }
}
