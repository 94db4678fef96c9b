//! What `dozen.toml` declares and this version does not act on: said once a deploy, before the build.
//!
//! The keys are read and checked, so nobody notices that they do nothing. System packages are
//! looked for, since the build may fail for the want of them, and never installed.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Command, Stdio},
};

use dozen_build::tree::Tree;
use dozen_model::manifest::AppManifest;

/// Warnings about a tree's declarations. A tree that cannot be read has none: the build says why.
pub(super) fn warnings(tree: &Path) -> Vec<String> {
    let read = |name: &str| Tree::open(tree).and_then(|tree| tree.read(name)).ok().flatten();
    let manifest = AppManifest::read(read("dozen.toml").as_deref(), read("app.json").as_deref());
    let Ok((manifest, _)) = manifest else { return Vec::new() };
    let mut warnings = without_effect(&manifest);
    warnings.extend(missing_packages(&manifest, is_installed));
    warnings
}

fn without_effect(manifest: &AppManifest) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(name) = &manifest.app.package_manager {
        warnings.push(format!(
            "`[app] package_manager = \"{name}\"` of dozen.toml has no effect in this version: the lock file decides"
        ));
    }
    if !manifest.factors.is_empty() {
        let names: Vec<String> = manifest.factors.keys().map(ToString::to_string).collect();
        warnings.push(format!(
            "`[factors]` of dozen.toml ({}) has no effect in this version: nothing reads the reasons yet",
            names.join(", ")
        ));
    }
    warnings
}

/// One command for all packages that are not there; `None` of a package is that nobody knows.
fn missing_packages(manifest: &AppManifest, is_installed: impl Fn(&str) -> Option<bool>) -> Option<String> {
    let named = manifest.system.packages.iter().chain(&manifest.build.system_packages);
    let named: BTreeSet<&str> = named.map(String::as_str).collect();
    let mut missing = Vec::new();
    for name in &named {
        match is_installed(name) {
            Some(true) => {}
            Some(false) => missing.push(*name),
            None => {
                let all = named.into_iter().collect::<Vec<_>>().join(", ");
                return Some(format!(
                    "dozen.toml asks for packages of the machine ({all}), and this one has no `dpkg-query` to look for \
                     them: see that they are installed"
                ));
            }
        }
    }
    (!missing.is_empty()).then(|| {
        format!(
            "this machine lacks packages that dozen.toml asks for: run `apt-get install {}` on it as root, then deploy \
             again",
            missing.join(" ")
        )
    })
}

/// Whether Debian's package manager has a package; `None` where it is not there. The name is checked
/// by the manifest: it cannot be an option or a pattern.
fn is_installed(name: &str) -> Option<bool> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", "--", name]);
    let answer = query.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    Some(answer.status.success() && answer.stdout.starts_with(b"installed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> AppManifest {
        AppManifest::read(Some(text.as_bytes()), None).unwrap().0
    }

    #[test]
    fn each_key_without_effect_is_named() {
        assert_eq!(without_effect(&manifest("[app]\nname = \"shop\"\n")), Vec::<String>::new());
        let told =
            without_effect(&manifest("[app]\npackage_manager = \"poetry\"\n[factors]\nIV = \"none\"\n"));
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("package_manager") && told[1].contains("(IV)"), "{told:?}");
    }

    #[test]
    fn all_missing_packages_are_one_command() {
        let text = "[system]\npackages = [\"libpq5\", \"libc6\"]\n[build]\nsystem_packages = [\"libpq5\", \"gettext\"]\n";
        let told = missing_packages(&manifest(text), |name| Some(name == "libc6")).unwrap();
        assert!(told.contains("`apt-get install gettext libpq5`"), "{told}");
        assert_eq!(missing_packages(&manifest(text), |_| Some(true)), None);
        assert!(missing_packages(&manifest(text), |_| None).unwrap().contains("dpkg-query"));
        assert_eq!(missing_packages(&manifest(""), |_| None), None);
    }

    #[test]
    fn the_machines_own_package_manager_is_asked() {
        // Where it is not the machine's, there is nobody to ask.
        if let Some(there) = is_installed("no-such-package-anywhere") {
            assert!(!there);
            assert_eq!(is_installed("dpkg"), Some(true));
        }
    }
}
