//! Where an instance listens: to tell an app that binds the wrong port or the wrong address.
//!
//! Looks at the processes below init and at their sockets, from outside. It needs the rights of the server's user.

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::descendants::descendants;

const LISTENING: &str = "0A";

/// The TCP addresses that processes below `init_pid` listen on.
///
/// Empty when there are none, or when the process is gone.
pub fn listeners_inside(init_pid: u32) -> BTreeSet<SocketAddr> {
    let sockets: HashSet<u64> = descendants(init_pid).into_iter().flat_map(sockets_of).collect();
    let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/{init_pid}/net/{name}")));
    let tables = tables.map(Result::unwrap_or_default);
    let listening = tables.iter().flat_map(|table| table.lines()).filter_map(parse_listener);
    listening.filter(|(_, inode)| sockets.contains(inode)).map(|(address, _)| address).collect()
}

fn sockets_of(pid: u32) -> Vec<u64> {
    let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let links = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    links
        .filter_map(|link| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok())
        .collect()
}

/// The local address and the socket of a line of the kernel's table, if it listens.
fn parse_listener(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let is_listener = *state == LISTENING;
    is_listener.then_some((SocketAddr::new(parse_address(address)?, port), inode.parse().ok()?))
}

/// An address in the kernel's notation: words of 32 bits, each as the machine stores it.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_understood() {
        let v4 =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 42 1";
        assert_eq!(parse_listener(v4), Some(("127.0.0.1:8080".parse().unwrap(), 42)));
        let v6 = "0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 7 1";
        assert_eq!(parse_listener(v6), Some(("[::1]:80".parse().unwrap(), 7)));
    }

    #[test]
    fn a_connection_is_no_listener() {
        let line = "1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 43 1";
        assert_eq!(parse_listener(line), None);
        assert_eq!(parse_listener("  sl  local_address rem_address   st"), None);
    }

    #[test]
    fn an_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = listeners_inside(std::process::id());
        assert!(found.contains(&listener.local_addr().unwrap()), "{found:?}");
    }
}
