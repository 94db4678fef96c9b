//! The route table in use, shared by all threads, and what each endpoint has in flight.
//!
//! The promise control stops instances by: once [`Board::swap`] has returned, the in-flight count
//! of an endpoint that is not in the new table can only fall. A request counts itself first and
//! looks at the generation again afterwards ([`Board::pick`]); a swap raises the generation first
//! and control reads the counts afterwards. Whichever came first, the other one sees it.
//!
//! Counters belong to endpoint ids and survive swaps. Start reading at [`Board`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use dozen_model::route_table::{EndpointAddress, Hold, RouteTable, StageRoute, StaticSite, Target};
use http::Method;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{
    access_log::LogKey, error::RouterError, fast_map::FastMap, host::HostName, meter::StageMeter,
    policy::Policy, protocol::EndpointLoad, rotation::Rotation,
};

/// What one endpoint has in flight, in all threads, whatever tables come and go.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) id: String,
    /// Never used twice in this process, unlike an address.
    pub(crate) key: u64,
    requests: AtomicUsize,
    upgraded: AtomicUsize,
    unsafe_requests: AtomicUsize,
    pub(crate) rotation: Rotation,
    /// Whether upgraded connections are to end.
    pub(crate) closing: watch::Sender<bool>,
}

/// One endpoint of a table.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) instance: String,
    pub(crate) release: String,
    pub(crate) load: Arc<Load>,
}

/// Where a stage's requests go.
#[derive(Debug)]
pub(crate) enum Way {
    Endpoints(Vec<Arc<Endpoint>>),
    Static(Arc<StaticSite>),
}

impl Way {
    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        match self {
            Self::Endpoints(list) => list,
            Self::Static(_) => &[],
        }
    }
}

/// One stage of a table.
#[derive(Debug)]
pub(crate) struct Stage {
    /// `app/stage`.
    pub(crate) name: Arc<str>,
    pub(crate) log: Arc<LogKey>,
    pub(crate) release: String,
    pub(crate) way: Way,
    pub(crate) domain: Option<String>,
    pub(crate) hold_limit: Duration,
    pub(crate) policy: Arc<Policy>,
    pub(crate) meter: Arc<StageMeter>,
    waiting: bool,
    hold: Hold,
    turn: AtomicUsize,
}

/// The index of one table.
#[derive(Debug)]
pub(crate) struct Routes {
    pub(crate) generation: u64,
    table: RouteTable,
    by_domain: FastMap<String, Arc<Stage>>,
    by_name: FastMap<Arc<str>, Arc<Stage>>,
    bare: HashSet<String>,
    /// The keys of all endpoints: each is asked for at each change, so a search would be quadratic.
    endpoints: HashSet<u64>,
    /// In the table's order.
    pub(crate) stages: Vec<Arc<Stage>>,
}

/// What a host name stands for.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Stage(&'a Arc<Stage>),
    /// The server itself, when it has several apps or none.
    Server,
    Nothing,
}

/// An endpoint was looked for.
#[derive(Debug)]
pub(crate) enum Picked {
    One(InFlight),
    /// All were tried, or there is none.
    None,
    /// The table changed meanwhile: look again in the new one.
    Changed,
}

/// One request counted at an endpoint, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) endpoint: Arc<Endpoint>,
    upgraded: bool,
    is_unsafe: bool,
}

impl InFlight {
    /// Counts the request as an upgraded connection from now on.
    pub(crate) fn upgrade(&mut self) {
        if !self.upgraded {
            self.upgraded = true;
            // Up before down: a reader between the two must not see nothing.
            self.endpoint.load.upgraded.fetch_add(1, SeqCst);
            self.endpoint.load.requests.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let load = &self.endpoint.load;
        let counter = if self.upgraded { &load.upgraded } else { &load.requests };
        counter.fetch_sub(1, SeqCst);
        if self.is_unsafe {
            load.unsafe_requests.fetch_sub(1, SeqCst);
        }
    }
}

/// Whether a request of this method may change something.
fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

impl Stage {
    /// Whether this request is to wait although there may be endpoints.
    pub(crate) fn holds(&self, method: &Method) -> bool {
        let by_phase = match self.hold {
            Hold::None => false,
            Hold::Unsafe => is_unsafe(method),
        };
        by_phase || self.policy.paused_until().is_some()
    }

