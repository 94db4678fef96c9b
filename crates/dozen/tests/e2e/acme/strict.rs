//! The server's own strictness: a client that is wrong in one way at a time, and right otherwise.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{AcmeServer, jws::encoded};
use crate::tls_client;

/// A client with a key of its own.
struct Client<'a> {
    server: &'a AcmeServer,
    key: EcdsaKeyPair,
    kid: Option<String>,
}

/// What was answered.
#[derive(Debug)]
struct Answered {
    status: u16,
    head: String,
    body: String,
}

impl Answered {
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .next()
            .unwrap_or("")
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The type of a problem, without its prefix.
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert!(!self.header("replay-nonce").is_empty(), "{self:?}");
        let kind = self.json()["type"].as_str().unwrap_or_default().to_owned();
        kind.trim_start_matches("urn:ietf:params:acme:error:").to_owned()
    }
}

impl<'a> Client<'a> {
    fn of(server: &'a AcmeServer) -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { server, key, kid: None }
    }

    /// One that has an account.
    fn with_account(server: &'a AcmeServer) -> Self {
        let mut client = Self::of(server);
        let made = client.post("/new-account", &json!({"termsOfServiceAgreed": true}));
        assert_eq!(made.status, 201, "{made:?}");
        client.kid = Some(made.header("location").to_owned());
        client
    }

    /// One request as it is.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answered {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            self.server.address,
            body.len()
        );
        let (address, roots) = (self.server.address, self.server.tls_root());
        let text = tls_client::exchange(address, "127.0.0.1", &roots, &format!("{head}{body}")).unwrap().text;
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answered { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn nonce(&self) -> String {
        self.send("HEAD", "/new-nonce", "User-Agent: test\r\n", "").header("replay-nonce").to_owned()
    }

    fn header(&self, path: &str) -> Value {
        let mut header = json!({
            "alg": "ES256",
            "nonce": self.nonce(),
            "url": format!("https://{}{path}", self.server.address),
        });
        match &self.kid {
            Some(kid) => header["kid"] = json!(kid),
            None => header["jwk"] = self.jwk(),
        }
        header
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
    }

    fn signed(&self, header: &Value, payload: &str) -> Value {
        let (protected, payload) = (encoded(header.to_string().as_bytes()), encoded(payload.as_bytes()));
        let signed = format!("{protected}.{payload}");
        let random = aws_lc_rs::rand::SystemRandom::new();
        let signature = self.key.sign(&random, signed.as_bytes()).unwrap();
        json!({"protected": protected, "payload": payload, "signature": encoded(signature.as_ref())})
    }

    fn post_as(&self, path: &str, body: &Value) -> Answered {
        let headers = "User-Agent: test\r\nContent-Type: application/jose+json\r\n";
        self.send("POST", path, headers, &body.to_string())
    }

    fn post(&self, path: &str, payload: &Value) -> Answered {
        self.post_as(path, &self.signed(&self.header(path), &payload.to_string()))
    }

    /// POST-as-GET.
    fn get(&self, url: &str) -> Answered {
        let path = url.trim_start_matches(&format!("https://{}", self.server.address));
        self.post_as(path, &self.signed(&self.header(path), ""))
    }

    fn order(&self, names: &[&str]) -> Answered {
        let names: Vec<Value> = names.iter().map(|name| json!({"type": "dns", "value": name})).collect();
        self.post("/new-order", &json!({ "identifiers": names }))
    }
}

