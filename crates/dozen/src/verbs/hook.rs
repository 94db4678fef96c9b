//! `dozen hook` (hidden): deploys a push before Git takes it.
//!
//! Git runs it as `pre-receive` with one line a ref on stdin, while the pushed objects are still in
//! quarantine; the environment says where they are and is left as it is. A deploy that fails
//! makes it end with an error, and then Git refuses the push: the same commit can be pushed again.
//! What it writes reaches the pushing user as `remote: ...`.

use std::{io::Read, path::Path};

use crate::{
    cli_error::{CliError, ExitStatus},
    context::{AppFlags, Target},
    progress::ProgressView,
    session::Session,
    upload::{CommitChoice, Source},
    verbs::deploy,
};

/// Run one of Git's hooks
#[derive(Debug, clap::Args)]
pub(crate) struct HookArgs {
    /// Which one
    #[arg(value_enum)]
    hook: HookName,

    /// Folder of the pushed tree that holds the app
    #[arg(long, value_name = "FOLDER")]
    folder: Option<String>,

    #[command(flatten)]
    app: AppFlags,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum HookName {
    PreReceive,
}

/// The most that Git may have to say about a push.
const LIMIT: u64 = 1 << 20;

/// Runs the verb.
pub(crate) async fn hook(args: HookArgs, session: &Session) -> Result<ExitStatus, CliError> {
    let HookName::PreReceive = args.hook;
    let (Some(app), Some(stage)) = (args.app.app, args.app.stage) else {
        return Err(CliError::Usage { message: "a hook needs `--app` and `--stage`".to_owned(), hint: None });
    };
    let target = Target { app, stage };
    let lines = read_refs(std::io::stdin().lock())?;
    let Some(push) = Push::of(&lines, &target)? else {
        session.out.note("only tags: nothing to deploy");
        return Ok(ExitStatus::Success);
    };
    let mut view = ProgressView::whole(session.out);
    let mut control = session.control().await?;
    view.begin("source", "Source");
    let choice = CommitChoice {
        // Git runs hooks inside the repository, and its environment is relative to that.
        repository: Path::new("."),
        reference: Some(&push.commit),
        folder: args.folder.as_deref(),
        dirty: false,
        working_tree: false,
    };
    let mut source = Source::commit(&choice)?;
    source.about.reference = Some(push.branch);
    deploy::exported(&source, &mut view);
    let ended = deploy::send(session, &mut control, (&target, source), &mut view).await?;
    match deploy::tell_urls(ended, session, &target)? {
        // A deploy that was cancelled has not taken the commit, so neither may Git.
        ExitStatus::Interrupted => Ok(ExitStatus::Unsatisfied),
        status => Ok(status),
    }
}

/// Git's list, whole: a branch behind a cut would be taken without a deploy.
fn read_refs(from: impl Read) -> Result<String, CliError> {
    let mut lines = String::new();
    let read = from.take(LIMIT + 1).read_to_string(&mut lines);
    let read =
        read.map_err(|source| CliError::System { what: "Git's list of refs cannot be read", source })?;
    if read as u64 > LIMIT {
        let message =
            format!("the push names so many refs that their list is larger than {} MiB", LIMIT >> 20);
        return Err(refused(message, Some("push the branch alone, and tags in smaller parts".to_owned())));
    }
    Ok(lines)
}

/// What of a push is deployed.
#[derive(Debug, PartialEq, Eq)]
struct Push {
    commit: String,
    branch: String,
}

impl Push {
    /// Reads Git's lines `OLD NEW REF`. One branch of `main`, `master` and the stage's name is
    /// deployed, tags come along, and anything else is refused. `None` when only tags came.
    fn of(lines: &str, target: &Target) -> Result<Option<Self>, CliError> {
        let mut found: Option<Self> = None;
        for line in lines.lines() {
            let mut words = line.split(' ');
            let (Some(_), Some(commit), Some(reference)) = (words.next(), words.next(), words.next()) else {
                return Err(refused("Git's list of refs is not understood".to_owned(), None));
            };
            if reference.starts_with("refs/tags/") {
                continue;
            }
            let branch = reference.strip_prefix("refs/heads/").unwrap_or(reference);
            if !["main", "master", target.stage.as_str()].contains(&branch) || branch == reference {
                let shown: String = branch.chars().take(100).flat_map(char::escape_default).collect();
                let hint = format!("push it as main: `git push dozen {shown}:main`");
                return Err(refused(
                    format!("`{shown}` is not deployed, only main, master and {}", target.stage),
                    Some(hint),
                ));
            }
            if commit.bytes().all(|b| b == b'0') {
                let hint = format!("run `dozen destroy {0} --confirm {0}` to remove the app", target.app);
                return Err(refused(format!("`{branch}` is deployed and cannot be deleted"), Some(hint)));
            }
            if found.is_some() {
                return Err(refused(
                    "one push deploys one branch".to_owned(),
                    Some("push them one by one".to_owned()),
                ));
            }
            found = Some(Self { commit: commit.to_owned(), branch: branch.to_owned() });
        }
        Ok(found)
    }
}

fn refused(message: String, hint: Option<String>) -> CliError {
    CliError::Unavailable { message, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0000000000000000000000000000000000000000";
    const NEW: &str = "1111111111111111111111111111111111111111";

    fn push(lines: &str) -> Result<Option<String>, CliError> {
        let target = Target { app: "blog".parse().unwrap(), stage: "staging".parse().unwrap() };
        Push::of(lines, &target).map(|push| push.map(|push| push.branch))
    }

    #[test]
    fn main_master_and_the_stages_branch_are_deployed() {
        for branch in ["main", "master", "staging"] {
            let found = push(&format!("{OLD} {NEW} refs/heads/{branch}\n{OLD} {NEW} refs/tags/v1\n"));
            assert_eq!(found.unwrap().as_deref(), Some(branch));
        }
        assert_eq!(push(&format!("{OLD} {NEW} refs/tags/v1\n")).unwrap(), None);
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_and_not_cut() {
        let tag = format!("{OLD} {NEW} refs/tags/{}\n", "t".repeat(100));
        let many = tag.repeat(LIMIT as usize / tag.len());
        assert_eq!(read_refs(many.as_bytes()).unwrap(), many);
        let more = format!("{many}{tag}{OLD} {NEW} refs/heads/main\n");
        assert!(read_refs(more.as_bytes()).is_err());
    }

    #[test]
    fn other_pushes_are_refused() {
        for lines in [
            format!("{OLD} {NEW} refs/heads/topic"),
            format!("{OLD} {NEW} main"),
            format!("{OLD} {NEW} refs/notes/x"),
            format!("{NEW} {OLD} refs/heads/main"),
            format!("{OLD} {NEW} refs/heads/main\n{OLD} {NEW} refs/heads/master"),
            "garbage".to_owned(),
        ] {
            assert!(push(&lines).is_err(), "{lines}");
        }
    }
}
