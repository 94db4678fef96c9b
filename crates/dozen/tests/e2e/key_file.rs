//! The key file outside the home: made there, needed at every start, never exchanged unnoticed.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::{
    host::{Ran, TestHost},
    project::Project,
};

const RIGHT_KEY: &str =
    "hint: put the key that this state.db was written with in its place, or name it in DOZEN_KEY_FILE\n";
const SECRET: &str = "a-value-that-is-kept-sealed";

#[track_caller]
fn says(ran: &Ran, texts: &[&str]) {
    for text in texts {
        assert!(ran.stderr.contains(text), "no `{text}` in {ran:#?}");
    }
}

/// The regular files below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = entries.flat_map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_below(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    });
    below.collect()
}

/// The files of the home that hold these bytes.
fn holding(host: &TestHost, bytes: &[u8]) -> Vec<PathBuf> {
    let holds = |file: &PathBuf| {
        fs::read(file).is_ok_and(|content| content.windows(bytes.len()).any(|part| part == bytes))
    };
    files_below(&host.state()).into_iter().filter(holds).collect()
}

#[test]
fn a_key_file_elsewhere_is_the_only_key_and_no_other_takes_its_place() {
    let mut host = TestHost::without_server();
    let keys = host.home().join("keys");
    let (key, another) = (keys.join("shop.key"), keys.join("another.key"));
    host.set_env("DOZEN_KEY_FILE", &key.to_string_lossy());
    let folder = format!("hint: make the folder `{}` first: the server writes a new key", keys.display());
    says(
        &host.refused_start(),
        &["shop.key`: it does not exist, and a new one could not be written", &folder],
    );

    fs::create_dir(&keys).expect("the folder");
    host.start_server();
    host.set_env("DOZEN_APP", "shop");
    host.up(&Project::small("shop"));
    host.dozen(["config", "set", &format!("ANSWER={SECRET}")]).succeeds();
    let about = fs::metadata(&key).expect("the key");
    assert_eq!((about.len(), about.permissions().mode() & 0o777), (32, 0o600));

    stop(&mut host);
    host.start_server();
    assert_eq!(host.dozen(["config", "get", "ANSWER"]).succeeds().stdout, format!("{SECRET}\n"));
    assert!(host.get("shop", "/").body.starts_with(&format!("{SECRET} v2 ")));
    stop(&mut host);
    assert!(!host.state().join("key").exists());
    assert_eq!(holding(&host, &fs::read(&key).expect("the key")), Vec::<PathBuf>::new());
    assert_eq!(holding(&host, SECRET.as_bytes()), Vec::<PathBuf>::new());

    host.set_env("DOZEN_KEY_FILE", &another.to_string_lossy());
    says(
        &host.refused_start(),
        &["another.key`: it does not exist, but stored secrets need it\n", RIGHT_KEY],
    );
    assert!(!another.exists(), "a new one would open nothing");
    fs::write(&another, [7; 32]).expect("another key");
    says(&host.refused_start(), &["another.key`: its mode is ", "hint: `chmod 600 "]);
    fs::set_permissions(&another, fs::Permissions::from_mode(0o600)).expect("its mode");
    says(&host.refused_start(), &["another.key`: no stored secret opens with it\n", RIGHT_KEY]);

    host.set_env("DOZEN_KEY_FILE", &key.to_string_lossy());
    host.start_server();
    host.dozen(["config", "set", "B=1"]).succeeds();
    assert!(host.get("shop", "/").body.starts_with(&format!("{SECRET} v3 ")), "nothing was lost");
}

fn stop(host: &mut TestHost) {
    host.dozen(["server", "stop"]).succeeds();
    host.wait_for_control_end();
}
