//! Heroku's H-codes: what went wrong with a request that the app did not answer well. H90 and H91 are
//! ours: nothing went wrong, and the app was not asked.

use std::fmt;

/// Why a request was not answered by its app, as the access log names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HCode {
    /// H10: no instance accepts connections.
    Crashed,
    /// H12: no first byte in time.
    RequestTimeout,
    /// H13: the connection ended without an answer.
    ClosedWithoutResponse,
    /// H14: no web instances.
    NoInstances,
    /// H15: nothing moved for too long.
    IdleConnection,
    /// H17: the answer is not HTTP.
    PoorlyFormed,
    /// H18: the app broke off its answer.
    ServerInterrupted,
    /// H20: held for too long.
    BootTimeout,
    /// H27: the client went away.
    ClientInterrupted,
    /// H28: the client stopped sending its body.
    ClientIdle,
    /// H80: an operator has said so.
    Maintenance,
    /// H90: the app's repository says that it is elsewhere.
    Redirected,
    /// H91: it came in the clear, and is to come by HTTPS.
    NeedsHttps,
}

// Counters are kept by a code's place among all of them.
const _: () = assert!(HCode::NeedsHttps as usize + 1 == HCode::ALL.len());

impl fmt::Display for HCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, text) = self.parts();
        write!(f, "{code} desc=\"{text}\"")
    }
}

impl HCode {
    /// All of them, in their order.
    pub(crate) const ALL: [Self; 13] = [
        Self::Crashed,
        Self::RequestTimeout,
        Self::ClosedWithoutResponse,
        Self::NoInstances,
        Self::IdleConnection,
        Self::PoorlyFormed,
        Self::ServerInterrupted,
        Self::BootTimeout,
        Self::ClientInterrupted,
        Self::ClientIdle,
        Self::Maintenance,
        Self::Redirected,
        Self::NeedsHttps,
    ];

    /// The code alone.
    pub(crate) fn code(self) -> &'static str {
        self.parts().0
    }

    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Crashed => ("H10", "App crashed"),
            Self::RequestTimeout => ("H12", "Request timeout"),
            Self::ClosedWithoutResponse => ("H13", "Connection closed without response"),
            Self::NoInstances => ("H14", "No web instances"),
            Self::IdleConnection => ("H15", "Idle connection"),
            Self::PoorlyFormed => ("H17", "Poorly formed HTTP response"),
            Self::ServerInterrupted => ("H18", "Server request interrupted"),
            Self::BootTimeout => ("H20", "App boot timeout"),
            Self::ClientInterrupted => ("H27", "Client request interrupted"),
            Self::ClientIdle => ("H28", "Client connection idle"),
            Self::Maintenance => ("H80", "Maintenance mode"),
            Self::Redirected => ("H90", "Redirected"),
            Self::NeedsHttps => ("H91", "Redirected to HTTPS"),
        }
    }

    /// Whether the client is at fault, or nobody, so that the line is no error of the app.
    pub(crate) fn is_clients(self) -> bool {
        matches!(
            self,
            Self::ClientInterrupted
                | Self::ClientIdle
                | Self::Maintenance
                | Self::Redirected
                | Self::NeedsHttps
        )
    }
}
