//! How the owner of an app does in a checkout what a failing install step does, for its hint.
//!
//! The tools of dozen's builds are not always the tools of the app's owner: a `Pipfile.lock` is
//! installed by uv, and locked by pipenv.

use crate::{
    error::shown,
    plan::{NodePlan, PythonLock},
};

/// The owner's commands.
pub(crate) struct ByHand {
    /// Installs what the step installs.
    pub(crate) install: String,
    /// Locks one package again; absent where nothing is locked by hash.
    lock_again: Option<String>,
}

impl ByHand {
    pub(crate) fn python(lock: &PythonLock) -> Self {
        let (install, lock_again) = match lock {
            PythonLock::Uv => {
                ("uv sync --locked".to_owned(), Some("uv lock --refresh-package NAME".to_owned()))
            }
            PythonLock::Pipfile(_) => ("pipenv sync".to_owned(), Some("pipenv upgrade NAME".to_owned())),
            PythonLock::Requirements { file, hashed } => {
                let file = shown(file.as_bytes());
                let lock_again = hashed.then(|| format!("uv pip compile --generate-hashes -o {file} FILE"));
                (format!("pip install -r {file}"), lock_again)
            }
            PythonLock::Pyproject => ("uv pip install -r pyproject.toml".to_owned(), None),
            PythonLock::Nothing => ("uv venv".to_owned(), None),
        };
        Self { install, lock_again }
    }

    pub(crate) fn node(plan: &NodePlan) -> Self {
        let install = if plan.locked { "npm ci" } else { "npm install" };
        let lock_again = plan.locked.then(|| "npm update NAME".to_owned());
        Self { install: install.to_owned(), lock_again }
    }

    /// What the last lines call for, when a package is not the one that was locked.
    pub(crate) fn advice(&self, tail: &[String]) -> Option<String> {
        // By uv, whose list of hashes may push the first line out; by npm.
        let is_other = |line: &String| {
            line.contains("Hash mismatch") || line.trim() == "Computed:" || line.contains("EINTEGRITY")
        };
        let lock_again = self.lock_again.as_ref().filter(|_| tail.iter().any(is_other))?;
        Some(format!(
            "what the index sent for the package is not what was locked: if it may have changed, lock it again \
             (`{lock_again}`), commit and deploy again"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_another_hash_is_to_be_locked_again_where_hashes_are_locked() {
        let uv = ByHand::python(&PythonLock::Uv);
        assert_eq!(uv.install, "uv sync --locked");
        for line in [
            "  Caused by: Hash mismatch for `markupsafe==3.0.2`",
            "    Computed:",
            "npm error code EINTEGRITY",
        ] {
            let advice = uv.advice(&[line.to_owned()]).unwrap_or_default();
            assert!(advice.contains("`uv lock --refresh-package NAME`"), "{line}: {advice}");
        }
        assert_eq!(uv.advice(&["error: no such package".to_owned()]), None);
        assert_eq!(ByHand::python(&PythonLock::Pyproject).advice(&["Hash mismatch".to_owned()]), None);
        let file = "requirements/prod.txt".to_owned();
        let pinned = ByHand::python(&PythonLock::Requirements { file, hashed: true });
        assert_eq!(pinned.install, "pip install -r requirements/prod.txt");
    }
}
