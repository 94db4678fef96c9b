//! What a tree is taken for, without running anything.

use dozen_build::{
    BuildError,
    plan::{BuildPlan, LanguagePlan, PythonLock, plan},
    tree::Tree,
    version::Version,
};
use dozen_model::hint::Hint;

use crate::bench::tree;

fn planned(files: &[(&str, &str)]) -> Result<BuildPlan, BuildError> {
    let folder = tree(files);
    plan(&Tree::open(folder.path()).unwrap())
}

const MANAGE: (&str, &str) = (
    "manage.py",
    "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'blog.settings')\nimport django\n",
);
const WSGI: (&str, &str) = ("blog/wsgi.py", "application = None\n");

fn web(plan: &BuildPlan) -> &str {
    plan.processes.iter().find(|(name, _)| name.is_web()).map(|(_, line)| line.as_str()).unwrap_or_default()
}

#[test]
fn two_lock_files_stop_the_build_and_the_setting_chooses() {
    let files = [
        ("uv.lock", "version = 1\n"),
        ("requirements.txt", "a==1\n"),
        ("pyproject.toml", "[project]\nname = \"x\"\n"),
        ("Procfile", "web: a\n"),
    ];
    let error = planned(&files).unwrap_err();
    assert_eq!(error.to_string(), "several lock files compete: uv.lock, requirements.txt");
    assert!(error.hint().unwrap().contains("lock = \"uv.lock\""));
    let chosen = planned(&[&files[..], &[("dozen.toml", "[app]\nlock = \"uv.lock\"\n")]].concat()).unwrap();
    assert!(matches!(&chosen.language, LanguagePlan::Python(python) if python.lock == PythonLock::Uv));
}

#[test]
fn tools_without_a_plan_are_named() {
    for (name, more) in [
        ("poetry.lock", ("pyproject.toml", "[tool.poetry]\n")),
        ("pdm.lock", ("pyproject.toml", "[project]\nname = \"x\"\n")),
        ("pnpm-lock.yaml", ("package.json", "{}")),
        ("yarn.lock", ("package.json", "{}")),
    ] {
        let error = planned(&[(name, ""), more, ("Procfile", "web: a\n")]).unwrap_err();
        assert!(
            matches!(&error, BuildError::UnsupportedLock { name: found, .. } if found == name),
            "{error}"
        );
        assert!(error.hint().is_some());
    }
    let error = planned(&[("Pipfile", "[packages]\n"), ("Procfile", "web: a\n")]).unwrap_err();
    assert_eq!(error.to_string(), "there is no `Pipfile.lock` beside `Pipfile`");
    assert_eq!(error.hint().unwrap(), "run `pipenv lock` and commit Pipfile.lock");
}

#[test]
fn nothing_a_dockerfile_and_a_procfile_are_told_apart() {
    let error = planned(&[("README", "x")]).unwrap_err();
    assert!(
        error.to_string().contains("requirements.txt") && error.to_string().contains("Procfile"),
        "{error}"
    );
    assert!(matches!(planned(&[("Dockerfile", "FROM x")]).unwrap_err(), BuildError::DockerfileOnly));
    let plan = planned(&[("Dockerfile", "FROM x"), ("Procfile", "web: ./run\n")]).unwrap();
    assert!(matches!(plan.language, LanguagePlan::Procfile));
}

#[test]
fn a_static_site_has_a_root() {
    let root = |files: &[(&str, &str)]| match planned(files).unwrap().language {
        LanguagePlan::Static { root } => root,
        other => panic!("{other:?}"),
    };
    assert_eq!(root(&[("index.html", "<p>")]), ".");
    assert_eq!(root(&[("Staticfile", "root: public\n"), ("public/index.html", "<p>")]), "public");
    assert!(planned(&[("Staticfile", "root: ../etc\n")]).is_err());
    assert!(planned(&[("Staticfile", "root: nothing\n")]).is_err());
}

#[test]
fn a_linked_file_that_decides_is_refused_by_name() {
    for name in ["Procfile", "dozen.toml", "app.json", "requirements.txt", ".python-version"] {
        let folder = tree(&[("Procfile", "web: a\n"), ("requirements.txt", "a==1\n")]);
        let _ = std::fs::remove_file(folder.path().join(name));
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join(name)).unwrap();
        let error = plan(&Tree::open(folder.path()).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("`{name}` is a symbolic link, and it is not followed"));
    }
}

#[test]
fn django_without_a_procfile_gets_the_server_it_installed() {
    for (server, line) in [
        ("gunicorn", "gunicorn blog.wsgi --bind 127.0.0.1:$PORT"),
        ("waitress", "waitress-serve --listen=127.0.0.1:$PORT blog.wsgi:application"),
        ("uvicorn", "uvicorn blog.asgi:application --host 127.0.0.1 --port $PORT"),
    ] {
        let requirements = format!("Django==5.2\n{server}==1\n");
        let files = [MANAGE, WSGI, ("blog/asgi.py", "a\n"), ("requirements.txt", requirements.as_str())];
        let plan = planned(&files).unwrap();
        assert_eq!(web(&plan), line);
        assert!(plan.notes.iter().any(|note| note.contains(line)), "{:?}", plan.notes);
    }
    let error = planned(&[MANAGE, WSGI, ("requirements.txt", "Django==5.2\n")]).unwrap_err();
    assert!(error.hint().unwrap().contains("a line `gunicorn`"), "{error}");
}

