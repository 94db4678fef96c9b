//! The account with an ACME server, orders that are under way, and open challenges.
//!
//! Each fact is stored before the server is told of it, as far as it is ours, and at once when it
//! is the server's: a control that was killed goes on with the same account, order and key, because
//! ACME servers count new ones.

use dozen_model::certificates::CertificateName;
use rusqlite::{OptionalExtension, Row, params};

use super::{Store, now, word_column};
use crate::error::ControlError;

/// The account with one ACME server.
#[derive(Debug, Clone)]
pub(crate) struct AccountRow {
    /// Its key, sealed.
    pub sealed_key: Vec<u8>,
    /// Its URL, once the server has given it one.
    pub url: Option<String>,
    /// The contact that the server knows.
    pub contact: Option<String>,
}

/// The order for a certificate.
#[derive(Debug, Clone)]
pub(crate) struct OrderRow {
    /// The certificate's key, sealed.
    pub sealed_key: Vec<u8>,
    /// Its URL, once the server has given it one.
    pub url: Option<String>,
}

/// A challenge that the router answers.
#[derive(Debug, Clone)]
pub(crate) struct ChallengeRow {
    /// The certificate that it is for.
    pub certificate: i64,
    /// Whether it is of TLS-ALPN-01.
    pub by_tls: bool,
    /// The name that is validated.
    pub name: CertificateName,
    /// The token.
    pub token: String,
    /// The answer: the key authorization, or a certificate with its key; sealed.
    pub sealed_answer: Vec<u8>,
}

impl Store {
    /// The account with the server of this directory.
    pub(crate) fn acme_account(&self, directory: &str) -> Result<Option<AccountRow>, ControlError> {
        let sql = "SELECT sealed_key, url, contact FROM acme_accounts WHERE directory = ?1";
        let read = |row: &Row<'_>| {
            Ok(AccountRow { sealed_key: row.get(0)?, url: row.get(1)?, contact: row.get(2)? })
        };
        Ok(self.lock().query_row(sql, [directory], read).optional()?)
    }

    /// Keeps the key of an account that is to be made.
    pub(crate) fn put_account_key(&self, directory: &str, sealed_key: &[u8]) -> Result<(), ControlError> {
        self.lock().execute(
            "INSERT OR IGNORE INTO acme_accounts (directory, sealed_key, created_at) VALUES (?1, ?2, ?3)",
            params![directory, sealed_key, now()],
        )?;
        Ok(())
    }

    /// Keeps what the server has made of an account; without a URL it is asked for again.
    pub(crate) fn set_account(&self, directory: &str, url: Option<&str>) -> Result<(), ControlError> {
        self.lock()
            .execute("UPDATE acme_accounts SET url = ?2 WHERE directory = ?1", params![directory, url])?;
        Ok(())
    }

    /// Keeps which contact the server knows.
    pub(crate) fn set_account_contact(
        &self,
        directory: &str,
        contact: Option<&str>,
    ) -> Result<(), ControlError> {
        self.lock().execute(
            "UPDATE acme_accounts SET contact = ?2 WHERE directory = ?1",
            params![directory, contact],
        )?;
        Ok(())
    }

    /// The order for a certificate from the server of this directory.
    pub(crate) fn acme_order(
        &self,
        certificate: i64,
        directory: &str,
    ) -> Result<Option<OrderRow>, ControlError> {
        let sql = "SELECT sealed_key, url FROM acme_orders WHERE certificate = ?1 AND directory = ?2";
        let read = |row: &Row<'_>| Ok(OrderRow { sealed_key: row.get(0)?, url: row.get(1)? });
        Ok(self.lock().query_row(sql, params![certificate, directory], read).optional()?)
    }

    /// Keeps the key of a certificate that is to be ordered, instead of an order from another server.
    pub(crate) fn put_order(
        &self,
        certificate: i64,
        directory: &str,
        sealed_key: &[u8],
    ) -> Result<(), ControlError> {
        self.lock().execute(
            "INSERT OR REPLACE INTO acme_orders (certificate, directory, sealed_key, created_at)
             VALUES (?1, ?2, ?3, ?4)",
            params![certificate, directory, sealed_key, now()],
        )?;
        Ok(())
    }

    /// Keeps where the order is.
    pub(crate) fn set_order_url(&self, certificate: i64, url: &str) -> Result<(), ControlError> {
        self.lock()
            .execute("UPDATE acme_orders SET url = ?2 WHERE certificate = ?1", params![certificate, url])?;
        Ok(())
    }

    /// Keeps a challenge, in the place of an earlier one for the same name.
    pub(crate) fn put_challenge(&self, row: &ChallengeRow) -> Result<(), ControlError> {
        self.lock().execute(
            "INSERT OR REPLACE INTO acme_challenges (certificate, by_tls, name, token, sealed_answer)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![row.certificate, row.by_tls, row.name.as_str(), row.token, row.sealed_answer],
        )?;
        Ok(())
    }

    /// All open challenges.
    pub(crate) fn challenges(&self) -> Result<Vec<ChallengeRow>, ControlError> {
        let connection = self.lock();
        let sql = "SELECT certificate, by_tls, name, token, sealed_answer FROM acme_challenges
                   ORDER BY certificate, by_tls, name";
        let mut query = connection.prepare_cached(sql)?;
        let rows = query.query_map([], |row| {
            Ok(ChallengeRow {
                certificate: row.get(0)?,
                by_tls: row.get(1)?,
                name: word_column(row, 2)?,
                token: row.get(3)?,
                sealed_answer: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
