//! One build while it runs: its input, its scratch folder, its listener, its deadline.
//!
//! Every command goes through [`Session::run`]: lines are redacted and cut before anyone sees
//! them, the last ones are kept for the error, and nothing runs after a cancel or the deadline.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use dozen_model::printable::printable;
use rustix::fs::FlockOperation;

use crate::{
    build::BuildInput,
    build_secrets::{BuildSecrets, is_called_secret, secret_words},
    error::BuildError,
    events::BuildEvents,
    network_settings::add_pip_config,
    redaction::redact,
    step::{StepEnd, StepRunner, StepWatch, WalledStep},
    steps::{HOME, by_hand::ByHand, writable},
    store::{Lease, set_mode},
    tree_copy::give_tree,
    tree_removal::{empty_folder, remove_tree},
};

/// Lines kept for an error.
const TAIL: usize = 40;
/// The longest line that is passed on.
const LONGEST_LINE: usize = 4096;
/// Bytes of one step's output that are passed on; the last lines are kept for an error anyway.
const MOST_HEARD: usize = 4 << 20;
/// How often a cache that another build has is asked for.
const LOCK_BEAT: Duration = Duration::from_millis(100);

/// One build while it runs.
pub(crate) struct Session<'a> {
    pub(crate) input: &'a BuildInput<'a>,
    runner: &'a dyn StepRunner,
    events: &'a mut dyn BuildEvents,
    scratch: PathBuf,
    /// The machine's network settings, and before them what a `pip.conf` among the secrets says.
    pub(crate) network: BTreeMap<String, String>,
    /// The build-secret files.
    pub(crate) secrets: BuildSecrets,
    /// Values that log lines must not show.
    hidden: Vec<Vec<u8>>,
    deadline: Instant,
    step: (String, Instant),
    /// Locks of the tool caches in use; given back at the end.
    tool_locks: BTreeMap<String, File>,
    /// Layers that this build uses.
    pub(crate) leases: Vec<Lease>,
}

/// How a command ended, and its last lines.
pub(crate) struct Ended {
    pub(crate) end: StepEnd,
    pub(crate) tail: Vec<String>,
}

