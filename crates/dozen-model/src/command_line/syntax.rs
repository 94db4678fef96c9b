//! Reads a line as a simple command, or finds out that it needs a shell.
//!
//! The reader gives up at the first thing it does not know exactly ([`Stop::Shell`]): a shell
//! too often is a process too many, a shell too seldom is a wrong command.

use super::{CommandLineError, Fallback, Form, Piece, Word};

/// Fallbacks within fallbacks; deeper ones are left to the shell.
const DEEPEST: usize = 8;

/// Words that a shell does not look up in `PATH` when they stand first.
const SHELL_WORDS: [&str; 47] = [
    "!", ".", ":", "[[", "alias", "bg", "break", "builtin", "case", "cd", "command", "continue", "declare",
    "do", "done", "elif", "else", "esac", "eval", "exit", "export", "fg", "fi", "for", "function", "getopts",
    "hash", "if", "jobs", "local", "read", "readonly", "return", "select", "set", "shift", "source", "then",
    "times", "trap", "type", "ulimit", "umask", "unset", "until", "wait", "while",
];

/// The line's form. `line` has no blanks at its start and no NUL.
pub(super) fn read(line: &str) -> Result<Form, CommandLineError> {
    let mut reader = Reader { rest: line };
    match reader.simple_command() {
        Ok(form) => Ok(form),
        Err(Stop::Refused(error)) => Err(error),
        Err(Stop::Shell) => Ok(Form::Shell { script: line.to_owned() }),
    }
}

/// Why reading a simple command ended early.
enum Stop {
    Shell,
    Refused(CommandLineError),
}

