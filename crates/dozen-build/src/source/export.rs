//! Exports a commit, or the working tree with its changes, as a canonical tar stream.
//!
//! Runs as the calling user, in the command line or in a Git hook: only that user may read the
//! repository, and in a pre-receive hook the objects are still in quarantine. The tree comes from
//! `ls-tree` and `cat-file`, not from `git archive`, whose attributes would change it.
//!
//! Start reading at [`export_git`].

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, ExitStatus, Stdio},
};

use dozen_model::suggestion::nearest;
use serde::{Deserialize, Serialize};

use super::{
    SourceLimits, Tally,
    git::{Git, refused},
    lfs_pointer::is_lfs_pointer,
    safe_parts,
    tree_stream::TreeStream,
    working_tree,
};
use crate::error::{BuildError, shown, shown_path};

/// What to export.
#[derive(Debug, Clone)]
pub struct GitRequest<'a> {
    /// The repository, a folder in it, or a bare repository.
    pub repository: &'a Path,
    /// A commit, branch or tag; `HEAD` for the current commit.
    pub reference: &'a str,
    /// The folder of the repository that holds the app, relative to its top; `None` for the top.
    pub subfolder: Option<&'a str>,
    /// What to do with uncommitted changes.
    pub changes: UncommittedChanges,
    /// How much the tree may hold.
    pub limits: SourceLimits,
}

/// What to do with changes of the working tree that are in no commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UncommittedChanges {
    /// They stop the export.
    Refuse,
    /// They are exported and the result is marked as dirty.
    Take,
    /// There is no working tree to look at: a hook, or a named commit.
    Ignore,
}

/// What was exported; goes into the build's record, not into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedTree {
    /// The commit's full name.
    pub commit: String,
    /// `git describe --tags --always`.
    pub describe: String,
    /// The branch, where the reference is one.
    pub branch: Option<String>,
    /// The first line of the commit message, escaped and cut.
    pub subject: String,
    /// Whether uncommitted changes were taken.
    pub dirty: bool,
    /// Files and links exported.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// Writes the tree to `writer` and says what it was.
pub fn export_git(request: &GitRequest<'_>, writer: impl Write) -> Result<ExportedTree, BuildError> {
    let git = Git::at(request.repository);
    if git.line(&["rev-parse", "--git-dir"])?.is_none() {
        return Err(why_no_repository(&git, request.repository)?);
    }
    let commit = commit_of(&git, request.reference)?;
    let folder = request.subfolder.map(|folder| folder.trim_matches('/')).filter(|f| !matches!(*f, "" | "."));
    if let Some(folder) = folder {
        safe_parts(folder.as_bytes())?;
    }
    let changed = match request.changes {
        UncommittedChanges::Ignore => Vec::new(),
        _ => working_tree::changes(&git, folder)?,
    };
    let mut tally = Tally::new(request.limits);
    let mut stream = TreeStream::new(writer);
    let dirty = !changed.is_empty();
    if dirty && request.changes == UncommittedChanges::Refuse {
        let names = changed.iter().take(5).map(|name| shown(name)).collect();
        return Err(BuildError::Uncommitted { names, more: changed.len().saturating_sub(5) });
    }
    if dirty {
        working_tree::write(&git, folder, &mut stream, &mut tally)?;
    } else {
        write_commit(&git, &commit, folder, (&mut stream, &mut tally))?;
    }
    stream.finish()?;
    let branch = match git.line(&["symbolic-ref", "--short", "-q", "HEAD"])? {
        head if request.reference == "HEAD" => head,
        _ => {
            let name = format!("refs/heads/{}", request.reference);
            git.line(&["rev-parse", "--verify", "-q", &name])?.map(|_| request.reference.to_owned())
        }
    };
    let describe = git.line(&["describe", "--tags", "--always", &commit])?.unwrap_or_else(|| commit.clone());
    let subject = git.line(&["log", "-1", "--format=%s", &commit])?.unwrap_or_default();
    Ok(ExportedTree {
        describe: shown(describe.as_bytes()),
        branch: branch.map(|name| shown(name.as_bytes())),
        subject: shown(subject.as_bytes()),
        commit,
        dirty,
        entries: tally.entries,
        bytes: tally.bytes,
    })
}

