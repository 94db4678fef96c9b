//! `dozen ps`: what runs, and how many of it.

use std::collections::BTreeMap;

use dozen_control::api::wire::{InstanceStatus, ProcessFilter, StageStatus, TrafficStatus};
use dozen_model::names::{InstanceName, ProcessType};
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::json,
    context::{AppFlags, Target},
    follow::carry_out,
    session::Session,
    table::Table,
    time_words::{now, span},
    verbs::deploy::size_words,
};

/// List processes; scale, restart and stop them
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen ps
  dozen ps scale web=4 worker=2
  dozen ps restart web.1
  dozen ps stop run.3")]
pub(crate) struct PsArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,

    #[command(subcommand)]
    action: Option<PsAction>,
}

#[derive(Debug, clap::Subcommand)]
enum PsAction {
    /// Set how many instances of each process type run
    #[command(after_help = "Examples:\n  dozen ps scale web=4 worker=2\n  dozen ps scale worker=0")]
    Scale {
        /// Process types and counts
        #[arg(value_name = "TYPE=COUNT", required = true, value_parser = count_of)]
        counts: Vec<(ProcessType, u32)>,
    },
    /// Restart instances one after another, without losing a request
    #[command(
        after_help = "Examples:\n  dozen ps restart\n  dozen ps restart worker\n  dozen ps restart web.1"
    )]
    Restart {
        /// A process type or an instance [default: all]
        #[arg(value_parser = target_of)]
        target: Option<String>,
    },
    /// Stop a one-off process, or all instances of a process type
    #[command(
        after_help = "A process type stays stopped until it is scaled again. To stop a whole app, use `dozen down`.

Examples:
  dozen ps stop run.1
  dozen ps stop worker"
    )]
    Stop {
        /// A one-off process or a process type
        #[arg(value_parser = target_of)]
        target: String,
    },
    /// Start again what `dozen down` stopped
    #[command(after_help = "Examples:\n  dozen ps start")]
    Start,
}

/// Runs the verb.
pub(crate) async fn ps(args: PsArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    match args.action {
        None => list(args.json, &target, session).await,
        Some(PsAction::Scale { counts }) => {
            let said: Vec<String> =
                counts.iter().map(|(process, count)| format!("{process}={count}")).collect();
            let body: BTreeMap<ProcessType, u32> = counts.into_iter().collect();
            let ended = carry_out(session, &target, Method::POST, "/scale", Some(json(&body)?)).await?;
            ended.tell(session.out, &target, &format!("scaled to {}", said.join(" ")))
        }
        Some(PsAction::Restart { target: which }) => {
            let said = format!("{} restarted", which.as_deref().unwrap_or("all"));
            filtered("/restart", which, (&said, &target), session).await
        }
        Some(PsAction::Stop { target: which }) => {
            let said = format!("{which} stopped");
            filtered("/stop", Some(which), (&said, &target), session).await
        }
        Some(PsAction::Start) => {
            let ended = carry_out(session, &target, Method::POST, "/start", None).await?;
            ended.tell(session.out, &target, "started")
        }
    }
}

async fn filtered(
    below: &str,
    which: Option<String>,
    (said, target): (&str, &Target),
    session: &Session,
) -> Result<ExitStatus, CliError> {
    let body = json(&ProcessFilter { target: which })?;
    let ended = carry_out(session, target, Method::POST, below, Some(body)).await?;
    ended.tell(session.out, target, said)
}

async fn list(json: bool, target: &Target, session: &Session) -> Result<ExitStatus, CliError> {
    let status: StageStatus = session.control().await?.get(&target.path("/ps")).await?;
    if json {
        session.out.json(&status)?;
        return Ok(ExitStatus::Success);
    }
    let release = status.release.map_or_else(|| "not deployed yet".to_owned(), |release| release.to_string());
    let down = if status.stopped { ", down" } else { "" };
    let traffic = status.traffic.as_ref().map(traffic_words).unwrap_or_default();
    session.out.note(format_args!("{target} {release}{down}{traffic}"));
    let mut types = Table::with_heading(&["TYPE", "WANTED", "COMMAND"]);
    for (process, command) in &status.processes {
        let wanted = status.formation.get(process).copied().unwrap_or(u32::from(process.is_web()));
        types.row([process.to_string(), wanted.to_string(), command.clone()]);
    }
    let mut instances = Table::with_heading(&[
        "NAME",
        "STATE",
        "RELEASE",
        "FOR",
        "RESTARTS",
        "MEMORY",
        "ENDPOINT",
        "IN FLIGHT",
    ]);
    status.instances.iter().for_each(|instance| instances.row(cells(instance)));
    for line in types.lines() {
        session.out.result(line)?;
    }
    if !status.instances.is_empty() {
        session.out.result("")?;
        for line in instances.lines() {
            session.out.result(line)?;
        }
    }
    if !status.walls.is_empty() {
        let walls = status.walls.join(", ");
        session.out.note(format_args!("\nwalls: {}", dozen_model::printable::printable(&walls, false)));
    }
    Ok(ExitStatus::Success)
}

