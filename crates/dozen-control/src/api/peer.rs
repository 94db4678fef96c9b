//! Who may speak on the socket, and who speaks, as the kernel says.

use dozen_sandbox::groups_of_peer;
use tokio::net::UnixStream;

/// Whom the server trusts: root, its own user, and on a root server the group `dozen`.
///
/// The socket's mode says the same. It alone would not do: a mode is easily changed from outside,
/// and who may speak here is as good as root.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trusted {
    uid: u32,
    group: Option<u32>,
}

impl Trusted {
    /// As it is at the server's start.
    pub(super) fn now(as_root: bool) -> Self {
        let group = if as_root { group_id("dozen") } else { None };
        Self { uid: rustix::process::geteuid().as_raw(), group }
    }

    /// The group that may connect.
    pub(super) fn group(self) -> Option<u32> {
        self.group
    }

    fn admits(self, uid: u32, groups: &[u32]) -> bool {
        uid == 0 || uid == self.uid || self.group.is_some_and(|group| groups.contains(&group))
    }
}

/// A caller that may speak.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Login name, or the number where there is none.
    pub(crate) name: String,
}

impl Peer {
    /// The caller, or `None` for one that may not speak.
    pub(super) fn of(stream: &UnixStream, trusted: Trusted) -> Option<Self> {
        let peer = stream.peer_cred().ok()?;
        let mut groups = groups_of_peer(stream).unwrap_or_default();
        groups.push(peer.gid());
        trusted.admits(peer.uid(), &groups).then(|| Self { name: login_name(peer.uid()) })
    }
}

fn login_name(uid: u32) -> String {
    let text = uid.to_string();
    field_where("/etc/passwd", 2, &text).unwrap_or(text)
}

/// The number of a group.
fn group_id(name: &str) -> Option<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_servers_user_and_its_group_may_speak_and_nobody_else() {
        let server = Trusted { uid: 1000, group: None };
        assert!(server.admits(0, &[]) && server.admits(1000, &[]));
        assert!(!server.admits(1001, &[0, 1000]));
        let of_root = Trusted { uid: 0, group: Some(90) };
        assert!(of_root.admits(0, &[]) && of_root.admits(1001, &[1001, 90]));
        assert!(!of_root.admits(1001, &[1001, 0]));
    }

    #[tokio::test]
    async fn a_caller_is_asked_for_at_its_socket() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(Peer::of(&one, Trusted::now(false)).is_some());
        let is_root = rustix::process::geteuid().is_root();
        let stranger = Trusted { uid: u32::MAX, group: None };
        assert_eq!(Peer::of(&one, stranger).is_some(), is_root);
        let own_group = Trusted { uid: u32::MAX, group: Some(rustix::process::getegid().as_raw()) };
        assert!(Peer::of(&one, own_group).is_some());
    }
}
