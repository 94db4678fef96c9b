//! Language runtimes: which are installed, which one an app gets, and the layer made of it.
//!
//! A runtime becomes a layer of its own, a pruned copy mounted at the prefix it was built for, so
//! an upgrade of the host's Python or Node does not change an image. The dependency step sees the
//! real prefix instead, with its headers, since packages may compile C.
//!
//! Start reading at [`choose`]; [`layer::runtime_layer`] makes the copy.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use crate::{
    error::{BuildError, shown, shown_path},
    plan::WantedVersion,
    store::{read_json, write_json},
    version::Version,
};

pub mod layer;

/// Where runtimes are looked for. The caller reads the environment, not this crate.
#[derive(Debug, Clone, Default)]
pub struct RuntimeSearch {
    /// The folders of `PATH`.
    pub path: Vec<PathBuf>,
    /// Roots of pyenv, such as `~/.pyenv`.
    pub pyenv_roots: Vec<PathBuf>,
    /// Roots of nvm, such as `~/.nvm`.
    pub nvm_roots: Vec<PathBuf>,
    /// Folders in which each folder is one Python, such as those that uv installs.
    pub python_folders: Vec<PathBuf>,
    /// The same, of dozen's own: inside walls they stand at [`OWN_PYTHONS`], on every home alike.
    pub own_pythons: Option<PathBuf>,
}

/// Where Pythons that a build had installed stand inside walls.
pub const OWN_PYTHONS: &str = "/dozen/pythons";

impl RuntimeSearch {
    /// The search for the usual places: `path` as in `PATH`, a home folder, dozen's own home.
    pub fn usual(path: &str, home: Option<&Path>, dozen_home: &Path) -> Self {
        let mut folders: Vec<PathBuf> =
            path.split(':').filter(|folder| folder.starts_with('/')).map(PathBuf::from).collect();
        for usual in ["/usr/local/bin", "/usr/bin"] {
            if !folders.iter().any(|folder| folder == Path::new(usual)) {
                folders.push(usual.into());
            }
        }
        let below = |name: &str| home.map(|home| home.join(name)).into_iter().collect::<Vec<_>>();
        Self {
            path: folders,
            pyenv_roots: below(".pyenv"),
            nvm_roots: below(".nvm"),
            python_folders: below(".local/share/uv/python"),
            own_pythons: Some(dozen_home.join("pythons")),
        }
    }
}

/// One installed runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// `python` or `node`.
    pub name: String,
    /// Its exact version, such as `3.11.7`.
    pub version: String,
    /// The real program, no link, as a path inside walls.
    pub program: PathBuf,
    /// The prefix it was built for, and where it stands inside walls.
    pub prefix: PathBuf,
    /// Where that prefix is on this host, if it is not there itself.
    #[serde(default)]
    pub on_host: Option<PathBuf>,
    /// The standard library (Python only).
    pub stdlib: PathBuf,
    /// Size, time and inode of the program: what tells an upgrade.
    pub stamp: (u64, i64, u64),
}

impl Installed {
    /// The version as numbers; 0.0.0 where it is not understood.
    pub fn number(&self) -> Version {
        Version::parse(&self.version).unwrap_or(Version([0, 0, 0]))
    }

    /// Whether it is the distribution's own, below `/usr`.
    pub fn is_systems(&self) -> bool {
        self.prefix == Path::new("/usr")
    }

    /// Its version and where it is, for people.
    pub(crate) fn described(&self) -> String {
        format!("{} ({})", self.version, shown_path(&self.host_program()))
    }

    /// Where a path below the prefix is on this host.
    pub(crate) fn host_path(&self, path: &Path) -> PathBuf {
        match (&self.on_host, path.strip_prefix(&self.prefix)) {
            (Some(folder), Ok(rest)) if rest.as_os_str().is_empty() => folder.clone(),
            (Some(folder), Ok(rest)) => folder.join(rest),
            _ => path.to_owned(),
        }
    }

    /// The program as it is started outside walls.
    pub(crate) fn host_program(&self) -> PathBuf {
        self.host_path(&self.program)
    }

