//! Makes equal what compiled files say about the folder they were compiled in.
//!
//! uv compiles a package in a folder with a random name, and some programs keep the path: uWSGI
//! does. The random part is overwritten in place, and so is the build ID, which the linker takes
//! of all the rest: two equal builds give equal files. Nothing is there at run time under either
//! name, and no debug information is kept that the ID would find.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::CACHE;
use crate::{elf, error::BuildError, tree::open_below};

/// The largest file that is looked into.
const LARGEST: u64 = 64 << 20;

/// Settles a program or library below `root`; whether it was changed.
pub(super) fn settle(root: BorrowedFd<'_>, path: &Path) -> Result<bool, BuildError> {
    let doing = "settle a compiled file";
    let Ok(opened) = open_below(root, path, OFlags::RDONLY | OFlags::NONBLOCK) else { return Ok(false) };
    let facts = rustix::fs::fstat(&opened).map_err(BuildError::os(doing))?;
    if u64::try_from(facts.st_size).unwrap_or(u64::MAX) > LARGEST {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    let mut file = File::from(opened).take(LARGEST);
    // A folder is no file to look into.
    if file.read_to_end(&mut bytes).is_err() || !bytes.starts_with(elf::MAGIC) || !blank_folders(&mut bytes) {
        return Ok(false);
    }
    blank_build_id(&mut bytes);
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let folder =
        open_below(root, above, OFlags::RDONLY | OFlags::DIRECTORY).map_err(BuildError::os(doing))?;
    rustix::fs::unlinkat(&folder, name, AtFlags::empty()).map_err(BuildError::os(doing))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(facts.st_mode & 0o755);
    let file = rustix::fs::openat(folder.as_fd(), name, flags, mode).map_err(BuildError::os(doing))?;
    File::from(file).write_all(&bytes).map_err(BuildError::io(doing))?;
    Ok(true)
}

/// Overwrites the last name before `/src` in paths below uv's folder of sources.
fn blank_folders(bytes: &mut [u8]) -> bool {
    let begin = format!("{CACHE}/sdists-");
    let is_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(byte);
    let (mut at, mut changed) = (0, false);
    while let Some(found) = find(&bytes[at..], begin.as_bytes()) {
        let start = at + found;
        let length = bytes[start..].iter().position(|byte| !is_path(byte)).unwrap_or(bytes.len() - start);
        at = start + length;
        let path = &mut bytes[start..at];
        let source = find(path, b"/src").filter(|end| matches!(path.get(end + 4), None | Some(b'/')));
        if let Some(end) = source
            && let Some(slash) = path[..end].iter().rposition(|byte| *byte == b'/')
        {
            path[slash + 1..end].fill(b'x');
            changed = true;
        }
    }
    changed
}

/// Overwrites what a GNU build ID note holds.
fn blank_build_id(bytes: &mut [u8]) {
    // Lengths of name and content, the kind, the name; then the content, a SHA-1.
    const NOTE: &[u8] = b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0";
    let content = find(bytes, NOTE).map(|at| at + NOTE.len());
    if let Some(id) = content.and_then(|at| bytes.get_mut(at..at + 20)) {
        id.fill(0);
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_random_name_is_overwritten_and_nothing_else() {
        let mut bytes = b"a\0/dozen/cache/sdists-v11/pypi/uwsgi/2.0.30/0lACDcnG_-aK/src\0/dozen/cache/sdists-v11/q/src/x.c\0b".to_vec();
        assert!(blank_folders(&mut bytes));
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "a\0/dozen/cache/sdists-v11/pypi/uwsgi/2.0.30/xxxxxxxxxxxx/src\0/dozen/cache/sdists-v11/x/src/x.c\0b"
        );
        for other in ["/dozen/cache/sdists-v11/a/source", "/usr/src/x", ""] {
            assert!(!blank_folders(&mut other.as_bytes().to_vec()), "{other}");
        }
    }
}
