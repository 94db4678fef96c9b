//! Reads `dozen.toml`.
//!
//! Strict: an unknown key, a wrong type and a value that cannot be used are errors that name the
//! line. A typo that is silently left out would surface as a missing limit months later.
//!
//! One function reads one section; the sections that have more to say live in files of their
//! own. Start reading at [`read_toml`].

use std::{collections::BTreeMap, time::Duration};

use toml_edit::Document;

use super::{
    AppManifest, AppSettings, BuildSettings, ByteSize, CpuLimit, DrainSettings, HealthSettings,
    LimitSettings, ManifestError, ManifestErrorKind, ReleaseOverrides, ReleaseSettings, StageOverrides,
    SystemSettings, parse_duration, value_rules,
};
use crate::{
    image::Language,
    names::{Domain, StageName},
    suggestion::nearest,
};
use section::{Entry, FILE, Section, line_of};

mod config;
#[cfg(test)]
mod documented;
mod formation;
mod router;
mod section;
mod services;

const SECTIONS: [&str; 14] = [
    "app",
    "processes",
    "config",
    "services",
    "health",
    "release",
    "formation",
    "limits",
    "drain",
    "router",
    "build",
    "system",
    "stages",
    "factors",
];

/// Reads the bytes of a `dozen.toml`.
pub fn read_toml(bytes: &[u8]) -> Result<AppManifest, ManifestError> {
    let refused = |line, kind| ManifestError { file: FILE, line, kind };
    if bytes.len() > value_rules::FILE_LIMIT {
        return Err(refused(None, ManifestErrorKind::TooLarge { limit: value_rules::FILE_LIMIT }));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        refused(Some(line), ManifestErrorKind::NotText)
    })?;
    let document = Document::parse(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        refused(line, ManifestErrorKind::Syntax { reason: syntax_reason(error.message()) })
    })?;
    whole_file(&Section::whole(&document))
}

/// The parser's own sentence in one line; should it ever quote the file, then harmlessly.
fn syntax_reason(message: &str) -> String {
    let clean = |letter: char| if letter.is_control() { ' ' } else { letter };
    message.chars().take(200).map(clean).collect()
}

fn whole_file(file: &Section<'_>) -> Result<AppManifest, ManifestError> {
    file.only(&SECTIONS)?;
    let mut manifest = AppManifest {
        app: read(file, "app", app)?,
        processes: read(file, "processes", formation::processes)?,
        config: read(file, "config", config::declarations)?,
        services: read(file, "services", services::declarations)?,
        health: read(file, "health", health)?,
        release: read(file, "release", release)?,
        formation: read(file, "formation", formation::formation)?,
        limits: read(file, "limits", limits)?,
        drain: read(file, "drain", drain)?,
        router: read(file, "router", router::settings)?,
        build: read(file, "build", build)?,
        system: read(file, "system", system)?,
        domains: Vec::new(),
        stages: read(file, "stages", stages)?,
        factors: read(file, "factors", factors)?,
    };
    formation::release_line_to_release_command(file, &mut manifest)?;
    refuse_redirect_loops(file, &manifest)?;
    Ok(manifest)
}

/// Refuses redirects that lead in circles in a stage, whose domains are known only there.
fn refuse_redirect_loops(file: &Section<'_>, manifest: &AppManifest) -> Result<(), ManifestError> {
    for (name, stage) in &manifest.stages {
        let settings = manifest.for_stage(name).router;
        let stages = file.section("stages")?;
        let own =
            stages.and_then(|stages| stages.entry(name.as_str())).map(|entry| entry.section()).transpose()?;
        let own = own.map(|own| own.section("router")).transpose()?.flatten();
        let whole = file.section("router")?;
        let said = if stage.router.redirects.is_empty() { whole } else { own };
        if let Some(said) = said {
            router::refuse_loops(&said, &settings, &stage.domains)?;
        }
    }
    Ok(())
}

