//! The names of an app's own error pages: which file stands for which answer of the router.
//!
//! A page is for one status (`503.html`), for all of a kind (`5xx.html`), or for maintenance
//! (`maintenance.html`), and each may stand there for people and for programs (`.json`).

/// The largest page, in bytes: pages are kept in memory.
pub const LARGEST: u64 = 256 << 10;

/// The statuses of the answers that the router makes in an app's place.
pub const STATUSES: [u16; 10] = [400, 403, 404, 405, 408, 413, 500, 502, 503, 504];

/// The page for an answer during maintenance.
pub const MAINTENANCE: &str = "maintenance";

/// Whom a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageKind {
    /// People.
    Html,
    /// Programs.
    Json,
}

impl PageKind {
    /// The ending of the file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Html => "html",
            Self::Json => "json",
        }
    }
}

/// The names, without their endings, that a page for a status may have: the most exact first.
pub fn stems(status: u16, is_maintenance: bool) -> impl Iterator<Item = String> {
    let exact = is_maintenance.then(|| MAINTENANCE.to_owned()).into_iter();
    exact.chain([status.to_string(), format!("{}xx", status / 100)])
}

/// All names that a page may have, each with what it is.
pub fn names() -> impl Iterator<Item = (String, PageKind)> {
    let stems = STATUSES.iter().map(u16::to_string);
    let stems = stems.chain(["4xx", "5xx", MAINTENANCE].map(str::to_owned));
    stems.flat_map(|stem| {
        [PageKind::Html, PageKind::Json].map(|kind| (format!("{stem}.{}", kind.ending()), kind))
    })
}
