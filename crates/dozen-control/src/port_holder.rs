//! Who listens on an address that the router wants: for the error that names it.
//!
//! The kernel's list of sockets gives the user and a socket number, `/proc/PID/fd` the process of
//! that number where we may look. What cannot be seen is left out: this only helps a reader.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The state `LISTEN` in the kernel's list.
const LISTEN: &str = "0A";

/// Who listens there, in words: `` `nginx` (pid 12) ``, or at least its user.
pub(crate) fn holder_of(address: SocketAddr) -> Option<String> {
    let lists = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let mut listeners = lists.iter().flatten().flat_map(|list| list.lines().filter_map(Listener::read));
    let listener = listeners.find(|listener| listener.is_in_the_way_of(address))?;
    Some(match process_of(listener.inode) {
        Some((pid, name)) => format!("`{}` (pid {pid})", name.escape_debug()),
        None => format!("a process of user {}", listener.uid),
    })
}

/// A listening socket.
#[derive(Debug, PartialEq, Eq)]
struct Listener {
    address: SocketAddr,
    uid: u32,
    inode: u64,
}

impl Listener {
    /// One line of the kernel's list, when it is of a listening socket.
    fn read(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, local, _, state, _, _, _, uid, _, inode, ..] = words[..] else { return None };
        if state != LISTEN {
            return None;
        }
        let (ip, port) = local.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(Self {
            address: SocketAddr::new(ip_of(ip)?, port),
            uid: uid.parse().ok()?,
            inode: inode.parse().ok()?,
        })
    }

    fn is_in_the_way_of(&self, wanted: SocketAddr) -> bool {
        let (own, other) = (self.address.ip(), wanted.ip());
        self.address.port() == wanted.port()
            && (own == other || own.is_unspecified() || other.is_unspecified())
    }
}

/// An address as the kernel writes it: words of 32 bits, each as a number of this machine.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, part) in bytes.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(index * 8)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// The process that has this socket open, among those we may look into.
fn process_of(inode: u64) -> Option<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().find_map(|pid| {
        let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        open.find(|file| {
            fs::read_link(file.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str())
        })?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some((pid, name.trim_end().to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_is_named_with_its_process() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let port = listener.local_addr().unwrap().port();
            let ip = if address.starts_with('[') { "[::1]" } else { "127.0.0.1" };
            let holder = holder_of(format!("{ip}:{port}").parse().unwrap()).unwrap();
            assert!(holder.ends_with(&format!("(pid {})", std::process::id())), "{address}: {holder}");
            drop(listener);
        }
    }

    #[test]
    fn a_socket_that_does_not_listen_or_listens_elsewhere_is_not_in_the_way() {
        let line = |local: &str, state: &str| {
            format!("0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 33 0 4711 1 x")
        };
        let word = u32::from_ne_bytes([127, 0, 0, 1]);
        let local = format!("{word:08X}:04BC");
        let listener = Listener::read(&line(&local, LISTEN)).unwrap();
        let address = "127.0.0.1:1212".parse().unwrap();
        assert_eq!(listener, Listener { address, uid: 33, inode: 4711 });
        assert!(listener.is_in_the_way_of("0.0.0.0:1212".parse().unwrap()));
        assert!(!listener.is_in_the_way_of("10.0.0.1:1212".parse().unwrap()));
        assert!(!listener.is_in_the_way_of("127.0.0.1:1213".parse().unwrap()));
        assert_eq!(Listener::read(&line(&local, "01")), None);
        assert_eq!(Listener::read("  sl  local_address rem_address"), None);
    }
}
