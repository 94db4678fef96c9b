//! Checks that the shared libraries an image needs are there, in the image or on the host.
//!
//! It works on the facts that the store took when each layer was made, so it costs next to
//! nothing. A name counts as there when a file of the image has it, or when the host's loader
//! knows it. What cannot be loaded here anyway (other machines, other C libraries) is left out.
//!
//! It does not see libraries that a program opens by name while it runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    elf::ElfFile,
    error::{BuildError, shown},
    store::LayerFacts,
};

/// A library of the host that an image needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HostLibrary {
    /// The name that is needed.
    pub soname: String,
    /// The file the host's loader finds for it.
    pub path: PathBuf,
    /// The file's name without links, which tells its version.
    pub file: String,
}

/// What the check found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Libraries {
    /// Libraries of the host.
    pub(crate) host: Vec<HostLibrary>,
    /// Libraries that are missing but perhaps never loaded, as sentences.
    pub(crate) warnings: Vec<String>,
}

/// System packages of Debian and Ubuntu for libraries that are often missing.
const PACKAGES: [(&str, &str); 20] = [
    ("libpq.so.5", "libpq5"),
    ("libmariadb.so.3", "libmariadb3"),
    ("libmysqlclient.so.21", "libmysqlclient21"),
    ("libmagic.so.1", "libmagic1"),
    ("libpango-1.0.so.0", "libpango-1.0-0"),
    ("libpangoft2-1.0.so.0", "libpangoft2-1.0-0"),
    ("libcairo.so.2", "libcairo2"),
    ("libgobject-2.0.so.0", "libglib2.0-0"),
    ("libglib-2.0.so.0", "libglib2.0-0"),
    ("libGL.so.1", "libgl1"),
    ("libgomp.so.1", "libgomp1"),
    ("libstdc++.so.6", "libstdc++6"),
    ("libjpeg.so.62", "libjpeg62-turbo"),
    ("libfreetype.so.6", "libfreetype6"),
    ("libxml2.so.2", "libxml2"),
    ("libxslt.so.1", "libxslt1.1"),
    ("libgdal.so.32", "libgdal32"),
    ("libgeos_c.so.1", "libgeos-c1v5"),
    ("libodbc.so.2", "libodbc2"),
    ("libldap-2.5.so.0", "libldap-2.5-0"),
];

/// The warning where a layer has more files than facts of them are kept.
const TOO_MANY: &str =
    "a layer has too many programs and libraries: whether what they need is there was not checked";

/// Checks the layers of an image together.
pub(crate) fn check(layers: &[LayerFacts]) -> Result<Libraries, BuildError> {
    let machine = own_machine();
    let files: Vec<&ElfFile> =
        layers.iter().flat_map(|layer| &layer.elf_files).filter(|file| file.machine == machine).collect();
    let mut inside: BTreeSet<&str> = BTreeSet::new();
    for file in &files {
        inside.extend(file.soname.as_deref());
        inside.extend(file.path.rsplit('/').next());
    }
    let mut needed: BTreeMap<&str, &ElfFile> = BTreeMap::new();
    for file in files.iter().filter(|file| !is_for_other_libc(file)) {
        for name in file.needed.iter().filter(|name| !inside.contains(name.as_str())) {
            let known = needed.entry(name).or_insert(file);
            // The file that is loaded most surely stands for the name.
            if is_module(file) {
                *known = file;
            }
        }
    }
    let mut result = Libraries::default();
    // What is missing may then be among those that were left out.
    let is_partial = layers.iter().any(|layer| layer.has_more_elf_files);
    if is_partial {
        result.warnings.push(TOO_MANY.to_owned());
    }
    if needed.is_empty() {
        return Ok(result);
    }
    let host = host_libraries();
    let mut missing = Vec::new();
    for (name, file) in needed {
        match host.get(name) {
            Some(path) => result.host.push(host_library(name, path)),
            None if is_partial => {}
            None if is_module(file) => missing.push((name, file)),
            None => result.warnings.push(format!(
                "{} needs {name}, which this machine does not have",
                shown(file.path.as_bytes())
            )),
        }
    }
    if missing.is_empty() {
        return Ok(result);
    }
    let package =
        |name: &str| PACKAGES.iter().find(|(soname, _)| *soname == name).map(|(_, package)| *package);
    let packages: BTreeSet<&str> = missing.iter().filter_map(|(name, _)| package(name)).collect();
    Err(BuildError::MissingLibraries {
        names: missing
            .iter()
            .map(|(name, file)| format!("{name} (for {})", shown(file.path.as_bytes())))
            .collect(),
        packages: packages.into_iter().map(str::to_owned).collect(),
    })
}

