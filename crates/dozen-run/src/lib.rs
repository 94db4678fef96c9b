//! The supervisor: instances, signals, readiness, one-off processes.
//!
//! It turns a release into a launch ([`LaunchPlan`]), starts, watches, stops and re-adopts what
//! runs ([`Supervisor`]), and says when an instance may get requests ([`wait_ready`]). What runs
//! and how many of it is control's decision; how it is walled in and kept is dozen-sandbox's
//! work.
//!
//! All of it is plain blocking code: control calls it from threads of its own.
//!
//! Start reading at [`supervisor`], then [`launch`] and [`ready`].

#![forbid(unsafe_code)]

pub mod exit;
mod instance_state;
pub mod launch;
mod launch_id;
mod memory;
pub mod one_off;
pub mod port;
pub mod ready;
mod run_error;
pub mod supervisor;

pub use exit::{ExitReason, NotAnExit};
pub use instance_state::InstanceState;
pub use launch::{LaunchCommand, LaunchPlan};
pub use launch_id::{LaunchId, NotALaunchId};
pub use memory::{Memory, memory_inside};
pub use port::PortPool;
pub use ready::{NotReady, Probe, ProbeAnswer, Ready, wait_alive, wait_ready};
pub use run_error::RunError;
pub use supervisor::{Adoption, InstanceEvent, Supervisor};
