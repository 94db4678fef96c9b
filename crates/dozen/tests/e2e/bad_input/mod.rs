//! Bad input of every kind: what is said, where it points, what to do next, and the exit status.
//!
//! Each test runs the real binary and compares what it told whole, with a snapshot: one page for
//! one kind of mistake, to be read from the user's chair. What differs from run to run is replaced
//! (see [`Page`]); steps that went well are left out.
//!
//! Start reading at [`Page::add`].

use std::fmt::Write as _;

use crate::{
    host::{Ran, TestHost},
    project::Project,
};

mod apps;
mod archives;
mod builds;
mod declarations;
mod disk;
mod names;
mod server;
mod source;

/// What commands told, one section for each.
struct Page {
    text: String,
    replaced: Vec<(String, &'static str)>,
}

impl Page {
    /// An empty page; the host's folder and port are replaced on it.
    fn of(host: &TestHost) -> Self {
        let home = host.home().display().to_string();
        let port = format!(":{}", host.port());
        Self { text: String::new(), replaced: vec![(home, "[HOST]"), (port, ":[PORT]")] }
    }

    /// Replaces one more text, such as a temporary folder's name.
    fn replace(&mut self, text: impl ToString, by: &'static str) -> &mut Self {
        self.replaced.insert(0, (text.to_string(), by));
        self
    }

    /// Adds what a command told.
    fn add(&mut self, case: &str, ran: &Ran) -> &mut Self {
        let mut told = format!("{}{}", ran.stdout, ran.stderr);
        for (text, by) in &self.replaced {
            told = told.replace(text.as_str(), by);
        }
        let _ = writeln!(self.text, "### {case}: exit status {}", ran.status);
        for line in told.lines().filter(|line| !is_routine(line)) {
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
        self.text.push('\n');
        self
    }

    /// Deploys a project and adds what that told.
    fn add_up(&mut self, host: &TestHost, case: &str, project: &Project) -> &mut Self {
        let ran = host.dozen_in(project.folder(), ["up", "."]);
        self.add(case, &ran)
    }
}

/// Steps that went well or have begun, looks at an app that is not there yet (a slow machine has one more), and
/// the server's diagnostics with their times.
fn is_routine(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(['✓', '…']) || line.starts_with("20") || line.ends_with("web.1: does not listen yet")
}

/// A host whose output looks the same on every machine.
fn host() -> TestHost {
    TestHost::start_with(&[("LC_ALL", "C.UTF-8")])
}

/// The line of `text` that has `part` in it.
#[track_caller]
fn line_with<'a>(text: &'a str, part: &str) -> &'a str {
    text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no `{part}` in: {text}"))
}
