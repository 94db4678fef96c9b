//! The end-to-end suite as an ordinary user: what root is allowed hides what dozen forgot.
//!
//! The user has a number that no one has, no entry in the system's user list, no other group, no
//! run-time folder and only the folders of the system in its `PATH`. Binary, tests and examples are
//! copied to a folder of its own, because the checkout may lie in a home that only root can read.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    requirements::SYSTEM_PATH,
    suite::{BINARY_VAR, EXAMPLES_VAR, EndToEnd},
    task::{TaskError, is_ci, repository, run},
};

/// Two end-to-end tests at a time: each starts servers and builds apps of its own.
pub(crate) const TEST_OPTIONS: [&str; 1] = ["--test-threads=2"];

const USER: u32 = 42_420;

/// Runs the suite as the ordinary user, in a folder that is removed afterwards.
pub(crate) fn run_end_to_end(suite: &EndToEnd) -> Result<(), TaskError> {
    let home = Home::make()?;
    let (dozen, tests) = (home.copy(&suite.dozen)?, home.copy(&suite.tests)?);
    let examples = home.0.join("examples");
    copy_tree(&repository().join("examples"), &examples)?;
    // Snapshots are looked for below the workspace that the tests were compiled in.
    let snapshots = home.0.join("crates/dozen/tests/e2e");
    fs::create_dir_all(home.0.join("crates/dozen/tests"))?;
    copy_tree(&repository().join("crates/dozen/tests/e2e"), &snapshots)?;
    for folder in ["home", "tmp"] {
        fs::create_dir(home.0.join(folder))?;
        chown(home.0.join(folder), Some(USER), Some(USER))?;
    }

    println!("\nas an ordinary user (uid {USER}):");
    let user = USER.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]);
    command.arg(&tests).args(TEST_OPTIONS).current_dir(home.0.join("home")).env_clear();
    command.env("PATH", SYSTEM_PATH).env("LANG", "C.UTF-8").env("RUST_BACKTRACE", "1");
    command.env("HOME", home.0.join("home")).env("TMPDIR", home.0.join("tmp"));
    command.env(BINARY_VAR, dozen).env(EXAMPLES_VAR, examples);
    command.env("INSTA_WORKSPACE_ROOT", &home.0).env("INSTA_UPDATE", "no");
    command.envs(std::env::vars_os().filter(|(name, _)| leads_to_packages(&name.to_string_lossy())));
    if is_ci() {
        command.env("CI", "true");
    }
    run(&mut command)
}

/// Whether a variable tells the way to package indexes: that belongs to the machine, not to root.
fn leads_to_packages(name: &str) -> bool {
    let prefixes = ["PIP_", "UV_", "NPM_CONFIG_", "SSL_CERT_", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"];
    name.to_ascii_uppercase().ends_with("_PROXY") || prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// A folder for one run, readable by all, owned by root.
struct Home(PathBuf);

impl Home {
    fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("dozen-ordinary-user-{}", std::process::id()));
        // Not made recursively: a folder that someone else put there is refused.
        fs::DirBuilder::new().mode(0o755).create(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    fn copy(&self, program: &Path) -> io::Result<PathBuf> {
        let copy = self.0.join(program.file_name().unwrap_or_default());
        fs::copy(program, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
        Ok(copy)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Copies folders and files, as files of the ordinary user. Links are copied as links.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&source, &copy)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &copy)?;
        } else {
            fs::copy(&source, &copy)?;
            chown(&copy, Some(USER), Some(USER))?;
        }
    }
    chown(to, Some(USER), Some(USER))
}
