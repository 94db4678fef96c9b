//! The conversation for one certificate, from wherever an earlier one was cut off.
//!
//! ```text
//! key stored -> order asked for, its URL stored
//!   pending:    each name's challenge stored, shown by the router, then the server is told
//!   ready:      the request is signed with the stored key
//!   processing: waited for
//!   valid:      the chain is fetched
//! ```
//!
//! The server's word decides where it goes on: what it has done already is not asked for again. The
//! certificate's key is there before the order, so a chain that was issued while we were away fits.
//!
//! Start reading at [`obtain`].

use std::time::Duration;

use dozen_model::certificates::{CertificateName, PrivateKey};
use instant_acme::{
    AuthorizationHandle, AuthorizationStatus, ChallengeStatus, ChallengeType, Error, Identifier, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};

use super::{
    account::{self, OpenAccount},
    fault::{AcmeFault, Whose, told},
};
use crate::{
    barrier::CertificatePlace,
    certs::{pair::Pair, set::TlsAnswer},
    control::Control,
    seal::ServerSecret,
    store::{CertificateRow, ChallengeRow, OrderRow, now},
};

/// How long a validation and an issue are waited for; then the next try looks again.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.6)
    .timeout(Duration::from_secs(90));

/// Gets a certificate.
pub(crate) async fn obtain(control: &Control, row: &CertificateRow) -> Result<(Pair, PrivateKey), AcmeFault> {
    let obtained = match account::open(control).await {
        Ok(account) => obtain_from(control, row, &account).await,
        Err(fault) => Err(fault),
    };
    if obtained.as_ref().is_err_and(|fault| fault.is_account_gone) {
        control.store.set_account(&control.options.acme.directory, None)?;
    }
    obtained
}

async fn obtain_from(
    control: &Control,
    row: &CertificateRow,
    account: &OpenAccount,
) -> Result<(Pair, PrivateKey), AcmeFault> {
    let kept = key_of(control, row)?;
    let key = PrivateKey::new(control.unsealed(ServerSecret::OrderKey(row.id), &kept.sealed_key)?);
    control.reach_certificate(CertificatePlace::OrderRecorded);
    let begun = match kept.url {
        Some(url) => resumed(account, url).await?,
        None => None,
    };
    let order = match begun {
        Some(order) => order,
        None => ordered(control, row, account).await?,
    };
    let mut talk = Talk { control, row, account, order };
    if talk.order.state().status == OrderStatus::Pending {
        talk.answer_challenges().await?;
    }
    if talk.order.state().status == OrderStatus::Ready {
        control.reach_certificate(CertificatePlace::Validated);
        let request = request_for(row, &key).map_err(|_| unusable())?;
        let finalized = talk.order.finalize_csr(&request).await;
        finalized.map_err(|error| talk.fault("have the certificate issued", &error))?;
        control.reach_certificate(CertificatePlace::Finalized);
    }
    let chain = talk.fetch().await?;
    let refused = |fault| {
        AcmeFault::new(
            Whose::Refused,
            format!("the ACME server sent a certificate that is not usable: {fault}"),
        )
    };
    let pair = Pair::read(&chain, &key).and_then(|pair| pair.valid_at(now())).map_err(refused)?;
    match row.names.iter().find(|name| !pair.names.contains(name)) {
        Some(missing) => Err(refused_for(missing)),
        None => Ok((pair, key)),
    }
}

fn refused_for(missing: &CertificateName) -> AcmeFault {
    AcmeFault::new(Whose::Refused, format!("the ACME server sent a certificate that is not for `{missing}`"))
}

fn unusable() -> AcmeFault {
    AcmeFault::new(Whose::Own, "the key of the certificate could not be made or read")
}

/// The order's row, with a key that is made where there is none.
fn key_of(control: &Control, row: &CertificateRow) -> Result<OrderRow, AcmeFault> {
    let directory = &control.options.acme.directory;
    if let Some(kept) = control.store.acme_order(row.id, directory)? {
        return Ok(kept);
    }
    let key = KeyPair::generate().map_err(|_| unusable())?;
    let sealed = control.sealed(ServerSecret::OrderKey(row.id), &key.serialize_pem());
    control.store.put_order(row.id, directory, &sealed)?;
    control.store.acme_order(row.id, directory)?.ok_or_else(unusable)
}

/// The order at this URL; `None` when it is over and came to nothing, so that another one is to be
/// begun: it ended while we were away, or the server has forgotten it.
async fn resumed(account: &OpenAccount, url: String) -> Result<Option<Order>, AcmeFault> {
    let mut order = match account.account.order(url).await {
        Ok(order) => order,
        Err(Error::Api(problem)) if matches!(problem.status, Some(403 | 404 | 410)) => return Ok(None),
        Err(error) => {
            return Err(AcmeFault::of_call("go on with the order", &error, account.asked.last()));
        }
    };
    let is_over = order.state().status == OrderStatus::Invalid
        && order.state().error.is_none()
        && reasons(&mut order).await.is_empty();
    Ok((!is_over).then_some(order))
}

/// A new order.
async fn ordered(control: &Control, row: &CertificateRow, account: &OpenAccount) -> Result<Order, AcmeFault> {
    let names: Vec<Identifier> = row.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let made = account.account.new_order(&NewOrder::new(&names)).await;
    let order =
        made.map_err(|error| AcmeFault::of_call("order the certificate", &error, account.asked.last()))?;
    control.reach_certificate(CertificatePlace::Ordered);
    control.store.set_order_url(row.id, order.url())?;
    Ok(order)
}

