//! Certificates from an ACME server (RFC 8555): which are wanted, which is due, and what a try left.
//!
//! Nothing public happens by accident: a server is asked only when `DOZEN_ACME` is on, which means
//! all domains, or for a domain that a user named. One certificate has one domain, so one domain
//! that does not point here keeps no other from being renewed.
//!
//! ```text
//! wanted -> due -> order under way -> issued, due again at two thirds of its life
//!            ^          \-> failed: what is shown stays, due again later and later
//! ```
//!
//! Start reading at [`Control::try_for_certificate`]; the conversation itself is in [`order`].

mod account;
mod fault;
mod http;
mod order;

use std::{collections::BTreeSet, path::PathBuf};

use dozen_model::certificates::{CertificateName, PrivateKey};

use self::fault::{AcmeFault, Whose};
use super::{local::Unsealed, pair::Pair, schedule};
use crate::{
    barrier::CertificatePlace,
    control::Control,
    error::ControlError,
    store::{CertificateRow, CertificateSource, FailedTry, now},
};

/// How the server deals with ACME.
#[derive(Debug, Clone)]
pub struct AcmeSettings {
    /// Whether every public domain gets a certificate without being asked for.
    pub automatic: bool,
    /// URL of the server's directory.
    pub directory: String,
    /// Whom the server may write to.
    pub email: Option<String>,
    /// The authorities of the server's own TLS, when they are not those of the system: a PEM file.
    pub authorities: Option<PathBuf>,
}

/// The domains of all apps for which certificates may be asked.
#[derive(Debug)]
pub(crate) struct AcmeDomains {
    names: BTreeSet<String>,
    automatic: bool,
}

impl AcmeDomains {
    /// Whether an app has the domain.
    pub(crate) fn has(&self, domain: &str) -> bool {
        self.names.contains(domain)
    }

    /// Whether a certificate is still to be renewed.
    pub(crate) fn is_wanted(&self, row: &CertificateRow) -> bool {
        row.source != CertificateSource::Acme
            || ((self.automatic || !row.automatic) && row.names.iter().all(|name| self.has(name.as_str())))
    }
}

/// Whether a public authority may issue for a name: it is no address, and not one of those that are
/// kept for private use.
pub(crate) fn is_public(name: &str) -> bool {
    const PRIVATE: [&str; 7] = ["localhost", "local", "internal", "test", "invalid", "lan", "arpa"];
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.')
        && !name.contains('*')
        && !PRIVATE.contains(&last)
        && name.parse::<std::net::IpAddr>().is_err()
}

impl Control {
    /// The domains that apps have now.
    pub(crate) fn acme_domains(&self) -> Result<AcmeDomains, ControlError> {
        let mut names = BTreeSet::new();
        for stage in self.store.stages()?.iter().filter(|stage| !stage.doomed) {
            names.insert(self.automatic_host(&stage.key.app, &stage.key.stage));
            names.extend(self.routed_domains(stage.key.id)?.iter().map(ToString::to_string));
        }
        names.retain(|name| is_public(name));
        Ok(AcmeDomains { names, automatic: self.options.acme.automatic })
    }

    /// Wishes for certificates of domains that have none, if that is to be done unasked; forgets
    /// those that ended after their domain went.
    pub(super) fn wish_for_domains(&self) -> Result<bool, ControlError> {
        let (now, domains) = (now(), self.acme_domains()?);
        let rows = self.store.certificates()?;
        let mut is_changed = false;
        for row in rows.iter().filter(|row| !domains.is_wanted(row) && !row.is_valid_at(now)) {
            is_changed |= self.store.forget_certificate(row.id)?;
        }
        if !domains.automatic {
            return Ok(is_changed);
        }
        let is_covered = |name: &str| {
            rows.iter().any(|row| match row.source {
                CertificateSource::Acme => row.covers(name),
                CertificateSource::File => row.covers(name) && row.is_valid_at(now),
                CertificateSource::Local => false,
            })
        };
        for name in domains.names.iter().filter(|name| !is_covered(name)) {
            if let Ok(name) = name.parse::<CertificateName>() {
                self.store.want_certificate(&name, true)?;
            }
        }
        Ok(is_changed)
    }

    /// The certificate that is to be worked on now, else when the next one is.
    pub(super) fn due_certificate(&self) -> Result<Result<CertificateRow, Option<i64>>, ControlError> {
        let domains = self.acme_domains()?;
        let of_acme = |row: &CertificateRow| row.source == CertificateSource::Acme && domains.is_wanted(row);
        let rows = self.store.certificates()?.into_iter().filter(of_acme);
        let first = rows.filter(|row| row.next_try.is_some()).min_by_key(|row| row.next_try);
        Ok(match first {
            Some(mut row) if row.next_try <= Some(now()) => {
                row.by_tls &= self.speaks_tls();
                Ok(row)
            }
            Some(row) => Err(row.next_try),
            None => Err(None),
        })
    }

