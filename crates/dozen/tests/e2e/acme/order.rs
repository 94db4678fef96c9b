//! Orders, authorizations, challenges and certificates (RFC 8555, 7.4 to 7.6).

use std::time::Instant;

use serde_json::{Value, json};

use super::{
    account::{only_get, own},
    authority::Issued,
    jws::{Jws, decoded, random_text},
    problem::Problem,
    validation::{Job, Kind},
    world::{Reply, Who, World},
};

/// The states of orders, authorizations and challenges, as far as each has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Deactivated,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Processing => "processing",
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Deactivated => "deactivated",
        }
    }
}

/// An order.
#[derive(Debug)]
pub struct Order {
    pub account: usize,
    pub status: Status,
    /// Sorted.
    pub names: Vec<String>,
    authorizations: Vec<usize>,
    ends: Instant,
    /// When it is processed to its end.
    done: Instant,
    issued: Option<Result<Issued, Problem>>,
    certificate: Option<usize>,
    error: Option<Problem>,
}

/// A name that is to be validated.
#[derive(Debug)]
pub struct Authorization {
    account: usize,
    name: String,
    pub status: Status,
    ends: Instant,
    challenges: Vec<Challenge>,
}

#[derive(Debug)]
struct Challenge {
    kind: Kind,
    token: String,
    status: Status,
    error: Option<Problem>,
}

/// A certificate that was issued.
#[derive(Debug)]
pub struct Certificate {
    account: usize,
    issued: Issued,
    is_revoked: bool,
}

impl World {
    pub fn new_order(&mut self, account: usize, jws: &Jws) -> Result<Reply, Problem> {
        let asked = jws.object()?;
        if !asked["notBefore"].is_null() || !asked["notAfter"].is_null() {
            return Err(Problem::malformed("the time of a certificate is not for clients to choose"));
        }
        let names = identifiers(&asked["identifiers"])?;
        let ends = Instant::now() + self.script.order_life;
        let authorizations = names.iter().map(|name| self.authorization_for(account, name, ends)).collect();
        self.orders.push(Order {
            account,
            status: Status::Pending,
            names,
            authorizations,
            ends,
            done: ends,
            issued: None,
            certificate: None,
            error: None,
        });
        let id = self.orders.len() - 1;
        self.settle(id);
        Ok(self.order_reply(201, id))
    }

    fn authorization_for(&mut self, account: usize, name: &str, ends: Instant) -> usize {
        let is_good = |one: &Authorization| {
            one.account == account
                && one.name == name
                && one.status == Status::Valid
                && one.ends > Instant::now()
        };
        if let Some(id) =
            self.authorizations.iter().position(is_good).filter(|_| self.script.reuses_validations)
        {
            return id;
        }
        let challenges = Kind::ALL.map(|kind| Challenge {
            kind,
            token: random_text(),
            status: Status::Pending,
            error: None,
        });
        let challenges = challenges.into();
        let name = name.to_owned();
        self.authorizations.push(Authorization { account, name, status: Status::Pending, ends, challenges });
        self.authorizations.len() - 1
    }

    /// Brings an order to the state that follows from its parts and the time.
    fn settle(&mut self, id: usize) {
        let now = Instant::now();
        let order = &mut self.orders[id];
        for authorization in &order.authorizations {
            let authorization = &mut self.authorizations[*authorization];
            if authorization.ends <= now && authorization.status == Status::Pending {
                authorization.status = Status::Invalid;
            }
        }
        let parts = order.authorizations.iter().map(|part| self.authorizations[*part].status);
        match order.status {
            Status::Pending | Status::Ready if order.ends <= now => order.status = Status::Invalid,
            Status::Pending if parts.clone().all(|part| part == Status::Valid) => {
                order.status = Status::Ready
            }
            Status::Pending if parts.clone().any(|part| !matches!(part, Status::Pending | Status::Valid)) => {
                order.status = Status::Invalid;
                // As Boulder does: the order has the problem of its validation.
                let challenges =
                    order.authorizations.iter().flat_map(|part| &self.authorizations[*part].challenges);
                order.error = challenges.filter_map(|challenge| challenge.error.clone()).next();
            }
            Status::Processing if order.done <= now => match order.issued.take() {
                Some(Ok(issued)) => {
                    let account = order.account;
                    self.certificates.push(Certificate { account, issued, is_revoked: false });
                    order.certificate = Some(self.certificates.len() - 1);
                    order.status = Status::Valid;
                }
                Some(Err(problem)) => {
                    order.error = Some(problem);
                    order.status = Status::Invalid;
                }
                None => {}
            },
            _ => {}
        }
    }

