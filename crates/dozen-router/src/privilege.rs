//! Giving up root, and the process's own limits, before any thread is started.

use std::{fs, io};

use rustix::{
    process::{Gid, Resource, Rlimit, Uid, geteuid, getrlimit, setrlimit},
    thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

use crate::{error::RouterError, options::DropTo};

/// Continues as `to` when the process is root; otherwise it already runs as an ordinary user.
///
/// All capabilities go with the uid. It is done in the process and not before exec, because the
/// program itself may lie where only root can reach it.
pub(crate) fn give_up_root(to: Option<DropTo>) -> Result<(), RouterError> {
    let uid = to.map_or(0, |to| to.uid);
    drop_to(to).map_err(|source| RouterError::Privilege { uid, source })
}

fn drop_to(to: Option<DropTo>) -> io::Result<()> {
    if let (Some(to), true) = (to, geteuid().is_root()) {
        if to.uid == 0 || to.uid == u32::MAX || to.gid == u32::MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an ordinary user"));
        }
        // The kernel keeps credentials per thread: with a second thread one would stay root.
        if fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("threads were started before"));
        }
        let (uid, gid) = (Uid::from_raw(to.uid), Gid::from_raw(to.gid));
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        set_thread_res_uid(uid, uid, uid)?;
    }
    set_no_new_privs(true)?;
    Ok(())
}

/// Allows as many descriptors as the hard limit has, and says how many that are.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Refused only by an odd security module; the old limit then stands.
    let raised = setrlimit(Resource::Nofile, wanted).is_ok();
    let in_force = if raised { limit.maximum } else { limit.current };
    in_force.unwrap_or(1 << 20)
}
