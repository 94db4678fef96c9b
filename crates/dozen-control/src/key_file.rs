//! The key file: where the server's key lies, and whether it is the right one.
//!
//! It holds 32 random bytes and has the mode 0600. A missing one is made, but only while nothing
//! is sealed yet. A key that opens nothing of what is sealed belongs to another home: it is
//! refused before anything starts, because what it sealed from then on would need another key than
//! what was there before. One damaged value says nothing of the key: one that opens is enough.
//!
//! Start reading at [`open`].

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};

use crate::{
    error::ControlError,
    seal::{KEY_BYTES, Key, Owner, Secret, ServerSecret, random},
    store::{CertificateRow, StageKey, Store},
};

/// What helps when secrets do not open.
pub(crate) const RIGHT_KEY: &str =
    "put the key that this state.db was written with in its place, or name it in DOZEN_KEY_FILE";

/// What is wrong with a key file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// It may not be made anew.
    #[error("it does not exist, but stored secrets need it")]
    Missing,
    /// It could not be made.
    #[error("it does not exist, and a new one could not be written: {0}")]
    NotMade(#[source] io::Error),
    /// It could not be read.
    #[error("{0}")]
    Unreadable(#[source] io::Error),
    /// It is a folder, a device or a pipe.
    #[error("it is not a file")]
    NotAFile,
    /// Others may read it.
    #[error("its mode is {0:03o}; only its owner may read it (600)")]
    Mode(u32),
    /// It cannot be a key.
    #[error("it has not {KEY_BYTES} bytes")]
    Length,
    /// It is a key, but not of these secrets.
    #[error("no stored secret opens with it")]
    AnotherKey,
}

impl KeyFault {
    /// What the reader can do about it.
    pub(crate) fn hint(&self, path: &Path) -> String {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists());
        match (self, folder) {
            (Self::Missing | Self::AnotherKey, _) => RIGHT_KEY.to_owned(),
            (Self::NotMade(_), Some(folder)) => {
                format!("make the folder `{}` first: the server writes a new key there", folder.display())
            }
            (Self::NotMade(_), None) => {
                "name a file in DOZEN_KEY_FILE that the server can write, or leave it unset".to_owned()
            }
            (Self::Mode(_), _) => format!("`chmod 600 {}`", path.display()),
            (Self::Unreadable(_) | Self::NotAFile | Self::Length, _) => format!(
                "name a file in DOZEN_KEY_FILE that the server's user can read and that holds a key of \
                 {KEY_BYTES} bytes; on a new home, one that does not exist yet"
            ),
        }
    }
}

/// Reads the key file; makes one where there is none and nothing is sealed yet.
///
/// # Errors
/// [`ControlError::Key`] when the file is missing where it may not be made, readable by others,
/// not a key, or not the key of what the store holds.
pub(crate) fn open(path: &Path, store: &Store) -> Result<Key, ControlError> {
    let refused = |fault| ControlError::Key { path: path.to_owned(), fault };
    if !path.try_exists().map_err(|error| refused(KeyFault::Unreadable(error)))? {
        if store.has_secrets()? {
            return Err(refused(KeyFault::Missing));
        }
        create(path).map_err(|error| refused(KeyFault::NotMade(error)))?;
    }
    let key = read(path).map_err(refused)?;
    if !opens_a_secret(&key, store)? {
        return Err(refused(KeyFault::AnotherKey));
    }
    Ok(key)
}

/// Reads a key and looks that nobody else can.
fn read(path: &Path) -> Result<Key, KeyFault> {
    let about = fs::metadata(path).map_err(KeyFault::Unreadable)?;
    if !about.is_file() {
        return Err(KeyFault::NotAFile);
    }
    if about.mode() & 0o077 != 0 {
        return Err(KeyFault::Mode(about.mode() & 0o777));
    }
    let file = fs::File::open(path).map_err(KeyFault::Unreadable)?;
    let mut bytes = SecretBox::new(Box::new([0; KEY_BYTES + 1]));
    let read = read_up_to(file, bytes.expose_secret_mut()).map_err(KeyFault::Unreadable)?;
    bytes.expose_secret()[..read].try_into().map(Key::of).map_err(|_| KeyFault::Length)
}