    pub fn is_every_order_over(&mut self) -> bool {
        (0..self.orders.len()).for_each(|id| self.settle(id));
        self.orders.iter().all(|order| matches!(order.status, Status::Valid | Status::Invalid))
    }

    fn order_reply(&self, status: u16, id: usize) -> Reply {
        let order = &self.orders[id];
        let urls: Vec<String> =
            order.authorizations.iter().map(|id| self.url(&format!("/authorization/{id}"))).collect();
        let identifiers: Vec<Value> =
            order.names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        let mut value = json!({
            "status": order.status.name(),
            "expires": moment(order.ends),
            "identifiers": identifiers,
            "authorizations": urls,
            "finalize": self.url(&format!("/finalize/{id}")),
        });
        if let Some(certificate) = order.certificate {
            value["certificate"] = json!(self.url(&format!("/certificate/{certificate}")));
        }
        if let Some(error) = &order.error {
            value["error"] = error.json();
        }
        let reply = Reply::json(status, &value).with("location", self.url(&format!("/order/{id}")));
        if order.status == Status::Processing { reply.with("retry-after", "1") } else { reply }
    }

    pub fn order(&mut self, account: usize, id: usize, jws: &Jws) -> Result<Reply, Problem> {
        own(account, self.orders.get(id).ok_or_else(missing)?.account)?;
        only_get(jws)?;
        self.settle(id);
        Ok(self.order_reply(200, id))
    }

    pub fn finalize(&mut self, account: usize, id: usize, jws: &Jws) -> Result<Reply, Problem> {
        own(account, self.orders.get(id).ok_or_else(missing)?.account)?;
        self.settle(id);
        let asked = jws.object()?;
        if self.orders[id].status != Status::Ready {
            let detail = format!("the order is {}", self.orders[id].status.name());
            return Err(Problem::new(403, "orderNotReady", detail));
        }
        let csr = decoded(asked["csr"].as_str().unwrap_or("="), "csr")?;
        let (names, key) = (self.orders[id].names.clone(), self.accounts[account].key.clone());
        let issued = self.authority.sign(&csr, &names, &key, self.script.certificate_life)?;
        let order = &mut self.orders[id];
        order.issued = Some(self.script.issue.clone().map_or(Ok(issued), Err));
        order.status = Status::Processing;
        order.done = Instant::now() + self.script.processing;
        self.settle(id);
        Ok(self.order_reply(200, id))
    }

    pub fn authorization(&mut self, account: usize, id: usize, jws: &Jws) -> Result<Reply, Problem> {
        own(account, self.authorizations.get(id).ok_or_else(missing)?.account)?;
        if !jws.is_get() {
            if jws.object()?["status"] != "deactivated" {
                return Err(Problem::malformed("an authorization can be deactivated, and nothing else"));
            }
            self.authorizations[id].status = Status::Deactivated;
        }
        let one = &self.authorizations[id];
        let challenges: Vec<Value> =
            (0..one.challenges.len()).map(|which| self.challenge_json(id, which)).collect();
        let value = json!({
            "status": one.status.name(),
            "expires": moment(one.ends),
            "identifier": {"type": "dns", "value": one.name},
            "challenges": challenges,
        });
        Ok(Reply::json(200, &value))
    }

    fn challenge_json(&self, id: usize, which: usize) -> Value {
        let challenge = &self.authorizations[id].challenges[which];
        let mut value = json!({
            "type": challenge.kind.name(),
            "url": self.url(&format!("/challenge/{id}/{which}")),
            "token": challenge.token,
            "status": challenge.status.name(),
        });
        if challenge.status == Status::Valid {
            value["validated"] = json!(moment(Instant::now()));
        }
        if let Some(error) = &challenge.error {
            value["error"] = error.json();
        }
        value
    }

