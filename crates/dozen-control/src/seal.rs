//! Encryption of config values and service URLs at rest.
//!
//! XChaCha20-Poly1305 with one key of 32 random bytes in a file of mode 0600. Each value is
//! authenticated together with where it belongs (app, stage, name), so a sealed value copied to
//! another row does not open. The sealed form is a format byte, a 24-byte random nonce, the
//! ciphertext with its tag.

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
use rustix::rand::GetRandomFlags;
use secrecy::{ExposeSecret, SecretBox};

use crate::error::ControlError;

const FORMAT: u8 = 1;
const NONCE: usize = 24;

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
        let mut bytes = [0; 32];
        let mut file = fs::File::open(path).map_err(|error| refused(error.to_string()))?;
        file.read_exact(&mut bytes).map_err(|_| refused("it is shorter than 32 bytes".into()))?;
        Ok(Self { bytes: SecretBox::new(Box::new(bytes)) })
    }

    /// Encrypts `value` for the place that `owner` names.
    pub(crate) fn seal(&self, owner: &str, value: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE];
        random(&mut nonce);
        let cipher = XChaCha20Poly1305::new(self.bytes.expose_secret().into());
        let payload = Payload { msg: value, aad: owner.as_bytes() };
        let text = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("values are far below the cipher's limit of 256 GiB");
        [&[FORMAT], nonce.as_slice(), &text].concat()
    }

    /// Decrypts what [`Key::seal`] made for the same `owner`.
    ///
    /// # Errors
    /// [`ControlError::Sealed`] when the key, the owner or a byte differs.
    pub(crate) fn unseal(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, ControlError> {
        let refused = || ControlError::Sealed { what: owner.to_owned() };
        let (head, text) = sealed.split_at_checked(1 + NONCE).ok_or_else(refused)?;
        if head[0] != FORMAT {
            return Err(refused());
        }
        let cipher = XChaCha20Poly1305::new(self.bytes.expose_secret().into());
        let payload = Payload { msg: text, aad: owner.as_bytes() };
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
    let mut bytes = [0; 32];
    random(&mut bytes);
    let mut fresh = PathBuf::from(path);
    fresh.set_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (tempfile::TempDir, Key) {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::open(&folder.path().join("key"), true).unwrap();
        (folder, key)
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_owner() {
        let (_folder, key) = key();
        let sealed = key.seal("blango/production/SECRET_KEY", b"hunter2");
        assert_eq!(key.unseal("blango/production/SECRET_KEY", &sealed).unwrap(), b"hunter2");
        assert!(key.unseal("blango/staging/SECRET_KEY", &sealed).is_err());
        assert!(!sealed.windows(7).any(|part| part == b"hunter2"));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let (_folder, key) = key();
        let sealed = key.seal("a", b"value");
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(key.unseal("a", &bad).is_err(), "byte {at}");
        }
        assert!(key.unseal("a", &[]).is_err());
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
