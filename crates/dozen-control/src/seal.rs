//! Encryption of config values and service URLs at rest.
//!
//! XChaCha20-Poly1305 with one key of 32 random bytes (see [`crate::key_file`]). Each value is
//! authenticated together with what it is and where it belongs ([`Owner`]), so a sealed value
//! copied to another row, or to another table, does not open. The sealed form is a format byte, a
//! 24-byte random nonce, the ciphertext with its tag.
//!
//! Format 1 did not say what a value is: a config var called `v3` opened as the config of release
//! v3. It is read where it is found, and not written any more.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use dozen_model::{
    names::{AppName, ConfigVar, ServiceName, StageName},
    release::ReleaseNumber,
};
use rustix::rand::GetRandomFlags;
use secrecy::{ExposeSecret, SecretBox};

use crate::error::ControlError;

const FORMAT: u8 = 2;
const OLD_FORMAT: u8 = 1;
/// How long a key is.
pub(crate) const KEY_BYTES: usize = 32;
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

/// What a secret of the server itself is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ServerSecret<'a> {
    /// The key of a certificate, by its row.
    CertificateKey(i64),
    /// The key of the authority of a base domain.
    AuthorityKey(&'a str),
    /// The key of the account with an ACME server, by its directory.
    AccountKey(&'a str),
    /// The key of a certificate that is being ordered, by the certificate's row.
    OrderKey(i64),
    /// The answer to a challenge, by the certificate's row and the token.
    Challenge(i64, &'a str),
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

    /// The owner of a secret of the server. No kind here is one of a stage's.
    pub(crate) fn of_server(secret: ServerSecret<'_>) -> Self {
        let text = match secret {
            ServerSecret::CertificateKey(row) => format!("certificate-key/{row}"),
            ServerSecret::AuthorityKey(domain) => format!("authority-key/{domain}"),
            ServerSecret::AccountKey(directory) => format!("account-key/{directory}"),
            ServerSecret::OrderKey(row) => format!("order-key/{row}"),
            ServerSecret::Challenge(row, token) => format!("challenge/{row}/{token}"),
        };
        Self { text, old_text: None }
    }
}

/// The server's key.
pub(crate) struct Key {
    bytes: SecretBox<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

impl Key {
    /// The key of these bytes.
    pub(crate) fn of(bytes: &[u8; KEY_BYTES]) -> Self {
        Self { bytes: SecretBox::new(Box::new(*bytes)) }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::of(&[7; KEY_BYTES])
    }

    fn owner(stage: &str, secret: Secret<'_>) -> Owner {
        Owner::of(&"blango".parse().unwrap(), &stage.parse().unwrap(), secret)
    }

    #[test]
    fn a_sealed_value_opens_only_for_its_owner() {
        let key = key();
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
        let key = key();
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
        let key = key();
        let owner = owner("production", Secret::Change(1));
        let sealed = key.seal(&owner, b"value");
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(key.unseal(&owner, &bad).is_err(), "byte {at}");
        }
        assert!(key.unseal(&owner, &[]).is_err());
    }
}
