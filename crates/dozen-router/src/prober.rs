//! Looks after instances, on a thread of its own: those that are out of rotation, and, where a
//! stage asks for it, all of them by a liveness probe.
//!
//! An instance that was ejected is tried with a connection and nothing more: 100 ms later at first,
//! then after pauses that double up to ten seconds. So no client's request pays for the trial. A
//! probe is a request of its own and passes with 2xx or 3xx.
//!
//! What changes is told in the app's log. The thread ends with the threads that serve.
//!
//! Start reading at [`Prober::run`].

use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{SyncSender, TrySendError},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use dozen_model::segment::{StreamLine, unix_nanos};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    runtime::LocalOptions,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{AbortHandle, spawn_local},
    time::{sleep, timeout},
};

use crate::{
    access_log::Batch,
    board::{Board, Endpoint, Stage},
    policy::Probe,
    rotation::{LONGEST_PAUSE, Trouble},
    status::Counters,
    upstream::Upstream,
};

/// For the connection of a trial.
const CONNECT: Duration = Duration::from_secs(5);

/// An instance that was put out of rotation.
#[derive(Debug)]
pub(crate) struct Ejected {
    stage: Arc<Stage>,
    endpoint: Arc<Endpoint>,
    trouble: Trouble,
}

/// The way to the prober.
#[derive(Debug, Clone)]
pub(crate) struct Ejections(UnboundedSender<Ejected>);

impl Ejections {
    /// Notes that a request got no answer from an instance, and puts it out of rotation if that is
    /// enough. An only instance stays: there is nothing to choose.
    pub(crate) fn note(&self, stage: &Arc<Stage>, endpoint: &Arc<Endpoint>, trouble: Trouble) {
        if stage.way.endpoints().len() > 1 && endpoint.load.rotation.note(trouble) {
            Counters::count(&stage.meter.ejections[trouble as usize]);
            let (stage, endpoint) = (Arc::clone(stage), Arc::clone(endpoint));
            // The prober ends last.
            let _ = self.0.send(Ejected { stage, endpoint, trouble });
        }
    }
}

/// What the thread works with.
#[derive(Debug)]
pub(crate) struct Prober {
    pub(crate) board: Arc<Board>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) files: SyncSender<Batch>,
}

/// The probes that run, by the keys of their endpoints.
type Probes = HashMap<u64, (Probe, AbortHandle)>;

