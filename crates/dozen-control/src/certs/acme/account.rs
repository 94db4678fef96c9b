//! The account with the ACME server: made once, kept with its key.
//!
//! The key is stored before the server sees it. A control that was killed before it learned the
//! account's URL asks again with the same key, and the server answers with the account that it has.

use dozen_model::certificates::PrivateKey;
use instant_acme::{Account, Key};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};

use super::{
    AcmeSettings,
    fault::{AcmeFault, Whose},
    http::{AcmeClient, Asked},
};
use crate::{barrier::CertificatePlace, control::Control, seal::ServerSecret, store::AccountRow};

/// An account, and what its server asks to wait.
pub(crate) struct OpenAccount {
    pub(crate) account: Account,
    pub(crate) asked: Asked,
}

/// The account of the server's settings; it is made when there is none.
pub(crate) async fn open(control: &Control) -> Result<OpenAccount, AcmeFault> {
    let settings = &control.options.acme;
    let row = key_of(control, settings)?;
    let secret = ServerSecret::AccountKey(&settings.directory);
    let pem = PrivateKey::new(control.unsealed(secret, &row.sealed_key)?);
    control.reach_certificate(CertificatePlace::AccountKeyStored);
    let (client, asked) = AcmeClient::new(settings.authorities.as_deref())?;
    let builder = Account::builder_with_http(Box::new(client));
    let directory = settings.directory.clone();
    let account = match row.url {
        Some(url) => builder
            .from_parts(url, der(&pem)?, directory)
            .await
            .map_err(|error| AcmeFault::of_call("ask the ACME server", &error, asked.last()))?,
        None => {
            let key = Key::from_pkcs8_der(der(&pem)?).map_err(|_| unusable())?;
            let made = builder.create_from_key((key, PrivateKeyDer::Pkcs8(der(&pem)?)), directory).await;
            let (account, _) = made.map_err(|error| {
                AcmeFault::of_call("make an account with the ACME server", &error, asked.last())
            })?;
            control.reach_certificate(CertificatePlace::AccountMade);
            control.store.set_account(&settings.directory, Some(account.id()))?;
            account
        }
    };
    if row.contact != settings.email {
        tell_contact(control, &account, &asked).await?;
    }
    Ok(OpenAccount { account, asked })
}

/// Tells the server whom it may write to, once for each change.
async fn tell_contact(control: &Control, account: &Account, asked: &Asked) -> Result<(), AcmeFault> {
    let settings = &control.options.acme;
    let contact = settings.email.as_ref().map(|email| format!("mailto:{email}"));
    let contacts: Vec<&str> = contact.as_deref().into_iter().collect();
    account
        .update_contacts(&contacts)
        .await
        .map_err(|error| AcmeFault::of_call("tell the ACME server DOZEN_ACME_EMAIL", &error, asked.last()))?;
    control.store.set_account_contact(&settings.directory, settings.email.as_deref())?;
    Ok(())
}

/// The account's row, with a key that is made where there is none.
fn key_of(control: &Control, settings: &AcmeSettings) -> Result<AccountRow, AcmeFault> {
    let directory = &settings.directory;
    if let Some(row) = control.store.acme_account(directory)? {
        return Ok(row);
    }
    let key = rcgen::KeyPair::generate().map_err(|_| unusable())?;
    let sealed = control.sealed(ServerSecret::AccountKey(directory), &key.serialize_pem());
    control.store.put_account_key(directory, &sealed)?;
    control.store.acme_account(directory)?.ok_or_else(unusable)
}

fn der(pem: &PrivateKey) -> Result<PrivatePkcs8KeyDer<'static>, AcmeFault> {
    PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| unusable())
}

fn unusable() -> AcmeFault {
    AcmeFault::new(Whose::Own, "the key of the ACME account could not be made or read")
}
