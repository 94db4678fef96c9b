//! The source of a deploy on its way to the server.
//!
//! The calling user reads the repository, nobody else may: the tree is exported here as a canonical
//! tar stream and sent as the body of one request. It is written down first (in memory while it
//! is small), because what was exported, such as the commit and whether it is dirty, goes ahead of
//! it in a header, and because a tree that is refused must not leave half a request behind.
//!
//! Start reading at [`Source::commit`] and [`Source::archive`].

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use dozen_build::{
    BuildError,
    source::{
        SourceLimits,
        export::{GitRequest, UncommittedChanges, export_git},
    },
};
use dozen_control::api::wire::{ArchiveFormat, DeploySource};
use dozen_model::hint::Hint;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};
use tempfile::SpooledTempFile;

use crate::client::RequestBody;

/// Below this a tree is kept in memory.
const IN_MEMORY: usize = 8 << 20;

/// How much of the tree is sent at once.
const PIECE: usize = 256 << 10;

/// Why the source could not be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The repository does not give the tree.
    #[error(transparent)]
    Export(#[from] BuildError),
    /// The archive cannot be used.
    #[error("`{}` cannot be read", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its name does not say what it is.
    #[error("`{}` is not an archive that dozen knows", path.display())]
    UnknownArchive {
        /// The file.
        path: PathBuf,
    },
    /// There is no room for the tree.
    #[error("the exported tree could not be kept until it is sent")]
    Spool(#[source] io::Error),
}

impl Hint for UploadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Export(error) => error.hint(),
            Self::UnknownArchive { .. } => Some("give a `.tar.gz`, `.tgz`, `.tar` or `.zip` file".to_owned()),
            Self::Archive { .. } | Self::Spool(_) => None,
        }
    }
}

/// What of a repository is meant.
#[derive(Debug, Clone)]
pub(crate) struct CommitChoice<'a> {
    /// The repository, or a folder in it.
    pub(crate) repository: &'a Path,
    /// A commit, branch or tag; the current commit where none is named.
    pub(crate) reference: Option<&'a str>,
    /// The folder that holds the app, relative to the top.
    pub(crate) folder: Option<&'a str>,
    /// Whether uncommitted changes are taken.
    pub(crate) dirty: bool,
    /// Whether there is a working tree to look at.
    pub(crate) working_tree: bool,
}

/// A source ready to be sent.
pub(crate) struct Source {
    /// What it is.
    pub(crate) about: DeploySource,
    /// Its size in bytes.
    pub(crate) size: u64,
    content: SpooledTempFile,
}

impl Source {
    /// Exports a commit, or the working tree with its changes.
    pub(crate) fn commit(choice: &CommitChoice<'_>) -> Result<Self, UploadError> {
        let changes = match choice {
            CommitChoice { working_tree: true, reference: None, dirty: true, .. } => UncommittedChanges::Take,
            CommitChoice { working_tree: true, reference: None, dirty: false, .. } => {
                UncommittedChanges::Refuse
            }
            _ => UncommittedChanges::Ignore,
        };
        let request = GitRequest {
            repository: choice.repository,
            reference: choice.reference.unwrap_or("HEAD"),
            subfolder: choice.folder,
            changes,
            limits: SourceLimits::default(),
        };
        let mut content = SpooledTempFile::new(IN_MEMORY);
        let tree = export_git(&request, &mut content)?;
        let about = DeploySource {
            commit: Some(tree.commit),
            reference: choice.reference.map(str::to_owned).or(tree.branch),
            subject: Some(tree.subject),
            folder: choice.folder.map(str::to_owned),
            dirty: tree.dirty,
            ..DeploySource::default()
        };
        Self::of(about, content)
    }

    /// Takes an archive as it is; the server unpacks it.
    pub(crate) fn archive(path: &Path) -> Result<Self, UploadError> {
        let format =
            archive_format(path).ok_or_else(|| UploadError::UnknownArchive { path: path.to_owned() })?;
        let unreadable = |source| UploadError::Archive { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        let mut content = SpooledTempFile::new(IN_MEMORY);
        io::copy(&mut file, &mut content).map_err(unreadable)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let about = DeploySource { reference: name, archive: Some(format), ..DeploySource::default() };
        Self::of(about, content)
    }

    fn of(about: DeploySource, mut content: SpooledTempFile) -> Result<Self, UploadError> {
        content.flush().map_err(UploadError::Spool)?;
        let size = content.stream_position().map_err(UploadError::Spool)?;
        content.seek(SeekFrom::Start(0)).map_err(UploadError::Spool)?;
        Ok(Self { about, size, content })
    }

    /// The source in words: `1f3a9c2 Fix the footer`.
    pub(crate) fn words(&self) -> String {
        let commit = self.about.commit.as_deref().map(|commit| commit.get(..7).unwrap_or(commit));
        let name = commit.or(self.about.reference.as_deref()).unwrap_or_default();
        let dirty = if self.about.dirty { " with uncommitted changes" } else { "" };
        format!("{name}{dirty} {}", self.about.subject.as_deref().unwrap_or_default()).trim_end().to_owned()
    }

    /// The body of the request.
    pub(crate) fn into_body(self) -> RequestBody {
        SpoolBody { content: self.content, left: self.size }.boxed_unsync()
    }
}

/// The format that a file's name says.
fn archive_format(path: &Path) -> Option<ArchiveFormat> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    match () {
        () if ends(&[".tar.gz", ".tgz"]) => Some(ArchiveFormat::TarGz),
        () if ends(&[".tar"]) => Some(ArchiveFormat::Tar),
        () if ends(&[".zip"]) => Some(ArchiveFormat::Zip),
        () => None,
    }
}

/// A request body that reads what was written down. Reading blocks, from memory or from a file that
/// was just written; nothing else runs in this process meanwhile.
struct SpoolBody {
    content: SpooledTempFile,
    left: u64,
}

impl Body for SpoolBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        let mut piece = BytesMut::zeroed(PIECE);
        Poll::Ready(Some(this.content.read(&mut piece).and_then(|read| {
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            piece.truncate(read);
            this.left = this.left.saturating_sub(read as u64);
            Ok(Frame::data(piece.freeze()))
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_name_says_the_format() {
        for (name, format) in [
            ("a.tar.gz", Some(ArchiveFormat::TarGz)),
            ("A.TGZ", Some(ArchiveFormat::TarGz)),
            ("a.tar", Some(ArchiveFormat::Tar)),
            ("a.zip", Some(ArchiveFormat::Zip)),
            ("a.rar", None),
            ("tar", None),
        ] {
            assert_eq!(archive_format(Path::new(name)), format, "{name}");
        }
    }

    #[tokio::test]
    async fn an_archive_is_sent_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let bytes: Vec<u8> = (0..PIECE * 3 + 7).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).unwrap();

        let source = Source::archive(&path).unwrap();
        assert_eq!((source.size, source.words().as_str()), (bytes.len() as u64, "a.zip"));
        assert_eq!(source.into_body().collect().await.unwrap().to_bytes(), bytes);
    }
}