/// Whether a key opens one of the stored secrets, or there is none.
fn opens_a_secret(key: &Key, store: &Store) -> Result<bool, ControlError> {
    let mut secrets = secrets_of_server(store)?;
    let mut found = !secrets.is_empty();
    if secrets.drain(..).any(|(owner, sealed)| key.unseal(&owner, &sealed).is_ok()) {
        return Ok(true);
    }
    for stage in store.stages()? {
        let secrets = secrets_of(&stage.key, store)?;
        found |= !secrets.is_empty();
        if secrets.iter().any(|(owner, sealed)| key.unseal(owner, sealed).is_ok()) {
            return Ok(true);
        }
    }
    Ok(!found)
}

/// What is sealed of the server itself.
fn secrets_of_server(store: &Store) -> Result<Vec<(Owner, Vec<u8>)>, ControlError> {
    let key_of = |row: CertificateRow| {
        let owner = Owner::of_server(ServerSecret::CertificateKey(row.id));
        row.issued.map(|issued| (owner, issued.sealed_key))
    };
    Ok(store.certificates()?.into_iter().filter_map(key_of).collect())
}

/// What is sealed of a stage, of its releases the last one.
fn secrets_of(stage: &StageKey, store: &Store) -> Result<Vec<(Owner, Vec<u8>)>, ControlError> {
    let mut secrets = Vec::new();
    for release in store.releases(stage.id, 1)? {
        secrets.push((stage.owner(Secret::Release(release.number)), release.sealed));
    }
    for var in store.config(stage.id)? {
        secrets.push((stage.owner(Secret::Config(&var.name)), var.sealed));
    }
    for service in store.services(stage.id)? {
        let owner = stage.owner(Secret::ServiceUrl(&service.name));
        secrets.extend(service.sealed_url.map(|sealed| (owner, sealed)));
    }
    for deploy in store.open_deploys(stage.id)? {
        let owner = stage.owner(Secret::Change(deploy.id));
        secrets.extend(deploy.sealed_request.map(|sealed| (owner, sealed)));
    }
    Ok(secrets)
}

/// Writes a new key beside its place and moves it there: a half-written key never has the name.
fn create(path: &Path) -> io::Result<()> {
    let mut bytes = [0; KEY_BYTES];
    random(&mut bytes);
    let mut fresh = OsString::from(path);
    // Not in place of an ending: what has that name could be another's.
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    // The name too must outlive a lost power supply: soon there are secrets that need it.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Fills `bytes` as far as the file goes.
fn read_up_to(mut file: fs::File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{stand::Stand, store::DeployKind};

    /// A folder with a key in it, and an empty store.
    fn with_key() -> (tempfile::TempDir, PathBuf, Store) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.today");
        let store = Store::open(&folder.path().join("state.db")).unwrap();
        fs::write(path.with_extension("new"), "another's").unwrap();
        open(&path, &store).unwrap();
        (folder, path, store)
    }

    fn refusal(path: &Path, store: &Store) -> String {
        open(path, store).err().unwrap().to_string()
    }

    #[test]
    fn a_new_key_takes_no_other_files_place() {
        let (_folder, path, _store) = with_key();
        assert_eq!(fs::read(&path).unwrap().len(), KEY_BYTES);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read(path.with_extension("new")).unwrap(), b"another's");
    }

    #[test]
    fn a_key_file_of_another_length_is_refused() {
        let (_folder, path, store) = with_key();
        for length in [0, 31, 33, 4096] {
            fs::write(&path, vec![7; length]).unwrap();
            assert!(refusal(&path, &store).contains("32 bytes"), "{length}");
        }
    }

    #[test]
    fn a_key_that_others_may_read_and_what_is_no_file_are_refused() {
        let (folder, path, store) = with_key();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(refusal(&path, &store).contains("640"));
        assert!(refusal(folder.path(), &store).contains("not a file"));
    }

    #[test]
    fn a_key_is_made_or_exchanged_only_where_nothing_is_sealed() {
        let stand = Stand::new();
        let store = &stand.control.store;
        let (_folder, other, _) = with_key();
        open(&other, store).unwrap();

        stand.queue(DeployKind::Config);
        let missing = other.with_extension("missing");
        assert!(refusal(&missing, store).contains("stored secrets need it"));
        assert!(refusal(&other, store).contains("no stored secret opens with it"));
        open(&stand.control.home.root().join("key"), store).unwrap();
        // Releases are sealed too.
        stand.release();
        assert!(refusal(&other, store).contains("no stored secret opens with it"));
        open(&stand.control.home.root().join("key"), store).unwrap();
    }
}
