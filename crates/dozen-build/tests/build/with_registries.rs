//! Builds that install packages, through the registries as this machine reaches them.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use dozen_build::{BuildError, BuiltImage};
use dozen_model::{hint::Hint, image::LayerRole};
use tempfile::TempDir;

use crate::{
    bench::{Bench, Heard, tree, uv_of, whole, write_files},
    differences::assert_same,
};

fn built(bench: &Bench, folder: &Path) -> (BuiltImage, Heard) {
    let (result, heard) = bench.build(folder);
    match result {
        Ok(built) => (built, heard),
        Err(error) => panic!("{}\n{}", whole(&error), heard.lines.join("\n")),
    }
}

const APP: (&str, &str) = ("app.py", "import markupsafe\n");
const PROCFILE: (&str, &str) = ("Procfile", "web: python app.py\n");
const VERSION: (&str, &str) = (".python-version", "3.11\n");

fn site(name: &str) -> String {
    format!(".venv/lib/python3.11/site-packages/{name}")
}

#[test]
fn pinned_requirements_are_installed_compiled_and_cached() {
    let bench = Bench::new();
    let files = [APP, PROCFILE, VERSION, ("requirements.txt", "markupsafe==3.0.2\njinja2==3.1.6\n")];
    let folder = tree(&files);

    let (first, heard) = built(&bench, folder.path());
    assert!(bench.has(&first, &site("markupsafe/__init__.py")), "{}", heard.lines.join("\n"));
    let compiled = bench.read(&first, &site("markupsafe/__pycache__/__init__.cpython-311.pyc")).unwrap();
    assert_eq!(compiled[4..8], [1, 0, 0, 0], "bytecode is unchecked-hash");
    let own = bench.read(&first, "__pycache__/app.cpython-311.pyc").unwrap();
    assert_eq!(own[4..8], [1, 0, 0, 0]);
    assert!(!first.cache_hit && first.warnings.is_empty(), "{:?}", first.warnings);

    let (again, _) = built(&bench, folder.path());
    assert_eq!(first.digest, again.digest);
    assert!(again.cache_hit);

    write_files(folder.path(), &[("app.py", "import jinja2\n")]);
    let (changed, _) = built(&bench, folder.path());
    assert!(changed.cache_hit && changed.digest != first.digest);

    write_files(folder.path(), &[("requirements.txt", "markupsafe==3.0.2\n")]);
    let (_, heard) = built(&bench, folder.path());
    assert!(heard.decisions["install"].contains("changed: requirements.txt"), "{:?}", heard.decisions);
}

#[test]
fn a_wrong_hash_fails_the_build_with_the_tools_words() {
    let bench = Bench::new();
    let wrong = format!("markupsafe==3.0.2 --hash=sha256:{}\n", "0".repeat(64));
    let folder = tree(&[APP, PROCFILE, VERSION, ("requirements.txt", &wrong)]);
    let (result, heard) = bench.build(folder.path());
    let error = result.unwrap_err();
    assert!(matches!(error, BuildError::StepFailed { .. }), "{}", whole(&error));
    assert!(whole(&error).to_lowercase().contains("hash"), "{}\n{}", whole(&error), heard.lines.join("\n"));
    let hint = dozen_model::hint::Hint::hint(&error).unwrap();
    assert!(
        hint.contains("lock it again (`uv pip compile --generate-hashes -o requirements.txt FILE`)"),
        "{hint}"
    );
}

#[test]
fn packages_that_nothing_names_are_warned_about() {
    let bench = Bench::new();
    let folder = tree(&[APP, PROCFILE, VERSION, ("requirements.txt", "jinja2==3.1.6\n")]);
    let (built, _) = built(&bench, folder.path());
    assert!(built.warnings.iter().any(|warning| warning.contains("markupsafe")), "{:?}", built.warnings);
}