    pub fn challenge(
        &mut self,
        account: usize,
        (id, which): (usize, usize),
        jws: &Jws,
        job: &mut Option<Job>,
    ) -> Result<Reply, Problem> {
        let one = self.authorizations.get_mut(id).ok_or_else(missing)?;
        own(account, one.account)?;
        let is_open = one.status == Status::Pending && one.ends > Instant::now();
        let challenge = one.challenges.get_mut(which).ok_or_else(missing)?;
        if !jws.is_get() {
            if jws.object()? != json!({}) {
                return Err(Problem::malformed("a challenge is answered with an empty object"));
            }
            if !is_open {
                return Err(Problem::malformed("the authorization is not pending"));
            }
            if challenge.status == Status::Pending {
                challenge.status = Status::Processing;
                let (kind, token) = (challenge.kind, challenge.token.clone());
                let scripted = self.script.validations.iter().find(|(of, _)| *of == kind);
                *job = Some(Job {
                    authorization: id,
                    challenge: which,
                    kind,
                    name: one.name.clone(),
                    key_authorization: format!("{token}.{}", self.accounts[account].key.thumbprint()),
                    token,
                    port: if kind == Kind::Http { self.script.ports.0 } else { self.script.ports.1 },
                    scripted: scripted.map(|(_, problem)| problem.clone()),
                });
            }
        }
        let up = format!("<{}>;rel=\"up\"", self.url(&format!("/authorization/{id}")));
        let reply = Reply::json(200, &self.challenge_json(id, which)).with("link", up);
        let is_open = self.authorizations[id].status == Status::Pending;
        Ok(if is_open { reply.with("retry-after", "1") } else { reply })
    }

    /// A validation has ended.
    pub fn conclude(&mut self, job: &Job, ended: Result<(), Problem>) {
        let one = &mut self.authorizations[job.authorization];
        let status = if ended.is_ok() { Status::Valid } else { Status::Invalid };
        let challenge = &mut one.challenges[job.challenge];
        (challenge.status, challenge.error) = (status, ended.err());
        if one.status == Status::Pending {
            one.status = status;
        }
    }

    pub fn certificate(&self, account: usize, id: usize, jws: &Jws) -> Result<Reply, Problem> {
        let certificate = self.certificates.get(id).ok_or_else(missing)?;
        own(account, certificate.account)?;
        only_get(jws)?;
        let reply = Reply { body: certificate.issued.chain.clone(), ..Reply::empty(200) };
        Ok(reply.with("content-type", "application/pem-certificate-chain"))
    }

    /// By the account that it was issued to, or by its own key.
    pub fn revoke(&mut self, who: &Who, jws: &Jws) -> Result<Reply, Problem> {
        let asked = jws.object()?;
        let der = decoded(asked["certificate"].as_str().unwrap_or("="), "certificate")?;
        let found = self.certificates.iter_mut().find(|one| one.issued.der == der).ok_or_else(missing)?;
        let may = match who {
            Who::Account(account) => *account == found.account,
            Who::Key(key) => key.is_public_key(&found.issued.public_key),
        };
        if !may {
            return Err(Problem::unauthorized("it is not this one's to revoke"));
        }
        if !asked["reason"].is_null() && !asked["reason"].as_u64().is_some_and(|code| code <= 10 && code != 7)
        {
            return Err(Problem::new(400, "badRevocationReason", "there is no such reason"));
        }
        if std::mem::replace(&mut found.is_revoked, true) {
            return Err(Problem::new(400, "alreadyRevoked", "it is revoked"));
        }
        Ok(Reply::empty(200))
    }
}

fn missing() -> Problem {
    Problem::new(404, "malformed", "there is nothing here")
}

/// The names of an order: public ones, each once, no wildcard (that would need DNS-01).
fn identifiers(value: &Value) -> Result<Vec<String>, Problem> {
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| Problem::malformed("there are no identifiers"))?;
    let mut names = Vec::new();
    for one in list {
        if one["type"] != "dns" {
            return Err(Problem::new(400, "unsupportedIdentifier", format!("{one}")));
        }
        let name = one["value"].as_str().unwrap_or_default();
        let is_label = |label: &str| {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            (1..=63).contains(&label.len()) && label.bytes().all(is_plain) && !label.starts_with('-')
        };
        let is_public =
            name.contains('.') && name.split('.').all(is_label) && name.parse::<std::net::IpAddr>().is_err();
        if !is_public || name.ends_with(".localhost") {
            return Err(Problem::new(400, "rejectedIdentifier", format!("`{name}` is no public name")));
        }
        names.push(name.to_owned());
    }
    names.sort();
    names.dedup();
    Ok(names)
}

fn moment(at: Instant) -> String {
    let left = at.saturating_duration_since(Instant::now());
    let at = jiff::Timestamp::now() + jiff::SignedDuration::try_from(left).expect("a time");
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