fn host_library(soname: &str, path: &Path) -> HostLibrary {
    let real = path.canonicalize().ok();
    let file = real.and_then(|real| Some(real.file_name()?.to_str()?.to_owned())).unwrap_or_default();
    HostLibrary { soname: soname.to_owned(), path: path.to_owned(), file }
}

/// Whether the file is a module that Python or Node loads by importing it. Plugins and prebuilt
/// variants, of which an app may use none, only give a warning.
fn is_module(file: &ElfFile) -> bool {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let in_packages = file.path.contains("site-packages/") || file.path.contains("node_modules/");
    let is_variant = file.path.contains("/prebuilds/") || file.path.contains("/plugins/");
    let is_import = name.contains(".cpython-") || name.ends_with(".abi3.so") || name.ends_with(".node");
    in_packages && is_import && !is_variant
}

fn is_for_other_libc(file: &ElfFile) -> bool {
    let other = if cfg!(target_env = "musl") { "libc.so.6" } else { "libc.musl-" };
    file.needed.iter().any(|name| name.starts_with(other))
}

/// The number that ELF gives this machine.
fn own_machine() -> u16 {
    match std::env::consts::ARCH {
        "x86_64" => 62,
        "aarch64" => 183,
        "riscv64" => 243,
        "powerpc64" => 21,
        "s390x" => 22,
        _ => 0,
    }
}

/// What the host's loader finds, by name: its cache, and its default folders where there is none.
fn host_libraries() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for program in ["/sbin/ldconfig", "/usr/sbin/ldconfig"] {
        let output = Command::new(program).arg("-p").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let Ok(output) = output else { continue };
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            // `libz.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libz.so.1`
            if let (Some(name), Some((_, path))) = (line.split_whitespace().next(), line.split_once(" => ")) {
                found.entry(name.to_owned()).or_insert_with(|| PathBuf::from(path.trim()));
            }
        }
        break;
    }
    let arch = std::env::consts::ARCH;
    for folder in
        [format!("/usr/lib/{arch}-linux-gnu"), "/usr/lib64".into(), "/usr/lib".into(), "/lib".into()]
    {
        for entry in std::fs::read_dir(Path::new(&folder)).into_iter().flatten().flatten() {
            if let Some(name) = entry.file_name().to_str().filter(|name| name.contains(".so")) {
                found.entry(name.to_owned()).or_insert_with(|| entry.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(path: &str, needed: &[&str]) -> LayerFacts {
        let file = ElfFile {
            path: path.into(),
            machine: own_machine(),
            soname: None,
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
        };
        LayerFacts { elf_files: vec![file], ..LayerFacts::default() }
    }

    #[test]
    fn a_module_without_its_library_is_refused_by_name() {
        let module = ".venv/lib/python3.11/site-packages/x/_x.cpython-311-x86_64-linux-gnu.so";
        let error = check(&[layer(module, &["libnothere.so.9", "libc.so.6"])]).unwrap_err().to_string();
        assert!(error.contains("libnothere.so.9") && !error.contains("libc.so.6"), "{error}");
    }

    #[test]
    fn where_files_were_left_out_nothing_counts_as_missing() {
        let module = ".venv/lib/python3.11/site-packages/x/_x.abi3.so";
        let layer = LayerFacts { has_more_elf_files: true, ..layer(module, &["libnothere.so.9"]) };
        assert_eq!(check(&[layer]).unwrap().warnings, [TOO_MANY]);
    }

    #[test]
    fn a_library_of_the_image_counts_as_there() {
        let module = ".venv/lib/python3.11/site-packages/x/_x.abi3.so";
        let own = layer(".venv/lib/python3.11/site-packages/x.libs/libown-1a2b.so.1", &["libc.so.6"]);
        let found = check(&[layer(module, &["libown-1a2b.so.1"]), own]).unwrap();
        assert_eq!(
            found.host.iter().map(|library| library.soname.as_str()).collect::<Vec<_>>(),
            ["libc.so.6"]
        );
        assert!(found.warnings.is_empty());
    }

    #[test]
    fn a_variant_for_another_c_library_does_not_count() {
        let variant = "node_modules/@img/sharp/lib/sharp.node";
        assert!(check(&[layer(variant, &["libc.musl-x86_64.so.1", "libnothere.so.9"])]).is_ok());
    }
}
