//! The URL of a backing service: checked once, never shown.

use std::{collections::BTreeMap, fmt, str::FromStr};

use dozen_model::hint::Hint;

/// A URL that names a scheme and at least one host. It carries a password: `Debug` and
/// [`ServiceUrl::place`] leave out all but the scheme and the hosts.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl(String);

/// Why a text is not the URL of a service; it quotes nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAServiceUrl {
    /// More than [`ServiceUrl::LIMIT`] bytes.
    #[error("it has more than {} bytes", ServiceUrl::LIMIT)]
    TooLong,
    /// A space, a control character or a letter outside ASCII.
    #[error("it holds a space, a control character or a letter outside ASCII")]
    NotPlain,
    /// No `scheme://` in front.
    #[error("it does not start with a scheme such as `postgresql://`")]
    NoScheme,
    /// A file on the machine, which an instance cannot see.
    #[error("it names a file on the machine")]
    File,
    /// No host behind the scheme.
    #[error("it names no host")]
    NoHost,
    /// A host or a port that cannot be one.
    #[error("its host or port cannot be one")]
    BadHost,
}

impl Hint for NotAServiceUrl {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotPlain => Some("write such characters as `%` and two hexadecimal digits".to_owned()),
            Self::NoScheme => Some("write it as `postgresql://USER:PASSWORD@HOST:PORT/NAME`".to_owned()),
            Self::File => Some("let dozen keep the file: `dozen services create sqlite NAME`".to_owned()),
            Self::BadHost => Some(
                "write `@`, `/`, `:`, `?` and `#` in a password as `%40`, `%2F`, `%3A`, `%3F` and `%23`"
                    .to_owned(),
            ),
            Self::TooLong | Self::NoHost => None,
        }
    }
}

/// The parts of a URL that are looked at.
struct Parts<'a> {
    scheme: &'a str,
    hosts: &'a str,
}

impl ServiceUrl {
    /// The most bytes a URL may have.
    pub const LIMIT: usize = 8 << 10;

    /// The scheme, in lower case, as it was written.
    pub fn scheme(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// Scheme, hosts and ports, for people: no user, no password, no path.
    pub fn place(&self) -> String {
        parts(&self.0).map(|parts| format!("{}://{}", parts.scheme, parts.hosts)).unwrap_or_default()
    }

    /// Whether a host is the instance itself, which has a network of its own inside its walls.
    pub fn is_loopback(&self) -> bool {
        let hosts = parts(&self.0).map(|parts| parts.hosts).unwrap_or_default();
        hosts.split(',').any(|host| {
            let name = host_and_port(host).map_or(host, |(name, _)| name);
            name == "localhost" || name.ends_with(".localhost") || name == "[::1]" || name.starts_with("127.")
        })
    }

    /// The URL as an app gets it: `postgres://` becomes `postgresql://`, which every library
    /// takes, and `options` are put into its query.
    pub(crate) fn value(&self, options: &BTreeMap<String, String>) -> String {
        let url = match self.0.strip_prefix("postgres://") {
            Some(rest) => format!("postgresql://{rest}"),
            None => self.0.clone(),
        };
        with_options(&url, options)
    }
}

/// `url` with `options` in its query: each replaces the parameter of its name, and an empty one
/// leaves it out.
pub(crate) fn with_options(url: &str, options: &BTreeMap<String, String>) -> String {
    if options.is_empty() {
        return url.to_owned();
    }
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, fragment)| (url, Some(fragment)));
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let name_of = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !options.contains_key(&name_of(pair)));
    let added = options.iter().filter(|(_, value)| !value.is_empty());
    let pairs: Vec<String> = kept
        .map(str::to_owned)
        .chain(added.map(|(name, value)| format!("{name}={}", percent_encoded(value))))
        .collect();
    let query = if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{place}{query}{fragment}")
}

/// `text` with all but RFC 3986's unreserved characters escaped.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let encoded = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(encoded).collect()
}

/// The URL's parts, each checked.
fn parts(text: &str) -> Result<Parts<'_>, NotAServiceUrl> {
    if text.len() > ServiceUrl::LIMIT {
        return Err(NotAServiceUrl::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NotAServiceUrl::NotPlain);
    }
    let (scheme, rest) = text.split_once("://").ok_or(NotAServiceUrl::NoScheme)?;
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase())
        || !scheme.bytes().all(inner)
        || scheme.len() > 40
    {
        return Err(NotAServiceUrl::NoScheme);
    }
    if matches!(scheme, "sqlite" | "sqlite3" | "file" | "spatialite") {
        return Err(NotAServiceUrl::File);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if hosts.is_empty() {
        return Err(NotAServiceUrl::NoHost);
    }
    // Several hosts stand side by side for PostgreSQL, MongoDB and Kafka.
    hosts.split(',').try_for_each(|host| host_and_port(host).map(drop).ok_or(NotAServiceUrl::BadHost))?;
    if cuts_a_password(scheme, authority, rest) {
        return Err(NotAServiceUrl::BadHost);
    }
    Ok(Parts { scheme, hosts })
}

/// Whether a raw `/`, `?` or `#` in a password ended the authority too early: then an `@` stands
/// behind it, and what looks like a host is a part of the password. Elsewhere an `@` is written
/// `%40`; only a web address without a user may have one in its path.
fn cuts_a_password(scheme: &str, authority: &str, rest: &str) -> bool {
    let web = matches!(scheme, "http" | "https") && !authority.contains('@');
    rest.contains('@') && !web
}

/// The host and the port of `db.example.org:5432` or `[2001:db8::1]:5432`.
fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.rfind(']') {
        Some(end) => {
            (&text[..=end], text[end + 1..].strip_prefix(':').or(text[end + 1..].is_empty().then_some(""))?)
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=253).contains(&host.len()) && host.bytes().all(named),
    };
    let has_colon = text.len() > host.len();
    let port = if has_colon { Some(port.parse::<u16>().ok().filter(|port| *port > 0)?) } else { None };
    is_host.then_some((host, port))
}

impl FromStr for ServiceUrl {
    type Err = NotAServiceUrl;

    fn from_str(text: &str) -> Result<Self, NotAServiceUrl> {
        parts(text).map(|_| Self(text.to_owned()))
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServiceUrl").field(&self.place()).finish()
    }
}
