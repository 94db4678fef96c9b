//! What the router routes by: which host names belong to which stage, and how to reach it.
//!
//! Control makes a whole table at each change and numbers it; the router keeps the last one it
//! was given, on disk too, and never asks for more. A table is data only: the router builds its
//! own index for look-ups.
//!
//! An endpoint's id names one launch of one instance. The router counts requests in flight by it,
//! and control waits for that count to reach zero, so an id is never used twice.
//!
//! Start reading at [`RouteTable`]; [`RouteTable::check`] says what a table must keep to.

use std::{
    collections::HashSet,
    net::SocketAddr,
    path::{Component, Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    names::{AppName, Domain, InstanceName, StageName},
    release::ReleaseNumber,
    route_policy::RoutePolicy,
};

/// All routes of a server at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Grows with each table; the router refuses one that is older than its own.
    pub generation: u64,
    /// Host names that stand for the server itself, such as its base domain, in lower case and
    /// without a port. `localhost` and addresses always do.
    pub bare_hosts: Vec<String>,
    /// The stages that answer requests: those with a `web` process type or static files.
    pub stages: Vec<StageRoute>,
}

/// The routes of one stage of an app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageRoute {
    /// The app.
    pub app: AppName,
    /// Its stage.
    pub stage: StageName,
    /// The release that is current, absent before the first one.
    pub release: Option<ReleaseNumber>,
    /// Domains it answers to; no other stage has them. The first is the one to link to.
    pub domains: Vec<Domain>,
    /// Where requests go.
    pub target: Target,
    /// Whether instances are on their way: with no endpoint, requests are then held and not refused.
    #[serde(default)]
    pub waiting: bool,
    /// Which requests are held for now.
    #[serde(default)]
    pub hold: Hold,
    /// How long a request may be held, for whichever reason.
    #[serde(default = "default_hold_limit")]
    pub hold_limit: Duration,
    /// What is decided before a request goes to its target.
    #[serde(default)]
    pub policy: RoutePolicy,
}

impl StageRoute {
    /// How long a request may be held where nothing else is said.
    pub const HOLD_LIMIT: Duration = Duration::from_secs(30);
}

fn default_hold_limit() -> Duration {
    StageRoute::HOLD_LIMIT
}

/// Where the requests of a stage go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// To the instances that are ready.
    Endpoints(Vec<Endpoint>),
    /// To files that the router reads itself.
    Static(StaticSite),
}

/// Files that the router serves itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticSite {
    /// Absolute paths of the layers, lowest first; a file is looked for from the top. A layer
    /// never changes, so its path stands for its content in entity tags.
    pub layers: Vec<PathBuf>,
    /// The folder below each layer that holds the site, empty or `.` for the layer itself.
    #[serde(default)]
    pub root: PathBuf,
    /// The page for what is not found, below `root`; `404.html` when absent.
    #[serde(default)]
    pub not_found: Option<PathBuf>,
}

/// Which requests of a stage are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// None.
    #[default]
    None,
    /// Those that may change something: all methods but GET, HEAD, OPTIONS and TRACE.
    Unsafe,
}

/// How to reach one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Names one launch of one instance: 1 to 128 printable ASCII characters, never used again.
    pub id: String,
    /// The instance.
    pub instance: InstanceName,
    /// The release it runs.
    pub release: ReleaseNumber,
    /// Where it listens.
    pub address: EndpointAddress,
}

/// Where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointAddress {
    /// A TCP port that the router can connect to.
    Tcp(SocketAddr),
}

/// Why a table is not one to route by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteTableError {
    /// Two stages claim one domain.
    #[error("two stages own the domain `{0}`")]
    DomainTwice(Domain),
    /// One stage is listed twice.
    #[error("stage `{1}` of app `{0}` is listed twice")]
    StageTwice(AppName, StageName),
    /// One endpoint is listed twice.
    #[error("two endpoints have the id `{0}`")]
    EndpointTwice(String),
    /// An id that is empty, too long or not printable.
    #[error("`{}` is not an endpoint id", .0.escape_default())]
    EndpointId(String),
    /// The path of a static site or of error pages could lead outside its layers.
    #[error("`{}` is not a path of files that the router reads", .0.display())]
    StaticPath(PathBuf),
}

