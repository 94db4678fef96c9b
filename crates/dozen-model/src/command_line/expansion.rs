//! Puts values in the places of variables and splits them into fields, as POSIX says.

use super::{Command, CommandLineError, CommandTemplate, Expanded, Fallback, Piece, Word};

type Lookup<'a> = &'a dyn Fn(&str) -> Option<Vec<u8>>;

/// The command and the assignments of a simple line.
///
/// The words see the environment from before the assignments; each assignment sees those to its
/// left.
pub(super) fn expand(
    assignments: &[(String, Word)],
    words: &[Word],
    lookup: Lookup<'_>,
) -> Result<Expanded, CommandLineError> {
    let mut fields = Fields::default();
    for word in words {
        fields.word(word, lookup)?;
    }
    let argv = fields.done;
    let mut spent = fields.spent;
    if argv.is_empty() {
        return Err(CommandLineError::Empty);
    }
    let mut env: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, word) in assignments {
        let assigned = |wanted: &str| {
            let earlier = env.iter().rev().find(|(name, _)| name == wanted);
            earlier.map(|(_, value)| value.clone()).or_else(|| lookup(wanted))
        };
        let mut value = Unsplit { bytes: Vec::new(), spent };
        value.word(word, &assigned)?;
        spent = value.spent;
        env.push((name.clone(), value.bytes));
    }
    Ok(Expanded { env, command: Command::Exec { argv } })
}

/// Counts expanded bytes: a line of a thousand variables could otherwise take all memory.
fn spend(spent: &mut usize, bytes: usize) -> Result<(), CommandLineError> {
    *spent = spent.saturating_add(bytes);
    if *spent > CommandTemplate::LIMIT { Err(CommandLineError::TooLong) } else { Ok(()) }
}

/// What a variable's place is taken by.
enum Stand<'a> {
    Value(Vec<u8>),
    Fallback(&'a Word),
}

fn stand<'a>(name: &str, fallback: Option<&'a Fallback>, lookup: Lookup<'_>) -> Stand<'a> {
    match (lookup(name), fallback) {
        (None, Some(fallback)) => Stand::Fallback(&fallback.word),
        (Some(value), Some(fallback)) if fallback.when_empty && value.is_empty() => {
            Stand::Fallback(&fallback.word)
        }
        (value, _) => Stand::Value(value.unwrap_or_default()),
    }
}

/// The fields of a command: unquoted results of an expansion are split at blanks.
#[derive(Default)]
struct Fields {
    done: Vec<Vec<u8>>,
    current: Vec<u8>,
    /// Whether `current` is a field even if it is empty.
    open: bool,
    spent: usize,
}

impl Fields {
    fn word(&mut self, word: &Word, lookup: Lookup<'_>) -> Result<(), CommandLineError> {
        self.pieces(word, lookup)?;
        self.close();
        Ok(())
    }

    fn pieces(&mut self, word: &Word, lookup: Lookup<'_>) -> Result<(), CommandLineError> {
        for piece in word {
            match piece {
                Piece::Literal { text, quoted: true } => self.whole(text.as_bytes())?,
                // Blanks stand unquoted in a fallback only.
                Piece::Literal { text, quoted: false } => self.split(text.as_bytes())?,
                Piece::Variable { name, fallback, quoted } => match stand(name, fallback.as_ref(), lookup) {
                    Stand::Value(value) if *quoted => self.whole(&value)?,
                    Stand::Value(value) => self.split(&value)?,
                    Stand::Fallback(word) => self.pieces(word, lookup)?,
                },
            }
        }
        Ok(())
    }

    /// Bytes that stay together, and make a field even when there are none.
    fn whole(&mut self, bytes: &[u8]) -> Result<(), CommandLineError> {
        spend(&mut self.spent, bytes.len() + 1)?;
        self.current.extend_from_slice(bytes);
        self.open = true;
        Ok(())
    }

    fn split(&mut self, bytes: &[u8]) -> Result<(), CommandLineError> {
        spend(&mut self.spent, bytes.len() + 1)?;
        for byte in bytes {
            if matches!(byte, b' ' | b'\t' | b'\n') {
                self.close();
            } else {
                self.current.push(*byte);
                self.open = true;
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.done.push(std::mem::take(&mut self.current));
        }
    }
}

/// The value of an assignment, which is never split.
struct Unsplit {
    bytes: Vec<u8>,
    spent: usize,
}

impl Unsplit {
    fn word(&mut self, word: &Word, lookup: Lookup<'_>) -> Result<(), CommandLineError> {
        for piece in word {
            match piece {
                Piece::Literal { text, .. } => self.push(text.as_bytes())?,
                Piece::Variable { name, fallback, .. } => match stand(name, fallback.as_ref(), lookup) {
                    Stand::Value(value) => self.push(&value)?,
                    Stand::Fallback(word) => self.word(word, lookup)?,
                },
            }
        }
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), CommandLineError> {
        spend(&mut self.spent, bytes.len() + 1)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
