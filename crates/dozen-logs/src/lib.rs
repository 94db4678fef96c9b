//! The log router: reads what apps and dozen itself wrote, as one stream of lines in order of time.
//!
//! Apps never wait for a reader (factor XI): their output goes to segment files, written by a
//! shim, and this crate reads those files later, splits them into lines and stamps each with the
//! time of the chunk that holds its first byte. It owns four promises:
//!
//! - A line is given out once, whole and in its stream's order, however the bytes were cut into
//!   chunks and segments. A reader that was killed goes on from its [`Cursor`].
//! - Whatever is missing is announced: bytes the shim had to drop, files that retention removed.
//! - The platform's own lines ([`PlatformLog`]) never block and never fail the one who writes.
//! - Only files with our own names are read or removed, and no symbolic link is followed.
//!
//! It relies on `dozen_model::segment` for the format of segments. It does not write app streams
//! (shims do), know the store, or carry lines to other places: log drains will be a module
//! `drain` here, each a reader with a durable [`Cursor`].
//!
//! ```text
//! <logs>/<app>/<stage>/<instance>~<launch>/0000000001.seg, .idx    an app stream, by its shims
//! <logs>/<app>/<stage>/dozen/0000000001.log                        the platform stream
//! <router>/<app>/<stage>/0000000001.log                            the router's access lines
//! ```
//!
//! Start reading at [`LogStore`].

#![forbid(unsafe_code)]

mod cursor;
mod error;
mod files;
mod follow;
mod index;
mod line;
mod merge;
mod platform_log;
mod query;
mod reader;
mod retention;
mod split;
mod store;
mod stream;
mod tail;
mod watch;
mod window;

pub use cursor::{Cursor, Position, StreamId};
pub use error::LogError;
pub use follow::Follower;
pub use line::{Dropped, LogLine, Source, format_line, json_line};
pub use platform_log::PlatformLog;
pub use query::{LogQuery, ProcessFilter};
pub use retention::{Limits, Report};
pub use split::MAX_LINE_BYTES;
pub use store::{LogDirs, LogStore, Page};
