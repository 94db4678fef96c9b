//! Backing services of a stage: made by their drivers' plans, bound to config vars.
//!
//! A driver says what to make and what to set; the making is here. Each step leaves alone what it
//! finds done, so a server that was killed in between runs them again. Data is never deleted but
//! with its app.
//!
//! ```text
//! services/STAGE/            ours
//!   NAME/                    the app's, mounted into its instances
//!   .new-NAME/               ours: what is being made for NAME
//! ```
//!
//! What lies in the app's folder is the app's, which may put a link there at any moment. So nothing
//! in it is opened, removed or handed over by its name: a thing is made beside it, handed over
//! there, and moved in when it is complete.

use std::{
    fs::{self, File},
    os::{fd::OwnedFd, unix::fs::fchown},
    path::{Path, PathBuf},
};

use dozen_model::{
    manifest::{MountPath, ServiceKind},
    names::{ConfigVar, ServiceName},
};
use dozen_sandbox::spec::{Bind, WallsUser};
use dozen_services::{ServiceError, ServiceMount, ServicePlan, ServiceRequest, Step, driver};
use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, chownat, openat, renameat, renameat_with, statat},
    io::Errno,
    process::{Gid, Uid},
};

use crate::{
    barrier::Place,
    control::Control,
    error::ControlError,
    home,
    release_config::{Bound, ReleaseConfig},
    seal::Secret,
    store::{ServiceRow, StageKey},
};

/// How the folder is called in which something is made for the service of that name. No service's
/// name begins so.
const NEW: &str = ".new-";

impl Control {
    /// The folder with the data of a stage's services.
    pub(crate) fn services_folder(&self, stage: i64) -> PathBuf {
        self.home.services(stage)
    }

    /// Runs the steps of a plan.
    pub(crate) fn make_service(&self, stage: &StageKey, plan: &ServicePlan) -> Result<(), ControlError> {
        if plan.steps.is_empty() {
            return Ok(());
        }
        let folder = self.services_folder(stage.id);
        home::make(&folder, 0o711)?;
        let user = self.user_of(stage.id);
        for step in &plan.steps {
            match step {
                Step::MakeDirectory { name } => {
                    let path = folder.join(name.as_str());
                    if !path.exists() {
                        home::make(&path, 0o700)?;
                    }
                    if self.as_root() {
                        AppFolder::open(path)?.hand_over(user)?;
                    }
                }
                Step::CreateSqlite { directory, file } => {
                    self.create_sqlite(stage, directory.as_str(), file)?;
                }
            }
        }
        Ok(())
    }

    /// Makes an empty database in WAL mode, unless there is something of its name: a half-made one
    /// never has it, and whatever has is the app's.
    fn create_sqlite(&self, stage: &StageKey, service: &str, file: &str) -> Result<(), ControlError> {
        let folder = self.services_folder(stage.id);
        let place = AppFolder::open(folder.join(service))?;
        if place.has(file)? {
            return Ok(());
        }
        self.reach(Place::ServiceFolder);
        let workshop = folder.join(format!("{NEW}{service}"));
        remove_own(&workshop)?;
        home::make(&workshop, 0o700)?;
        let fresh = workshop.join(file);
        let connection = rusqlite::Connection::open(&fresh)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.execute_batch("CREATE TABLE dozen_made (x); DROP TABLE dozen_made;")?;
        connection.close().map_err(|(_, error)| error)?;
        if self.as_root() {
            let user = self.user_of(stage.id);
            File::open(&fresh)
                .and_then(|fresh| fchown(&fresh, Some(user.uid), Some(user.gid)))
                .map_err(ControlError::io("hand over a database file"))?;
        }
        self.reach(Place::DatabaseMade);
        place.take_in(&fresh, file)?;
        remove_own(&workshop)
    }

