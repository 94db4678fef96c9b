//! Becoming the app's program.

use std::{ffi::CString, io, ptr};

/// Strings as exec wants them: pointers, and a null at the end.
pub(crate) fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Replaces this process; returns only with the reason why that was not possible.
pub(crate) fn exec(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null and point to strings that the caller's slices keep alive
    // for the whole call; the kernel copies them before it lets go of this memory.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}
