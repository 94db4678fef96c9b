//! `cargo xtask bench revival`: how long nobody is served when the router is killed.
//!
//! From kill -9 of the router to the whole answer of a request that was made right after it: control
//! sees the end, starts the next router with the same listeners, and that one takes what has queued
//! meanwhile. The app's own time is in it, and printed beside it.

use std::{process::Command, time::Instant};

use super::{
    clock::{print_line, times},
    stand::{Folder, PORT, Stand, number_after, version},
};
use crate::task::{TaskError, output};

const RUNS: u32 = 20;

/// Measures it, and prints the median.
pub(crate) fn bench() -> Result<(), TaskError> {
    let folder = Folder::make()?;
    let stand = Stand::start(&folder)?;
    stand.program("dozen", &["up", "."], &folder.path("blango"))?;
    let answered = || match version(PORT).contains("release") {
        true => Ok(()),
        false => Err(TaskError::new("a request was not answered")),
    };
    let usual = times(RUNS, |_| answered())?;
    let mut killed = Vec::new();
    for _ in 0..RUNS {
        let status = stand.dozen(&["server", "status", "--json"])?;
        let router = number_after(&status, "\"router_pid\":");
        let router = router.ok_or_else(|| TaskError::new("the status names no router"))?;
        let mut kill = Command::new("kill");
        kill.args(["-9", &router.to_string()]);
        let gone = Instant::now();
        output(&mut kill)?;
        answered()?;
        killed.push(gone.elapsed());
    }
    println!("\n{:<46} {:>8}     {:>8} - longest", "to a whole answer", "median", "shortest");
    print_line("usually", &usual, "");
    print_line("from kill -9 of the router", &killed, "goal 0.050 s");
    Ok(())
}
