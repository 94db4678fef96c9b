//! Mounts as descriptors: made detached, restricted, and only then put in their place.
//!
//! Nothing here resolves a path that an app could have prepared: sources are control's, and a
//! target is a descriptor from [`super::place`].

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change,
        move_mount, open_tree, unmount,
    },
};

use super::identity::Keeper;

/// Nothing that is mounted from now on reaches the host, nor the other way round.
pub(super) fn cut_from_host() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// A new file system in memory.
pub(super) fn memory(bytes: u64, mode: &str) -> io::Result<OwnedFd> {
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "size", bytes.to_string())?;
    fsconfig_set_string(&context, "mode", mode)?;
    finish(&context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)
}

/// The processes of this pid namespace.
pub(super) fn processes() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let closed = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    finish(&context, closed | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

/// Terminals of the instance's own.
pub(super) fn terminals() -> io::Result<OwnedFd> {
    let context = fsopen("devpts", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "ptmxmode", "0666")?;
    fsconfig_set_string(&context, "mode", "0620")?;
    // Every devpts mount is an instance of its own since Linux 4.7; the flag is for what came before.
    fsconfig_set_flag(&context, "newinstance")?;
    finish(&context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC)
}

fn finish(context: &OwnedFd, attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    fsconfig_create(context)?;
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// A copy of the mount tree at a path of the host, and what stands there.
pub(super) fn copy_of_tree(source: &Path) -> io::Result<(OwnedFd, FileType)> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let tree = open_tree(CWD, source, flags)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&tree)?.st_mode);
    if kind == FileType::Symlink {
        return Err(io::Error::from_raw_os_error(libc::ELOOP));
    }
    Ok((tree, kind))
}

/// Opens a directory of the host to be named in an overlay.
pub(super) fn open_layer(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// An overlay of `layers`, lowest first, and where writes to it go.
///
/// Layers are named by descriptor number, relative to `/proc/self/fd`: no path needs escaping,
/// and a value of this call has at most 256 bytes.
pub(super) fn overlay(
    layers: &[OwnedFd],
    upper: Option<[OwnedFd; 2]>,
    keeper: Keeper,
) -> io::Result<OwnedFd> {
    let number = |fd: &OwnedFd| fd.as_raw_fd().to_string();
    rustix::process::chdir("/proc/self/fd")?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let lower: Vec<String> = layers.iter().rev().map(number).collect();
    fsconfig_set_string(&context, "lowerdir", lower.join(":"))?;
    if let Some([upper, work]) = &upper {
        fsconfig_set_string(&context, "upperdir", number(upper))?;
        fsconfig_set_string(&context, "workdir", number(work))?;
    }
    if keeper == Keeper::OrdinaryUser {
        // The overlay's marks go to user.* attributes: trusted.* needs a capability outside the user namespace.
        fsconfig_set_flag(&context, "userxattr")?;
    }
    let mount = finish(&context, MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV)?;
    rustix::process::chdir("/")?;
    Ok(mount)
}

/// Puts a detached mount onto `target`.
pub(super) fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, "", target, "", flags)?)
}

/// Makes `root`, the root of a mount, the root of everything, and lets go of the old one.
pub(super) fn enter(root: impl AsFd) -> io::Result<()> {
    rustix::process::fchdir(root)?;
    // The new root is put over the old one and then the old one is taken away from under it:
    // no directory inside is needed for it in between.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}
