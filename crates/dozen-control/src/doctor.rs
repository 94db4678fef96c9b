//! What `dozen doctor` looks at: the machine, the walls, the server's own health.

use std::path::Path;

use dozen_sandbox::support::support;

use crate::{
    api::wire::{DoctorCheck, DoctorState},
    control::Control,
};

/// Checks that need no server.
pub fn local_checks(binary: &Path) -> Vec<DoctorCheck> {
    match support(binary) {
        Ok(walls) => walls.into_iter().map(wall_check).collect(),
        Err(error) => vec![DoctorCheck {
            name: "walls".into(),
            state: DoctorState::Broken,
            finding: error.to_string(),
            hint: None,
        }],
    }
}

fn wall_check(wall: dozen_sandbox::support::WallSupport) -> DoctorCheck {
    let state = match (wall.available, wall.needed) {
        (true, _) => DoctorState::Ok,
        (false, true) => DoctorState::Broken,
        (false, false) => DoctorState::Degraded,
    };
    let finding =
        wall.reason.unwrap_or_else(|| if wall.available { "works" } else { "is not available" }.to_owned());
    DoctorCheck { name: wall.name, state, finding, hint: None }
}

impl Control {
    /// Everything that a running server can say about itself and its machine.
    pub fn doctor(&self) -> Vec<DoctorCheck> {
        let mut checks = local_checks(&self.options.binary);
        checks.push(self.router_check());
        checks.extend(self.certificate_checks());
        checks.push(self.disk_check());
        checks.push(self.user_check());
        checks
    }

    fn router_check(&self) -> DoctorCheck {
        let mut ports = self.router.listen().join(", ");
        let https = self.router.listen_https();
        if !https.is_empty() {
            ports = format!("{ports} and, for HTTPS, on {}", https.join(", "));
        }
        match self.router.pid() {
            Some(pid) => ok("router", format!("process {pid} listens on {ports}")),
            None => DoctorCheck {
                name: "router".into(),
                state: DoctorState::Broken,
                finding: "no router runs".into(),
                hint: None,
            },
        }
    }

    fn disk_check(&self) -> DoctorCheck {
        const LITTLE: u64 = 1 << 30;
        let free =
            rustix::fs::statvfs(self.home.root()).map(|stat| stat.f_bavail * stat.f_frsize).unwrap_or(0);
        let finding = format!("{} MiB free below {}", free >> 20, self.home.root().display());
        if free >= LITTLE {
            return ok("disk", finding);
        }
        let hint = Some("make room, or move DOZEN_HOME to a larger disk".to_owned());
        DoctorCheck { name: "disk".into(), state: DoctorState::Degraded, finding, hint }
    }

    fn user_check(&self) -> DoctorCheck {
        if self.as_root() {
            return ok("users", "apps and builds run as users of their own".into());
        }
        DoctorCheck {
            name: "users".into(),
            state: DoctorState::Degraded,
            finding: "an ordinary user's server: all apps run as this user, apart by namespaces only".into(),
            hint: Some("a server started by root gives each stage a user of its own".into()),
        }
    }
}

fn ok(name: &str, finding: String) -> DoctorCheck {
    DoctorCheck { name: name.to_owned(), state: DoctorState::Ok, finding, hint: None }
}