impl Ended {
    pub(crate) fn is_well(&self) -> bool {
        self.end == StepEnd::Exited(0)
    }
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        input: &'a BuildInput<'a>,
        runner: &'a dyn StepRunner,
        events: &'a mut dyn BuildEvents,
    ) -> Result<Self, BuildError> {
        let secrets = BuildSecrets::read(&input.secret_files)?;
        let mut network = BTreeMap::new();
        add_pip_config(&mut network, &secrets.text("pip.conf").unwrap_or_default());
        for (name, value) in &input.network_env {
            network.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let hidden = hidden(input, &network, &secrets);
        let scratch = tempfile::Builder::new()
            .prefix("build-")
            .tempdir_in(input.store.tmp())
            .map_err(BuildError::io("make a folder in `tmp`"))?
            .keep();
        let now = Instant::now();
        let deadline = now + BuildInput::DEFAULT_TIMEOUT;
        Ok(Self {
            input,
            runner,
            events,
            scratch,
            network,
            secrets,
            hidden,
            deadline,
            step: (String::new(), now),
            tool_locks: BTreeMap::new(),
            leases: Vec::new(),
        })
    }

    /// The build's own folder, which ends with it.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Sets the time that the whole build may take.
    pub(crate) fn limit(&mut self, timeout: Duration) {
        self.deadline = Instant::now() + timeout;
    }

    pub(crate) fn start(&mut self, step: &str) -> Result<(), BuildError> {
        self.check_cancelled()?;
        self.step = (step.to_owned(), Instant::now());
        self.events.step_started(step);
        Ok(())
    }

    pub(crate) fn end(&mut self, decision: &str) {
        self.events.step_ended(&self.step.0, decision, self.step.1.elapsed());
    }

    /// A line of ours in the log of the current step.
    pub(crate) fn say(&mut self, line: &str) {
        self.events.line(&self.step.0, line);
    }

    fn check_cancelled(&self) -> Result<(), BuildError> {
        if self.input.cancel.load(Ordering::Relaxed) { Err(BuildError::Cancelled) } else { Ok(()) }
    }

    /// A new folder in the scratch folder.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, BuildError> {
        let path = self.scratch.join(name);
        std::fs::create_dir_all(&path).map_err(BuildError::io("make a folder of the build"))?;
        set_mode(&path, 0o755)?;
        Ok(path)
    }

    /// Gives a tree to the user that builds, where there is one.
    pub(crate) fn give(&self, path: &Path) -> Result<(), BuildError> {
        match self.input.build_user {
            Some(user) => give_tree(path, user.uid, user.gid),
            None => Ok(()),
        }
    }

    /// Takes the download cache of one tool for this app, until the build ends: two stages of an
    /// app may build at once, each as another user.
    pub(crate) fn take_tool_cache(&mut self, tool: &str) -> Result<(), BuildError> {
        if self.tool_locks.contains_key(tool) {
            return Ok(());
        }
        let doing = "lock a cache folder";
        let path = self.input.store.cache().join(tool).join(self.input.app.as_str());
        std::fs::create_dir_all(&path).map_err(BuildError::io("make a cache folder"))?;
        let lock = File::open(&path).map_err(BuildError::io(doing))?;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < self.deadline => {
                    self.check_cancelled()?;
                    std::thread::sleep(LOCK_BEAT);
                }
                Err(errno) => return Err(BuildError::os(doing)(errno)),
            }
        }
        self.tool_locks.insert(tool.to_owned(), lock);
        Ok(())
    }

    /// The download cache of one tool for this app, which was taken, owned by the user that builds.
    ///
    /// It goes with the app: see [`crate::store::LayerStore::forget_app`], which knows the tools.
    pub(crate) fn tool_cache(&self, tool: &str) -> Result<PathBuf, BuildError> {
        use std::os::unix::fs::MetadataExt;
        debug_assert!(self.tool_locks.contains_key(tool), "the cache of {tool} was not taken");
        let path = self.input.store.cache().join(tool).join(self.input.app.as_str());
        std::fs::create_dir_all(&path).map_err(BuildError::io("make a cache folder"))?;
        let owner = std::fs::metadata(&path).map_err(BuildError::io("read a cache folder"))?.uid();
        if self.input.build_user.is_some_and(|user| user.uid != owner) {
            match self.give(&path) {
                // An earlier build made it so: no later one could use it.
                Err(BuildError::EntryRefused { .. }) => {
                    empty_folder(&path)?;
                    self.give(&path)?;
                }
                given => given?,
            }
        }
        Ok(path)
    }

    /// A cache of one tool that ends with the build.
    pub(crate) fn own_cache(&self, tool: &str) -> Result<PathBuf, BuildError> {
        let path = self.folder(&format!("{tool}-cache"))?;
        self.give(&path)?;
        Ok(path)
    }

    /// Runs one command; a bad end is the caller's matter, except when the build is to stop.
    pub(crate) fn run(&mut self, step: WalledStep) -> Result<Ended, BuildError> {
        let step = self.prepare(step)?;
        let (events, name) = (&mut *self.events, &self.step.0);
        let heard = Heard { secrets: &self.hidden, cancel: &self.input.cancel };
        run_step(self.runner, &step, &heard, &mut |line| events.line(name, line))
    }

    /// Runs one command, and what is done with its result, on a thread of its own while `meanwhile`
    /// uses the session. Its lines are kept for an error only.
    pub(crate) fn run_beside<R: Send, T>(
        &mut self,
        step: WalledStep,
        then: impl FnOnce(Ended) -> Result<R, BuildError> + Send,
        meanwhile: impl FnOnce(&mut Self) -> Result<T, BuildError>,
    ) -> Result<(R, T), BuildError> {
        let step = self.prepare(step)?;
        let (runner, secrets) = (self.runner, self.hidden.clone());
        let heard = Heard { secrets: &secrets, cancel: &self.input.cancel };
        std::thread::scope(|scope| {
            let (step, heard) = (&step, &heard);
            let beside = scope.spawn(move || run_step(runner, step, heard, &mut |_| {}).and_then(then));
            let made = meanwhile(self);
            let result = beside.join().map_err(|_| BuildError::Walls {
                step: step.name.clone(),
                reason: "its thread ended early".into(),
            })?;
            Ok((result?, made?))
        })
    }

    fn prepare(&self, mut step: WalledStep) -> Result<WalledStep, BuildError> {
        self.check_cancelled()?;
        let home = self.folder("home")?;
        std::fs::create_dir_all(home.join("tmp")).map_err(BuildError::io("make a folder of the build"))?;
        self.give(&home)?;
        step.binds.push(writable(&home, HOME));
        let left = self.deadline.saturating_duration_since(Instant::now());
        step.timeout = step.timeout.min(left);
        step.build_user = self.input.build_user;
        Ok(step)
    }

    /// Runs one command of an install, which must end well.
    pub(crate) fn run_well(&mut self, step: WalledStep, by_hand: &ByHand) -> Result<(), BuildError> {
        let name = step.name.clone();
        let ended = self.run(step)?;
        if ended.is_well() {
            return Ok(());
        }
        let advice = by_hand.advice(&ended.tail);
        Err(failed(&name, ended, advice).done_by_hand_with(&by_hand.install))
    }
}