/// Where a word stands; the meaning of some characters depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Argument,
    Assignment,
    /// Inside `${NAME-..}`, this many deep.
    Fallback(usize),
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn simple_command(&mut self) -> Result<Form, Stop> {
        let mut assignments = Vec::new();
        let mut words: Vec<Word> = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t']);
            if self.rest.is_empty() || self.comment()? {
                break;
            }
            match assigned_name(self.rest).filter(|_| words.is_empty()) {
                Some(name) => {
                    self.rest = &self.rest[name.len() + 1..];
                    assignments.push((name.to_owned(), self.word(Place::Assignment)?));
                }
                None => words.push(self.word(Place::Argument)?),
            }
        }
        if words.first().and_then(literal) == Some("exec".to_owned()) {
            words.remove(0);
        }
        let first = words.first().ok_or(Stop::Refused(CommandLineError::Empty))?;
        // `{` and `}` are words of the shell too, and `coproc` or `time` of some shells only.
        if literal(first)
            .is_some_and(|word| SHELL_WORDS.contains(&word.as_str()) || word == "{" || word == "}")
        {
            return Err(Stop::Shell);
        }
        Ok(Form::Simple { assignments, words })
    }

    /// Whether the rest is a comment; one that ends before the line does needs a shell.
    fn comment(&self) -> Result<bool, Stop> {
        match self.rest.starts_with('#') {
            true if self.rest.contains('\n') => Err(Stop::Shell),
            starts => Ok(starts),
        }
    }

    /// One word, up to a blank or (in a fallback) up to its closing brace, which it leaves.
    fn word(&mut self, place: Place) -> Result<Word, Stop> {
        let mut word = Word::new();
        let mut before = None;
        while let Some(next) = self.rest.chars().next() {
            let in_fallback = matches!(place, Place::Fallback(_));
            match next {
                ' ' | '\t' if !in_fallback => break,
                '}' if in_fallback => break,
                '\n' | '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`' => return Err(Stop::Shell),
                '*' | '?' | '[' if place != Place::Assignment => return Err(Stop::Shell),
                '~' if matches!(before, None | Some('=' | ':')) => return Err(Stop::Shell),
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word, place)?,
                '\\' => self.escaped(&mut word)?,
                '$' => self.dollar(&mut word, place, false)?,
                letter => {
                    self.rest = &self.rest[letter.len_utf8()..];
                    literal_letter(&mut word, letter, false);
                }
            }
            before = Some(next);
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut Word) -> Result<(), Stop> {
        let (text, rest) = self.rest[1..].split_once('\'').ok_or_else(|| unclosed("'"))?;
        self.rest = rest;
        word.push(Piece::Literal { text: text.to_owned(), quoted: true });
        Ok(())
    }

    fn double_quoted(&mut self, word: &mut Word, place: Place) -> Result<(), Stop> {
        self.rest = &self.rest[1..];
        // Even an empty pair of quotes makes a field.
        word.push(Piece::Literal { text: String::new(), quoted: true });
        while let Some(next) = self.rest.chars().next() {
            match next {
                '"' => {
                    self.rest = &self.rest[1..];
                    return Ok(());
                }
                '`' => return Err(Stop::Shell),
                '$' => self.dollar(word, place, true)?,
                '\\' => {
                    let escaped = self.rest[1..].chars().next().ok_or_else(|| unclosed("\""))?;
                    self.rest = &self.rest[1 + escaped.len_utf8()..];
                    match escaped {
                        '\n' => {}
                        '$' | '`' | '"' | '\\' => literal_letter(word, escaped, true),
                        other => {
                            [next, other].into_iter().for_each(|letter| literal_letter(word, letter, true))
                        }
                    }
                }
                letter => {
                    self.rest = &self.rest[letter.len_utf8()..];
                    literal_letter(word, letter, true);
                }
            }
        }
        Err(unclosed("\""))
    }

    fn escaped(&mut self, word: &mut Word) -> Result<(), Stop> {
        match self.rest[1..].chars().next() {
            Some('\n') => return Err(Stop::Shell),
            // The last backslash of a line stands for itself.
            None => {
                self.rest = "";
                literal_letter(word, '\\', true);
            }
            Some(letter) => {
                self.rest = &self.rest[1 + letter.len_utf8()..];
                literal_letter(word, letter, true);
            }
        }
        Ok(())
    }

    /// `$` and what follows: a variable, a lone dollar sign, or something for the shell.
    fn dollar(&mut self, word: &mut Word, place: Place, quoted: bool) -> Result<(), Stop> {
        let after = &self.rest[1..];
        let name = name_at(after);
        if !name.is_empty() {
            self.rest = &after[name.len()..];
            word.push(Piece::Variable { name: name.to_owned(), fallback: None, quoted });
            return Ok(());
        }
        match after.chars().next() {
            Some('{') => {
                self.rest = &after[1..];
                self.braced(word, place, quoted)
            }
            Some('(' | '0'..='9' | '@' | '*' | '#' | '?' | '$' | '!' | '-') => Err(Stop::Shell),
            Some('\'' | '"') if !quoted => Err(Stop::Shell),
            _ => {
                self.rest = after;
                literal_letter(word, '$', quoted);
                Ok(())
            }
        }
    }

    /// The rest of `${NAME}`, `${NAME-word}` or `${NAME:-word}` behind its opening brace.
    fn braced(&mut self, word: &mut Word, place: Place, quoted: bool) -> Result<(), Stop> {
        let name = name_at(self.rest);
        if name.is_empty() {
            return Err(Stop::Shell);
        }
        self.rest = &self.rest[name.len()..];
        let when_empty = self.rest.starts_with(":-");
        let fallback = if when_empty || self.rest.starts_with('-') {
            self.rest = &self.rest[1 + usize::from(when_empty)..];
            Some(Fallback { word: self.fallback(place, quoted)?, when_empty })
        } else {
            None
        };
        match self.rest.strip_prefix('}') {
            Some(rest) => self.rest = rest,
            None if self.rest.is_empty() => return Err(unclosed("${")),
            None => return Err(Stop::Shell),
        }
        word.push(Piece::Variable { name: name.to_owned(), fallback, quoted });
        Ok(())
    }

    fn fallback(&mut self, place: Place, quoted: bool) -> Result<Word, Stop> {
        let depth = if let Place::Fallback(depth) = place { depth + 1 } else { 1 };
        if depth > DEEPEST {
            return Err(Stop::Shell);
        }
        if quoted { self.quoted_fallback(depth) } else { self.word(Place::Fallback(depth)) }
    }

    /// A fallback inside double quotes: shells differ about quotes in there, so they go to one.
    fn quoted_fallback(&mut self, depth: usize) -> Result<Word, Stop> {
        let mut word = Word::new();
        while let Some(next) = self.rest.chars().next() {
            match next {
                '}' => break,
                '\'' | '"' | '\\' | '`' => return Err(Stop::Shell),
                '$' => self.dollar(&mut word, Place::Fallback(depth), true)?,
                letter => {
                    self.rest = &self.rest[letter.len_utf8()..];
                    literal_letter(&mut word, letter, true);
                }
            }
        }
        Ok(word)
    }
}

fn unclosed(open: &'static str) -> Stop {
    Stop::Refused(CommandLineError::Unclosed { open })
}

/// Adds a letter to the literal that the word ends with, or begins one.
fn literal_letter(word: &mut Word, letter: char, quoted: bool) {
    match word.last_mut() {
        Some(Piece::Literal { text, quoted: same }) if *same == quoted => text.push(letter),
        _ => word.push(Piece::Literal { text: letter.to_string(), quoted }),
    }
}

/// The word's text, if it has no variable.
fn literal(word: &Word) -> Option<String> {
    let text = |piece: &Piece| match piece {
        Piece::Literal { text, .. } => Some(text.clone()),
        Piece::Variable { .. } => None,
    };
    word.iter().map(text).collect()
}

/// The variable name that `text` starts with, or nothing.
fn name_at(text: &str) -> &str {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(first) {
        return "";
    }
    let end = text.find(|c: char| !first(c) && !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

/// The name in front of an `=`, if `text` starts with an assignment.
fn assigned_name(text: &str) -> Option<&str> {
    let name = name_at(text);
    (!name.is_empty() && text[name.len()..].starts_with('=')).then_some(name)
}
