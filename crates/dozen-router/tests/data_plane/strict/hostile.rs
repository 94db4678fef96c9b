//! Answers of an app that means no good, or is broken: the client gets a whole one, or is told,
//! and never a byte that belongs to another answer.

use std::{io::Write as _, net::SocketAddr, time::Duration};

use super::{
    Pace, exchange,
    reading::{Answer, answers},
};
use crate::{
    app::{App, Seen, Then, say},
    host::{Host, stage},
};

/// What a client may see of an answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Right {
    /// It, whole, with this status and body.
    Whole(u16, &'static str),
    /// Nothing of it: 502.
    Refused,
    /// 502, or its start and the end of the connection: it is seen to be cut.
    Cut,
    /// As the first or as the third.
    WholeOrCut(u16, &'static str),
}

pub(super) struct Answered {
    pub(super) name: &'static str,
    method: &'static str,
    bytes: Vec<u8>,
    /// What the app does behind it.
    then: Then,
    pub(super) right: Right,
}

fn answered(name: &'static str, bytes: impl Into<Vec<u8>>, right: Right) -> Answered {
    Answered { name, method: "GET", bytes: bytes.into(), then: Then::KeepAlive, right }
}

impl Answered {
    fn then_closed(self) -> Self {
        Self { then: Then::Close, ..self }
    }

    fn to(self, method: &'static str) -> Self {
        Self { method, ..self }
    }
}

pub(super) const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";

fn framing() -> Vec<Answered> {
    use Right::{Cut, Refused, Whole, WholeOrCut};
    let ok = |headers: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{body}");
    vec![
        answered(
            "length and coding",
            ok("Content-Length: 9\r\nTransfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n"),
            WholeOrCut(200, "ab"),
        ),
        answered(
            "length and coding, the other way",
            ok("Content-Length: 2\r\nTransfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n"),
            WholeOrCut(200, "ab"),
        ),
        answered("two lengths", ok("Content-Length: 1\r\nContent-Length: 2", "ab"), Refused),
        answered("two lengths in one", ok("Content-Length: 1, 2", "ab"), Refused),
        answered(
            "one length twice",
            ok("Content-Length: 2\r\nContent-Length: 2", "ab"),
            WholeOrCut(200, "ab"),
        ),
        answered("signed length", ok("Content-Length: +2", "ab"), Refused),
        answered("negative length", ok("Content-Length: -2", "ab"), Refused),
        answered("huge length", ok("Content-Length: 18446744073709551618", "ab"), Refused),
        answered("hexadecimal length", ok("Content-Length: 0x2", "ab"), Refused),
        answered("empty length", ok("Content-Length:", "ab"), Refused),
        answered("length with a space before its colon", ok("Content-Length : 2", "ab"), Refused),
        answered("folded length", ok("Content-Length:\r\n 2", "ab"), WholeOrCut(200, "ab")),
        answered("unknown coding", ok("Transfer-Encoding: xchunked", "2\r\nab\r\n0\r\n\r\n"), Cut)
            .then_closed(),
        answered("two codings", ok("Transfer-Encoding: gzip, chunked", "2\r\nab\r\n0\r\n\r\n"), Cut),
        answered(
            "chunked twice",
            ok("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n"),
            WholeOrCut(200, "ab"),
        ),
        answered("identity", ok("Transfer-Encoding: identity", "ab"), WholeOrCut(200, "ab")).then_closed(),
        answered(
            "chunks in 1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            WholeOrCut(200, "ab"),
        )
        .then_closed(),
        answered(
            "Connection: content-length",
            ok("Connection: content-length\r\nContent-Length: 2", "ab"),
            Whole(200, "ab"),
        ),
        answered(
            "Connection: transfer-encoding",
            ok("Connection: transfer-encoding\r\nTransfer-Encoding: chunked", "2\r\nab\r\n0\r\n\r\n"),
            Whole(200, "ab"),
        ),
    ]
}

fn chunks() -> Vec<Answered> {
    use Right::{Cut, Whole, WholeOrCut};
    let ok = |headers: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n{body}");
    let chunked = |body: &str| ok("Transfer-Encoding: chunked", body);
    vec![
        answered("a size that is none", chunked("xyz\r\nab\r\n0\r\n\r\n"), Cut),
        answered("a size with 0x", chunked("0x2\r\nab\r\n0\r\n\r\n"), Cut),
        answered("a negative size", chunked("-2\r\nab\r\n0\r\n\r\n"), Cut),
        answered("a huge size", chunked("10000000000000002\r\nab\r\n0\r\n\r\n"), Cut),
        answered("a bad second size", chunked("2\r\nab\r\nxyz\r\n"), Cut),
        answered("nothing behind a chunk", chunked("2\r\nab0\r\n\r\n"), Cut),
        answered("a byte more than a chunk", chunked("2\r\nabc\r\n0\r\n\r\n"), Cut),
        answered("bare LF in chunks", chunked("2\nab\n0\n\n"), WholeOrCut(200, "ab")),
        answered("an extension with LF", chunked("2;\nxx\r\nab\r\n0\r\n\r\n"), Cut),
        answered(
            "an extension of 20 KiB",
            chunked(&format!("2;{}\r\nab\r\n0\r\n\r\n", "x".repeat(20 << 10))),
            WholeOrCut(200, "ab"),
        ),
        answered("no last chunk", chunked("2\r\nab\r\n"), Cut).then_closed(),
        answered("less than its length", ok("Content-Length: 10", "half"), Cut).then_closed(),
        answered("nothing of its length", ok("Content-Length: 10", ""), Cut).then_closed(),
        answered(
            "trailers about framing",
            chunked("2\r\nab\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n"),
            Whole(200, "ab"),
        ),
        answered("a bad trailer", chunked("2\r\nab\r\n0\r\nno colon\r\n\r\n"), WholeOrCut(200, "ab")),
    ]
}

fn heads() -> Vec<Answered> {
    use Right::{Refused, WholeOrCut};
    let good = "Content-Length: 2\r\n\r\nab";
    let with = |header: &str| format!("HTTP/1.1 200 OK\r\n{header}\r\n{good}");
    vec![
        answered("bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nab", WholeOrCut(200, "ab")),
        answered("one bare LF", with("X: y\nZ: z"), WholeOrCut(200, "ab")),
        answered("bare CR in a value", with("X: y\rSet-Cookie: z"), Refused),
        answered("NUL in a value", with("X: a\0b"), Refused),
        answered("a folded line", with("X: a\r\n b"), WholeOrCut(200, "ab")),
        answered("a folded first line", "HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 2\r\n\r\nab", Refused),
        answered("a name with a space", with("X Y: z"), Refused),
        answered("space before colon", with("X : y"), WholeOrCut(200, "ab")),
        answered("an empty name", with(": y"), Refused),
        answered("no colon", with("Broken"), Refused),
        answered("10000 headers", with(&vec!["X: y"; 10_000].join("\r\n")), Refused),
        answered("a head of a MiB", with(&format!("X: {}", "y".repeat(1 << 20))), Refused),
        answered("nothing", "", Refused).then_closed(),
        answered("half a head", "HTTP/1.1 200 OK\r\nContent-", Refused).then_closed(),
        answered("no status line", "ab\r\n\r\n", Refused).then_closed(),
        answered("HTTP/0.9", "<html>hello</html>", Refused).then_closed(),
        answered(
            "many empty lines",
            format!("{}HTTP/1.1 200 OK\r\n{good}", "\r\n".repeat(1000)),
            WholeOrCut(200, "ab"),
        ),
        answered(
            "1000 informational answers",
            format!(
                "{}HTTP/1.1 200 OK\r\n{good}",
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".repeat(1000)
            ),
            WholeOrCut(200, "ab"),
        ),
        answered(
            "1000 unasked 100s",
            format!("{}HTTP/1.1 200 OK\r\n{good}", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000)),
            WholeOrCut(200, "ab"),
        ),
        answered(
            "an informational answer with a length",
            format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n{good}"),
            WholeOrCut(200, "ab"),
        ),
        answered(
            "a 101 nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nPOISON",
            Refused,
        ),
        answered("a bare 101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", Refused),
        answered(
            "a 101 with a length",
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 2\r\n\r\nab",
            Refused,
        ),
    ]
}

