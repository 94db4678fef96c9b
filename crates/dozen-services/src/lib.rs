//! Drivers for the kinds of backing services, a file each.
//!
//! A driver does nothing itself: it answers a [`ServiceRequest`] with a [`ServicePlan`], which
//! says what to make in the stage's services folder, what to mount into an instance, and which
//! config vars hold the URL. The control plane runs the plan, encrypts the values and writes them
//! into releases. So a driver can be read, and tested, without a server.
//!
//! The app sees a URL in a config var and cannot see who runs the service: moving from SQLite to
//! a PostgreSQL elsewhere is one attach.
//!
//! Nothing here does I/O. No error, no warning and no `Debug` output holds a URL: it carries a
//! password.
//!
//! Start reading at [`driver()`], then [`ServicePlan`].

#![forbid(unsafe_code)]

mod config_var_name;
mod driver;
mod external;
mod service_error;
mod service_plan;
mod service_request;
mod service_url;
mod sqlite;
#[cfg(test)]
mod tests;
mod volume;

pub use config_var_name::default_var;
pub use dozen_model::manifest::ServiceKind;
pub use driver::{Driver, driver};
pub use service_error::ServiceError;
pub use service_plan::{ServiceMount, ServicePlan, Step};
pub use service_request::ServiceRequest;
pub use service_url::{NotAServiceUrl, ServiceUrl};
