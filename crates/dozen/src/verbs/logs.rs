//! `dozen logs`: the log of a stage, the last lines or as they come.

use std::time::Duration;

use dozen_control::api::wire::{LogItem, LogPosition, LogRecord, StageStatus};
use dozen_model::{
    names::ProcessType,
    printable::{printable, printable_json},
    suggestion::nearest,
};
use http::Method;

use crate::{
    cli_error::{CliError, ExitStatus},
    client::{ControlClient, json},
    context::{AppFlags, Target},
    output::Tint,
    session::Session,
    time_words::{log_stamp, since},
    verbs::ps::target_of,
};

/// How long a server that went away is waited for when the log is followed.
const SERVER_RETURNS: Duration = Duration::from_secs(30);

/// What logs under a name that is no process type.
const OTHER_WRITERS: [&str; 3] = ["run", "release", "router"];

/// Show or follow the log of an app
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dozen logs
  dozen logs -f --ps web.1
  dozen logs -n 1000 --since 10m
  dozen logs --source dozen
  dozen logs -f --json")]
pub(crate) struct LogsArgs {
    /// Go on as lines come
    #[arg(short, long, visible_alias = "tail")]
    follow: bool,

    /// The last so many lines [default: 100]
    #[arg(short = 'n', long = "lines", visible_alias = "num", value_name = "COUNT")]
    lines: Option<usize>,

    /// Only of this process type or instance
    #[arg(short, long, value_name = "TARGET", value_parser = target_of)]
    ps: Option<String>,

    /// Only from this time on: 10m, 2h, 1d, or 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<u64>,

    /// Only what the app wrote, or what dozen wrote
    #[arg(long, value_enum)]
    source: Option<Source>,

    /// Print JSON, one record a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Source {
    App,
    Dozen,
}

/// Runs the verb.
pub(crate) async fn logs(args: LogsArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let target = session.target(&args.app)?;
    let mut control = session.control().await?;
    let path = target.path(&format!("/logs{}", query(&args)));
    let mut heard_of = Heard::default();
    let mut lost_at = tokio::time::Instant::now();
    loop {
        let (method, body) = match &heard_of.position {
            None => (Method::GET, None),
            // The server went away. What was printed is not asked for again.
            Some(position) => (Method::POST, Some(json(position)?)),
        };
        let heard = match control.stream(method, &path, body).await {
            Ok(stream) => {
                let heard = print_all(stream, &args, &mut heard_of, session).await;
                lost_at = tokio::time::Instant::now();
                heard
            }
            Err(error) => Err(error.into()),
        };
        match heard {
            Ok(()) if !args.follow && !heard_of.anything => {
                return explain_nothing(&args, &target, &control).await;
            }
            Ok(()) if !args.follow => return Ok(ExitStatus::Success),
            Err(CliError::Client(error))
                if args.follow && error.is_lost() && lost_at.elapsed() < SERVER_RETURNS => {}
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        if let Ok(again) = control.another().await {
            control = again;
        }
    }
}

/// An empty log is no failure, unless its process type does not exist.
async fn explain_nothing(
    args: &LogsArgs,
    target: &Target,
    control: &ControlClient,
) -> Result<ExitStatus, CliError> {
    let Some(process) = args.ps.as_deref().and_then(|ps| ps.split('.').next()) else {
        return Ok(ExitStatus::Success);
    };
    let status: StageStatus = control.another().await?.get(&target.path("/ps")).await?;
    let known: Vec<&str> = status.processes.keys().map(ProcessType::as_str).collect();
    if known.is_empty() || known.contains(&process) || OTHER_WRITERS.contains(&process) {
        return Ok(ExitStatus::Success);
    }
    let hint = match nearest(process, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("this release has: {}", known.join(", ")),
    };
    let message =
        format!("there is no process type `{process}` in this release, and no line of one in the log");
    Err(CliError::Unavailable { message, hint: Some(hint) })
}

/// What of the log has been printed.
#[derive(Default)]
struct Heard {
    anything: bool,
    /// Where a follower stands behind it.
    position: Option<LogPosition>,
}

/// Prints records until the stream ends; all that are there at once go out in one write. When
/// following, a batch is printed once its position is known: else a part of it could come again.
async fn print_all(
    mut stream: crate::client::Lines,
    args: &LogsArgs,
    heard: &mut Heard,
    session: &Session,
) -> Result<(), CliError> {
    let mut text = String::new();
    loop {
        let items: Vec<LogItem> = stream.batch().await?;
        if items.is_empty() {
            return Ok(());
        }
        for item in items {
            match item {
                LogItem::Line(record) => {
                    text.push_str(&shown(&record, args.json, session.out.style.colour_out));
                    text.push('\n');
                    heard.anything = true;
                }
                LogItem::Position { position } => {
                    session.out.bytes(std::mem::take(&mut text).as_bytes())?;
                    heard.position.get_or_insert_default().advance(position);
                }
                LogItem::Failed { failed } => return Err(CliError::Refused(Box::new(failed))),
            }
        }
        if !args.follow {
            session.out.bytes(std::mem::take(&mut text).as_bytes())?;
        }
    }
}

fn shown(record: &LogRecord, json: bool, colour: bool) -> String {
    if json { json_line(record) } else { line(record, colour) }
}

fn json_line(record: &LogRecord) -> String {
    printable_json(serde_json::to_string(record).unwrap_or_default())
}

/// `2026-11-22T10:00:00.123456+00:00 app[web.1]: text`
fn line(record: &LogRecord, colour: bool) -> String {
    let label = format!("{}[{}]:", printable(&record.source, false), printable(&record.process, false));
    let stamp = Tint::Dim.paint(&log_stamp(record.time_ns), colour);
    format!("{stamp} {} {}", tint_of(record).paint(&label, colour), printable(&record.text, colour))
}

/// Each process type keeps one colour; dozen's own lines are dim.
fn tint_of(record: &LogRecord) -> Tint {
    const TINTS: [Tint; 4] = [Tint::Cyan, Tint::Magenta, Tint::Blue, Tint::Green];
    if record.source == "dozen" {
        return Tint::Dim;
    }
    let process = record.process.split('.').next().unwrap_or_default();
    TINTS[process.bytes().map(usize::from).sum::<usize>() % TINTS.len()]
}

fn query(args: &LogsArgs) -> String {
    let lines = args.lines.or(if args.since.is_none() { Some(100) } else { None });
    let mut parts = vec![format!("follow={}", args.follow)];
    parts.extend(lines.map(|lines| format!("lines={lines}")));
    parts.extend(args.since.map(|since| format!("since_ns={since}")));
    parts.extend(args.ps.as_ref().map(|ps| format!("ps={ps}")));
    parts.extend(args.source.map(|source| match source {
        Source::App => "source=app".to_owned(),
        Source::Dozen => "source=dozen".to_owned(),
    }));
    format!("?{}", parts.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_line_is_printed_as_one_harmless_line() {
        let record = LogRecord {
            time_ns: 1_795_341_600_123_456_000,
            source: "app".to_owned(),
            process: "web.1".to_owned(),
            text: "\x1b[31mred\x1b[2J\nnext\u{9b}2J\u{61c}".to_owned(),
            continued: false,
        };
        assert_eq!(
            line(&record, false),
            "2026-11-22T10:00:00.123456+00:00 app[web.1]: red next\\x9b2J\\u{61c}"
        );
        assert!(line(&record, true).ends_with("\x1b[31mred next\\x9b2J\\u{61c}\x1b[0m"));
        let json = json_line(&record);
        assert!(json.chars().all(dozen_model::printable::is_harmless), "{json:?}");
    }
}
