//! Build-secret files: they open a private index, and are nowhere afterwards.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use dozen_build::BuiltImage;
use tempfile::TempDir;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    bench::{Bench, tree, whole, write_files},
    index::Index,
};

const SECRET: &str = "a-secret-value";

/// A wheel of one module.
fn wheel() -> Vec<u8> {
    let mut wheel = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let info = "private_probe-1.0.dist-info";
    for (name, text) in [
        ("private_probe.py".to_owned(), "HERE = 1\n"),
        (format!("{info}/METADATA"), "Metadata-Version: 2.1\nName: private-probe\nVersion: 1.0\n"),
        (
            format!("{info}/WHEEL"),
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        ),
        (format!("{info}/RECORD"), "private_probe.py,,\n"),
    ] {
        wheel.start_file(name, SimpleFileOptions::default()).unwrap();
        wheel.write_all(text.as_bytes()).unwrap();
    }
    wheel.finish().unwrap().into_inner()
}

fn private_index() -> Index {
    let name = "private_probe-1.0-py3-none-any.whl";
    let page = format!("<!DOCTYPE html><a href=\"../../files/{name}\">{name}</a>");
    Index::serve(&[("/simple/private-probe/", page.into_bytes()), (&format!("/files/{name}"), wheel())])
}

/// A file that only its owner can read.
fn secret_file(folder: &TempDir, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// Looks for the secret in every file of the image, and in the home but for what the user put there.
fn assert_not_kept(bench: &Bench, built: &BuiltImage) {
    let text = serde_json::to_string(&built.image).unwrap();
    assert!(!text.contains(SECRET), "{text}");
    // A build's scratch folder is removed behind it.
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::read_dir(bench.home.path().join("tmp")).unwrap().next().is_some() {
        assert!(Instant::now() < deadline, "the scratch folder stays");
        std::thread::sleep(Duration::from_millis(5));
    }
    look_through(bench.home.path());
}

fn look_through(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (kind, path) = (entry.file_type().unwrap(), entry.path());
        if kind.is_dir() {
            look_through(&path);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}

#[test]
fn secret_files_open_a_private_index_and_are_kept_nowhere() {
    let (bench, folder, index) = (Bench::new(), TempDir::new().unwrap(), private_index());
    let files = [("app.py", ""), ("Procfile", "web: python app.py\n"), (".python-version", "3.11\n")];
    // uv comes from the machine's own index.
    let first = tree(&files);
    write_files(first.path(), &[("requirements.txt", "# none\n")]);
    bench.build(first.path()).0.unwrap();

    let app = tree(&files);
    write_files(app.path(), &[("requirements.txt", "private-probe==1.0\n")]);
    let pip_conf = format!("[global]\nindex-url = {}\n", index.url(SECRET));
    let pip_conf = secret_file(&folder, "pip.conf", &pip_conf);
    let secrets = [("pip.conf", pip_conf.clone())];
    let (result, heard, arguments) = bench.build_with_secrets(app.path(), &secrets);
    let log = heard.lines.join("\n");
    let built = result.unwrap_or_else(|error| panic!("{}\n{log}", whole(&error)));
    assert!(bench.has(&built, ".venv/lib/python3.11/site-packages/private_probe.py"), "{log}");
    assert!(arguments.contains("pip install") && !arguments.contains(SECRET), "{arguments}");
    assert!(!log.contains(SECRET), "{log}");
    assert_not_kept(&bench, &built);

    let (again, _, _) = bench.build_with_secrets(app.path(), &secrets);
    assert!(again.unwrap().cache_hit);
    let mut changed = fs::OpenOptions::new().append(true).open(pip_conf).unwrap();
    changed.write_all(b"# changed\n").unwrap();
    let (_, heard, _) = bench.build_with_secrets(app.path(), &secrets);
    assert!(heard.decisions["install"].contains("changed: secret file pip.conf"), "{:?}", heard.decisions);
}

#[test]
fn a_token_that_an_install_script_prints_is_taken_out() {
    let (bench, folder) = (Bench::new(), TempDir::new().unwrap());
    let package = r#"{"name": "probe", "version": "1.0.0", "dependencies": {"ms": "2.1.3"},
        "scripts": {"start": "node server.js", "preinstall": "cat $npm_config_userconfig"}}"#;
    let app = tree(&[("package.json", package), ("server.js", "")]);
    let locked = Command::new("npm")
        .args(["install", "--package-lock-only"])
        .current_dir(app.path())
        .output()
        .unwrap();
    assert!(locked.status.success(), "{}", String::from_utf8_lossy(&locked.stderr));
    let npmrc = secret_file(&folder, ".npmrc", &format!("//127.0.0.1:1/:_authToken={SECRET}-too\n"));
    let (result, heard, arguments) = bench.build_with_secrets(app.path(), &[(".npmrc", npmrc)]);
    let log = heard.lines.join("\n");
    let built = result.unwrap_or_else(|error| panic!("{}\n{log}", whole(&error)));
    assert!(log.contains("//127.0.0.1:1/:_authToken=[redacted]"), "{log}");
    assert!(!log.contains("-too") && !arguments.contains(SECRET), "{log}\n{arguments}");
    assert_not_kept(&bench, &built);
}
