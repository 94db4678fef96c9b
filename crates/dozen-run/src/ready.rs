//! Readiness: when an instance may get its first request.
//!
//! ```text
//! started --accepts on PORT--> asked for `/` --below 500--> ready
//!                                   (a declared health path: 2xx or 3xx)
//! ```
//!
//! The promise: an instance that is called ready has answered a request for the app's real host
//! from inside its own walls, and one that is not is told apart by what was *seen*: it ended, it
//! listens somewhere else, it is silent, it refused its own host, it answered 5xx. A 400 to the
//! app's own host is not ready, although it is below 500: Django gives it to every visitor
//! until ALLOWED_HOSTS is right, and a release that serves nobody must not replace one that does.
//!
//! It relies on the [`Supervisor`] to notice the end of the instance. It starts and stops
//! nothing: the caller decides what becomes of an instance that is not ready.
//!
//! Start reading at [`wait_ready`]; a process type without endpoint goes through [`wait_alive`].

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{LaunchId, supervisor::Supervisor};

mod not_ready;
mod probe_client;

pub use not_ready::NotReady;
use not_ready::Seconds;
use probe_client::{Question, Reply, ask};

/// How long a process without endpoint must live to be called ready.
pub const ALIVE_AFTER: Duration = Duration::from_secs(1);

/// The pause while nothing listens: a refused connection costs next to nothing, and each moment
/// after the first `listen` is a moment more until the app serves.
const UNTIL_IT_LISTENS: Duration = Duration::from_millis(10);

/// For so long; who has not listened by then takes its time.
const IN_A_HURRY: Duration = Duration::from_secs(10);

/// The pauses after an answer that is not good enough: the first and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// How long a 400 to the app's own host is asked again: a setting of the app does not mend
/// itself, so waiting longer only makes a failed deploy slower.
const HOST_PATIENCE: Duration = Duration::from_secs(3);

/// When and how often the sockets inside are looked at while nothing listens on the port.
const LISTENERS_EVERY: Duration = Duration::from_secs(1);

/// How an instance is asked whether it is ready.
#[derive(Debug, Clone)]
pub struct Probe {
    /// Where it is reached; the port is its `PORT`.
    pub address: SocketAddr,
    /// The path that must answer 2xx or 3xx; without one, `/` must answer below 500.
    pub health_path: Option<String>,
    /// The app's real host, as a visitor's browser sends it.
    pub host: String,
    /// The scheme of its visitors, `http` or `https`.
    pub proto: String,
    /// How long it may take in all.
    pub timeout: Duration,
}

impl Probe {
    /// The path that is asked for.
    pub fn path(&self) -> &str {
        self.health_path.as_deref().unwrap_or("/")
    }

    fn accepts(&self, status: u16) -> bool {
        match self.health_path {
            Some(_) => (200..400).contains(&status),
            None => status < 500 && status != 400,
        }
    }
}

/// What one probe saw; its `Display` is a line of the deploy log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Nothing listens on the port yet.
    NotListening {
        /// Where processes inside listen instead, as far as that was looked at.
        elsewhere: Vec<SocketAddr>,
    },
    /// A connection was accepted and nothing came back in the time given.
    Silent {
        /// That time.
        waited: Duration,
    },
    /// A connection was accepted and closed without an answer.
    Closed,
    /// What came back is not HTTP; its first bytes, printable.
    NotHttp(String),
    /// Something that is not part of the instance answers on its port.
    Stranger,
    /// An answer.
    Answered {
        /// Its status.
        status: u16,
        /// Where a redirect leads, printable.
        location: Option<String>,
    },
    /// A process without endpoint has lived long enough.
    Alive,
}

