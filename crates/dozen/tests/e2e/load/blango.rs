//! Stock Blango under a load, and the changes that are made to it meanwhile.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::traffic::{Log, Traffic};
use crate::{
    crash::processes::kill,
    host::{TestHost, wait_for},
    project::Project,
};

const APP: &str = "blango";

/// The Django that the example locks, and one that a change may lock instead.
const OTHER_DJANGO: &str = include_str!("other_django.txt");

/// Blango on a server of its own.
pub struct Blango {
    pub host: TestHost,
    project: Project,
    changes: Vec<Change>,
    count: u32,
    migrations: Vec<String>,
}

/// A change that was answered: from then on this release serves, with this Django.
#[derive(Debug)]
struct Change {
    what: &'static str,
    done: Instant,
    took: Duration,
    release: u64,
    django: String,
}

impl Blango {
    /// Deployed with `/hits/` on, and threads enough for the slow requests of the traffic.
    pub fn deployed() -> Self {
        let host = TestHost::start();
        let project = Project::example(APP);
        host.dozen_in(project.folder(), ["create", APP]).succeeds();
        host.dozen(["config", "set", "-a", APP, "HITS=1", "HITS_SLEEP=1", "WEB_THREADS=16"]).succeeds();
        host.dozen_in(project.folder(), ["deploy", "-a", APP]).succeeds();
        let mut blango =
            Self { host, project, changes: Vec::new(), count: 0, migrations: vec!["0001_initial".into()] };
        blango.note("the first deploy", Instant::now());
        blango
    }

    pub fn traffic(&self) -> Traffic {
        Traffic::start(self.host.port(), &format!("{APP}.localhost"))
    }

    /// What `/version` says.
    pub fn version(&self) -> Value {
        serde_json::from_str(&self.host.get(APP, "/version").body).expect("the version as JSON")
    }

    fn note(&mut self, what: &'static str, began: Instant) {
        let version = self.version();
        let number = version["release"].as_str().and_then(|release| release.strip_prefix('v')?.parse().ok());
        self.changes.push(Change {
            what,
            done: Instant::now(),
            took: began.elapsed(),
            release: number.expect("a release"),
            django: version["django"].as_str().expect("a version").to_owned(),
        });
    }

    fn run(&mut self, what: &'static str, words: &[&str]) {
        let began = Instant::now();
        self.host.dozen_in(self.project.folder(), words.iter().copied()).succeeds();
        self.note(what, began);
    }

    fn next(&mut self) -> u32 {
        self.count += 1;
        self.count
    }

    /// Other code, the same packages.
    pub fn deploy(&mut self) {
        let note = format!("# change {}\n", self.next());
        self.project.write("hits/stamp.py", &note);
        self.project.commit("code");
        self.run("deploy", &["deploy", "-a", APP]);
    }

    /// Another Django, or the first one again.
    pub fn deploy_other_packages(&mut self) {
        let locked = std::fs::read_to_string(self.project.folder().join("uv.lock")).expect("the lock file");
        let example = crate::host::examples().join(APP).join("uv.lock");
        let first = std::fs::read_to_string(example).expect("the example's lock file");
        let next = if locked == first { with_other_django(&first) } else { first };
        self.project.write("uv.lock", &next);
        self.project.commit("packages");
        let before = self.changes.last().expect("a change").django.clone();
        self.run("deploy of other packages", &["deploy", "-a", APP]);
        let change = self.changes.last().expect("a change");
        assert_ne!(change.django, before, "the deploy serves with its own packages");
    }

    /// A migration that adds a column which the code before knows nothing of and which may not be
    /// NULL.
    pub fn deploy_migration(&mut self) {
        let number = self.migrations.len() + 1;
        let (before, name) = (self.migrations.last().expect("the first"), format!("{number:04}_note"));
        let migration = format!(
            "from django.db import migrations, models\n\n\nclass Migration(migrations.Migration):\n    \
             dependencies = [(\"hits\", \"{before}\")]\n    operations = [migrations.AddField(\
             \"hit\", \"note{number}\", models.CharField(max_length=9, default=\"x\"))]\n"
        );
        self.project.write(&format!("hits/migrations/{name}.py"), &migration);
        let models =
            std::fs::read_to_string(self.project.folder().join("hits/models.py")).expect("the models");
        let field = format!("    note{number} = models.CharField(max_length=9, default=\"x\")\n");
        let at = models.find("\n    def ").expect("a method");
        self.project.write("hits/models.py", &format!("{}{field}{}", &models[..at], &models[at..]));
        self.migrations.push(name);
        self.project.commit("migration");
        self.run("deploy of a migration", &["deploy", "-a", APP]);
    }

    pub fn set_config(&mut self) {
        let pair = format!("GREETING=hello{}", self.next());
        self.run("config set", &["config", "set", "-a", APP, &pair]);
    }

    /// Two instances, or one again.
    pub fn scale(&mut self) {
        let wanted = if self.host.up_instances(APP).len() == 1 { "web=2" } else { "web=1" };
        self.run("scale", &["ps", "scale", "-a", APP, wanted]);
    }

