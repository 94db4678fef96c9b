//! Signed requests (RFC 8555, 6.2): flattened JSON, and nothing in it that is not asked for.

use aws_lc_rs::{digest, hmac, signature};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;

/// The public key of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwk {
    P256 { x: Vec<u8>, y: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ed25519 { x: Vec<u8> },
}

/// Who says to have signed.
#[derive(Debug, Clone)]
pub enum Signer {
    Key(Jwk),
    Account(String),
}

/// A signed request that was read, and not believed yet.
#[derive(Debug, Clone)]
pub struct Jws {
    pub signer: Signer,
    pub nonce: Option<String>,
    pub payload: Vec<u8>,
    alg: String,
    signed: String,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    protected: String,
    payload: String,
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Protected {
    alg: String,
    url: String,
    nonce: Option<String>,
    jwk: Option<Value>,
    kid: Option<String>,
}

impl Jws {
    /// Reads a request that was sent to `url`.
    pub fn read(body: &[u8], url: &str) -> Result<Self, Problem> {
        let (flat, protected) = parts(body)?;
        if !["ES256", "RS256", "EdDSA"].contains(&protected.alg.as_str()) {
            let detail = format!("`{}` is not taken", protected.alg);
            return Err(Problem::new(400, "badSignatureAlgorithm", detail));
        }
        if protected.url != url {
            return Err(Problem::unauthorized(format!("signed for `{}`, sent to `{url}`", protected.url)));
        }
        let signer = match (protected.jwk, protected.kid) {
            (Some(jwk), None) => Signer::Key(Jwk::read(&jwk)?),
            (None, Some(kid)) => Signer::Account(kid),
            _ => return Err(Problem::malformed("not exactly one of `jwk` and `kid`")),
        };
        Ok(Self {
            signer,
            nonce: protected.nonce,
            payload: decoded(&flat.payload, "payload")?,
            alg: protected.alg,
            signed: format!("{}.{}", flat.protected, flat.payload),
            signature: decoded(&flat.signature, "signature")?,
        })
    }

    /// Whether this key made the signature.
    pub fn verify(&self, key: &Jwk) -> Result<(), Problem> {
        let (signed, made) = (self.signed.as_bytes(), self.signature.as_slice());
        let unparsed = |algorithm, bytes: Vec<u8>| {
            signature::UnparsedPublicKey::new(algorithm, bytes).verify(signed, made).is_ok()
        };
        let is_good = match (self.alg.as_str(), key) {
            ("ES256", Jwk::P256 { x, y }) => unparsed(
                &signature::ECDSA_P256_SHA256_FIXED as &dyn signature::VerificationAlgorithm,
                point(x, y),
            ),
            ("EdDSA", Jwk::Ed25519 { x }) => unparsed(&signature::ED25519, x.clone()),
            ("RS256", Jwk::Rsa { n, e }) => signature::RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, made)
                .is_ok(),
            (alg, _) => return Err(Problem::malformed(format!("the key is not one for `{alg}`"))),
        };
        if is_good { Ok(()) } else { Err(Problem::malformed("the signature is not one of this key")) }
    }

    /// The payload as an object.
    pub fn object(&self) -> Result<Value, Problem> {
        let value: Value = serde_json::from_slice(&self.payload)
            .map_err(|error| Problem::malformed(format!("the payload is no JSON: {error}")))?;
        if value.is_object() { Ok(value) } else { Err(Problem::malformed("the payload is no object")) }
    }

    /// POST-as-GET: the payload is empty.
    pub fn is_get(&self) -> bool {
        self.payload.is_empty()
    }
}

fn parts(body: &[u8]) -> Result<(Flattened, Protected), Problem> {
    let flat: Flattened = serde_json::from_slice(body)
        .map_err(|error| Problem::malformed(format!("no flattened JWS: {error}")))?;
    let protected: Protected = serde_json::from_slice(&decoded(&flat.protected, "protected")?)
        .map_err(|error| Problem::malformed(format!("the protected header: {error}")))?;
    Ok((flat, protected))
}

