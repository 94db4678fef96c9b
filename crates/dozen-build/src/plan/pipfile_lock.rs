//! Turns a `Pipfile.lock` into a pinned requirements file with hashes.
//!
//! Pipenv itself is not needed to install: its lock holds all versions and hashes.

use std::fmt::Write as _;

use serde_json::Value;

use super::requirements::normal_name;
use crate::error::{BuildError, shown};

/// A lock as requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedRequirements {
    /// The text of a requirements file.
    pub text: String,
    /// The packages' normalised names.
    pub names: Vec<String>,
    /// Python's version, where the lock asks for one.
    pub python: Option<String>,
}

/// Converts the lock's `default` section; development packages stay out.
pub(super) fn convert(lock: &str) -> Result<PinnedRequirements, BuildError> {
    let bad = |reason: String| BuildError::BadFile { path: "Pipfile.lock".into(), reason };
    let json: Value = serde_json::from_str(lock).map_err(|_| bad("it is not JSON".into()))?;
    let packages = json["default"].as_object().ok_or_else(|| bad("it has no `default` section".into()))?;
    let mut text = String::new();
    for url in indexes(&json) {
        if url.contains(char::is_whitespace) || url.contains('$') {
            return Err(bad("an index needs a variable, which is not supported yet".into()));
        }
        writeln!(text, "--extra-index-url {url}").map_err(|_| bad("it is too large".into()))?;
    }
    let mut names = Vec::new();
    for (name, package) in packages {
        names.push(normal_name(name));
        text.push_str(&line_of(name, package).ok_or_else(|| {
            bad(format!("`{}` is not a plain version from an index", shown(name.as_bytes())))
        })?);
    }
    let requires = &json["_meta"]["requires"];
    let python = requires["python_full_version"].as_str().or(requires["python_version"].as_str());
    Ok(PinnedRequirements { text, names, python: python.map(str::to_owned) })
}

/// The indexes besides the default one, which Pipenv always calls `pypi`.
fn indexes(json: &Value) -> impl Iterator<Item = &str> {
    let sources = json["_meta"]["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    sources.iter().filter(|source| source["name"] != "pypi").filter_map(|source| source["url"].as_str())
}

fn line_of(name: &str, package: &Value) -> Option<String> {
    let plain = |text: &str, more: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let version = package["version"].as_str()?;
    let extras: Vec<&str> = package["extras"]
        .as_array()
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let sound = plain(name, "-_.")
        && version.starts_with("==")
        && plain(version, "=.+!_-")
        && extras.iter().all(|extra| plain(extra, "-_."));
    if !sound || ["git", "path", "file", "editable"].iter().any(|key| package.get(key).is_some()) {
        return None;
    }
    let mut line = name.to_owned();
    if !extras.is_empty() {
        line.push_str(&format!("[{}]", extras.join(",")));
    }
    line.push_str(version);
    if let Some(markers) = package["markers"].as_str() {
        line.push_str(&format!(" ; {}", Some(markers).filter(|text| !text.contains(['\n', '\r', '\\']))?));
    }
    for hash in package["hashes"].as_array()? {
        line.push_str(&format!(" \\\n    --hash={}", hash.as_str().filter(|text| plain(text, ":"))?));
    }
    line.push('\n');
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_becomes_pinned_lines_with_hashes() {
        let lock = r#"{"_meta": {"requires": {"python_version": "3.11"}, "sources": [{"name": "pypi", "url": "x"}]},
            "default": {"django": {"version": "==5.2", "hashes": ["sha256:aa"], "extras": ["argon2"],
            "markers": "python_version >= '3.10'"}}, "develop": {"pytest": {"version": "==8"}}}"#;
        let pinned = convert(lock).unwrap();
        assert_eq!(pinned.text, "django[argon2]==5.2 ; python_version >= '3.10' \\\n    --hash=sha256:aa\n");
        assert_eq!((pinned.names, pinned.python.as_deref()), (vec!["django".to_owned()], Some("3.11")));
    }

    #[test]
    fn what_could_break_out_of_its_line_is_refused() {
        for package in [
            r#"{"version": "==1\n-r /etc/passwd", "hashes": []}"#,
            r#"{"version": "==1", "hashes": ["sha256:a\n--index-url x"]}"#,
            r#"{"version": "==1", "markers": "a\nb", "hashes": []}"#,
            r#"{"git": "https://example.org/x", "ref": "a"}"#,
            r#"{"version": "*", "hashes": []}"#,
        ] {
            assert!(convert(&format!(r#"{{"default": {{"a": {package}}}}}"#)).is_err(), "{package}");
        }
    }
}
