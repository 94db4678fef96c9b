//! Redirects: requests that the router sends to another address in the app's place.
//!
//! A rule leads from a path, a host or both to a path or an address. A `*` at the end stands for all
//! that follows, and is put where the target has its own. Where a request may lead is decided by who
//! wrote the file and never by who asks: `*` stands behind a `/` of a path, so it can change neither
//! scheme nor host.
//!
//! Start reading at [`Redirect`]; [`first_loop`] finds the rule that leads back to itself.

use std::{collections::HashSet, fmt};

use serde::{Deserialize, Serialize};

use crate::names::Domain;

/// More than this in a row no browser follows.
const MOST_HOPS: usize = 20;
/// The longest address of a rule.
const LONGEST: usize = 2048;
/// What a rule's `*` stands for when it is tried out.
const SAMPLES: [&str; 2] = ["", "-"];

/// Sends requests for one address to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// Which requests.
    pub from: RedirectFrom,
    /// Where they are sent.
    pub to: RedirectTo,
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// Whether the request's query goes along.
    pub keeps_query: bool,
}

/// Which requests a redirect is for: `/old`, `/old/*`, `old.example.org/*` or `old.example.org/old`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectFrom {
    host: Option<Domain>,
    /// Up to the `*`.
    path: String,
    is_prefix: bool,
}

/// Where a redirect leads: `/new`, `/new/*`, `https://example.org/new` or `https://example.org/*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RedirectTo {
    /// Scheme, host and port, or nothing for the same.
    origin: String,
    /// The host, where the origin has one and no port.
    host: Option<Domain>,
    /// Up to the `*`, or to what follows the path.
    path: String,
    takes_rest: bool,
    query: Option<String>,
    fragment: Option<String>,
}

/// Why a text is no end of a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotARedirect(&'static str);

const FROM: NotARedirect =
    NotARedirect("write a path such as `/old` or `/old/*`, or a host such as `old.example.org`");
const TO: NotARedirect =
    NotARedirect("write a path such as `/new`, or an address such as `https://example.org/new`");
const TWO_SLASHES: NotARedirect =
    NotARedirect("a path begins with one `/`: behind two of them browsers read a host");
const STAR: NotARedirect = NotARedirect("`*` stands at the end alone, behind a `/` of the path");

impl Redirect {
    /// The statuses that a redirect may have.
    pub const STATUSES: [u16; 4] = [301, 302, 307, 308];

    /// Reads both ends. A host alone that leads to a host alone keeps the path.
    ///
    /// # Errors
    /// Which end it is (`from` or `to`), and what is wrong with it.
    pub fn read(
        from: &str,
        to: &str,
        status: u16,
        keeps_query: bool,
    ) -> Result<Self, (&'static str, NotARedirect)> {
        let is_host = !from.contains('/');
        let from: RedirectFrom = from.parse().map_err(|error| ("from", error))?;
        let mut to: RedirectTo = to.parse().map_err(|error| ("to", error))?;
        if is_host && to.path.is_empty() && to.query.is_none() && to.fragment.is_none() {
            to.takes_rest = true;
        }
        if to.path.is_empty() {
            to.path.push('/');
        }
        if to.takes_rest && !from.is_prefix {
            return Err(("to", NotARedirect("it has a `*`, so `from` needs one at its end, too")));
        }
        Ok(Self { from, to, status, keeps_query })
    }

    /// Where a request is sent; `None` when the rule is not for it, or would send it where it is.
    pub fn location(&self, host: &str, path: &str, query: Option<&str>) -> Option<String> {
        if !self.is_for(host, path) {
            return None;
        }
        let to = self.to.path_with(self.from.rest(path)?);
        if self.is_where(host, path, &to) {
            return None;
        }
        let mut location = format!("{}{to}", self.to.origin);
        for part in [self.to.query.as_deref(), query.filter(|_| self.keeps_query)].into_iter().flatten() {
            location.push(if location.contains('?') { '&' } else { '?' });
            location.push_str(part);
        }
        if let Some(fragment) = &self.to.fragment {
            location.push('#');
            location.push_str(fragment);
        }
        Some(location)
    }

    fn is_for(&self, host: &str, path: &str) -> bool {
        self.from.host.as_ref().is_none_or(|own| own.as_str() == host) && self.from.rest(path).is_some()
    }

    /// Whether it would send a request where it is.
    fn stays(&self, (host, path): &Place) -> bool {
        self.from.rest(path).is_some_and(|rest| self.is_where(host, path, &self.to.path_with(rest)))
    }

