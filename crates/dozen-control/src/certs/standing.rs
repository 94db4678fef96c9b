//! How certificates stand: what `dozen certs list`, `dozen domains` and `dozen doctor` say of them.

use super::pair::day;
use crate::{
    api::wire::{CertificateEntry, CertificateState, DoctorCheck, DoctorState, DomainCertificate},
    control::Control,
    error::ControlError,
    store::{CertificateRow, CertificateSource, now},
};

/// Of a file that nobody renews: how long before its end it is told.
const NEAR_END: i64 = 14 * 24 * 3600;

impl Control {
    /// `dozen certs list`.
    pub fn certificate_list(&self) -> Result<Vec<CertificateEntry>, ControlError> {
        let (now, wanted) = (now(), self.acme_domains()?);
        // Looked at before the store: who waits for a certificate does not want to know of it earlier
        // than clients are shown it.
        let unshown = *self.keeper.unshown.lock();
        let entry = |row: CertificateRow| CertificateEntry {
            id: row.id,
            source: row.source.as_str().to_owned(),
            state: state(&row, now, wanted.is_wanted(&row)),
            names: row.names.iter().map(ToString::to_string).collect(),
            not_before: row.issued.as_ref().map(|issued| issued.not_before),
            not_after: row.issued.as_ref().map(|issued| issued.not_after),
            next_try: match row.source {
                CertificateSource::Local => row.next_renewal(),
                _ => row.next_try.filter(|_| wanted.is_wanted(&row)),
            },
            error: row.error,
            failures: row.failures,
            tries: row.tries - u32::from(unshown == Some(row.id) && row.tries > 0),
        };
        Ok(self.store.certificates()?.into_iter().map(entry).collect())
    }

    /// The certificate that a client meets that asks for this host: as the router chooses it.
    pub(crate) fn certificate_of(&self, host: &str) -> Result<Option<DomainCertificate>, ControlError> {
        let entries = self.certificate_list()?;
        let covering = entries.into_iter().filter(|entry| {
            entry.names.iter().any(|name| {
                name == host || name.strip_prefix("*.").is_some_and(|parent| is_one_below(host, parent))
            })
        });
        let best = covering.min_by_key(|entry| {
            let rank = ["file", "acme", "local"].iter().position(|source| entry.source == *source);
            (entry.not_after.is_none(), entry.state == CertificateState::Expired, rank)
        });
        Ok(best.map(|entry| DomainCertificate {
            source: entry.source,
            state: entry.state,
            not_after: entry.not_after,
            error: entry.error,
        }))
    }

    /// Whether the certificate of a host is one that others than this machine believe.
    pub(crate) fn is_certified(&self, host: &str) -> bool {
        let is_believed = |of: DomainCertificate| {
            of.source != "local" && matches!(of.state, CertificateState::Valid | CertificateState::Failing)
        };
        self.certificate_of(host).ok().flatten().is_some_and(is_believed)
    }

    /// What `dozen doctor` says: one line when all is well, else one for each that is not.
    pub(crate) fn certificate_checks(&self) -> Vec<DoctorCheck> {
        let entries = match self.certificate_list() {
            Ok(entries) => entries,
            Err(error) => return vec![check(DoctorState::Broken, error.body().message, None)],
        };
        let now = now();
        let mut checks: Vec<DoctorCheck> =
            entries.iter().filter_map(|entry| certificate_check(entry, now)).collect();
        if checks.is_empty() && !entries.is_empty() {
            checks.push(check(DoctorState::Ok, format!("{} are as they should be", entries.len()), None));
        }
        checks
    }
}

fn is_one_below(host: &str, parent: &str) -> bool {
    host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
}

fn state(row: &CertificateRow, now: i64, is_wanted: bool) -> CertificateState {
    let is_acme = row.source == CertificateSource::Acme;
    match (row.is_valid_at(now), row.issued.is_some(), row.error.is_some()) {
        _ if is_acme && !is_wanted => CertificateState::Resting,
        (true, _, true) => CertificateState::Failing,
        (true, _, false) => CertificateState::Valid,
        (false, true, _) => CertificateState::Expired,
        (false, false, true) => CertificateState::Failed,
        (false, false, false) => CertificateState::Pending,
    }
}

fn certificate_check(entry: &CertificateEntry, now: i64) -> Option<DoctorCheck> {
    let names = entry.names.join(", ");
    let until = entry.not_after.map(day).unwrap_or_default();
    let error = entry.error.as_deref().unwrap_or("the reason is in the server's log");
    let again = entry.next_try.map(|at| format!("; the next try is at {}", day(at))).unwrap_or_default();
    let renew = || Some("put right what it says, then run `dozen certs renew`".to_owned());
    let is_acme = entry.source == "acme";
    match entry.state {
        CertificateState::Failing => Some(check(
            DoctorState::Degraded,
            format!(
                "{names}: could not be renewed, and the one that is shown ends on {until}: {error}{again}"
            ),
            renew(),
        )),
        CertificateState::Failed => {
            Some(check(DoctorState::Broken, format!("{names}: there is none: {error}{again}"), renew()))
        }
        CertificateState::Expired if is_acme => {
            Some(check(DoctorState::Broken, format!("{names}: ended on {until}: {error}{again}"), renew()))
        }
        CertificateState::Expired => Some(check(
            DoctorState::Broken,
            format!("{names}: ended on {until}"),
            Some("put a new one in its place with `dozen certs add`".to_owned()),
        )),
        CertificateState::Valid if entry.source == "file" => {
            let is_near = entry.not_after.is_some_and(|end| end - now < NEAR_END);
            is_near.then(|| {
                let hint = Some("put a new one in its place with `dozen certs add`".to_owned());
                check(DoctorState::Degraded, format!("{names}: ends on {until}, and nobody renews it"), hint)
            })
        }
        CertificateState::Resting => Some(check(
            DoctorState::Degraded,
            format!("{names}: is not renewed, because no app has the domain or DOZEN_ACME is off"),
            Some("take it away with `dozen certs remove`, or give the domain to an app".to_owned()),
        )),
        CertificateState::Valid | CertificateState::Pending => None,
    }
}

fn check(state: DoctorState, finding: String, hint: Option<String>) -> DoctorCheck {
    DoctorCheck { name: "certificate".into(), state, finding, hint }
}
