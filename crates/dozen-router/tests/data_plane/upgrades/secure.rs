//! Clients that speak HTTP/1.1 through TLS.

use std::{
    io::Write as _,
    sync::{Arc, atomic::Ordering::SeqCst},
    thread,
    time::Duration,
};

use rustls::{ClientConfig, HandshakeKind, client::Resumption};

use super::{
    PART, PARTS, Site, UPLOAD,
    load::{Kind, Turn},
    wanted,
};
use crate::{authority::TlsBrowser, browser::Reply};

pub(super) const ALL: &[Kind] = &[
    ("TLS handshakes", |site| each(site, Resumption::disabled(), ask)),
    ("resumed sessions", resumed),
    ("kept TLS connections", kept),
    ("websockets over TLS", |site| each(site, Resumption::disabled(), over_a_websocket)),
    ("downloads over TLS", |site| each(site, Resumption::disabled(), download)),
    ("uploads over TLS", |site| each(site, Resumption::disabled(), upload)),
];

fn config(site: &Site, resumption: Resumption) -> Arc<ClientConfig> {
    let mut config = (*site.authority.client_config(&["http/1.1"])).clone();
    config.resumption = resumption;
    Arc::new(config)
}

/// Every turn with a handshake of its own.
fn each(site: &Arc<Site>, resumption: Resumption, turn: fn(&mut TlsBrowser) -> Result<(), String>) -> Turn {
    let (site, config) = (Arc::clone(site), config(site, resumption));
    Box::new(move || turn(&mut connect(&site, &config)?))
}

fn connect(site: &Site, config: &Arc<ClientConfig>) -> Result<TlsBrowser, String> {
    TlsBrowser::connect(site.host.tls, "one.test", config).map_err(|error| format!("handshake: {error}"))
}

/// Every turn goes on with the session of the one before, where the router still knows it.
fn resumed(site: &Arc<Site>) -> Turn {
    let (site, config) = (Arc::clone(site), config(site, Resumption::in_memory_sessions(8)));
    Box::new(move || {
        let mut browser = connect(&site, &config)?;
        let kind = browser.stream.get_ref().conn.handshake_kind();
        let counted = if kind == Some(HandshakeKind::Resumed) { &site.resumed } else { &site.full };
        counted.fetch_add(1, SeqCst);
        ask(&mut browser)
    })
}

fn kept(site: &Arc<Site>) -> Turn {
    let (site, config, mut kept) = (Arc::clone(site), config(site, Resumption::disabled()), None);
    Box::new(move || {
        let mut browser = match kept.take() {
            Some(browser) => browser,
            None => connect(&site, &config)?,
        };
        let reply = send(&mut browser, "GET / HTTP/1.1\r\nHost: one.test\r\n\r\n")?;
        kept = (reply.header("connection") != Some("close")).then_some(browser);
        wanted("kept", (reply.status, reply.body.as_str()), (200, "ok"))
    })
}

fn send(browser: &mut TlsBrowser, text: &str) -> Result<Reply, String> {
    let sent = browser.stream.get_mut().write_all(text.as_bytes());
    sent.map_err(|error| error.to_string())?;
    browser.reply().ok_or_else(|| "no answer".to_owned())
}

fn ask(browser: &mut TlsBrowser) -> Result<(), String> {
    let reply = send(browser, "POST / HTTP/1.1\r\nHost: one.test\r\nContent-Length: 4\r\n\r\nbody")?;
    wanted("new", (reply.status, reply.body.as_str()), (200, "ok"))
}

fn over_a_websocket(browser: &mut TlsBrowser) -> Result<(), String> {
    let head = "GET /ws HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    browser.stream.get_mut().write_all(head.as_bytes()).map_err(|error| error.to_string())?;
    wanted("upgrade", browser.head().ok_or("no answer")?.status, 101)?;
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(5));
        browser.stream.get_mut().write_all(b"\x81\x02hi").map_err(|error| error.to_string())?;
        wanted("echo", browser.bytes(4), Some(b"\x81\x02hi".to_vec()))?;
    }
    Ok(())
}

fn download(browser: &mut TlsBrowser) -> Result<(), String> {
    let reply = send(browser, "GET /sized HTTP/1.1\r\nHost: one.test\r\n\r\n")?;
    let is_whole = reply.body.len() == UPLOAD && reply.body.bytes().all(|byte| byte == b'd');
    wanted("download", (reply.status, reply.body.len(), is_whole), (200, UPLOAD, true))
}

fn upload(browser: &mut TlsBrowser) -> Result<(), String> {
    let head = format!("POST /stream HTTP/1.1\r\nHost: one.test\r\nContent-Length: {UPLOAD}\r\n\r\n");
    let parts = std::iter::once(head.into_bytes()).chain((0..PARTS).map(|_| vec![b'u'; PART]));
    for part in parts {
        thread::sleep(Duration::from_millis(3));
        browser.stream.get_mut().write_all(&part).map_err(|error| error.to_string())?;
    }
    let reply = browser.reply().ok_or("no answer")?;
    wanted("upload", (reply.status, reply.body.as_str()), (200, "taken"))
}