fn first_lines() -> Vec<Answered> {
    use Right::{Cut, Refused, WholeOrCut};
    let good = "Content-Length: 2\r\n\r\nab";
    let mut all = Vec::new();
    for first in [
        "HTTP/2.0 200 OK",
        "HTTP/1.2 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1 200 O\rK",
        "HTTP/1.1 200 O\0K",
        " HTTP/1.1 200 OK",
        "XHTTP/1.1 200 OK",
        "GET / HTTP/1.1",
    ] {
        all.push(answered(first, format!("{first}\r\n{good}"), Refused).then_closed());
    }
    all.push(answered("HTTP/1.1 999", format!("HTTP/1.1 999 No\r\n{good}"), WholeOrCut(999, "ab")));
    all.push(answered("no reason", format!("HTTP/1.1 200\r\n{good}"), WholeOrCut(200, "ab")));
    all.push(answered("a status line without end", "HTTP/1.1 200 OK".repeat(10_000), Cut).then_closed());
    all
}

fn bodies_that_may_not_be() -> Vec<Answered> {
    use Right::{Whole, WholeOrCut};
    let poisoned = |head: &str| format!("{head}\r\n\r\n{POISON}");
    vec![
        answered(
            "more than its length",
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab{POISON}"),
            WholeOrCut(200, "ab"),
        ),
        answered(
            "a byte more than its length",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
            WholeOrCut(200, "ab"),
        ),
        answered(
            "more than its chunks",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n{POISON}"),
            WholeOrCut(200, "ab"),
        ),
        answered("more than length 0", poisoned("HTTP/1.1 200 OK\r\nContent-Length: 0"), WholeOrCut(200, "")),
        answered("204 with a body", poisoned("HTTP/1.1 204 No Content"), WholeOrCut(204, "")),
        answered(
            "204 with a length",
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab",
            WholeOrCut(204, ""),
        ),
        answered(
            "204 in chunks",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            WholeOrCut(204, ""),
        ),
        answered("304 with a body", poisoned("HTTP/1.1 304 Not Modified"), WholeOrCut(304, "")),
        answered(
            "304 with a length",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nab",
            WholeOrCut(304, ""),
        ),
        answered(
            "304 with the length of what it names",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
            Whole(304, ""),
        ),
        answered("204", "HTTP/1.1 204 No Content\r\n\r\n", Whole(204, "")),
        answered("HEAD with a body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", WholeOrCut(200, ""))
            .to("HEAD"),
        answered(
            "HEAD in chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            WholeOrCut(200, ""),
        )
        .to("HEAD"),
        answered(
            "HEAD and another answer",
            poisoned("HTTP/1.1 200 OK\r\nContent-Length: 2"),
            WholeOrCut(200, ""),
        )
        .to("HEAD"),
        answered("HEAD with a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Whole(200, ""))
            .to("HEAD"),
    ]
}

/// An app that answers `/hostile` like this, and everything else with its path.
pub(super) fn app(answered: &Answered) -> App {
    let (bytes, then) = (answered.bytes.clone(), answered.then);
    App::start(move |seen: &Seen, stream| {
        if seen.path() != "/hostile" {
            return say(stream, seen.path());
        }
        // The router may close before all of it is written.
        let _ = stream.write_all(&bytes);
        then
    })
}

/// What a client met, and what is wrong with it if anything is.
pub(super) struct Met {
    pub(super) brief: String,
    pub(super) fault: Option<String>,
}

/// Asks over one connection for a good, the hostile and a good answer, then for a good one over
/// another.
pub(super) fn ask(address: SocketAddr, answered: &Answered) -> Met {
    let requests = format!(
        "GET /before HTTP/1.1\r\nHost: one.test\r\n\r\n{} /hostile HTTP/1.1\r\nHost: one.test\r\n\r\n\
         GET /after HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n",
        answered.method
    );
    let again = b"GET /again HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\n\r\n";
    let (bytes, is_closed) = exchange(address, requests.as_bytes(), Pace::Whole);
    let again = answers(&exchange(address, again, Pace::Whole).0, &["GET"]);
    let met = |brief: &str, fault: String| Met { brief: brief.to_owned(), fault: Some(fault) };
    let good = |answer: &Answer, path: &str| answer.status == 200 && answer.is_whole && answer.body == path;
    if !again.as_ref().is_ok_and(|all| matches!(&all[..], [again] if good(again, "/again"))) {
        return met("poisoned", format!("another client gets {again:?}"));
    }
    let all = match answers(&bytes, &["GET", answered.method, "GET"]) {
        Ok(all) => all,
        Err(why) => return met("unreadable", format!("the client gets {why}")),
    };
    // Closed in its place: a cut before the first byte.
    let nothing = Answer::default();
    let (before, hostile, after) = match &all[..] {
        [] => return met("nothing", "the client gets nothing".to_owned()),
        [before] => (before, &nothing, &[][..]),
        [before, hostile, after @ ..] => (before, hostile, after),
    };
    if !good(before, "/before") || after.iter().any(|after| !good(after, "/after")) {
        return met("poisoned", format!("the client gets {all:?}"));
    }
    let brief = match hostile {
        Answer { status: 0, .. } => "closed".to_owned(),
        Answer { status, is_whole: true, .. } => status.to_string(),
        Answer { status, .. } => format!("{status} cut"),
    };
    if !is_closed {
        return met(&format!("{brief}, hangs"), format!("not closed, the client gets {all:?}"));
    }
    let is_right = answered.right.allows(hostile, after.len());
    Met { brief, fault: (!is_right).then(|| format!("{hostile:?}; right: {:?}", answered.right)) }
}

impl Right {
    /// Whether this may become of an answer, with so many behind it.
    fn allows(self, hostile: &Answer, behind: usize) -> bool {
        let is_whole =
            |status: u16, body: &str| hostile.is_whole && (hostile.status, &*hostile.body) == (status, body);
        let is_refused = hostile.status == 502 && hostile.is_whole;
        // What has no end but the connection's may not be cut: nobody would see it.
        let is_cut = is_refused || !hostile.is_whole;
        match self {
            Self::Whole(status, body) => is_whole(status, body) && behind == 1,
            Self::Refused => is_refused,
            Self::Cut => is_cut,
            Self::WholeOrCut(status, body) => is_whole(status, body) || is_cut,
        }
    }
}

/// In few words, for the table.
impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(status, _) => write!(f, "{status}"),
            Self::Refused => f.write_str("502"),
            Self::Cut => f.write_str("502 or cut"),
            Self::WholeOrCut(status, _) => write!(f, "{status} or 502"),
        }
    }
}

