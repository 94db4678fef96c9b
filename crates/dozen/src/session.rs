//! What a verb works with: settings, output, and the server once it is needed.

use dozen_model::names::{AppName, StageName};

use crate::{
    app_name,
    cli_error::CliError,
    client::ControlClient,
    context::{self, AppFlags, Target},
    output::Output,
    settings::{Caller, Environment, Settings},
};

/// One run of the command line.
pub(crate) struct Session {
    /// What was decided.
    pub(crate) settings: Settings,
    /// Where to write.
    pub(crate) out: Output,
    /// Kept for the settings of the server, which only few verbs need.
    pub(crate) environment: Environment,
    /// The same.
    pub(crate) caller: Caller,
}

impl Session {
    /// Connects to the server.
    pub(crate) async fn control(&self) -> Result<ControlClient, CliError> {
        Ok(ControlClient::connect(&self.settings).await?)
    }

    /// The app and stage that a verb means.
    pub(crate) fn target(&self, flags: &AppFlags) -> Result<Target, CliError> {
        let remote = if flags.app.is_none() || flags.stage.is_none() {
            context::remote_of(".".as_ref())
        } else {
            None
        };
        match context::infer(flags, remote.as_ref(), &self.settings) {
            Ok(target) => Ok(target),
            // Last of all the app that `up` makes of this folder.
            Err(unclear) => match app_name::of_project(".".as_ref()) {
                Some(app) => Ok(self.target_of(app, flags.stage.clone())),
                None => Err(unclear.into()),
            },
        }
    }

    /// The stage that a verb means where the app is given.
    pub(crate) fn target_of(&self, app: AppName, stage: Option<StageName>) -> Target {
        let stage = stage.or_else(|| self.settings.stage.clone()).unwrap_or_else(StageName::production);
        Target { app, stage }
    }
}