    fn is_where(&self, host: &str, path: &str, to: &str) -> bool {
        let is_same_host = match &self.to.host {
            Some(other) => other.as_str() == host,
            None => self.to.origin.is_empty(),
        };
        is_same_host && to == path && self.to.query.is_none()
    }
}

impl RedirectFrom {
    /// The path up to the `*`, or all of it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it is for all paths that begin so.
    pub fn is_prefix(&self) -> bool {
        self.is_prefix
    }

    /// The host it is for, where it is for one only.
    pub fn host(&self) -> Option<&Domain> {
        self.host.as_ref()
    }

    /// What `*` stands for in `path`, or nothing.
    fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(self.path.as_str())?;
        (self.is_prefix || rest.is_empty()).then_some(rest)
    }
}

impl RedirectTo {
    /// Its path, with what `*` stands for.
    fn path_with(&self, rest: &str) -> String {
        let mut path = self.path.clone();
        if self.takes_rest {
            // `/old//evil.org` must not become `//evil.org`, which browsers read as a host.
            let is_root = self.origin.is_empty() && path == "/";
            path.push_str(if is_root { rest.trim_start_matches(['/', '\\']) } else { rest });
        }
        path
    }
}

/// Whether a text is what a request line can hold.
fn is_plain(text: &str) -> bool {
    text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// A path without its `*`, and whether it had one.
fn without_star(path: &str) -> Result<(&str, bool), NotARedirect> {
    match path.strip_suffix('*') {
        Some(before) if before.ends_with('/') && !before.contains('*') => Ok((before, true)),
        None if !path.contains('*') => Ok((path, false)),
        _ => Err(STAR),
    }
}

impl std::str::FromStr for RedirectFrom {
    type Err = NotARedirect;

    fn from_str(text: &str) -> Result<Self, NotARedirect> {
        if !is_plain(text) || text.contains("://") {
            return Err(FROM);
        }
        if text.contains(['?', '#']) {
            return Err(NotARedirect("a query and what follows `#` cannot be looked at"));
        }
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let host: Option<Domain> = match host {
            "" => None,
            host => Some(host.parse().map_err(|_| FROM)?),
        };
        let path = if path.is_empty() { "/*" } else { path };
        if host.is_none() && text.is_empty() {
            return Err(FROM);
        }
        if path.starts_with("//") {
            return Err(TWO_SLASHES);
        }
        let (path, is_prefix) = without_star(path)?;
        Ok(Self { host, path: path.to_owned(), is_prefix })
    }
}

impl std::str::FromStr for RedirectTo {
    type Err = NotARedirect;

    fn from_str(text: &str) -> Result<Self, NotARedirect> {
        if !is_plain(text) {
            return Err(TO);
        }
        let is_address = text.starts_with("https://") || text.starts_with("http://");
        let start = if is_address { text.find("://").map_or(0, |at| at + 3) } else { 0 };
        let end = text[start..].find(['/', '?', '#']).map_or(text.len(), |at| start + at);
        let (origin, rest) = text.split_at(end);
        let host = if is_address { host_of(&origin[start..])? } else { None };
        if rest.starts_with("//") {
            return Err(TWO_SLASHES);
        }
        if !is_address && (!origin.is_empty() || !rest.starts_with('/')) {
            return Err(TO);
        }
        let (rest, fragment) = split_at_sign(rest, '#');
        let (path, query) = split_at_sign(rest, '?');
        let (path, takes_rest) = without_star(path)?;
        let is_behind = query.or(fragment).is_some();
        let has_more_stars = [query, fragment].into_iter().flatten().any(|part| part.contains('*'));
        if has_more_stars || (takes_rest && is_behind) {
            return Err(STAR);
        }
        Ok(Self {
            origin: origin.to_owned(),
            host,
            path: path.to_owned(),
            takes_rest,
            query: query.map(str::to_owned),
            fragment: fragment.map(str::to_owned),
        })
    }
}

/// What stands before and behind the first `sign`.
fn split_at_sign(text: &str, sign: char) -> (&str, Option<&str>) {
    text.split_once(sign).map_or((text, None), |(before, behind)| (before, Some(behind)))
}

/// The host of `host` or `host:port`; `None` when it has a port: that is another origin.
fn host_of(authority: &str) -> Result<Option<Domain>, NotARedirect> {
    let (host, port) = split_at_sign(authority, ':');
    let host: Domain = host.parse().map_err(|_| TO)?;
    match port {
        None => Ok(Some(host)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok() => {
            Ok(None)
        }
        Some(_) => Err(TO),
    }
}

impl fmt::Display for RedirectFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.is_prefix { "*" } else { "" };
        write!(f, "{}{}{star}", self.host.as_ref().map_or("", Domain::as_str), self.path)
    }
}