#[test]
fn a_request_that_is_not_signed_as_it_must_be_is_refused() {
    let server = AcmeServer::start();
    let client = Client::with_account(&server);
    let path = "/new-order";
    let payload = r#"{"identifiers":[{"type":"dns","value":"a.example.org"}]}"#;
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut header = client.header(path);
        change(&mut header);
        client.post_as(path, &client.signed(&header, payload)).problem()
    };
    assert_eq!(changed(&|header| header["nonce"] = json!("AAAA")), "badNonce");
    assert_eq!(changed(&|header| drop(header.as_object_mut().unwrap().remove("nonce"))), "badNonce");
    assert_eq!(changed(&|header| header["url"] = json!("https://127.0.0.1/new-order")), "unauthorized");
    assert_eq!(changed(&|header| header["alg"] = json!("HS256")), "badSignatureAlgorithm");
    assert_eq!(changed(&|header| header["alg"] = json!("none")), "badSignatureAlgorithm");
    assert_eq!(changed(&|header| header["alg"] = json!("RS256")), "malformed");
    assert_eq!(changed(&|header| header["crit"] = json!(["b64"])), "malformed");
    assert_eq!(changed(&|header| header["jwk"] = client.jwk()), "malformed", "both `jwk` and `kid`");
    assert_eq!(changed(&|header| drop(header.as_object_mut().unwrap().remove("kid"))), "malformed");
    assert_eq!(changed(&|header| header["kid"] = json!("https://a.example/1")), "accountDoesNotExist");

    let other = Client { kid: client.kid.clone(), ..Client::of(&server) };
    assert_eq!(other.order(&["a.example.org"]).problem(), "malformed", "signed by another key");
    let mut body = client.signed(&client.header(path), payload);
    body["payload"] = json!(encoded(payload.replace("a.", "b.").as_bytes()));
    assert_eq!(client.post_as(path, &body).problem(), "malformed", "changed behind the signature");
    let mut body = client.signed(&client.header(path), payload);
    body["header"] = json!({});
    assert_eq!(client.post_as(path, &body).problem(), "malformed", "an unprotected header");
    let padded = format!("{}=", body["signature"].as_str().unwrap());
    body.as_object_mut().unwrap().remove("header");
    body["signature"] = json!(padded);
    assert_eq!(client.post_as(path, &body).problem(), "malformed", "padded base64");

    let body = client.signed(&client.header(path), payload);
    assert_eq!(client.send("POST", path, "User-Agent: test\r\n", &body.to_string()).status, 415);
    let silent = "Content-Type: application/jose+json\r\n";
    assert_eq!(client.send("POST", path, silent, &body.to_string()).problem(), "malformed", "no User-Agent");
    assert_eq!(client.post_as(path, &body).status, 201, "and right for once");
    assert_eq!(client.post_as(path, &body).problem(), "badNonce", "a nonce is used once");
    assert_eq!(client.send("GET", path, "User-Agent: test\r\n", "").status, 405);
    assert_eq!(server.orders(), 1);
}

#[test]
fn accounts_are_made_as_the_standard_says() {
    let server = AcmeServer::start();
    let client = Client::of(&server);
    let make = |payload: Value| client.post("/new-account", &payload);
    let agreed = |contact: &str| json!({"termsOfServiceAgreed": true, "contact": [contact]});
    assert_eq!(make(json!({"onlyReturnExisting": true})).problem(), "accountDoesNotExist");
    assert_eq!(make(json!({})).problem(), "userActionRequired");
    assert_eq!(make(agreed("tel:+123")).problem(), "unsupportedContact");
    for wrong in ["mailto:", "mailto:a@b,c@d", "mailto:a@b?subject=x", "mailto:nobody"] {
        assert_eq!(make(agreed(wrong)).problem(), "invalidContact", "{wrong}");
    }
    let made = make(agreed("mailto:ann@example.org"));
    assert_eq!(made.status, 201, "{made:?}");
    let again = make(json!({"onlyReturnExisting": true}));
    assert_eq!((again.status, again.header("location")), (200, made.header("location")));
    assert_eq!(server.accounts(), 1);

    server.script(|script| script.binding = Some(("kid-1".into(), b"a secret of both".to_vec())));
    let other = Client::of(&server);
    let unbound = other.post("/new-account", &json!({"termsOfServiceAgreed": true}));
    assert_eq!(unbound.problem(), "externalAccountRequired");
    let bind = |secret: &[u8]| {
        let header = json!({"alg": "HS256", "kid": "kid-1", "url": server.directory().replace("directory", "new-account")});
        let signed = format!(
            "{}.{}",
            encoded(header.to_string().as_bytes()),
            encoded(other.jwk().to_string().as_bytes())
        );
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        let tag = aws_lc_rs::hmac::sign(&key, signed.as_bytes());
        let (protected, payload) = signed.split_once('.').unwrap();
        let binding = json!({"protected": protected, "payload": payload, "signature": encoded(tag.as_ref())});
        other.post("/new-account", &json!({"termsOfServiceAgreed": true, "externalAccountBinding": binding}))
    };
    assert_eq!(bind(b"another").problem(), "unauthorized");
    assert_eq!(bind(b"a secret of both").status, 201);
}

