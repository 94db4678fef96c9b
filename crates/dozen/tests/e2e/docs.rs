//! The docs, followed to the letter.

use std::{path::Path, process::Command};

use crate::{
    host::{Ran, TestHost},
    project::Project,
};

/// What a newcomer reads first.
const GETTING_STARTED: &str = include_str!("../../../../docs/getting-started.md");

/// The first block of a language in a section of the page.
fn block<'a>(section: &'a str, language: &str) -> &'a str {
    let begin = format!("```{language}\n");
    let (_, rest) = section.split_once(&begin).unwrap_or_else(|| panic!("no block of {language}"));
    rest.split_once("```").expect("its end").0
}

/// The commands that the section tells to type.
fn commands(section: &str) -> Vec<&str> {
    section
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| !line.starts_with(' '))
        .collect()
}

/// Runs Python with the packages of `packages`, as an activated virtual environment would.
#[track_caller]
fn python(folder: &Path, packages: &Path, words: &[&str]) -> String {
    let mut command = Command::new("/usr/bin/python3");
    command.args(words).current_dir(folder).env("PYTHONPATH", packages).env("PIP_NO_CACHE_DIR", "1");
    Ran::from(command.output().expect("python3")).succeeds().stdout
}

#[test]
fn the_new_project_of_getting_started_serves_and_an_older_django_is_advised() {
    // One host for both: the Python and its installer are fetched once.
    let host = TestHost::start();
    a_new_project_serves_its_login_page(&host);
    an_older_django_is_told_once_what_will_surprise(&host);
}

fn a_new_project_serves_its_login_page(host: &TestHost) {
    let (_, section) = GETTING_STARTED.split_once("## A new project\n").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("the next section");
    assert_eq!(
        commands(section),
        [
            "python3 -m venv venv && . venv/bin/activate",
            "pip install django gunicorn whitenoise dj-database-url",
            "django-admin startproject shop",
            "cd shop",
            "pip freeze > requirements.txt",
            "python --version | cut -d ' ' -f 2 > .python-version",
            "git init -b main",
            "git add -A && git commit -m \"Run on dozen\"",
            "dozen up",
            "dozen run -- python manage.py createsuperuser",
        ],
        "the steps below are these; a virtual environment needs a package that not every machine has"
    );
    let packages = host.home().join("packages");
    let target = packages.to_string_lossy().into_owned();
    let install = ["-m", "pip", "install", "--quiet", "--target", &target];
    let names = ["django", "gunicorn", "whitenoise", "dj-database-url"];
    python(host.home(), &packages, &[&install[..], &names[..]].concat());
    let project = Project::empty("shop");
    python(project.folder(), &packages, &["-m", "django", "startproject", "shop", "."]);
    let frozen = python(project.folder(), &packages, &["-m", "pip", "freeze", "--path", &target]);
    let version = python(project.folder(), &packages, &["--version"]);
    project
        .write("requirements.txt", &frozen)
        .write(".python-version", version.trim_start_matches("Python "));
    let settings = std::fs::read_to_string(project.folder().join("shop/settings.py")).expect("its settings");
    project.write("shop/settings.py", &format!("{settings}{}", block(section, "python")));
    project.write("Procfile", block(section, "procfile")).write("dozen.toml", block(section, "toml"));
    project.commit("Run on dozen");

    let up = host.up(&project);
    for advice in ["warning:", "hint:"] {
        assert!(!up.stderr.contains(advice), "{up:#?}");
    }
    let login = host.get("shop", "/admin/login/");
    assert_eq!(login.status, 200, "{login:?}");
    assert!(login.body.contains("Django administration"), "{login:?}");
    assert_eq!(host.get("shop", "/static/admin/css/base.css").status, 200);
    let user = ["run", "--", "env", "DJANGO_SUPERUSER_PASSWORD=secret", "python", "manage.py"];
    let create = ["createsuperuser", "--noinput", "--username", "ann", "--email", "ann@example.org"];
    let made = host.dozen_in(project.folder(), [&user[..], &create[..]].concat()).succeeds();
    assert!(made.stdout.contains("Superuser created"), "{made:#?}");
}

/// A project with the oldest Django that is still met, nothing that serves files, and SQLite.
const OLD_DJANGO: [(&str, &str); 6] = [
    ("requirements.txt", "django==4.2.16\nsqlparse==0.5.1\nasgiref==3.8.1\n"),
    (
        "manage.py",
        "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.settings')\n\
                   from django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n",
    ),
    (
        "shop/settings.py",
        "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'shop.urls'\nSTATIC_URL = '/static/'\n\
         INSTALLED_APPS = ['django.contrib.staticfiles']\n",
    ),
    ("shop/urls.py", "urlpatterns = []\n"),
    (
        "Procfile",
        "web: python -c \"import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'shop.settings'; \
         from wsgiref.simple_server import make_server; from django.core.wsgi import get_wsgi_application; \
         make_server('127.0.0.1', int(os.environ['PORT']), get_wsgi_application()).serve_forever()\"\n",
    ),
    ("dozen.toml", "[services.db]\nkind = \"sqlite\"\n"),
];

fn an_older_django_is_told_once_what_will_surprise(host: &TestHost) {
    let project = Project::with("old", &OLD_DJANGO);
    let up = host.up(&project);
    let told = |ran: &Ran, text: &str| ran.stderr.matches(text).count();
    let (files, database) =
        ("hint: no package of this app serves Django's static files", "hint: Django 4.2.16 cannot");
    assert_eq!((told(&up, files), told(&up, database)), (1, 1), "{up:#?}");
    assert_eq!(host.get("old", "/static/admin/css/base.css").status, 404);

    let change = host.dozen(["config", "set", "-a", "old", "ANSWER=new"]).succeeds();
    assert_eq!((told(&change, files), told(&change, database)), (0, 0), "no news: {change:#?}");
    host.dozen(["services", "detach", "-a", "old", "db"]).succeeds();
    let attach = host.dozen(["services", "attach", "-a", "old", "db"]).succeeds();
    assert_eq!((told(&attach, files), told(&attach, database)), (0, 1), "{attach:#?}");
}
