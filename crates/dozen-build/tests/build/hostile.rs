//! Builds that mean harm: what they write leads nowhere, what they print ends, what they cache is
//! their own.

use std::{
    fs,
    time::{Duration, Instant},
};

use dozen_build::{
    BuildError, build,
    step::{AppMount, StepEnd, StepRunner, StepWatch},
};
use tempfile::TempDir;

use crate::{
    bench::{Bench, Heard, tree},
    walls::step,
};

fn python_app(command: &str) -> TempDir {
    let settings = format!("[build]\ncommand = \"{command}\"\n");
    tree(&[
        ("Procfile", "web: python app.py\n"),
        ("app.py", "print(1)\n"),
        ("requirements.txt", ""),
        ("dozen.toml", &settings),
    ])
}

/// One home for three claims: the first build on it copies the runtime, which takes seconds.
#[test]
fn a_build_reaches_no_folder_of_the_host_no_cache_of_another_app_and_no_end_of_memory() {
    let bench = Bench::new();
    a_link_left_behind_is_not_followed(&bench);
    what_one_app_made_is_used_for_no_other(&bench);
    a_log_has_an_end_and_the_error_its_last_lines(&bench);
    folders_without_end_end_their_own_build_and_are_removed(&bench);
    a_damaged_image_is_written_again(&bench);
}

fn a_damaged_image_is_written_again(bench: &Bench) {
    let app = python_app("true");
    let digest = bench.build(app.path()).0.unwrap().digest;
    fs::write(bench.home.path().join("images").join(format!("{}.json", digest.hex())), "{").unwrap();
    assert!(bench.store.image(&digest).is_none());
    assert_eq!(bench.build(app.path()).0.unwrap().digest, digest);
    assert!(bench.store.image(&digest).is_some());
}

fn folders_without_end_end_their_own_build_and_are_removed(bench: &Bench) {
    let app = python_app("python nest.py");
    let nest = "import os\nfor top in os.environ['HOME'], '/app':\n    os.chdir(top)\n\
                \x20   for _ in range(5000):\n        os.mkdir('d')\n        os.chdir('d')\n";
    fs::write(app.path().join("nest.py"), nest).unwrap();
    let (built, heard) = bench.build(app.path());
    let refused = matches!(built, Err(BuildError::EntryRefused { .. }));
    assert!(refused, "{:?}\n{}", built.map(|_| ()), heard.lines.join("\n"));
    // The scratch folder goes after the build.
    let began = Instant::now();
    while fs::read_dir(bench.store.tmp()).unwrap().next().is_some() {
        assert!(began.elapsed() < Duration::from_secs(20), "the scratch folder stays");
        std::thread::yield_now();
    }
    bench.build(python_app("true").path()).0.unwrap();
}

fn a_link_left_behind_is_not_followed(bench: &Bench) {
    let victim = TempDir::new().unwrap();
    let kept = victim.path().join(".cache/kept");
    fs::create_dir(victim.path().join(".cache")).unwrap();
    fs::write(&kept, "mine").unwrap();
    let command = format!("rm -rf node_modules; ln -s {} node_modules", victim.path().display());
    let (built, heard) = bench.build(python_app(&command).path());
    assert!(kept.exists(), "{}", heard.lines.join("\n"));
    built.unwrap();
}

fn what_one_app_made_is_used_for_no_other(bench: &Bench) {
    let app = python_app("echo made > made.txt");
    let decision_for = |name: &str| {
        let mut heard = Heard::default();
        let mut input = bench.input(app.path());
        input.app = name.parse().unwrap();
        build(input, &bench.runner(), &mut heard).unwrap();
        heard.decisions.remove("assets").unwrap()
    };
    assert!(!decision_for("one").contains("cached"));
    assert!(decision_for("one").contains("cached"));
    assert!(!decision_for("two").contains("cached"));
}

fn a_log_has_an_end_and_the_error_its_last_lines(bench: &Bench) {
    let command = "yes | tr -d '\\\\n' | head -c 50000; echo; yes all work and no play | head -c 6000000; echo; \
                   echo at last; exit 3";
    let (built, heard) = bench.build(python_app(command).path());
    let Err(error @ BuildError::StepFailed { .. }) = built else { panic!("it ended well") };
    assert!(error.log_tail().iter().any(|line| line == "at last"), "{:?}", error.log_tail());
    let bytes: usize = heard.lines.iter().map(String::len).sum();
    assert!(bytes < 6 << 20, "{bytes}");
    assert!(heard.lines.iter().any(|line| line.contains("the rest is left out")));
    let lengths: Vec<usize> =
        heard.lines.iter().filter(|line| line.contains("yyyy")).map(String::len).collect();
    // After the name of its step.
    assert!(matches!(lengths[..], [4096..4200]), "one line, cut: {lengths:?}");
}

#[test]
fn a_step_that_never_stops_printing_is_stopped() {
    let (bench, folder) = (Bench::new(), tree(&[]));
    let mut endless = step(AppMount::Writable(folder.path().to_owned()), "yes all work and no play");
    endless.timeout = Duration::from_secs(1);
    let mut lines = 0_u64;
    let mut line = |_: &[u8]| lines += 1;
    let mut watch = StepWatch { line: &mut line, cancel: &bench.cancel };
    let began = Instant::now();

    let end = bench.runner().run(&endless, &mut watch).unwrap();

    assert!(matches!(end, StepEnd::TimedOut(_) | StepEnd::TooLoud), "{end}");
    assert!(lines > 1000 && began.elapsed() < Duration::from_secs(20), "{lines} in {:?}", began.elapsed());
}
