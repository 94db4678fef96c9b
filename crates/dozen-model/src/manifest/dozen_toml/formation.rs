//! `[processes]` and `[formation]` of `dozen.toml`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{AppManifest, ByteSize, ManifestError, ProcessSettings, StopSignal, parse_duration, value_rules},
    cpu,
    section::{Entry, Section},
};
use crate::names::ProcessType;

/// The command of each process type.
pub(super) fn processes(section: &Section<'_>) -> Result<BTreeMap<ProcessType, String>, ManifestError> {
    let command = |entry: Entry<'_>| Ok((entry.name_as()?, entry.ruled_text(value_rules::command)?));
    section.entries().map(command).collect()
}

/// `release` under `[processes]` means the same as a Procfile's line: the release phase.
pub(super) fn release_line_to_release_command(
    file: &Section<'_>,
    manifest: &mut AppManifest,
) -> Result<(), ManifestError> {
    let Some(line) = manifest.processes.remove(&ProcessType::release()) else { return Ok(()) };
    if manifest.release.command.is_none() {
        manifest.release.command = Some(line);
        return Ok(());
    }
    let entry = file.section("processes")?.and_then(|section| section.entry("release"));
    entry.map_or(Ok(()), |entry| Err(entry.bad("`release.command` says what the release phase runs already")))
}

/// What is declared for each process type: `web = 2` or `web = { .. }`.
pub(super) fn formation(
    section: &Section<'_>,
) -> Result<BTreeMap<ProcessType, ProcessSettings>, ManifestError> {
    let mut formation = BTreeMap::new();
    for entry in section.entries() {
        let process: ProcessType = entry.name_as()?;
        let settings = if entry.is_section() {
            settings(&entry.section()?)?
        } else if entry.is_number() {
            ProcessSettings { count: Some(count(&entry)?), ..ProcessSettings::default() }
        } else {
            return Err(entry.wrong_type("a whole number or a table"));
        };
        if process == ProcessType::release() && settings.count.is_some() {
            return Err(entry.bad("the release phase runs once and is not scaled"));
        }
        formation.insert(process, settings);
    }
    Ok(formation)
}

fn settings(table: &Section<'_>) -> Result<ProcessSettings, ManifestError> {
    table.only(&["count", "memory", "cpu", "grace", "stop_signal", "signal_all"])?;
    Ok(ProcessSettings {
        count: table.entry("count").map(|entry| count(&entry)).transpose()?,
        memory: table.parsed("memory", str::parse::<ByteSize>)?,
        cpu: table.entry("cpu").map(|entry| cpu(&entry)).transpose()?,
        grace: table.entry("grace").map(|entry| grace(&entry)).transpose()?,
        stop_signal: table.parsed("stop_signal", str::parse::<StopSignal>)?,
        signal_all: table.flag("signal_all")?,
    })
}

fn count(entry: &Entry<'_>) -> Result<u32, ManifestError> {
    entry.whole_number(0, ProcessSettings::MOST_INSTANCES)
}

fn grace(entry: &Entry<'_>) -> Result<Duration, ManifestError> {
    let grace = entry.parsed(parse_duration)?;
    let fits = (Duration::from_secs(1)..=ProcessSettings::LONGEST_GRACE).contains(&grace);
    if fits { Ok(grace) } else { Err(entry.bad("a grace period lasts from `1s` to `1h`")) }
}