    /// Whether a request without an endpoint has something to wait for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting || matches!(&self.way, Way::Endpoints(list) if !list.is_empty())
    }
}

impl Routes {
    /// What `host` stands for.
    pub(crate) fn find(&self, host: &HostName) -> Found<'_> {
        if let Some(stage) = self.by_domain.get(host.name()) {
            Found::Stage(stage)
        } else if host.is_address() || host.name() == "localhost" || self.bare.contains(host.name()) {
            match &self.stages[..] {
                [only] => Found::Stage(only),
                _ => Found::Server,
            }
        } else {
            Found::Nothing
        }
    }

    /// The hosts of the server itself.
    pub(crate) fn bare_hosts(&self) -> impl Iterator<Item = &str> {
        self.bare.iter().map(String::as_str)
    }

    /// A stage by its `app/stage` name.
    pub(crate) fn stage(&self, name: &str) -> Option<&Arc<Stage>> {
        self.by_name.get(name)
    }

    /// Whether the endpoint with this key is in the table.
    pub(crate) fn has_endpoint(&self, key: u64) -> bool {
        self.endpoints.contains(&key)
    }
}

/// The table in use.
#[derive(Debug)]
pub(crate) struct Board {
    current: ArcSwap<Routes>,
    generation: AtomicU64,
    changes: watch::Sender<u64>,
    /// All endpoints of the current table, and those of earlier ones that have requests left.
    loads: Mutex<HashMap<String, Arc<Load>>>,
    next_key: AtomicU64,
}

impl Board {
    /// A board without routes.
    pub(crate) fn empty() -> Self {
        let nothing = Routes {
            generation: 0,
            table: RouteTable::default(),
            by_domain: FastMap::default(),
            by_name: FastMap::default(),
            bare: HashSet::new(),
            endpoints: HashSet::new(),
            stages: Vec::new(),
        };
        Self {
            current: ArcSwap::from_pointee(nothing),
            generation: AtomicU64::new(0),
            changes: watch::Sender::new(0),
            loads: Mutex::default(),
            next_key: AtomicU64::new(1),
        }
    }

    /// The table in use.
    pub(crate) fn routes(&self) -> arc_swap::Guard<Arc<Routes>> {
        self.current.load()
    }

    /// The number of the table in use.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Told at every swap.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether `table` may follow the current one; `false` when it is the current one.
    pub(crate) fn accepts(&self, table: &RouteTable) -> Result<bool, RouterError> {
        table.check()?;
        let routes = self.routes();
        match table.generation.cmp(&routes.generation) {
            std::cmp::Ordering::Greater => Ok(true),
            std::cmp::Ordering::Less => {
                Err(RouterError::Stale { offered: table.generation, current: routes.generation })
            }
            std::cmp::Ordering::Equal if *table == routes.table => Ok(false),
            std::cmp::Ordering::Equal => Err(RouterError::Conflict(table.generation)),
        }
    }

    /// Routes by `table` from now on. The caller has asked [`Board::accepts`] and is the only one
    /// to swap.
    pub(crate) fn swap(&self, table: RouteTable) {
        let mut loads = self.loads.lock();
        let routes = Arc::new(self.index(table, &mut loads));
        let generation = routes.generation;
        self.current.store(Arc::clone(&routes));
        self.generation.store(generation, SeqCst);
        // Only now: until the generation is raised, a request may begin to count at an endpoint
        // that looks idle here, and it is sent there.
        loads.retain(|_, load| load.is_busy() || routes.has_endpoint(load.key));
        drop(loads);
        self.changes.send_replace(generation);
    }

    /// What every known endpoint has in flight.
    pub(crate) fn in_flight(&self) -> BTreeMap<String, EndpointLoad> {
        let loads = self.loads.lock();
        let load = |load: &Arc<Load>| EndpointLoad {
            // The order matters, see `InFlight::upgrade`.
            requests: load.requests.load(SeqCst),
            upgraded: load.upgraded.load(SeqCst),
            unsafe_requests: load.unsafe_requests.load(SeqCst),
        };
        loads.iter().map(|(id, counted)| (id.clone(), load(counted))).collect()
    }