    /// One try for a certificate, from where the last one came to.
    pub(super) fn try_for_certificate(&self, runtime: &tokio::runtime::Runtime, row: &CertificateRow) {
        let names = row.names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let kept = match runtime.block_on(order::obtain(self, row)) {
            Ok((pair, key)) => {
                *self.keeper.unshown.lock() = Some(row.id);
                self.keep_issued(row, &names, pair, key).inspect_err(|_| *self.keeper.unshown.lock() = None)
            }
            Err(fault) => self.keep_fault(row, &names, &fault),
        };
        if let Err(error) = kept {
            tracing::error!("could not store what came of `{names}`: {}", error.body().message);
            // The store is what the next look goes by: without a rest it would find the same again.
            self.rest(std::time::Duration::from_secs(5));
        }
        self.give_certificates();
        *self.keeper.unshown.lock() = None;
    }

    fn keep_issued(
        &self,
        row: &CertificateRow,
        names: &str,
        pair: Pair,
        key: PrivateKey,
    ) -> Result<(), ControlError> {
        self.reach_certificate(CertificatePlace::Issued);
        let Pair { chain, not_before, not_after, .. } = pair;
        let issued = Unsealed { chain, key, not_before, not_after }.sealed(self, row.id);
        let now = now();
        let next = schedule::not_at_once(now, schedule::renewal(row.id, not_before, not_after), not_after);
        self.store.certificate_issued(row.id, &issued, next)?;
        self.reach_certificate(CertificatePlace::Stored);
        tracing::info!("the certificate of `{names}` was issued and ends on {}", super::pair::day(not_after));
        Ok(())
    }

    fn keep_fault(&self, row: &CertificateRow, names: &str, fault: &AcmeFault) -> Result<(), ControlError> {
        let now = now();
        // A try by HTTP-01 that failed goes on by TLS-ALPN-01, and both are one.
        let goes_on = fault.whose == Whose::Validation && !row.by_tls && self.speaks_tls();
        let failures = if goes_on { row.failures } else { row.failures.saturating_add(1) };
        let wait_until = fault.wait.map(|wait| schedule::limited(now, wait));
        let next_try = match wait_until {
            Some(until) => until,
            None if goes_on || (fault.is_passing && row.failures == 0) => now,
            None => schedule::retry(now, failures),
        };
        let error = fault.to_string();
        // Only a validation that failed speaks against the way it was made by.
        let by_tls = goes_on || (row.by_tls && fault.whose != Whose::Validation);
        let failed = FailedTry { error: &error, failures, by_tls, next_try, wait_until };
        self.store.certificate_failed(row.id, &failed, fault.ends_the_order())?;
        if next_try == now {
            tracing::warn!("no certificate for `{names}` yet: {error}; it is tried again at once");
            return Ok(());
        }
        let kept = if row.is_valid_at(now) { "; the one that is shown stays" } else { "" };
        let next = super::pair::day(next_try);
        tracing::error!("no certificate for `{names}`: {error}{kept}; the next try is at {next}");
        Ok(())
    }

    /// Waits here if a test asks for it.
    pub(super) fn reach_certificate(&self, place: CertificatePlace) {
        self.reach_named(place.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand::Stand;

    #[test]
    fn private_names_are_never_asked_for() {
        for private in
            ["localhost", "shop.localhost", "a.test", "a.internal", "10.in-addr.arpa", "127.0.0.1", "*.a.org"]
        {
            assert!(!is_public(private), "{private}");
        }
        assert!(is_public("blog.example.org"));
    }

    #[test]
    fn nothing_is_wished_for_unless_that_is_on_or_was_asked_for() {
        let stand = Stand::new();
        let control = &stand.control;
        control.store.add_domain(stand.key.id, &"blog.example.org".parse().unwrap()).unwrap();
        control.wish_for_domains().unwrap();
        assert!(control.store.certificates().unwrap().is_empty());
        assert!(matches!(control.due_certificate(), Ok(Err(None))));

        control.add_acme_certificate(&"blog.example.org".parse().unwrap()).unwrap();
        let Ok(Ok(row)) = control.due_certificate() else { panic!("nothing is due") };
        control.store.remove_domain(stand.key.id, "blog.example.org").unwrap();
        assert!(matches!(control.due_certificate(), Ok(Err(None))), "a domain that nobody has rests");
        assert!(!control.acme_domains().unwrap().is_wanted(&row));
    }
}
