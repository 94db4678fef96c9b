//! What the server knows, what it is told to do wrong, and the way of a request through it.
//!
//! A request is read, its nonce used, its signature believed, and only then is it looked at what it
//! asks for. Every answer brings a fresh nonce.
//!
//! Start reading at [`World::serve`].

use std::{collections::HashSet, time::Duration};

use serde_json::{Value, json};

use super::{
    account::Account,
    authority::{Authority, Life},
    jws::{Jwk, Jws, Signer, random_text},
    order::{Authorization, Certificate, Order},
    problem::Problem,
    validation::{Job, Kind},
};

/// What is to go wrong, and other wishes of a test.
#[derive(Debug)]
pub struct Script {
    /// Each so many-th signed request is told that its nonce is bad.
    pub bad_nonce_each: Option<usize>,
    pub faults: Vec<Fault>,
    /// Validations of this kind end so.
    pub validations: Vec<(Kind, Problem)>,
    /// What becomes of each order that is finalized.
    pub issue: Option<Problem>,
    /// How long an order is processed.
    pub processing: Duration,
    pub order_life: Duration,
    pub certificate_life: Life,
    /// The key id and the key that an account has to be bound to.
    pub binding: Option<(String, Vec<u8>)>,
    /// Whether an order of a name that was validated before is ready at once.
    pub reuses_validations: bool,
    /// Where all names are, for HTTP-01 and TLS-ALPN-01.
    pub ports: (u16, u16),
    /// Nobody is at home: connections end at once.
    pub is_away: bool,
}

impl Default for Script {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self {
            bad_nonce_each: None,
            faults: Vec::new(),
            validations: Vec::new(),
            issue: None,
            processing: Duration::ZERO,
            order_life: day,
            certificate_life: Life { before: Duration::from_secs(3600), after: day * 90 },
            binding: None,
            reuses_validations: false,
            ports: (80, 443),
            is_away: false,
        }
    }
}

/// Something that goes wrong at a resource.
#[derive(Debug)]
pub struct Fault {
    pub at: &'static str,
    /// How many requests go well before.
    pub after: usize,
    /// How many do not.
    pub times: usize,
    pub how: How,
}

/// How something goes wrong.
#[derive(Debug, Clone)]
pub enum How {
    /// Refused, before anything is done.
    Refused(Problem),
    /// A page that is no problem document, before anything is done; it may say when to come again.
    Page(u16, Option<u64>),
    /// It is done, and the connection ends in the middle of the answer.
    Cut,
}

/// A request as it came.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub content_type: Option<String>,
    pub agent: Option<String>,
    pub body: Vec<u8>,
}

/// What a request was and what was said to it, for tests to count.
#[derive(Debug, Clone)]
pub struct Seen {
    pub what: String,
    /// The type of the problem, if there was one.
    pub problem: Option<&'static str>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub is_cut: bool,
}

impl Reply {
    pub fn json(status: u16, value: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: value.to_string(), is_cut: false }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), is_cut: false }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn refused(problem: &Problem) -> Self {
        let mut reply = Self::json(problem.status, &problem.json());
        reply.headers = vec![("content-type", "application/problem+json".to_owned())];
        reply.headers.extend(problem.retry_after.map(|seconds| ("retry-after", seconds.to_string())));
        reply
    }
}

/// Who a signed request is from.
pub enum Who {
    Key(Jwk),
    Account(usize),
}

/// Everything.
pub struct World {
    pub base: String,
    pub script: Script,
    pub authority: Authority,
    pub accounts: Vec<Account>,
    pub orders: Vec<Order>,
    pub authorizations: Vec<Authorization>,
    pub certificates: Vec<Certificate>,
    pub seen: Vec<Seen>,
    nonces: HashSet<String>,
    signed: usize,
}

impl World {
    pub fn new(base: String) -> Self {
        Self {
            base,
            script: Script::default(),
            authority: Authority::new(),
            accounts: Vec::new(),
            orders: Vec::new(),
            authorizations: Vec::new(),
            certificates: Vec::new(),
            seen: Vec::new(),
            nonces: HashSet::new(),
            signed: 0,
        }
    }

    /// Answers a request; a validation may be to follow.
    pub fn serve(&mut self, request: &Request) -> (Reply, Option<Job>) {
        let mut job = None;
        let words: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        let what = words[0];
        let how = self.fault(what);
        let answered = match &how {
            // A refusal is signed for, too: the nonce is used.
            Some(How::Refused(problem)) => {
                if let Ok(jws) = Jws::read(&request.body, &self.url(&request.path)) {
                    jws.nonce.map(|nonce| self.nonces.remove(&nonce));
                }
                Err(problem.clone())
            }
            Some(How::Page(status, wait)) => {
                let mut page = Reply { body: "<html>out of order</html>".into(), ..Reply::empty(*status) };
                page.headers.extend(wait.map(|seconds| ("retry-after", seconds.to_string())));
                Ok(page.with("content-type", "text/html"))
            }
            _ => self.answer(request, &words, &mut job),
        };
        let problem = answered.as_ref().err().map(|problem| problem.kind);
        let mut reply = answered.unwrap_or_else(|problem| Reply::refused(&problem));
        reply.is_cut = matches!(how, Some(How::Cut));
        let nonce = random_text();
        self.nonces.insert(nonce.clone());
        reply = reply.with("replay-nonce", nonce).with("cache-control", "no-store");
        if what != "directory" {
            reply = reply.with("link", format!("<{}>;rel=\"index\"", self.url("/directory")));
        }
        self.seen.push(Seen { what: what.to_owned(), problem });
        (reply, job)
    }

