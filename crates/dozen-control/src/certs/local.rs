//! The local authority: certificates for names that no public one issues for, such as `*.localhost`.
//!
//! It is made when it is first needed, which is with a TLS listener, and belongs to one base domain:
//! its own certificate says that it may sign for that domain, for `localhost` and for this machine's
//! loopback addresses, and for nothing else. So whoever trusts it trusts it with no more than that.
//! With another base domain there is another authority.
//!
//! A name that a certificate from elsewhere covers needs none from here. A base domain of one label
//! has a certificate for each app: no browser takes `*.localhost`.

use std::{collections::BTreeSet, net::Ipv6Addr, time::Duration};

use dozen_model::certificates::{CertificateName, PrivateKey};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};

use super::schedule;
use crate::{
    control::Control,
    error::ControlError,
    seal::ServerSecret,
    store::{AuthorityRow, CertificateRow, CertificateSource, Issued, now},
};

const DAY: i64 = 24 * 3600;
/// An authority's life: whoever trusts it does so once.
const AUTHORITY_LIFE: i64 = 3650 * DAY;
/// What must be left of it for a certificate that it signs.
const AUTHORITY_LEFT: i64 = 2 * LEAF_LIFE;
/// The life of what it signs; it is renewed by itself.
const LEAF_LIFE: i64 = 90 * DAY;
/// How far clocks may differ.
const SKEW: i64 = 3600;

impl Control {
    /// Makes, renews and forgets certificates of local names; true when something changed.
    pub(super) fn keep_local_certificates(&self) -> Result<bool, ControlError> {
        if !self.speaks_tls() {
            return Ok(false);
        }
        let wanted = self.local_certificates()?;
        let now = now();
        let (mut is_changed, mut had) = (false, BTreeSet::new());
        for row in self.store.certificates()?.into_iter().filter(|row| row.source == CertificateSource::Local)
        {
            if wanted.contains(&row.names) && row.next_renewal().is_some_and(|at| now < at) {
                had.insert(row.names);
            } else if !wanted.contains(&row.names) {
                is_changed |= self.store.forget_certificate(row.id)?;
            }
        }
        for names in wanted.iter().filter(|names| !had.contains(*names)) {
            let issued = self.sign_locally(names)?;
            self.store
                .put_certificate(CertificateSource::Local, names, |id| issued.clone().sealed(self, id))?;
            is_changed = true;
        }
        Ok(is_changed)
    }

    /// The names of each certificate that the local authority is to sign.
    fn local_certificates(&self) -> Result<BTreeSet<Vec<CertificateName>>, ControlError> {
        let now = now();
        let rows = self.store.certificates()?;
        let is_covered = |name: &CertificateName| {
            let others =
                rows.iter().filter(|row| row.source != CertificateSource::Local && row.is_valid_at(now));
            others.into_iter().any(|row| row.names.contains(name) || row.covers(name.as_str()))
        };
        let base = &self.options.domain;
        let mut groups = vec![vec![base.clone(), "localhost".to_owned()]];
        if base.contains('.') {
            groups[0].push(format!("*.{base}"));
        } else {
            let stages = self.store.stages()?;
            let living = stages.iter().filter(|stage| !stage.doomed);
            groups.extend(living.map(|stage| vec![self.automatic_host(&stage.key.app, &stage.key.stage)]));
        }
        let named = groups.into_iter().map(|group| {
            let names = group.iter().filter_map(|name| name.parse().ok());
            let mut names: Vec<CertificateName> = names.filter(|name| !is_covered(name)).collect();
            names.sort();
            names.dedup();
            names
        });
        Ok(named.filter(|names| !names.is_empty()).collect())
    }

    /// The authority of the base domain; it is made when there is none, or its end is near.
    pub(crate) fn local_authority(&self) -> Result<AuthorityRow, ControlError> {
        let _one_at_a_time = self.keeper.authority.lock();
        let domain = &self.options.domain;
        if let Some(row) = self.store.authority(domain)?
            && now() + AUTHORITY_LEFT < row.not_after
        {
            return Ok(row);
        }
        let key = KeyPair::generate().map_err(not_made)?;
        let not_after = now() + AUTHORITY_LIFE;
        let certificate = authority_params(domain, not_after)
            .and_then(|params| params.self_signed(&key))
            .map_err(not_made)?;
        let row = AuthorityRow {
            certificate: certificate.pem(),
            sealed_key: self.sealed(ServerSecret::AuthorityKey(domain), &key.serialize_pem()),
            not_after,
        };
        self.store.put_authority(domain, &row)?;
        tracing::info!(
            "made a local authority for `{domain}`; `dozen certs trust` makes browsers believe it"
        );
        Ok(row)
    }

    fn sign_locally(&self, names: &[CertificateName]) -> Result<Unsealed, ControlError> {
        let authority = self.local_authority()?;
        let key = self.unsealed(ServerSecret::AuthorityKey(&self.options.domain), &authority.sealed_key)?;
        let signed = || {
            let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&key)?)?;
            let (key, params) = (KeyPair::generate()?, leaf_params(names)?);
            let certificate = params.signed_by(&key, &issuer)?;
            Ok((certificate.pem(), key.serialize_pem()))
        };
        let (chain, key) = signed().map_err(not_made)?;
        let now = now();
        Ok(Unsealed { chain, key: PrivateKey::new(key), not_before: now - SKEW, not_after: now + LEAF_LIFE })
    }
}

/// A certificate whose key is not sealed yet.
#[derive(Debug, Clone)]
pub(super) struct Unsealed {
    pub(super) chain: String,
    pub(super) key: PrivateKey,
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

impl Unsealed {
    /// The same for the store, for the row of this id.
    pub(super) fn sealed(self, control: &Control, id: i64) -> Issued {
        let sealed_key = control.sealed(ServerSecret::CertificateKey(id), self.key.expose());
        Issued { chain: self.chain, sealed_key, not_before: self.not_before, not_after: self.not_after }
    }
}

impl CertificateRow {
    /// When what is shown is to be renewed.
    pub(super) fn next_renewal(&self) -> Option<i64> {
        self.issued.as_ref().map(|issued| schedule::renewal(self.id, issued.not_before, issued.not_after))
    }
}

fn not_made(error: rcgen::Error) -> ControlError {
    ControlError::io("make a certificate")(std::io::Error::other(error))
}

fn authority_params(domain: &str, not_after: i64) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named(&format!("dozen local authority for {domain}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName(domain.to_owned()),
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(Ipv6Addr::LOCALHOST.octets(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    set_time(&mut params, now() - SKEW, not_after);
    Ok(params)
}

fn leaf_params(names: &[CertificateName]) -> Result<CertificateParams, rcgen::Error> {
    let mut subjects: Vec<String> = names.iter().map(ToString::to_string).collect();
    if subjects.iter().any(|name| name == "localhost") {
        subjects.extend(["127.0.0.1".to_owned(), "::1".to_owned()]);
    }
    let mut params = CertificateParams::new(subjects)?;
    params.distinguished_name = named("dozen");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    set_time(&mut params, now() - SKEW, now() + LEAF_LIFE);
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_time(params: &mut CertificateParams, not_before: i64, not_after: i64) {
    let at = |seconds: i64| {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    };
    (params.not_before, params.not_after) = (at(not_before), at(not_after));
}
