//! Recognises a Git LFS pointer: a small text that stands where a large file should be.

/// How a pointer begins, as its specification says.
const BEGINNING: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";

/// The largest pointer that the specification allows.
const LARGEST: u64 = 1024;

/// Whether a file of `size` bytes that begins with `start` is a pointer.
pub(super) fn is_lfs_pointer(start: &[u8], size: u64) -> bool {
    size < LARGEST && start.starts_with(BEGINNING)
}
