//! The walls: built by init, in namespaces of its own, before the app's program runs.
//!
//! | wall | what it stops | where |
//! |---|---|---|
//! | mount namespace, own root | reading the host's files, writing the release | [`root_fs`], [`etc`], [`devices`] |
//! | pid namespace, own `/proc` | seeing, tracing or signalling other processes | the fork, [`root_fs`] |
//! | ipc namespace | shared memory and queues of others | the fork |
//! | uts namespace | renaming the host | the fork, [`raise`] |
//! | empty network, where the spec asks for it | reaching anything outside, also by abstract sockets | the fork, [`raise`] |
//! | own uid, no groups; user namespace for an ordinary user | using the rights of the server's user | [`identity`] |
//! | no capabilities, no new privileges | becoming root by a set-user-id program | [`identity`] |
//! | empty keyring | using the keys of the server's user | [`raise`] |
//!
//! Not built yet, and where they go: cgroup limits before the fork (the shim writes, the child is
//! born inside), a private network that apps can be reached in, landlock and then seccomp as the last step of
//! [`identity::give_up_rights`].
//!
//! A step that cannot be taken ends the launch, and its [`WallError`] says which: an instance with a
//! wall missing never runs.
//!
//! Start reading at [`raise`].

mod devices;
mod etc;
mod identity;
mod mounts;
mod place;
mod root_fs;

use std::{fmt, io, path::Path};

pub(crate) use devices::{Terminal, set_size};
pub(crate) use identity::Keeper;

use crate::{
    spec::{Network, TerminalSize, Walls},
    sys::{fork::Namespaces, keyring, loopback::bring_up_loopback},
};

/// The step that could not be taken, and why.
#[derive(Debug)]
pub(crate) enum WallError {
    /// A step of this process.
    Step {
        /// Completes the sentence "could not …".
        step: String,
        /// What the kernel said.
        reason: io::Error,
    },
    /// What another process has already put into words.
    InWords(String),
}

impl fmt::Display for WallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { step, reason } => write!(f, "could not {step}: {reason}"),
            Self::InWords(words) => f.write_str(words),
        }
    }
}

/// A result of one step.
pub(crate) type Step<T> = Result<T, WallError>;

/// Names the step that a result belongs to.
pub(crate) trait Naming<T> {
    /// `step` completes the sentence "could not …".
    fn step(self, step: impl FnOnce() -> String) -> Step<T>;
}

impl<T, E: Into<io::Error>> Naming<T> for Result<T, E> {
    fn step(self, step: impl FnOnce() -> String) -> Step<T> {
        self.map_err(|reason| WallError::Step { step: step(), reason: reason.into() })
    }
}

/// Raises all walls around this process, which is pid 1 of its namespaces and has one thread.
///
/// `mount_point` is an empty directory of the host. With a terminal size, a terminal of the
/// instance's own is made.
pub(crate) fn raise(
    walls: &Walls,
    keeper: Keeper,
    mount_point: &Path,
    terminal: Option<TerminalSize>,
) -> Step<Option<Terminal>> {
    if keeper == Keeper::OrdinaryUser {
        identity::map_own_user(walls.user)?;
    }
    keyring::join_empty_keyring().step(|| "join an empty keyring".into())?;
    rustix::system::sethostname(walls.hostname.as_bytes()).step(|| "set the host name".into())?;
    if walls.network == Network::Empty {
        bring_up_loopback().step(|| "bring up the loopback device of an empty network".into())?;
    }
    root_fs::build(walls, keeper, mount_point, terminal.is_some())?;
    let terminal = terminal.map(|size| devices::open_terminal(size, walls.user)).transpose()?;
    identity::give_up_rights(walls.user, keeper)?;
    Ok(terminal)
}

/// The namespaces that init is born into, of those that not everybody gets.
pub(crate) fn namespaces(walls: &Walls, keeper: Keeper) -> Namespaces {
    Namespaces { user: keeper == Keeper::OrdinaryUser, network: walls.network == Network::Empty }
}

/// The walls that stand after [`raise`], for people.
pub(crate) fn standing(walls: &Walls, keeper: Keeper) -> Vec<String> {
    let who = match keeper {
        Keeper::Root => "own uid",
        Keeper::OrdinaryUser => "user namespace",
    };
    let network = (walls.network == Network::Empty).then_some("empty network");
    let always = ["mount", "pid", "ipc", "uts", who, "no capabilities", "no new privileges"];
    always.into_iter().chain(network).map(String::from).collect()
}
