//! The error pages of an app's own: for answers that the router makes in its place.
//!
//! They come from a layer of the release's image, which never changes, and are read once, when the
//! first one is needed. A file is opened as those of static sites are: below its layer and without
//! following any link. A page that cannot be read, or is larger than a deploy would have let in, is
//! as if it were not there.
//!
//! Start reading at [`ErrorPages::find`].

use std::{
    collections::HashMap,
    io::{self, Read as _},
    sync::OnceLock,
};

use bytes::Bytes;
use dozen_model::{
    error_pages::{LARGEST, PageKind, names, stems},
    route_policy::ErrorPageFolder,
};

use crate::static_file::{Entry, find};

/// The error pages of one release.
#[derive(Debug)]
pub(crate) struct ErrorPages {
    pub(crate) folder: ErrorPageFolder,
    /// By the file's name.
    pages: OnceLock<HashMap<String, Bytes>>,
}

impl ErrorPages {
    pub(crate) fn new(folder: ErrorPageFolder) -> Self {
        Self { folder, pages: OnceLock::new() }
    }

    /// The page for an answer, with its placeholders filled in.
    pub(crate) fn find(
        &self,
        (status, is_maintenance): (u16, bool),
        kind: PageKind,
        request_id: &str,
    ) -> Option<Bytes> {
        let pages = self.pages.get_or_init(|| load(&self.folder));
        let page =
            stems(status, is_maintenance).find_map(|stem| pages.get(&format!("{stem}.{}", kind.ending())))?;
        Some(fill(page, status, request_id))
    }
}

fn load(folder: &ErrorPageFolder) -> HashMap<String, Bytes> {
    let mut pages = HashMap::new();
    for (name, _) in names() {
        match read(folder, &name) {
            Ok(Some(page)) => drop(pages.insert(name, page)),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, name, "an error page cannot be read"),
        }
    }
    pages
}

fn read(folder: &ErrorPageFolder, name: &str) -> io::Result<Option<Bytes>> {
    let layers = std::slice::from_ref(&folder.layer);
    let Entry::File(file, _) = find(layers, &folder.folder.join(name))? else { return Ok(None) };
    let mut page = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut page)?;
    Ok((page.len() as u64 <= LARGEST).then(|| page.into()))
}

/// The request's id is made of letters, digits and `_.-`: it needs no escapes anywhere.
fn fill(page: &Bytes, status: u16, request_id: &str) -> Bytes {
    match std::str::from_utf8(page) {
        Ok(text) if text.contains("{{") => {
            text.replace("{{request_id}}", request_id).replace("{{status}}", &status.to_string()).into()
        }
        _ => page.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn page(pages: &ErrorPages, status: u16, is_maintenance: bool, kind: PageKind) -> Option<String> {
        let found = pages.find((status, is_maintenance), kind, "the-id");
        found.map(|page| String::from_utf8(page.to_vec()).unwrap())
    }

    #[test]
    fn the_most_exact_page_of_the_wanted_kind_is_taken() {
        let layer = tempfile::tempdir().unwrap();
        let folder = layer.path().join("errors");
        fs::create_dir(&folder).unwrap();
        for (name, text) in [
            ("503.html", "exact {{status}} {{request_id}} {{other}}"),
            ("5xx.html", "any"),
            ("maintenance.html", "maintenance"),
            ("5xx.json", "{}"),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        let pages = ErrorPages::new(ErrorPageFolder { layer: layer.path().into(), folder: "errors".into() });
        let see = |status, is_maintenance, kind| page(&pages, status, is_maintenance, kind);
        assert_eq!(see(503, false, PageKind::Html).unwrap(), "exact 503 the-id {{other}}");
        assert_eq!(see(503, true, PageKind::Html).unwrap(), "maintenance");
        assert_eq!(see(502, false, PageKind::Html).unwrap(), "any");
        assert_eq!(see(503, true, PageKind::Json).unwrap(), "{}");
        assert_eq!(see(404, false, PageKind::Html), None);
    }

    #[test]
    fn what_a_hostile_layer_puts_there_is_no_page() {
        let layer = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::write(outside.path(), "secret").unwrap();
        let path = |name: &str| layer.path().join(name);
        symlink(outside.path(), path("502.html")).unwrap();
        fs::create_dir(path("503.html")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path("504.html")).status().unwrap();
        assert!(made.success());
        let large = usize::try_from(LARGEST).unwrap() + 1;
        fs::write(path("500.html"), vec![b'x'; large]).unwrap();
        fs::write(path("413.html"), vec![b'x'; large - 1]).unwrap();
        let pages = ErrorPages::new(ErrorPageFolder { layer: layer.path().into(), folder: ".".into() });
        for status in [502, 503, 504, 500] {
            assert_eq!(page(&pages, status, false, PageKind::Html), None, "{status}");
        }
        assert!(page(&pages, 413, false, PageKind::Html).is_some());
        symlink(layer.path(), path("linked")).unwrap();
        let linked = ErrorPageFolder { layer: layer.path().into(), folder: "linked".into() };
        assert_eq!(page(&ErrorPages::new(linked), 413, false, PageKind::Html), None);
    }
}