/// All hostile answers.
pub(super) fn all() -> impl Iterator<Item = Answered> {
    [framing(), chunks(), heads(), first_lines(), bodies_that_may_not_be()].into_iter().flatten()
}

#[test]
fn a_hostile_answer_is_whole_or_refused_and_poisons_no_other() {
    let host = Host::start();
    let faults: Vec<String> = all()
        .enumerate()
        .filter_map(|(number, answered)| {
            let app = app(&answered);
            host.route(vec![stage("one", &[(&number.to_string(), app.address)])]);
            ask(host.address, &answered).fault.map(|why| format!("{}: {why}", answered.name))
        })
        .collect();
    assert!(faults.is_empty(), "{} answers:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_head_that_never_ends_is_ended() {
    let flood = |start: &'static str, more: &'static str| {
        App::start(move |_, stream| {
            let sent = stream.write_all(start.as_bytes());
            // Until the router has enough of it.
            if sent.is_ok() {
                while stream.write_all(more.repeat(1000).as_bytes()).is_ok() {}
            }
            Then::Close
        })
    };
    let host = Host::with(|limits| limits.first_byte = Duration::from_secs(2));
    for (id, name, start, more) in [
        ("1", "headers", "HTTP/1.1 200 OK\r\n", "X: y\r\n"),
        ("2", "one header", "HTTP/1.1 200 OK\r\nX: ", "y"),
        ("3", "informational", "", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
        ("4", "empty lines", "", "\r\n"),
    ] {
        let app = flood(start, more);
        host.route(vec![stage("one", &[(id, app.address)])]);
        let (bytes, is_closed) = exchange(
            host.address,
            b"POST / HTTP/1.1\r\nHost: one.test\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            Pace::Whole,
        );
        let all = answers(&bytes, &["POST"]).unwrap();
        assert!(is_closed, "{name}");
        let statuses: Vec<u16> = all.iter().map(|answer| answer.status).collect();
        assert!(matches!(statuses[..], [502 | 504]), "{name}: {statuses:?}");
    }
}