impl fmt::Display for ProbeAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListening { elsewhere } if elsewhere.is_empty() => f.write_str("does not listen yet"),
            Self::NotListening { elsewhere } => {
                let addresses: Vec<String> = elsewhere.iter().map(ToString::to_string).collect();
                write!(f, "does not listen on `PORT`, but on {}", addresses.join(", "))
            }
            Self::Silent { waited } => write!(f, "no answer within {}", Seconds(*waited)),
            Self::Closed => f.write_str("closed the connection without an answer"),
            Self::NotHttp(start) => write!(f, "not HTTP/1.1: `{start}`"),
            Self::Stranger => f.write_str("another process of this machine answers on `PORT`"),
            Self::Answered { status, location: Some(to) } => write!(f, "answered {status} to `{to}`"),
            Self::Answered { status, location: None } => write!(f, "answered {status}"),
            Self::Alive => f.write_str("is running"),
        }
    }
}

/// An instance that is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// From the call to the answer.
    pub took: Duration,
    /// The answer that decided.
    pub answer: ProbeAnswer,
}

/// Probes an instance until it is ready, ends, or has used up its time.
///
/// Every answer goes to `on_attempt`, repeated ones too. Blocks the calling thread; the wait
/// ends at once when the supervisor sees the instance end.
pub fn wait_ready(
    probe: &Probe,
    id: &LaunchId,
    supervisor: &Supervisor,
    on_attempt: &mut dyn FnMut(ProbeAnswer),
) -> Result<Ready, NotReady> {
    let mut wait = Wait::new(probe, id, supervisor);
    loop {
        wait.check_alive(Duration::ZERO)?;
        let answer = wait.attempt();
        let answer = wait.lasting(answer);
        on_attempt(answer.clone());
        if let ProbeAnswer::Answered { status, .. } = &answer
            && probe.accepts(*status)
        {
            return Ok(Ready { took: wait.began.elapsed(), answer });
        }
        let pause = wait.pause_after(&answer);
        wait.note(answer)?;
        wait.check_alive(pause)?;
    }
}

/// Waits until a process without endpoint has lived for `alive_after`, usually [`ALIVE_AFTER`].
pub fn wait_alive(id: &LaunchId, supervisor: &Supervisor, alive_after: Duration) -> Result<Ready, NotReady> {
    let began = Instant::now();
    match supervisor.first_exit_within(id, alive_after) {
        Some(reason) => Err(NotReady::Exited { reason, after: began.elapsed(), serves: false }),
        None => Ok(Ready { took: began.elapsed(), answer: ProbeAnswer::Alive }),
    }
}

/// One wait for readiness, between two probes.
struct Wait<'a> {
    probe: &'a Probe,
    id: &'a LaunchId,
    supervisor: &'a Supervisor,
    began: Instant,
    pause: Duration,
    /// Where it listens instead of its port, and when that was looked at.
    elsewhere: Vec<SocketAddr>,
    looked: Instant,
    /// The last answer before the time was up.
    last: Option<ProbeAnswer>,
    /// The start of an unbroken row of 400s.
    refused_since: Option<Instant>,
}

impl<'a> Wait<'a> {
    fn new(probe: &'a Probe, id: &'a LaunchId, supervisor: &'a Supervisor) -> Self {
        let began = Instant::now();
        let (elsewhere, last, refused_since) = (Vec::new(), None, None);
        Self { probe, id, supervisor, began, pause: PAUSES.0, elsewhere, looked: began, last, refused_since }
    }

    fn left(&self) -> Duration {
        self.probe.timeout.saturating_sub(self.began.elapsed())
    }

    fn pause_after(&mut self, answer: &ProbeAnswer) -> Duration {
        let is_silent = matches!(answer, ProbeAnswer::NotListening { .. });
        if is_silent && self.began.elapsed() < IN_A_HURRY {
            return UNTIL_IT_LISTENS;
        }
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(PAUSES.1);
        pause
    }

    /// Waits up to `at_most` for the end of the instance, which is the end of the wait.
    fn check_alive(&self, at_most: Duration) -> Result<(), NotReady> {
        match self.supervisor.first_exit_within(self.id, at_most.min(self.left())) {
            Some(reason) => Err(NotReady::Exited { reason, after: self.began.elapsed(), serves: true }),
            None => Ok(()),
        }
    }

