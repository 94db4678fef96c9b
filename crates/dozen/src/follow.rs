//! Long work followed to its end: drawing, Ctrl-C, and a server that restarts meanwhile.
//!
//! The work goes on in the server whatever happens here. Ctrl-C asks it to cancel; a second one
//! leaves it to itself. A lost connection is made again while the work has a number: its events
//! are kept by the server from the first on, so those already drawn are skipped.
//!
//! Start reading at [`follow`].

use std::time::Duration;

use bytes::Bytes;
use dozen_control::api::wire::{Cancelled, ErrorBody, Outcome, Progress};
use dozen_model::release::ReleaseNumber;
use http::Method;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli_error::{CliError, ExitStatus},
    client::{ClientError, ControlClient, Lines},
    context::Target,
    output::Output,
    progress::ProgressView,
    session::Session,
};

/// How long a server that went away is waited for.
const SERVER_RETURNS: Duration = Duration::from_secs(30);

/// How work ended, when it did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// All of it was done.
    Well {
        /// The release that serves now, when one was made.
        release: Option<ReleaseNumber>,
        /// Addresses at which the stage answers.
        urls: Vec<String>,
    },
    /// The user ended it, or stopped looking; that has been said.
    ByUser,
}

/// Long work under way.
pub(crate) struct Work<'a> {
    /// The connection that carries it, and the way to open another.
    pub(crate) control: &'a mut ControlClient,
    /// The stage it belongs to, where it can be cancelled and asked for again.
    pub(crate) target: Option<&'a Target>,
    /// How work without a number is followed again once its first event was seen.
    pub(crate) again: Option<(Method, String)>,
    /// Where to write.
    pub(crate) out: Output,
}

/// Where a piece of work stands.
#[derive(Default)]
struct Standing {
    deploy: Option<u64>,
    /// Events drawn.
    seen: usize,
    /// Whether Ctrl-C has been pressed before.
    interrupted: bool,
}

/// Follows work to its end. Failed work is an error with the server's reason.
pub(crate) async fn follow(
    mut work: Work<'_>,
    mut lines: Lines,
    view: &mut ProgressView,
) -> Result<Ended, CliError> {
    let mut standing = Standing::default();
    // One listener for all rounds: a new one each time would miss what comes between two.
    let mut interrupts = signal(SignalKind::interrupt())
        .map_err(|source| CliError::System { what: "Ctrl-C cannot be listened for", source })?;
    loop {
        let event = tokio::select! {
            event = lines.next::<Progress>() => event,
            _ = interrupts.recv() => match work.interrupt(&mut standing, view).await {
                Some(ended) => return Ok(ended),
                None => continue,
            },
        };
        match event {
            Ok(Some(event)) => {
                standing.seen += 1;
                if let Progress::Queued { deploy, .. } = event {
                    standing.deploy = Some(deploy);
                }
                view.event(&event);
                if let Progress::Finished { outcome, release, urls, mut error } = event {
                    if let Some(error) = error.as_mut().filter(|error| view.has_shown(&error.log_tail)) {
                        error.log_tail.clear();
                    }
                    return end(outcome, (release, urls), error, work.out);
                }
            }
            Ok(None) => lines = work.resume(&standing, view, cut_off()).await?,
            Err(error) if error.is_lost() => lines = work.resume(&standing, view, error).await?,
            Err(error) => {
                view.finish(true);
                return Err(error.into());
            }
        }
    }
}

/// What the last event says.
fn end(
    outcome: Outcome,
    (release, urls): (Option<ReleaseNumber>, Vec<String>),
    error: Option<ErrorBody>,
    out: Output,
) -> Result<Ended, CliError> {
    match outcome {
        Outcome::Succeeded => Ok(Ended::Well { release, urls }),
        Outcome::Cancelled => {
            out.note("cancelled; what ran before goes on");
            Ok(Ended::ByUser)
        }
        Outcome::Superseded => Err(CliError::Unavailable {
            message: "a newer push took this one's place in the queue".to_owned(),
            hint: Some("see `dozen builds`".to_owned()),
        }),
        Outcome::Failed => Err(error.map_or_else(
            || CliError::Unavailable {
                message: "the server gave no reason for the failure".to_owned(),
                hint: None,
            },
            CliError::from,
        )),
    }
}

fn cut_off() -> ClientError {
    ClientError::Answer("it ended before the work did".into())
}

