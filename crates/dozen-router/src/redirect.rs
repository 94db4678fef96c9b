//! Where a request is sent instead of to its app: to HTTPS, to the host with or without `www.`, or
//! by a rule of the app's repository.
//!
//! A request in the clear goes to HTTPS on the same host first, as browsers want it that are told to
//! come that way alone. An address is never made of anything that a client wrote but the path and
//! the query: not of a host that the stage does not have.
//!
//! Start reading at [`Redirects::find`] and [`https_port`].

use std::collections::{HashMap, HashSet};

use dozen_model::{
    manifest::{HttpsRedirect, Redirect, RouterSettings},
    names::Domain,
};
use http::{Method, StatusCode};

use crate::{
    connection::Client,
    exchange::Exchange,
    h_code::HCode,
    http1::{
        fields::{Field, Name},
        request::RequestHead,
    },
    policy::{Facts, Policy},
};

const HTTPS: u16 = 443;

/// An answer that sends its client elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redirection {
    pub(crate) status: StatusCode,
    pub(crate) location: String,
    pub(crate) code: HCode,
    /// Whether the app itself says that it is for good.
    pub(crate) is_declared_for_good: bool,
}

/// The redirects of a stage.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    rules: Vec<Redirect>,
    /// The rules for one path, by it.
    exact: HashMap<String, Vec<usize>>,
    /// The rules for all paths that begin with theirs.
    prefixes: Vec<usize>,
    /// Host to the host that answers in its place.
    hosts: HashMap<String, String>,
}

impl Redirects {
    /// What a stage with these domains declares. A host leads to another one only if the stage has
    /// both: else nobody might answer there, or somebody else.
    pub(crate) fn new(declared: &RouterSettings, domains: &[Domain]) -> Self {
        let own: HashSet<&str> = domains.iter().map(Domain::as_str).collect();
        let www = |host: &&str| {
            let other = declared.www?.instead_of(host).filter(|other| own.contains(other.as_str()))?;
            Some(((*host).to_owned(), other))
        };
        let mut redirects = Self {
            hosts: own.iter().filter_map(www).collect(),
            rules: declared.redirects.clone(),
            ..Self::default()
        };
        for (index, rule) in redirects.rules.iter().enumerate() {
            if rule.from.is_prefix() {
                redirects.prefixes.push(index);
            } else {
                redirects.exact.entry(rule.from.path().to_owned()).or_default().push(index);
            }
        }
        redirects
    }

    /// Where a request is sent: to the host that answers, then by the first rule that is for it.
    pub(crate) fn find(&self, facts: &Facts<'_>) -> Option<Redirection> {
        if let Some(other) = self.hosts.get(facts.host.name()) {
            let scheme = if facts.is_https { "https" } else { "http" };
            // A colon without a port is none.
            let port = Some(facts.host.port()).filter(|port| port.len() > 1).unwrap_or_default();
            let location = format!("{scheme}://{other}{port}{}", facts.target);
            return Some(Redirection::of(facts.method, location, HCode::Redirected));
        }
        let (path, query) = match facts.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (facts.target, None),
        };
        let look = |index: &usize| {
            let rule = self.rules.get(*index)?;
            Some((*index, rule, rule.location(facts.host.name(), path, query)?))
        };
        let exact = self.exact.get(path).and_then(|list| list.iter().find_map(look));
        let prefix = self.prefixes.iter().find_map(look);
        let (_, rule, location) = exact.into_iter().chain(prefix).min_by_key(|(index, ..)| *index)?;
        let status = StatusCode::from_u16(rule.status).ok()?;
        let is_declared_for_good =
            matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT);
        Some(Redirection { status, location, code: HCode::Redirected, is_declared_for_good })
    }
}

impl Redirection {
    /// The same address by HTTPS.
    pub(crate) fn to_https(facts: &Facts<'_>, port: u16) -> Self {
        let port = if port == HTTPS { String::new() } else { format!(":{port}") };
        let location = format!("https://{}{port}{}", facts.host.name(), facts.target);
        Self::of(facts.method, location, HCode::NeedsHttps)
    }

    /// With 301 for what only reads, and 308 for the rest: a client repeats it as it was.
    fn of(method: &Method, location: String, code: HCode) -> Self {
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let status = if is_read { StatusCode::MOVED_PERMANENTLY } else { StatusCode::PERMANENT_REDIRECT };
        Self { status, location, code, is_declared_for_good: false }
    }
}

