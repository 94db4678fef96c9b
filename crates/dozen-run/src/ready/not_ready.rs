//! Why an instance is not ready, and what its owner can do about it.
//!
//! These sentences end up in the answer to `git push`, read by somebody who may never have
//! heard of a health check. So each says what was seen (not what was concluded), and its hint
//! names the line to change. Nothing of the app's answer stands here unescaped.

use std::{fmt, net::SocketAddr, time::Duration};

use dozen_model::hint::Hint;

use crate::exit::ExitReason;

/// Why an instance did not become ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    /// It ended first.
    #[error("it ended after {}, before it was ready: {reason}", Seconds(*.after))]
    Exited {
        /// How it ended.
        reason: ExitReason,
        /// How long it was waited for.
        after: Duration,
        /// Whether it had to listen on a port.
        serves: bool,
    },
    /// Nothing accepted connections on its port.
    #[error("{}", never_listened(*.port, .elsewhere, *.waited))]
    NeverListened {
        /// Its `PORT`.
        port: u16,
        /// Where processes inside it listen instead, as far as that can be seen.
        elsewhere: Vec<SocketAddr>,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A process that is not part of it has its port.
    #[error("port {port} is answered by another process of this machine")]
    PortTaken {
        /// Its `PORT`.
        port: u16,
    },
    /// Connections were accepted, and nothing came back.
    #[error("it accepts connections on port {port}, but `{path}` gave no answer within {}", Seconds(*.waited))]
    NoAnswer {
        /// Its `PORT`.
        port: u16,
        /// The path that was asked for.
        path: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Connections were accepted and closed without an answer.
    #[error("it closes connections on port {port} without an answer to `{path}`")]
    Closed {
        /// Its `PORT`.
        port: u16,
        /// The path that was asked for.
        path: String,
    },
    /// What answered is not HTTP/1.1.
    #[error("what it sends on port {port} is not HTTP/1.1: `{start}`")]
    NotHttp {
        /// Its `PORT`.
        port: u16,
        /// The first bytes of the answer, printable.
        start: String,
    },
    /// It refused a request that named its own host.
    #[error("it answered 400 to a request for its own host `{host}`")]
    HostRefused {
        /// The host that was asked for.
        host: String,
    },
    /// It answered, but not well enough.
    #[error("`{path}` still answered {status} after {}", Seconds(*.waited))]
    Unhealthy {
        /// Its last status.
        status: u16,
        /// The path that was asked for.
        path: String,
        /// Whether the path is a declared health path, which must answer 2xx or 3xx.
        declared: bool,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl Hint for NotReady {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exited { reason, serves, .. } => exit_hint(reason, *serves),
            Self::NeverListened { port, elsewhere, .. } => Some(port_hint(*port, elsewhere)),
            Self::PortTaken { .. } => Some("deploy again: the next instance gets another port".to_owned()),
            Self::NoAnswer { .. } => Some(
                "if it needs longer to start, raise `timeout` in `[health]` of `dozen.toml`; if the page is \
                 slow, set `path` there to one that answers at once"
                    .to_owned(),
            ),
            Self::Closed { .. } => Some("what it printed is in `dozen logs`".to_owned()),
            Self::NotHttp { start, .. } => Some(not_http_hint(start)),
            Self::HostRefused { host } => Some(format!(
                "Django does this for a host that is not in `ALLOWED_HOSTS`: add `{}` there, best from a \
                 config var, so that each stage can have its own",
                without_port(host)
            )),
            Self::Unhealthy { status, path, declared, .. } => Some(status_hint(*status, path, *declared)),
        }
    }
}

fn exit_hint(reason: &ExitReason, serves: bool) -> Option<String> {
    let text = match reason {
        ExitReason::Status(0) if !serves => {
            "an instance is meant to stay: run what ends by itself with `dozen run`, and keep a worker in the \
             foreground"
        }
        ExitReason::Status(0) => {
            "a web process must stay in the foreground: take `--daemon` or a trailing `&` out of its command"
        }
        ExitReason::Status(127) => {
            "check the first word of its command in the Procfile: is its package among the dependencies?"
        }
        ExitReason::Status(126) => {
            "make the file executable and commit that (`git update-index --chmod=+x FILE`)"
        }
        ExitReason::NotStarted(_) => {
            "check its command in the Procfile: is the package of its program among the dependencies?"
        }
        ExitReason::Unknown => return None,
        ExitReason::Status(_) | ExitReason::Signal(_) => "what it printed is in `dozen logs`",
    };
    Some(text.to_owned())
}

fn port_hint(port: u16, elsewhere: &[SocketAddr]) -> String {
    if elsewhere.iter().any(|address| address.port() == port) {
        return "the router connects to 127.0.0.1: bind to that or to 0.0.0.0".to_owned();
    }
    if elsewhere.is_empty() {
        "a web process must listen on the port that `PORT` names, as in `web: gunicorn shop.wsgi --bind \
         127.0.0.1:$PORT`; a process that serves no requests belongs under another name, such as `worker:`"
            .to_owned()
    } else {
        "use `$PORT` in its command, as in `web: gunicorn shop.wsgi --bind 127.0.0.1:$PORT`".to_owned()
    }
}

fn not_http_hint(start: &str) -> String {
    // A TLS record of type alert or handshake: its first byte is not printable, so it is a dot.
    if start.starts_with("..") {
        "serve plain HTTP on `PORT`: TLS ends before the app".to_owned()
    } else {
        "the process on `PORT` must speak HTTP/1.1 or HTTP/1.0".to_owned()
    }
}

fn status_hint(status: u16, path: &str, declared: bool) -> String {
    match (status, declared) {
        (500.., _) => "what it printed is in `dozen logs`".to_owned(),
        (404, true) => {
            format!("no page of the app is at `{path}`: check `path` in `[health]` of `dozen.toml`")
        }
        (401 | 403, true) => {
            format!(
                "`{path}` must answer without a login: change it, or `path` in `[health]` of `dozen.toml`"
            )
        }
        _ => format!(
            "a health path must answer 2xx or 3xx: check `{path}`, or `path` in `[health]` of `dozen.toml`"
        ),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The sentence of [`NotReady::NeverListened`].
fn never_listened(port: u16, elsewhere: &[SocketAddr], waited: Duration) -> String {
    if elsewhere.is_empty() {
        return format!("it did not listen on any port within {}, `PORT` is {port}", Seconds(waited));
    }
    let addresses: Vec<String> = elsewhere.iter().take(4).map(ToString::to_string).collect();
    let more = if elsewhere.len() > 4 { " and more" } else { "" };
    format!("it listens on {}{more}, `PORT` is {port}", addresses.join(", "))
}

/// A duration as people say it: `0.4 s`, `30 s`.
pub(super) struct Seconds(pub(super) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_secs(10) {
            write!(f, "{:.1} s", self.0.as_secs_f64())
        } else {
            write!(f, "{:.0} s", self.0.as_secs_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(not_ready: &NotReady) -> (String, String) {
        (not_ready.to_string(), not_ready.hint().unwrap_or_default())
    }

    #[test]
    fn a_wrong_port_is_named_beside_the_right_one() {
        let waited = Duration::from_secs(30);
        let elsewhere = vec!["127.0.0.1:8000".parse().unwrap()];
        let (text, hint) = told(&NotReady::NeverListened { port: 21034, elsewhere, waited });
        assert_eq!(text, "it listens on 127.0.0.1:8000, `PORT` is 21034");
        assert!(hint.contains("use `$PORT`"), "{hint}");

        let (text, hint) = told(&NotReady::NeverListened { port: 21034, elsewhere: vec![], waited });
        assert_eq!(text, "it did not listen on any port within 30 s, `PORT` is 21034");
        assert!(hint.contains("worker:"), "{hint}");

        let elsewhere = vec!["[::1]:21034".parse().unwrap()];
        let (_, hint) = told(&NotReady::NeverListened { port: 21034, elsewhere, waited });
        assert!(hint.contains("127.0.0.1"), "{hint}");
    }

    #[test]
    fn a_refused_host_hints_at_allowed_hosts_without_the_port() {
        let (text, hint) = told(&NotReady::HostRefused { host: "blango.localhost:1212".into() });
        assert_eq!(text, "it answered 400 to a request for its own host `blango.localhost:1212`");
        assert!(hint.contains("`ALLOWED_HOSTS`: add `blango.localhost` there"), "{hint}");
    }

    #[test]
    fn an_early_end_says_how_and_when() {
        let after = Duration::from_millis(420);
        let (text, hint) = told(&NotReady::Exited { reason: ExitReason::Status(127), after, serves: true });
        assert_eq!(
            text,
            "it ended after 0.4 s, before it was ready: exit status 127 (the command was not found)"
        );
        assert!(hint.contains("Procfile"), "{hint}");
        for (serves, words) in [(true, "a web process must stay"), (false, "with `dozen run`")] {
            let (_, hint) = told(&NotReady::Exited { reason: ExitReason::Status(0), after, serves });
            assert!(hint.contains(words) && hint.contains("web") == serves, "{hint}");
        }
    }

    #[test]
    fn no_sentence_ends_with_a_full_stop_or_starts_with_a_capital() {
        let waited = Duration::from_secs(1);
        let path = "/up".to_owned();
        for not_ready in [
            NotReady::PortTaken { port: 1 },
            NotReady::NoAnswer { port: 1, path: path.clone(), waited },
            NotReady::Closed { port: 1, path: path.clone() },
            NotReady::NotHttp { port: 1, start: "..".into() },
            NotReady::Unhealthy { status: 500, path: path.clone(), declared: false, waited },
            NotReady::Unhealthy { status: 404, path: path.clone(), declared: true, waited },
            NotReady::Unhealthy { status: 403, path, declared: true, waited },
        ] {
            let (text, hint) = told(&not_ready);
            assert!(!text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
            assert!(!hint.is_empty() && !hint.ends_with('.'), "{hint}");
        }
    }
}
