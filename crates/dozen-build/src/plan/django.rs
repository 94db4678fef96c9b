//! Finds a Django project: its settings module, its WSGI and ASGI modules, its migrations.
//!
//! Found by text, not by running anything: `manage.py` names the settings module in a string.

use std::collections::BTreeSet;

use rustix::fs::FileType;

use crate::{error::BuildError, tree::Tree};

/// A Django project at the top of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DjangoProject {
    /// What `manage.py` sets `DJANGO_SETTINGS_MODULE` to, where it says so plainly.
    pub settings_module: Option<String>,
    /// The module that holds the WSGI application, such as `blog.wsgi`.
    pub wsgi_module: Option<String>,
    /// The module that holds the ASGI application.
    pub asgi_module: Option<String>,
}

/// Looks for `manage.py` and what it names; none without Django among the packages or the text.
pub(super) fn find(tree: &Tree, packages: &BTreeSet<String>) -> Result<Option<DjangoProject>, BuildError> {
    let Some(manage) = tree.read("manage.py")? else { return Ok(None) };
    let text = String::from_utf8_lossy(&manage);
    // A project may start through another package, such as django-configurations.
    if !packages.contains("django") && !text.to_lowercase().contains("django") {
        return Ok(None);
    }
    let settings_module = settings_module(&text);
    let package = settings_module.as_deref().and_then(|module| module.split('.').next());
    Ok(Some(DjangoProject {
        wsgi_module: entry_module(tree, package, "wsgi"),
        asgi_module: entry_module(tree, package, "asgi"),
        settings_module,
    }))
}

/// The string after `DJANGO_SETTINGS_MODULE` in `os.environ.setdefault("…", "blog.settings")`.
fn settings_module(text: &str) -> Option<String> {
    for (at, word) in text.match_indices("DJANGO_SETTINGS_MODULE") {
        let line = text[at + word.len()..].lines().take(2).collect::<Vec<_>>().join(" ");
        let mut pieces = line.split(['"', '\'']).skip(1);
        let module = pieces.find(|piece| is_module(piece) && piece.contains('.'));
        if let Some(module) = module {
            return Some(module.to_owned());
        }
    }
    None
}

fn is_module(text: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    text.len() < 200 && text.split('.').all(part)
}

/// `PACKAGE.NAME`, from the settings' own package or the only folder that has such a file.
fn entry_module(tree: &Tree, package: Option<&str>, name: &str) -> Option<String> {
    let has = |folder: &str| tree.is_file(&format!("{folder}/{name}.py"));
    if let Some(package) = package.filter(|package| has(package)) {
        return Some(format!("{package}.{name}"));
    }
    let folders = tree
        .list(".")
        .into_iter()
        .filter(|(folder, kind)| *kind == FileType::Directory && is_module(folder) && !folder.contains('.'));
    let mut found = folders.map(|(folder, _)| folder).filter(|folder| has(folder));
    let only = found.next()?;
    found.next().is_none().then(|| format!("{only}.{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_module_is_read_from_manage_py() {
        for (text, module) in [
            ("os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"blog.settings\")", Some("blog.settings")),
            (
                "os.environ.setdefault('DJANGO_SETTINGS_MODULE',\n    'a.settings.prod')",
                Some("a.settings.prod"),
            ),
            ("os.environ['DJANGO_SETTINGS_MODULE'] = \"x.settings\"", Some("x.settings")),
            ("os.environ[\"DJANGO_SETTINGS_MODULE\"] = name", None),
            ("print('hello')", None),
        ] {
            assert_eq!(settings_module(text).as_deref(), module, "{text}");
        }
    }
}