/// The port at which a request is to come again by HTTPS; `None` when it is fine as it is.
pub(crate) fn https_port(
    client: &Client,
    head: &RequestHead<'_>,
    exchange: &Exchange,
    policy: &Policy,
) -> Option<u16> {
    if exchange.origin.is_https {
        return None;
    }
    let listener = client.room.https_port;
    let is_wanted = match policy.https() {
        HttpsRedirect::Off => false,
        HttpsRedirect::Redirect => true,
        HttpsRedirect::Auto => {
            let has_certificate = || client.room.tls.certificates.index().find(head.host.name()).is_some();
            listener.is_some() && has_certificate()
        }
    };
    if !is_wanted || leads_in_circles(client, head) {
        return None;
    }
    Some(policy.https_port().or(listener).unwrap_or(HTTPS))
}

/// Whether something before the router may have spoken HTTPS already and would be sent back to it
/// without end: a trusted proxy that does not say, or any other that says so. Nobody is
/// believed for it: who only claims it is served as they came.
fn leads_in_circles(client: &Client, head: &RequestHead<'_>) -> bool {
    let (mut is_said, mut says_https) = (false, false);
    for Field { known, value, .. } in head.fields.iter() {
        match known {
            Name::XForwardedProto => {
                is_said = true;
                says_https |= value.eq_ignore_ascii_case(b"https");
            }
            Name::Forwarded => is_said = true,
            _ => {}
        }
    }
    if client.peer.is_trusted { !is_said } else { says_https }
}

#[cfg(test)]
mod tests {
    use dozen_model::manifest::Www;

    use super::*;
    use crate::host::HostName;

    fn domains(names: &[&str]) -> Vec<Domain> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn rules(rules: &[(&str, &str, u16)]) -> RouterSettings {
        let read = |(from, to, status): &(&str, &str, u16)| Redirect::read(from, to, *status, true).unwrap();
        RouterSettings { redirects: rules.iter().map(read).collect(), ..RouterSettings::default() }
    }

    fn found(redirects: &Redirects, method: Method, host: &str, target: &str) -> Option<(u16, String)> {
        let host = HostName::parse(host.as_bytes()).unwrap();
        let facts = Facts { method: &method, host: &host, target, ..Facts::default() };
        redirects.find(&facts).map(|to| (to.status.as_u16(), to.location))
    }

    #[test]
    fn www_leads_to_a_host_that_the_stage_has_and_to_no_other() {
        let declared = |www| RouterSettings { www: Some(www), ..RouterSettings::default() };
        let own = domains(&["www.a.org", "a.org", "www.b.org", "c.org"]);
        let to_bare = Redirects::new(&declared(Www::ToBare), &own);
        let to_www = Redirects::new(&declared(Www::ToWww), &own);
        let off = Redirects::new(&declared(Www::Off), &own);
        let see = |redirects, method, host| found(redirects, method, host, "/x?y=1");
        assert_eq!(see(&to_bare, Method::GET, "www.a.org:81"), Some((301, "http://a.org:81/x?y=1".into())));
        assert_eq!(see(&to_bare, Method::POST, "WWW.a.org"), Some((308, "http://a.org/x?y=1".into())));
        assert_eq!(see(&to_www, Method::GET, "a.org"), Some((301, "http://www.a.org/x?y=1".into())));
        for (redirects, host) in [
            (&to_bare, "a.org"),
            (&to_bare, "www.b.org"),
            (&to_www, "www.a.org"),
            (&to_www, "c.org"),
            (&off, "a.org"),
        ] {
            assert_eq!(see(redirects, Method::GET, host), None, "{host}");
        }
    }

    #[test]
    fn the_first_rule_that_is_for_a_request_counts() {
        let rules = rules(&[
            ("/blog/new", "/news", 302),
            ("/blog/*", "/articles/*", 301),
            ("/blog/old", "/never", 307),
            ("old.org", "https://new.org", 308),
            ("/*", "/", 307),
        ]);
        let redirects = Redirects::new(&rules, &[]);
        for (host, target, status, location) in [
            ("a.org", "/blog/new?q", 302, "/news?q"),
            ("a.org", "/blog/old", 301, "/articles/old"),
            ("a.org", "/blog/", 301, "/articles/"),
            ("old.org", "/x/y?z", 308, "https://new.org/x/y?z"),
            ("a.org", "/x", 307, "/"),
        ] {
            let expected = Some((status, location.to_owned()));
            assert_eq!(found(&redirects, Method::GET, host, target), expected, "{host}{target}");
        }
        assert_eq!(found(&redirects, Method::GET, "a.org", "/"), None, "it is there already");
    }

    #[test]
    fn https_has_its_port_where_it_is_not_443() {
        let host = HostName::parse(b"Shop.org:1212").unwrap();
        let facts = Facts { host: &host, target: "/a?b", ..Facts::default() };
        assert_eq!(Redirection::to_https(&facts, 443).location, "https://shop.org/a?b");
        assert_eq!(Redirection::to_https(&facts, 8443).location, "https://shop.org:8443/a?b");
    }
}
