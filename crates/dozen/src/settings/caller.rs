//! Who runs this process: user id, home folder, terminals, executable.
//!
//! What the environment does not say but the kernel and the user database do. A value of its own,
//! so that tests can resolve settings for any user.

use std::{io::IsTerminal, path::PathBuf, process::Command};

/// The user and process that settings are resolved for.
pub(crate) struct Caller {
    /// Whether the effective user is root.
    pub(crate) root: bool,
    /// The user database's home folder, asked only when `HOME` is missing.
    pub(crate) passwd_home: fn() -> Option<PathBuf>,
    /// Whether stdout and stderr are terminals.
    pub(crate) terminals: (bool, bool),
    /// This executable.
    pub(crate) binary: PathBuf,
}

impl Caller {
    /// The caller of this very process.
    pub(crate) fn current() -> Self {
        Self {
            root: rustix::process::geteuid().is_root(),
            passwd_home,
            terminals: (std::io::stdout().is_terminal(), std::io::stderr().is_terminal()),
            binary: executable(),
        }
    }
}

/// This executable. After an upgrade on disk the kernel marks the old path; the new file stands
/// where the old one stood.
fn executable() -> PathBuf {
    let path = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("dozen"));
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => PathBuf::from(text),
        None => path,
    }
}

/// The home folder that the user database names. `/etc/passwd` first, since it costs nothing;
/// `getent` knows the users of a directory service.
fn passwd_home() -> Option<PathBuf> {
    let uid = rustix::process::getuid().as_raw().to_string();
    let file = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    home_of(&uid, &file).or_else(|| {
        let answer = Command::new("getent").args(["passwd", &uid]).output().ok()?;
        home_of(&uid, &String::from_utf8_lossy(&answer.stdout))
    })
}

/// The sixth field of the line whose third field is `uid`.
fn home_of(uid: &str, passwd: &str) -> Option<PathBuf> {
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(uid))?;
    let home = PathBuf::from(line.split(':').nth(5)?);
    home.is_absolute().then_some(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_database_knows_a_home_folder_by_user_id() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbad:x:7:7::rel:/bin/sh\n";
        assert_eq!(home_of("1000", passwd), Some(PathBuf::from("/home/ann")));
        assert_eq!(home_of("7", passwd), None);
        assert_eq!(home_of("1", passwd), None);
    }
}
