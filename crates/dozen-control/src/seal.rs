//! Encryption of config values and service URLs at rest.
//!
//! XChaCha20-Poly1305 with one key of 32 random bytes in a file of mode 0600. Each value is
//! authenticated together with what it is and where it belongs ([`Owner`]), so a sealed value
//! copied to another row, or to another table, does not open. The sealed form is a format byte, a
//! 24-byte random nonce, the ciphertext with its tag.
//!
//! Format 1 did not say what a value is: a config var called `v3` opened as the config of release
//! v3. It is read where it is found, and not written any more.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use dozen_model::{
    names::{AppName, ConfigVar, ServiceName, StageName},
    release::ReleaseNumber,
};
use rustix::rand::GetRandomFlags;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};

use crate::error::ControlError;

const FORMAT: u8 = 2;
const OLD_FORMAT: u8 = 1;
const KEY_BYTES: usize = 32;
const NONCE: usize = 24;

/// What a secret of a stage is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Secret<'a> {
    /// The value of a config var that the next release takes.
    Config(&'a ConfigVar),
    /// The config and attachments of a release.
    Release(ReleaseNumber),
    /// What a change asks for, by the row id of its deploy.
    Change(i64),
    /// The URL of an external service.
    ServiceUrl(&'a ServiceName),
    /// The words of a one-off process, by its launch.
    Command(&'a str),
}

/// What a sealed value is and where it belongs.
#[derive(Debug, Clone)]
pub(crate) struct Owner {
    text: String,
    old_text: Option<String>,
}

impl Owner {
    /// The owner of one secret of a stage. None of the parts has a `/` in it.
    pub(crate) fn of(app: &AppName, stage: &StageName, secret: Secret<'_>) -> Self {
        let (kind, name) = match secret {
            Secret::Config(name) => ("config", name.to_string()),
            Secret::Release(number) => ("release", number.to_string()),
            Secret::Change(deploy) => ("change", deploy.to_string()),
            Secret::ServiceUrl(name) => ("service", name.to_string()),
            Secret::Command(launch) => ("command", launch.to_owned()),
        };
        let old_text = match secret {
            Secret::Config(_) | Secret::Release(_) => Some(format!("{app}/{stage}/{name}")),
            Secret::Change(_) => Some(format!("{app}/{stage}/change")),
            Secret::ServiceUrl(_) => Some(format!("{app}/{stage}/service/{name}")),
            Secret::Command(_) => None,
        };
        Self { text: format!("{kind}/{app}/{stage}/{name}"), old_text }
    }
}

/// The server's key.
pub(crate) struct Key {
    bytes: SecretBox<[u8; 32]>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// Reads the key file; makes one when `may_create` and there is none.
    ///
    /// # Errors
    /// [`ControlError::Key`] when the file is missing where it may not be made, readable by
    /// others, or not 32 bytes.
    pub(crate) fn open(path: &Path, may_create: bool) -> Result<Self, ControlError> {
        let refused = |detail: String| ControlError::Key { path: path.to_owned(), detail };
        if !path.exists() {
            if !may_create {
                return Err(refused("it does not exist, but stored secrets need it".into()));
            }
            create(path).map_err(|error| refused(error.to_string()))?;
        }
        let mode = fs::metadata(path).map_err(|error| refused(error.to_string()))?.mode();
        if mode & 0o077 != 0 {
            return Err(refused(format!(
                "its mode is {:03o}; only its owner may read it (600)",
                mode & 0o777
            )));
        }
        let file = fs::File::open(path).map_err(|error| refused(error.to_string()))?;
        let mut bytes = SecretBox::new(Box::new([0; KEY_BYTES + 1]));
        let read = read_up_to(file, bytes.expose_secret_mut()).map_err(|error| refused(error.to_string()))?;
        let key: Option<&[u8; KEY_BYTES]> = bytes.expose_secret()[..read].try_into().ok();
        let key = key.ok_or_else(|| refused(format!("it has not {KEY_BYTES} bytes")))?;
        Ok(Self { bytes: SecretBox::new(Box::new(*key)) })
    }

    /// Encrypts `value` for the place that `owner` names.
    pub(crate) fn seal(&self, owner: &Owner, value: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        random(&mut nonce);
        let cipher = XChaCha20Poly1305::new(self.bytes.expose_secret().into());
        let payload = Payload { msg: value, aad: owner.text.as_bytes() };
        let text = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("values are far below the cipher's limit of 256 GiB");
        [&[FORMAT], nonce.as_slice(), &text].concat()
    }

    /// Decrypts what [`Key::seal`] made for the same `owner`.
    ///
    /// # Errors
    /// [`ControlError::Sealed`] when the key, the owner or a byte differs.
    pub(crate) fn unseal(&self, owner: &Owner, sealed: &[u8]) -> Result<Vec<u8>, ControlError> {
        let refused = || ControlError::Sealed { what: owner.text.clone() };
        let (head, text) = sealed.split_at_checked(1 + NONCE).ok_or_else(refused)?;
        let place = match head[0] {
            FORMAT => &owner.text,
            OLD_FORMAT => owner.old_text.as_ref().ok_or_else(refused)?,
            _ => return Err(refused()),
        };
        let cipher = XChaCha20Poly1305::new(self.bytes.expose_secret().into());
        let payload = Payload { msg: text, aad: place.as_bytes() };
        let nonce = XNonce::try_from(&head[1..]).map_err(|_| refused())?;
        cipher.decrypt(&nonce, payload).map_err(|_| refused())
    }
}

/// Fills `bytes` from the kernel's random source.
pub(crate) fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            // Only EINTR is possible for a valid buffer and no flags.
            Err(_) => continue,
        }
    }
}

