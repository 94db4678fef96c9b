//! Init: pid 1 inside the walls.
//!
//! A fork of the shim that raises the walls around itself, starts the app and then waits: it reaps,
//! sends signals for the shim, and writes how the app ended. It holds the read ends of the app's output,
//! so a dead shim loses nothing, and it does not exit while bytes wait there.
//!
//! ```text
//! raise walls -> fork, exec app -> serve -> main ends -> exit record -> kill the rest -> drained -> exit
//!            \-- a step fails --> exit record with the reason ------------------------------------/
//! ```
//!
//! Its death is the instance's death: the kernel kills what is in its pid namespace. It has the app's uid
//! and no rights, it cannot be traced or read by the app, and its copy of the config is wiped once
//! the app has it. It knows neither log files nor restarts; that is the shim's.
//!
//! Start reading at [`run`], then [`serve`].

mod app;
pub(crate) mod orders;
mod serve;

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd, RawFd},
        unix::fs::FileExt as _,
    },
    path::Path,
};

use rustix::{fs::Mode, process::umask};

pub(crate) use crate::state::unix_nanos;
use crate::{
    exit_record::{EXIT_RECORD_BYTES, ExitRecord},
    spec::{ByteString, LaunchSpec},
    state::{Exit, ExitStatus},
    streams::{AppEnds, KeptEnds, from_terminal},
    sys::{descriptors, signals},
    walls::{self, Keeper, Naming as _, Step},
};

/// What init needs from the shim, made before the fork.
pub(crate) struct Cradle {
    /// The connection to the shim that forks.
    pub(crate) shim: OwnedFd,
    /// The listening socket for shims that adopt.
    pub(crate) listener: OwnedFd,
    /// The exit record of this incarnation.
    pub(crate) exit_record: File,
    /// The shim's user: who may give orders. The same number in a user namespace of one user.
    pub(crate) creator: u32,
    /// Ends when whoever started the instance does.
    pub(crate) lifeline: Option<OwnedFd>,
    /// The app's ends of its streams.
    pub(crate) app: AppEnds,
    /// Our ends of them.
    pub(crate) kept: KeptEnds,
}

/// The whole life of init. Afterwards the process exits.
pub(crate) fn run(mut cradle: Cradle, spec: LaunchSpec, keeper: Keeper, mount_point: &Path) {
    if let Err(reason) = launch_and_serve(&mut cradle, spec, keeper, mount_point) {
        let exit = Exit { status: ExitStatus::LaunchFailed, at: unix_nanos() };
        write_record(&cradle.exit_record, &ExitRecord { exit, launch_error: Some(reason.to_string()) });
    }
}

fn launch_and_serve(
    cradle: &mut Cradle,
    mut spec: LaunchSpec,
    keeper: Keeper,
    mount_point: &Path,
) -> Step<()> {
    close_what_is_not_ours(cradle).step(|| "close inherited descriptors".into())?;
    let child_ends = signals::child_ends().step(|| "watch for the end of processes".into())?;
    // The shim keeps its own files from others; what is made in the new root and by the app is as usual.
    umask(Mode::WGRP | Mode::WOTH);
    rustix::process::chdir("/").step(|| "leave the working directory".into())?;
    let terminal_size = spec.attach.and_then(|attach| attach.terminal);
    if let Some(terminal) = walls::raise(&spec.walls, keeper, mount_point, terminal_size)? {
        let (app, terminal) = from_terminal(terminal).step(|| "open a terminal".into())?;
        cradle.app = app;
        cradle.kept.terminal = Some(terminal);
    }
    let app_ends = std::mem::take(&mut cradle.app);
    let main = app::start(&spec, app_ends, terminal_size.is_some())?;
    wipe(&mut spec);
    serve::serve(cradle, main, child_ends).step(|| "wait for the app".into())
}

/// A fork has everything of the shim's: client connections, log files, the directory.
fn close_what_is_not_ours(cradle: &Cradle) -> io::Result<()> {
    let (app, kept) = (&cradle.app, &cradle.kept);
    let streams =
        [&app.input, &app.output, &app.error, &kept.output, &kept.error, &kept.input, &cradle.lifeline];
    let record = cradle.exit_record.as_raw_fd();
    let mut keep: Vec<RawFd> = vec![cradle.shim.as_raw_fd(), cradle.listener.as_raw_fd(), record];
    keep.extend(streams.into_iter().flatten().map(|fd| fd.as_raw_fd()));
    descriptors::close_all_but(&mut keep)
}

/// The app has its config now; init needs none of it.
fn wipe(spec: &mut LaunchSpec) {
    let command = &mut spec.command;
    command.argv.iter_mut().for_each(ByteString::wipe);
    command.env.iter_mut().for_each(|(_, value)| value.wipe());
}

/// Writes how it ended. The first word stands: what goes wrong with init afterwards, for instance by
/// limits that an app sets for a process of its own uid, says nothing of how the app ended.
fn write_record(file: &File, record: &ExitRecord) {
    let mut found = [0; EXIT_RECORD_BYTES];
    if file.read_exact_at(&mut found, 0).is_ok() && ExitRecord::decode(&found).is_some() {
        return;
    }
    // One write within one page: it is there as a whole or not at all, and it cannot lack space. If the
    // disk itself is gone, the shim reports an unknown end.
    let _ = file.write_all_at(&record.encode(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_of_an_end_stands() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &[0; EXIT_RECORD_BYTES]).unwrap();
        let record = |status, launch_error| ExitRecord { exit: Exit { status, at: 5 }, launch_error };
        write_record(&file, &record(ExitStatus::Code(3), None));
        write_record(&file, &record(ExitStatus::LaunchFailed, Some("could not wait".into())));
        let mut found = [0; EXIT_RECORD_BYTES];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(ExitRecord::decode(&found), Some(record(ExitStatus::Code(3), None)));
    }
}
