//! The step `source`: the uploaded stream becomes a tree on disk.

use std::fs::File;

use dozen_build::source::{
    SourceLimits,
    archive::{ArchiveFormat, import_archive},
    unpack::unpack,
};

use super::Change;
use crate::{
    api::wire,
    control::build_error,
    error::ControlError,
    home::{make, remove_tree},
    store::DeployKind,
};

/// Unpacks into a fresh folder; what an earlier attempt left is removed first.
pub(super) fn unpack_into(change: &Change) -> Result<String, ControlError> {
    let folder = change.control.home.build(change.deploy.id);
    remove_tree(&folder).map_err(ControlError::io("remove the folder of an earlier attempt"))?;
    make(&folder, 0o711)?;
    let stream = change.control.home.incoming(change.deploy.id);
    let file = File::open(&stream).map_err(ControlError::io("open the uploaded tree"))?;
    let tree = folder.join("tree");
    let limits = SourceLimits::default();
    let unpacked = match change.deploy.source.archive {
        None => {
            make(&tree, 0o755)?;
            unpack(std::io::BufReader::new(file), &tree, limits).map_err(build_error)?
        }
        Some(format) => {
            let format = match format {
                wire::ArchiveFormat::TarGz => ArchiveFormat::TarGz,
                wire::ArchiveFormat::Tar => ArchiveFormat::Tar,
                wire::ArchiveFormat::Zip => ArchiveFormat::Zip,
            };
            let imported = import_archive(file, format, &tree, limits).map_err(build_error)?;
            if let Some(top) = imported.stripped {
                change.work.progress.warn(format!("left out the top folder `{top}` of the archive"));
            }
            imported.unpacked
        }
    };
    let noun = if unpacked.files == 1 { "file" } else { "files" };
    Ok(format!("{} {noun}", unpacked.files))
}

/// The step itself; only a new tree has a source.
pub(super) fn unpack_tree(change: &mut Change) -> Result<(), ControlError> {
    if change.deploy.kind != DeployKind::Deploy {
        return Ok(());
    }
    let announced = change.work.progress.step("source", "Unpacking the source");
    let files = unpack_into(change)?;
    let from = match (&change.deploy.source.commit, &change.deploy.source.reference) {
        (Some(commit), _) => format!("commit {}", commit.get(..7).unwrap_or(commit)),
        (None, Some(name)) => name.clone(),
        (None, None) => "archive".to_owned(),
    };
    let dirty = if change.deploy.source.dirty { " with uncommitted changes" } else { "" };
    announced.done(format!("{from}{dirty}, {files}"));
    Ok(())
}

/// Removes the tree and the upload. Also done when the change has ended well.
pub(super) fn remove(change: &Change) -> Result<(), ControlError> {
    let home = &change.control.home;
    remove_tree(&home.build(change.deploy.id)).map_err(ControlError::io("remove the folder of a build"))?;
    let _ = std::fs::remove_file(home.incoming(change.deploy.id));
    Ok(())
}