/// No repository, or one that `git` refuses (another owner): the latter in git's own words.
fn why_no_repository(git: &Git, path: &Path) -> Result<BuildError, BuildError> {
    let arguments = ["rev-parse", "--git-dir"];
    let output = git.run(&arguments)?;
    let says = String::from_utf8_lossy(&output.stderr);
    if says.contains("dubious ownership") {
        // `fatal: detected dubious ownership in repository at '/srv/shop'`
        let named = says.lines().next().and_then(|line| line.split('\'').nth(1));
        let path = named.map_or_else(|| shown_path(path), |named| shown(named.as_bytes()));
        return Ok(BuildError::ForeignRepository { path });
    }
    Ok(BuildError::NotARepository { path: shown_path(path) })
}

fn commit_of(git: &Git, reference: &str) -> Result<String, BuildError> {
    let wanted = format!("{reference}^{{commit}}");
    let found = git.line(&["rev-parse", "--verify", "-q", "--end-of-options", &wanted])?;
    if let Some(commit) = found {
        return Ok(commit);
    }
    if reference == "HEAD" {
        return Err(BuildError::NoCommit);
    }
    let refs = git.read(&[
        "for-each-ref",
        "--count=10000",
        "--format=%(refname:lstrip=2)",
        "refs/heads",
        "refs/tags",
    ])?;
    let refs = String::from_utf8_lossy(&refs).into_owned();
    Err(BuildError::UnknownReference {
        reference: shown(reference.as_bytes()),
        nearest: nearest(reference, refs.lines()).map(|name| shown(name.as_bytes())),
    })
}

/// The longest line of `git ls-tree` that is read: a path that is allowed, and what stands before it.
const LONGEST_ENTRY: u64 = 8 << 10;

/// One entry of `git ls-tree`.
struct Entry {
    path: Vec<u8>,
    mode: Mode,
    object: String,
    size: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    File,
    Executable,
    Link,
}