impl Work<'_> {
    /// Ctrl-C: asks for the end, the first time; `Some` when there is nothing to wait for.
    async fn interrupt(&self, standing: &mut Standing, view: &mut ProgressView) -> Option<Ended> {
        let (Some(target), Some(deploy)) = (self.target, standing.deploy) else {
            view.finish(false);
            self.out.note("no longer following; the server goes on with what has begun");
            return Some(Ended::ByUser);
        };
        if standing.interrupted {
            view.finish(false);
            self.out.note(goes_on(deploy));
            return Some(Ended::ByUser);
        }
        standing.interrupted = true;
        match self.cancel(target, deploy).await {
            Ok(Cancelled { cancelled: true, .. }) => {
                view.say("cancelling; press Ctrl-C once more to stop following")
            }
            Ok(Cancelled { cancelled: false, .. }) => view.say(&format!(
                "too late to cancel: deploy {deploy} goes on; press Ctrl-C once more to stop following"
            )),
            Err(error) => view.say(&format!("could not ask for its end: {error}")),
        }
        None
    }

    async fn cancel(&self, target: &Target, deploy: u64) -> Result<Cancelled, ClientError> {
        let path = target.path(&format!("/deploys/{deploy}/cancel"));
        self.control.another().await?.tell(Method::POST, &path).await
    }

    /// Finds the work again after the connection was lost.
    async fn resume(
        &mut self,
        standing: &Standing,
        view: &mut ProgressView,
        lost: ClientError,
    ) -> Result<Lines, CliError> {
        // Work without a number is told from its beginning; with one, all of it is told again.
        let (method, path, seen, goes_on) = match (self.target, standing.deploy, self.again.clone()) {
            (Some(target), Some(deploy), _) => {
                let path = target.path(&format!("/deploys/{deploy}/events?follow=true"));
                (Method::GET, path, standing.seen, goes_on(deploy))
            }
            (_, _, Some((method, path))) if standing.seen > 0 => {
                (method, path, 0, "the server goes on with it when it is there again".to_owned())
            }
            _ => {
                view.finish(true);
                return Err(unnumbered(self.target, lost));
            }
        };
        let deadline = tokio::time::Instant::now() + SERVER_RETURNS;
        loop {
            match self.again((&method, &path), seen).await {
                Ok(lines) => return Ok(lines),
                Err(error) if error.is_lost() && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => {
                    view.finish(true);
                    self.out.note(goes_on);
                    return Err(error.into());
                }
            }
        }
    }

    /// The work's events from the first on, past those that were seen.
    async fn again(&mut self, (method, path): (&Method, &str), seen: usize) -> Result<Lines, ClientError> {
        *self.control = self.control.another().await?;
        let mut lines = self.control.stream(method.clone(), path, None).await?;
        for _ in 0..seen {
            if lines.next::<serde_json::Value>().await?.is_none() {
                return Err(cut_off());
            }
        }
        Ok(lines)
    }
}

fn goes_on(deploy: u64) -> String {
    format!("deploy {deploy} goes on; see `dozen builds`")
}

/// What is said of work that was asked for and whose number nobody has told.
///
/// The newest change of the stage is not taken for it: it may be somebody else's.
pub(crate) fn unnumbered(target: Option<&Target>, lost: ClientError) -> CliError {
    match target {
        Some(target) if lost.is_cut_off() => CliError::CutOff { lost, target: target.clone() },
        _ => lost.into(),
    }
}

/// Asks a stage for long work and follows it.
pub(crate) async fn carry_out(
    session: &Session,
    target: &Target,
    method: Method,
    below: &str,
    body: Option<Bytes>,
) -> Result<Ended, CliError> {
    let mut control = session.control().await?;
    let lines = control.stream(method, &target.path(below), body).await;
    let lines = lines.map_err(|error| unnumbered(Some(target), error))?;
    let mut view = ProgressView::new(session.out);
    let work = Work { control: &mut control, target: Some(target), again: None, out: session.out };
    follow(work, lines, &mut view).await
}

impl Ended {
    /// One line of result for work that ended well: `blog: v3, GREETING set`.
    pub(crate) fn tell(self, out: Output, target: &Target, what: &str) -> Result<ExitStatus, CliError> {
        match self {
            Self::ByUser => Ok(ExitStatus::Interrupted),
            Self::Well { release: Some(release), .. } => {
                out.result(format_args!("{target}: {release}, {what}"))?;
                Ok(ExitStatus::Success)
            }
            Self::Well { release: None, .. } => {
                out.result(format_args!("{target}: {what}"))?;
                Ok(ExitStatus::Success)
            }
        }
    }
}
