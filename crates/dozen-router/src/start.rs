//! The router process from its first line to its last.
//!
//! ```text
//! give up root -> load the stored table -> serve control -> one thread per listener
//!   SIGTERM: stop accepting -> what is in flight ends, or the drain limit -> exit 0
//! ```

use std::{
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::{self, JoinHandle},
};

use dozen_model::address_range::AddressRange;
use parking_lot::Mutex;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::{
    access_files::{self, AccessFiles},
    board::Board,
    certificates::Certificates,
    control_socket::ControlSocket,
    crowd::Crowd,
    error::RouterError,
    listen::{self, Listener, ListenerKind},
    meter::Thread,
    options::{Limits, RouterOptions},
    privilege,
    prober::Prober,
    status::Counters,
    table_file,
    tls::Tls,
    worker::{Stopping, Worker},
};

/// More threads than this share listeners: past it, the apps are what limits.
const MAX_THREADS: usize = 8;

/// Runs the router until SIGTERM, and returns its exit status: 0 after a drain, 3 when it could not
/// start or lost a thread. Call it before any other thread is started.
pub fn router_main(options: RouterOptions) -> ExitCode {
    match run(options) {
        Ok(code) => code,
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            tracing::error!(%error, source, "the router could not start");
            ExitCode::from(3)
        }
    }
}

