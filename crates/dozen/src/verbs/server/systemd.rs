//! Asking systemd, through `systemctl`.

use std::process::{Command, Output, Stdio};

use crate::cli_error::CliError;

/// A systemd: that of the machine or that of the calling user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Systemd {
    system: bool,
}

impl Systemd {
    /// The machine's for root, else the user's own.
    pub(super) fn of(root: bool) -> Self {
        Self { system: root }
    }

    /// Lets `systemctl` do something.
    pub(super) fn ask(self, words: &[&str]) -> Result<(), CliError> {
        let said = match self.run(words) {
            Ok(answer) if answer.status.success() => return Ok(()),
            Ok(answer) => {
                // `enable` writes about its links there, before the reason.
                let lines = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
                let mut reasons = lines.lines().filter(|line| !line.starts_with("Created symlink"));
                reasons.next().unwrap_or_default().to_owned()
            }
            Err(error) => error.to_string(),
        };
        let hint = (!self.system && said.contains("connect to bus")).then(|| {
            "log in as this user, with ssh or on a console: `su` and `sudo` start no systemd for a user"
                .to_owned()
        });
        Err(CliError::Unavailable { message: format!("`{}` failed: {said}", self.command(words)), hint })
    }

    /// Whether a unit runs.
    pub(super) fn is_active(self, unit: &str) -> bool {
        self.run(&["is-active", "--quiet", unit]).is_ok_and(|answer| answer.status.success())
    }

    /// Whether the machine goes down, or with the user's systemd all that the user runs.
    pub(super) fn is_shutting_down(self) -> bool {
        // Its status says only whether all is well.
        self.run(&["is-system-running"]).is_ok_and(|answer| answer.stdout.trim_ascii() == b"stopping")
    }

    /// A command as the user would type it.
    pub(super) fn command(self, words: &[&str]) -> String {
        ["systemctl"].iter().chain(self.scope()).chain(words).copied().collect::<Vec<_>>().join(" ")
    }

    /// The words that name this systemd.
    pub(super) fn scope(self) -> &'static [&'static str] {
        if self.system { &[] } else { &["--user"] }
    }

    fn run(self, words: &[&str]) -> std::io::Result<Output> {
        Command::new("systemctl").args(self.scope()).args(words).stdin(Stdio::null()).output()
    }
}