    /// After a start of the server: makes what a service has a row for and a kill kept from it.
    pub(crate) fn complete_services(&self, stage: &StageKey) -> Result<(), ControlError> {
        let entries = fs::read_dir(self.services_folder(stage.id)).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(NEW)) {
            if let Err(error) = remove_own(&entry.path()) {
                tracing::warn!("{error}");
            }
        }
        for service in self.store.services(stage.id)? {
            let plan = self
                .service_request(stage, &service, None)
                .and_then(|request| Ok(driver(request.kind)?.plan(&request)?));
            if let Err(error) = plan.and_then(|plan| self.make_service(stage, &plan)) {
                // One that cannot be made must not keep the server from starting; its next use says why.
                tracing::warn!(service = %service.name, "could not complete a service: {error}");
            }
        }
        Ok(())
    }

    /// What a service of the store asks of its driver.
    pub(crate) fn service_request(
        &self,
        stage: &StageKey,
        service: &ServiceRow,
        var: Option<ConfigVar>,
    ) -> Result<ServiceRequest, ControlError> {
        let kind = kind_of(&service.kind)?;
        let mut request = ServiceRequest::new(service.name.clone(), kind);
        request.var = var;
        request.path = mount_path(service.path.as_deref())?;
        if let Some(sealed) = &service.sealed_url {
            let url = self.key.unseal(&stage.owner(Secret::ServiceUrl(&service.name)), sealed)?;
            let text = String::from_utf8(url)
                .map_err(|_| ControlError::BadRequest("the URL is not UTF-8".into()))?;
            let bad = |source| ServiceError::BadUrl { service: service.name.clone(), source };
            request.url = Some(text.parse().map_err(bad)?);
        }
        Ok(request)
    }

    /// What the bound services of a release mount.
    pub(crate) fn service_mounts(
        &self,
        stage: &StageKey,
        config: &ReleaseConfig,
    ) -> Result<Vec<Bind>, ControlError> {
        let folder = self.services_folder(stage.id);
        let mut binds = Vec::new();
        for bound in &config.bound {
            let mounts = mounts_of(&bound.name, &bound.kind, bound.path.as_deref())?;
            binds.extend(mounts.iter().map(|mount| Bind {
                source: folder.join(mount.directory.as_str()),
                target: mount.target.as_str().into(),
                writable: mount.writable,
            }));
        }
        binds.sort_by(|one, other| one.target.cmp(&other.target));
        // One service may be attached to several vars; of two services none overlap.
        binds.dedup_by(|one, other| one.target == other.target);
        Ok(binds)
    }

    /// Whether only one process at a time can write to a bound service.
    pub(crate) fn has_single_writer(&self, bound: &[Bound]) -> Result<bool, ControlError> {
        for one in bound {
            if plan_of(&one.name, &one.kind, one.path.as_deref())?.is_some_and(|plan| plan.single_writer) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The folder of a service, which is the app's: what is in it is neither opened nor followed.
struct AppFolder {
    path: PathBuf,
    handle: OwnedFd,
}

impl AppFolder {
    fn open(path: PathBuf) -> Result<Self, ControlError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(CWD, &path, flags, Mode::empty()) {
            Ok(handle) => Ok(Self { path, handle }),
            Err(error) => Err(ControlError::Folder { path, source: error.into() }),
        }
    }

    fn hand_over(&self, user: WallsUser) -> Result<(), ControlError> {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        chownat(&self.handle, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)
            .map_err(|error| ControlError::Folder { path: self.path.clone(), source: error.into() })
    }

    /// Whether there is anything of this name, if only a link that leads nowhere.
    fn has(&self, name: &str) -> Result<bool, ControlError> {
        match statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(ControlError::Folder { path: self.path.join(name), source: error.into() }),
        }
    }

    /// Moves a file of ours in; where the app has made one of that name meanwhile, that one stays.
    fn take_in(&self, file: &Path, name: &str) -> Result<(), ControlError> {
        let moved = match renameat_with(CWD, file, &self.handle, name, RenameFlags::NOREPLACE) {
            // Not every file system can: then one that comes within this moment is replaced.
            Err(Errno::INVAL) => renameat(CWD, file, &self.handle, name),
            moved => moved,
        };
        match moved {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(ControlError::Folder { path: self.path.join(name), source: error.into() }),
        }
    }
}

/// Removes a folder in which something was made; it is ours alone.
fn remove_own(workshop: &Path) -> Result<(), ControlError> {
    let path = || workshop.to_owned();
    home::remove_tree(workshop).map_err(|source| ControlError::Folder { path: path(), source })
}

/// The plan of a service that was made here; an external one has none without its URL.
fn plan_of(name: &ServiceName, kind: &str, path: Option<&str>) -> Result<Option<ServicePlan>, ControlError> {
    let kind = kind_of(kind)?;
    if kind == ServiceKind::External {
        return Ok(None);
    }
    let mut request = ServiceRequest::new(name.clone(), kind);
    request.path = mount_path(path)?;
    Ok(Some(driver(kind)?.plan(&request)?))
}

/// What a service mounts into an instance.
fn mounts_of(name: &ServiceName, kind: &str, path: Option<&str>) -> Result<Vec<ServiceMount>, ControlError> {
    Ok(plan_of(name, kind, path)?.map(|plan| plan.mounts).unwrap_or_default())
}

/// Refuses services of one release of which one would hide another, or lie inside it.
///
/// # Errors
/// [`ControlError::MountTaken`], with the later one of the two first.
pub(crate) fn refuse_overlap(services: &[ServiceRow]) -> Result<(), ControlError> {
    let mut taken: Vec<(&ServiceName, MountPath)> = Vec::new();
    for service in services {
        for mount in mounts_of(&service.name, &service.kind, service.path.as_deref())? {
            let other = |(name, path): &&(&ServiceName, MountPath)| {
                **name != service.name && path.overlaps(&mount.target)
            };
            if let Some((other, _)) = taken.iter().find(other) {
                let (service, other) = (service.name.clone(), (*other).clone());
                return Err(ControlError::MountTaken { service, path: mount.target, other });
            }
            taken.push((&service.name, mount.target));
        }
    }
    Ok(())
}

/// The kind that a word names.
pub(crate) fn kind_of(word: &str) -> Result<ServiceKind, ControlError> {
    word.parse().map_err(|error: dozen_model::manifest::NotAServiceKind| ControlError::UnknownKind {
        message: error.to_string(),
        hint: error.hint(),
    })
}

/// A mount path of the store or the API.
pub(crate) fn mount_path(text: Option<&str>) -> Result<Option<MountPath>, ControlError> {
    let parse =
        |text: &str| text.to_owned().try_into().map_err(|error| ControlError::BadRequest(format!("{error}")));
    text.map(parse).transpose()
}

#[cfg(test)]
mod tests;