#[test]
fn node_starts_by_its_script_and_needs_npm_only_for_scripts_around_it() {
    let start = |json: &str| web(&planned(&[("package.json", json)]).unwrap()).to_owned();
    assert_eq!(start(r#"{"scripts": {"start": "node server.js"}}"#), "node server.js");
    assert_eq!(start(r#"{"scripts": {"start": "node a.js", "prestart": "x"}}"#), "npm start");
    assert!(planned(&[("package.json", "{}")]).unwrap_err().hint().unwrap().contains("start"));
}

#[test]
fn the_first_file_that_asks_for_a_version_counts() {
    let wanted = |files: &[(&str, &str)]| {
        let base = [("Procfile", "web: a\n"), ("requirements.txt", "a==1\n")];
        match planned(&[&base[..], files].concat()).unwrap().language {
            LanguagePlan::Python(python) => python.wanted.described(),
            other => panic!("{other:?}"),
        }
    };
    let pyproject = ("pyproject.toml", "[project]\nname = \"x\"\nrequires-python = \">=3.10\"\n");
    assert_eq!(wanted(&[pyproject]), ">=3.10 (pyproject.toml)");
    assert_eq!(wanted(&[pyproject, ("runtime.txt", "python-3.12.1\n")]), "3.12.1 (runtime.txt)");
    let all = [pyproject, ("runtime.txt", "python-3.12.1\n"), (".python-version", "# x\n3.11\n")];
    assert_eq!(wanted(&all), "3.11 (.python-version)");
    let bad = [("requirements.txt", "a==1\n"), ("Procfile", "web: a\n"), ("runtime.txt", "pypy3")];
    assert!(matches!(planned(&bad).unwrap_err(), BuildError::BadVersion { .. }));
}

#[test]
fn a_pipfile_lock_asks_for_a_python_as_well() {
    let wanted = |requires: &str| {
        let lock = format!(r#"{{"_meta": {{"requires": {requires}}}, "default": {{}}}}"#);
        let files = [("Procfile", "web: a\n"), ("Pipfile", "[packages]\n"), ("Pipfile.lock", lock.as_str())];
        match planned(&files).unwrap().language {
            LanguagePlan::Python(python) => python.wanted.described(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wanted(r#"{"python_version": "3.11"}"#), "3.11 (Pipfile.lock)");
    let both = r#"{"python_version": "3.11", "python_full_version": "3.11.7"}"#;
    assert_eq!(wanted(both), "3.11.7 (Pipfile.lock)");
    assert_eq!(wanted("{}"), "of any version");
}

#[test]
fn the_first_file_that_asks_for_a_node_counts() {
    let wanted = |files: &[(&str, &str)]| {
        let package = r#"{"scripts": {"start": "node a.js"}, "engines": {"node": ">=18 <23", "npm": ">=8"}}"#;
        match planned(&[&[("package.json", package)], files].concat()).unwrap().language {
            LanguagePlan::Node(node) => node.wanted,
            other => panic!("{other:?}"),
        }
    };
    let (engines, nvmrc) = (wanted(&[]), (".nvmrc", "\n v20.11.1\n"));
    assert_eq!(engines.described(), ">=18 <23 (package.json)");
    let holds = |text: &str| engines.range.holds(Version::parse(text).unwrap());
    assert!(holds("18.0.0") && holds("22.9.1") && !holds("17.9.0") && !holds("23.0.0"));
    let exact = wanted(&[nvmrc, (".node-version", "18\n")]);
    assert_eq!((exact.described(), exact.exact), ("20.11.1 (.nvmrc)".into(), Version::parse("20.11.1")));
    assert_eq!(wanted(&[(".node-version", "18\n")]).described(), "18 (.node-version)");
    let set = [nvmrc, ("dozen.toml", "[app]\nnode = \"22\"\n")];
    assert_eq!(wanted(&set).described(), "22 (dozen.toml)");
    // These are no versions, so what is asked for elsewhere counts.
    for word in ["lts/*", "node", "stable"] {
        assert_eq!(wanted(&[(".nvmrc", word)]).described(), ">=18 <23 (package.json)");
    }
    let bad = [("package.json", r#"{"scripts": {"start": "a"}, "engines": {"node": "the newest"}}"#)];
    let error = planned(&bad).unwrap_err();
    assert!(matches!(error, BuildError::BadVersion { .. }), "{error}");
}

#[test]
fn no_lock_is_a_warning() {
    let plan = planned(&[("pyproject.toml", "[project]\nname = \"x\"\n"), ("Procfile", "web: a\n")]).unwrap();
    assert!(plan.warnings.iter().any(|warning| warning.contains("factor II")), "{:?}", plan.warnings);
    let plan = planned(&[("requirements.txt", "Django\n"), ("Procfile", "web: a\n")]).unwrap();
    assert!(
        plan.warnings.iter().any(|warning| warning.contains("does not pin django")),
        "{:?}",
        plan.warnings
    );
}