    /// Tells the upgraded connections of an endpoint to end; returns how many there are.
    pub(crate) fn close_upgraded(&self, id: &str) -> usize {
        let Some(load) = self.loads.lock().get(id).cloned() else { return 0 };
        let open = load.upgraded.load(SeqCst);
        load.closing.send_replace(true);
        open
    }

    /// Requests held now.
    pub(crate) fn held(&self) -> usize {
        self.routes().stages.iter().map(|stage| stage.meter.held_now.load(Relaxed)).sum()
    }

    /// Picks the endpoint with the least in flight among those not in `tried`, in turn where they
    /// are equal, and counts the request there. Those out of rotation come last.
    pub(crate) fn pick(&self, routes: &Routes, stage: &Stage, method: &Method, tried: &[u64]) -> Picked {
        let Way::Endpoints(list) = &stage.way else { return Picked::None };
        let start = if list.len() > 1 { stage.turn.fetch_add(1, Relaxed) % list.len() } else { 0 };
        let (before, after) = list.split_at(start);
        let in_turn = after.iter().chain(before);
        let untried = in_turn.filter(|endpoint| !tried.contains(&endpoint.load.key));
        let least = |load: &Load| load.requests.load(Relaxed) + load.upgraded.load(Relaxed);
        let in_rotation = untried.clone().filter(|endpoint| endpoint.load.rotation.is_in());
        let picked = in_rotation.min_by_key(|endpoint| least(&endpoint.load));
        let picked = picked.or_else(|| untried.min_by_key(|endpoint| least(&endpoint.load)));
        let Some(endpoint) = picked else { return Picked::None };
        endpoint.load.requests.fetch_add(1, SeqCst);
        let is_unsafe = is_unsafe(method);
        if is_unsafe {
            endpoint.load.unsafe_requests.fetch_add(1, SeqCst);
        }
        let counted = InFlight { endpoint: Arc::clone(endpoint), upgraded: false, is_unsafe };
        let is_current = self.generation.load(SeqCst) == routes.generation;
        if is_current { Picked::One(counted) } else { Picked::Changed }
    }

    fn index(&self, table: RouteTable, loads: &mut HashMap<String, Arc<Load>>) -> Routes {
        let stages: Vec<_> = table.stages.iter().map(|route| Arc::new(self.stage(route, loads))).collect();
        let domains = table.stages.iter().zip(&stages).flat_map(|(route, stage)| {
            route.domains.iter().map(|domain| (domain.as_str().to_owned(), Arc::clone(stage)))
        });
        Routes {
            generation: table.generation,
            by_domain: domains.collect(),
            by_name: stages.iter().map(|stage| (Arc::clone(&stage.name), Arc::clone(stage))).collect(),
            endpoints: stages
                .iter()
                .flat_map(|stage| stage.way.endpoints())
                .map(|one| one.load.key)
                .collect(),
            bare: table.bare_hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            stages,
            table,
        }
    }

    fn stage(&self, route: &StageRoute, loads: &mut HashMap<String, Arc<Load>>) -> Stage {
        let name: Arc<str> = format!("{}/{}", route.app, route.stage).into();
        let routes = self.routes();
        let old = routes.stage(&name);
        let meter = old.map(|old| Arc::clone(&old.meter)).unwrap_or_default();
        let policy = Policy::new(&route.policy, &route.domains, old.map(|old| &*old.policy));
        let way = match &route.target {
            Target::Static(site) => Way::Static(Arc::new(site.clone())),
            Target::Endpoints(list) => {
                let endpoint = |endpoint: &dozen_model::route_table::Endpoint| {
                    let EndpointAddress::Tcp(address) = endpoint.address;
                    let load =
                        loads.entry(endpoint.id.clone()).or_insert_with(|| self.new_load(&endpoint.id));
                    Arc::new(Endpoint {
                        address,
                        instance: endpoint.instance.to_string(),
                        release: endpoint.release.to_string(),
                        load: Arc::clone(load),
                    })
                };
                Way::Endpoints(list.iter().map(endpoint).collect())
            }
        };
        Stage {
            name,
            log: Arc::new(LogKey { app: route.app.to_string(), stage: route.stage.to_string() }),
            release: route.release.map(|release| release.to_string()).unwrap_or_default(),
            way,
            domain: route.domains.first().map(ToString::to_string),
            hold_limit: route.hold_limit,
            policy: Arc::new(policy),
            meter,
            waiting: route.waiting,
            hold: route.hold,
            turn: AtomicUsize::new(0),
        }
    }

