//! Which app and stage a verb means.
//!
//! In order: `--app` and `--stage`; the Git remote `dozen` of the current folder; `DOZEN_APP` and
//! `DOZEN_STAGE`; then the current folder, where it is plainly an app's. The stage is `production`
//! where nothing names one. A remote names both at once, so a stage from the environment never
//! joins an app from a remote.
//!
//! Start reading at [`infer`].

use std::path::Path;

use dozen_control::api::wire::paths;
use dozen_model::{
    hint::Hint,
    names::{AppName, StageName},
};

use crate::{git, settings::Settings};

/// Flags of every verb about one stage of an app.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct AppFlags {
    /// App [default: the Git remote `dozen`, then `DOZEN_APP`, then this folder]
    #[arg(short, long, global = true, value_name = "APP")]
    pub(crate) app: Option<AppName>,

    /// Stage of the app [default: the remote's, then `DOZEN_STAGE`, then production]
    #[arg(short, long, global = true, value_name = "STAGE")]
    pub(crate) stage: Option<StageName>,
}

/// One stage of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The app.
    pub(crate) app: AppName,
    /// The stage.
    pub(crate) stage: StageName,
}

impl Target {
    /// The API's prefix for this stage, and what is below it.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("{}{below}", paths::stage(&self.app, &self.stage))
    }

    /// The flags that name it, from any folder.
    pub(crate) fn flags(&self) -> String {
        format!(" -a {}{}", self.app, self.stage_flag())
    }

    /// The flag of a stage that is not the usual one.
    pub(crate) fn stage_flag(&self) -> String {
        if self.stage == StageName::production() { String::new() } else { format!(" -s {}", self.stage) }
    }

    /// The name of the Git repository that pushes of this stage go to.
    pub(crate) fn repository(&self) -> String {
        format!("{}--{}.git", self.app, self.stage)
    }

    /// The stage that a repository's name, path or URL means.
    pub(crate) fn of_repository(url: &str) -> Option<Self> {
        let name = url.trim_end_matches('/').rsplit(['/', ':']).next()?;
        let (app, stage) = name.strip_suffix(".git")?.split_once("--")?;
        Some(Self { app: app.parse().ok()?, stage: stage.parse().ok()? })
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.stage == StageName::production() {
            write!(f, "{}", self.app)
        } else {
            write!(f, "{} {}", self.app, self.stage)
        }
    }
}

/// Why it is not clear which app is meant.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContextError {
    /// Nothing names one.
    #[error("it is not clear which app is meant")]
    NoApp,
}

impl Hint for ContextError {
    fn hint(&self) -> Option<String> {
        Some("name it with `--app` or in `DOZEN_APP`, or add a Git remote for it with `dozen create --existing`".to_owned())
    }
}

/// The stage that the Git remote `dozen` of a folder means.
///
/// No repository, no remote, no Git: no answer. A verb that needs one says so itself.
pub(crate) fn remote_of(folder: &Path) -> Option<Target> {
    Target::of_repository(&git::config(folder, "remote.dozen.url")?)
}

/// Decides which app and stage are meant.
pub(crate) fn infer(
    flags: &AppFlags,
    remote: Option<&Target>,
    settings: &Settings,
) -> Result<Target, ContextError> {
    let app = match (&flags.app, remote) {
        (Some(app), _) => app.clone(),
        (None, Some(remote)) => remote.app.clone(),
        (None, None) => settings.app.clone().ok_or(ContextError::NoApp)?,
    };
    let from_remote = remote.filter(|remote| remote.app == app).map(|remote| remote.stage.clone());
    let stage = flags
        .stage
        .clone()
        .or(from_remote)
        .or_else(|| settings.stage.clone())
        .unwrap_or_else(StageName::production);
    Ok(Target { app, stage })
}

/// A name for the app in a folder that says none: its own, made fit.
pub(crate) fn sanitised(folder: &str) -> String {
    let mut name = String::new();
    for character in folder.chars().flat_map(char::to_lowercase) {
        let fits = character.is_ascii_lowercase() || character.is_ascii_digit();
        if fits {
            name.push(character);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
    name.chars().take(30).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Caller, Environment, GlobalFlags, resolve};

    fn settings(vars: &[(&str, &str)]) -> Settings {
        let caller = Caller {
            root: true,
            passwd_home: || None,
            terminals: (false, false),
            binary: "/usr/bin/dozen".into(),
        };
        resolve(&GlobalFlags::default(), &Environment::of(vars), &caller).unwrap()
    }

    fn flags(app: Option<&str>, stage: Option<&str>) -> AppFlags {
        AppFlags { app: app.map(|a| a.parse().unwrap()), stage: stage.map(|s| s.parse().unwrap()) }
    }

    fn inferred(flags: &AppFlags, remote: Option<&str>, vars: &[(&str, &str)]) -> Option<String> {
        let remote = remote.map(|url| Target::of_repository(url).unwrap());
        let target = infer(flags, remote.as_ref(), &settings(vars)).ok()?;
        Some(format!("{}/{}", target.app, target.stage))
    }

    #[test]
    fn flags_win_over_the_remote_and_the_remote_over_the_environment() {
        let vars = [("DOZEN_APP", "env-app"), ("DOZEN_STAGE", "env-stage")];
        let remote = Some("/x/remote-app--staging.git");
        for (given, remote, want) in [
            (flags(Some("a"), Some("s")), remote, "a/s"),
            (flags(None, Some("s")), remote, "remote-app/s"),
            (flags(None, None), remote, "remote-app/staging"),
            (flags(None, None), None, "env-app/env-stage"),
            // The remote's stage belongs to the remote's app.
            (flags(Some("other"), None), remote, "other/env-stage"),
            (flags(Some("remote-app"), None), remote, "remote-app/staging"),
        ] {
            assert_eq!(inferred(&given, remote, &vars).as_deref(), Some(want), "{given:?}");
        }
    }

    #[test]
    fn the_stage_is_production_where_nothing_names_one() {
        assert_eq!(inferred(&flags(Some("a"), None), None, &[]).as_deref(), Some("a/production"));
        assert_eq!(inferred(&flags(None, None), None, &[]), None);
    }

    #[test]
    fn a_repository_names_its_app_and_stage() {
        for url in
            ["/srv/git/blog--production.git", "ssh://a@h:22/blog--production.git", "h:blog--production.git"]
        {
            let target = Target::of_repository(url).unwrap();
            assert_eq!((target.app.as_str(), target.stage.as_str()), ("blog", "production"), "{url}");
        }
        for bad in
            ["", "blog.git", "/x/blog--production", "/x/Blog--production.git", "/x/a--b--c.git", "/x/--.git"]
        {
            assert_eq!(Target::of_repository(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_folder_lends_its_name_in_the_form_of_an_app_name() {
        for (folder, name) in [
            ("blango", "blango"),
            ("My Site (2)", "my-site-2"),
            ("2nd_try", "nd-try"),
            ("--x--", "x"),
            ("Größe", "gr-e"),
            ("123", ""),
            (&"a".repeat(40), &"a".repeat(30)),
        ] {
            assert_eq!(sanitised(folder), *name, "{folder}");
            assert!(name.is_empty() || sanitised(folder).parse::<AppName>().is_ok());
        }
    }
}
