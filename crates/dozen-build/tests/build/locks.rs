//! Lock files: each pins an old version of a package, that one is imported, and its hash counts.
//!
//! What the app declares beside each lock would take the newest version too, so only the lock can
//! have chosen the old one. The import happens in the asset step: it runs in the image to be.

use std::{path::Path, process::Command};

use dozen_build::BuildError;
use tempfile::TempDir;

use crate::bench::{Bench, tree, uv_of, whole, write_files};

/// Published in 2022, when 2.2 was to come; its one wheel fits every machine.
const OLD_PYTHON_PACKAGE: &str = "2.1.2";
const ITS_HASH: &str = "2c2349112351b88699d8d4b6b075022c0808887cb7ad10069318a8b0bc88db44";
const IMPORT_IN_PYTHON: &str = "[build]\ncommand = \"python -c 'import itsdangerous; \
    print(\\\"imported\\\", itsdangerous.__version__)'\"\n";

const OLD_NODE_PACKAGE: &str = "1.12.1";
const ITS_INTEGRITY: &str =
    "hEQt0+ZLDVUMhebKxL4x1BTtDY7bavVofhZ9KZ4aI26X9SRaE+Y3m83XUL1UP2jn8ynjndwCCpEHdUG+9pP1Tw==";
const IMPORT_IN_NODE: &str = "[build]\ncommand = \"node -e 'console.log(\\\"imported\\\", \
    require(\\\"underscore\\\").VERSION)'\"\n";

/// A tree whose lock file pins `version` by the hash `right`.
struct Locked {
    folder: TempDir,
    lock: &'static str,
    right: &'static str,
    version: &'static str,
}

impl Locked {
    fn python(lock: &'static str, files: &[(&str, &str)]) -> Self {
        let folder =
            tree(&[("Procfile", "web: python app.py\n"), ("app.py", ""), ("dozen.toml", IMPORT_IN_PYTHON)]);
        write_files(folder.path(), files);
        Self { folder, lock, right: ITS_HASH, version: OLD_PYTHON_PACKAGE }
    }

    /// Builds, and looks at what was imported; then the same with another hash in the lock.
    fn assert_it_decides(&self, bench: &Bench) {
        let lock = self.lock;
        let (result, heard) = bench.build(self.folder.path());
        let log = heard.lines.join("\n");
        if let Err(error) = result {
            panic!("{lock}: {}\n{log}", whole(&error));
        }
        let imported = heard.lines.iter().find_map(|line| line.split_once(": imported "));
        assert_eq!(imported.map(|(_, version)| version), Some(self.version), "{lock}: {log}");

        let path = self.folder.path().join(lock);
        let text = std::fs::read_to_string(&path).unwrap();
        // Another sum of the same length: its first letters changed places.
        let wrong = text.replace(self.right, &format!("{}{}", &self.right[4..], &self.right[..4]));
        assert_ne!(text, wrong, "{lock} has the hash");
        std::fs::write(&path, wrong).unwrap();
        let (result, heard) = bench.build(self.folder.path());
        let log = heard.lines.join("\n");
        let error = result.expect_err(&format!("{lock}: a wrong hash was taken: {log}"));
        assert!(matches!(error, BuildError::StepFailed { .. }), "{lock}: {}", whole(&error));
        let said = whole(&error).to_lowercase();
        assert!(["hash", "integrity"].iter().any(|word| said.contains(word)), "{lock}: {said}\n{log}");
        let hint = dozen_model::hint::Hint::hint(&error).unwrap_or_default();
        assert!(hint.contains("lock it again"), "{lock}: {hint}");
    }
}

/// A lock as uv writes it for this old version, though the project allows newer ones.
fn with_uv_lock(bench: &Bench) -> Locked {
    let pyproject = "[project]\nname = \"probe\"\nversion = \"1\"\nrequires-python = \">=3.8\"\n\
        dependencies = [\"itsdangerous\"]\n";
    let locked = Locked::python("uv.lock", &[("pyproject.toml", pyproject)]);
    let wish = format!("itsdangerous=={OLD_PYTHON_PACKAGE}");
    run_uv(bench, locked.folder.path(), &["lock", "--upgrade-package", &wish]);
    locked
}

/// Runs the uv that the build itself uses, and has fetched for a build before.
fn run_uv(bench: &Bench, folder: &Path, words: &[&str]) {
    let cache = TempDir::new().unwrap();
    let output = Command::new(uv_of(bench))
        .args(words)
        .env("UV_CACHE_DIR", cache.path())
        .env("UV_PYTHON_DOWNLOADS", "never")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_a_python_lock_pins_is_imported_and_its_hash_counts() {
    // One home for all of them: the tool and the runtime's layer come once.
    let bench = Bench::new();
    let requirements = format!("itsdangerous=={OLD_PYTHON_PACKAGE} --hash=sha256:{ITS_HASH}\n");
    Locked::python("requirements.txt", &[("requirements.txt", &requirements)]).assert_it_decides(&bench);

    let pipfile_lock = format!(
        r#"{{"_meta": {{}}, "default": {{"itsdangerous": {{"version": "=={OLD_PYTHON_PACKAGE}",
        "hashes": ["sha256:{ITS_HASH}"]}}}}, "develop": {{}}}}"#
    );
    let pipfile = [("Pipfile", "[packages]\nitsdangerous = \"*\"\n"), ("Pipfile.lock", &pipfile_lock)];
    Locked::python("Pipfile.lock", &pipfile).assert_it_decides(&bench);

    with_uv_lock(&bench).assert_it_decides(&bench);
}

#[test]
fn what_a_node_lock_pins_is_imported_and_its_hash_counts() {
    let package = r#"{"name": "probe", "version": "1.0.0", "dependencies": {"underscore": "^1.12.0"}}"#;
    let lock = format!(
        r#"{{"name": "probe", "version": "1.0.0", "lockfileVersion": 3, "requires": true, "packages": {{
        "": {{"name": "probe", "version": "1.0.0", "dependencies": {{"underscore": "^1.12.0"}}}},
        "node_modules/underscore": {{"version": "{OLD_NODE_PACKAGE}", "integrity": "sha512-{ITS_INTEGRITY}"}}}}}}"#
    );
    let folder = tree(&[
        ("package.json", package),
        ("package-lock.json", &lock),
        ("Procfile", "web: node server.js\n"),
        ("server.js", ""),
        ("dozen.toml", IMPORT_IN_NODE),
    ]);
    let locked =
        Locked { folder, lock: "package-lock.json", right: ITS_INTEGRITY, version: OLD_NODE_PACKAGE };
    locked.assert_it_decides(&Bench::new());
}
