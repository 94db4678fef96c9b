//! What the fuzz targets of the router feed: its own parsers of bytes from outside. Not for others.
//!
//! Each takes a stream in the pieces it arrives in and says where it came to, so that a target can
//! compare two ways of cutting the same bytes.

use dozen_model::route_table::RouteTable;

use crate::{
    board::{Board, Found},
    head_scan::HeadScan,
    host::HostName,
    websocket::Frames,
};

/// Scans the requests of a connection: what it stopped at, and how many heads came before. Whatever
/// reads the bytes of clients belongs here: the target compares ways of cutting the same bytes.
pub fn scan_heads<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut scan = HeadScan::new();
    let outcome = pieces.into_iter().try_for_each(|piece| scan.feed(piece));
    format!("{outcome:?} after {} heads, between: {}", scan.heads(), scan.is_between())
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
