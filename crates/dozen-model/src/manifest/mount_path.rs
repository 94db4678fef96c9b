//! Where a volume may be mounted inside the walls.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{excerpt::excerpt, names::ServiceName};

/// An absolute path, normalised, that hides nothing an instance needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MountPath(String);

/// Why a path was refused as a mount point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a mount path: {rule}")]
pub struct NotAMountPath {
    path: String,
    rule: &'static str,
}

/// What an instance's file system is made of; a volume there would hide it.
const TAKEN: [&str; 15] = [
    "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "root", "run", "sbin", "sys",
    "tmp", "usr",
];

impl MountPath {
    /// Where a service is mounted that declares no path: `/data/NAME`.
    pub fn of_service(name: &ServiceName) -> Self {
        Self(format!("/data/{name}"))
    }

    /// The path as text, absolute and without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the two lies inside the other, or both are the same.
    pub fn overlaps(&self, other: &Self) -> bool {
        let inside = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        inside(&self.0, &other.0) || inside(&other.0, &self.0)
    }
}

impl FromStr for MountPath {
    type Err = NotAMountPath;

    fn from_str(text: &str) -> Result<Self, NotAMountPath> {
        match broken_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(rule) => Err(NotAMountPath { path: excerpt(text), rule }),
        }
    }
}

fn broken_rule(text: &str) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.');
    let Some(below_root) = text.strip_prefix('/') else {
        return Some("start with `/`, such as `/data/media`");
    };
    if text.len() > 255 || !text.bytes().all(plain) {
        Some("use up to 255 letters, digits, `/`, `-`, `_` and `.`")
    } else if below_root.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("leave out empty parts, `.`, `..` and a slash at the end")
    } else if below_root.split('/').next().is_some_and(|first| TAKEN.contains(&first)) {
        Some("it would hide a part of the system, use a path below `/data`")
    } else if matches!(below_root, "app" | "data") {
        Some("it would hide the app or other volumes, use a folder below it")
    } else {
        None
    }
}

impl TryFrom<String> for MountPath {
    type Error = NotAMountPath;

    fn try_from(text: String) -> Result<Self, NotAMountPath> {
        text.parse()
    }
}

impl From<MountPath> for String {
    fn from(path: MountPath) -> Self {
        path.0
    }
}

impl fmt::Display for MountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_path_hides_nothing_an_instance_needs() {
        for good in ["/data/media", "/app/media", "/srv/files", "/data/a.b/c_d-e", "/var/uploads"] {
            assert!(good.parse::<MountPath>().is_ok(), "{good}");
        }
        let bad = [
            "",
            "/",
            "data",
            "/data",
            "/app",
            "/etc/x",
            "/usr",
            "/tmp/x",
            "/data/../etc",
            "/data//x",
            "/data/x/",
        ];
        for bad in bad.iter().copied().chain(["/data/./x", "/data/a b", "/data/é", "/data/x\0", "/proc/self"])
        {
            assert!(bad.parse::<MountPath>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_overlap_by_whole_parts() {
        let path = |text: &str| text.parse::<MountPath>().unwrap();
        assert!(path("/data/a").overlaps(&path("/data/a")));
        assert!(path("/data/a").overlaps(&path("/data/a/b")));
        assert!(path("/data/a/b").overlaps(&path("/data/a")));
        assert!(!path("/data/a").overlaps(&path("/data/ab")));
    }
}
