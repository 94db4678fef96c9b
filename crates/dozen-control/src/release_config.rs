//! The config of a release: which vars an instance gets, and where each value came from.
//!
//! Four sources, the later ones winning: defaults that the app declared, values generated for it
//! once, values its user set, vars of attached services. What a release took is sealed into it
//! whole, so a rollback brings back code *and* config.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use dozen_model::{
    manifest::{AppManifest, ConfigFallback},
    names::{AppName, ConfigVar, ServiceName},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::ControlError,
    seal::{Key, Owner, Secret, random_text},
    store::{ConfigRow, StageKey},
};

/// All names and values of a stage together may take this many bytes.
pub(crate) const LIMIT: usize = 64 << 10;

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A value and where it came from. It has no `Debug` on purpose.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Value {
    /// `set`, `generated`, `default` or `service NAME`.
    pub origin: String,
    #[serde(with = "base64_bytes")]
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A service bound to a var, as a release remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// The config var.
    pub var: ConfigVar,
    /// Row id of the service.
    pub service: i64,
    /// Its name.
    pub name: ServiceName,
    /// Its kind.
    pub kind: String,
    /// Mount path of a volume.
    pub path: Option<String>,
}

/// What is sealed into a release.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReleaseConfig {
    /// Vars by name.
    pub vars: BTreeMap<ConfigVar, Value>,
    /// Attached services.
    pub bound: Vec<Bound>,
}

impl ReleaseConfig {
    /// Encrypts it for the release named by `owner`.
    pub(crate) fn seal(&self, key: &Key, owner: &Owner) -> Vec<u8> {
        let text = serde_json::to_vec(self).expect("the map's keys are strings");
        key.seal(owner, &text)
    }

    /// Decrypts it.
    ///
    /// # Errors
    /// [`ControlError::Sealed`] when it does not open with this key.
    pub(crate) fn unseal(key: &Key, owner: &Owner, sealed: &[u8]) -> Result<Self, ControlError> {
        let text = key.unseal(owner, sealed)?;
        serde_json::from_slice(&text).map_err(|_| ControlError::Sealed { what: "a release".into() })
    }

    /// The rows that the stage's config is made of: what a user set and what was generated.
    pub(crate) fn rows(&self, key: &Key, stage: &StageKey) -> Vec<ConfigRow> {
        let kept = self.vars.iter().filter(|(_, value)| value.origin == "set" || value.origin == "generated");
        kept.map(|(name, value)| sealed_row(key, stage, name.clone(), value)).collect()
    }

    /// Values long enough to be looked for in logs.
    pub(crate) fn secrets(&self) -> Vec<Vec<u8>> {
        let long = self.vars.values().filter(|value| value.origin != "default" && value.bytes.len() >= 8);
        long.map(|value| value.bytes.clone()).collect()
    }
}

/// A value as the stage's config keeps it.
pub(crate) fn sealed_row(key: &Key, stage: &StageKey, name: ConfigVar, value: &Value) -> ConfigRow {
    let sealed = key.seal(&stage.owner(Secret::Config(&name)), &value.bytes);
    ConfigRow { name, sealed, origin: value.origin.clone() }
}

/// Opens the stage's config.
pub(crate) fn stage_vars(
    key: &Key,
    stage: &StageKey,
    rows: &[ConfigRow],
) -> Result<BTreeMap<ConfigVar, Value>, ControlError> {
    let open = |row: &ConfigRow| {
        let bytes = key.unseal(&stage.owner(Secret::Config(&row.name)), &row.sealed)?;
        Ok((row.name.clone(), Value { origin: row.origin.clone(), bytes }))
    };
    rows.iter().map(open).collect()
}

/// Adds what the app declared: defaults and freshly generated values.
///
/// # Errors
/// [`ControlError::RequiredConfig`] with every name that is required and neither set nor bound.
pub(crate) fn add_declared(
    vars: &mut BTreeMap<ConfigVar, Value>,
    manifest: &AppManifest,
    bound: &[Bound],
) -> Result<(), ControlError> {
    let mut missing = Vec::new();
    for (name, declaration) in &manifest.config {
        if vars.contains_key(name) || bound.iter().any(|one| one.var == *name) {
            continue;
        }
        let (origin, bytes) = match &declaration.fallback {
            ConfigFallback::Required => {
                missing.push((name.clone(), declaration.description.clone()));
                continue;
            }
            ConfigFallback::Unset => continue,
            ConfigFallback::Default(text) => ("default", text.clone().into_bytes()),
            ConfigFallback::Secret { length } => {
                ("generated", random_text(usize::try_from(*length).unwrap_or(50), LETTERS).into_bytes())
            }
        };
        vars.insert(name.clone(), Value { origin: origin.to_owned(), bytes });
    }
    if missing.is_empty() { Ok(()) } else { Err(ControlError::RequiredConfig { missing }) }
}

/// Refuses what no environment can hold.
///
/// # Errors
/// [`ControlError::NulInValue`] and [`ControlError::ConfigTooLarge`].
pub(crate) fn check_size(app: &AppName, vars: &BTreeMap<ConfigVar, Value>) -> Result<(), ControlError> {
    if let Some((name, _)) = vars.iter().find(|(_, value)| value.bytes.contains(&0)) {
        return Err(ControlError::NulInValue { var: name.to_string() });
    }
    let bytes = vars.iter().map(|(name, value)| name.as_str().len() + value.bytes.len()).sum();
    if bytes > LIMIT {
        return Err(ControlError::ConfigTooLarge { app: app.clone(), bytes, limit: LIMIT });
    }
    Ok(())
}

/// Reads a base64 value of the API.
pub(crate) fn from_base64(name: &str, text: &str) -> Result<Vec<u8>, ControlError> {
    STANDARD
        .decode(text)
        .map_err(|_| ControlError::BadRequest(format!("the value of `{name}` is not base64")))
}

/// Writes a value for the API.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
