//! Reads requirements files as far as the build must know them: names, pins, hashes, includes.
//!
//! The installer reads them again and has the last word; this only decides the cache key, the
//! warnings and whether the whole tree is needed to install.

use std::collections::BTreeSet;

use crate::{
    error::{BuildError, shown},
    tree::Tree,
};

/// How deep `-r` may nest, and how many files there may be.
const MOST_FILES: usize = 50;

/// What a requirements file and those it includes say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Requirements {
    /// The files, in the order they were read, relative to the tree.
    pub(super) files: Vec<String>,
    /// Normalised names of the packages that are named.
    pub(super) names: BTreeSet<String>,
    /// Names that are not pinned with `==`, or come from a repository.
    pub(super) unpinned: BTreeSet<String>,
    /// Whether every requirement has a hash.
    pub(super) hashed: bool,
    /// Whether something of the tree itself is installed.
    pub(super) needs_tree: bool,
}

/// Reads `name` and the files it includes.
pub(super) fn read_requirements(tree: &Tree, name: &str) -> Result<Requirements, BuildError> {
    let mut found = Requirements { hashed: true, ..Requirements::default() };
    let mut waiting = vec![name.to_owned()];
    while let Some(file) = waiting.pop() {
        if found.files.contains(&file) {
            continue;
        }
        if found.files.len() == MOST_FILES {
            let reason = format!("it includes more than {MOST_FILES} files");
            return Err(BuildError::BadFile { path: name.to_owned(), reason });
        }
        let missing =
            || BuildError::BadFile { path: shown(file.as_bytes()), reason: "it is not in the tree".into() };
        let text = tree.text(&file)?.ok_or_else(missing)?;
        found.files.push(file.clone());
        for line in logical_lines(&text) {
            if let Some(included) = read_line(&line, &mut found) {
                waiting.push(beside(&file, &included)?);
            }
        }
    }
    found.hashed &= !found.names.is_empty();
    Ok(found)
}

/// Lines with continuations joined and comments gone.
fn logical_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let without_comment = |line: &str| {
        let end = if line.trim_start().starts_with('#') { Some(0) } else { line.find(" #") };
        line[..end.unwrap_or(line.len())].trim().to_owned()
    };
    joined.lines().map(without_comment).filter(|line| !line.is_empty()).collect()
}

/// Takes one line in; returns a file that it includes.
fn read_line(line: &str, found: &mut Requirements) -> Option<String> {
    for (short, long) in [("-r", "--requirement"), ("-c", "--constraint")] {
        if let Some(rest) = line.strip_prefix(long).or_else(|| line.strip_prefix(short)) {
            return Some(rest.trim_start_matches(['=', ' ']).trim().to_owned());
        }
    }
    if line.starts_with("-e") || line.starts_with("--editable") {
        found.needs_tree = true;
        return None;
    }
    if let Some(rest) = line.strip_prefix("--find-links").or_else(|| line.strip_prefix("-f ")) {
        found.needs_tree |= !rest.contains("://");
        return None;
    }
    if line.starts_with('-') {
        return None;
    }
    let (requirement, options) = line.split_once(" --").map_or((line, ""), |(a, b)| (a.trim(), b));
    let is_local = requirement.starts_with(['.', '/']) || requirement.contains("file:");
    let is_archive = !requirement.contains("://")
        && [".whl", ".tar.gz", ".zip"].iter().any(|end| requirement.ends_with(end));
    if is_local || is_archive {
        found.needs_tree = true;
        return None;
    }
    found.hashed &= options.contains("hash");
    let name = requirement_name(requirement);
    let specifier = requirement.split(';').next().unwrap_or_default();
    if !specifier.contains("==") || specifier.contains(".*") {
        found.unpinned.insert(name.clone());
    }
    found.names.insert(name);
    None
}

/// The normalised name at the start of a requirement such as `Django[argon2]>=5`.
pub(super) fn requirement_name(requirement: &str) -> String {
    let end = requirement.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)));
    normal_name(requirement[..end.unwrap_or(requirement.len())].trim())
}

/// A package name as indexes compare it: lower case, runs of `-`, `_` and `.` as one `-`.
pub(super) fn normal_name(name: &str) -> String {
    let mut normal = String::new();
    for letter in name.chars() {
        if matches!(letter, '-' | '_' | '.') {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.extend(letter.to_lowercase());
        }
    }
    normal
}

/// The path of `included`, which `file` names relative to itself.
fn beside(file: &str, included: &str) -> Result<String, BuildError> {
    let refused = || BuildError::BadFile {
        path: shown(file.as_bytes()),
        reason: "it includes a file outside the tree".into(),
    };
    if included.contains("://") || included.starts_with('/') || included.is_empty() {
        return Err(refused());
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    parts.pop();
    for part in included.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop().ok_or_else(refused)?),
            name => parts.push(name),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Requirements, BuildError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        read_requirements(&Tree::open(folder.path()).unwrap(), files[0].0)
    }

    #[test]
    fn pins_hashes_and_includes_are_seen() {
        let found = read(&[
            ("requirements.txt", "-r requirements/base.txt\nDjango==5.2 \\\n  --hash=sha256:aa  # why\n"),
            ("requirements/base.txt", "# all\nPillow>=11\n-c ../constraints.txt\n"),
            ("constraints.txt", "asgiref==3.8\n"),
        ])
        .unwrap();
        assert_eq!(found.files, ["requirements.txt", "requirements/base.txt", "constraints.txt"]);
        assert_eq!(found.unpinned.iter().collect::<Vec<_>>(), ["pillow"]);
        assert!(!found.hashed && !found.needs_tree);
        assert!(read(&[("r.txt", "a==1 --hash=sha256:aa\nb==2 --hash=sha256:bb\n")]).unwrap().hashed);
    }

    #[test]
    fn what_installs_from_the_tree_is_seen() {
        for line in
            ["-e .", "./libs/x", "x @ file:///app/x", "--find-links wheels", "wheels/a-1-py3-none-any.whl"]
        {
            assert!(read(&[("r.txt", line)]).unwrap().needs_tree, "{line}");
        }
    }

    #[test]
    fn an_include_outside_the_tree_is_refused() {
        for line in ["-r ../x.txt", "-r /etc/passwd", "-r https://example.org/r.txt", "-r a/../../x"] {
            assert!(read(&[("r.txt", line)]).is_err(), "{line}");
        }
    }

    #[test]
    fn names_are_compared_as_an_index_compares_them() {
        assert_eq!(requirement_name("Django_Rest.Framework[x]>=1"), "django-rest-framework");
        assert_eq!(requirement_name("a @ git+https://example.org/a"), "a");
    }
}
