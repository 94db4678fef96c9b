//! Placeholders for config vars: what the asset step gets instead of a stage's config.
//!
//! A framework reads its settings before it can do anything, so declared config vars must exist
//! while assets are collected. Their values are public: the declared default, else a text of the
//! right shape. No stage's value ever gets here.

use std::collections::BTreeMap;

use dozen_model::manifest::{AppManifest, ConfigFallback, ServiceKind};

/// The environment of the asset step: declared config vars, attached services, `[build.env]`.
pub(crate) fn placeholders(manifest: &AppManifest) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, declaration) in &manifest.config {
        let value = match &declaration.fallback {
            ConfigFallback::Default(text) => text.clone(),
            ConfigFallback::Unset => continue,
            ConfigFallback::Required | ConfigFallback::Secret { .. } => placeholder(name.as_str()),
        };
        env.insert(name.to_string(), value);
    }
    for (name, service) in &manifest.services {
        let (usual, value) = of_service(service.kind);
        let own = || format!("{}{usual}", name.as_str().to_ascii_uppercase().replace('-', "_"));
        let var = match &service.attach {
            Some(var) => var.to_string(),
            None if usual.starts_with('_') => own(),
            None => usual.to_owned(),
        };
        let path = service.path.as_ref().map(ToString::to_string);
        env.insert(var, path.unwrap_or_else(|| value.to_owned()));
    }
    // What the app says itself wins.
    env.extend(manifest.build.env.iter().map(|(name, value)| (name.to_string(), value.clone())));
    env
}

/// The config var that a service is attached to where the app does not say, and a value. A name
/// that begins with `_` follows the service's own.
fn of_service(kind: ServiceKind) -> (&'static str, &'static str) {
    match kind {
        // A database that is not there may be named, but a build must not depend on one.
        ServiceKind::Sqlite | ServiceKind::Postgres | ServiceKind::Mysql => {
            ("DATABASE_URL", "sqlite:///:memory:")
        }
        ServiceKind::Volume => ("_PATH", "/tmp"),
        ServiceKind::Redis => ("REDIS_URL", "redis://127.0.0.1:1/0"),
        ServiceKind::Smtp => ("EMAIL_URL", "smtp://127.0.0.1:1"),
        ServiceKind::External => ("_URL", "http://127.0.0.1:1"),
    }
}

/// A text that a settings module can parse, by the name's usual meaning.
fn placeholder(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let has = |word: &str| upper.contains(word);
    let text = if upper == "DATABASE_URL" || (has("DATABASE") && has("URL")) {
        "sqlite:///:memory:"
    } else if has("URL") && (has("REDIS") || has("CACHE") || has("BROKER")) {
        "redis://127.0.0.1:1/0"
    } else if has("URL") && has("EMAIL") {
        "smtp://127.0.0.1:1"
    } else if upper.ends_with("_URL") || upper.ends_with("_URI") {
        "http://127.0.0.1:1"
    } else if upper.ends_with("HOSTS") || upper.ends_with("HOST") {
        "localhost"
    } else if upper.ends_with("_PORT") {
        "1"
    } else {
        // Long enough for checks of a secret's length.
        return format!("{BEGIN}{}{END}", name.to_lowercase().replace('_', "-"));
    };
    text.to_owned()
}

const BEGIN: &str = "placeholder-";
const END: &str = "-for-the-build-only-not-a-secret-value";

/// The config var whose placeholder a failing step's last lines quote: a number was expected, for
/// example.
pub(crate) fn unreadable_placeholder(tail: &[String]) -> Option<String> {
    let name = tail.iter().rev().find_map(|line| {
        let (before, _) = line.split_once(END)?;
        Some(before.rsplit_once(BEGIN)?.1.to_owned())
    })?;
    Some(name.to_ascii_uppercase().replace('-', "_"))
}

/// The config var that a failing step's last lines say is missing.
pub(crate) fn missing_variable(tail: &[String]) -> Option<String> {
    let marks = [
        "KeyError",
        "UndefinedValueError",
        "EnvError",
        "Set the ",
        "environment variable",
        "setting must not be empty",
        SECRET_VALUE,
    ];
    let line = tail.iter().rev().find(|line| marks.iter().any(|mark| line.contains(mark)))?;
    // What stands before may be the name of a setting, which the variable need not share.
    let line = line.split_once("environment variable '").map_or(line.as_str(), |(_, after)| after);
    let mut words = line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_name = |word: &&str| {
        word.len() >= 3
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let name = words.find(is_name)?;
    let prefix = if line.contains(SECRET_VALUE) { "DJANGO_" } else { "" };
    Some(format!("{prefix}{name}"))
}

/// django-configurations names the setting here; its variable begins with `DJANGO_` by default.
const SECRET_VALUE: &str = "Secret value '";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_config_vars_get_a_value_of_the_right_shape() {
        let toml = b"[config]\nSECRET_KEY = { generate = \"secret\" }\nDATABASE_URL = { required = true }\n\
            HOSTS = { default = \"a.org\" }\n[build.env]\nEXTRA = \"1\"\n";
        let (manifest, _) = AppManifest::read(Some(toml), None).unwrap();
        let env = placeholders(&manifest);
        assert!(env["SECRET_KEY"].len() >= 50, "{env:?}");
        assert_eq!(env["DATABASE_URL"], "sqlite:///:memory:");
        assert_eq!((env["HOSTS"].as_str(), env["EXTRA"].as_str()), ("a.org", "1"));
    }

    #[test]
    fn a_service_without_a_config_var_gets_the_one_it_is_attached_to_later() {
        let toml = b"[services.shop-media]\nkind = \"volume\"\n[services.db]\nkind = \"sqlite\"\n";
        let (manifest, _) = AppManifest::read(Some(toml), None).unwrap();
        let names: Vec<String> = placeholders(&manifest).into_keys().collect();
        assert_eq!(names, ["DATABASE_URL", "SHOP_MEDIA_PATH"]);
    }

    #[test]
    fn a_placeholder_that_is_no_number_is_named() {
        let quoted = placeholder("MAX_WORKERS");
        let line = format!("ValueError: invalid literal for int() with base 10: '{quoted}'");
        assert_eq!(unreadable_placeholder(&[line]).as_deref(), Some("MAX_WORKERS"));
        assert_eq!(unreadable_placeholder(&["ValueError: 'placeholder-x'".to_owned()]), None);
    }

    #[test]
    fn the_missing_variable_is_named() {
        for (line, name) in [
            ("KeyError: 'SECRET_KEY'", Some("SECRET_KEY")),
            (
                "django.core.exceptions.ImproperlyConfigured: Set the STRIPE_KEY environment variable",
                Some("STRIPE_KEY"),
            ),
            ("decouple.UndefinedValueError: API_TOKEN not found. Declare it as envvar", Some("API_TOKEN")),
            (
                "ValueError: Value 'HOST' is required to be set as the environment variable 'DJANGO_HOST'",
                Some("DJANGO_HOST"),
            ),
            ("ValueError: Secret value 'SECRET_KEY' is not set", Some("DJANGO_SECRET_KEY")),
            ("ImproperlyConfigured: The SECRET_KEY setting must not be empty.", Some("SECRET_KEY")),
            ("ImproperlyConfigured: a.b.C must be added to settings.MIDDLEWARE", None),
            ("ModuleNotFoundError: No module named 'x'", None),
            ("KeyError: 'lower'", None),
        ] {
            assert_eq!(missing_variable(&[line.to_owned()]).as_deref(), name, "{line}");
        }
    }
}