    /// What is to go wrong with this one.
    fn fault(&mut self, what: &str) -> Option<How> {
        let fault = self.script.faults.iter_mut().find(|fault| fault.at == what && fault.times > 0)?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        Some(fault.how.clone())
    }

    fn answer(&mut self, request: &Request, words: &[&str], job: &mut Option<Job>) -> Result<Reply, Problem> {
        if request.agent.is_none() {
            return Err(Problem::malformed("there is no User-Agent"));
        }
        match (request.method.as_str(), words) {
            ("GET", ["directory"]) => Ok(Reply::json(200, &self.directory())),
            ("HEAD", ["new-nonce"]) => Ok(Reply::empty(200)),
            ("GET", ["new-nonce"]) => Ok(Reply::empty(204)),
            ("POST", words) if !matches!(words, ["directory" | "new-nonce"]) => {
                self.post(request, words, job)
            }
            (method, _) => Err(Problem::new(405, "malformed", format!("{method} is not for this"))),
        }
    }

    fn directory(&self) -> Value {
        json!({
            "newNonce": self.url("/new-nonce"),
            "newAccount": self.url("/new-account"),
            "newOrder": self.url("/new-order"),
            "revokeCert": self.url("/revoke-cert"),
            "keyChange": self.url("/key-change"),
            "meta": {
                "termsOfService": self.url("/terms"),
                "externalAccountRequired": self.script.binding.is_some(),
            },
        })
    }

    fn post(&mut self, request: &Request, words: &[&str], job: &mut Option<Job>) -> Result<Reply, Problem> {
        if request.content_type.as_deref() != Some("application/jose+json") {
            return Err(Problem::new(415, "malformed", "it is no `application/jose+json`"));
        }
        let jws = Jws::read(&request.body, &self.url(&request.path))?;
        self.use_nonce(&jws)?;
        let who = self.signer(&jws)?;
        let number = |word: &&str| word.parse::<usize>().unwrap_or(usize::MAX);
        let numbers: Vec<usize> = words[1..].iter().map(number).collect();
        let account = match (words[0], who) {
            ("new-account", Who::Key(key)) => return self.new_account(key, &jws),
            ("revoke-cert", who) => return self.revoke(&who, &jws),
            (_, Who::Account(account)) => account,
            (_, Who::Key(_)) => return Err(Problem::malformed("`jwk` where `kid` is asked for")),
        };
        match (words[0], numbers.as_slice()) {
            ("new-account", _) => Err(Problem::malformed("`kid` where `jwk` is asked for")),
            ("account", [id]) => self.account(account, *id, &jws),
            ("orders", [id]) => self.orders_of(account, *id, &jws),
            ("key-change", []) => self.change_key(account, &jws),
            ("new-order", []) => self.new_order(account, &jws),
            ("order", [id]) => self.order(account, *id, &jws),
            ("finalize", [id]) => self.finalize(account, *id, &jws),
            ("authorization", [id]) => self.authorization(account, *id, &jws),
            ("challenge", [id, which]) => self.challenge(account, (*id, *which), &jws, job),
            ("certificate", [id]) => self.certificate(account, *id, &jws),
            _ => Err(Problem::new(404, "malformed", "there is nothing here")),
        }
    }

    fn use_nonce(&mut self, jws: &Jws) -> Result<(), Problem> {
        let is_ours = jws.nonce.as_ref().is_some_and(|nonce| self.nonces.remove(nonce));
        self.signed += 1;
        let is_turn = self.script.bad_nonce_each.is_some_and(|each| self.signed.is_multiple_of(each));
        if is_ours && !is_turn { Ok(()) } else { Err(Problem::new(400, "badNonce", "the nonce is not good")) }
    }

    fn signer(&self, jws: &Jws) -> Result<Who, Problem> {
        match &jws.signer {
            Signer::Key(key) => jws.verify(key).map(|()| Who::Key(key.clone())),
            Signer::Account(url) => {
                let id = (0..self.accounts.len()).find(|id| self.account_url(*id) == *url);
                let unknown = || Problem::new(400, "accountDoesNotExist", "there is no such account");
                let id = id.ok_or_else(unknown)?;
                jws.verify(&self.accounts[id].key)?;
                if !self.accounts[id].is_valid {
                    return Err(Problem::new(401, "unauthorized", "the account was deactivated"));
                }
                Ok(Who::Account(id))
            }
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}
