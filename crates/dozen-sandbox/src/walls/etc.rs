//! An `/etc` of our making: what programs need to resolve names, know users and trust certificates.
//!
//! The host's users, keys and services' settings stay outside. Small files are written anew or
//! copied, large ones are shown read-only.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::fs::{Mode, OFlags};

use super::{
    Naming as _, Step,
    place::{self, Kind},
    root_fs::bind_host,
};
use crate::spec::{Walls, WallsUser};

/// Shown as the host has them, where the host has them. Of `/etc/ssl` only what is public: the
/// directory beside it holds private keys.
const SHOWN: [&str; 12] = [
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf.d",
    "/etc/mime.types",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

/// Copied: they may be links to places that are not visible inside, and they are small.
const COPIED: [&str; 4] = ["gai.conf", "ld.so.conf", "resolv.conf", "timezone"];
const MAX_COPY_BYTES: u64 = 64 << 10;

/// Names are looked up in files and then by DNS; no service of the host is asked.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
    protocols: files\nservices: files\nethers: files\nrpc: files\n";

/// Builds `/etc` below `root`.
pub(super) fn build(root: &OwnedFd, walls: &Walls) -> Step<()> {
    let etc = place::make(root, Path::new("/etc"), Kind::Directory).step(|| "make `/etc`".into())?;
    write(&etc, "passwd", &passwd(walls.user))?;
    write(&etc, "group", &group(walls.user))?;
    write(&etc, "nsswitch.conf", NSSWITCH)?;
    write(&etc, "hosts", &hosts(&walls.hostname))?;
    for name in COPIED {
        if let Some(content) = read_small(&Path::new("/etc").join(name)) {
            place::write_file(&etc, name, &content).step(|| format!("write `/etc/{name}`"))?;
        }
    }
    make_localtime(&etc)?;
    // A link of the host leads to where it would lead inside, or nowhere: it is not followed here.
    let is_shown = |path: &&Path| fs::symlink_metadata(path).is_ok_and(|found| !found.is_symlink());
    SHOWN.map(Path::new).iter().filter(|path| is_shown(path)).try_for_each(|path| bind_host(root, path))
}

fn write(etc: &OwnedFd, name: &str, content: &str) -> Step<()> {
    place::write_file(etc, name, content.as_bytes()).step(|| format!("write `/etc/{name}`"))
}

fn passwd(user: WallsUser) -> String {
    // The app's line comes first: where its uid is that of `nobody`, its name is still `app`.
    let WallsUser { uid, gid } = user;
    format!(
        "app:x:{uid}:{gid}:app:/tmp:/bin/sh\nroot:x:0:0:root:/:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
    )
}

fn group(user: WallsUser) -> String {
    format!("app:x:{}:\nroot:x:0:\nnogroup:x:65534:\n", user.gid)
}

/// The host's names, since an app may reach a database by one, and its own.
fn hosts(hostname: &str) -> String {
    let own = format!("127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n");
    let host = read_small(Path::new("/etc/hosts")).unwrap_or_default();
    own + &String::from_utf8_lossy(&host)
}

fn read_small(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    let read = |content: &mut Vec<u8>| -> io::Result<u64> {
        // A pipe in this place would block the launch for ever, already when it is opened.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let length = if file.metadata()?.is_file() { MAX_COPY_BYTES } else { 0 };
        Ok(file.take(length).read_to_end(content)? as u64)
    };
    read(&mut content).is_ok_and(|length| length > 0).then_some(content)
}

/// The time zone: a link into `/usr` as on most hosts, else a copy.
fn make_localtime(etc: &OwnedFd) -> Step<()> {
    let path = Path::new("/etc/localtime");
    match fs::read_link(path) {
        Ok(link) if link.starts_with("/usr") || link.starts_with("../usr") => {
            rustix::fs::symlinkat(&link, etc, "localtime").step(|| "make the link `/etc/localtime`".into())
        }
        _ => match read_small(path) {
            Some(zone) => place::write_file(etc, "localtime", &zone).step(|| "write `/etc/localtime`".into()),
            None => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_a_file_blocks_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert_eq!(read_small(&path), None);
    }
}