/// The section called `name` by its reader, or what holds where it is absent.
fn read<T: Default>(
    parent: &Section<'_>,
    name: &str,
    reader: fn(&Section<'_>) -> Result<T, ManifestError>,
) -> Result<T, ManifestError> {
    match parent.section(name)? {
        Some(section) => reader(&section),
        None => Ok(T::default()),
    }
}

fn app(section: &Section<'_>) -> Result<AppSettings, ManifestError> {
    section.only(&["name", "root", "language", "lock", "python", "node", "package_manager"])?;
    Ok(AppSettings {
        name: section.parsed("name", str::parse)?,
        root: section.text("root", value_rules::tree_path)?,
        language: section.entry("language").map(|entry| language(&entry)).transpose()?,
        lock: section.text("lock", value_rules::tree_path)?,
        python: section.text("python", value_rules::version)?,
        node: section.text("node", value_rules::version)?,
        package_manager: section.entry("package_manager").map(|entry| package_manager(&entry)).transpose()?,
    })
}

fn language(entry: &Entry<'_>) -> Result<Language, ManifestError> {
    let known = [
        ("python", Language::Python),
        ("node", Language::Node),
        ("static", Language::Static),
        ("procfile", Language::Procfile),
    ];
    let text = entry.text()?;
    let found = known.iter().find(|(name, _)| *name == text);
    found.map(|(_, language)| *language).ok_or_else(|| {
        let meant = nearest(text, known.map(|(name, _)| name)).map(|name| format!("did you mean `{name}`?"));
        entry.bad_with_hint("write `python`, `node`, `static` or `procfile`", meant)
    })
}

fn package_manager(entry: &Entry<'_>) -> Result<String, ManifestError> {
    let text = entry.text()?;
    if AppSettings::PACKAGE_MANAGERS.contains(&text) {
        return Ok(text.to_owned());
    }
    let meant = nearest(text, AppSettings::PACKAGE_MANAGERS).map(|name| format!("did you mean `{name}`?"));
    let known = AppSettings::PACKAGE_MANAGERS.map(|name| format!("`{name}`")).join(", ");
    Err(entry.bad_with_hint(format!("write one of {known}"), meant))
}

fn health(section: &Section<'_>) -> Result<HealthSettings, ManifestError> {
    section.only(&["path", "timeout"])?;
    Ok(HealthSettings {
        path: section.text("path", value_rules::request_path)?,
        timeout: time_limit(section, "timeout")?,
    })
}

fn release(section: &Section<'_>) -> Result<ReleaseSettings, ManifestError> {
    let said = release_overrides(section)?;
    Ok(ReleaseSettings {
        command: said.command,
        timeout: said.timeout,
        on_rollback: said.on_rollback.unwrap_or_default(),
        hold_unsafe: said.hold_unsafe,
    })
}

fn release_overrides(section: &Section<'_>) -> Result<ReleaseOverrides, ManifestError> {
    section.only(&["command", "timeout", "on_rollback", "hold_unsafe"])?;
    Ok(ReleaseOverrides {
        command: section.text("command", value_rules::command)?,
        timeout: time_limit(section, "timeout")?,
        on_rollback: section.flag("on_rollback")?,
        hold_unsafe: section.flag("hold_unsafe")?,
    })
}

fn limits(section: &Section<'_>) -> Result<LimitSettings, ManifestError> {
    section.only(&["memory", "cpu", "tmp"])?;
    Ok(LimitSettings {
        memory: section.parsed("memory", str::parse::<ByteSize>)?,
        cpu: section.entry("cpu").map(|entry| cpu(&entry)).transpose()?,
        tmp: section.parsed("tmp", str::parse::<ByteSize>)?,
    })
}

/// A CPU limit: `2`, `"2"`, `"1.5"` or `"500m"`.
fn cpu(entry: &Entry<'_>) -> Result<CpuLimit, ManifestError> {
    if entry.is_number() {
        return Ok(CpuLimit(1000 * entry.whole_number(1, 1024)?));
    }
    entry.parsed(str::parse::<CpuLimit>)
}

fn drain(section: &Section<'_>) -> Result<DrainSettings, ManifestError> {
    section.only(&["timeout"])?;
    Ok(DrainSettings { timeout: section.parsed("timeout", parse_duration)? })
}

fn build(section: &Section<'_>) -> Result<BuildSettings, ManifestError> {
    section.only(&["command", "assets", "timeout", "env", "system_packages"])?;
    Ok(BuildSettings {
        command: section.text("command", value_rules::command)?,
        assets: section.flag("assets")?,
        timeout: time_limit(section, "timeout")?,
        env: read(section, "env", config::plain_values)?,
        system_packages: packages(section, "system_packages")?,
    })
}

fn system(section: &Section<'_>) -> Result<SystemSettings, ManifestError> {
    section.only(&["packages"])?;
    Ok(SystemSettings { packages: packages(section, "packages")? })
}

fn packages(section: &Section<'_>, name: &str) -> Result<Vec<String>, ManifestError> {
    let Some(entry) = section.entry(name) else { return Ok(Vec::new()) };
    let named = |text: &str| {
        value_rules::package(text).map_or_else(|| Ok(text.to_owned()), |rule| Err(rule.to_owned()))
    };
    let mut packages: Vec<String> = entry.list(named)?;
    if let Some(rule) = value_rules::package_count(packages.len()) {
        return Err(entry.bad(rule));
    }
    // Their order has no meaning; sorted, it cannot change the name of an image either.
    packages.sort_unstable();
    packages.dedup();
    Ok(packages)
}

fn stages(section: &Section<'_>) -> Result<BTreeMap<StageName, StageOverrides>, ManifestError> {
    let mut stages = BTreeMap::new();
    let mut owners: BTreeMap<Domain, StageName> = BTreeMap::new();
    for entry in section.entries() {
        let name: StageName = entry.name_as()?;
        let overrides = stage(&entry.section()?)?;
        for domain in &overrides.domains {
            if let Some(owner) = owners.insert(domain.clone(), name.clone()) {
                return Err(entry.bad(format!("`{domain}` is a domain of `{owner}` already")));
            }
        }
        stages.insert(name, overrides);
    }
    Ok(stages)
}

fn stage(section: &Section<'_>) -> Result<StageOverrides, ManifestError> {
    section.only(&["config", "formation", "domains", "health", "release", "router"])?;
    let domains =
        |entry: Entry<'_>| entry.list(|text| text.parse::<Domain>().map_err(|error| error.to_string()));
    Ok(StageOverrides {
        config: read(section, "config", config::declarations)?,
        formation: read(section, "formation", formation::formation)?,
        domains: section.entry("domains").map(domains).transpose()?.unwrap_or_default(),
        health: read(section, "health", health)?,
        release: read(section, "release", release_overrides)?,
        router: read(section, "router", router::settings)?,
    })
}

fn factors(section: &Section<'_>) -> Result<BTreeMap<super::Factor, String>, ManifestError> {
    let mut factors = BTreeMap::new();
    for entry in section.entries() {
        let factor: super::Factor = entry.name_as()?;
        if factors.insert(factor, entry.ruled_text(value_rules::sentence)?).is_some() {
            return Err(entry.bad(format!("factor {factor} is written twice")));
        }
    }
    Ok(factors)
}

/// A duration in which something must end; with none at all nothing could.
fn time_limit(section: &Section<'_>, name: &str) -> Result<Option<Duration>, ManifestError> {
    let limit = section.parsed(name, parse_duration)?;
    match (limit, section.entry(name)) {
        (Some(Duration::ZERO), Some(entry)) => Err(entry.bad("write a duration above zero")),
        _ => Ok(limit),
    }
}
