//! `[services]` of `dozen.toml`.

use std::collections::BTreeMap;

use super::{
    super::{ManifestError, MountPath, ServiceDeclaration, ServiceKind, value_rules},
    section::{Entry, Section},
};
use crate::names::{ConfigVar, ServiceName};

/// The backing services, none in the way of another.
pub(super) fn declarations(
    section: &Section<'_>,
) -> Result<BTreeMap<ServiceName, ServiceDeclaration>, ManifestError> {
    let mut services: BTreeMap<ServiceName, ServiceDeclaration> = BTreeMap::new();
    for entry in section.entries() {
        let name: ServiceName = entry.name_as()?;
        let service = declaration(&entry)?;
        if let Some(reason) = services.iter().find_map(|other| conflict((&name, &service), other)) {
            return Err(entry.bad(reason));
        }
        services.insert(name, service);
    }
    Ok(services)
}

fn declaration(entry: &Entry<'_>) -> Result<ServiceDeclaration, ManifestError> {
    let table = entry.section()?;
    table.only(&["kind", "attach", "path", "url_options"])?;
    let Some(kind) = table.entry("kind") else {
        return Err(entry.bad("say its `kind`, such as `kind = \"sqlite\"`"));
    };
    let service = ServiceDeclaration {
        kind: parsed_kind(&kind)?,
        attach: table.parsed("attach", str::parse)?,
        path: table.parsed("path", str::parse)?,
        url_options: url_options(&table)?,
    };
    if let Some(path) = table.entry("path").filter(|_| service.kind != ServiceKind::Volume) {
        return Err(path.bad("only a `volume` is mounted at a path of your choice"));
    }
    if let Some(options) = table.entry("url_options").filter(|_| service.kind == ServiceKind::Volume) {
        return Err(options.bad("a `volume` has no URL"));
    }
    Ok(service)
}

fn parsed_kind(entry: &Entry<'_>) -> Result<ServiceKind, ManifestError> {
    let parsed = entry.text()?.parse::<ServiceKind>();
    parsed.map_err(|error| entry.bad_with_hint(error.to_string(), Some(error.hint())))
}

fn url_options(table: &Section<'_>) -> Result<BTreeMap<String, String>, ManifestError> {
    let Some(section) = table.section("url_options")? else { return Ok(BTreeMap::new()) };
    let pair = |entry: Entry<'_>| match value_rules::url_option(entry.name()) {
        None => Ok((entry.name().to_owned(), entry.ruled_text(value_rules::value)?)),
        Some(rule) => Err(entry.bad(rule)),
    };
    section.entries().map(pair).collect()
}

/// How two services are in each other's way: one config var or one place for both.
fn conflict(
    (name, service): (&ServiceName, &ServiceDeclaration),
    (other_name, other): (&ServiceName, &ServiceDeclaration),
) -> Option<String> {
    let same_var = |var: &&ConfigVar| other.attach.as_ref() == Some(*var);
    if let Some(var) = service.attach.as_ref().filter(same_var) {
        return Some(format!("`{var}` is attached to `{other_name}` already"));
    }
    let overlapping =
        |path: &MountPath| other.mount_path(other_name).is_some_and(|taken| taken.overlaps(path));
    let path = service.mount_path(name).filter(overlapping)?;
    Some(format!("`{path}` overlaps the mount of `{other_name}`"))
}
