//! The plan for Python: exactly one lock file decides, and a version file asks for the runtime.
//!
//! Start reading at [`plan_python`].

use std::collections::BTreeSet;

use dozen_model::manifest::AppManifest;
use toml_edit::{DocumentMut, Item};

use super::{
    Remarks,
    django::{self, DjangoProject},
    pipfile_lock::{self, PinnedRequirements},
    requirements::{normal_name, read_requirements, requirement_name},
    wanted_version::WantedVersion,
};
use crate::{
    error::{BuildError, shown},
    tree::Tree,
    version::Range,
};

/// How a Python app is built.
#[derive(Debug, Clone)]
pub struct PythonPlan {
    /// What decides about the packages.
    pub lock: PythonLock,
    /// The files that the dependency step needs, relative to the tree.
    pub manifest_files: Vec<String>,
    /// Whether the dependency step needs the whole tree, because it installs parts of it.
    pub needs_tree: bool,
    /// Whether the project is itself a package that is to be installed.
    pub is_package: bool,
    /// Which Python is wanted.
    pub wanted: WantedVersion,
    /// Normalised names of the packages, as far as the files name them.
    pub packages: BTreeSet<String>,
    /// The Django project, where there is one.
    pub django: Option<DjangoProject>,
}

/// What decides about the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PythonLock {
    /// `uv.lock`.
    Uv,
    /// `Pipfile.lock`, converted.
    Pipfile(PinnedRequirements),
    /// A requirements file; with a hash for every package or not.
    Requirements {
        /// Its name, relative to the tree.
        file: String,
        /// Whether every line has a hash.
        hashed: bool,
    },
    /// `pyproject.toml` alone: nothing is pinned.
    Pyproject,
    /// No packages at all.
    Nothing,
}