#[test]
fn an_order_is_for_public_names_of_its_account_and_is_finalized_when_it_is_ready() {
    let server = AcmeServer::start();
    let (client, stranger) = (Client::with_account(&server), Client::with_account(&server));
    for refused in ["*.example.org", "127.0.0.1", "localhost", "a.localhost", "A.example.org", "a..org", ""] {
        assert_eq!(client.order(&[refused]).problem(), "rejectedIdentifier", "{refused}");
    }
    assert_eq!(client.order(&[]).problem(), "malformed");
    let order = client.order(&["a.example.org"]);
    assert_eq!((order.status, &order.json()["status"]), (201, &json!("pending")));
    assert_eq!(stranger.get(order.header("location")).problem(), "unauthorized");
    let read = client.post("/order/0", &json!({}));
    assert_eq!(read.problem(), "malformed", "POST-as-GET with a payload");
    assert_eq!(client.post("/finalize/0", &json!({"csr": ""})).problem(), "orderNotReady");
    assert_eq!(client.post("/challenge/0/0", &json!({"a": 1})).problem(), "malformed");
    let authorization = client.get(order.json()["authorizations"][0].as_str().unwrap()).json();
    assert_eq!(authorization["challenges"][0]["type"], "http-01");
    assert_eq!(authorization["challenges"][1]["type"], "tls-alpn-01");
    assert_eq!(client.get("/order/9").status, 404);

    // Nobody answers at this port.
    server.script(|script| script.ports = (1, 1));
    assert_eq!(client.post("/challenge/0/0", &json!({})).status, 200);
    crate::host::wait_for("the end of the validation", std::time::Duration::from_secs(10), || {
        let order = client.get("/order/0").json();
        (order["status"] == "invalid").then_some(())
    });
    let error = client.get("/authorization/0").json()["challenges"][0]["error"]["type"].clone();
    assert_eq!(error, "urn:ietf:params:acme:error:connection");
    assert_eq!(client.post("/challenge/0/1", &json!({})).problem(), "malformed", "it is over");
}

#[test]
fn a_request_for_a_certificate_is_for_exactly_the_order_and_a_key_of_its_own() {
    let authority = super::authority::Authority::new();
    let life = super::world::Script::default().certificate_life;
    let account = super::jws::Jwk::P256 { x: vec![1; 32], y: vec![2; 32] };
    let asked = |names: &[&str], change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        params.serialize_request(&key).unwrap().der().to_vec()
    };
    let names = ["a.example.org".to_owned(), "b.example.org".to_owned()];
    let sign = |csr: &[u8]| authority.sign(csr, &names, &account, life).map_err(|problem| problem.detail);
    let right = asked(&["b.example.org", "a.example.org"], &|_| {});
    assert_eq!(sign(&right).unwrap().chain.matches("BEGIN CERTIFICATE").count(), 2);
    let mut broken = right.clone();
    *broken.last_mut().unwrap() ^= 1;
    assert!(sign(&broken).unwrap_err().contains("signs itself"));
    for other in [vec!["a.example.org"], vec!["a.example.org", "b.example.org", "c.example.org"]] {
        assert!(sign(&asked(&other, &|_| {})).unwrap_err().contains("it is for"));
    }
    let subject = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "c.example.org");
    };
    assert!(sign(&asked(&["a.example.org", "b.example.org"], &subject)).unwrap_err().contains("subject"));
    assert!(sign(b"no request").is_err());
    // The key of the account.
    let key = rcgen::KeyPair::generate().unwrap();
    let point = rcgen::PublicKeyData::der_bytes(&key);
    let account = super::jws::Jwk::P256 { x: point[1..33].to_vec(), y: point[33..].to_vec() };
    let mut params = rcgen::CertificateParams::new(vec!["a.example.org".to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let csr = params.serialize_request(&key).unwrap();
    let refused = authority.sign(csr.der(), &names[..1], &account, life).unwrap_err();
    assert!(refused.detail.contains("the account's"), "{refused:?}");
}
