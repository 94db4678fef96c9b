//! Versions of runtimes, and the ranges that files ask for.
//!
//! Two small strict parsers: PEP 440 specifiers (`>=3.11,<4`, `~=3.12`, `==3.12.*`) for Python and
//! npm's ranges (`^20.1`, `>=18 <21 || 22.x`) for Node. What is not understood is `None`, and the
//! caller says which file said it; nothing is guessed.
//!
//! Both become a [`Range`]: a choice of spans, with holes for `!=`.

use std::fmt;

/// A released version: major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u32; 3]);

impl Version {
    const FIRST: Self = Self([0, 0, 0]);

    /// Reads `3`, `3.12` or `3.12.4`, missing parts as 0; a leading `v` is allowed.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Parts::parse(text)?.lowest())
    }

    /// The next version that is not below `prefix` parts of this one: 3.12.4 at 2 gives 3.13.0.
    fn after(self, prefix: usize) -> Option<Self> {
        let mut parts = self.0;
        let last = prefix.checked_sub(1)?;
        parts[last] = parts[last].checked_add(1)?;
        parts[last + 1..].fill(0);
        Some(Self(parts))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0[0], self.0[1], self.0[2])
    }
}

/// A version as written: one to three parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parts {
    parts: [u32; 3],
    given: usize,
}

impl Parts {
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts = [0; 3];
        let mut given = 0;
        for word in text.split('.') {
            let plain = !word.is_empty() && word.len() <= 6 && word.bytes().all(|b| b.is_ascii_digit());
            *parts.get_mut(given).filter(|_| plain)? = word.parse().ok()?;
            given += 1;
        }
        Some(Self { parts, given })
    }

    fn lowest(self) -> Version {
        Version(self.parts)
    }

    /// All versions that begin with these parts.
    fn span(self) -> Option<Span> {
        Some(Span { from: self.lowest(), to: Some(self.lowest().after(self.given)?) })
    }
}

/// Versions from `from` up to, without, `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: Version,
    to: Option<Version>,
}

impl Span {
    const ALL: Self = Self { from: Version::FIRST, to: None };

    fn holds(&self, version: Version) -> bool {
        version >= self.from && self.to.is_none_or(|to| version < to)
    }

    fn and(self, other: Self) -> Self {
        let to = match (self.to, other.to) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { from: self.from.max(other.from), to }
    }
}

/// The versions that a file allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    any_of: Vec<Span>,
    none_of: Vec<Span>,
}

impl Range {
    /// Every version.
    pub fn all() -> Self {
        Self { any_of: vec![Span::ALL], none_of: Vec::new() }
    }

    /// Whether `version` is allowed.
    pub fn holds(&self, version: Version) -> bool {
        self.any_of.iter().any(|span| span.holds(version)) && !self.none_of.iter().any(|s| s.holds(version))
    }

    /// The versions that begin with `text`, such as `3.12` or `20`.
    pub fn beginning_with(text: &str) -> Option<Self> {
        Some(Self { any_of: vec![Parts::parse(text)?.span()?], none_of: Vec::new() })
    }

    /// Reads a PEP 440 specifier set.
    pub fn pep440(text: &str) -> Option<Self> {
        let mut range = Self::all();
        for clause in text.split(',').map(str::trim).filter(|clause| !clause.is_empty()) {
            let at = clause.find(|c: char| !"<>=!~".contains(c))?;
            let (operator, rest) = (&clause[..at], clause[at..].trim());
            let (rest, wild) = rest.strip_suffix(".*").map_or((rest, false), |rest| (rest, true));
            let parts = Parts::parse(rest)?;
            let version = parts.lowest();
            // `==3.12` is 3.12.0 alone: PEP 440 fills up with zeros.
            let exact = Span { from: version, to: version.after(3) };
            let same = if wild { parts.span()? } else { exact };
            let span = match operator {
                "==" | "===" => same,
                "!=" => {
                    range.none_of.push(same);
                    continue;
                }
                _ if wild => return None,
                ">=" => Span { from: version, to: None },
                ">" => Span { from: version.after(3)?, to: None },
                "<" => Span { from: Version::FIRST, to: Some(version) },
                "<=" => Span { from: Version::FIRST, to: version.after(3) },
                "~=" if parts.given >= 2 => Span { from: version, to: version.after(parts.given - 1) },
                _ => return None,
            };
            range.any_of = vec![range.any_of[0].and(span)];
        }
        Some(range)
    }