    fn attempt(&mut self) -> ProbeAnswer {
        let Probe { address, host, proto, timeout, .. } = self.probe;
        let question = Question { address: *address, path: self.probe.path(), host, proto };
        // Half of the time at most: a connection that hangs must not be the only one tried.
        let limit = self.left().min(*timeout / 2).max(Duration::from_millis(10));
        let started = Instant::now();
        match ask(&question, limit) {
            Reply::Refused => {
                self.look_inside();
                ProbeAnswer::NotListening { elsewhere: self.elsewhere.clone() }
            }
            Reply::Silent => ProbeAnswer::Silent { waited: started.elapsed() },
            Reply::Closed => ProbeAnswer::Closed,
            Reply::NotHttp(start) => ProbeAnswer::NotHttp(start),
            Reply::Answer { .. } if self.is_strangers() => ProbeAnswer::Stranger,
            Reply::Answer { status, location } => ProbeAnswer::Answered { status, location },
        }
    }

    /// The answer, unless it is a silence for which only the end of the time is to blame: then the
    /// one before it says more.
    fn lasting(&mut self, answer: ProbeAnswer) -> ProbeAnswer {
        let cut_short = matches!(answer, ProbeAnswer::Silent { .. }) && self.left().is_zero();
        match &self.last {
            Some(last @ ProbeAnswer::Answered { .. }) if cut_short => last.clone(),
            _ => {
                self.last = Some(answer.clone());
                answer
            }
        }
    }

    /// Looks where the processes inside listen, now and then.
    fn look_inside(&mut self) {
        if self.looked.elapsed() >= LISTENERS_EVERY || self.left().is_zero() {
            self.elsewhere = self.supervisor.listeners(self.id).unwrap_or_default();
            self.looked = Instant::now();
        }
    }

    /// Whether an answer came from outside the walls: the port was free when it was chosen, but
    /// any process of the machine could have bound it since. Where the sockets inside cannot be
    /// read, the answer counts.
    fn is_strangers(&self) -> bool {
        let port = self.probe.address.port();
        let inside = self.supervisor.listeners(self.id);
        inside.is_some_and(|addresses| !addresses.iter().any(|address| address.port() == port))
    }

    /// Takes an answer that is not good enough: goes on, or says why it is the last one.
    fn note(&mut self, answer: ProbeAnswer) -> Result<(), NotReady> {
        let refused = matches!(answer, ProbeAnswer::Answered { status: 400, .. });
        let since = if refused { Some(self.refused_since.unwrap_or_else(Instant::now)) } else { None };
        self.refused_since = since;
        let hopeless = since.is_some_and(|since| since.elapsed() >= HOST_PATIENCE);
        if !hopeless && !self.left().is_zero() { Ok(()) } else { Err(self.verdict(answer)) }
    }

    /// The last answer as the reason of a failure.
    fn verdict(&self, answer: ProbeAnswer) -> NotReady {
        let (port, path) = (self.probe.address.port(), self.probe.path().escape_debug().to_string());
        let waited = self.began.elapsed();
        match answer {
            ProbeAnswer::NotListening { .. } | ProbeAnswer::Alive => {
                let elsewhere = self.supervisor.listeners(self.id).unwrap_or_else(|| self.elsewhere.clone());
                NotReady::NeverListened { port, elsewhere, waited }
            }
            ProbeAnswer::Silent { .. } => NotReady::NoAnswer { port, path, waited },
            ProbeAnswer::Closed => NotReady::Closed { port, path },
            ProbeAnswer::NotHttp(start) => NotReady::NotHttp { port, start },
            ProbeAnswer::Stranger => NotReady::PortTaken { port },
            ProbeAnswer::Answered { status: 400, .. } => {
                NotReady::HostRefused { host: self.probe.host.clone() }
            }
            ProbeAnswer::Answered { status, .. } => {
                let declared = self.probe.health_path.is_some();
                NotReady::Unhealthy { status, path, declared, waited }
            }
        }
    }
}