fn run(options: RouterOptions) -> Result<ExitCode, RouterError> {
    let threads = threads_for(&options.listeners).ok_or(RouterError::NoListener)?;
    privilege::give_up_root(options.drop_to)?;
    let descriptors = privilege::raise_descriptor_limit();
    let board = Arc::new(Board::empty());
    load_table(&options, &board);
    let certificates = Arc::new(Certificates::load(&options.state_dir));
    let tls = Arc::new(Tls::new(Arc::clone(&certificates), Arc::clone(&board))?);
    let counters = Arc::new(Counters::new(threads));
    let (files, log_writer) = access_files::start(access_files(&options, &counters, &board))
        .map_err(|source| RouterError::Start { what: "start the access log", source })?;

    let (ejections, prober) =
        Prober { board: Arc::clone(&board), counters: Arc::clone(&counters), files: files.clone() }
            .start()
            .map_err(|source| RouterError::Start { what: "start the prober", source })?;

    let (stop, stopping) = watch::channel(Stopping::No);
    let (ended, workers_end) = mpsc::unbounded_channel();
    let trusted_proxies: Arc<[AddressRange]> = options.trusted_proxies.into();
    let crowd = Arc::new(Crowd::default());
    let https_port = https_port(&options.listeners);
    let make_worker = |index| Worker {
        thread: Thread { index, of: threads },
        board: Arc::clone(&board),
        counters: Arc::clone(&counters),
        crowd: Arc::clone(&crowd),
        limits: options.limits,
        trusted_proxies: Arc::clone(&trusted_proxies),
        tls: Arc::clone(&tls),
        https_port,
        files: files.clone(),
        ejections: ejections.clone(),
        stopping: stopping.clone(),
        max_connections: connections_per_thread(descriptors, &options.limits, threads),
    };
    let shares = share(&options.listeners, threads)
        .map_err(|source| RouterError::Start { what: "copy a listener", source })?;
    let control = ControlSocket {
        board: Arc::clone(&board),
        counters: Arc::clone(&counters),
        certificates,
        listeners: options.listeners,
        threads,
        trusted_proxies: Arc::clone(&trusted_proxies),
        limits: options.limits,
        state_dir: options.state_dir,
        swapping: Mutex::new(()),
    };
    control
        .serve(options.control)
        .map_err(|source| RouterError::Start { what: "serve the control socket", source })?;
    let workers: Vec<Worker> = (0..threads).map(make_worker).collect();
    drop((files, ejections, stopping));
    let handles = start_workers(workers, shares, &ended)?;
    let lost = wait_for_end(workers_end, &stop, &counters)?;
    for handle in handles {
        // A panicked worker was counted as lost already.
        let _ = handle.join();
    }
    let _ = prober.join();
    let _ = log_writer.join();
    Ok(if lost { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

fn access_files(options: &RouterOptions, counters: &Arc<Counters>, board: &Arc<Board>) -> AccessFiles {
    AccessFiles {
        dir: options.access_dir.clone(),
        file_bytes: options.limits.access_file_bytes,
        kept: options.limits.access_files,
        pause: access_files::PAUSE,
        counters: Arc::clone(counters),
        board: Arc::clone(board),
    }
}

/// Each client connection may need a descriptor to an app; the rest is for files and the like.
fn connections_per_thread(descriptors: u64, limits: &Limits, threads: usize) -> usize {
    let fit = usize::try_from(descriptors.saturating_sub(64) / 2).unwrap_or(1 << 19);
    fit.min(limits.connections).max(threads) / threads
}

fn load_table(options: &RouterOptions, board: &Board) {
    match table_file::load(&options.state_dir) {
        Ok(Some(table)) => board.swap(table),
        Ok(None) => {}
        // Without a table all hosts are unknown until control sends one, which it does at once.
        Err(error) => tracing::error!(%error, "the stored route table cannot be read"),
    }
}

/// One for each listener of the address that has the most; `None` without any.
fn threads_for(listeners: &[Listener]) -> Option<usize> {
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.address().ok()).collect();
    let at = |address| addresses.iter().filter(|other| *other == address).count();
    addresses.iter().map(at).max().map(|most| most.min(MAX_THREADS))
}

/// The port that clients are sent to: 443 where it is one of several.
fn https_port(listeners: &[Listener]) -> Option<u16> {
    let tls = listeners.iter().filter(|listener| listener.kind == ListenerKind::Tls);
    let ports: Vec<u16> = tls.filter_map(|listener| Some(listener.address().ok()?.port())).collect();
    ports.iter().find(|port| **port == 443).or(ports.first()).copied()
}

/// Spreads each address over all threads; those of one address follow each other.
fn share(listeners: &[Listener], threads: usize) -> std::io::Result<Vec<Vec<Listener>>> {
    let mut shares: Vec<_> = (0..threads).map(|_| Vec::new()).collect();
    for (index, listener) in listeners.iter().enumerate() {
        shares[index % threads].push(listener.try_clone()?);
    }
    Ok(shares)
}

fn start_workers(
    workers: Vec<Worker>,
    shares: Vec<Vec<Listener>>,
    ended: &mpsc::UnboundedSender<()>,
) -> Result<Vec<JoinHandle<()>>, RouterError> {
    let start = |(worker, share): (Worker, Vec<Listener>)| {
        let ended = ended.clone();
        thread::Builder::new().name("router".into()).spawn(move || {
            // Told on unwinding as well.
            let _told = ToldAtEnd(ended);
            let served = worker.block_on(async |room| {
                let adopt = |one: Listener| Ok((listen::adopt(one.socket)?, one.kind));
                let listeners = share.into_iter().map(adopt).collect::<std::io::Result<Vec<_>>>()?;
                room.serve(listeners).await;
                Ok(())
            });
            if let Err(error) = served {
                tracing::error!(%error, "a thread could not serve");
            }
        })
    };
    let started: std::io::Result<Vec<_>> = workers.into_iter().zip(shares).map(start).collect();
    started.map_err(|source| RouterError::Start { what: "start a thread", source })
}

#[derive(Debug)]
struct ToldAtEnd(mpsc::UnboundedSender<()>);

impl Drop for ToldAtEnd {
    fn drop(&mut self) {
        // The receiver waits for us; if it is gone, so is the process.
        let _ = self.0.send(());
    }
}

/// Waits for SIGTERM or SIGINT, and tells the workers. Returns whether a worker ended without
/// being told: then the rest drain too, and control starts a whole router.
fn wait_for_end(
    mut workers_end: mpsc::UnboundedReceiver<()>,
    stop: &watch::Sender<Stopping>,
    counters: &Counters,
) -> Result<bool, RouterError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|source| RouterError::Start { what: "wait for signals", source })?;
    let lost = runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        Ok(tokio::select! {
            _ = term.recv() => false,
            _ = int.recv() => false,
            _ = workers_end.recv() => true,
        })
    });
    counters.draining.store(true, Relaxed);
    stop.send_replace(Stopping::Drain);
    lost.map_err(|source| RouterError::Start { what: "wait for signals", source })
}
