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
    control::{Control, ServerOptions},
    error::ControlError,
    home::Home,
    worker::Job,
};

/// How often the router is looked after.
const ROUTER_BEAT: Duration = Duration::from_millis(200);
/// How often logs are trimmed.
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
        control.recover(stage)?;
    }
    control.sweep()?;
    control.publish()?;
    for stage in &stages {
        control.drain_all(&stage.key)?;
        control.worker(stage.key.id).send(Job::Recover);
    }
    tracing::info!(stages = stages.len(), listen = control.router.listen().join(","), "serving");
    Ok(())
}

/// Starts the router again when it dies, and gives it the table.
fn keep_router(control: &Arc<Control>) {
    let control = Arc::clone(control);
    std::thread::spawn(move || {
        while !control.is_ending() {
            match control.router.revive() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::warn!("the router died and was started again");
                    if let Err(error) = control.publish() {
                        tracing::error!("{error}");
                    }
                }
                Err(error) => tracing::error!("could not start the router: {error}"),
            }
            control.router.wait_for_end(ROUTER_BEAT);
        }
    });
}

fn keep_logs(control: &Arc<Control>) {
    let control = Arc::clone(control);
    std::thread::spawn(move || {
        while !control.is_ending() {
            std::thread::sleep(LOG_BEAT);
            if let Err(error) = control.trim_logs() {
                tracing::warn!("{error}");
            }
        }
    });
}
