//! Clients that speak HTTP/1.1 in the clear.

use std::{io::Write as _, sync::Arc, thread, time::Duration};

use super::{
    PART, PARTS, Site, UPLOAD,
    load::{Kind, Turn},
    wanted,
};
use crate::browser::Browser;

pub(super) const KEPT: Kind = ("kept connections", over_a_kept_connection);
pub(super) const ALL: &[Kind] = &[
    ("new connections", |site| each(site, over_a_new_connection)),
    ("websockets", |site| each(site, over_a_websocket)),
    ("downloads", |site| each(site, download)),
    ("uploads", |site| each(site, upload)),
];

/// Every turn over a connection of its own.
fn each(site: &Arc<Site>, turn: fn(Browser) -> Result<(), String>) -> Turn {
    let site = Arc::clone(site);
    Box::new(move || turn(site.host.browser()))
}

fn over_a_kept_connection(site: &Arc<Site>) -> Turn {
    let (site, mut kept) = (Arc::clone(site), None);
    Box::new(move || {
        let (mut browser, is_new) = match kept.take() {
            Some(browser) => (browser, false),
            None => (site.host.browser(), true),
        };
        let reply =
            browser.get("one.test", "/").ok_or_else(|| format!("no answer, new connection: {is_new}"))?;
        kept = (reply.header("connection") != Some("close")).then_some(browser);
        wanted("kept", (reply.status, reply.body.as_str()), (200, "ok"))
    })
}

fn over_a_new_connection(mut browser: Browser) -> Result<(), String> {
    let reply = browser.post("one.test", "/", "body").ok_or("no answer")?;
    wanted("new", (reply.status, reply.body.as_str()), (200, "ok"))
}

/// Ten echoes; then it leaves.
fn over_a_websocket(mut browser: Browser) -> Result<(), String> {
    browser.send("GET /ws HTTP/1.1\r\nHost: one.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    wanted("upgrade", browser.head().ok_or("no answer")?.status, 101)?;
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(5));
        browser.stream.write_all(b"\x81\x02hi").map_err(|error| error.to_string())?;
        wanted("echo", browser.try_bytes(4), Some(b"\x81\x02hi".to_vec()))?;
    }
    Ok(())
}

fn download(mut browser: Browser) -> Result<(), String> {
    let reply = browser.get("one.test", "/download").ok_or("no answer")?;
    let is_whole = reply.body.len() == UPLOAD && reply.body.bytes().all(|byte| byte == b'd');
    wanted("download", (reply.status, reply.body.len(), is_whole), (200, UPLOAD, true))
}

fn upload(mut browser: Browser) -> Result<(), String> {
    browser.send(&format!("POST /stream HTTP/1.1\r\nHost: one.test\r\nContent-Length: {UPLOAD}\r\n\r\n"));
    for _ in 0..PARTS {
        thread::sleep(Duration::from_millis(3));
        browser.stream.write_all(&vec![b'u'; PART]).map_err(|error| error.to_string())?;
    }
    let reply = browser.reply().ok_or("no answer")?;
    wanted("upload", (reply.status, reply.body.as_str()), (200, "taken"))
}