    /// The range as uv takes it: `3.12`, or a PEP 440 specifier. Of several spans, which Python's
    /// files cannot say, the first.
    pub(crate) fn specifier(&self) -> String {
        if let ([span], []) = (self.any_of.as_slice(), self.none_of.as_slice())
            && let Version([major, minor, 0]) = span.from
            && span.to == span.from.after(2)
        {
            return format!("{major}.{minor}");
        }
        let mut clauses = Vec::new();
        if let Some(span) = self.any_of.first() {
            clauses.push(format!(">={}", span.from));
            clauses.extend(span.to.map(|to| format!("<{to}")));
        }
        for hole in &self.none_of {
            let [major, minor, _] = hole.from.0;
            clauses.push(match hole.to {
                to if to == hole.from.after(2) => format!("!={major}.{minor}.*"),
                to if to == hole.from.after(1) => format!("!={major}.*"),
                _ => format!("!={}", hole.from),
            });
        }
        clauses.join(",")
    }

    /// Reads one of npm's version ranges.
    pub fn npm(text: &str) -> Option<Self> {
        let any_of = text.split("||").map(|choice| npm_choice(choice.trim())).collect::<Option<Vec<_>>>()?;
        Some(Self { any_of, none_of: Vec::new() })
    }
}

fn npm_choice(choice: &str) -> Option<Span> {
    if let Some((from, to)) = choice.split_once(" - ") {
        let upper = npm_parts(to.trim())?.map_or(Some(Span::ALL), Parts::span)?;
        let from = npm_parts(from.trim())?.map_or(Version::FIRST, Parts::lowest);
        return Some(Span { from, to: upper.to });
    }
    let mut span = Span::ALL;
    let mut operator = "";
    for word in choice.split_ascii_whitespace() {
        let at = word.find(|c: char| !"<>=^~".contains(c));
        let Some(at) = at else {
            // `>= 18`: the operator stands alone.
            operator = word;
            continue;
        };
        if at > 0 {
            operator = &word[..at];
        }
        span = span.and(npm_comparator(operator, npm_parts(&word[at..])?)?);
        operator = "";
    }
    Some(span).filter(|_| operator.is_empty())
}

fn npm_comparator(operator: &str, parts: Option<Parts>) -> Option<Span> {
    let Some(parts) = parts else { return Some(Span::ALL) };
    let version = parts.lowest();
    let all_of_them = parts.span()?;
    Some(match operator {
        "" | "=" => all_of_them,
        ">=" => Span { from: version, to: None },
        ">" => Span { from: all_of_them.to?, to: None },
        "<" => Span { from: Version::FIRST, to: Some(version) },
        "<=" => Span { from: Version::FIRST, to: all_of_them.to },
        "~" => Span { from: version, to: version.after(parts.given.min(2)) },
        "^" => {
            // The first part that is not 0 may not change.
            let fixed = version.0.iter().position(|part| *part != 0).map_or(parts.given, |at| at + 1);
            Span { from: version, to: version.after(fixed.min(parts.given.max(1))) }
        }
        _ => return None,
    })
}