impl Prober {
    /// Starts the thread. It ends when all ways to it are gone.
    pub(crate) fn start(self) -> io::Result<(Ejections, JoinHandle<()>)> {
        let (sender, ejected) = unbounded_channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => runtime.block_on(Rc::new(self).run(ejected)),
                Err(error) => tracing::error!(%error, "instances are not looked after"),
            }
        };
        let thread = thread::Builder::new().name("prober".into()).spawn(run)?;
        Ok((Ejections(sender), thread))
    }

    async fn run(self: Rc<Self>, mut ejected: UnboundedReceiver<Ejected>) {
        let mut changes = self.board.changes();
        let mut probes = Probes::new();
        self.arrange(&mut probes);
        loop {
            tokio::select! {
                next = ejected.recv() => match next {
                    Some(ejected) => drop(spawn_local(Rc::clone(&self).readmit(ejected))),
                    None => return,
                },
                changed = changes.changed() => match changed {
                    Ok(()) => self.arrange(&mut probes),
                    Err(_) => return,
                },
            }
        }
    }

    /// Tries an instance until it takes connections, answers, or leaves the table.
    async fn readmit(self: Rc<Self>, Ejected { stage, endpoint, trouble }: Ejected) {
        let (rotation, key) = (&endpoint.load.rotation, endpoint.load.key);
        let why = match trouble {
            Trouble::Refused => "it takes no connections",
            _ => "it closes connections without an answer",
        };
        self.tell(&stage, &endpoint, "warning", &format!("out of rotation: {why}"));
        let mut pause = rotation.pause();
        loop {
            sleep(pause).await;
            if !self.board.routes().has_endpoint(key) {
                return;
            }
            let connected =
                !rotation.is_ejected() || matches!(timeout(CONNECT, connect(&endpoint)).await, Ok(Ok(_)));
            if connected {
                rotation.readmit();
                return self.tell(&stage, &endpoint, "info", "back in rotation");
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Probes what the table says, and nothing else.
    fn arrange(self: &Rc<Self>, probes: &mut Probes) {
        let routes = self.board.routes();
        let mut before = std::mem::take(probes);
        for stage in &routes.stages {
            for endpoint in stage.way.endpoints() {
                let key = endpoint.load.key;
                match (stage.policy.probe(), before.remove(&key)) {
                    (Some(probe), Some((running, task))) if running == probe => {
                        probes.insert(key, (probe, task));
                    }
                    (Some(probe), other) => {
                        other.iter().for_each(|(_, task)| task.abort());
                        let watch =
                            Rc::clone(self).watch(Arc::clone(stage), Arc::clone(endpoint), probe.clone());
                        probes.insert(key, (probe, spawn_local(watch).abort_handle()));
                    }
                    (None, Some((_, task))) => {
                        task.abort();
                        endpoint.load.rotation.set_unwell(false);
                    }
                    (None, None) => {}
                }
            }
        }
        before.values().for_each(|(_, task)| task.abort());
    }

    /// Probes one instance for as long as the table says so.
    async fn watch(self: Rc<Self>, stage: Arc<Stage>, endpoint: Arc<Endpoint>, probe: Probe) {
        let (mut failures, name) = (0, Arc::clone(&stage.name));
        drop(stage);
        loop {
            sleep(probe.interval).await;
            // The newest: it may have another host by now.
            let Some(stage) = self.board.routes().stage(&name).cloned() else { return };
            let asked = timeout(probe.timeout, ask(&stage, &endpoint, &probe.path)).await;
            let asked = asked.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            Counters::count(&stage.meter.probes[usize::from(asked.is_err())]);
            let Err(why) = asked else {
                failures = 0;
                if endpoint.load.rotation.set_unwell(false) {
                    self.tell(&stage, &endpoint, "info", &format!("`{}` answers again", probe.path));
                }
                continue;
            };
            failures += 1;
            if failures >= probe.failures && endpoint.load.rotation.set_unwell(true) {
                Counters::count(&stage.meter.ejections[Trouble::Probe as usize]);
                let what = match self.has_other(&stage, &endpoint) {
                    true => "out of rotation",
                    false => "kept in rotation, as no other instance is",
                };
                let often = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
                let text = format!("{what}: `{}` failed {often}: {why}", probe.path);
                self.tell(&stage, &endpoint, "warning", &text);
            }
        }
    }

    fn has_other(&self, stage: &Stage, endpoint: &Endpoint) -> bool {
        let routes = self.board.routes();
        let others = routes.stage(&stage.name).map_or(&[][..], |stage| stage.way.endpoints());
        others.iter().any(|other| other.load.key != endpoint.load.key && other.load.rotation.is_in())
    }

    /// Writes a line to the app's log.
    fn tell(&self, stage: &Stage, endpoint: &Endpoint, level: &str, text: &str) {
        let text = format!("at={level} instance={} desc=\"{}\"", endpoint.instance, text.replace('"', "'"));
        let line = StreamLine { at: unix_nanos(SystemTime::now()), process: "router".to_owned(), text };
        let mut text = String::new();
        line.encode_into(&mut text);
        match self.files.try_send(Batch { key: Arc::clone(&stage.log), text, lines: 1 }) {
            Ok(()) => {}
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => {
                self.counters.dropped_lines.fetch_add(batch.lines, Relaxed);
            }
        }
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<TcpStream> {
    TcpStream::connect(endpoint.address).await
}

/// Asks an instance for a page as its visitors do, over HTTPS as they should; why it did not pass.
async fn ask(stage: &Stage, endpoint: &Endpoint, path: &str) -> Result<(), String> {
    let io = |error: io::Error| error.to_string();
    let mut stream = connect(endpoint).await.map_err(io)?;
    let host = stage.domain.as_deref().unwrap_or("localhost");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: dozen-probe\r\nAccept: */*\r\n\
         X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n\
         X-Forwarded-Host: {host}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(io)?;
    let mut upstream = Upstream::new(stream);
    let headed = poll_fn(|cx| upstream.poll_head(cx, false)).await;
    let said = headed.map_err(|_| "no answer that is HTTP".to_owned())?;
    // To its end, or the app would log that somebody went away. How it ends does not matter.
    while let Ok(piece) = poll_fn(|cx| upstream.poll_data(cx).map_ok(<[u8]>::len)).await
        && piece > 0
    {
        upstream.consume(piece);
    }
    match said.status.as_u16() {
        200..400 => Ok(()),
        status => Err(format!("status {status}")),
    }
}
