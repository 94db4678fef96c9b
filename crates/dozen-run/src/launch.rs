//! From a release to the spec that a shim is given.
//!
//! Everything an instance gets is decided here and nowhere else: its environment, its command
//! line, its mounts, how it ends. A launch is a pure function of its plan, so the same release
//! started twice is the same twice, and a shim that has to adopt gets what the dead one had.
//!
//! It reads no file and starts nothing. The config it handles is secret: neither its errors nor
//! the `Debug` of what it returns show a value.
//!
//! Start reading at [`LaunchPlan`].

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use dozen_model::{
    command_line::{Command, CommandTemplate},
    digest::Digest,
    image::Image,
    manifest::{ByteSize, ProcessSettings, StopSignal},
    names::{AppName, ConfigVar, InstanceName, StageName},
    release::ReleaseNumber,
};
use dozen_sandbox::spec::{
    Attach, Bind, ByteString, CommandSpec, LaunchSpec, Limits, Network, Restart, StopPolicy, Walls, WallsUser,
};

use crate::RunError;

mod environment;
#[cfg(test)]
mod tests;
mod web_concurrency;

use environment::{Environment, environment, is_reserved};

/// What to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchCommand<'a> {
    /// A Procfile line: variables are expanded, a shell runs it only where it needs one.
    Line(&'a str),
    /// A program and its arguments, taken as they are.
    Words(&'a [String]),
}

impl<'a> LaunchCommand<'a> {
    /// The command of a one-off process: a single word with spaces is a line, so that
    /// `dozen run "python manage.py check"` works as well as the words one by one.
    pub fn of_words(words: &'a [String]) -> Self {
        match words {
            [line] if line.contains(' ') => Self::Line(line),
            words => Self::Words(words),
        }
    }
}

/// One instance that is to be started, in the words of the model.
#[derive(Clone, Copy)]
pub struct LaunchPlan<'a> {
    /// The app.
    pub app: &'a AppName,
    /// Its stage.
    pub stage: &'a StageName,
    /// The release it runs.
    pub release: ReleaseNumber,
    /// The commit the image was built from; an archive has none.
    pub commit: Option<&'a str>,
    /// The instance, such as `web.1` or `run.3`.
    pub instance: &'a InstanceName,
    /// What to run.
    pub command: LaunchCommand<'a>,
    /// The release's image.
    pub image: &'a Image,
    /// Where a layer lies in the store.
    pub layer_path: &'a dyn Fn(&Digest) -> PathBuf,
    /// The release's config and the URLs of its services.
    pub config: &'a BTreeMap<ConfigVar, Vec<u8>>,
    /// What its backing services mount: volumes, a database's folder or socket.
    pub service_mounts: &'a [Bind],
    /// Who it runs as.
    pub user: WallsUser,
    /// Its `PORT`, if it has an endpoint.
    pub port: Option<u16>,
    /// Memory, cpu and stopping, of [`dozen_model::manifest::AppManifest::settings_of`].
    pub settings: &'a ProcessSettings,
    /// Limits that the kernel enforces for each of its processes.
    pub limits: Limits,
    /// The size of its `/tmp`.
    pub tmp: ByteSize,
    /// What follows its end.
    pub restart: Restart,
    /// Given for a one-off process that somebody is attached to.
    pub attach: Option<Attach>,
    /// The folder of its log segments.
    pub log_dir: &'a Path,
}

