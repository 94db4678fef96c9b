//! What a careful person sets up without dozen: a folder for each release with a virtualenv made
//! by uv, nginx before gunicorn on a unix socket, and HUP to gunicorn's main process.
//!
//! It has no walls, no release numbers and no supervisor, and after a HUP gunicorn's main process
//! still runs the packages it was started with.

use std::{
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::stand::{Folder, HOST, version, wait_until};
use crate::{
    requirements::{Tool, provide},
    task::{TaskError, output},
};

/// nginx's port.
pub(super) const PORT: u16 = 18_413;

const TOOLS: &[Tool] = &[
    Tool { name: "nginx", package: "nginx-light", needed_for: "the set-up by hand" },
    Tool { name: "pip3", package: "python3-pip", needed_for: "uv, which comes as a wheel" },
];

/// The set-up, stopped in the end.
pub(super) struct ByHand<'f> {
    folder: &'f Folder,
    gunicorn: Option<Child>,
    nginx: Option<Child>,
    releases: u32,
    greeting: u32,
}

impl<'f> ByHand<'f> {
    /// Installs what is missing when that was asked for, and makes the first release.
    pub(super) fn start(folder: &'f Folder, install: bool) -> Result<Self, TaskError> {
        provide(TOOLS, install)?;
        let at = |name: &str| folder.path("hand").join(name);
        fs::create_dir_all(at("releases"))?;
        output(Command::new("pip3").args(["install", "--quiet", "uv", "--target"]).arg(at("tools")))?;
        let mut hand = Self { folder, gunicorn: None, nginx: None, releases: 0, greeting: 0 };
        hand.write_config()?;
        hand.release()?;
        hand.start_gunicorn()?;
        hand.start_nginx()?;
        wait_until("the set-up by hand", || Ok(version(PORT).contains(" 200 ")))?;
        Ok(hand)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path("hand").join(name)
    }

    /// What gunicorn reads at each HUP: the one way in which a HUP changes config.
    fn write_config(&self) -> Result<(), TaskError> {
        let text = format!(
            "import os\nos.environ['DOZEN_RELEASE'] = 'greeting-{}'\n\
             os.environ['DOZEN_COMMIT'] = open('{}/COMMIT').read().strip()\n\
             bind = 'unix:{}'\nchdir = '{}'\nworkers = 2\nthreads = 4\nworker_class = 'gthread'\n",
            self.greeting,
            self.at("current").display(),
            self.at("socket").display(),
            self.at("current").display(),
        );
        Ok(fs::write(self.at("gunicorn.py"), text)?)
    }

    fn env(&self, command: &mut Command) {
        let database = format!("sqlite:///{}?timeout=20", self.at("db.sqlite3").display());
        command.env("SECRET_KEY", "only-for-this-benchmark").env("ALLOWED_HOSTS", ".localhost");
        command.env("DJANGO_CONFIGURATION", "Prod").env("DATABASE_URL", database);
        command.env("PYTHONPATH", self.at("current")).env_remove("VIRTUAL_ENV");
    }

    /// Checks the tree out, installs, collects, migrates, and makes it the current one.
    fn release(&mut self) -> Result<(), TaskError> {
        self.releases += 1;
        let new = self.at(&format!("releases/{}", self.releases));
        let commit = self.folder.git(&["rev-parse", "HEAD"])?;
        self.folder.git(&[
            "worktree",
            "add",
            "--detach",
            "--force",
            &new.to_string_lossy(),
            commit.trim(),
        ])?;
        fs::write(new.join("COMMIT"), commit)?;
        let uv = self.at("tools/bin/uv");
        output(Command::new(uv).args(["sync", "--locked", "--no-dev", "--quiet"]).current_dir(&new))?;
        for words in [["manage.py", "collectstatic"], ["manage.py", "migrate"]] {
            let mut python = Command::new(new.join(".venv/bin/python"));
            self.env(&mut python);
            output(
                python.args(words).args(["--noinput", "-v", "0"]).env("PYTHONPATH", &new).current_dir(&new),
            )?;
        }
        let next = self.at("next");
        symlink(&new, &next)?;
        fs::rename(next, self.at("current"))?;
        Ok(())
    }

    fn start_gunicorn(&mut self) -> Result<(), TaskError> {
        let mut gunicorn = Command::new(self.at("current/.venv/bin/gunicorn"));
        self.env(&mut gunicorn);
        gunicorn.arg("-c").arg(self.at("gunicorn.py")).arg("blango.wsgi").current_dir(self.at("current"));
        self.gunicorn = Some(gunicorn.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
        Ok(())
    }

    fn start_nginx(&mut self) -> Result<(), TaskError> {
        let text = format!(
            "daemon off; user root; pid {0}/nginx.pid; error_log {0}/nginx.log; events {{}}\n\
             http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/p;\n\
             fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             server {{ listen 127.0.0.1:{PORT}; server_name {HOST};\n\
             location / {{ proxy_pass http://unix:{0}/socket; proxy_set_header Host $host; }} }} }}\n",
            self.at("").display()
        );
        fs::write(self.at("nginx.conf"), text)?;
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(self.at("nginx.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        self.nginx = Some(nginx.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").spawn()?);
        Ok(())
    }

    /// A release of the newest commit.
    pub(super) fn deploy(&mut self) -> Result<(), TaskError> {
        self.release()?;
        self.reload()
    }

    /// Another value of a config var; what `/version` says then comes back.
    pub(super) fn set_config(&mut self) -> Result<String, TaskError> {
        self.greeting += 1;
        self.write_config()?;
        self.reload()?;
        Ok(format!("greeting-{}", self.greeting))
    }

    /// The release before the current one, by its link; config and packages stay.
    pub(super) fn rollback(&mut self, to: u32) -> Result<(), TaskError> {
        let next = self.at("next");
        symlink(self.at(&format!("releases/{to}")), &next)?;
        fs::rename(next, self.at("current"))?;
        self.reload()
    }

    fn reload(&self) -> Result<(), TaskError> {
        let pid = self.gunicorn.as_ref().map(Child::id).unwrap_or_default().to_string();
        output(Command::new("kill").args(["-HUP", &pid])).map(drop)
    }

    /// The number of the current release.
    pub(super) fn releases(&self) -> u32 {
        self.releases
    }
}

impl Drop for ByHand<'_> {
    fn drop(&mut self) {
        for child in [self.nginx.take(), self.gunicorn.take()].into_iter().flatten() {
            // TERM: both end their own workers.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let mut child = child;
            let _ = child.wait();
        }
    }
}