/// What the server says of the names that it could not validate.
async fn reasons(order: &mut Order) -> Vec<String> {
    let mut reasons = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() || authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let name = authorization.identifier().to_string();
        let errors = authorization.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
        reasons.extend(errors.map(|error| format!("{name}: {}", told(error))));
    }
    reasons
}

/// The request for the certificate: its names, and nothing else about us.
fn request_for(row: &CertificateRow, key: &PrivateKey) -> Result<Vec<u8>, rcgen::Error> {
    let names: Vec<String> = row.names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&KeyPair::from_pem(key.expose())?)?.der().to_vec())
}

/// An order under way.
struct Talk<'a> {
    control: &'a Control,
    row: &'a CertificateRow,
    account: &'a OpenAccount,
    order: Order,
}

impl Talk<'_> {
    fn fault(&self, what: &str, error: &Error) -> AcmeFault {
        AcmeFault::of_call(what, error, self.account.asked.last())
    }

    /// Has every name validated: all answers are shown before the server is told of the first.
    async fn answer_challenges(&mut self) -> Result<(), AcmeFault> {
        self.show_answers().await?;
        self.control.reach_certificate(CertificatePlace::ChallengeStored);
        self.control.publish_certificates()?;
        self.control.reach_certificate(CertificatePlace::ChallengeShown);
        let kind = self.kind();
        let asked = &self.account.asked;
        let failed = |error| AcmeFault::of_call("have the domain validated", &error, asked.last());
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(failed)?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let Some(mut challenge) = authorization.challenge(kind.clone()) else { continue };
            // One that the server looks at already is not told twice.
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await.map_err(failed)?;
            }
        }
        self.control.reach_certificate(CertificatePlace::ChallengeTold);
        let waited = self.order.poll_ready(&POLLS).await;
        match waited {
            Ok(OrderStatus::Invalid) | Err(Error::Api(_)) => Err(self.why_invalid().await),
            Ok(_) => Ok(()),
            Err(error) => Err(self.fault("have the domain validated", &error)),
        }
    }

    fn kind(&self) -> ChallengeType {
        if self.row.by_tls { ChallengeType::TlsAlpn01 } else { ChallengeType::Http01 }
    }

    /// Stores the answers to the challenges of all names that are not validated yet.
    async fn show_answers(&mut self) -> Result<(), AcmeFault> {
        let (kind, by_tls) = (self.kind(), self.row.by_tls);
        let asked = &self.account.asked;
        let mut authorizations = self.order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization
                .map_err(|error| AcmeFault::of_call("ask for the validation", &error, asked.last()))?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = validated_name(&authorization)?;
            let Some(challenge) = authorization.challenge(kind.clone()) else {
                let word = if by_tls { "tls-alpn-01" } else { "http-01" };
                let text = format!("the ACME server does not validate `{name}` by {word}");
                return Err(AcmeFault::new(Whose::Validation, text));
            };
            let (token, proof) = (challenge.token.clone(), challenge.key_authorization());
            if !is_token(&token) {
                return Err(AcmeFault::new(Whose::Refused, "the ACME server sent a token that is none"));
            }
            let answer = if by_tls {
                tls_answer(&name, proof.digest().as_ref()).map_err(|_| unusable())?
            } else {
                proof.as_str().to_owned()
            };
            let secret = ServerSecret::Challenge(self.row.id, &token);
            let sealed_answer = self.control.sealed(secret, &answer);
            let certificate = self.row.id;
            self.control.store.put_challenge(&ChallengeRow {
                certificate,
                by_tls,
                name,
                token,
                sealed_answer,
            })?;
        }
        Ok(())
    }

    /// Why the order came to nothing.
    async fn why_invalid(&mut self) -> AcmeFault {
        // Some servers give an order the problem of its validation, too: that comes first.
        let reasons = reasons(&mut self.order).await;
        match &self.order.state().error {
            _ if !reasons.is_empty() => AcmeFault::new(Whose::Validation, reasons.join("; ")),
            Some(problem) => AcmeFault::of_problem("have the certificate issued", problem, None),
            None => {
                let text = "the ACME server did not validate it and gives no reason";
                AcmeFault::new(Whose::Validation, text)
            }
        }
    }

    /// Waits for the certificate and takes it.
    async fn fetch(&mut self) -> Result<String, AcmeFault> {
        let status = self.order.state().status;
        if status == OrderStatus::Invalid {
            return Err(self.why_invalid().await);
        }
        let fetched = if status == OrderStatus::Valid {
            self.order.certificate().await.map(Option::unwrap_or_default)
        } else {
            self.order.poll_certificate(&POLLS).await
        };
        fetched.map_err(|error| self.fault("fetch the certificate", &error))
    }
}

fn validated_name(authorization: &AuthorizationHandle<'_>) -> Result<CertificateName, AcmeFault> {
    let name = authorization.identifier().to_string();
    name.parse().map_err(|_| AcmeFault::new(Whose::Refused, format!("the ACME server validates `{name}`")))
}

/// RFC 8555, 8.1: base64url, so that a path of ours with it in it is a path.
fn is_token(token: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=256).contains(&token.len()) && token.bytes().all(is_plain)
}

/// The certificate of RFC 8737: signed by itself, for the one name, with the digest in it.
fn tls_answer(name: &CertificateName, digest: &[u8]) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![name.to_string()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let answer =
        TlsAnswer { chain: params.self_signed(&key)?.pem(), key: PrivateKey::new(key.serialize_pem()) };
    serde_json::to_string(&answer).map_err(|_| rcgen::Error::RemoteKeyError)
}