/// The binding of an account to an external one (RFC 8555, 7.3.4), checked with its key.
pub fn check_binding(
    binding: &Value,
    url: &str,
    key: &Jwk,
    (kid, mac): (&str, &[u8]),
) -> Result<(), Problem> {
    let (flat, protected) = parts(binding.to_string().as_bytes())?;
    let is_of_account =
        Jwk::read(&serde_json::from_slice(&decoded(&flat.payload, "payload")?).unwrap_or_default())
            .is_ok_and(|inner| inner == *key);
    let is_right = protected.alg == "HS256"
        && protected.url == url
        && protected.kid.as_deref() == Some(kid)
        && protected.nonce.is_none()
        && protected.jwk.is_none()
        && is_of_account;
    let signed = format!("{}.{}", flat.protected, flat.payload);
    let tag = decoded(&flat.signature, "signature")?;
    let mac = hmac::Key::new(hmac::HMAC_SHA256, mac);
    if is_right && hmac::verify(&mac, signed.as_bytes(), &tag).is_ok() {
        return Ok(());
    }
    Err(Problem::unauthorized("the external account binding is not right"))
}

impl Jwk {
    pub fn read(value: &Value) -> Result<Self, Problem> {
        let refused = |detail: &str| Problem::new(400, "badPublicKey", detail);
        if value.get("d").is_some() {
            return Err(refused("it is a private key"));
        }
        let part = |name: &str| {
            let text = value[name].as_str().ok_or_else(|| refused(&format!("`{name}` is missing")))?;
            decoded(text, name)
        };
        let sized = |name: &str, size: usize| {
            let bytes = part(name)?;
            if bytes.len() == size {
                Ok(bytes)
            } else {
                Err(refused(&format!("`{name}` has a wrong length")))
            }
        };
        match (value["kty"].as_str(), value["crv"].as_str()) {
            (Some("EC"), Some("P-256")) => Ok(Self::P256 { x: sized("x", 32)?, y: sized("y", 32)? }),
            (Some("OKP"), Some("Ed25519")) => Ok(Self::Ed25519 { x: sized("x", 32)? }),
            (Some("RSA"), _) => {
                let (n, e) = (part("n")?, part("e")?);
                let is_usable = (256..=1024).contains(&n.len()) && n[0] != 0 && !e.is_empty() && e[0] != 0;
                if is_usable { Ok(Self::Rsa { n, e }) } else { Err(refused("an RSA key of a wrong length")) }
            }
            _ => Err(refused("a key of another kind")),
        }
    }

    /// RFC 7638.
    pub fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::P256 { x, y } => json!({"crv": "P-256", "kty": "EC", "x": encoded(x), "y": encoded(y)}),
            Self::Rsa { n, e } => json!({"e": encoded(e), "kty": "RSA", "n": encoded(n)}),
            Self::Ed25519 { x } => json!({"crv": "Ed25519", "kty": "OKP", "x": encoded(x)}),
        };
        encoded(digest::digest(&digest::SHA256, canonical.to_string().as_bytes()).as_ref())
    }

    /// Whether the bytes of a certificate's or a request's public key are those of this one.
    pub fn is_public_key(&self, bytes: &[u8]) -> bool {
        match self {
            Self::P256 { x, y } => bytes == point(x, y),
            Self::Ed25519 { x } => bytes == x,
            Self::Rsa { n, .. } => bytes.windows(n.len()).any(|part| part == n),
        }
    }
}

fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}

pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn decoded(text: &str, what: &str) -> Result<Vec<u8>, Problem> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Problem::malformed(format!("`{what}` is not base64url")))
}

/// Random bytes as text.
pub fn random_text() -> String {
    let mut bytes = [0; 24];
    aws_lc_rs::rand::fill(&mut bytes).expect("randomness");
    encoded(&bytes)
}