    /// The same runtime, which stands below `inside` and not below `folder` as it was found.
    fn moved(mut self, folder: &Path, inside: &Path) -> Self {
        let place = |path: &Path| path.strip_prefix(folder).ok().map(|rest| inside.join(rest));
        let found = (place(&self.prefix), place(&self.program), place(&self.stdlib));
        if let (Some(prefix), Some(program), Some(stdlib)) = found {
            self.on_host = Some(std::mem::replace(&mut self.prefix, prefix));
            (self.program, self.stdlib) = (program, stdlib);
        }
        self
    }
}

/// The runtimes of this machine, asked once and remembered until their program changes.
#[derive(Debug)]
pub struct Runtimes {
    search: RuntimeSearch,
    known_path: PathBuf,
    known: BTreeMap<String, Installed>,
    changed: bool,
}

impl Runtimes {
    /// Remembers in `cache`, a folder of ours.
    pub fn new(search: &RuntimeSearch, cache: &Path) -> Self {
        let known_path = cache.join("runtimes.json");
        let known = read_json(&known_path).unwrap_or_default();
        Self { search: search.clone(), known_path, known, changed: false }
    }

    /// All installed Pythons, in the order of the search.
    pub fn pythons(&mut self) -> Vec<Installed> {
        let mut programs = Vec::new();
        let is_python = |name: &str| {
            let rest = name.strip_prefix("python3").unwrap_or("-");
            rest.is_empty() || rest.strip_prefix('.').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
        };
        for folder in &self.search.path {
            programs.extend(named(folder, is_python));
        }
        let versions = self.search.pyenv_roots.iter().map(|root| root.join("versions"));
        let own = self.search.own_pythons.as_ref().and_then(|folder| folder.canonicalize().ok());
        for folder in versions.chain(self.search.python_folders.iter().cloned()).chain(own.clone()) {
            for version in named(&folder, |_| true) {
                programs.extend(named(&version.join("bin"), is_python));
            }
        }
        let found = self.ask_all(programs, ask_python);
        let Some(own) = own else { return found };
        found.into_iter().map(|python| python.moved(&own, Path::new(OWN_PYTHONS))).collect()
    }

    /// All installed Nodes, in the order of the search.
    pub fn nodes(&mut self) -> Vec<Installed> {
        let mut programs: Vec<PathBuf> = self.search.path.iter().map(|folder| folder.join("node")).collect();
        for root in &self.search.nvm_roots {
            programs
                .extend(named(&root.join("versions/node"), |_| true).into_iter().map(|v| v.join("bin/node")));
        }
        self.ask_all(programs, ask_node)
    }

    fn ask_all(
        &mut self,
        programs: Vec<PathBuf>,
        ask: fn(&Path, Stamp) -> Option<Installed>,
    ) -> Vec<Installed> {
        let mut found: Vec<Installed> = Vec::new();
        for program in programs {
            let Ok(real) = program.canonicalize() else { continue };
            if found.iter().any(|known| known.program == real) || !is_program(&real) {
                continue;
            }
            let Some(stamp) = stamp_of(&real) else { continue };
            let key = real.to_string_lossy().into_owned();
            if let Some(known) = self.known.get(&key).filter(|known| known.stamp == stamp) {
                found.push(known.clone());
            } else if let Some(installed) = ask(&real, stamp) {
                self.changed = true;
                self.known.insert(key, installed.clone());
                found.push(installed);
            }
        }
        if std::mem::take(&mut self.changed)
            && let Err(error) = write_json(&self.known_path, &self.known)
        {
            tracing::debug!(%error, "the list of runtimes is not remembered");
        }
        found
    }
}

type Stamp = (u64, i64, u64);

/// Names in a folder that fit, sorted; none when it cannot be read.
fn named(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_str().is_some_and(&fits))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Whether the file is a program for this machine and not a script that picks one (pyenv's shims).
pub(crate) fn is_program(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 4];
    fs::File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && start == crate::elf::MAGIC
}

fn stamp_of(path: &Path) -> Option<Stamp> {
    let facts = fs::metadata(path).ok()?;
    Some((facts.size(), facts.mtime(), facts.ino()))
}

