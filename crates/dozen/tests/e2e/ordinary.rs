//! The whole path as an ordinary user, in surroundings that are less than one is used to.
//!
//! Where the tests run as root they become a user without a name, who can read only what is made
//! for it here; where they do not, they are one already.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{
    client,
    host::{Ran, binary, is_root, make_removable, wait_for},
    project::Project,
};

/// Nobody's number, as in `cargo xtask e2e`.
const USER: u32 = 42_420;

/// A user with a folder, the binary and a small app in it. Dropping it ends the server.
struct Person {
    folder: tempfile::TempDir,
    env: Vec<(&'static str, PathBuf)>,
}

impl Person {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("dzu").tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open to the user");
        fs::copy(binary(), at("dozen")).expect("the binary");
        fs::create_dir(at("home")).expect("a home");
        let project = Project::small("shop");
        let copied = Command::new("cp").arg("-r").arg(project.folder()).arg(at("shop")).status();
        assert!(copied.expect("cp").success());
        let person = Self { folder, env: Vec::new() };
        person.hand_over(&person.at("home"));
        person.hand_over(&person.at("shop"));
        person
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What was made for the user is the user's.
    fn hand_over(&self, path: &Path) {
        if !is_root() {
            return;
        }
        chown(path, Some(USER), Some(USER)).expect("handed over");
        if path.is_dir() {
            for entry in fs::read_dir(path).expect("a folder") {
                self.hand_over(&entry.expect("an entry").path());
            }
        }
    }

    /// A command as the user, with nothing in its environment but what this test gives it.
    fn command(&self, program: &Path, words: &[&str]) -> Command {
        let mut command = if is_root() {
            let user = USER.to_string();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.args(words).env_clear().current_dir(self.at("shop"));
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("DOZEN_LISTEN", "127.0.0.1:0");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    fn dozen(&self, words: &[&str]) -> Ran {
        self.command(&self.at("dozen"), words).output().expect("dozen").into()
    }

    fn port(&self) -> u16 {
        let status = self.dozen(&["server", "status", "--json"]).succeeds().json();
        let address = status["listen"][0].as_str().expect("an address").to_owned();
        address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
    }

    fn get(&self) -> String {
        client::get(self.port(), "shop.localhost", "/").body
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.dozen(&["server", "stop", "--all"]);
        make_removable(self.folder.path());
    }
}

#[test]
fn an_ordinary_user_goes_the_whole_way() {
    let mut person = Person::new();
    person.env.push(("HOME", person.at("home")));
    let up = person.dozen(&["up"]).succeeds();
    assert!(up.stdout.starts_with("http://shop.localhost:"), "{up:#?}");
    assert!(person.get().starts_with("hello v1 "));
    assert!(person.at("home/.local/share/dozen/state.db").exists());

    person.dozen(&["config", "set", "ANSWER=mine"]).succeeds();
    person.dozen(&["ps", "scale", "web=2"]).succeeds();
    assert!(person.get().starts_with("mine v2 "));
    let ran = person.dozen(&["run", "--", "sh", "-c", "id -u; echo $ANSWER"]).succeeds();
    assert!(ran.stdout.ends_with("\nmine\n") && !ran.stdout.starts_with("0\n"), "{ran:#?}");
    wait_for("a line of the second instance", Duration::from_secs(30), || {
        person.dozen(&["logs"]).succeeds().stdout.contains("app[web.2]: listening").then_some(())
    });
    person.dozen(&["rollback", "v1"]).succeeds();
    assert!(person.get().starts_with("hello v3 "));

    person.dozen(&["server", "stop"]).succeeds();
    person.dozen(&["apps"]).fails_with(1);
    person.dozen(&["server", "start", "--detached"]).succeeds();
    wait_for("the app that went on", Duration::from_secs(30), || {
        person.get().starts_with("hello v3 ").then_some(())
    });
    person.dozen(&["destroy", "shop", "--confirm", "shop"]).succeeds();
    assert_eq!(person.dozen(&["apps", "--json"]).succeeds().json().as_array().map(Vec::len), Some(0));
}

#[test]
fn a_home_deeper_than_a_sockets_address_serves_as_well() {
    let mut person = Person::new();
    person.env.push(("HOME", person.at("home")));
    let deep = person.at("home").join("a-folder-with-a-long-name/".repeat(9));
    person.env.push(("DOZEN_HOME", deep));
    person.dozen(&["up"]).succeeds();
    assert!(person.get().starts_with("hello v1 "));
    person.dozen(&["create", "shop", "--existing"]).succeeds();
    let pushed = person.command(Path::new("git"), &["push", "dozen", "main"]).output().expect("git");
    Ran::from(pushed).succeeds();
    assert!(person.get().starts_with("hello v2 "));
}

#[test]
fn a_strict_umask_and_no_home_folder_are_no_obstacle() {
    let mut person = Person::new();
    let nothing = person.dozen(&["up"]).fails_with(1);
    assert!(nothing.stderr.contains("hint: set `HOME` or `DOZEN_HOME`"), "{nothing:#?}");

    person.env.push(("DOZEN_HOME", person.at("home")));
    let dozen = person.at("dozen");
    let script = format!("umask 077; exec {} up", dozen.display());
    let up = person.command(Path::new("sh"), &["-c", &script]).output().expect("sh");
    Ran::from(up).succeeds();
    let ran = person.dozen(&[
        "run",
        "--",
        "sh",
        "-c",
        "echo text > /tmp/file && cat /tmp/file server.py | head -1",
    ]);
    assert_eq!(ran.succeeds().stdout, "text\n");
    assert!(person.get().starts_with("hello v1 "));
    person.dozen(&["create", "shop", "--existing"]).succeeds();
}