/// `, in maintenance, paused for 12s more`.
fn traffic_words(traffic: &TrafficStatus) -> String {
    let mut words = if traffic.maintenance { ", in maintenance".to_owned() } else { String::new() };
    if let Some(left) = traffic.paused_for_ms {
        words.push_str(&format!(", paused for {} more", span((left / 1000).cast_signed())));
    }
    words
}

/// `crashed: exit status 9, starts again in 8s`; a one-off process with its command.
fn state_words(instance: &InstanceStatus, now: i64) -> String {
    let mut words = instance.state.clone();
    if let Some(reason) = &instance.reason {
        words.push_str(&format!(": {reason}"));
    }
    match instance.starts_again_at {
        Some(at) if at > now => words.push_str(&format!(", starts again in {}", span(at - now))),
        Some(_) => words.push_str(", starts again now"),
        None => {}
    }
    if let Some(command) = &instance.command {
        words.push_str(&format!(" ({command})"));
    }
    words
}

fn cells(instance: &InstanceStatus) -> [String; 8] {
    let dash = || "-".to_owned();
    [
        instance.name.to_string(),
        state_words(instance, now()),
        instance.release.to_string(),
        span(now() - instance.started_at),
        instance.restarts.to_string(),
        instance.memory.map_or_else(dash, size_words),
        instance.endpoint.clone().unwrap_or_else(dash),
        instance.in_flight.map_or_else(dash, |count| count.to_string()),
    ]
}

/// `web=2`.
fn count_of(text: &str) -> Result<(ProcessType, u32), String> {
    let refused =
        || format!("write a process type and a count, such as `web=2`, not `{}`", text.escape_default());
    let (process, count) = text.split_once('=').ok_or_else(refused)?;
    let plain = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
    let count = count.parse().ok().filter(|_| plain).ok_or_else(refused)?;
    Ok((process.parse().map_err(|error: dozen_model::names::NameError| error.to_string())?, count))
}

/// `web` or `web.1`.
pub(super) fn target_of(text: &str) -> Result<String, String> {
    let instance = text.parse::<InstanceName>().map(drop);
    match instance.or_else(|_| text.parse::<ProcessType>().map(drop)) {
        Ok(()) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_a_process_type_and_a_number() {
        assert_eq!(count_of("web=2").unwrap(), (ProcessType::web(), 2));
        for bad in ["web", "web=", "web=-1", "web=+1", "=2", "we b=2", "web=99999999999"] {
            assert!(count_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_a_process_type_or_an_instance() {
        for good in ["web", "web.1", "my_worker"] {
            assert!(target_of(good).is_ok(), "{good}");
        }
        for bad in ["", "web.0", "a/b", "web?x=1"] {
            assert!(target_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_crashed_instance_says_why_and_when_it_starts_again() {
        let mut worker = InstanceStatus {
            name: "worker.1".parse().unwrap(),
            state: "crashed".into(),
            reason: Some("exit status 9".into()),
            starts_again_at: Some(108),
            release: "v1".parse().unwrap(),
            started_at: 90,
            restarts: 4,
            memory: None,
            pid: None,
            endpoint: None,
            in_flight: None,
            command: None,
            who: None,
        };
        assert_eq!(state_words(&worker, 100), "crashed: exit status 9, starts again in 8s");
        assert_eq!(state_words(&worker, 108), "crashed: exit status 9, starts again now");
        (worker.starts_again_at, worker.command) = (None, Some("sh".into()));
        assert_eq!(state_words(&worker, 100), "crashed: exit status 9 (sh)");
    }
}
