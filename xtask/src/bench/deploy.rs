//! `cargo xtask bench deploy`: from a change to its first answer, beside the same by hand.

use std::time::{Duration, Instant};

use super::{
    by_hand::{self, ByHand},
    clock::{print_line, times},
    stand::{self, Folder, PORT, Stand, until_served, version},
};
use crate::task::TaskError;

const RUNS: u32 = 5;

/// Measures both in one run. `install` allows to install what the set-up by hand needs.
pub(crate) fn bench(install: bool) -> Result<(), TaskError> {
    let folder = Folder::make()?;
    let mut hand = ByHand::start(&folder, install)?;
    let stand = Stand::start(&folder)?;
    let blango = folder.path("blango");
    stand.program("dozen", &["create", "blango"], &blango)?;
    let began = Instant::now();
    stand.program("git", &["push", "-q", "dozen", "main"], &blango)?;
    println!(
        "\n{:<46} {:>8}     {:>8} - longest",
        "from the change to its first answer", "median", "shortest"
    );
    print_line("dozen: first deploy, nothing cached", &[began.elapsed()], "");

    let mut own = Vec::new();
    let pushed = times_of_pushes(&folder, &stand, &mut own)?;
    print_line("dozen: push of a code-only change", &pushed, "goal 2.0 s");
    let less = pushed.iter().zip(&own).map(|(all, own)| all.saturating_sub(*own));
    print_line("  less release phase and app start", &less.collect::<Vec<_>>(), "goal 1.0 s");
    let by_hand = times(RUNS, |number| {
        let commit = folder.change_code(100 + number)?;
        until_served(by_hand::PORT, &commit, || hand.deploy())
    })?;
    print_line("by hand: uv, migrate, link, HUP", &by_hand, "");

    let mut release = current(PORT);
    let config = times(RUNS, |number| {
        release += 1;
        let pair = format!("GREETING={number}");
        let words = ["config", "set", "-a", "blango", &pair];
        until_served(PORT, &format!("\"v{release}\""), || stand.dozen(&words).map(drop))
    })?;
    print_line("dozen: config set, release phase included", &config, "goal 1.0 s");
    let by_hand = times(RUNS, |number| {
        until_served(by_hand::PORT, &format!("greeting-{}", number + 1), || hand.set_config().map(drop))
    })?;
    print_line("by hand: config file, HUP", &by_hand, "");

    let back = times(RUNS, |_| {
        release += 1;
        until_served(PORT, &format!("\"v{release}\""), || {
            stand.dozen(&["rollback", "-a", "blango"]).map(drop)
        })
    })?;
    print_line("dozen: rollback of code and config", &back, "goal 1.0 s");
    let by_hand = times(RUNS, |number| {
        let to = hand.releases() - (number + 1) % 2;
        let commit = std::fs::read_to_string(folder.path(format!("hand/releases/{to}/COMMIT")))?;
        until_served(by_hand::PORT, commit.trim(), || hand.rollback(to))
    })?;
    print_line("by hand: link, HUP (code only)", &by_hand, "");
    Ok(())
}

fn times_of_pushes(
    folder: &Folder,
    stand: &Stand,
    own: &mut Vec<Duration>,
) -> Result<Vec<Duration>, TaskError> {
    let blango = folder.path("blango");
    (1..=RUNS)
        .map(|number| {
            let commit = folder.change_code(number)?;
            let began = Instant::now();
            let mut served = Duration::ZERO;
            until_served(PORT, &commit, || {
                stand.program("git", &["push", "-q", "dozen", "main"], &blango).map(drop)
            })?;
            served += began.elapsed();
            own.push(Duration::from_secs_f64(stand.own_seconds(number + 1)));
            Ok(served)
        })
        .collect()
}

/// The number of the release that serves.
fn current(port: u16) -> u32 {
    stand::number_after(&version(port), "\"release\": \"v").unwrap_or_default()
}
