//! `[config]` and `[build.env]` of `dozen.toml`. Their values are never quoted in errors.

use std::collections::BTreeMap;

use super::{
    super::{ConfigDeclaration, ConfigFallback, ManifestError, value_rules},
    section::{Entry, Section},
};
use crate::names::ConfigVar;

/// The config vars of a section: `NAME = "default"` or `NAME = { .. }`.
pub(super) fn declarations(
    section: &Section<'_>,
) -> Result<BTreeMap<ConfigVar, ConfigDeclaration>, ManifestError> {
    let mut declarations = BTreeMap::new();
    for entry in section.entries() {
        let declaration = if entry.is_section() {
            detailed(&entry)?
        } else {
            let default = entry.ruled_text(value_rules::value)?;
            ConfigDeclaration { description: None, fallback: ConfigFallback::Default(default) }
        };
        declarations.insert(entry.name_as()?, declaration);
    }
    Ok(declarations)
}

/// A section of names and plain texts.
pub(super) fn plain_values(section: &Section<'_>) -> Result<BTreeMap<ConfigVar, String>, ManifestError> {
    let pair = |entry: Entry<'_>| Ok((entry.name_as()?, entry.ruled_text(value_rules::value)?));
    section.entries().map(pair).collect()
}

fn detailed(entry: &Entry<'_>) -> Result<ConfigDeclaration, ManifestError> {
    let table = entry.section()?;
    table.only(&["required", "default", "generate", "length", "description"])?;
    let length = table.entry("length");
    let most = ConfigFallback::LONGEST_SECRET;
    let secret = match (table.entry("generate"), &length) {
        (Some(generate), length) => {
            if generate.text()? != "secret" {
                return Err(generate.bad("only `secret` can be generated"));
            }
            let asked =
                length.as_ref().map(|length| length.whole_number(ConfigFallback::SHORTEST_SECRET, most));
            Some(asked.transpose()?.unwrap_or(ConfigFallback::DEFAULT_SECRET))
        }
        (None, Some(length)) => return Err(length.bad("it needs `generate = \"secret\"` beside it")),
        (None, None) => None,
    };
    let default = table.text("default", value_rules::value)?;
    let fallback = match (table.flag("required")?.unwrap_or(false), default, secret) {
        (false, None, None) => ConfigFallback::Unset,
        (true, None, None) => ConfigFallback::Required,
        (false, Some(default), None) => ConfigFallback::Default(default),
        (false, None, Some(length)) => ConfigFallback::Secret { length },
        _ => return Err(entry.bad("`required`, `default` and `generate` exclude each other")),
    };
    Ok(ConfigDeclaration { description: table.text("description", value_rules::sentence)?, fallback })
}
