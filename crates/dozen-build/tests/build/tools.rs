//! How the tools of a build come: from the machine's index, checked, and without its password.

use std::{path::Path, process::Command};

use dozen_build::{BuildError, build};
use tempfile::TempDir;

use crate::{
    bench::{Bench, Heard, tree, whole},
    index::Index,
};

const UV: &str = "0.13.9";

/// The wheel of uv for this machine, and its name.
fn wheel_of_uv() -> (String, Vec<u8>) {
    let folder = TempDir::new().unwrap();
    let status = Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--dest"])
        .arg(folder.path())
        .arg(format!("uv=={UV}"))
        .status()
        .unwrap();
    assert!(status.success(), "pip could not download uv");
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
}

fn page(wheel: &str) -> Vec<u8> {
    format!(
        "<!DOCTYPE html><a href=\"../../files/uv-{UV}.tar.gz\">x</a>\
         <a href=\"../../files/uv-{UV}-py3-none-win_amd64.whl\">x</a>\
         <a href=\"../../files/{wheel}#sha256=0\">x</a>"
    )
    .into_bytes()
}

/// Builds an app whose one package needs uv, with this index and no other.
fn build_with(bench: &Bench, index: &str) -> (Result<(), BuildError>, String) {
    build_from(bench, index, None)
}

/// The same with one more folder in `PATH`.
fn build_from(bench: &Bench, index: &str, path: Option<&Path>) -> (Result<(), BuildError>, String) {
    let folder = tree(&[
        ("app.py", ""),
        ("Procfile", "web: python app.py\n"),
        ("requirements.txt", "# none\n"),
        (".python-version", "3.11\n"),
    ]);
    let mut input = bench.input(folder.path());
    input.network_env.retain(|name, _| !name.contains("INDEX"));
    input.network_env.insert("PIP_INDEX_URL".into(), index.into());
    input.search.path.retain(|folder| !folder.join("uv").exists());
    input.search.path.extend(path.map(Path::to_owned));
    let mut heard = Heard::default();
    let result = build(input, &bench.runner(), &mut heard);
    let text = result.as_ref().map_or_else(whole, |built| format!("{:?}", built.warnings));
    (result.map(drop), format!("{text}\n{}", heard.lines.join("\n")))
}

#[test]
fn uv_comes_from_an_index_with_a_password_and_without_pip() {
    let (name, wheel) = wheel_of_uv();
    let files = [("/simple/uv/", page(&name)), (&format!("/files/{name}"), wheel)];
    let index = Index::serve(&files);
    let bench = Bench::new();
    let (refused, said) = build_with(&bench, &index.url("a-wrong-secret"));
    assert!(matches!(refused, Err(BuildError::ToolMissing { .. })), "{said}");
    assert!(said.contains(&format!("{}: it answered 401", index.address)), "{said}");
    assert!(!said.contains("a-wrong-secret"), "{said}");

    let index = Index::serve(&files);
    let (built, said) = build_with(&bench, &index.url("a-secret-value"));
    assert!(built.is_ok(), "{said}");
    assert_eq!(index.asked_by()[..2], ["dozen", "dozen"]);
    assert!(!said.contains("a-secret-value"), "{said}");
    let tools = bench.home.path().join("cache/tools");
    let program = std::fs::read_dir(tools).unwrap().next().unwrap().unwrap().path().join("uv");
    assert!(is_uv(&program));

    let elsewhere = TempDir::new().unwrap();
    std::fs::rename(program.parent().unwrap(), elsewhere.path().join("bin")).unwrap();
    let bin = elsewhere.path().join("bin");
    let unreachable = "http://user:a-secret-value@127.0.0.1:1/simple";
    let (without, said) = build_with(&bench, unreachable);
    assert!(without.is_err() && said.contains("127.0.0.1:1: ") && said.contains("no uv in PATH"), "{said}");
    let (with, said) = build_from(&bench, unreachable, Some(&bin));
    assert!(with.is_ok() && said.contains("of this machine is used"), "{said}");
    assert!(!said.contains("a-secret-value"), "{said}");
}

fn is_uv(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").output().unwrap();
    String::from_utf8_lossy(&output.stdout).starts_with(&format!("uv {UV}"))
}

#[test]
fn a_wheel_with_another_hash_is_not_unpacked() {
    let name = format!("uv-{UV}-py3-none-manylinux_2_17_{}.whl", std::env::consts::ARCH);
    let index = Index::serve(&[("/simple/uv/", page(&name)), (&format!("/files/{name}"), b"PK".to_vec())]);
    let (built, said) = build_with(&Bench::new(), &index.url("a-secret-value"));
    assert!(built.is_err() && said.contains("another hash"), "{said}");
}
