//! The root that an app sees: almost nothing, and nothing of it writable but `/tmp` and what was attached.
//!
//! ```text
//! /            small, in memory, read-only in the end
//! /usr         the host's, read-only; bin, sbin, lib… as the host has them
//! /app         the image's layers, read-only
//! /etc /dev    of our making
//! /proc        this pid namespace's
//! /tmp         in memory, with a size; also /dev/shm
//! /run         empty
//! ```

use std::{
    fs,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, openat};

use super::{
    Naming as _, Step, devices, etc,
    identity::Keeper,
    mounts,
    place::{self, Kind},
};
use crate::{
    spec::{Bind, Walls},
    sys::mount_attributes::{Access, restrict_one, restrict_tree},
};

/// Room for /etc, mount points and links; the rest is mounted.
const ROOT_BYTES: u64 = 4 << 20;

/// Builds the new root over `mount_point` and enters it.
pub(super) fn build(walls: &Walls, keeper: Keeper, mount_point: &Path, terminals: bool) -> Step<()> {
    mounts::cut_from_host().step(|| "cut the mounts from the host's".into())?;
    let root = mount_root(mount_point)?;
    mount_host_programs(&root)?;
    etc::build(&root, walls)?;
    devices::build(&root, walls.tmp_bytes, terminals)?;
    mount_fresh(&root, walls.tmp_bytes)?;
    mount_app(&root, walls, keeper)?;
    walls.binds.iter().try_for_each(|bind| mount_bind(&root, bind))?;
    mounts::enter(&root).step(|| "enter the new root".into())?;
    restrict_one(&root, Access::ReadOnly).step(|| "make the new root read-only".into())
}

fn mount_root(mount_point: &Path) -> Step<OwnedFd> {
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(CWD, mount_point, flags, Mode::empty())
    };
    let memory = mounts::memory(ROOT_BYTES, "0755").step(|| "make a file system in memory".into())?;
    let under = open().step(|| "open the mount point of the new root".into())?;
    mounts::attach(&memory, &under).step(|| "mount the new root".into())?;
    open().step(|| "open the new root".into())
}

/// `/usr`, and the links or directories beside it that lead into it.
fn mount_host_programs(root: &OwnedFd) -> Step<()> {
    bind_host(root, Path::new("/usr"))?;
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        let path = Path::new("/").join(name);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let link = fs::read_link(&path).step(|| format!("read the link `{}`", path.display()))?;
                rustix::fs::symlinkat(&link, root, name).step(|| format!("make the link `/{name}`"))?;
            }
            Ok(found) if found.is_dir() => bind_host(root, &path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Shows a path of the host at the same place, read-only.
pub(super) fn bind_host(root: impl AsFd, path: &Path) -> Step<()> {
    let bind = Bind { source: path.to_owned(), target: path.to_owned(), writable: false };
    mount_bind(root, &bind)
}

fn mount_bind(root: impl AsFd, bind: &Bind) -> Step<()> {
    let (tree, kind) =
        mounts::copy_of_tree(&bind.source).step(|| format!("open `{}`", bind.source.display()))?;
    let access = if bind.writable { Access::Writable } else { Access::ReadOnly };
    restrict_tree(&tree, access).step(|| format!("restrict `{}`", bind.source.display()))?;
    attach_at(root.as_fd(), &tree, &bind.target, kind_of(kind))
}

fn kind_of(kind: FileType) -> Kind {
    if kind == FileType::Directory { Kind::Directory } else { Kind::File }
}

fn attach_at(root: BorrowedFd<'_>, mount: &OwnedFd, target: &Path, kind: Kind) -> Step<()> {
    let place =
        place::make(root, target, kind).step(|| format!("make `{}` to mount on", target.display()))?;
    mounts::attach(mount, &place).step(|| format!("mount `{}`", target.display()))
}

fn mount_fresh(root: &OwnedFd, tmp_bytes: u64) -> Step<()> {
    let processes = mounts::processes().step(|| "make an own `/proc`".into())?;
    attach_at(root.as_fd(), &processes, Path::new("/proc"), Kind::Directory)?;
    let tmp = mounts::memory(tmp_bytes, "1777").step(|| "make an own `/tmp`".into())?;
    attach_at(root.as_fd(), &tmp, Path::new("/tmp"), Kind::Directory)?;
    place::make(root, Path::new("/run"), Kind::Directory).step(|| "make `/run`".into())?;
    Ok(())
}

/// `/app`: one directory as it is, several as an overlay.
fn mount_app(root: &OwnedFd, walls: &Walls, keeper: Keeper) -> Step<()> {
    let target = Path::new("/app");
    if let Some(directory) = &walls.app_dir {
        let bind = Bind { source: directory.clone(), target: target.to_owned(), writable: true };
        return mount_bind(root, &bind);
    }
    let place = place::make(root, target, Kind::Directory).step(|| "make `/app`".into())?;
    let holds_mounts = make_mount_points(&place, &walls.binds)?;
    match walls.app.as_slice() {
        [] => Ok(()),
        [layer] if !holds_mounts && walls.app_upper.is_none() => {
            let bind = Bind { source: layer.clone(), target: target.to_owned(), writable: false };
            mount_bind(root, &bind)
        }
        layers => mount_overlay(place, holds_mounts, layers, walls, keeper),
    }
}

/// Makes what will be mounted below `/app` in the directory under it. As the lowest layer of the overlay it
/// gives each of them a place, which a read-only image cannot.
fn make_mount_points(app: &OwnedFd, binds: &[Bind]) -> Step<bool> {
    let mut any = false;
    for bind in binds {
        let Ok(below) = bind.target.strip_prefix("/app") else { continue };
        let source =
            fs::symlink_metadata(&bind.source).step(|| format!("open `{}`", bind.source.display()))?;
        let kind = if source.is_dir() { Kind::Directory } else { Kind::File };
        place::make(app, below, kind).step(|| format!("make `{}` to mount on", bind.target.display()))?;
        any = true;
    }
    Ok(any)
}

fn mount_overlay(
    place: OwnedFd,
    place_is_a_layer: bool,
    layers: &[PathBuf],
    walls: &Walls,
    keeper: Keeper,
) -> Step<()> {
    let open =
        |path: &PathBuf| mounts::open_layer(path).step(|| format!("open the layer `{}`", path.display()));
    let target = place.try_clone().step(|| "mount the overlay at `/app`".into())?;
    let mut opened = Vec::with_capacity(layers.len() + 1);
    if place_is_a_layer {
        opened.push(place);
    }
    for layer in layers {
        opened.push(open(layer)?);
    }
    let upper = match &walls.app_upper {
        Some(upper) => Some([open(&upper.upper)?, open(&upper.work)?]),
        None => None,
    };
    let access = if upper.is_some() { Access::Writable } else { Access::ReadOnly };
    let overlay = mounts::overlay(&opened, upper, keeper).step(|| "mount the overlay at `/app`".into())?;
    restrict_tree(&overlay, access).step(|| "restrict the overlay at `/app`".into())?;
    mounts::attach(&overlay, &target).step(|| "mount the overlay at `/app`".into())
}
