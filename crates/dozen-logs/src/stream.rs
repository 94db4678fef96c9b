//! The streams of a stage: which folders of logs there are, who wrote them and how.
//!
//! A stream holds no descriptor: a stage may have hundreds, of instances long gone.
//!
//! Start reading at [`discover`].

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::SystemTime,
};

use dozen_model::{
    names::{AppName, InstanceName, StageName},
    segment,
};

use crate::{
    LogError, LogQuery, Source, StreamId,
    files::{Extent, Folder},
    store::LogDirs,
};

/// The name of the platform's own stream in the folder of a stage.
pub(crate) const PLATFORM: &str = "dozen";
const ROUTER: &str = "router";

/// How the bytes of a stream are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `.seg` files of raw output, their times in `.idx` files beside them.
    Segments,
    /// `.log` files of lines that start with their time and process.
    Lines,
}

impl Layout {
    /// The name of file `number` with the bytes of lines.
    pub(crate) fn file_name(self, number: u64) -> String {
        match self {
            Self::Segments => segment::segment_name(number),
            Self::Lines => segment::stream_name(number),
        }
    }

    fn parse_file_name(self, name: &str) -> Option<u64> {
        match self {
            Self::Segments => segment::parse_segment_name(name),
            Self::Lines => segment::parse_stream_name(name),
        }
    }
}

/// One stream of a stage.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) layout: Layout,
    pub(crate) source: Source,
    /// Who wrote a line that does not say so itself.
    pub(crate) process: String,
    base: PathBuf,
    steps: Vec<String>,
}

impl Stream {
    /// Its folder, or `None` where retention has removed it.
    pub(crate) fn folder(&self) -> Result<Option<Folder>, LogError> {
        let steps: Vec<&str> = self.steps.iter().map(String::as_str).collect();
        let path = || self.steps.iter().fold(self.base.clone(), |path, step| path.join(step));
        Folder::open_below(&self.base, &steps).map_err(|source| LogError::Folder { path: path(), source })
    }

    /// The numbers of its files, in order.
    pub(crate) fn files(&self, folder: &Folder) -> Result<Vec<u64>, LogError> {
        let names =
            folder.names().map_err(|source| LogError::Folder { path: folder.path().to_owned(), source })?;
        let mut numbers: Vec<u64> =
            names.iter().filter_map(|name| self.layout.parse_file_name(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens one of its files; `None` where it is gone.
    pub(crate) fn open(&self, folder: &Folder, number: u64) -> Result<Option<File>, LogError> {
        let name = self.layout.file_name(number);
        folder.file(&name).map_err(|source| LogError::File { path: folder.path().join(name), source })
    }

    /// Size and last change of one of its files.
    pub(crate) fn extent(&self, folder: &Folder, number: u64) -> Result<Option<Extent>, LogError> {
        let name = self.layout.file_name(number);
        folder.extent(&name).map_err(|source| LogError::File { path: folder.path().join(name), source })
    }

    /// When it was last written to; `None` where it has no file.
    pub(crate) fn changed(&self) -> Result<Option<SystemTime>, LogError> {
        let Some(folder) = self.folder()? else { return Ok(None) };
        let Some(number) = self.files(&folder)?.pop() else { return Ok(None) };
        Ok(self.extent(&folder, number)?.map(|extent| extent.changed))
    }

    fn is_wanted(&self, query: &LogQuery) -> bool {
        // The process of a platform line stands in the line: its stream is always read.
        query.stream.as_ref().is_none_or(|wanted| *wanted == self.id.0)
            && query.wants_source(self.source)
            && (self.layout == Layout::Lines || query.wants_process(&self.process))
    }
}

/// The folder of one stage below `base`.
pub(crate) fn stage_folder(
    base: &Path,
    app: &AppName,
    stage: &StageName,
) -> Result<Option<Folder>, LogError> {
    Folder::open_below(base, &[app.as_str(), stage.as_str()])
        .map_err(|source| LogError::Folder { path: base.join(app.as_str()).join(stage.as_str()), source })
}

/// The streams of the query's stage that its filters let through, in order of their names.
pub(crate) fn discover(dirs: &LogDirs, query: &LogQuery) -> Result<Vec<Stream>, LogError> {
    let mut streams = all(dirs, &query.app, &query.stage)?;
    streams.retain(|stream| stream.is_wanted(query));
    Ok(streams)
}

/// All streams of a stage, in order of their names.
pub(crate) fn all(dirs: &LogDirs, app: &AppName, stage: &StageName) -> Result<Vec<Stream>, LogError> {
    let mut streams = Vec::new();
    if let Some(folder) = stage_folder(&dirs.apps, app, stage)? {
        let unread = |source| LogError::Folder { path: folder.path().to_owned(), source };
        streams.extend(folder.names().map_err(unread)?.into_iter().filter_map(|name| {
            let steps = vec![app.to_string(), stage.to_string(), name.clone()];
            in_stage_folder(name, dirs.apps.clone(), steps)
        }));
    }
    if let Some(base) = &dirs.router
        && stage_folder(base, app, stage)?.is_some()
    {
        streams.push(Stream {
            id: StreamId(ROUTER.to_owned()),
            layout: Layout::Lines,
            source: Source::Dozen,
            process: ROUTER.to_owned(),
            base: base.clone(),
            steps: vec![app.to_string(), stage.to_string()],
        });
    }
    streams.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(streams)
}

fn in_stage_folder(name: String, base: PathBuf, steps: Vec<String>) -> Option<Stream> {
    let (layout, source, process) = if name == PLATFORM {
        (Layout::Lines, Source::Dozen, PLATFORM.to_owned())
    } else {
        (Layout::Segments, Source::App, instance_of(&name)?)
    };
    Some(Stream { id: StreamId(name), layout, source, process, base, steps })
}

/// The instance in the name of an app stream, `<instance>~<launch>`.
fn instance_of(name: &str) -> Option<String> {
    let (instance, launch) = name.split_once('~')?;
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let launch_fits = (1..=64).contains(&launch.len()) && launch.bytes().all(word);
    if !launch_fits {
        return None;
    }
    Some(instance.parse::<InstanceName>().ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_name_is_no_stream() {
        assert_eq!(instance_of("web.1~4f0c").as_deref(), Some("web.1"));
        for other in ["web.1", "web~4f", "web.0~4f", "web.1~", "web.1~../x", "~4f", "web.1~a~b"] {
            assert_eq!(instance_of(other), None, "{other}");
        }
    }
}
