//! What the fuzz targets of the router feed: its own parsers of bytes from outside. Not for others.
//!
//! Each takes a stream in the pieces it arrives in and says where it came to, so that a target can
//! compare two ways of cutting the same bytes.

use dozen_model::route_table::RouteTable;

use crate::{
    board::{Board, Found},
    host::HostName,
    http1::{
        Framing, MAX_HEAD, MAX_HEADERS,
        chunks::{Chunks, Piece},
        head_end::HeadEnd,
        request,
    },
    websocket::Frames,
};

/// Reads the requests of a connection: what it stopped at, and how many heads and bytes of bodies
/// came before.
pub fn scan_heads<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut scan = Scan::default();
    let outcome = pieces.into_iter().try_for_each(|piece| {
        scan.held.extend_from_slice(piece);
        scan.go_on()
    });
    format!("{outcome:?} after {} heads and {} bytes", scan.heads, scan.bytes)
}

/// The requests of a connection, as a client's side reads them.
#[derive(Default)]
struct Scan {
    held: Vec<u8>,
    end: HeadEnd,
    /// Bytes left of a body of known length.
    left: u64,
    chunks: Option<Chunks>,
    heads: u64,
    bytes: u64,
}

impl Scan {
    /// Goes as far as the bytes do; `Err` says why it stopped.
    fn go_on(&mut self) -> Result<(), String> {
        loop {
            if self.held.is_empty() {
                return Ok(());
            }
            if self.left > 0 {
                let count = self.left.min(self.held.len() as u64);
                self.left -= count;
                self.drop_body(count as usize);
            } else if let Some(chunks) = &mut self.chunks {
                let (framing, piece) = chunks.advance(&self.held).map_err(|why| format!("{why:?}"))?;
                self.held.drain(..framing);
                match piece {
                    Piece::More => return Ok(()),
                    Piece::Data(count) => {
                        chunks.consume(count);
                        self.drop_body(count);
                    }
                    Piece::End => self.chunks = None,
                }
            } else if !self.take_head()? {
                return Ok(());
            }
        }
    }

    fn drop_body(&mut self, count: usize) {
        self.held.drain(..count);
        self.bytes += count as u64;
    }

    /// Takes a head, if a whole one is there.
    fn take_head(&mut self) -> Result<bool, String> {
        let found = self.end.find(&self.held).map_err(|why| format!("{why:?}"))?;
        let Some(length) = found.filter(|length| *length <= MAX_HEAD) else {
            let is_too_large = found.is_some() || self.held.len() > MAX_HEAD;
            return if is_too_large { Err("too large".to_owned()) } else { Ok(false) };
        };
        if length > 2 {
            let mut ranges = Vec::new();
            let head = request::parse(&self.held[..length], MAX_HEADERS, &mut ranges)
                .map_err(|why| format!("{why:?}"))?;
            assert!(head.target.starts_with('/') || head.target == "*", "{}", head.target);
            match head.framing {
                Framing::Length(length) => self.left = length,
                Framing::Chunked => self.chunks = Some(Chunks::default()),
                Framing::None | Framing::UntilClose => {}
            }
            self.heads += 1;
        }
        self.held.drain(..length);
        Ok(true)
    }
}

/// Follows one direction of a WebSocket: whether a frame may be inserted behind these bytes.
pub fn follow_frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
    let mut frames = Frames::default();
    pieces.into_iter().for_each(|piece| frames.follow(piece));
    frames.may_insert()
}

/// What a host is routed to by a table in its text: the `app/stage` that owns it, `server`, or
/// `nothing`. `None` for a table that is not routed by, and for a host that is refused.
pub fn find_host(table: &[u8], host: &[u8]) -> Option<String> {
    let table: RouteTable = serde_json::from_slice(table).ok()?;
    let (board, host) = (Board::empty(), HostName::parse(host)?);
    if !board.accepts(&table).ok()? {
        return None;
    }
    let owner =
        table.stages.iter().find(|route| route.domains.iter().any(|domain| domain.as_str() == host.name()));
    let owner = owner.map(|route| format!("{}/{}", route.app, route.stage));
    board.swap(table);
    let routes = board.routes();
    let found = match routes.find(&host) {
        Found::Stage(stage) => stage.name.to_string(),
        Found::Server => "server".to_owned(),
        Found::Nothing => "nothing".to_owned(),
    };
    if let Some(owner) = owner {
        assert_eq!(found, owner, "a domain is routed to its owner");
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_in_the_text_of_a_table() {
        let table = br#"{"generation": 1, "bare_hosts": ["server.test"], "stages": [
            {"app": "a", "stage": "production", "release": 1, "domains": ["a.b"], "target": {"endpoints": []}},
            {"app": "c", "stage": "production", "release": 1, "domains": ["c.d"], "target": {"endpoints": []}}]}"#;
        let found = |host: &str| find_host(table, host.as_bytes());
        assert_eq!(found("A.b.:80").as_deref(), Some("a/production"));
        assert_eq!(found("server.test").as_deref(), Some("server"));
        assert_eq!(found("b").as_deref(), Some("nothing"));
        assert_eq!((found("a b"), find_host(b"{}", b"a.b")), (None, None));
    }
}
