//! Reads Heroku's `app.json`, and what Dokku adds to it, into the same manifest.
//!
//! Lenient: the file was written for another platform, so what has no meaning here is a warning
//! that says what to do instead, and the app still deploys. Only a file that is not a JSON object
//! is an error. A warning names keys in short excerpts and never quotes a value.
//!
//! Start reading at [`read_app_json`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    AppManifest, ConfigDeclaration, ConfigFallback, HealthSettings, ManifestError, ManifestErrorKind,
    ProcessSettings, StageOverrides, value_rules,
};
use crate::{
    excerpt::excerpt,
    names::{ConfigVar, ProcessType, StageName},
    suggestion::nearest,
};

const FILE: &str = "app.json";

/// The length of the secrets that Heroku generates.
const HEROKU_SECRET: u32 = 64;

/// The most warnings that are given; a hostile file could ask for thousands.
const MOST_WARNINGS: usize = 50;

/// Keys with a meaning for a catalogue or a build image only.
const WITHOUT_MEANING: [&str; 9] =
    ["$schema", "description", "keywords", "website", "repository", "logo", "success_url", "image", "stack"];

/// Keys with a meaning here.
const KNOWN: [&str; 9] =
    ["name", "env", "formation", "scripts", "addons", "buildpacks", "environments", "healthchecks", "cron"];

/// Reads the bytes of an `app.json`; the warnings are safe to print.
pub fn read_app_json(bytes: &[u8]) -> Result<(AppManifest, Vec<String>), ManifestError> {
    let refused = |line, kind| ManifestError { file: FILE, line, kind };
    if bytes.len() > value_rules::FILE_LIMIT {
        return Err(refused(None, ManifestErrorKind::TooLarge { limit: value_rules::FILE_LIMIT }));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let file: Value = serde_json::from_slice(bytes).map_err(|error| {
        // The parser's own sentence may quote the file, which may hold a password by mistake.
        let reason = if error.is_eof() { "the JSON ends too early" } else { "it is not valid JSON" };
        refused(Some(error.line()), ManifestErrorKind::Syntax { reason: reason.to_owned() })
    })?;
    let Value::Object(file) = file else {
        return Err(refused(
            None,
            ManifestErrorKind::Syntax { reason: "it is not a JSON object".to_owned() },
        ));
    };
    let mut reader = Reader::default();
    let manifest = reader.manifest(&file);
    Ok((manifest, reader.warnings))
}

#[derive(Default)]
struct Reader {
    warnings: Vec<String>,
}

impl Reader {
    fn warn(&mut self, text: &str) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(format!("`{FILE}`: {text}"));
        }
    }

    fn manifest(&mut self, file: &Map<String, Value>) -> AppManifest {
        self.unknown_keys(file);
        let mut manifest = AppManifest::default();
        // Elsewhere the name is a title; where it can be an app's name it is one.
        manifest.app.name = file.get("name").and_then(Value::as_str).and_then(|name| name.parse().ok());
        manifest.config = self.env(file);
        manifest.formation = self.formation(file);
        manifest.health = self.healthchecks(file);
        self.not_supported(file);
        manifest.stages = self.environments(file);
        manifest
    }

    fn unknown_keys(&mut self, file: &Map<String, Value>) {
        for key in file
            .keys()
            .filter(|key| !KNOWN.contains(&key.as_str()) && !WITHOUT_MEANING.contains(&key.as_str()))
        {
            let meant =
                nearest(key, KNOWN).map(|known| format!(", did you mean `{known}`?")).unwrap_or_default();
            self.warn(&format!("the unknown key `{}` is left out{meant}", excerpt(key)));
        }
    }

    /// The object called `key`, if it is there and is one.
    fn object<'a>(&mut self, parent: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
        let value = parent.get(key)?;
        if !value.is_object() {
            self.warn(&format!("`{key}` is left out, it is not an object"));
        }
        value.as_object()
    }

    fn env(&mut self, parent: &Map<String, Value>) -> BTreeMap<ConfigVar, ConfigDeclaration> {
        let mut config = BTreeMap::new();
        for (name, value) in self.object(parent, "env").into_iter().flatten() {
            match (name.parse::<ConfigVar>(), declaration(value)) {
                (Ok(name), Some(declaration)) => _ = config.insert(name, declaration),
                (Err(error), _) => self.warn(&format!("an entry of `env` is left out: {error}")),
                (_, None) => self
                    .warn(&format!("`env.{}` is left out, it is not a text or a declaration", excerpt(name))),
            }
        }
        config
    }

    fn formation(&mut self, parent: &Map<String, Value>) -> BTreeMap<ProcessType, ProcessSettings> {
        let mut formation = BTreeMap::new();
        for (name, value) in self.object(parent, "formation").into_iter().flatten() {
            let Ok(process) = name.parse::<ProcessType>() else {
                self.warn(&format!("`formation.{}` is left out, it is not a process type", excerpt(name)));
                continue;
            };
            let fits = |count: &u32| *count <= ProcessSettings::MOST_INSTANCES;
            let quantity = value.get("quantity").and_then(Value::as_u64);
            let count = quantity.and_then(|count| u32::try_from(count).ok()).filter(fits);
            if count.is_none() {
                self.warn(&format!("`formation.{process}` has no usable `quantity`"));
            }
            if value.get("size").is_some() {
                self.warn(&format!(
                    "`formation.{process}.size` names Heroku's machines, set a `memory` in `dozen.toml`"
                ));
            }
            if count.is_some() && process != ProcessType::release() {
                formation.insert(process, ProcessSettings { count, ..ProcessSettings::default() });
            }
        }
        formation
    }

    /// Dokku's health checks: the path of the first one that `web` has for its start.
    fn healthchecks(&mut self, file: &Map<String, Value>) -> HealthSettings {
        let checks =
            self.object(file, "healthchecks").and_then(|checks| checks.get("web")).and_then(Value::as_array);
        let at_start =
            |check: &&Value| check.get("type").and_then(Value::as_str).is_none_or(|kind| kind == "startup");
        let path = |check: &Value| check.get("path").and_then(Value::as_str).map(str::to_owned);
        let path = checks.and_then(|checks| checks.iter().filter(at_start).find_map(path));
        if path.as_deref().is_some_and(|path| value_rules::request_path(path).is_some()) {
            self.warn("the `path` of a health check is left out, it is not a path such as `/healthz`");
            return HealthSettings::default();
        }
        HealthSettings { path, timeout: None }
    }

    /// What has no counterpart, with what to do instead.
    fn not_supported(&mut self, file: &Map<String, Value>) {
        for script in file.get("scripts").and_then(Value::as_object).into_iter().flat_map(Map::keys) {
            let instead = match script.as_str() {
                "postdeploy" => ", use a `release:` line of the Procfile or `dozen run` once",
                "predeploy" | "dokku.predeploy" => ", use a `release:` line of the Procfile",
                _ => "",
            };
            self.warn(&format!("`scripts.{}` is not run{instead}", excerpt(script)));
        }
        let addons = file.get("addons").and_then(Value::as_array);
        for addon in addons.into_iter().flatten().filter_map(addon_name) {
            match service_for(addon) {
                Some(kind) => self.warn(&format!(
                    "the add-on `{}` is not created, declare `[services.NAME]` with `kind = \"{kind}\"` in `dozen.toml`",
                    excerpt(addon)
                )),
                None => self.warn(&format!("the add-on `{}` has no counterpart", excerpt(addon))),
            }
        }
        if file.contains_key("buildpacks") {
            self.warn("`buildpacks` is left out, dozen finds the language itself");
        }
        if file.contains_key("cron") {
            self.warn("`cron` is left out, there are no scheduled processes yet");
        }
    }

    fn environments(&mut self, file: &Map<String, Value>) -> BTreeMap<StageName, StageOverrides> {
        let mut stages = BTreeMap::new();
        for (name, value) in self.object(file, "environments").into_iter().flatten() {
            match (name.parse::<StageName>(), value.as_object()) {
                (Ok(stage), Some(environment)) => {
                    let (config, formation) = (self.env(environment), self.formation(environment));
                    stages.insert(stage, StageOverrides { config, formation, ..StageOverrides::default() });
                }
                _ => self.warn(&format!("`environments.{}` is left out, it is not a stage", excerpt(name))),
            }
        }
        stages
    }
}

