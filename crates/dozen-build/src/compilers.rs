//! What a compile in the dependency step could see of this machine: compiler, headers, libraries.
//!
//! A layer in which something was compiled holds only as long as these are the same; one of wheels
//! and prebuilt modules alone does not ask for them. Known are the packages of Debian and Alpine;
//! what was put below `/usr/local` by hand is not seen.
//!
//! Start reading at [`compilers`].

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{cache_key::CacheKey, store::LayerFacts};

/// The compiler and the development packages that are installed now, each a part by its name.
pub(crate) fn compilers() -> CacheKey {
    let mut key = CacheKey::default();
    for program in ["cc", "c++"] {
        key.with(format!("`{program}`"), version_of(program).unwrap_or_else(|| "none".to_owned()));
    }
    let packages = fs::read_to_string("/var/lib/dpkg/status")
        .map(|text| packages_of(&text, ["Package: ", "Version: "], Some("Status: install ok installed")))
        .or_else(|_| {
            fs::read_to_string("/lib/apk/db/installed").map(|text| packages_of(&text, ["P:", "V:"], None))
        });
    for (name, version) in packages.unwrap_or_default() {
        key.with(name, version);
    }
    key
}

/// The packages of headers in a package manager's list of paragraphs.
fn packages_of(text: &str, [name, version]: [&str; 2], status: Option<&str>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |begin: &str| paragraph.lines().find_map(|line| line.strip_prefix(begin));
        let is_there = status.is_none_or(|wanted| paragraph.lines().any(|line| line == wanted));
        if let (true, Some(name), Some(version)) = (is_there, field(name), field(version))
            && (name.ends_with("-dev") || name == "binutils")
        {
            found.push((name.to_owned(), version.to_owned()));
        }
    }
    found
}

/// What a compiler says of itself; `/usr/local` comes first, as inside the walls.
fn version_of(program: &str) -> Option<String> {
    let path = ["/usr/local/bin", "/usr/bin"].map(|folder| format!("{folder}/{program}"));
    let path = path.iter().find(|path| fs::metadata(path).is_ok())?;
    let output = Command::new(path)
        .arg("--version")
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Whether a layer of `node_modules` has a module that was compiled where it was installed.
pub(crate) fn has_compiled_module(facts: &LayerFacts) -> bool {
    let is_compiled = |path: &str| path.contains("/build/Release/") && path.ends_with(".node");
    // One of those that were left out may be.
    facts.has_more_elf_files || facts.elf_files.iter().any(|file| is_compiled(&file.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_packages_of_headers_are_found() {
        let dpkg = "Package: libpq-dev\nStatus: install ok installed\nVersion: 15.6\nDescription: x\n Package: y-dev\n\n\
            Package: libold-dev\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: libpq5\nStatus: install ok installed\nVersion: 15.6\n";
        let status = Some("Status: install ok installed");
        let pair = ("libpq-dev".to_owned(), "15.6".to_owned());
        assert_eq!(packages_of(dpkg, ["Package: ", "Version: "], status), std::slice::from_ref(&pair));
        assert_eq!(packages_of("C:x\nP:libpq-dev\nV:15.6\n\nP:a\nV:1\n", ["P:", "V:"], None), [pair]);
    }
}
