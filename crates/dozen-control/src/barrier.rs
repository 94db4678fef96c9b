//! Barriers: places at which a test holds the server, to kill it exactly there.
//!
//! `DOZEN_BARRIERS` names a folder. When it holds a file called like a barrier (`build.begun`,
//! `route.done` …), the server that gets there makes `NAME.reached` and waits until the file is
//! gone. Without the setting a barrier costs nothing.
//!
//! The names are those of the release engine ([`names`]), of the destruction of an app
//! ([`destroy_names`]), and of every other place between two effects ([`Place`],
//! [`CertificatePlace`]). The kill tests
//! take them from here, so a new one without a test fails there.

use std::{path::Path, time::Duration};

use crate::{destroy, engine};

/// Barriers of a deploy: before and after the work of each step, and within the one that must not
/// run twice.
pub fn names() -> Vec<String> {
    let step = |name: &str| [format!("{name}.begun"), format!("{name}.done")];
    let mut names: Vec<String> = engine::STEPS.iter().flat_map(|one| step(one.name)).collect();
    names.extend(["release-phase.recorded".to_owned(), "release-phase.started".to_owned()]);
    names.extend(["route.committed".to_owned(), "deploy.ended".to_owned()]);
    names
}

/// Barriers of a destruction: when its wish is recorded, and after each step.
pub fn destroy_names() -> Vec<String> {
    let after = |step: &destroy::Step| format!("destroy.{}", step.name);
    std::iter::once("destroy.recorded".to_owned()).chain(destroy::STEPS.iter().map(after)).collect()
}

macro_rules! places {
    ($(#[$about:meta])* $places:ident; $($(#[$doc:meta])* $place:ident = $name:literal),+ $(,)?) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $places { $($(#[$doc])* $place),+ }

        impl $places {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$place),+];

            /// The name of its barrier.
            pub fn name(self) -> &'static str {
                match self { $(Self::$place => $name),+ }
            }
        }
    };
}

places! {
    /// A place outside the release engine where one effect is there and the next is not.
    Place;
    /// An upload is in its place, its deploy's row is not committed.
    UploadKept = "upload.kept",
    /// A change is in the queue, and nobody was woken for it.
    ChangeQueued = "change.queued",
    /// Other counts, or that a stage is stopped, are in the store; nothing follows from it yet.
    WishRecorded = "wish.recorded",
    /// Surplus instances are out of rotation in the store, not in the router.
    SurplusMarked = "surplus.marked",
    /// Surplus instances are out of rotation; nobody ends them yet.
    SurplusUnrouted = "surplus.unrouted",
    /// A missing instance has a row and no process.
    MissingRecorded = "missing.recorded",
    /// A missing instance was started; whether it is ready nobody knows.
    MissingStarted = "missing.started",
    /// A missing instance is ready and in the store, not in the router.
    MissingServing = "missing.serving",
    /// Which instances are to be replaced is in the store.
    RestartRecorded = "restart.recorded",
    /// The successor of an instance has a row and no process.
    SuccessorRecorded = "successor.recorded",
    /// The successor was started; whether it is ready nobody knows.
    SuccessorStarted = "successor.started",
    /// The successor took the place of its instance in the store, not in the router.
    SuccessorSwapped = "successor.swapped",
    /// The successor serves; nobody ends its predecessor yet.
    SuccessorServing = "successor.serving",
    /// A process has ended, and its row does not say so.
    ProcessEnded = "process.ended",
    /// The row of a process says that it has ended; its folder is there.
    EndRecorded = "end.recorded",
    /// A service has a row and no data.
    ServiceRecorded = "service.recorded",
    /// A service has a folder and no database in it.
    ServiceFolder = "service.folder",
    /// A database is complete beside its place.
    DatabaseMade = "database.made",
    /// A one-off process has a row and was not started.
    OneOffRecorded = "one-off.recorded",
    /// A one-off process was started, and its row does not say so.
    OneOffStarted = "one-off.started",
    /// What a failed change did is undone, and its row does not say that it has ended.
    ChangeUndone = "change.undone",
    /// A domain has or lost its row; the router does not know.
    DomainRecorded = "domain.recorded",
    /// Maintenance or a pause is in the store; the router does not know.
    TrafficRecorded = "traffic.recorded",
}

places! {
    /// The same on the way of a certificate.
    CertificatePlace;
    /// A certificate, or the wish for one, is in the store or gone; nothing follows from it yet.
    Recorded = "certificate.recorded",
    /// The key of an account is stored; the ACME server may not know it yet.
    AccountKeyStored = "certificate.account-key-stored",
    /// The ACME server has made an account, and its URL is not stored.
    AccountMade = "certificate.account-made",
    /// The key for an order is stored; the ACME server may not have been asked yet.
    OrderRecorded = "certificate.order-recorded",
    /// The ACME server has taken an order, and its URL is not stored.
    Ordered = "certificate.ordered",
    /// The answers to challenges are stored; the router does not show them.
    ChallengeStored = "certificate.challenge-stored",
    /// The router shows the answers; the ACME server was not told.
    ChallengeShown = "certificate.challenge-shown",
    /// The ACME server was told to look.
    ChallengeTold = "certificate.challenge-told",
    /// All names are validated; the certificate was not asked for.
    Validated = "certificate.validated",
    /// The certificate was asked for.
    Finalized = "certificate.finalized",
    /// The certificate is here, and not stored.
    Issued = "certificate.issued",
    /// The certificate is stored; the router does not show it.
    Stored = "certificate.stored",
}

/// Waits here if a test asks for it.
pub(crate) fn reach(folder: Option<&Path>, name: &str) {
    let Some(folder) = folder else { return };
    let file = folder.join(name);
    if !file.exists() {
        return;
    }
    let _ = std::fs::write(folder.join(format!("{name}.reached")), b"");
    while file.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}
