//! The server's folders: where each kind of state lives, and with which mode.
//!
//! ```text
//! DOZEN_HOME/            0711 as root, else 0700, if it was not there before
//!   lock                 held by the one server of this home
//!   state.db  key        0600
//!   layers/  images/     the image store; as root the router may read layers (0710)
//!   cache/               dependency layers by key, tools
//!   incoming/            uploaded trees, by deploy id
//!   build-secrets/       made by the user: `.netrc`, `pip.conf` ... for builds, or APP/ with them
//!   builds/              one folder for each running build, gone with it
//!   services/            data of sqlite and volume services, by stage id
//!   logs/APP/STAGE/      app streams and our own lines
//!   deploys/APP/STAGE/   the events of each deploy
//!   router/              0711 as root; below it what the router writes: its table, access lines
//! DOZEN_RUN/             0700: sockets and instance folders, gone after a reboot
//! ```
//!
//! Two servers on one home are refused by [`Home::open`]'s lock.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dozen_model::names::{AppName, StageName};
use rustix::fs::FlockOperation;

use crate::error::ControlError;

/// How long a server that does not answer any more may take to end.
const ENDING: Duration = Duration::from_secs(1);

/// The folders of one server; holding it is holding the home's lock.
#[derive(Debug)]
pub struct Home {
    root: PathBuf,
    run: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folders and takes the lock.
    ///
    /// # Errors
    /// [`ControlError::HomeTaken`] when another server holds the lock, [`ControlError::Folder`]
    /// when a folder cannot be made.
    pub fn open(root: &Path, run: &Path) -> Result<Self, ControlError> {
        let as_root = rustix::process::geteuid().is_root();
        for folder in [root, run] {
            settle(folder, if as_root { 0o711 } else { 0o700 })?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(root.join("lock"))
            .map_err(|source| ControlError::Folder { path: root.join("lock"), source })?;
        take(&lock).map_err(|_| ControlError::HomeTaken { home: root.to_owned() })?;
        let home = Self { root: root.to_owned(), run: run.to_owned(), _lock: lock };
        // Not `layers`: the image store makes it, and what its mode is depends on the router's user.
        for name in ["images", "cache", "incoming", "builds", "services", "logs", "deploys"] {
            make(&home.root.join(name), 0o700)?;
        }
        make(&home.instances(), 0o700)?;
        Ok(home)
    }

    /// `DOZEN_HOME`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `DOZEN_RUN`.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Refuses a home whose apps are there and whose database is not: an empty one in its place
    /// would take their images and data for unused.
    ///
    /// # Errors
    /// [`ControlError::LostStore`].
    pub(crate) fn refuse_lost_database(&self) -> Result<(), ControlError> {
        let path = self.database();
        if fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            return Ok(());
        }
        let has_entries =
            |name| fs::read_dir(self.root.join(name)).is_ok_and(|mut found| found.next().is_some());
        if ["deploys", "services"].into_iter().any(has_entries) {
            return Err(ControlError::LostStore { path });
        }
        Ok(())
    }

    /// The database.
    pub fn database(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// The API's socket below `run`.
    pub fn api_socket(run: &Path) -> PathBuf {
        run.join("control.sock")
    }

    /// The router's control socket.
    pub fn router_socket(&self) -> PathBuf {
        self.run.join("router.sock")
    }

    /// Instance folders.
    pub fn instances(&self) -> PathBuf {
        self.run.join("i")
    }

    /// The folders that the router writes in; see [`crate::router_folders`].
    pub fn router(&self) -> PathBuf {
        self.root.join("router")
    }

    /// Read-only layers by digest.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// The uploaded tree of a deploy.
    pub fn incoming(&self, deploy: i64) -> PathBuf {
        self.root.join("incoming").join(deploy.to_string())
    }

    /// Where the user puts secret files for builds; made by the user.
    pub fn build_secrets(&self) -> PathBuf {
        self.root.join("build-secrets")
    }

    /// The folder of a running build.
    pub fn build(&self, deploy: i64) -> PathBuf {
        self.root.join("builds").join(deploy.to_string())
    }

    /// Data of a stage's services.
    pub fn services(&self, stage: i64) -> PathBuf {
        self.root.join("services").join(stage.to_string())
    }

    /// Log streams of a stage.
    pub fn logs(&self, app: &AppName, stage: &StageName) -> PathBuf {
        self.root.join("logs").join(app.as_str()).join(stage.as_str())
    }

    /// The events of a stage's deploys.
    pub fn deploys(&self, app: &AppName, stage: &StageName) -> PathBuf {
        self.root.join("deploys").join(app.as_str()).join(stage.as_str())
    }
}

/// Takes the lock; a server that was stopped a moment ago holds it until its process is gone.
fn take(lock: &File) -> rustix::io::Result<()> {
    let deadline = Instant::now() + ENDING;
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            Ok(()) => return Ok(()),
        }
    }
}

/// Makes a folder that the user has named, with its parents. One that is in use for something else
/// too, such as `/tmp`, loses no right of its mode; those that are needed are added.
fn settle(path: &Path, mode: u32) -> Result<(), ControlError> {
    let settled = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(mode).create(path)?;
        let found = fs::metadata(path)?.permissions().mode() & 0o7777;
        // An empty one is as new: a server that was killed may just have made it.
        let is_new = found & 0o1000 == 0 && fs::read_dir(path)?.next().is_none();
        let wanted = if is_new { mode } else { found | mode };
        if wanted == found { Ok(()) } else { fs::set_permissions(path, fs::Permissions::from_mode(wanted)) }
    };
    settled().map_err(|source| ControlError::Folder { path: path.to_owned(), source })
}

/// Makes a folder with its parents; an existing one gets the mode.
pub(crate) fn make(path: &Path, mode: u32) -> Result<(), ControlError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    let set = made.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    set.map_err(|source| ControlError::Folder { path: path.to_owned(), source })
}

/// Removes a tree of ours; one that is not there is fine.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_is_opened_again_shuts_out_nobody_who_reads_layers() {
        let folder = tempfile::tempdir().unwrap();
        let (root, run) = (folder.path().join("home"), folder.path().join("run"));
        let home = Home::open(&root, &run).unwrap();
        make(&home.layers(), 0o710).unwrap();
        drop(home);
        let home = Home::open(&root, &run).unwrap();
        assert_eq!(mode_of(&home.layers()), 0o710);
    }

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_folder_that_others_use_too_loses_no_right() {
        let folder = tempfile::tempdir().unwrap();
        let (root, run) = (folder.path().join("srv"), folder.path().join("tmp"));
        for (path, mode) in [(&root, 0o755), (&run, 0o1777)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::write(root.join("of somebody else"), "").unwrap();
        for _ in 0..2 {
            drop(Home::open(&root, &run).unwrap());
            assert_eq!((mode_of(&root), mode_of(&run)), (0o755, 0o1777));
        }
    }

    #[test]
    fn a_new_home_is_closed_and_a_closed_one_gets_what_is_needed() {
        let folder = tempfile::tempdir().unwrap();
        let (root, run) = (folder.path().join("home"), folder.path().join("run"));
        let wanted = if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 };
        fs::create_dir(&root).unwrap();
        drop(Home::open(&root, &run).unwrap());
        assert_eq!((mode_of(&root), mode_of(&run)), (wanted, wanted));
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        drop(Home::open(&root, &run).unwrap());
        assert_eq!(mode_of(&root), wanted);
    }
}
