//! Pythons that uv installs because no installed one fits.

use std::{
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use dozen_build::{
    BuildError, BuiltImage, build,
    runtime::{Installed, RuntimeSearch, Runtimes},
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::{
    bench::{Bench, Heard, skip, tree, uv_of, whole},
    differences::assert_same,
    index::Index,
};

/// The distribution's Python.
fn systems_python() -> Option<Installed> {
    let cache = TempDir::new().unwrap();
    let bench = Bench::new();
    let search = bench.input(cache.path()).search;
    let pythons = Runtimes::new(&search, cache.path()).pythons();
    pythons.into_iter().find(Installed::is_systems)
}

const NOT_DEBIANS: &str = "the Python of this machine is not the distribution's";

/// A home with a uv of its own, fetched by a build with a Python of this machine.
fn home_with_uv() -> Bench {
    let bench = Bench::new();
    let folder =
        tree(&[("Procfile", "web: python app.py\n"), ("app.py", ""), ("requirements.txt", "# none\n")]);
    let (result, heard) = bench.build(folder.path());
    result.unwrap_or_else(|error| panic!("{}\n{}", whole(&error), heard.lines.join("\n")));
    uv_of(&bench);
    bench
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
    list: String,
}

/// Builds where no Python is found but dozen's own.
fn built(bench: &Bench, wish: &Wish<'_>) -> (Result<BuiltImage, BuildError>, Heard) {
    let mut input = bench.input(wish.folder);
    let own_pythons = input.search.own_pythons.clone();
    input.search = RuntimeSearch { own_pythons, ..RuntimeSearch::default() };
    input.network_env.insert("UV_PYTHON_DOWNLOADS_JSON_URL".into(), wish.list.clone());
    let mut heard = Heard::default();
    let result = build(input, &bench.runner(), &mut heard);
    (result, heard)
}

#[test]
fn a_python_that_is_not_installed_comes_through_uv_and_is_the_same_on_every_home() {
    let Some(systems) = systems_python() else { return skip(NOT_DEBIANS) };
    let [major, minor, _] = systems.number().0;
    let folder = tree(&[
        ("app.py", "import markupsafe\n"),
        ("Procfile", "web: python app.py\n"),
        (".python-version", &format!("{major}.{minor}\n")),
        ("requirements.txt", "markupsafe==3.0.2\n"),
    ]);
    let (one, two) = (home_with_uv(), home_with_uv());
    let mut wish = Wish { folder: folder.path(), list: "http://127.0.0.1:1/list.json".into() };
    let (refused, _) = built(&one, &wish);
    let error = whole(&refused.unwrap_err());
    let begin = format!(
        "no Python {major}.{minor} (.python-version) is installed; found none; it could not be installed: uv says: "
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
    assert_same((&one, &images[0]), (&two, &images[1]));

    wish.list = "http://127.0.0.1:1/list.json".into();
    let (again, heard) = built(&one, &wish);
    let again = again.unwrap_or_else(|error| panic!("{}\n{}", whole(&error), heard.lines.join("\n")));
    assert!(again.digest == images[0].digest && again.cache_hit, "{}", heard.lines.join("\n"));
}

#[test]
fn a_python_in_a_folder_that_only_its_owner_can_read_serves_the_users_of_builds() {
    let Some(systems) = systems_python() else { return skip(NOT_DEBIANS) };
    // As pyenv keeps one in root's home. Not below `/tmp`, which is another one inside walls.
    let root = TempDir::new_in("/var/tmp").unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let place = root.path().join("versions").join(&systems.version);
    let script = format!("mkdir -p {0} && tar xzf - --strip-components 1 -C {0}", place.display());
    let mut unpack = Command::new("sh").args(["-ec", &script]).stdin(Stdio::piped()).spawn().unwrap();
    unpack.stdin.take().unwrap().write_all(&archive_of(&systems)).unwrap();
    assert!(unpack.wait().unwrap().success());

    let command = "[build]\ncommand = \"python -c 'import markupsafe, sys, os; \
        print(\\\"run by\\\", os.getuid(), sys.base_prefix)'\"\n";
    let folder = tree(&[
        ("app.py", "import markupsafe\n"),
        ("Procfile", "web: python app.py\n"),
        ("requirements.txt", "markupsafe==3.0.2\n"),
        ("dozen.toml", command),
    ]);
    let bench = Bench::new();
    let mut input = bench.input(folder.path());
    input.search = RuntimeSearch { pyenv_roots: vec![root.path().to_owned()], ..RuntimeSearch::default() };
    let user = input.build_user.as_ref().map_or_else(|| rustix::process::getuid().as_raw(), |user| user.uid);
    let mut heard = Heard::default();
    let log = |heard: &Heard| heard.lines.join("\n");
    let image = match build(input, &bench.runner(), &mut heard) {
        Ok(built) => built.image,
        Err(error) => panic!("{}\n{}", whole(&error), log(&heard)),
    };
    let runtime = image.runtime.expect("a runtime");
    assert_eq!(
        (runtime.version.as_str(), runtime.prefix.as_str()),
        (&*systems.version, place.to_str().unwrap())
    );
    let line = format!("run by {user} {}", place.display());
    assert!(heard.lines.iter().any(|heard| heard.ends_with(&line)), "{line}: {}", log(&heard));
}
