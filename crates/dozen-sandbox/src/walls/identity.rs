//! Who the instance is, and the rights it gives up.

use std::{fs, io};

use rustix::{
    process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior},
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use super::{Naming as _, Step};
use crate::{spec::WallsUser, sys::capabilities};

/// Who builds the walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// Root: the instance gets a uid of its own.
    Root,
    /// Anybody else: the instance is the same user, in a user namespace.
    OrdinaryUser,
}

impl Keeper {
    /// Who this process is.
    pub(crate) fn current() -> Self {
        if rustix::process::geteuid().is_root() { Self::Root } else { Self::OrdinaryUser }
    }
}

/// Gives the new user namespace its one user: the one outside, under its own number.
pub(super) fn map_own_user(user: WallsUser) -> Step<()> {
    let write = |file: &str, content: String| {
        fs::write(format!("/proc/self/{file}"), content)
            .step(|| format!("write `{file}` of the user namespace"))
    };
    // A group may only be mapped by an ordinary user once groups can no longer be dropped to gain
    // what a group is denied.
    write("setgroups", "deny".into())?;
    write("uid_map", format!("{0} {0} 1", user.uid))?;
    write("gid_map", format!("{0} {0} 1", user.gid))
}

/// Becomes the instance's user for good: no capability, none to gain, and nobody may look inside this process.
pub(super) fn give_up_rights(user: WallsUser, keeper: Keeper) -> Step<()> {
    capabilities::empty_bounding_set().step(|| "empty the capability bounding set".into())?;
    if keeper == Keeper::Root {
        become_user(user).step(|| format!("become uid {}", user.uid))?;
    }
    capabilities::drop_all().step(|| "drop all capabilities".into())?;
    set_no_new_privs(true).step(|| "forbid new privileges".into())?;
    // Init has the app's uid and, as a copy of the shim, had its memory. This keeps the app from
    // tracing it or reading /proc/1; exec makes the app's own process normal again.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "close init's memory to others".into())
    // Here: landlock, then seccomp.
}

fn become_user(user: WallsUser) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&[])?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}