/// A random text of `length` letters and digits, for generated config and launch ids.
pub(crate) fn random_text(length: usize, alphabet: &[u8]) -> String {
    let mut text = String::with_capacity(length);
    let limit = 256 - 256 % alphabet.len();
    while text.len() < length {
        let mut bytes = [0; 64];
        random(&mut bytes);
        for byte in bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit) {
            if text.len() < length {
                text.push(char::from(alphabet[byte % alphabet.len()]));
            }
        }
    }
    text
}

/// Writes a new key beside its place and moves it there: a half-written key never has the name.
fn create(path: &Path) -> std::io::Result<()> {
    let mut bytes = [0; KEY_BYTES];
    random(&mut bytes);
    let mut fresh = PathBuf::from(path);
    fresh.set_extension("new");
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
fn read_up_to(mut file: fs::File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (tempfile::TempDir, Key) {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::open(&folder.path().join("key"), true).unwrap();
        (folder, key)
    }

    fn owner(stage: &str, secret: Secret<'_>) -> Owner {
        Owner::of(&"blango".parse().unwrap(), &stage.parse().unwrap(), secret)
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_owner() {
        let (_folder, key) = key();
        let (name, v3) = ("SECRET_KEY".parse().unwrap(), "v3".parse().unwrap());
        let service = "v3".parse().unwrap();
        let owners = [
            owner("production", Secret::Config(&name)),
            owner("staging", Secret::Config(&name)),
            owner("production", Secret::Config(&v3)),
            owner("production", Secret::Release(ReleaseNumber(3))),
            owner("production", Secret::Change(3)),
            owner("production", Secret::Change(4)),
            owner("production", Secret::ServiceUrl(&service)),
            owner("production", Secret::Command("v3")),
            owner("production", Secret::Command("3")),
        ];
        for (at, one) in owners.iter().enumerate() {
            let sealed = key.seal(one, b"hunter2");
            assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
            for (other_at, other) in owners.iter().enumerate() {
                assert_eq!(key.unseal(other, &sealed).is_ok(), at == other_at, "{one:?} as {other:?}");
            }
        }
    }

    #[test]
    fn what_an_earlier_format_sealed_is_read_and_a_new_value_not_as_one() {
        let (_folder, key) = key();
        let name = "SECRET_KEY".parse().unwrap();
        let owner = owner("production", Secret::Config(&name));
        let as_before = Owner { text: "blango/production/SECRET_KEY".into(), old_text: None };
        let mut sealed = key.seal(&as_before, b"hunter2");
        assert!(key.unseal(&owner, &sealed).is_err());
        sealed[0] = OLD_FORMAT;
        assert_eq!(key.unseal(&owner, &sealed).unwrap(), b"hunter2");
        let mut new = key.seal(&owner, b"hunter2");
        new[0] = OLD_FORMAT;
        assert!(key.unseal(&owner, &new).is_err());
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (_folder, key) = key();
        let owner = owner("production", Secret::Change(1));
        let sealed = key.seal(&owner, b"value");
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(key.unseal(&owner, &bad).is_err(), "byte {at}");
        }
        assert!(key.unseal(&owner, &[]).is_err());
    }

    #[test]
    fn a_key_file_of_another_length_is_refused() {
        let (folder, _key) = key();
        let path = folder.path().join("key");
        for length in [0, 31, 33, 4096] {
            fs::write(&path, vec![7; length]).unwrap();
            assert!(Key::open(&path, true).unwrap_err().to_string().contains("32 bytes"), "{length}");
        }
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let (folder, _key) = key();
        let path = folder.path().join("key");
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Key::open(&path, true).unwrap_err().to_string().contains("640"));
    }

    #[test]
    fn a_missing_key_is_not_made_where_secrets_exist() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Key::open(&folder.path().join("key"), false).is_err());
    }
}
