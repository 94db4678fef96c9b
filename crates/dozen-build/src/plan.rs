//! Decides how a tree is built: language, lock file, runtime wish, process types.
//!
//! Only files are read here, below the tree's root and without following links; nothing runs and
//! nothing is installed. The result is data: equal trees give equal plans.
//!
//! Start reading at [`plan`].

use std::collections::BTreeMap;

use dozen_model::{image::Language, manifest::AppManifest, names::ProcessType, procfile::Procfile};

use crate::{error::BuildError, tree::Tree};

pub mod django;
mod error_pages;
pub mod node;
mod pipfile_lock;
pub mod processes;
pub mod python;
mod requirements;
mod static_site;
mod wanted_version;

pub use django::DjangoProject;
pub use node::NodePlan;
pub use python::{PythonLock, PythonPlan};
pub use wanted_version::WantedVersion;

/// Raised when a plan's result changes for the same input: old dependency layers are then not used.
pub const PLAN_VERSION: u32 = 2;

/// How a tree is built.
#[derive(Debug, Clone)]
pub struct BuildPlan {
    /// The language and what its plan found.
    pub language: LanguagePlan,
    /// Process types and their command lines.
    pub processes: BTreeMap<ProcessType, String>,
    /// The command of the release phase.
    pub release_command: Option<String>,
    /// What the app declares.
    pub manifest: AppManifest,
    /// What was decided and why, a line each, safe to print.
    pub notes: Vec<String>,
    /// What will surprise someone, safe to print.
    pub warnings: Vec<String>,
}

/// The language of a plan.
#[derive(Debug, Clone)]
pub enum LanguagePlan {
    /// CPython.
    Python(Box<PythonPlan>),
    /// Node.js.
    Node(Box<NodePlan>),
    /// A folder that the router serves, relative to the tree, `.` for the tree itself.
    Static {
        /// The folder.
        root: String,
    },
    /// Executables of the tree.
    Procfile,
}

impl LanguagePlan {
    /// The word for an image.
    pub fn language(&self) -> Language {
        match self {
            Self::Python(_) => Language::Python,
            Self::Node(_) => Language::Node,
            Self::Static { .. } => Language::Static,
            Self::Procfile => Language::Procfile,
        }
    }
}

/// What was said while a plan was made.
#[derive(Debug, Default)]
struct Remarks {
    notes: Vec<String>,
    warnings: Vec<String>,
}

/// Reads what the tree declares and decides how to build it.
pub fn plan(tree: &Tree) -> Result<BuildPlan, BuildError> {
    let dozen_toml = tree.read("dozen.toml")?;
    let app_json = tree.read("app.json")?;
    let (manifest, manifest_warnings) = AppManifest::read(dozen_toml.as_deref(), app_json.as_deref())?;
    let written = tree.read("Procfile")?;
    let procfile = written.as_deref().map(Procfile::parse).transpose()?;
    let has_procfile = procfile.is_some();
    let mut remarks = Remarks::default();
    remarks.warnings.extend(manifest_warnings);
    let procfile = manifest.over_procfile(procfile.unwrap_or_default());
    remarks.warnings.extend(procfile.warnings.iter().cloned());
    let has_commands = has_procfile || !procfile.processes.is_empty();
    error_pages::check(tree, &manifest, &mut remarks)?;
    let language = match language_of(tree, &manifest, has_commands, &mut remarks)? {
        Language::Python => {
            LanguagePlan::Python(Box::new(python::plan_python(tree, &manifest, &mut remarks)?))
        }
        Language::Node => LanguagePlan::Node(Box::new(node::plan_node(tree, &manifest, &mut remarks)?)),
        Language::Static => LanguagePlan::Static { root: static_site::root_of(tree, &manifest)? },
        Language::Procfile => LanguagePlan::Procfile,
    };
    let processes = processes::process_types(procfile.processes, &language, &mut remarks)?;
    Ok(BuildPlan {
        language,
        processes,
        release_command: procfile.release,
        manifest,
        notes: remarks.notes,
        warnings: remarks.warnings,
    })
}

/// The files that say what a tree is.
const LOOKED_FOR: &str = "uv.lock, Pipfile.lock, requirements.txt, pyproject.toml, package.json, \
     a Staticfile, index.html, a Procfile";

fn language_of(
    tree: &Tree,
    manifest: &AppManifest,
    has_commands: bool,
    remarks: &mut Remarks,
) -> Result<Language, BuildError> {
    if let Some(language) = manifest.app.language {
        return Ok(language);
    }
    let is_python = python::is_python(tree) || tree.is_file("manage.py");
    let is_node = tree.kind("package.json").is_some();
    if is_python && is_node {
        remarks.notes.push(
            "both Python and package.json were found: Python it is (`[app] language` in dozen.toml chooses)"
                .into(),
        );
    }
    if is_python {
        return Ok(Language::Python);
    }
    if is_node {
        return Ok(Language::Node);
    }
    if tree.kind("Staticfile").is_some() || (!has_commands && tree.is_file("index.html")) {
        return Ok(Language::Static);
    }
    if has_commands {
        return Ok(Language::Procfile);
    }
    if tree.is_file("Dockerfile") {
        return Err(BuildError::DockerfileOnly);
    }
    Err(BuildError::NothingFound { looked_for: LOOKED_FOR })
}
