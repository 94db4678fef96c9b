//! What the fuzz targets of the router feed: its own parsers of bytes from outside. Not for others.
//!
//! Each takes a stream in the pieces it arrives in and says where it came to, so that a target can
//! compare two ways of cutting the same bytes.

use crate::{head_scan::HeadScan, websocket::Frames};

/// Scans the requests of a connection: what it stopped at, and how many heads came before.
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
