//! How the server gets certificates from an ACME server.

use std::path::PathBuf;

use dozen_control::AcmeSettings;

use super::{Environment, SettingsError};

/// Where certificates come from when nobody names another place.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Decides it, from variables alone.
pub(super) fn acme(env: &Environment) -> Result<AcmeSettings, SettingsError> {
    let automatic = match env.text("DOZEN_ACME")? {
        None | Some("off") => false,
        Some("on") => true,
        Some(_) => return Err(SettingsError::Switch { name: "DOZEN_ACME" }),
    };
    let directory = env.text("DOZEN_ACME_DIRECTORY")?.unwrap_or(LETS_ENCRYPT).to_owned();
    // Accounts and orders go by this text; TLS is what the answers are believed for.
    if !directory.starts_with("https://") || directory.parse::<http::Uri>().is_err() {
        return Err(SettingsError::AcmeDirectory);
    }
    let email = env.text("DOZEN_ACME_EMAIL")?.map(str::to_owned);
    if email.as_ref().is_some_and(|email| !is_address(email)) {
        return Err(SettingsError::AcmeEmail);
    }
    let authorities: Option<PathBuf> = env.path("DOZEN_ACME_CA")?;
    Ok(AcmeSettings { automatic, directory, email, authorities })
}

/// Whether it can stand behind `mailto:`.
fn is_address(email: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'?' | b':' | b'<' | b'>');
    email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
        && email.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_asked_for_unless_that_is_said() {
        let settings = acme(&Environment::of(&[])).unwrap();
        assert!(!settings.automatic);
        assert_eq!(settings.directory, LETS_ENCRYPT);
        assert!(acme(&Environment::of(&[("DOZEN_ACME", "on")])).unwrap().automatic);
        for wrong in [
            ("DOZEN_ACME", "yes"),
            ("DOZEN_ACME_DIRECTORY", "http://127.0.0.1:14000/dir"),
            ("DOZEN_ACME_EMAIL", "ann"),
            ("DOZEN_ACME_EMAIL", "ann@example.org,bob@example.org"),
        ] {
            assert!(acme(&Environment::of(&[wrong])).is_err(), "{wrong:?}");
        }
    }
}