impl LaunchPlan<'_> {
    /// The spec for the shim.
    pub fn spec(&self) -> Result<LaunchSpec, RunError> {
        let (command, by_shell) = self.command_spec()?;
        Ok(LaunchSpec {
            instance: self.instance.to_string(),
            walls: self.walls(),
            command,
            restart: self.restart,
            stop: self.stop_policy(by_shell),
            log_dir: self.log_dir.to_owned(),
            segment_bytes: dozen_model::segment::DEFAULT_SEGMENT_BYTES,
            log_bytes: dozen_model::segment::DEFAULT_LOG_BYTES,
            limits: self.limits,
            attach: self.attach,
            lifeline: false,
        })
    }

    /// The command and its environment, and whether a shell runs it.
    fn command_spec(&self) -> Result<(CommandSpec, bool), RunError> {
        let mut environment = environment(self);
        let (argv, by_shell) = match self.command {
            LaunchCommand::Words(words) => {
                (words.iter().map(|word| word.clone().into_bytes()).collect(), false)
            }
            LaunchCommand::Line(line) => self.expand(line, &mut environment)?,
        };
        let argv: Vec<ByteString> = argv.into_iter().map(ByteString::from).collect();
        if argv.is_empty() {
            return Err(self.bad_command("it has no command".to_owned()));
        }
        let env = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Ok((CommandSpec { argv, env, cwd: PathBuf::from("/app") }, by_shell))
    }

    fn expand(&self, line: &str, environment: &mut Environment) -> Result<(Vec<Vec<u8>>, bool), RunError> {
        let expanded = CommandTemplate::parse(line)
            .and_then(|template| template.expand(|name| environment.get(name).cloned()))
            .map_err(|error| self.bad_command(error.to_string()))?;
        if let Some((name, _)) = expanded.env.iter().find(|(name, _)| is_reserved(name)) {
            return Err(self.bad_command(format!("it sets `{name}`, which dozen alone sets")));
        }
        environment.extend(expanded.env);
        Ok(match expanded.command {
            Command::Exec { argv } => (argv, false),
            Command::Shell { script } => {
                (vec![b"/bin/sh".to_vec(), b"-c".to_vec(), script.into_bytes()], true)
            }
        })
    }

    fn bad_command(&self, reason: String) -> RunError {
        RunError::BadCommand { process: self.instance.to_string(), reason }
    }

    /// A shell does not pass the stop signal on, so then every process inside gets it.
    fn stop_policy(&self, by_shell: bool) -> StopPolicy {
        let grace = self.settings.grace().min(ProcessSettings::LONGEST_GRACE);
        StopPolicy {
            signal: signal_number(self.settings.stop_signal.unwrap_or_default()),
            grace: grace.max(Duration::from_millis(1)),
            all: self.settings.signal_all.unwrap_or(by_shell),
        }
    }

    fn walls(&self) -> Walls {
        let (overlay, at_prefix): (Vec<_>, Vec<_>) =
            self.image.layers.iter().partition(|layer| layer.mounts.is_empty());
        let layer_path = self.layer_path;
        let runtime = at_prefix.iter().flat_map(|layer| {
            let root = layer_path(&layer.digest);
            layer.mounts.iter().map(move |target| Bind {
                source: root.join(target.trim_start_matches('/')),
                target: PathBuf::from(target),
                writable: false,
            })
        });
        let mut binds: Vec<Bind> = runtime.chain(self.service_mounts.iter().cloned()).collect();
        // A parent comes before what lies in it.
        binds.sort_by(|one, other| one.target.cmp(&other.target));
        Walls {
            hostname: self.hostname(),
            user: self.user,
            app: overlay.iter().map(|layer| layer_path(&layer.digest)).collect(),
            app_upper: None,
            app_dir: None,
            binds,
            tmp_bytes: self.tmp.bytes(),
            network: Network::Host,
        }
    }

    /// A host name that tells instances apart in the app's own messages: `blango-web-1`.
    fn hostname(&self) -> String {
        let name = format!("{}-{}", self.app, self.instance).replace(['.', '_'], "-");
        // The number at the end is what differs, so a long name is cut at its start.
        let cut = name.len().saturating_sub(63);
        name[cut..].trim_matches('-').to_owned()
    }
}

/// The number of a stop signal on Linux.
fn signal_number(signal: StopSignal) -> i32 {
    match signal {
        StopSignal::Hup => 1,
        StopSignal::Int => 2,
        StopSignal::Quit => 3,
        StopSignal::Usr1 => 10,
        StopSignal::Usr2 => 12,
        StopSignal::Term => 15,
        StopSignal::Winch => 28,
    }
}
