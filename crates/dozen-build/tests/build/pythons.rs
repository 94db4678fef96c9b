//! Pythons that uv installs because no installed one fits.

use std::{collections::BTreeMap, path::Path, process::Command};

use dozen_build::{
    BuildError, BuiltImage, build,
    runtime::{Installed, RuntimeSearch, Runtimes},
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    bench::{Bench, Heard, tree, whole},
    index::Index,
};

/// The distribution's Python, and the program of another one with which uv can be fetched.
fn two_pythons() -> Option<(Installed, Installed)> {
    let cache = TempDir::new().unwrap();
    let bench = Bench::new();
    let search = bench.input(cache.path()).search;
    let pythons = Runtimes::new(&search, cache.path()).pythons();
    let systems = pythons.iter().find(|python| python.is_systems())?.clone();
    let other = pythons.iter().find(|python| python.number().0[..2] != systems.number().0[..2])?.clone();
    Some((systems, other))
}

/// The distribution's Python as an archive of the kind that uv unpacks.
fn archive_of(python: &Installed) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let place = folder.path().join("python");
    let [major, minor, _] = python.number().0;
    let script = format!(
        "mkdir -p {0}/bin {0}/lib && cp {1} {0}/bin/python{major}.{minor} && \
         ln -s python{major}.{minor} {0}/bin/python3 && ln -s python{major}.{minor} {0}/bin/python && \
         cp -rL {2} {0}/lib/python{major}.{minor} && cd {0}/lib/python{major}.{minor} && \
         rm -rf __pycache__ */__pycache__ test config-3* EXTERNALLY-MANAGED && cd {0}/.. && tar cf - python | gzip -1",
        place.display(),
        python.program.display(),
        python.stdlib.display()
    );
    let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A list of downloads in uv's form with this one archive, and a server that has both.
fn mirror(python: &Installed, archive: Vec<u8>) -> (Index, Index) {
    let sum: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    let files = Index::serve_all(&[("/python.tar.gz", archive)]);
    let ([major, minor, patch], arch) = (python.number().0, std::env::consts::ARCH);
    let list = format!(
        r#"{{"cpython-{major}.{minor}.{patch}-linux-{arch}-gnu": {{"name": "cpython", "os": "linux", "libc": "gnu",
        "arch": {{"family": "{arch}", "variant": null}}, "major": {major}, "minor": {minor}, "patch": {patch},
        "prerelease": "", "variant": null, "build": "20240101",
        "url": "http://{}/python.tar.gz", "sha256": "{sum}"}}}}"#,
        files.address
    );
    (Index::serve_all(&[("/list.json", list.into_bytes())]), files)
}

struct Wish<'a> {
    folder: &'a Path,
    other: &'a Installed,
    list: String,
}

fn built(bench: &Bench, wish: &Wish<'_>) -> (Result<BuiltImage, BuildError>, Heard) {
    let mut input = bench.input(wish.folder);
    let bin = wish.other.program.parent().unwrap().to_owned();
    let own_pythons = input.search.own_pythons.clone();
    input.search = RuntimeSearch { path: vec![bin], own_pythons, ..RuntimeSearch::default() };
    input.network_env.insert("UV_PYTHON_DOWNLOADS_JSON_URL".into(), wish.list.clone());
    let mut heard = Heard::default();
    let result = build(input, &bench.runner(), &mut heard);
    (result, heard)
}

#[test]
#[allow(clippy::disallowed_macros, reason = "a test that cannot run says why")]
fn a_python_that_is_not_installed_comes_through_uv_and_is_the_same_on_every_home() {
    let Some((systems, other)) = two_pythons() else {
        eprintln!("left out: it takes two Pythons of different minor versions");
        return;
    };
    let [major, minor, _] = systems.number().0;
    let folder = tree(&[
        ("app.py", "import markupsafe\n"),
        ("Procfile", "web: python app.py\n"),
        (".python-version", &format!("{major}.{minor}\n")),
        ("requirements.txt", "markupsafe==3.0.2\n"),
    ]);
    let (one, two) = (Bench::new(), Bench::new());
    let mut wish = Wish { folder: folder.path(), other: &other, list: "http://127.0.0.1:1/list.json".into() };
    let (refused, _) = built(&one, &wish);
    let error = whole(&refused.unwrap_err());
    let (version, place) = (&other.version, other.program.display());
    let begin = format!(
        "no Python {major}.{minor} (.python-version) is installed; found {version} ({place}); \
         it could not be installed: uv says: "
    );
    assert!(error.starts_with(&begin) && error.contains("127.0.0.1:1"), "{error}");

    let (list, _files) = mirror(&systems, archive_of(&systems));
    wish.list = format!("http://{}/list.json", list.address);
    let images: Vec<BuiltImage> = [&one, &two]
        .map(|bench| {
            let (result, heard) = built(bench, &wish);
            result.unwrap_or_else(|error| panic!("{}\n{}", whole(&error), heard.lines.join("\n")))
        })
        .into();
    let runtime = images[0].image.runtime.as_ref().unwrap();
    assert_eq!(runtime.version, systems.version);
    assert!(runtime.prefix.starts_with("/dozen/pythons/cpython-"), "{}", runtime.prefix);
    assert_eq!(layers(&images[0]), layers(&images[1]));
    assert_eq!(images[0].digest, images[1].digest);

    wish.list = "http://127.0.0.1:1/list.json".into();
    let (again, heard) = built(&one, &wish);
    let again = again.unwrap_or_else(|error| panic!("{}\n{}", whole(&error), heard.lines.join("\n")));
    assert!(again.digest == images[0].digest && again.cache_hit, "{}", heard.lines.join("\n"));
}

fn layers(built: &BuiltImage) -> BTreeMap<String, String> {
    let layers = built.image.layers.iter();
    layers.map(|layer| (format!("{:?}", layer.role), layer.digest.to_string())).collect()
}
