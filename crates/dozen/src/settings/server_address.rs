//! Where the server is: a socket on this machine, or another machine reached over ssh.

use std::{fmt, path::PathBuf, str::FromStr};

/// The server that verbs talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// A unix socket on this machine.
    Unix(PathBuf),
    /// Another machine; its own `dozen api-bridge` finds the socket there.
    Ssh(SshHost),
}

/// A machine that ssh can reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SshHost {
    /// `host` or `user@host`, safe as an argument of ssh.
    pub(crate) destination: String,
    /// The port, when it is not ssh's own choice.
    pub(crate) port: Option<u16>,
}

/// A word that names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a server: write `ssh://user@host[:port]` or `unix:/path/to/control.sock`")]
pub(crate) struct NotAServer(String);

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Ssh(host) => write!(f, "{host}"),
        }
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}", self.destination)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for ServerAddress {
    type Err = NotAServer;

    fn from_str(text: &str) -> Result<Self, NotAServer> {
        let refused = || NotAServer(text.chars().take(120).flat_map(char::escape_default).collect());
        if let Some(rest) = text.strip_prefix("ssh://") {
            return ssh_host(rest.trim_end_matches('/')).map(Self::Ssh).ok_or_else(refused);
        }
        let path = PathBuf::from(text.strip_prefix("unix://").or(text.strip_prefix("unix:")).unwrap_or(text));
        if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(refused()) }
    }
}

/// Reads `[user@]host[:port]`. What starts with a dash or holds anything but name characters is
/// refused: it would reach ssh as an option or a remote shell as a word.
fn ssh_host(text: &str) -> Option<SshHost> {
    let (destination, port) = match text.rsplit_once(':') {
        Some((destination, port)) => (destination, Some(port.parse().ok().filter(|port| *port > 0)?)),
        None => (text, None),
    };
    let word = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    };
    let (user, host) = destination.split_once('@').unwrap_or(("user", destination));
    (word(user) && word(host)).then(|| SshHost { destination: destination.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_written_as_it_is_read() {
        for text in ["ssh://ann@host.example", "ssh://host:2222", "unix:/run/dozen/control.sock"] {
            assert_eq!(text.parse::<ServerAddress>().unwrap().to_string(), text);
        }
        assert_eq!("/a/b".parse::<ServerAddress>().unwrap(), ServerAddress::Unix("/a/b".into()));
    }

    #[test]
    fn what_ssh_could_take_for_an_option_or_a_command_is_refused() {
        for bad in [
            "",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://a@-b",
            "ssh://a b",
            "ssh://a;b",
            "ssh://h:0",
            "ssh://h:x",
            "ssh://h/path",
            "relative",
            "tcp://h",
            "ssh://u@",
        ] {
            assert!(bad.parse::<ServerAddress>().is_err(), "{bad}");
        }
    }
}
