//! Who speaks on the socket, as the kernel says.

use tokio::net::UnixStream;

/// A caller that may speak.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Login name, or the number where there is none.
    pub(crate) name: String,
}

impl Peer {
    /// The caller, or `None` for one that may not speak.
    ///
    /// On a root server the socket's mode already keeps all but root and its group away, so who
    /// got this far may speak.
    pub(crate) fn of(stream: &UnixStream, as_root: bool) -> Option<Self> {
        let uid = stream.peer_cred().ok()?.uid();
        let own = rustix::process::geteuid().as_raw();
        (uid == 0 || uid == own || as_root).then(|| Self { name: login_name(uid) })
    }
}

fn login_name(uid: u32) -> String {
    let text = uid.to_string();
    field_where("/etc/passwd", 2, &text).unwrap_or(text)
}

/// The number of a group.
pub(crate) fn group_id(name: &str) -> Option<u32> {
    let file = std::fs::read_to_string("/etc/group").ok()?;
    let line = file.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// The first field of the line whose field at `index` is `value`.
fn field_where(path: &str, index: usize, value: &str) -> Option<String> {
    let file = std::fs::read_to_string(path).ok()?;
    let line = file.lines().find(|line| line.split(':').nth(index) == Some(value))?;
    line.split(':').next().map(str::to_owned)
}
