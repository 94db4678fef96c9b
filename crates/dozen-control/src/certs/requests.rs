//! What the API asks of certificates: checked, stored, shown.

use dozen_model::{certificates::CertificateName, names::Domain};

use super::pair::day;
use crate::{
    api::wire::{CertificateEntry, LocalAuthority},
    barrier::CertificatePlace,
    control::Control,
    error::ControlError,
    store::{CertificateRow, CertificateSource, now},
};

impl Control {
    /// Gets a certificate for a domain of an app from the ACME server, from now on.
    ///
    /// What comes back is how they stand before a try can have ended: who waits for one sees by its
    /// number of tries when it has.
    pub fn add_acme_certificate(&self, domain: &Domain) -> Result<Vec<CertificateEntry>, ControlError> {
        let name: CertificateName =
            domain.as_str().parse().map_err(|_| ControlError::NotPublic { name: domain.to_string() })?;
        if !super::acme::is_public(name.as_str()) {
            return Err(ControlError::NotPublic { name: name.to_string() });
        }
        if !self.acme_domains()?.has(name.as_str()) {
            return Err(ControlError::DomainOfNobody { domain: domain.clone() });
        }
        let id = self.store.want_certificate(&name, false)?;
        self.reach_certificate(CertificatePlace::Recorded);
        let rows = self.store.certificates()?;
        if let Some(row) = rows.iter().find(|row| row.id == id && row.issued.is_none()) {
            may_ask(row)?;
            self.store.renew_now(id)?;
        }
        let entries = self.certificate_list()?;
        self.keeper.wake();
        Ok(entries)
    }

    /// Makes certificates of the ACME server due now: one, or all. What comes back is as with
    /// [`Control::add_acme_certificate`].
    pub fn renew_certificates(&self, which: Option<&str>) -> Result<Vec<CertificateEntry>, ControlError> {
        let mut rows = self.store.certificates()?;
        rows.retain(|row| row.source == CertificateSource::Acme);
        if let Some(which) = which {
            rows.retain(|row| is_meant(row, which));
            if rows.is_empty() {
                return Err(ControlError::NotFromAcme { name: which.chars().take(80).collect() });
            }
        }
        let refused = rows.iter().find_map(|row| may_ask(row).err());
        rows.retain(|row| may_ask(row).is_ok());
        if let Some(refused) = refused.filter(|_| rows.is_empty()) {
            return Err(refused);
        }
        rows.iter().try_for_each(|row| self.store.renew_now(row.id))?;
        let entries = self.certificate_list()?;
        self.keeper.wake();
        Ok(entries)
    }

    /// Forgets a certificate, by a name that it is for or by its number.
    pub fn remove_certificate(&self, which: &str) -> Result<(), ControlError> {
        let rows = self.store.certificates()?;
        let shown = || which.chars().take(80).collect::<String>();
        let mut meant: Vec<&CertificateRow> = rows.iter().filter(|row| is_meant(row, which)).collect();
        if meant.iter().any(|row| row.source != CertificateSource::Local) {
            meant.retain(|row| row.source != CertificateSource::Local);
        }
        let row = match meant.as_slice() {
            [] => return Err(ControlError::NoSuchCertificate { name: shown() }),
            [row] => row,
            several => {
                let numbers = several.iter().map(|row| row.id.to_string()).collect();
                return Err(ControlError::SeveralCertificates { name: shown(), numbers });
            }
        };
        if row.source == CertificateSource::Local {
            return Err(ControlError::LocalCertificate { name: shown() });
        }
        if row.automatic && self.acme_domains()?.is_wanted(row) {
            return Err(ControlError::AutomaticCertificate { name: shown() });
        }
        self.store.forget_certificate(row.id)?;
        self.reach_certificate(CertificatePlace::Recorded);
        self.certificates_changed()
    }

    /// The certificate of the local authority, for whoever is to trust it.
    pub fn authority_certificate(&self) -> Result<LocalAuthority, ControlError> {
        if !self.speaks_tls() {
            return Err(ControlError::NoAuthority);
        }
        let row = self.local_authority()?;
        Ok(LocalAuthority {
            certificate: row.certificate,
            domain: self.options.domain.clone(),
            not_after: row.not_after,
        })
    }
}

/// A user's wish is no reason to ask a server that has asked to be left alone.
fn may_ask(row: &CertificateRow) -> Result<(), ControlError> {
    match row.wait_until.filter(|until| *until > now()) {
        Some(until) => Err(ControlError::AcmeWaits { until: day(until) }),
        None => Ok(()),
    }
}

fn is_meant(row: &CertificateRow, which: &str) -> bool {
    row.id.to_string() == which || row.names.iter().any(|name| name.as_str() == which)
}