/// Reads `20`, `20.1.x`, `v20`; `None` inside stands for `*`.
fn npm_parts(text: &str) -> Option<Option<Parts>> {
    if matches!(text, "*" | "x" | "X" | "") {
        return Some(None);
    }
    let mut words: Vec<&str> = text.split('.').collect();
    while words.len() > 1 && words.last().is_some_and(|word| matches!(*word, "*" | "x" | "X")) {
        words.pop();
    }
    Parts::parse(&words.join(".")).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: Option<Range>, inside: &[&str], outside: &[&str], what: &str) {
        let range = range.unwrap_or_else(|| panic!("{what} is not understood"));
        for version in inside {
            assert!(range.holds(Version::parse(version).unwrap()), "{what} holds {version}");
        }
        for version in outside {
            assert!(!range.holds(Version::parse(version).unwrap()), "{what} leaves {version} out");
        }
    }

    #[test]
    fn pep440_sets_mean_what_the_standard_says() {
        for (text, inside, outside) in [
            (">=3.10", &["3.10.0", "3.13.1", "4.0.0"][..], &["3.9.18"][..]),
            (">=3.10,<3.13", &["3.12.9"], &["3.13.0", "3.9.0"]),
            ("~=3.11", &["3.11.0", "3.14.0"], &["4.0.0", "3.10.9"]),
            ("~=3.11.2", &["3.11.2", "3.11.9"], &["3.12.0", "3.11.1"]),
            ("==3.12.*", &["3.12.0", "3.12.7"], &["3.13.0"]),
            ("==3.12", &["3.12.0"], &["3.12.1"]),
            (">=3.8, !=3.9.*, !=3.10.1", &["3.8.0", "3.10.2"], &["3.9.18", "3.10.1"]),
            (">3.11.2", &["3.11.3"], &["3.11.2"]),
            ("<=3.12.1", &["3.12.1"], &["3.12.2"]),
            ("", &["1.0.0"], &[]),
        ] {
            check(Range::pep440(text), inside, outside, text);
        }
        for bad in ["3.12", "~=3", ">=", "=>3", ">=3.x", ">=3.10.*", "^3.10", ">=3.1.2.3.4"] {
            assert_eq!(Range::pep440(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_range_is_written_as_it_is_read() {
        for (text, written) in [
            (">=3.10,<3.13", ">=3.10.0,<3.13.0"),
            ("~=3.11.2", ">=3.11.2,<3.12.0"),
            (">=3.8, !=3.9.*, !=3.10.1", ">=3.8.0,!=3.9.*,!=3.10.1"),
        ] {
            let range = Range::pep440(text).unwrap();
            assert_eq!(range.specifier(), written);
            assert_eq!(Range::pep440(written), Some(range));
        }
        assert_eq!(Range::beginning_with("3.12").unwrap().specifier(), "3.12");
    }

    #[test]
    fn npm_ranges_mean_what_npm_says() {
        for (text, inside, outside) in [
            (">=18", &["18.0.0", "22.1.0"][..], &["17.9.9"][..]),
            ("20", &["20.0.0", "20.20.2"], &["21.0.0"]),
            ("20.x", &["20.5.0"], &["21.0.0"]),
            ("^20.1", &["20.1.0", "20.9.0"], &["20.0.9", "21.0.0"]),
            ("^0.2.3", &["0.2.9"], &["0.3.0"]),
            ("~20.1", &["20.1.7"], &["20.2.0"]),
            ("~20", &["20.9.0"], &["21.0.0"]),
            (">=18 <21 || 22.x", &["20.0.0", "22.5.0"], &["21.0.0", "23.0.0"]),
            (">= 18.12 < 19", &["18.12.0"], &["18.11.9", "19.0.0"]),
            ("18 - 20", &["18.0.0", "20.9.9"], &["21.0.0"]),
            (">20", &["21.0.0"], &["20.9.0"]),
            ("<=20", &["20.9.0"], &["21.0.0"]),
            ("v20.1.0", &["20.1.0"], &["20.1.1"]),
            ("*", &["1.0.0"], &[]),
        ] {
            check(Range::npm(text), inside, outside, text);
        }
        for bad in ["lts/*", "latest", ">=a", "20..1", ">=", "1.2.3.4"] {
            assert_eq!(Range::npm(bad), None, "{bad}");
        }
    }
}
