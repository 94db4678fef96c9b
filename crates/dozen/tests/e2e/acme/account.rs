//! Accounts (RFC 8555, 7.3).

use serde_json::{Value, json};

use super::{
    jws::{Jwk, Jws, Signer, check_binding},
    problem::Problem,
    world::{Reply, World},
};

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    pub key: Jwk,
    pub contact: Vec<String>,
    pub is_valid: bool,
}

impl World {
    pub fn account_url(&self, id: usize) -> String {
        self.url(&format!("/account/{id}"))
    }

    pub fn new_account(&mut self, key: Jwk, jws: &Jws) -> Result<Reply, Problem> {
        let asked = jws.object()?;
        let known = self.accounts.iter().position(|account| account.key == key);
        if let Some(id) = known {
            if !self.accounts[id].is_valid {
                return Err(Problem::unauthorized("the account was deactivated"));
            }
            return Ok(self.account_reply(200, id));
        }
        if asked["onlyReturnExisting"] == true {
            return Err(Problem::new(400, "accountDoesNotExist", "there is no account with this key"));
        }
        let contact = contacts(&asked["contact"])?;
        if asked["termsOfServiceAgreed"] != true {
            return Err(Problem::new(403, "userActionRequired", "the terms of service were not agreed to"));
        }
        if let Some((kid, mac)) = &self.script.binding {
            let binding = &asked["externalAccountBinding"];
            if binding.is_null() {
                let detail = "an account has to be bound to an external one";
                return Err(Problem::new(403, "externalAccountRequired", detail));
            }
            check_binding(binding, &self.url("/new-account"), &key, (kid, mac))?;
        }
        self.accounts.push(Account { key, contact, is_valid: true });
        Ok(self.account_reply(201, self.accounts.len() - 1))
    }

    fn account_reply(&self, status: u16, id: usize) -> Reply {
        let account = &self.accounts[id];
        let value = json!({
            "status": if account.is_valid { "valid" } else { "deactivated" },
            "contact": account.contact,
            "orders": self.url(&format!("/orders/{id}")),
        });
        Reply::json(status, &value).with("location", self.account_url(id))
    }

    pub fn account(&mut self, account: usize, id: usize, jws: &Jws) -> Result<Reply, Problem> {
        own(account, id)?;
        if jws.is_get() {
            return Ok(self.account_reply(200, id));
        }
        let asked = jws.object()?;
        if !asked["contact"].is_null() {
            self.accounts[id].contact = contacts(&asked["contact"])?;
        }
        match asked["status"].as_str() {
            Some("deactivated") => self.accounts[id].is_valid = false,
            None => {}
            Some(other) => return Err(Problem::malformed(format!("no account becomes `{other}`"))),
        }
        Ok(self.account_reply(200, id))
    }

    pub fn orders_of(&self, account: usize, id: usize, jws: &Jws) -> Result<Reply, Problem> {
        own(account, id)?;
        only_get(jws)?;
        let orders = self.orders.iter().enumerate().filter(|(_, order)| order.account == id);
        let urls: Vec<String> = orders.map(|(number, _)| self.url(&format!("/order/{number}"))).collect();
        Ok(Reply::json(200, &json!({ "orders": urls })))
    }

    /// RFC 8555, 7.3.5: the new key signs for itself within what the old one signs.
    pub fn change_key(&mut self, account: usize, jws: &Jws) -> Result<Reply, Problem> {
        let inner = Jws::read(&jws.payload, &self.url("/key-change"))?;
        let Signer::Key(key) = &inner.signer else {
            return Err(Problem::malformed("the inner request has no `jwk`"));
        };
        inner.verify(key)?;
        let asked = inner.object()?;
        let old = Jwk::read(&asked["oldKey"])?;
        if inner.nonce.is_some()
            || asked["account"] != self.account_url(account)
            || old != self.accounts[account].key
        {
            return Err(Problem::malformed("the inner request is not one for this account and key"));
        }
        if self.accounts.iter().any(|other| other.key == *key) {
            return Err(Problem::new(409, "malformed", "another account has this key"));
        }
        self.accounts[account].key = key.clone();
        Ok(self.account_reply(200, account))
    }
}

/// What belongs to an account is not for another.
pub fn own(account: usize, owner: usize) -> Result<(), Problem> {
    if account == owner { Ok(()) } else { Err(Problem::unauthorized("it belongs to another account")) }
}

/// RFC 8555, 6.3.
pub fn only_get(jws: &Jws) -> Result<(), Problem> {
    if jws.is_get() { Ok(()) } else { Err(Problem::malformed("POST-as-GET has an empty payload")) }
}

fn contacts(value: &Value) -> Result<Vec<String>, Problem> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    let refused = |kind, text: &Value| Problem::new(400, kind, format!("{text}"));
    let list = value.as_array().ok_or_else(|| refused("invalidContact", value))?;
    let contact = |one: &Value| {
        let text = one.as_str().ok_or_else(|| refused("invalidContact", one))?;
        let Some(address) = text.strip_prefix("mailto:") else {
            return Err(refused("unsupportedContact", one));
        };
        let is_one = address.split('@').filter(|part| !part.is_empty()).count() == 2;
        if !is_one || address.contains([',', '?', ' ']) {
            return Err(refused("invalidContact", one));
        }
        Ok(text.to_owned())
    };
    list.iter().map(contact).collect()
}
