//! The rules that a launch spec keeps; checked by control before it sends one and by the shim.

use std::path::{Component, Path};

use super::{ByteString, LaunchSpec, Walls};
use crate::SandboxError;

/// Everything of a command and its environment together; the kernel's own limit is near.
const MAX_COMMAND_BYTES: usize = 1 << 20;
const MAX_LAYERS: usize = 32;
const MAX_BINDS: usize = 128;

impl LaunchSpec {
    /// Checks all rules. The reason never quotes an argument or a config var.
    pub fn check(&self) -> Result<(), SandboxError> {
        let refuse = |reason: String| SandboxError::BadSpec { instance: self.instance.clone(), reason };
        self.check_command()
            .and_then(|()| self.check_policy())
            .and_then(|()| self.walls.check())
            .map_err(refuse)
    }

    fn check_command(&self) -> Result<(), String> {
        let command = &self.command;
        require(command.argv.first().is_some_and(|program| !program.as_bytes().is_empty()), "no program")?;
        let words = || command.argv.iter().chain(command.env.iter().flat_map(|(name, value)| [name, value]));
        require(
            !words().any(|word| word.as_bytes().contains(&0)),
            "a NUL in the command or its environment",
        )?;
        let bytes: usize = words().map(|word| word.as_bytes().len() + 2).sum();
        require(bytes <= MAX_COMMAND_BYTES, "command and environment are larger than 1 MiB")?;
        let is_name = |name: &ByteString| !name.as_bytes().is_empty() && !name.as_bytes().contains(&b'=');
        require(
            command.env.iter().all(|(name, _)| is_name(name)),
            "an environment name that is empty or has a `=`",
        )?;
        require_plain(&command.cwd, "the working directory")
    }

    fn check_policy(&self) -> Result<(), String> {
        let name_length = self.instance.len();
        require(
            (1..=128).contains(&name_length) && !self.instance.contains(char::is_control),
            "a bad instance name",
        )?;
        require((1..=31).contains(&self.stop.signal), "a stop signal that is none")?;
        require(self.segment_bytes >= 4096, "segments smaller than 4 KiB")?;
        require(self.log_bytes >= 2 * self.segment_bytes, "a log that has no room for two segments")?;
        require_plain(&self.log_dir, "the log folder")
    }
}

impl Walls {
    fn check(&self) -> Result<(), String> {
        let is_host_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        let is_host = (1..=63).contains(&self.hostname.len()) && self.hostname.bytes().all(is_host_char);
        require(is_host, "a bad host name")?;
        require(self.user.uid != 0 && self.user.gid != 0, "an app never runs as root")?;
        require(self.app.len() <= MAX_LAYERS && self.binds.len() <= MAX_BINDS, "too many layers or mounts")?;
        let both = self.app_dir.is_some() && (!self.app.is_empty() || self.app_upper.is_some());
        require(!both, "both layers and a directory for `/app`")?;
        require(self.app_upper.is_none() || !self.app.is_empty(), "a writable overlay without layers")?;
        let upper = self.app_upper.iter().flat_map(|upper| [&upper.upper, &upper.work]);
        for path in self.app.iter().chain(&self.app_dir).chain(upper) {
            require_plain(path, "a layer")?;
        }
        for bind in &self.binds {
            require_plain(&bind.source, "the source of a mount")?;
            require_target(&bind.target)?;
        }
        require(self.tmp_bytes >= 4096, "a `/tmp` smaller than 4 KiB")
    }
}

fn require(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

/// Absolute, and nothing but names in it.
fn require_plain(path: &Path, what: &str) -> Result<(), String> {
    let mut parts = path.components();
    let is_absolute = parts.next() == Some(Component::RootDir);
    let is_plain = is_absolute && parts.all(|part| matches!(part, Component::Normal(_)));
    let has_nul = path.as_os_str().as_encoded_bytes().contains(&0);
    require(is_plain && !has_nul, &format!("{what}, `{}`, is not a plain absolute path", path.display()))
}

/// A place that the walls do not need for themselves.
fn require_target(target: &Path) -> Result<(), String> {
    require_plain(target, "the target of a mount")?;
    let is_whole =
        ["/", "/app", "/etc", "/usr", "/tmp", "/run"].iter().any(|taken| target == Path::new(taken));
    let is_kernel = ["/proc", "/dev"].iter().any(|taken| target.starts_with(taken));
    require(!is_whole && !is_kernel, &format!("nothing can be mounted at `{}`", target.display()))
}
