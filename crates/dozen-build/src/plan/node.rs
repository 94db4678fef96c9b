//! The plan for Node: `package-lock.json` decides, scripts say what is built and started.

use std::collections::BTreeMap;

use dozen_model::manifest::AppManifest;
use serde_json::Value;

use super::{Remarks, wanted_version::WantedVersion};
use crate::{error::BuildError, tree::Tree, version::Range};

/// How a Node app is built.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Whether `package-lock.json` decides about the packages.
    pub locked: bool,
    /// Whether packages are declared at all.
    pub has_packages: bool,
    /// The files that the dependency step needs, relative to the tree.
    pub manifest_files: Vec<String>,
    /// Whether the dependency step needs the whole tree: workspaces, local packages, or scripts of
    /// the app that run on install.
    pub needs_tree: bool,
    /// Which Node is wanted.
    pub wanted: WantedVersion,
    /// The scripts of `package.json`.
    pub scripts: BTreeMap<String, String>,
}

impl NodePlan {
    /// Whether there is something to build after installing.
    pub fn has_build(&self) -> bool {
        self.scripts.contains_key("build")
    }
}

const OTHER_LOCKS: [&str; 4] = ["pnpm-lock.yaml", "yarn.lock", "bun.lock", "bun.lockb"];

/// Scripts of the app that `npm ci` runs.
const INSTALL_SCRIPTS: [&str; 10] = [
    "preinstall",
    "install",
    "postinstall",
    "prepublish",
    "preprepare",
    "prepare",
    "postprepare",
    "predependencies",
    "dependencies",
    "postdependencies",
];

pub(super) fn plan_node(
    tree: &Tree,
    manifest: &AppManifest,
    remarks: &mut Remarks,
) -> Result<NodePlan, BuildError> {
    let bad = |reason: &str| BuildError::BadFile { path: "package.json".into(), reason: reason.to_owned() };
    let text = tree.text("package.json")?.ok_or_else(|| bad("it is not there"))?;
    let json: Value = serde_json::from_str(&text).map_err(|_| bad("it is not JSON"))?;
    let locked = choose_lock(tree, manifest)?;
    let scripts = string_map(&json["scripts"]);
    let sections = ["dependencies", "devDependencies", "optionalDependencies"];
    let packages: Vec<String> =
        sections.iter().flat_map(|key| string_map(&json[key]).into_values()).collect();
    let local =
        packages.iter().any(|wish| ["file:", "link:", "."].iter().any(|start| wish.starts_with(start)));
    let scripted = INSTALL_SCRIPTS.iter().any(|name| scripts.contains_key(*name));
    let has_packages = !packages.is_empty() || json.get("workspaces").is_some();
    if has_packages && !locked {
        remarks.warnings.push(
            "there is no package-lock.json: another build may get other versions (factor II); `npm install` writes one"
                .into(),
        );
    }
    let files = ["package.json", "package-lock.json", ".npmrc"];
    Ok(NodePlan {
        locked,
        has_packages,
        manifest_files: files.into_iter().filter(|name| tree.is_file(name)).map(str::to_owned).collect(),
        needs_tree: local || scripted || json.get("workspaces").is_some(),
        wanted: wanted_node(tree, manifest, &json)?,
        scripts,
    })
}

fn choose_lock(tree: &Tree, manifest: &AppManifest) -> Result<bool, BuildError> {
    let unsupported = |name: &str| BuildError::UnsupportedLock {
        name: name.to_owned(),
        instead: "lock with `npm install --package-lock-only`, and keep one lock file",
    };
    let has_npm = tree.kind("package-lock.json").is_some();
    if let Some(lock) = &manifest.app.lock {
        return match lock.as_str() {
            "package-lock.json" if has_npm => Ok(true),
            "package-lock.json" => {
                Err(BuildError::BadLockSetting { name: lock.clone(), why: "is not in the tree" })
            }
            other if OTHER_LOCKS.contains(&other) => Err(unsupported(other)),
            other => Err(BuildError::BadLockSetting {
                name: crate::error::shown(other.as_bytes()),
                why: "is no lock file of Node",
            }),
        };
    }
    let others: Vec<&str> = OTHER_LOCKS.into_iter().filter(|name| tree.kind(name).is_some()).collect();
    match (has_npm, &others[..]) {
        (false, [only]) => Err(unsupported(only)),
        (npm, []) => Ok(npm),
        (npm, others) => {
            let own = npm.then_some("package-lock.json");
            Err(BuildError::CompetingLocks {
                names: own.into_iter().chain(others.iter().copied()).map(str::to_owned).collect(),
            })
        }
    }
}

fn string_map(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

fn wanted_node(tree: &Tree, manifest: &AppManifest, json: &Value) -> Result<WantedVersion, BuildError> {
    if let Some(text) = &manifest.app.node {
        return WantedVersion::plain("dozen.toml", "Node", text);
    }
    for file in [".nvmrc", ".node-version"] {
        if let Some(text) = tree.text(file)? {
            let text = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
            // `lts/*`, `node` and their like name no version: any will do.
            if text.starts_with(|c: char| c.is_ascii_digit() || c == 'v') {
                return WantedVersion::plain(file, "Node", text.trim_start_matches('v'));
            }
        }
    }
    match json["engines"]["node"].as_str() {
        Some(text) => WantedVersion::ranged("package.json", "Node", text, Range::npm(text)),
        None => Ok(WantedVersion::any()),
    }
}
