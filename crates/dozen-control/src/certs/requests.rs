//! What the API asks of certificates: checked, stored, shown.

use dozen_model::{certificates::CertificateName, names::Domain};

use super::pair::day;
use crate::{
    api::wire::LocalAuthority,
    barrier::CertificatePlace,
    control::Control,
    error::ControlError,
    store::{CertificateRow, CertificateSource, now},
};

impl Control {
    /// Gets a certificate for a domain of an app from the ACME server, from now on.
    pub fn add_acme_certificate(&self, domain: &Domain) -> Result<(), ControlError> {
        let name: CertificateName =
            domain.as_str().parse().map_err(|_| ControlError::NotPublic { name: domain.to_string() })?;
        if !super::acme::is_public(name.as_str()) {
            return Err(ControlError::NotPublic { name: name.to_string() });
        }
        if !self.acme_domains()?.has(name.as_str()) {
            return Err(ControlError::DomainOfNobody { domain: domain.clone() });
        }
        self.store.want_certificate(&name, false)?;
        self.reach_certificate(CertificatePlace::Recorded);
        self.keeper.wake();
        Ok(())
    }

    /// Makes certificates of the ACME server due now: one, or all.
    pub fn renew_certificates(&self, which: Option<&str>) -> Result<(), ControlError> {
        let mut rows = self.store.certificates()?;
        rows.retain(|row| row.source == CertificateSource::Acme);
        if let Some(which) = which {
            rows.retain(|row| is_meant(row, which));
            if rows.is_empty() {
                return Err(ControlError::NotFromAcme { name: which.chars().take(80).collect() });
            }
        }
        let waits = rows.iter().filter_map(|row| row.wait_until).filter(|until| *until > now()).max();
        if let Some(until) = waits {
            return Err(ControlError::AcmeWaits { until: day(until) });
        }
        rows.iter().try_for_each(|row| self.store.renew_now(row.id))?;
        self.keeper.wake();
        Ok(())
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

fn is_meant(row: &CertificateRow, which: &str) -> bool {
    row.id.to_string() == which || row.names.iter().any(|name| name.as_str() == which)
}