/// The files that may decide, and the tools without a plan.
const LOCKS: [&str; 6] =
    ["uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "pylock.toml", "requirements.txt"];

/// Whether one of Python's files is there.
pub(super) fn is_python(tree: &Tree) -> bool {
    LOCKS.iter().chain(&["pyproject.toml", "Pipfile", "setup.py"]).any(|name| tree.kind(name).is_some())
}

pub(super) fn plan_python(
    tree: &Tree,
    manifest: &AppManifest,
    remarks: &mut Remarks,
) -> Result<PythonPlan, BuildError> {
    let pyproject = Pyproject::read(tree)?;
    let mut plan = PythonPlan {
        lock: PythonLock::Nothing,
        manifest_files: Vec::new(),
        needs_tree: false,
        is_package: false,
        wanted: WantedVersion::any(),
        packages: BTreeSet::new(),
        django: None,
    };
    match deciding_lock(tree, manifest)?.as_deref() {
        Some("uv.lock") => plan.use_uv_lock(tree, &pyproject)?,
        Some("Pipfile.lock") => {
            let pinned = pipfile_lock::convert(&tree.text("Pipfile.lock")?.unwrap_or_default())?;
            plan.packages = pinned.names.iter().cloned().collect();
            plan.lock = PythonLock::Pipfile(pinned);
        }
        Some(file) => plan.use_requirements(tree, file, remarks)?,
        None if tree.is_file("Pipfile") => {
            let (file, lock, command) = ("Pipfile", "Pipfile.lock", "pipenv lock");
            return Err(BuildError::NoLock { file, lock, command });
        }
        None if pyproject.has_project => plan.use_pyproject(&pyproject, remarks),
        None => remarks.notes.push("no Python packages are declared".into()),
    }
    plan.wanted = wanted_python(tree, manifest, &pyproject, &plan.lock)?;
    plan.django = django::find(tree, &plan.packages)?;
    Ok(plan)
}

/// The lock that decides: the one that is set, else the only one.
fn deciding_lock(tree: &Tree, manifest: &AppManifest) -> Result<Option<String>, BuildError> {
    if let Some(name) = &manifest.app.lock {
        let known = LOCKS.contains(&name.as_str()) || name.ends_with(".txt");
        let bad = |why| BuildError::BadLockSetting { name: shown(name.as_bytes()), why };
        return match tree.kind(name) {
            _ if !known => Err(bad("is no lock file of Python")),
            None => Err(bad("is not in the tree")),
            Some(_) => supported(name).map(Some),
        };
    }
    let found: Vec<&str> = LOCKS.into_iter().filter(|name| tree.kind(name).is_some()).collect();
    match found[..] {
        [] => Ok(None),
        [only] => supported(only).map(Some),
        _ => Err(BuildError::CompetingLocks { names: found.into_iter().map(str::to_owned).collect() }),
    }
}

fn supported(name: &str) -> Result<String, BuildError> {
    let instead = match name {
        "poetry.lock" => {
            "export it with `poetry export -o requirements.txt` and set `[app] lock = \"requirements.txt\"`"
        }
        "pdm.lock" => {
            "export it with `pdm export -o requirements.txt` and set `[app] lock = \"requirements.txt\"`"
        }
        "pylock.toml" => "lock with `uv lock`, or export a requirements.txt with hashes",
        _ => return Ok(name.to_owned()),
    };
    Err(BuildError::UnsupportedLock { name: name.to_owned(), instead })
}

impl PythonPlan {
    fn use_uv_lock(&mut self, tree: &Tree, pyproject: &Pyproject) -> Result<(), BuildError> {
        if !pyproject.has_file {
            let reason = "there is no pyproject.toml beside it".to_owned();
            return Err(BuildError::BadFile { path: "uv.lock".into(), reason });
        }
        let text = tree.text("uv.lock")?.unwrap_or_default();
        let lock = parse_toml("uv.lock", &text)?;
        let packages = lock.get("package").and_then(Item::as_array_of_tables);
        let own = pyproject.name.as_deref().map(normal_name);
        for package in packages.into_iter().flatten() {
            let name = normal_name(package.get("name").and_then(Item::as_str).unwrap_or_default());
            let source = package.get("source").and_then(Item::as_inline_table);
            let local = |key: &str| source.is_some_and(|source| source.contains_key(key));
            let is_local = ["editable", "virtual", "directory", "path"].iter().any(|key| local(key));
            // The project itself is installed in a step of its own; other local packages need
            // their source when the rest is installed.
            self.needs_tree |= is_local && Some(&name) != own.as_ref();
            self.packages.insert(name);
        }
        self.lock = PythonLock::Uv;
        self.is_package = pyproject.is_package;
        self.manifest_files = vec!["pyproject.toml".into(), "uv.lock".into()];
        if tree.is_file("uv.toml") {
            self.manifest_files.push("uv.toml".into());
        }
        Ok(())
    }

    fn use_requirements(&mut self, tree: &Tree, file: &str, remarks: &mut Remarks) -> Result<(), BuildError> {
        let found = read_requirements(tree, file)?;
        if !found.unpinned.is_empty() {
            let names: Vec<&str> = found.unpinned.iter().map(String::as_str).take(5).collect();
            remarks.warnings.push(format!(
                "{file} does not pin {}{}: another build may get other versions (factor II)",
                names.join(", "),
                if found.unpinned.len() > 5 { " and more" } else { "" }
            ));
        }
        self.lock = PythonLock::Requirements { file: file.to_owned(), hashed: found.hashed };
        self.needs_tree = found.needs_tree;
        self.packages = found.names;
        self.manifest_files = found.files;
        Ok(())
    }

    fn use_pyproject(&mut self, pyproject: &Pyproject, remarks: &mut Remarks) {
        remarks.warnings.push(
            "there is no lock file: another build may get other versions (factor II); `uv lock` writes one"
                .into(),
        );
        self.lock = PythonLock::Pyproject;
        self.packages = pyproject.dependencies.iter().map(|line| requirement_name(line)).collect();
        self.manifest_files = vec!["pyproject.toml".into()];
        // Metadata that a build backend computes needs the project's files.
        self.needs_tree = pyproject.is_dynamic;
    }
}

/// What `pyproject.toml` says, as far as the plan needs it.
#[derive(Debug, Default)]
struct Pyproject {
    has_file: bool,
    has_project: bool,
    name: Option<String>,
    requires_python: Option<String>,
    dependencies: Vec<String>,
    is_package: bool,
    is_dynamic: bool,
}

impl Pyproject {
    fn read(tree: &Tree) -> Result<Self, BuildError> {
        let Some(text) = tree.text("pyproject.toml")? else { return Ok(Self::default()) };
        let document = parse_toml("pyproject.toml", &text)?;
        let project = document.get("project").and_then(Item::as_table_like);
        let text_of =
            |key: &str| project.and_then(|table| table.get(key)).and_then(Item::as_str).map(str::to_owned);
        let list_of = |key: &str| -> Vec<String> {
            let array = project.and_then(|table| table.get(key)).and_then(Item::as_array);
            array.into_iter().flatten().filter_map(|value| value.as_str().map(str::to_owned)).collect()
        };
        let package = document.get("tool").and_then(|tool| tool.get("uv")).and_then(|uv| uv.get("package"));
        let declared = package.and_then(Item::as_bool);
        Ok(Self {
            has_file: true,
            has_project: project.is_some()
                || document.get("tool").and_then(|tool| tool.get("poetry")).is_some(),
            name: text_of("name"),
            requires_python: text_of("requires-python"),
            dependencies: list_of("dependencies"),
            // uv's own rule: a project with a build system is a package unless it says otherwise.
            is_package: declared.unwrap_or_else(|| document.get("build-system").is_some()),
            is_dynamic: project.is_none() || !list_of("dynamic").is_empty(),
        })
    }
}

fn parse_toml(name: &str, text: &str) -> Result<DocumentMut, BuildError> {
    text.parse().map_err(|_| BuildError::BadFile { path: name.to_owned(), reason: "it is not TOML".into() })
}

/// The wish for a version; the first of the files that says one counts.
fn wanted_python(
    tree: &Tree,
    manifest: &AppManifest,
    pyproject: &Pyproject,
    lock: &PythonLock,
) -> Result<WantedVersion, BuildError> {
    if let Some(text) = &manifest.app.python {
        return WantedVersion::plain("dozen.toml", "Python", text);
    }
    if let Some(text) = tree.text(".python-version")? {
        let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let plain = first.map(|line| line.strip_prefix("cpython-").unwrap_or(line));
        // pyenv's word for "whatever the machine has" is no wish.
        if let Some(text) = plain.filter(|line| *line != "system") {
            return WantedVersion::plain(".python-version", "Python", text);
        }
    }
    if let Some(text) = tree.text("runtime.txt")? {
        let version = text.trim().strip_prefix("python-").unwrap_or(text.trim());
        return WantedVersion::plain("runtime.txt", "Python", version);
    }
    if let PythonLock::Pipfile(PinnedRequirements { python: Some(text), .. }) = lock {
        return WantedVersion::plain("Pipfile.lock", "Python", text);
    }
    match &pyproject.requires_python {
        Some(text) => WantedVersion::ranged("pyproject.toml", "Python", text, Range::pep440(text)),
        None => Ok(WantedVersion::any()),
    }
}