impl fmt::Display for RedirectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.origin, self.path, if self.takes_rest { "*" } else { "" })?;
        for (sign, part) in [('?', &self.query), ('#', &self.fragment)] {
            if let Some(part) = part {
                write!(f, "{sign}{part}")?;
            }
        }
        Ok(())
    }
}

macro_rules! as_text {
    ($($name:ident),*) => { $(
        impl TryFrom<String> for $name {
            type Error = NotARedirect;

            fn try_from(text: String) -> Result<Self, NotARedirect> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(one: $name) -> Self {
                one.to_string()
            }
        }
    )* };
}
as_text!(RedirectFrom, RedirectTo);

/// Which of two hosts that differ by `www.` is the one that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Www {
    /// Both.
    Off,
    /// The one without: `www.example.org` leads to `example.org`.
    ToBare,
    /// The one with it.
    ToWww,
}

impl Www {
    /// The host that a request for `host` is sent to, if the stage has that one, too.
    pub fn instead_of(self, host: &str) -> Option<String> {
        match self {
            Self::Off => None,
            Self::ToBare => host.strip_prefix("www.").map(str::to_owned),
            Self::ToWww if host.starts_with("www.") => None,
            Self::ToWww => Some(format!("www.{host}")),
        }
    }
}

/// The first rule that leads nowhere but where the request is, or through more redirects than browsers
/// follow, as those do that lead in circles.
///
/// What an address outside of the stage answers is not known: of its hosts those count that a rule is
/// for, and those in `domains`.
pub fn first_loop(rules: &[Redirect], www: Option<Www>, domains: &[Domain]) -> Option<usize> {
    let named = rules.iter().filter_map(|rule| rule.from.host.as_ref()).chain(domains);
    let hosts: HashSet<&str> = named.map(Domain::as_str).collect();
    let rounds = Rounds { rules, www, hosts };
    rules.iter().position(|rule| rounds.is_endless(rule))
}

/// A trial of the rules of one stage.
struct Rounds<'a> {
    rules: &'a [Redirect],
    www: Option<Www>,
    /// Those of the stage, as far as they are known.
    hosts: HashSet<&'a str>,
}

/// A host, empty for one that is not known, and a path.
type Place = (String, String);

impl Rounds<'_> {
    fn is_endless(&self, rule: &Redirect) -> bool {
        let own = rule.from.host.as_ref().map(Domain::as_str);
        let hosts: Vec<&str> =
            own.map_or_else(|| self.hosts.iter().copied().chain([""]).collect(), |own| vec![own]);
        let samples = &SAMPLES[..if rule.from.is_prefix { SAMPLES.len() } else { 1 }];
        let place = |host: &&str, rest: &&str| (host.to_string(), format!("{}{rest}", rule.from.path));
        let starts: Vec<Place> =
            hosts.iter().flat_map(|host| samples.iter().map(move |rest| place(host, rest))).collect();
        let is_idle = starts.iter().all(|start| rule.stays(start));
        is_idle || starts.into_iter().any(|start| self.goes_on(start))
    }

    fn goes_on(&self, start: Place) -> bool {
        let mut at = Some(start);
        for _ in 0..=MOST_HOPS {
            let Some(place) = at else { return false };
            at = self.next(&place);
        }
        at.is_some()
    }

    /// Where a request is sent, if that is known to be the stage's, too.
    fn next(&self, (host, path): &Place) -> Option<Place> {
        let other = self.www.and_then(|www| www.instead_of(host));
        if let Some(other) = other.filter(|other| self.hosts.contains(other.as_str())) {
            return Some((other, path.clone()));
        }
        let place = (host.clone(), path.clone());
        let rule = self.rules.iter().find(|rule| rule.is_for(host, path) && !rule.stays(&place))?;
        let next = match &rule.to.host {
            Some(other) => self.hosts.contains(other.as_str()).then(|| other.to_string())?,
            None if rule.to.origin.is_empty() => host.clone(),
            None => return None,
        };
        Some((next, rule.to.path_with(rule.from.rest(path)?)))
    }
}

#[cfg(test)]
mod tests;
