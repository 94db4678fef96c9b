//! Certificates, and the authority that makes those of local names.
//!
//! A row is there before anything is asked of anybody for it: it is the wish, and what came of it.
//! Keys are in it only sealed. What belongs to an order that is under way is in the `acme` tables.

use dozen_model::certificates::CertificateName;
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, json_column, now, to_json, word_column};
use crate::error::ControlError;

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CertificateSource {
    /// An ACME server.
    Acme,
    /// The user's own files.
    File,
    /// The local authority.
    Local,
}

impl CertificateSource {
    /// The word in the store and on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Acme => "acme",
            Self::File => "file",
            Self::Local => "local",
        }
    }
}

/// A source's word that is none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no source of certificates")]
pub(crate) struct UnknownSource(String);

impl std::str::FromStr for CertificateSource {
    type Err = UnknownSource;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = [Self::Acme, Self::File, Self::Local].into_iter().find(|one| one.as_str() == word);
        found.ok_or_else(|| UnknownSource(word.to_owned()))
    }
}

/// A certificate that there is.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    /// The chain in PEM.
    pub chain: String,
    /// Its key, sealed.
    pub sealed_key: Vec<u8>,
    /// Unix seconds.
    pub not_before: i64,
    /// Unix seconds.
    pub not_after: i64,
}

/// A certificate that is wanted, and what came of it.
#[derive(Debug, Clone)]
pub(crate) struct CertificateRow {
    /// Row id.
    pub id: i64,
    /// Where it comes from.
    pub source: CertificateSource,
    /// What it is for.
    pub names: Vec<CertificateName>,
    /// What is shown now.
    pub issued: Option<Issued>,
    /// Whether it is wanted because all domains get one, and not because a user asked for it.
    pub automatic: bool,
    /// Whether the next validation is by TLS-ALPN-01 and not by HTTP-01.
    pub by_tls: bool,
    /// Tries that failed since the last that did not.
    pub failures: u32,
    /// Tries that have ended.
    pub tries: u32,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When something is to be done next, unix seconds.
    pub next_try: Option<i64>,
    /// What the ACME server asks to wait for, unix seconds.
    pub wait_until: Option<i64>,
}

impl CertificateRow {
    /// Whether it has one that is valid now.
    pub(crate) fn is_valid_at(&self, now: i64) -> bool {
        self.issued.as_ref().is_some_and(|issued| issued.not_before <= now && now < issued.not_after)
    }

    /// Whether it covers a host name.
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.covers(host))
    }
}

/// How a try for a certificate failed.
#[derive(Debug)]
pub(crate) struct FailedTry<'a> {
    /// Why.
    pub error: &'a str,
    /// Tries that failed in a row, this one among them.
    pub failures: u32,
    /// How the next one is validated.
    pub by_tls: bool,
    /// When it is due.
    pub next_try: i64,
    /// What the server asks to wait for.
    pub wait_until: Option<i64>,
}

/// The authority of a base domain.
#[derive(Debug, Clone)]
pub(crate) struct AuthorityRow {
    /// Its certificate in PEM.
    pub certificate: String,
    /// Its key, sealed.
    pub sealed_key: Vec<u8>,
    /// Unix seconds.
    pub not_after: i64,
}

const COLUMNS: &str = "id, source, names, chain, sealed_key, not_before, not_after, automatic, by_tls,
                       failures, tries, error, next_try, wait_until";

fn certificate_row(row: &Row<'_>) -> rusqlite::Result<CertificateRow> {
    let chain: Option<String> = row.get(3)?;
    let issued = match chain {
        Some(chain) => {
            Some(Issued { chain, sealed_key: row.get(4)?, not_before: row.get(5)?, not_after: row.get(6)? })
        }
        None => None,
    };
    Ok(CertificateRow {
        id: row.get(0)?,
        source: word_column(row, 1)?,
        names: json_column(row, 2)?,
        issued,
        automatic: row.get(7)?,
        by_tls: row.get(8)?,
        failures: row.get(9)?,
        tries: row.get(10)?,
        error: row.get(11)?,
        next_try: row.get(12)?,
        wait_until: row.get(13)?,
    })
}

impl Store {
    /// All certificates, in the order they were asked for.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateRow>, ControlError> {
        let connection = self.lock();
        let mut query =
            connection.prepare_cached(&format!("SELECT {COLUMNS} FROM certificates ORDER BY id"))?;
        let rows = query.query_map([], certificate_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Puts a certificate in the place of the one of the same source and names, if there is one.
    /// `issue` seals the key for the row's id.
    pub(crate) fn put_certificate(
        &self,
        source: CertificateSource,
        names: &[CertificateName],
        issue: impl Fn(i64) -> Issued,
    ) -> Result<i64, ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        change.execute(
            "INSERT OR IGNORE INTO certificates (source, names, created_at) VALUES (?1, ?2, ?3)",
            params![source.as_str(), to_json(&names), now()],
        )?;
        let id: i64 = change.query_row(
            "SELECT id FROM certificates WHERE source = ?1 AND names = ?2",
            params![source.as_str(), to_json(&names)],
            |row| row.get(0),
        )?;
        set_issued(&change, id, &issue(id))?;
        change.commit()?;
        Ok(id)
    }

