//! `[router]` of `dozen.toml`.

use std::{collections::HashSet, time::Duration};

use super::{
    super::{
        ByteSize, Hsts, HttpsRedirect, ManifestError, Redirect, RouterSettings, Www, first_loop,
        parse_long_duration, value_rules,
    },
    section::{Entry, Section},
    time_limit,
};
use crate::{address_range::AddressRange, names::Domain};

/// The most ranges that one list may have: each request is compared with all of them.
const MOST_RANGES: usize = 1000;
/// The most redirects of a stage.
const MOST_REDIRECTS: usize = 1000;

/// The most probes that an instance may fail before it goes.
const MOST_FAILURES: u32 = 100;

/// The section of the app, or of one stage.
pub(super) fn settings(section: &Section<'_>) -> Result<RouterSettings, ManifestError> {
    section.only(&[
        "max_body",
        "first_byte",
        "idle",
        "hold_limit",
        "probe",
        "probe_interval",
        "probe_timeout",
        "probe_failures",
        "allow",
        "redirects",
        "www",
        "https",
        "hsts",
        "error_pages",
    ])?;
    let www = [("off", Www::Off), ("to-bare", Www::ToBare), ("to-www", Www::ToWww)];
    let https =
        [("auto", HttpsRedirect::Auto), ("redirect", HttpsRedirect::Redirect), ("off", HttpsRedirect::Off)];
    let settings = RouterSettings {
        max_body: section.parsed("max_body", str::parse::<ByteSize>)?,
        first_byte: time_limit(section, "first_byte")?,
        idle: time_limit(section, "idle")?,
        hold_limit: time_limit(section, "hold_limit")?,
        probe: section.text("probe", value_rules::request_path)?,
        probe_interval: interval(section)?,
        probe_timeout: time_limit(section, "probe_timeout")?,
        probe_failures: section
            .entry("probe_failures")
            .map(|entry| entry.whole_number(1, MOST_FAILURES))
            .transpose()?,
        allow: section.entry("allow").map(|entry| ranges(&entry)).transpose()?.unwrap_or_default(),
        redirects: section.entry("redirects").map(|entry| redirects(&entry)).transpose()?.unwrap_or_default(),
        www: section.entry("www").map(|entry| one_of(&entry, &www)).transpose()?,
        https: section.entry("https").map(|entry| one_of(&entry, &https)).transpose()?,
        hsts: section.entry("hsts").map(|entry| hsts(&entry)).transpose()?,
        error_pages: section.text("error_pages", value_rules::tree_path)?,
    };
    refuse_loops(section, &settings, &[])?;
    Ok(settings)
}

/// Refuses rules that lead back to themselves, where these are domains of the stage.
pub(super) fn refuse_loops(
    section: &Section<'_>,
    settings: &RouterSettings,
    domains: &[Domain],
) -> Result<(), ManifestError> {
    let Some(entry) = section.entry("redirects") else { return Ok(()) };
    let Some(index) = first_loop(&settings.redirects, settings.www, domains) else { return Ok(()) };
    let tables = entry.sections()?;
    let rule = tables.get(index).and_then(|table| table.entry("to"));
    let from = settings.redirects.get(index).map(|rule| rule.from.to_string()).unwrap_or_default();
    Err(rule
        .unwrap_or(entry)
        .bad(format!("`{from}` leads back to itself, or through more than 20 redirects")))
}

/// Every instance is asked as often: more would be load.
fn interval(section: &Section<'_>) -> Result<Option<Duration>, ManifestError> {
    let interval = time_limit(section, "probe_interval")?;
    match (interval, section.entry("probe_interval")) {
        (Some(said), Some(entry)) if said < Duration::from_secs(1) => {
            Err(entry.bad("write a second at least"))
        }
        _ => Ok(interval),
    }
}

fn ranges(entry: &Entry<'_>) -> Result<Vec<AddressRange>, ManifestError> {
    let ranges = entry.list(|text| text.parse::<AddressRange>().map_err(|error| error.to_string()))?;
    match ranges.len() {
        0 => Err(entry.bad("list who is let in, or leave it out to let everybody in")),
        1..=MOST_RANGES => Ok(ranges),
        _ => Err(entry.bad(format!("list up to {MOST_RANGES} ranges"))),
    }
}

fn redirects(entry: &Entry<'_>) -> Result<Vec<Redirect>, ManifestError> {
    let tables = entry.sections()?;
    if !(1..=MOST_REDIRECTS).contains(&tables.len()) {
        return Err(entry.bad(format!("list 1 to {MOST_REDIRECTS} redirects, or leave it out")));
    }
    let (mut redirects, mut seen) = (Vec::with_capacity(tables.len()), HashSet::new());
    for table in &tables {
        let rule = redirect(table)?;
        if !seen.insert(rule.from.to_string()) {
            return Err(table.bad(format!("`{}` is sent somewhere already", rule.from)));
        }
        redirects.push(rule);
    }
    Ok(redirects)
}

fn redirect(table: &Section<'_>) -> Result<Redirect, ManifestError> {
    table.only(&["from", "to", "status", "query"])?;
    let (Some(from), Some(to)) = (table.entry("from"), table.entry("to")) else {
        return Err(table.bad("say `from` where and `to` where"));
    };
    let status = table.entry("status").map(|entry| status(&entry)).transpose()?.unwrap_or(301);
    let keeps_query = table.flag("query")?.unwrap_or(true);
    Redirect::read(from.text()?, to.text()?, status, keeps_query)
        .map_err(|(end, error)| if end == "from" { &from } else { &to }.bad(error.to_string()))
}

fn status(entry: &Entry<'_>) -> Result<u16, ManifestError> {
    let status = entry.whole_number(300, 399)?;
    let known = Redirect::STATUSES.into_iter().find(|known| u32::from(*known) == status);
    known.ok_or_else(|| entry.bad("write 301, 302, 307 or 308"))
}

/// A time alone, or a table.
fn hsts(entry: &Entry<'_>) -> Result<Hsts, ManifestError> {
    if !entry.is_section() {
        let max_age = entry.parsed(parse_long_duration)?;
        return Ok(Hsts { max_age, include_subdomains: false, preload: false });
    }
    hsts_table(&entry.section()?)
}

fn hsts_table(table: &Section<'_>) -> Result<Hsts, ManifestError> {
    table.only(&["max_age", "include_subdomains", "preload"])?;
    let Some(max_age) = table.parsed("max_age", parse_long_duration)? else {
        return Err(table.bad("say its `max_age`, such as `max_age = \"180d\"`"));
    };
    let hsts = Hsts {
        max_age,
        include_subdomains: table.flag("include_subdomains")?.unwrap_or(false),
        preload: table.flag("preload")?.unwrap_or(false),
    };
    match table.entry("preload") {
        Some(entry) if hsts.preload && !(hsts.include_subdomains && max_age >= Hsts::SHORTEST_PRELOAD) => {
            Err(entry.bad(
                "browsers take a host in with `include_subdomains = true` and `max_age` of 365d at least",
            ))
        }
        _ => Ok(hsts),
    }
}

/// The value of one of a few words.
fn one_of<T: Copy>(entry: &Entry<'_>, words: &[(&str, T)]) -> Result<T, ManifestError> {
    let text = entry.text()?;
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        entry.bad(format!("write one of {}", words.join(", ")))
    })
}