    fn new_load(&self, id: &str) -> Arc<Load> {
        Arc::new(Load {
            id: id.to_owned(),
            key: self.next_key.fetch_add(1, Relaxed),
            requests: AtomicUsize::new(0),
            upgraded: AtomicUsize::new(0),
            unsafe_requests: AtomicUsize::new(0),
            rotation: Rotation::default(),
            closing: watch::Sender::new(false),
        })
    }
}

impl Load {
    fn is_busy(&self) -> bool {
        self.requests.load(SeqCst) + self.upgraded.load(SeqCst) > 0
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread};

    use super::*;
    use crate::rotation::Trouble;

    /// A table with one instance, of an id of its own.
    fn table(generation: u64) -> RouteTable {
        let endpoint = dozen_model::route_table::Endpoint {
            id: generation.to_string(),
            instance: "web.1".parse().unwrap(),
            release: dozen_model::release::ReleaseNumber(1),
            address: EndpointAddress::Tcp(([127, 0, 0, 1], 1).into()),
        };
        let stage = StageRoute {
            app: "a".parse().unwrap(),
            stage: dozen_model::names::StageName::production(),
            release: None,
            domains: Vec::new(),
            target: Target::Endpoints(vec![endpoint]),
            waiting: false,
            hold: Hold::None,
            hold_limit: StageRoute::HOLD_LIMIT,
            policy: Default::default(),
        };
        RouteTable { generation, bare_hosts: Vec::new(), stages: vec![stage] }
    }

    #[test]
    fn what_is_out_of_rotation_is_picked_last_but_it_is_picked() {
        let board = Board::empty();
        let mut two = table(1);
        let Target::Endpoints(list) = &mut two.stages[0].target else { panic!("endpoints") };
        list.push(dozen_model::route_table::Endpoint { id: "2".into(), ..list[0].clone() });
        board.swap(two);
        let routes = board.routes();
        let stage = routes.stage("a/production").unwrap();
        let [one, other] = stage.way.endpoints() else { panic!("two of them") };
        let picked = |tried: &[u64]| match board.pick(&routes, stage, &Method::GET, tried) {
            Picked::One(in_flight) => Some(in_flight.endpoint.load.key),
            _ => None,
        };
        let [one_key, other_key] = [one.load.key, other.load.key];
        one.load.rotation.note(Trouble::Refused);
        assert!((0..10).all(|_| picked(&[]) == Some(other_key)));
        assert_eq!(picked(&[other_key]), Some(one_key), "it is tried before a request waits");
        other.load.rotation.set_unwell(true);
        assert!((0..10).all(|_| picked(&[]).is_some()), "none is left, so all are");
        assert_eq!(picked(&[one_key, other_key]), None);
    }

    #[test]
    fn a_request_that_may_be_sent_is_counted_whatever_tables_come() {
        let board = Board::empty();
        board.swap(table(1));
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let picking = scope.spawn(|| {
                let mut picked = 0;
                while !is_over.load(SeqCst) {
                    let routes = board.routes();
                    let stage = routes.stage("a/production").unwrap();
                    if let Picked::One(in_flight) = board.pick(&routes, stage, &Method::GET, &[]) {
                        let counted = board.in_flight();
                        let load = counted.get(&in_flight.endpoint.load.id);
                        assert!(load.is_some_and(|load| load.requests > 0), "{counted:?}");
                        picked += 1;
                    }
                }
                picked
            });
            for generation in 2..100_000 {
                board.swap(table(generation));
                if picking.is_finished() {
                    break;
                }
            }
            is_over.store(true, SeqCst);
            assert!(picking.join().unwrap() > 0);
        });
    }
}
