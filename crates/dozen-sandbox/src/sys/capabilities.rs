//! Capabilities: none of them, and none to be had again.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities};

use super::checked;

/// Empties the bounding set: no program that is exec'd can gain a capability. Needs CAP_SETPCAP.
pub(crate) fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64_u64 {
        // SAFETY: this prctl takes a number and no pointer; it changes what this thread's exec may gain.
        let status = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0_u64, 0_u64, 0_u64) };
        match checked(status.into()) {
            Ok(_) => {}
            // The kernel knows no capability of this number, so none of a higher one.
            Err(unknown) if unknown.raw_os_error() == Some(libc::EINVAL) && capability > 0 => break,
            Err(other) => return Err(other),
        }
    }
    Ok(())
}

/// Empties the ambient, effective, permitted and inheritable sets.
pub(crate) fn drop_all() -> io::Result<()> {
    clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}
