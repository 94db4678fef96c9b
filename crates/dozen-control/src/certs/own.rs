//! Certificates that a user brings: looked at, sealed, shown.

use dozen_model::certificates::PrivateKey;

use super::{local::Unsealed, pair::Pair};
use crate::{
    api::wire::AddCertificate,
    barrier::CertificatePlace,
    control::Control,
    error::ControlError,
    store::{CertificateSource, now},
};

impl Control {
    /// Takes a certificate of the user's, in the place of an earlier one for the same names.
    ///
    /// # Errors
    /// [`ControlError::Certificate`] says what is wrong with it; then nothing has changed.
    pub fn add_certificate(&self, request: &AddCertificate) -> Result<(), ControlError> {
        let pair = Pair::read(&request.chain, &request.key)?.valid_at(now())?;
        self.keep_own(pair)?;
        self.reach_certificate(CertificatePlace::Recorded);
        self.certificates_changed()
    }

    fn keep_own(&self, pair: Pair) -> Result<i64, ControlError> {
        let Pair { names, chain, key, not_before, not_after } = pair;
        let key = PrivateKey::new(key.expose().trim());
        let unsealed = Unsealed { chain, key, not_before, not_after };
        self.store.put_certificate(CertificateSource::File, &names, |id| unsealed.clone().sealed(self, id))
    }
}