#[test]
fn equal_input_gives_an_equal_image_on_another_home_even_when_c_is_compiled() {
    let requirements = "--no-binary :all:\nmarkupsafe==3.0.2\n";
    let folder = tree(&[APP, PROCFILE, VERSION, ("requirements.txt", requirements)]);
    let (one, two) = (Bench::new(), Bench::new());
    let (first, heard) = built(&one, folder.path());
    let (second, _) = built(&two, folder.path());
    let (again, heard_again) = built(&two, folder.path());
    assert!(again.cache_hit, "{}", heard_again.lines.join("\n"));
    // As if another compiler had been here.
    for entry in std::fs::read_dir(two.home.path().join("cache/dependencies")).unwrap().flatten() {
        if entry.path().is_file() {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            let other = text.replace(r#""`cc`":""#, r#""`cc`":"an older "#);
            assert_ne!(other, text);
            std::fs::write(entry.path(), other).unwrap();
        }
    }
    let (anew, heard_anew) = built(&two, folder.path());
    let reason = &heard_anew.decisions["install"];
    assert!(!anew.cache_hit && reason.contains("for what is compiled, changed: `cc`"), "{reason}");
    assert!(
        one.has(&first, &site("markupsafe/_speedups.cpython-311-x86_64-linux-gnu.so"))
            || !cfg!(target_arch = "x86_64"),
        "{}",
        heard.lines.join("\n")
    );
    assert_same((&one, &first), (&two, &second));
}

#[test]
fn a_secret_in_a_line_of_a_step_is_redacted_even_where_the_line_is_cut() {
    let bench = Bench::new();
    let command = "printf 'x%.0s' $(seq 4090); echo a-secret-value; echo a-secret-value; exit 3";
    let dozen_toml = format!("[build]\ncommand = \"{command}\"\n");
    let folder = tree(&[APP, PROCFILE, VERSION, ("dozen.toml", &dozen_toml), ("setup.py", "")]);
    let (result, heard) = bench.build(folder.path());
    let text = format!("{}{}", whole(&result.unwrap_err()), heard.lines.join("\n"));
    assert!(text.contains("[redacted]") && text.contains("status 3"), "{text}");
    assert!(!text.contains("a-secr"), "{text}");
}

#[test]
fn the_asset_step_reaches_itself_but_no_network() {
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let reach = format!(
        "import socket, sys\nown = socket.create_server(('127.0.0.1', 0))\n\
         socket.create_connection(own.getsockname())\nprint('own reached')\n\
         to = ('127.0.0.1', {port}) if sys.argv[1] == 'host' else ('packages.invalid', 80)\n\
         socket.create_connection(to)\n"
    );
    let bench = Bench::new();
    for (argument, says) in [("host", "Connection refused"), ("name", "name resolution")] {
        let dozen_toml = format!("[build]\ncommand = \"python3 reach.py {argument}\"\n");
        let folder =
            tree(&[PROCFILE, VERSION, ("setup.py", ""), ("reach.py", &reach), ("dozen.toml", &dozen_toml)]);
        let (result, heard) = bench.build(folder.path());
        let error = result.expect_err(&heard.lines.join("\n"));
        let text = whole(&error);
        assert!(text.contains("own reached") && text.contains(says), "{text}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.starts_with("the asset step has no network"), "{hint}\n{text}");
    }
}

#[test]
fn uwsgi_is_compiled_from_source_and_is_the_same_in_another_minute_on_another_home() {
    // uWSGI keeps the path that it is compiled in, and the time if it can.
    let (bench, other) = (Bench::new(), Bench::new());
    let folder = tree(&[APP, PROCFILE, VERSION, ("requirements.txt", "uwsgi==2.0.30\n")]);
    let (one, heard) = built(&bench, folder.path());
    wait_for_another_minute();
    let (two, _) = built(&other, folder.path());
    assert_same((&bench, &one), (&other, &two));
    assert!(bench.has(&one, ".venv/bin/uwsgi"), "{}", heard.lines.join("\n"));
    assert!(
        one.host_libraries.iter().any(|library| library.soname == "libc.so.6"),
        "{:?}",
        one.host_libraries
    );
}

/// Returns when the clock shows another minute than now: a stamp without seconds differs too.
fn wait_for_another_minute() {
    let minute = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 60;
    let (now, deadline) = (minute(), Instant::now() + Duration::from_secs(70));
    while minute() == now {
        assert!(Instant::now() < deadline, "the clock stands still");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Locks with the uv that the build itself uses.
fn lock(bench: &Bench, folder: &Path) {
    let cache = TempDir::new().unwrap();
    let output = Command::new(uv_of(bench))
        .args(["lock", "--python", "3.11"])
        .env("UV_CACHE_DIR", cache.path())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_uv_project_that_is_a_package_is_installed_itself() {
    let bench = Bench::new();
    let pyproject = "[project]\nname = \"probe\"\nversion = \"1\"\nrequires-python = \">=3.11\"\n\
        dependencies = [\"markupsafe==3.0.2\"]\n[dependency-groups]\ndev = [\"iniconfig\"]\n\
        [project.scripts]\nprobe = \"probe:main\"\n\
        [build-system]\nrequires = [\"setuptools==80.9.0\"]\nbuild-backend = \"setuptools.build_meta\"\n";
    let files =
        [PROCFILE, VERSION, ("pyproject.toml", pyproject), ("src/probe/__init__.py", "def main(): pass\n")];
    let folder = tree(&files);
    // The tool comes with the first build, here one without packages to install.
    built(&bench, tree(&[APP, PROCFILE, VERSION, ("requirements.txt", "iniconfig==2.1.0\n")]).path());
    lock(&bench, folder.path());

    let (first, heard) = built(&bench, folder.path());
    let log = heard.lines.join("\n");
    assert!(bench.has(&first, &site("markupsafe/__init__.py")), "{log}");
    assert!(bench.has(&first, &site("probe/__init__.py")) && bench.has(&first, ".venv/bin/probe"), "{log}");
    assert!(bench.has(&first, &site("probe/__pycache__/__init__.cpython-311.pyc")), "{log}");
    assert!(!bench.has(&first, &site("iniconfig/__init__.py")), "development packages stay out");

    write_files(folder.path(), &[("src/probe/__init__.py", "def main(): return 1\n")]);
    let (second, _) = built(&bench, folder.path());
    assert!(second.cache_hit && second.digest != first.digest);
    assert_eq!(bench.read(&second, &site("probe/__init__.py")).unwrap(), b"def main(): return 1\n");

    write_files(folder.path(), &[("pyproject.toml", &pyproject.replace("3.0.2", "3.0.1"))]);
    let error = bench.build(folder.path()).0.unwrap_err();
    assert!(
        matches!(error, BuildError::StepFailed { .. }),
        "a lock that does not fit fails: {}",
        whole(&error)
    );
}

/// Appends a line to a package wherever uv has it unpacked.
const POISON: &str = "import os, setuptools
for top in '/dozen/cache', os.environ['UV_CACHE_DIR']:
    for folder, _, names in os.walk(top):
        if os.path.basename(folder) == 'iniconfig' and '__init__.py' in names:
            with open(os.path.join(folder, '__init__.py'), 'a') as file:
                file.write('POISON = 1\\n')
setuptools.setup(name='evil', version='1', py_modules=[])
";

#[test]
fn what_one_build_writes_to_uvs_cache_is_installed_by_no_other() {
    let bench = Bench::new();
    let first = "iniconfig==2.1.0\n";
    let folder = tree(&[APP, PROCFILE, VERSION, ("requirements.txt", first), ("evil/setup.py", POISON)]);
    built(&bench, folder.path());
    write_files(folder.path(), &[("requirements.txt", "./evil\niniconfig==2.1.0\n")]);
    let (_, heard) = built(&bench, folder.path());
    assert!(!heard.decisions["install"].contains("cached:"), "{}", heard.lines.join("\n"));

    write_files(folder.path(), &[("requirements.txt", "# The same again.\niniconfig==2.1.0\n")]);
    let (later, heard) = built(&bench, folder.path());
    let text = bench.read(&later, &site("iniconfig/__init__.py")).unwrap();
    assert!(!String::from_utf8_lossy(&text).contains("POISON"), "{}", heard.lines.join("\n"));
}

#[test]
fn a_pipfile_lock_is_installed_by_its_hashes() {
    let bench = Bench::new();
    let lock = |hash: &str| {
        format!(
            r#"{{"_meta": {{"requires": {{"python_version": "3.11"}}}}, "default": {{"iniconfig":
            {{"version": "==2.1.0", "hashes": ["sha256:{hash}"]}}}}, "develop": {{}}}}"#
        )
    };
    let right = lock("9deba5723312380e77435581c6bf4935c94cbfab9b1ed33ef8d238ea168eb760");
    let folder = tree(&[PROCFILE, ("Pipfile", "[packages]\niniconfig = \"*\"\n"), ("Pipfile.lock", &right)]);
    let (first, heard) = built(&bench, folder.path());
    assert!(heard.decisions["install"].starts_with("1 package installed by uv"), "{:?}", heard.decisions);
    assert!(bench.has(&first, &site("iniconfig/__init__.py")));
    assert!(!bench.has(&first, "requirements.dozen.txt"));
    write_files(folder.path(), &[("Pipfile.lock", &lock(&"0".repeat(64)))]);
    assert!(bench.build(folder.path()).0.is_err());
}

const SETTINGS: &str = "import os\nSECRET_KEY = os.environ['SECRET_KEY']\nROOT_URLCONF = 'blog.urls'\n\
    INSTALLED_APPS = ['django.contrib.staticfiles', 'blog']\nSTATIC_URL = 'static/'\nSTATIC_ROOT = 'blog/collected'\n";

fn django(settings: &str, dozen_toml: &str) -> TempDir {
    tree(&[
        (
            "manage.py",
            "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'blog.settings')\n\
             from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
        ),
        ("blog/__init__.py", ""),
        ("blog/settings.py", settings),
        ("blog/urls.py", "urlpatterns = []\n"),
        ("blog/wsgi.py", "application = None\n"),
        ("blog/static/site.css", "p {}\n"),
        (".python-version", "3.11"),
        ("dozen.toml", dozen_toml),
        (
            "requirements.txt",
            "Django==5.2.1\nasgiref==3.8.1\nsqlparse==0.5.3\ngunicorn==23.0.0\npackaging==25.0\n",
        ),
    ])
}

#[test]
fn django_collects_its_static_files_with_placeholders() {
    let bench = Bench::new();
    let folder = django(SETTINGS, "[config]\nSECRET_KEY = { generate = \"secret\" }\n");
    let (built_image, heard) = built(&bench, folder.path());
    let log = heard.lines.join("\n");
    assert_eq!(bench.read(&built_image, "blog/collected/site.css").as_deref(), Some(&b"p {}\n"[..]), "{log}");
    assert!(
        built_image.image.django && heard.decisions["assets"].contains("static files collected"),
        "{log}"
    );

    write_files(folder.path(), &[("blog/settings.py", &SETTINGS.replace("STATIC_ROOT", "OTHER"))]);
    let (without, heard) = built(&bench, folder.path());
    assert!(without.notes.iter().any(|note| note.contains("STATIC_ROOT")), "{}", heard.lines.join("\n"));

    let settings = SETTINGS.replace("'SECRET_KEY'", "'OTHER_KEY'");
    write_files(folder.path(), &[("blog/settings.py", &settings)]);
    let error = bench.build(folder.path()).0.unwrap_err();
    assert!(error.hint().is_some_and(|hint| hint.contains("`OTHER_KEY`")), "{}", whole(&error));
    assert!(whole(&error).contains("KeyError"), "{}", whole(&error));
}

#[test]
fn node_installs_builds_and_prunes() {
    let bench = Bench::new();
    let package = r#"{"name": "probe", "version": "1.0.0", "scripts": {"start": "node server.js",
        "build": "node build.js"}, "dependencies": {"ms": "2.1.3"}, "devDependencies": {"picocolors": "1.1.1"}}"#;
    let build = "require('picocolors'); require('fs').mkdirSync('dist'); require('fs').writeFileSync('dist/app.js', '1')\n";
    let folder = tree(&[("package.json", package), ("server.js", "require('ms')\n"), ("build.js", build)]);
    let output = Command::new("npm")
        .args(["install", "--package-lock-only"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let (first, heard) = built(&bench, folder.path());
    let log = heard.lines.join("\n");
    assert!(bench.has(&first, "node_modules/ms/index.js") && bench.has(&first, "dist/app.js"), "{log}");
    assert!(!bench.has(&first, "node_modules/picocolors/package.json"), "{log}");
    let other = Bench::new();
    assert_same((&bench, &first), (&other, &built(&other, folder.path()).0));

    write_files(folder.path(), &[("package.json", &package.replace("2.1.3", "2.1.2"))]);
    assert!(bench.build(folder.path()).0.is_err(), "a lock that does not fit fails");
}

#[test]
fn a_static_site_and_a_procfile_app_need_no_tools() {
    let bench = Bench::new();
    let (site, _) = built(&bench, tree(&[("index.html", "<p>\n")]).path());
    assert_eq!(site.image.static_root.as_deref(), Some("."));
    let (app, _) =
        built(&bench, tree(&[("run+x", "#!/bin/sh\n"), ("Procfile", "web: ./run\nrelease: ./run\n")]).path());
    assert_eq!((app.image.release_command.as_deref(), app.image.layers.len()), (Some("./run"), 1));
    assert_eq!(bench.store.image(&app.digest), Some(app.image));
}

#[test]
fn a_change_of_the_example_s_code_reuses_all_but_the_app_and_its_assets() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/blango");
    let copy = TempDir::new().unwrap();
    let status = Command::new("cp").arg("-r").arg(example.join(".")).arg(copy.path()).status().unwrap();
    assert!(status.success());
    let bench = Bench::new();
    let (first, _) = built(&bench, copy.path());
    assert!(first.image.django && first.image.has_migrations);

    write_files(copy.path(), &[("blango/extra.py", "EXTRA = 1\n")]);
    let (second, heard) = built(&bench, copy.path());
    let log = heard.lines.join("\n");
    assert!(second.cache_hit, "{log}");
    let of_role = |built: &BuiltImage, role: LayerRole| {
        built.image.layers.iter().find(|layer| layer.role == role).map(|layer| layer.digest.clone())
    };
    for role in [LayerRole::Runtime, LayerRole::Dependencies] {
        assert_eq!(of_role(&first, role), of_role(&second, role), "{role:?}");
    }
    let version = second.image.runtime.as_ref().unwrap().version.clone();
    let tag: String = version.split('.').take(2).collect();
    assert!(bench.has(&second, &format!("blango/__pycache__/extra.cpython-{tag}.pyc")), "{log}");
    // On another home, without the first build.
    let other = Bench::new();
    assert_same((&bench, &second), (&other, &built(&other, copy.path()).0));
}