/// One entry of `env`: a text, or an object in Heroku's form.
fn declaration(value: &Value) -> Option<ConfigDeclaration> {
    let usable = |text: &str| value_rules::value(text).is_none().then(|| text.to_owned());
    if let Value::String(default) = value {
        return Some(ConfigDeclaration {
            description: None,
            fallback: ConfigFallback::Default(usable(default)?),
        });
    }
    let object = value.as_object()?;
    let description = object.get("description").and_then(Value::as_str);
    let description = description.filter(|text| value_rules::sentence(text).is_none()).map(str::to_owned);
    let generated = object.get("generator").and_then(Value::as_str) == Some("secret");
    // Unlike in `dozen.toml`, a var is required unless it says that it is not.
    let required = object.get("required").and_then(Value::as_bool).unwrap_or(true);
    let fallback = match object.get("value") {
        Some(Value::String(default)) => ConfigFallback::Default(usable(default)?),
        Some(Value::Null) | None if generated => ConfigFallback::Secret { length: HEROKU_SECRET },
        Some(Value::Null) | None if required => ConfigFallback::Required,
        Some(Value::Null) | None => ConfigFallback::Unset,
        Some(Value::Number(number)) => ConfigFallback::Default(number.to_string()),
        Some(Value::Bool(truth)) => ConfigFallback::Default(truth.to_string()),
        Some(_) => return None,
    };
    Some(ConfigDeclaration { description, fallback })
}

/// The add-on's name without its plan, from either form of an entry.
fn addon_name(entry: &Value) -> Option<&str> {
    let plan = entry.as_str().or_else(|| entry.get("plan").and_then(Value::as_str))?;
    plan.split(':').next()
}

/// The kind of service that does what a well-known add-on does.
fn service_for(addon: &str) -> Option<&'static str> {
    match addon {
        "heroku-postgresql" => Some("postgres"),
        "heroku-redis" | "rediscloud" => Some("redis"),
        "jawsdb" | "jawsdb-maria" | "cleardb" => Some("mysql"),
        "sendgrid" | "mailgun" | "postmark" => Some("smtp"),
        _ => None,
    }
}
