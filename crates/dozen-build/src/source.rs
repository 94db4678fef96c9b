//! The way in: a Git commit, a dirty working tree or an archive becomes a plain tree on disk.
//!
//! ```text
//! as the calling user            as the store's owner
//! export_git  --tar stream-->    unpack          -->  tree
//! archive file ------------->    import_archive  -->  tree
//! ```
//!
//! Nothing that comes in is trusted: a path is relative and has no `..`, nothing is written
//! through a symbolic link, kinds other than file, folder and link are refused, and counts and
//! sizes are bounded while reading, not after. Modes become 0644 or 0755 and times are dropped.
//!
//! Start reading at [`export::export_git`], [`unpack::unpack`] and [`archive::import_archive`].

use crate::error::{BuildError, shown};

pub mod archive;
pub mod export;
mod git;
mod lfs_pointer;
mod tar_entry;
mod tree_stream;
mod tree_writer;
pub mod unpack;
mod working_tree;
mod zip_directory;

/// How much a source may bring.
#[derive(Debug, Clone, Copy)]
pub struct SourceLimits {
    /// Files, folders and links together.
    pub entries: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self { entries: 200_000, bytes: 2 << 30 }
    }
}

/// Counts what a source brought, against its limits.
#[derive(Debug)]
struct Tally {
    limits: SourceLimits,
    entries: u64,
    bytes: u64,
}

impl Tally {
    fn new(limits: SourceLimits) -> Self {
        Self { limits, entries: 0, bytes: 0 }
    }

    fn count_entry(&mut self) -> Result<(), BuildError> {
        self.entries += 1;
        self.allows(self.entries)
    }

    /// Whether a source may have so many entries.
    fn allows(&self, entries: u64) -> Result<(), BuildError> {
        let limit = self.limits.entries;
        if entries <= limit { Ok(()) } else { Err(too_big(format!("{limit} files"))) }
    }

    fn count_bytes(&mut self, more: u64) -> Result<(), BuildError> {
        self.bytes = self.bytes.saturating_add(more);
        let limit = self.limits.bytes;
        if self.bytes <= limit { Ok(()) } else { Err(too_big(format!("{} MiB", limit >> 20))) }
    }
}

fn too_big(limit: String) -> BuildError {
    BuildError::TooBig { what: "source", limit }
}

/// Checks a path of a source and returns its parts: relative, no `.` or `..`, no NUL, bounded.
fn safe_parts(path: &[u8]) -> Result<Vec<&[u8]>, BuildError> {
    let refused = |rule| BuildError::EntryRefused { path: shown(path), rule };
    if path.is_empty() || path.len() > 4000 {
        return Err(refused("a path has 1 to 4000 bytes"));
    }
    if path.starts_with(b"/") {
        return Err(refused("an absolute path is not allowed"));
    }
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    let parts: Vec<&[u8]> = trimmed.split(|byte| *byte == b'/').collect();
    if parts.len() > 200 {
        return Err(refused("a path has at most 200 parts"));
    }
    for part in &parts {
        match *part {
            b"" | b"." | b".." => return Err(refused("`.`, `..` and empty parts are not allowed")),
            long if long.len() > 255 => return Err(refused("a part of a path has at most 255 bytes")),
            odd if odd.contains(&0) => return Err(refused("a NUL byte is not allowed")),
            _ => {}
        }
    }
    Ok(parts)
}

/// Whether a link at `path` (its parts) with `target` stays inside the tree.
///
/// It may go up first and then down. Up after down would depend on what it went down through: where
/// that is a link to another depth, up leads out of the tree.
fn stays_inside(path: &[&[u8]], target: &[u8]) -> bool {
    if target.is_empty() || target.starts_with(b"/") {
        return false;
    }
    let mut parts = target.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).peekable();
    let mut ups = 0;
    while parts.next_if_eq(&&b".."[..]).is_some() {
        ups += 1;
    }
    ups < path.len().max(1) && parts.all(|part| part != b"..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_tree_is_refused() {
        for good in ["a", "a/b", "a/", "...", "a..b", "dir/.env"] {
            assert!(safe_parts(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", "/", "/a", "..", "a/../b", "a//b", "./a", "a/.", "a\0b", &"x".repeat(256)] {
            assert!(safe_parts(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_link_is_inside_when_no_step_of_it_leaves() {
        for (path, target, inside) in [
            ("a", "b", true),
            ("d/a", "../b", true),
            ("a", "../b", false),
            ("d/a", "../../b", false),
            ("a", "/etc/passwd", false),
            ("d/a", "./../x/b", true),
            ("d/a", "x/../../b", false),
            ("a", "x/../b", false),
            ("a", "x/../../b", false),
            ("a", "", false),
        ] {
            let parts: Vec<&[u8]> = path.as_bytes().split(|b| *b == b'/').collect();
            assert_eq!(stays_inside(&parts, target.as_bytes()), inside, "{path} -> {target}");
        }
    }
}