    pub fn restart(&mut self) {
        self.run("restart", &["ps", "restart", "-a", APP]);
    }

    /// Kills control and starts the next one.
    pub fn kill_control(&mut self) {
        let began = Instant::now();
        self.host.kill_control();
        self.host.start_server();
        self.note("kill of control", began);
    }

    /// Kills control in the middle of a change; the next one brings the change to its end.
    pub fn kill_control_in_a_change(&mut self) {
        let began = Instant::now();
        let pair = format!("GREETING=hello{}", self.next());
        let mut command = self.host.command(["config", "set", "-a", APP, &pair]);
        let quiet = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut child = quiet.spawn().expect("the binary");
        std::thread::sleep(Duration::from_millis(u64::from(self.count) * 137 % 1100));
        self.host.kill_control();
        self.host.start_server();
        let _ = child.wait().expect("its end");
        wait_for("the change to end", Duration::from_secs(60), || {
            let builds = self.host.dozen(["builds", "-a", APP, "--json"]).succeeds().stdout;
            (!builds.contains("\"running\"") && !builds.contains("\"queued\"")).then_some(())
        });
        self.note("kill of control in a change", began);
    }

    fn only_instance_up(&self) -> Option<Value> {
        let instances = self.host.ps(APP)["instances"].as_array().cloned().unwrap_or_default();
        instances.into_iter().find(|instance| instance["state"] == "up")
    }

    /// Kills the main process of the app (-9); when it was gone, and how long until another one serves.
    pub fn kill_main_process(&self) -> (Instant, Duration) {
        let before = self.only_instance_up().expect("an instance");
        let pid = before["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
        let killed = Instant::now();
        kill(pid);
        let gone = Instant::now();
        wait_for("the instance to be started again", Duration::from_secs(30), || {
            self.only_instance_up().filter(|now| now["restarts"] != before["restarts"])
        });
        assert_eq!(self.host.get(APP, "/version").status, 200, "held until it serves");
        (gone, killed.elapsed())
    }

    /// How long a change took, the last of its kind.
    pub fn took(&self, what: &str) -> Duration {
        let of_kind = self.changes.iter().rev().find(|change| change.what == what);
        of_kind.map(|change| change.took).expect("such a change")
    }

    /// Every request was answered well, by the release that served, with that release's packages,
    /// and every acknowledged `POST` is stored once.
    pub fn assert_nothing_lost(&self, log: &Log, began: Instant) {
        let failures = log.failures(began);
        assert!(
            failures.is_empty(),
            "{} of {} failed: {failures:#?}\n{}",
            failures.len(),
            log.0.len(),
            self.told(began)
        );
        for one in &log.0 {
            let before = self.changes.iter().rev().find(|change| change.done <= one.sent);
            let release = one.release.expect("each answer names its release");
            if let Some(change) = before {
                assert!(
                    release >= change.release,
                    "after {} an older release answered: {one:?}",
                    change.what
                );
            }
            if let Some(version) = &one.version {
                // A migration and a restart keep the packages; each release has one set of them.
                let of_release = self.changes.iter().find(|change| change.release == release);
                let django = of_release.map(|change| change.django.as_str());
                assert!(
                    django.is_none_or(|django| version["django"] == django),
                    "the packages of another: {one:?}"
                );
                assert_eq!(version["prefix"], "/app/.venv");
            }
        }
        self.assert_stored_once(log);
    }

    fn assert_stored_once(&self, log: &Log) {
        let counted: Value = serde_json::from_str(&self.host.get(APP, "/hits/count").body).expect("counts");
        assert_eq!(counted["distinct"], counted["total"], "none is stored twice");
        assert_eq!(counted["total"], log.acknowledged(), "acknowledged POSTs are rows");
    }

    /// What was changed, for people.
    pub fn told(&self, began: Instant) -> String {
        let line = |change: &Change| {
            let at = change.done.saturating_duration_since(began).as_secs_f64();
            format!("{at:7.2} s  v{} {} ({:.2} s)\n", change.release, change.what, change.took.as_secs_f64())
        };
        self.changes.iter().map(line).collect()
    }
}

/// The lock file with the other Django in it.
fn with_other_django(lock: &str) -> String {
    let name = "name = \"django\"\n";
    let at = lock.find(name).expect("Django in the lock file") + name.len();
    let end = at + lock[at..].find("\n[[package]]").expect("a package after it");
    let package: Vec<&str> = lock[at..end].lines().collect();
    let mut other = OTHER_DJANGO.lines();
    let mut replaced = String::new();
    for line in package {
        let is_pinned =
            line.starts_with("version") || line.starts_with("sdist") || line.starts_with("    { url");
        let line = if is_pinned { other.next().expect("a line for each that pins") } else { line };
        replaced.push_str(line);
        replaced.push('\n');
    }
    format!("{}{replaced}{}", &lock[..at], &lock[end..])
}