/// Isolated and without `site`: nothing of a user's home takes part.
const PYTHON_FACTS: &str = "import json, sys, sysconfig\nprint(json.dumps([sys.implementation.name, \
    '%d.%d.%d' % sys.version_info[:3], sys.version_info[3], sys.base_prefix, sysconfig.get_path('stdlib')]))";

fn ask_python(program: &Path, stamp: Stamp) -> Option<Installed> {
    let answer = answer_of(Command::new(program).args(["-I", "-S", "-c", PYTHON_FACTS]))?;
    let (implementation, version, level, prefix, stdlib): (String, String, String, PathBuf, PathBuf) =
        serde_json::from_str(&answer).ok()?;
    // A beta sorts as its release would and is none.
    if implementation != "cpython" || level != "final" {
        return None;
    }
    let (name, program) = ("python".into(), program.to_owned());
    Some(Installed { name, version, program, prefix, on_host: None, stdlib, stamp })
}

fn ask_node(program: &Path, stamp: Stamp) -> Option<Installed> {
    let answer = answer_of(Command::new(program).arg("--version"))?;
    let version = answer.trim().strip_prefix('v')?.to_owned();
    Version::parse(&version)?;
    let prefix = program.parent()?.parent()?.to_owned();
    Some(Installed {
        name: "node".into(),
        version,
        program: program.to_owned(),
        prefix,
        on_host: None,
        stdlib: PathBuf::new(),
        stamp,
    })
}

fn answer_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).current_dir("/").output().ok()?;
    String::from_utf8(output.stdout).ok().filter(|_| output.status.success())
}

/// Picks a runtime: the exact patch, else the highest patch of the wanted minor, else the highest
/// that is allowed. Of equal versions the first of the search counts.
pub fn choose<'a>(
    language: &'static str,
    wanted: &WantedVersion,
    installed: &'a [Installed],
) -> Result<&'a Installed, BuildError> {
    let allowed = || installed.iter().filter(|runtime| wanted.range.holds(runtime.number()));
    let exact = wanted.exact.and_then(|exact| allowed().find(|runtime| runtime.number() == exact));
    // `max_by_key` keeps the last of equals.
    let highest = || allowed().rev().max_by_key(|runtime| runtime.number());
    exact.or_else(highest).ok_or_else(|| BuildError::NoRuntime {
        language,
        wanted: shown(wanted.described().as_bytes()),
        found: installed.iter().map(Installed::described).collect(),
        not_installed_because: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Range;

    fn installed(versions: &[&str]) -> Vec<Installed> {
        let one = |version: &&str| Installed {
            name: "python".into(),
            version: (*version).into(),
            program: format!("/p/{version}/bin/python").into(),
            prefix: format!("/p/{version}").into(),
            on_host: None,
            stdlib: PathBuf::new(),
            stamp: (0, 0, 0),
        };
        versions.iter().map(one).collect()
    }

    fn chosen(wanted: &WantedVersion, versions: &[&str]) -> Option<String> {
        choose("Python", wanted, &installed(versions)).ok().map(|runtime| runtime.version.clone())
    }

    #[test]
    fn the_exact_patch_wins_then_the_highest_of_its_minor() {
        let wanted = WantedVersion {
            by: Some(".python-version".into()),
            text: "3.11.4".into(),
            exact: Version::parse("3.11.4"),
            range: Range::beginning_with("3.11").unwrap(),
        };
        assert_eq!(chosen(&wanted, &["3.12.1", "3.11.9", "3.11.4"]).as_deref(), Some("3.11.4"));
        assert_eq!(chosen(&wanted, &["3.12.1", "3.11.2", "3.11.9"]).as_deref(), Some("3.11.9"));
        assert_eq!(chosen(&wanted, &["3.12.1"]), None);
    }

    #[test]
    fn without_a_match_the_error_says_what_was_wanted_and_found() {
        let wanted = WantedVersion {
            by: Some("runtime.txt".into()),
            text: "3.4".into(),
            exact: None,
            range: Range::beginning_with("3.4").unwrap(),
        };
        let error = choose("Python", &wanted, &installed(&["3.12.1"])).unwrap_err().to_string();
        assert_eq!(error, "no Python 3.4 (runtime.txt) is installed; found 3.12.1 (/p/3.12.1/bin/python)");
    }
}
