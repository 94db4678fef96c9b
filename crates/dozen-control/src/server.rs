//! The server's life: open, find everything again, serve, end.
//!
//! ```text
//! open home (lock) -> store -> router found or started -> instances found -> table -> API
//! SIGTERM, SIGINT or `dozen server stop`: workers pause at their next wait, the router finishes
//!   what it holds; apps go on unless `--all`
//! ```

use std::{sync::Arc, time::Duration};

use crate::{
    api,
    certs::keep_certificates,
    control::{Control, ServerOptions},
    error::ControlError,
    home::Home,
    store::StageRow,
    worker::Job,
};

/// How often the router is looked after.
const ROUTER_BEAT: Duration = Duration::from_millis(200);
/// How often logs, and what is known of what has ended, are trimmed.
const LOG_BEAT: Duration = Duration::from_secs(600);

/// Runs the server until it is told to end.
///
/// # Errors
/// Whatever keeps it from starting: a taken home or port, a damaged or newer store, a bad key.
pub fn run(options: ServerOptions) -> Result<(), ControlError> {
    let control = Control::open(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .map_err(ControlError::io("start the API's runtime"))?;
    // Before the router starts: a signal from here on ends it too, and leaves no router behind.
    let signals = runtime.block_on(async { api::Signals::listen() })?;
    control.router.start()?;
    recover(&control)?;
    keep_router(&control);
    keep_table(&control);
    keep_certificates(&control)?;
    keep_logs(&control);
    let socket = Home::api_socket(control.home.run());
    let ended = runtime.block_on(api::serve(Arc::clone(&control), &socket, signals));
    control.end();
    tracing::info!("ending: the router finishes what it holds, and apps run on");
    let _ = std::fs::remove_file(&socket);
    control.router.stop();
    // Workers and drains notice the end at their next look; what they leave is found again.
    runtime.shutdown_timeout(Duration::from_millis(300));
    if let Err(error) = control.store.settle() {
        tracing::warn!("the newest facts stay in `state.db-wal`: {error}");
    }
    ended
}

fn recover(control: &Arc<Control>) -> Result<(), ControlError> {
    control.watch_instances();
    let stages = control.store.stages()?;
    for stage in &stages {
        // One stage must not keep all others from being served.
        if let Err(error) = control.recover(stage) {
            let (app, stage) = (&stage.key.app, &stage.key.stage);
            tracing::error!(%app, %stage, "could not find a stage again: {}", error.body().message);
        }
    }
    control.sweep()?;
    control.tell_resting_domains()?;
    match control.publish() {
        Ok(()) => go_on(control, &stages),
        Err(error) => {
            tracing::error!("the router has an old table: {}", error.body().message);
            let (control, stages) = (Arc::clone(control), stages.clone());
            std::thread::spawn(move || {
                if control.until_done("give the router its table", || control.publish()).is_some() {
                    go_on(&control, &stages);
                }
            });
        }
    }
    tracing::info!(stages = stages.len(), listen = control.router.listen().join(","), "serving");
    Ok(())
}

/// What waits for the first table: the end of what drains, since a router with an older one may
/// still send requests there, and every change.
fn go_on(control: &Arc<Control>, stages: &[StageRow]) {
    if let Err(error) = control.go_on_destroying() {
        tracing::error!("could not go on destroying: {error}");
    }
    for stage in stages.iter().filter(|stage| !stage.doomed) {
        if let Err(error) = control.drain_all(&stage.key) {
            tracing::error!(app = %stage.key.app, "could not go on draining: {error}");
        }
        control.worker(stage.key.id).send(Job::Recover { failed: 0 });
    }
}

/// Starts the router again when it dies. It waits for nothing else: who waits for the router waits
/// for this.
fn keep_router(control: &Arc<Control>) {
    let control = Arc::clone(control);
    std::thread::spawn(move || {
        while !control.is_ending() {
            match control.router.revive() {
                Ok(false) => {}
                Ok(true) => tracing::warn!("the router died and was started again"),
                Err(error) => tracing::error!("could not start the router: {error}"),
            }
            control.router.wait_for_end(ROUTER_BEAT);
        }
    });
}

/// Gives the table to a router that was started again, and one that did not arrive, so that nothing
/// waits for the next change: a stage whose requests were held, or one that is gone.
fn keep_table(control: &Arc<Control>) {
    let control = Arc::clone(control);
    std::thread::spawn(move || {
        loop {
            control.router.wait_until_stale();
            if control.until_done("give the router its table", || control.publish()).is_none() {
                return;
            }
        }
    });
}

fn keep_logs(control: &Arc<Control>) {
    let control = Arc::clone(control);
    std::thread::spawn(move || {
        while !control.is_ending() {
            std::thread::sleep(LOG_BEAT);
            if let Err(error) = control.trim_logs().and_then(|()| control.trim_history()) {
                tracing::warn!("{error}");
            }
        }
    });
}
