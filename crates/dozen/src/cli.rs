//! The command line: what can be typed, and the way from there to a verb.
//!
//! One variant a verb, one file a verb in [`crate::verbs`]. The top-level help is grouped by what a
//! user wants; a test checks that every verb stands in exactly one group. Nothing here connects,
//! reads a file or decides: `dozen --help` costs a few milliseconds.
//!
//! Start reading at [`Verb`] and [`main`].

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    cli_error::{CliError, ExitStatus},
    heroku_forms,
    output::{ColourChoice, Output, Style},
    session::Session,
    settings::{self, Caller, Environment, GlobalFlags},
    verbs,
};

mod grouped_help;

#[cfg(test)]
mod tests;

/// A twelve-factor platform in one binary: builds, releases and runs web apps on your own machine
#[derive(Debug, Parser)]
#[command(name = "dozen", version, disable_help_subcommand = true, subcommand_required = true)]
#[command(arg_required_else_help = true, max_term_width = 100, subcommand_value_name = "VERB")]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalFlags,

    #[command(subcommand)]
    verb: Verb,
}

/// What dozen can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Up(verbs::up::UpArgs),
    Down(verbs::down::DownArgs),
    Create(verbs::create::CreateArgs),
    Deploy(verbs::deploy::DeployArgs),
    Apps(verbs::apps::AppsArgs),
    Destroy(verbs::destroy::DestroyArgs),
    Builds(verbs::builds::BuildsArgs),
    Releases(verbs::releases::ReleasesArgs),
    Rollback(verbs::rollback::RollbackArgs),
    Config(verbs::config::ConfigArgs),
    Services(verbs::services::ServicesArgs),
    Domains(verbs::domains::DomainsArgs),
    Maintenance(verbs::maintenance::MaintenanceArgs),
    Pause(verbs::pause::PauseArgs),
    Resume(verbs::resume::ResumeArgs),
    Certs(verbs::certs::CertsArgs),
    Ps(verbs::ps::PsArgs),
    Run(verbs::run::RunArgs),
    Logs(verbs::logs::LogsArgs),
    Doctor(verbs::doctor::DoctorArgs),
    Server(verbs::server::ServerArgs),
    Completions(verbs::completions::CompletionsArgs),
    #[command(hide = true)]
    Reference(verbs::reference::ReferenceArgs),
    #[command(hide = true)]
    ApiBridge(verbs::api_bridge::ApiBridgeArgs),
    #[command(hide = true)]
    ReceivePack(verbs::receive_pack::ReceivePackArgs),
    #[command(hide = true)]
    Hook(verbs::hook::HookArgs),
}

/// The whole command line as a tree, with the grouped help on top.
pub(crate) fn command() -> clap::Command {
    grouped_help::apply(Cli::command())
}

/// Runs the command line.
pub(crate) fn main() -> ExitCode {
    let environment = Environment::read();
    let caller = Caller::current();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let name = if words.is_empty() { "dozen".into() } else { words.remove(0) };
    let words = heroku_forms::rewrite(words);
    let style = Style::decide(colour_choice(&words), &environment, caller.terminals);
    let matches =
        command().color(clap_colour(&words)).try_get_matches_from(std::iter::once(name).chain(words));
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, Output { style }),
    };
    let out = Output { style };
    let status =
        settings::resolve(&cli.global, &environment, &caller).map_err(CliError::from).and_then(|settings| {
            run(cli.verb, &Session { out: Output { style: settings.style }, settings, environment, caller })
        });
    match status {
        Ok(status) => ExitCode::from(status.code()),
        Err(error) => {
            if !matches!(error, CliError::OutputClosed) {
                out.error(&error);
            }
            ExitCode::from(error.code())
        }
    }
}

