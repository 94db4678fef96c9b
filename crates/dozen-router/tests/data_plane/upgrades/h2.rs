//! Clients that speak HTTP/2: many streams over a connection that they keep until they are told to go.

use std::{sync::Arc, thread, time::Duration};

use rustls::ClientConfig;

use super::{
    PART, PARTS, Site, UPLOAD,
    load::{Kind, Turn},
    wanted,
};
use crate::frames::{Ended, Frames, Head};

pub(super) const ALL: &[Kind] = &[
    ("streams", |site| over_a_kept_connection(site, many_streams)),
    ("new connections", new_connection),
    ("downloads", |site| over_a_kept_connection(site, download)),
    ("uploads", |site| over_a_kept_connection(site, upload)),
    ("curl", curl),
];

/// Streams that are open at once.
pub(super) const STREAMS: usize = 20;

fn connect(site: &Site, config: &Arc<ClientConfig>) -> Result<Frames, String> {
    let connected = Frames::try_connect(site.host.tls, "one.test", config);
    let mut frames = connected.map_err(|error| format!("no connection: {error}"))?;
    frames.open_window(2 << 20).map_err(|error| error.to_string())?;
    frames.give_credit();
    Ok(frames)
}

/// Why a stream has no answer, if it is not that it may be asked for again.
type Failed = Result<Option<String>, Ended>;

/// A turn is repeated over a new connection as long as the router has not looked at it before it
/// went away: RFC 9113, 6.8 promises that much, and no more is done.
fn over_a_kept_connection(site: &Arc<Site>, turn: fn(&mut Frames) -> Failed) -> Turn {
    let (site, mut kept) = (Arc::clone(site), None);
    let config = site.authority.client_config(&["h2"]);
    Box::new(move || {
        loop {
            let mut frames = match kept.take() {
                Some(frames) => frames,
                None => connect(&site, &config)?,
            };
            let ended = turn(&mut frames);
            kept = Some(frames).filter(|frames| !frames.is_told_to_go());
            match ended {
                Ok(None) => return Ok(()),
                Ok(Some(why)) => return Err(why),
                Err(Ended::Untouched(0)) => kept = None,
                Err(ended) => {
                    kept = None;
                    return Err(format!("{ended:?}"));
                }
            }
        }
    })
}

fn head(method: &str, path: &str) -> Head {
    Head::new(&[(":method", method), (":scheme", "https"), (":authority", "one.test"), (":path", path)])
}

/// Those that were not looked at are asked for again; all others must have an answer.
fn many_streams(frames: &mut Frames) -> Failed {
    let ids: Vec<u32> = (0..STREAMS).map(|_| frames.request(&head("GET", "/"), true)).collect();
    let mut untouched = None;
    for id in ids {
        match frames.finish(id) {
            Ok(reply) if (reply.status, reply.body.as_str()) == (200, "ok") => {}
            Ok(reply) => return Ok(Some(format!("{reply:?}"))),
            Err(Ended::Untouched(code)) => untouched = Some(Ended::Untouched(code)),
            Err(ended) => return Err(ended),
        }
    }
    untouched.map_or(Ok(None), Err)
}

/// Clients that are not careful take it for a failure when their first request is sent elsewhere.
fn new_connection(site: &Arc<Site>) -> Turn {
    let (site, config) = (Arc::clone(site), site.authority.client_config(&["h2"]));
    Box::new(move || {
        let mut frames = connect(&site, &config)?;
        let id = frames.request(&head("POST", "/").and("content-length", "4"), false);
        frames.body(id, b"body", true).map_err(|error| error.to_string())?;
        let reply = frames.finish(id).map_err(|ended| format!("{ended:?}"))?;
        wanted("new", (reply.status, reply.body.as_str()), (200, "ok"))
    })
}

fn download(frames: &mut Frames) -> Failed {
    let id = frames.request(&head("GET", "/download"), true);
    let reply = frames.finish(id)?;
    let is_whole = reply.body.len() == UPLOAD && reply.body.bytes().all(|byte| byte == b'd');
    Ok(wanted("download", (reply.status, reply.body.len(), is_whole), (200, UPLOAD, true)).err())
}

fn upload(frames: &mut Frames) -> Failed {
    let id = frames.request(&head("POST", "/stream").and("content-length", &UPLOAD.to_string()), false);
    for part in 1..=PARTS {
        thread::sleep(Duration::from_millis(3));
        if frames.body(id, &vec![b'u'; PART], part == PARTS).is_err() {
            break;
        }
    }
    let reply = frames.finish(id)?;
    Ok(wanted("upload", (reply.status, reply.body.as_str()), (200, "taken")).err())
}

/// A client that others wrote, once for each turn.
fn curl(site: &Arc<Site>) -> Turn {
    let site = Arc::clone(site);
    Box::new(move || {
        let words = ["--http2", "--data", "body", "https://one.test/"];
        let output = site.authority.curl(site.host.tls, &words);
        let told = String::from_utf8_lossy(&output.stderr);
        wanted("curl", (&*String::from_utf8_lossy(&output.stdout), &*told), ("ok", ""))
    })
}