/// The stage's secrets, the passwords of network settings and of secret files.
fn hidden(
    input: &BuildInput<'_>,
    network: &BTreeMap<String, String>,
    secrets: &BuildSecrets,
) -> Vec<Vec<u8>> {
    let mut hidden = input.secrets.clone();
    for (name, value) in network {
        hidden.extend(secret_words(value));
        hidden.extend(is_called_secret(name).then(|| value.clone().into_bytes()));
    }
    hidden.extend(secrets.words());
    hidden
}

/// What a step's lines are rid of, and what ends it early.
struct Heard<'a> {
    secrets: &'a [Vec<u8>],
    cancel: &'a AtomicBool,
}

/// Runs one prepared command and passes its lines on, up to [`MOST_HEARD`].
fn run_step(
    runner: &dyn StepRunner,
    step: &WalledStep,
    heard: &Heard<'_>,
    pass_on: &mut dyn FnMut(&str),
) -> Result<Ended, BuildError> {
    let mut tail = VecDeque::new();
    let mut passed = 0;
    let mut line = |bytes: &[u8]| {
        // Redacted before it is cut: half a secret would not be found.
        let clean = redact(bytes, heard.secrets);
        let text = shown_line(&String::from_utf8_lossy(&clean[..clean.len().min(LONGEST_LINE)]));
        if passed < MOST_HEARD {
            pass_on(&text);
            passed += text.len() + 1;
            if passed >= MOST_HEARD {
                pass_on("(more than 4 MiB of output; the rest is left out)");
            }
        }
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(text);
    };
    let mut watch = StepWatch { line: &mut line, cancel: heard.cancel };
    let end = runner.run(step, &mut watch)?;
    if end == StepEnd::Cancelled {
        return Err(BuildError::Cancelled);
    }
    Ok(Ended { end, tail: tail.into_iter().collect() })
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // Hundreds of files, and nobody waits for them to be gone; a server that ends meanwhile
        // leaves the rest to the next start.
        let scratch = std::mem::take(&mut self.scratch);
        std::thread::spawn(move || {
            if let Err(error) = remove_tree(&scratch) {
                tracing::warn!(%error, "a build's scratch folder stays until the next start");
            }
        });
    }
}

/// The error for a command that did not end well.
pub(crate) fn failed(step: &str, ended: Ended, advice: Option<String>) -> BuildError {
    BuildError::StepFailed {
        step: step.to_owned(),
        end: ended.end,
        advice: advice.or_else(|| tail_advice(&ended.tail)),
        tail: ended.tail,
        by_hand: None,
    }
}

/// What a tool's own words call for.
fn tail_advice(tail: &[String]) -> Option<String> {
    let says = |text: &str| tail.iter().any(|line| line.contains(text));
    if says("The lockfile at `uv.lock` needs to be updated") {
        return Some("uv.lock does not match pyproject.toml: run `uv lock` and commit uv.lock".to_owned());
    }
    if says("No space left on device") {
        return Some("make room on the disk of DOZEN_HOME; `dozen doctor` says how much is free".to_owned());
    }
    None
}

/// A line as it is passed on and kept: a screen gets no control characters from an app, and the lines
/// of an error are the same as those that were heard.
fn shown_line(line: &str) -> String {
    printable(line, false).replace('\t', "    ").trim_end().to_owned()
}