/// Prints help, the version, or what is wrong with the words. Status 0 for what was asked for.
fn usage(error: &clap::Error, out: Output) -> ExitCode {
    match own_words(error) {
        Some(text) => out.usage_error(&text),
        // Nobody reading it is no reason for another status.
        None => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// What our own parser says of a value: it names the value and the rule, and clap would put both
/// behind the value once more.
fn own_words(error: &clap::Error) -> Option<String> {
    let is_value = error.kind() == clap::error::ErrorKind::ValueValidation;
    let text = std::error::Error::source(error).filter(|_| is_value)?.to_string();
    text.starts_with('`').then_some(text)
}

/// `--color`, looked for before the words are parsed: help and errors need it too.
fn colour_choice(words: &[OsString]) -> Option<ColourChoice> {
    let words: Vec<&str> =
        words.iter().map_while(|word| word.to_str().filter(|word| *word != "--")).collect();
    let spelt = words.iter().find_map(|word| word.strip_prefix("--color="));
    let apart = words.windows(2).find(|pair| pair[0] == "--color").map(|pair| pair[1]);
    clap::ValueEnum::from_str(spelt.or(apart)?, false).ok()
}

fn clap_colour(words: &[OsString]) -> clap::ColorChoice {
    match colour_choice(words) {
        Some(ColourChoice::Always) => clap::ColorChoice::Always,
        Some(ColourChoice::Never) => clap::ColorChoice::Never,
        Some(ColourChoice::Auto) | None => clap::ColorChoice::Auto,
    }
}

/// Runs a verb: those that talk to nobody at once, the others in a runtime of one thread.
fn run(verb: Verb, session: &Session) -> Result<ExitStatus, CliError> {
    let verb = match local(verb, session) {
        Ok(done) => return done,
        Err(verb) => verb,
    };
    start_log(session);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|source| {
        CliError::System { what: "the asynchronous runtime could not be started", source }
    })?;
    let status = runtime.block_on(asking(*verb, session));
    // A read of stdin may still be waiting; nobody waits for it.
    runtime.shutdown_background();
    status
}

/// Verbs that need no connection; the others come back.
fn local(verb: Verb, session: &Session) -> Result<Result<ExitStatus, CliError>, Box<Verb>> {
    match verb {
        Verb::Completions(args) => Ok(verbs::completions::completions(&args, session)),
        Verb::Reference(args) => Ok(verbs::reference::reference(&args, session)),
        Verb::ReceivePack(args) => Ok(verbs::receive_pack::receive_pack(&args, session)),
        // Control, the watcher and systemd's unit: none of them may find a runtime running.
        Verb::Server(args) if args.is_local() => Ok(verbs::server::local(&args, session)),
        other => Err(Box::new(other)),
    }
}

/// Verbs that ask the server.
async fn asking(verb: Verb, session: &Session) -> Result<ExitStatus, CliError> {
    match verb {
        Verb::Up(args) => verbs::up::up(args, session).await,
        Verb::Down(args) => verbs::down::down(args, session).await,
        Verb::Create(args) => verbs::create::create(args, session).await,
        Verb::Deploy(args) => verbs::deploy::deploy(args, session).await,
        Verb::Apps(args) => verbs::apps::apps(args, session).await,
        Verb::Destroy(args) => verbs::destroy::destroy(args, session).await,
        Verb::Builds(args) => verbs::builds::builds(args, session).await,
        Verb::Releases(args) => verbs::releases::releases(args, session).await,
        Verb::Rollback(args) => verbs::rollback::rollback(args, session).await,
        Verb::Config(args) => verbs::config::config(args, session).await,
        Verb::Services(args) => verbs::services::services(args, session).await,
        Verb::Domains(args) => verbs::domains::domains(args, session).await,
        Verb::Maintenance(args) => verbs::maintenance::maintenance(args, session).await,
        Verb::Pause(args) => verbs::pause::pause(args, session).await,
        Verb::Resume(args) => verbs::resume::resume(args, session).await,
        Verb::Certs(args) => verbs::certs::certs(args, session).await,
        Verb::Ps(args) => verbs::ps::ps(args, session).await,
        Verb::Run(args) => verbs::run::run(args, session).await,
        Verb::Logs(args) => verbs::logs::logs(args, session).await,
        Verb::Doctor(args) => verbs::doctor::doctor(args, session).await,
        Verb::Server(args) => verbs::server::server(args, session).await,
        Verb::ApiBridge(args) => verbs::api_bridge::api_bridge(args, session).await,
        Verb::Hook(args) => verbs::hook::hook(args, session).await,
        Verb::Completions(_) | Verb::Reference(_) | Verb::ReceivePack(_) => Ok(ExitStatus::Success),
    }
}

/// Diagnostics of a verb, on stderr, when `DOZEN_LOG` asks for them.
fn start_log(session: &Session) {
    if let Some(level) = &session.settings.log {
        let filter = tracing_subscriber::EnvFilter::new(level);
        // A second start in one process is none.
        drop(tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init());
    }
}