impl RouteTable {
    /// Checks what one stage's route cannot promise alone: one owner for each domain, unique
    /// endpoint ids, and static paths that stay below their layers.
    pub fn check(&self) -> Result<(), RouteTableError> {
        let (mut domains, mut stages, mut endpoints) = (HashSet::new(), HashSet::new(), HashSet::new());
        for route in &self.stages {
            if !stages.insert((&route.app, &route.stage)) {
                return Err(RouteTableError::StageTwice(route.app.clone(), route.stage.clone()));
            }
            if let Some(domain) = route.domains.iter().find(|domain| !domains.insert(*domain)) {
                return Err(RouteTableError::DomainTwice(domain.clone()));
            }
            if let Some(pages) = &route.policy.error_pages {
                check_folder(&pages.layer, &pages.folder)?;
            }
            match &route.target {
                Target::Static(site) => site.check()?,
                Target::Endpoints(list) => {
                    for endpoint in list {
                        endpoint.check()?;
                        if !endpoints.insert(&endpoint.id) {
                            return Err(RouteTableError::EndpointTwice(endpoint.id.clone()));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Endpoint {
    fn check(&self) -> Result<(), RouteTableError> {
        let is_id = (1..=128).contains(&self.id.len()) && self.id.bytes().all(|b| b.is_ascii_graphic());
        if is_id { Ok(()) } else { Err(RouteTableError::EndpointId(self.id.clone())) }
    }
}

impl StaticSite {
    fn check(&self) -> Result<(), RouteTableError> {
        let outside = self.layers.iter().find(|layer| !layer.is_absolute());
        let outside = outside.or_else(|| Some(&self.root).filter(|root| !stays_below(root)));
        let outside = outside.or_else(|| self.not_found.as_ref().filter(|page| !stays_below(page)));
        outside.map_or(Ok(()), |path| Err(RouteTableError::StaticPath(path.clone())))
    }
}

fn check_folder(layer: &Path, folder: &Path) -> Result<(), RouteTableError> {
    let outside = Some(layer).filter(|layer| !layer.is_absolute());
    let outside = outside.or_else(|| Some(folder).filter(|folder| !stays_below(folder)));
    outside.map_or(Ok(()), |path| Err(RouteTableError::StaticPath(path.to_owned())))
}

fn stays_below(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(app: &str, domain: &str, target: Target) -> StageRoute {
        StageRoute {
            app: app.parse().unwrap(),
            stage: StageName::production(),
            release: Some(ReleaseNumber(1)),
            domains: vec![domain.parse().unwrap()],
            target,
            waiting: false,
            hold: Hold::None,
            hold_limit: StageRoute::HOLD_LIMIT,
            policy: RoutePolicy::default(),
        }
    }

    fn endpoint(id: &str) -> Endpoint {
        Endpoint {
            id: id.to_owned(),
            instance: "web.1".parse().unwrap(),
            release: ReleaseNumber(1),
            address: EndpointAddress::Tcp(([127, 0, 0, 1], 8000).into()),
        }
    }

    fn table(stages: Vec<StageRoute>) -> RouteTable {
        RouteTable { generation: 1, bare_hosts: Vec::new(), stages }
    }

    #[test]
    fn a_table_survives_its_text() {
        let site = StaticSite { layers: vec!["/layers/a".into()], root: "public".into(), not_found: None };
        let before = table(vec![
            route("a", "a.localhost", Target::Endpoints(vec![endpoint("a-1")])),
            route("b", "b.localhost", Target::Static(site)),
        ]);
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<RouteTable>(&text).unwrap(), before);
        assert_eq!(before.check(), Ok(()));
    }

    #[test]
    fn one_domain_has_one_owner() {
        let none = || Target::Endpoints(Vec::new());
        let twice = table(vec![route("a", "x.localhost", none()), route("b", "x.localhost", none())]);
        assert_eq!(twice.check(), Err(RouteTableError::DomainTwice("x.localhost".parse().unwrap())));
        let twice = table(vec![route("a", "x.localhost", none()), route("a", "y.localhost", none())]);
        assert!(matches!(twice.check(), Err(RouteTableError::StageTwice(..))));
    }

    #[test]
    fn an_endpoint_id_is_used_once_and_printable() {
        let twice = Target::Endpoints(vec![endpoint("e"), endpoint("e")]);
        assert!(matches!(
            table(vec![route("a", "a.b", twice)]).check(),
            Err(RouteTableError::EndpointTwice(_))
        ));
        for bad in ["", "a b", "a\n", &"x".repeat(129)] {
            let target = Target::Endpoints(vec![endpoint(bad)]);
            let checked = table(vec![route("a", "a.b", target)]).check();
            assert!(matches!(checked, Err(RouteTableError::EndpointId(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_static_path_stays_below_its_layer() {
        let site = |layer: &str, root: &str, page: Option<&str>| StaticSite {
            layers: vec![layer.into()],
            root: root.into(),
            not_found: page.map(PathBuf::from),
        };
        assert!(site("/l", ".", Some("404.html")).check().is_ok());
        for bad in [
            site("l", "", None),
            site("/l", "../x", None),
            site("/l", "/etc", None),
            site("/l", "", Some("../p")),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