    /// Wishes for a certificate from the ACME server. One that is wished for already stays as it is;
    /// a wish of the user's stays one.
    pub(crate) fn want_certificate(
        &self,
        name: &CertificateName,
        is_automatic: bool,
    ) -> Result<i64, ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        let names = to_json(&[name]);
        change.execute(
            "INSERT INTO certificates (source, names, automatic, next_try, created_at)
             VALUES ('acme', ?1, ?2, ?3, ?3)
             ON CONFLICT (source, names) DO UPDATE SET automatic = automatic AND excluded.automatic",
            params![names, is_automatic, now()],
        )?;
        let sql = "SELECT id FROM certificates WHERE source = 'acme' AND names = ?1";
        let id = change.query_row(sql, [names], |row| row.get(0))?;
        change.commit()?;
        Ok(id)
    }

    /// Makes a certificate due now.
    pub(crate) fn renew_now(&self, id: i64) -> Result<(), ControlError> {
        self.lock().execute(
            "UPDATE certificates SET next_try = ?2, wait_until = NULL WHERE id = ?1",
            params![id, now()],
        )?;
        Ok(())
    }

    /// Forgets a certificate and its order; false when there is none.
    pub(crate) fn forget_certificate(&self, id: i64) -> Result<bool, ControlError> {
        Ok(self.lock().execute("DELETE FROM certificates WHERE id = ?1", [id])? > 0)
    }

    /// A certificate was issued: it is shown from now on, its order is over, and `next_try` renews it.
    pub(crate) fn certificate_issued(
        &self,
        id: i64,
        issued: &Issued,
        next_try: i64,
    ) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        set_issued(&change, id, issued)?;
        change.execute(
            "UPDATE certificates SET next_try = ?2, tries = tries + 1 WHERE id = ?1",
            params![id, next_try],
        )?;
        change.execute("DELETE FROM acme_orders WHERE certificate = ?1", [id])?;
        Ok(change.commit()?)
    }

    /// A try failed; what is shown stays. With `is_over` its order is forgotten, else the next try
    /// goes on with it.
    pub(crate) fn certificate_failed(
        &self,
        id: i64,
        failed: &FailedTry<'_>,
        is_over: bool,
    ) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        change.execute(
            "UPDATE certificates SET error = ?2, failures = ?3, by_tls = ?4, next_try = ?5,
                    wait_until = ?6, tries = tries + 1 WHERE id = ?1",
            params![id, failed.error, failed.failures, failed.by_tls, failed.next_try, failed.wait_until],
        )?;
        if is_over {
            change.execute("DELETE FROM acme_orders WHERE certificate = ?1", [id])?;
        }
        change.execute("DELETE FROM acme_challenges WHERE certificate = ?1", [id])?;
        Ok(change.commit()?)
    }

    /// The authority of a base domain.
    pub(crate) fn authority(&self, domain: &str) -> Result<Option<AuthorityRow>, ControlError> {
        let sql = "SELECT certificate, sealed_key, not_after FROM local_authorities WHERE domain = ?1";
        let read = |row: &Row<'_>| {
            Ok(AuthorityRow { certificate: row.get(0)?, sealed_key: row.get(1)?, not_after: row.get(2)? })
        };
        Ok(self.lock().query_row(sql, [domain], read).optional()?)
    }

    /// Keeps an authority; what another one has signed is gone with it.
    pub(crate) fn put_authority(&self, domain: &str, row: &AuthorityRow) -> Result<(), ControlError> {
        let mut connection = self.lock();
        let change = connection.transaction()?;
        change.execute(
            "INSERT OR REPLACE INTO local_authorities (domain, certificate, sealed_key, not_after, created_at)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![domain, row.certificate, row.sealed_key, row.not_after, now()],
        )?;
        change.execute("DELETE FROM certificates WHERE source = 'local'", [])?;
        Ok(change.commit()?)
    }

    /// The number of the next set for the router: it grows also when the clock goes back.
    pub(crate) fn next_certificate_set(&self) -> Result<u64, ControlError> {
        let sql = "INSERT INTO certificate_sets (id, generation) VALUES (1, ?1)
                   ON CONFLICT (id) DO UPDATE SET generation = MAX(generation + 1, excluded.generation)
                   RETURNING generation";
        let number: i64 = self.lock().query_row(sql, [super::now_ms()], |row| row.get(0))?;
        Ok(u64::try_from(number).unwrap_or(1))
    }
}

fn set_issued(connection: &rusqlite::Connection, id: i64, issued: &Issued) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE certificates SET chain = ?2, sealed_key = ?3, not_before = ?4, not_after = ?5,
                failures = 0, error = NULL, wait_until = NULL WHERE id = ?1",
        params![id, issued.chain, issued.sealed_key, issued.not_before, issued.not_after],
    )?;
    Ok(())
}
