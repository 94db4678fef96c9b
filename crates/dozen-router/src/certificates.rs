//! The certificates in use, shared by all threads, and the same set on disk.
//!
//! A set is stored, then swapped, then answered for, so that a router that is started again shows
//! what its clients saw last, also while control is dead. Connections that are open stay as they
//! are: what they were shown was right when they were made.
//!
//! Start reading at [`Certificates::set`].

use std::{
    cmp::Ordering,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use dozen_model::certificates::CertificateSet;
use parking_lot::Mutex;

use crate::{certificate_index::CertificateIndex, error::RouterError, state_file};

const NAME: &str = "certificates.json";

/// The certificates in use.
#[derive(Debug)]
pub(crate) struct Certificates {
    current: ArcSwap<CertificateIndex>,
    state_dir: PathBuf,
    /// Held while a set is stored and swapped: one after the other.
    swapping: Mutex<()>,
}

impl Certificates {
    /// Those that were stored last.
    pub(crate) fn load(state_dir: &Path) -> Self {
        let index = match stored(state_dir)
            .and_then(|set| set.map(CertificateIndex::of).transpose().map_err(io::Error::other))
        {
            Ok(index) => index.unwrap_or_default(),
            // Without them no handshake succeeds until control sends them, which it does at once.
            Err(error) => {
                tracing::error!(%error, "the stored certificates cannot be read");
                CertificateIndex::default()
            }
        };
        Self {
            current: ArcSwap::from_pointee(index),
            state_dir: state_dir.to_owned(),
            swapping: Mutex::new(()),
        }
    }

    /// The index in use.
    pub(crate) fn index(&self) -> arc_swap::Guard<Arc<CertificateIndex>> {
        self.current.load()
    }

    /// Stores `set` and shows it from now on; the one in use is taken again.
    ///
    /// # Errors
    /// When it is older than the one in use, another one of the same generation, not usable, or
    /// cannot be stored. The one in use stays then.
    pub(crate) fn set(&self, set: CertificateSet) -> Result<(), RouterError> {
        let _one_at_a_time = self.swapping.lock();
        let current = self.index().generation;
        match set.generation.cmp(&current) {
            Ordering::Less => {
                return Err(RouterError::StaleCertificates { offered: set.generation, current });
            }
            // What is in use is what is stored; keys are not kept in memory a second time.
            Ordering::Equal => {
                let is_same = match stored(&self.state_dir) {
                    Ok(stored) => stored.unwrap_or_default() == set,
                    Err(source) => return Err(self.not_stored(source)),
                };
                return if is_same { Ok(()) } else { Err(RouterError::OtherCertificates(current)) };
            }
            Ordering::Greater => {}
        }
        let text = serde_json::to_vec(&set).map_err(|error| self.not_stored(error.into()))?;
        let index = Arc::new(CertificateIndex::of(set)?);
        state_file::replace(&self.state_dir, NAME, &text).map_err(|source| self.not_stored(source))?;
        self.current.store(index);
        Ok(())
    }

    fn not_stored(&self, source: io::Error) -> RouterError {
        RouterError::PersistCertificates { path: self.state_dir.join(NAME), source }
    }
}

fn stored(state_dir: &Path) -> io::Result<Option<CertificateSet>> {
    let Some(text) = state_file::load(state_dir, NAME)? else { return Ok(None) };
    // Its message would quote the text, and the text has keys in it.
    let set = serde_json::from_slice(&text);
    set.map(Some).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not a set of certificates"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use dozen_model::certificates::{Certificate, HttpChallenge, PrivateKey};

    use super::*;

    fn set(generation: u64, answer: &str) -> CertificateSet {
        let challenge = HttpChallenge { token: "t".into(), answer: answer.into() };
        CertificateSet { generation, http_challenges: vec![challenge], ..CertificateSet::default() }
    }

    #[test]
    fn a_newer_set_is_stored_for_its_owner_alone_and_loaded_again() {
        let dir = tempfile::tempdir().unwrap();
        let certificates = Certificates::load(dir.path());
        certificates.set(set(3, "a")).unwrap();
        certificates.set(set(3, "a")).unwrap();
        let stale = certificates.set(set(2, "a")).unwrap_err().to_string();
        assert!(stale.contains("older"), "{stale}");
        let other = certificates.set(set(3, "b")).unwrap_err().to_string();
        assert!(other.contains("different"), "{other}");
        let mode = std::fs::metadata(dir.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = Certificates::load(dir.path());
        assert_eq!(again.index().generation, 3);
        assert_eq!(again.index().http_challenge("t").unwrap(), "a");
    }

    #[test]
    fn a_set_that_cannot_be_shown_or_stored_leaves_the_one_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let certificates = Certificates::load(dir.path());
        certificates.set(set(1, "a")).unwrap();
        let mut bad = set(2, "b");
        let names = vec!["a.org".parse().unwrap()];
        bad.certificates.push(Certificate {
            names,
            chain: String::new(),
            key: PrivateKey::new("secret"),
            is_local: false,
        });
        certificates.set(bad).unwrap_err();
        std::fs::create_dir(dir.path().join(format!("{NAME}.new"))).unwrap();
        certificates.set(set(3, "c")).unwrap_err();
        assert_eq!(certificates.index().http_challenge("t").unwrap(), "a");
        assert_eq!(Certificates::load(dir.path()).index().generation, 1);
    }
}