fn write_commit<W: Write>(
    git: &Git,
    commit: &str,
    folder: Option<&str>,
    (stream, tally): (&mut TreeStream<W>, &mut Tally),
) -> Result<(), BuildError> {
    let tree = tree_of(git, commit, folder)?;
    let mut entries = entries_of_tree(git, &tree, tally)?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut child = git
        .command()
        .args(["cat-file", "--batch"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(BuildError::io("start `git cat-file`"))?;
    let (Some(asks), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(refused(&["cat-file"], b""));
    };
    let written = std::thread::scope(|scope| {
        let objects = &entries;
        scope.spawn(move || ask_for_objects(asks, objects));
        let mut answers = BufReader::with_capacity(256 << 10, answers);
        entries.iter().try_for_each(|entry| write_entry(entry, &mut answers, stream))
    });
    // Not waited for when the reading side gave up: it may still be writing.
    end_of(&mut child, written.is_err())?;
    written
}

/// Writes one object name a line; ends early, without an error, when nobody reads any more.
fn ask_for_objects(mut asks: ChildStdin, entries: &[Entry]) {
    for entry in entries {
        if asks.write_all(entry.object.as_bytes()).and_then(|()| asks.write_all(b"\n")).is_err() {
            return;
        }
    }
}

fn end_of(child: &mut Child, kill: bool) -> Result<ExitStatus, BuildError> {
    if kill {
        // It may have ended by itself; either way it is gone after the wait.
        let _ = child.kill();
    }
    child.wait().map_err(BuildError::io("wait for `git`"))
}

fn write_entry<W: Write>(
    entry: &Entry,
    answers: &mut impl BufRead,
    stream: &mut TreeStream<W>,
) -> Result<(), BuildError> {
    let reading = || BuildError::io(format!("read `{}` from the repository", shown(&entry.path)));
    let mut head = Vec::new();
    answers.by_ref().take(200).read_until(b'\n', &mut head).map_err(reading())?;
    if head != format!("{} blob {}\n", entry.object, entry.size).as_bytes() {
        return Err(refused(&["cat-file"], b"an object is missing"));
    }
    let mut body = answers.by_ref().take(entry.size);
    if entry.mode == Mode::Link {
        let mut target = Vec::new();
        body.read_to_end(&mut target).map_err(reading())?;
        stream.link(&entry.path, &target)?;
    } else {
        let mut start = Vec::new();
        body.by_ref().take(1024).read_to_end(&mut start).map_err(reading())?;
        if is_lfs_pointer(&start, entry.size) {
            return Err(BuildError::LfsPointer { path: shown(&entry.path) });
        }
        let executable = entry.mode == Mode::Executable;
        stream.file(&entry.path, executable, entry.size, start.as_slice().chain(&mut body))?;
    }
    let mut newline = [0];
    answers.read_exact(&mut newline).map_err(reading())
}

fn tree_of(git: &Git, commit: &str, folder: Option<&str>) -> Result<String, BuildError> {
    let wanted = format!("{commit}:{}", folder.unwrap_or_default());
    let missing = || BuildError::NoSuchFolder {
        folder: shown(folder.unwrap_or(".").as_bytes()),
        reference: format!("commit {}", commit.get(..12).unwrap_or(commit)),
    };
    let tree =
        git.line(&["rev-parse", "--verify", "-q", "--end-of-options", &wanted])?.ok_or_else(missing)?;
    let kind = git.line(&["cat-file", "-t", &tree])?;
    if kind.as_deref() == Some("tree") { Ok(tree) } else { Err(missing()) }
}

/// Lists a tree and counts it meanwhile: a few KiB of a repository can name billions of files, or
/// of empty folders, which are listed for that reason.
fn entries_of_tree(git: &Git, tree: &str, tally: &mut Tally) -> Result<Vec<Entry>, BuildError> {
    let arguments = ["ls-tree", "-r", "-t", "-z", "-l", "--full-tree", tree];
    let mut child = git
        .command()
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(BuildError::io("start `git ls-tree`"))?;
    let Some(listing) = child.stdout.take() else { return Err(refused(&arguments, b"")) };
    let listed = read_listing(BufReader::with_capacity(256 << 10, listing), tally);
    let status = end_of(&mut child, listed.is_err())?;
    let entries = listed?;
    if status.success() { Ok(entries) } else { Err(refused(&arguments, b"an object is missing")) }
}

/// Reads lines that end in NUL, until the tree is too large.
fn read_listing(mut listing: impl BufRead, tally: &mut Tally) -> Result<Vec<Entry>, BuildError> {
    let mut entries = Vec::new();
    let mut folders = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = listing.by_ref().take(LONGEST_ENTRY).read_until(0, &mut line);
        if read.map_err(BuildError::io("read what `git ls-tree` lists"))? == 0 {
            return Ok(entries);
        }
        if line.starts_with(b"040000 ") {
            folders += 1;
        } else {
            tally.count_entry()?;
            let entry = entry_of_line(line.strip_suffix(b"\0").unwrap_or(&line))?;
            tally.count_bytes(entry.size)?;
            entries.push(entry);
        }
        tally.allows(tally.entries + folders)?;
    }
}

/// Reads `MODE TYPE OBJECT SIZE<tab>PATH`.
fn entry_of_line(line: &[u8]) -> Result<Entry, BuildError> {
    let odd = || refused(&["ls-tree"], b"a line that is not understood");
    let tab = line.iter().position(|byte| *byte == b'\t').ok_or_else(odd)?;
    let (facts, path) = (std::str::from_utf8(&line[..tab]).map_err(|_| odd())?, &line[tab + 1..]);
    let [mode, _, object, size] = facts.split_ascii_whitespace().collect::<Vec<_>>()[..] else {
        return Err(odd());
    };
    safe_parts(path)?;
    let mode = match mode {
        "100644" | "100664" => Mode::File,
        "100755" => Mode::Executable,
        "120000" => Mode::Link,
        "160000" => return Err(BuildError::Submodule { path: shown(path) }),
        _ => return Err(odd()),
    };
    let size = size.parse().map_err(|_| odd())?;
    Ok(Entry { path: path.to_vec(), mode, object: object.to_owned(), size })
}
