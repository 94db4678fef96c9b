//! Certificates: where they come from, when they are renewed, and what the router shows.
//!
//! ```text
//! own files (own) ------\
//! local authority (local) --> store -> the set of this moment (set) -> the router
//! ACME server (acme) ---/
//! keeper: what is due, one after the other, on a thread of its own
//! ```
//!
//! The promises: a certificate that is shown stays until a better one is there; a key leaves the
//! store only for the router; and what an ACME server counts is done once, whatever is killed when.
//! Nobody who deploys waits for any of this.
//!
//! Start reading at [`keeper`].

mod acme;
mod keeper;
mod local;
mod own;
mod pair;
mod requests;
mod schedule;
mod set;
mod standing;

pub use acme::AcmeSettings;
pub(crate) use keeper::{CertificateKeeper, keep_certificates};
pub use pair::PairFault;
