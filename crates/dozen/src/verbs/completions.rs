//! `dozen completions`: what a shell needs to complete our words.

use clap_complete::Shell;

use crate::{
    cli,
    cli_error::{CliError, ExitStatus},
    session::Session,
};

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen completions bash > ~/.local/share/bash-completion/completions/dozen
  dozen completions zsh > ~/.zfunc/_dozen
  dozen completions fish > ~/.config/fish/completions/dozen.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs the verb.
pub(crate) fn completions(args: &CompletionsArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "dozen", &mut script);
    session.out.bytes(&script)?;
    Ok(ExitStatus::Success)
}
