//! Process types: those of the Procfile and `dozen.toml`, else a `web` that can be derived.

use std::collections::BTreeMap;

use dozen_model::{command_line::CommandTemplate, names::ProcessType};

use super::{LanguagePlan, Remarks, django::DjangoProject, node::NodePlan, python::PythonPlan};
use crate::error::BuildError;

/// The process types of an app; a derived `web` is said so in the notes.
pub(super) fn process_types(
    declared: BTreeMap<ProcessType, String>,
    language: &LanguagePlan,
    remarks: &mut Remarks,
) -> Result<BTreeMap<ProcessType, String>, BuildError> {
    if !declared.is_empty() {
        return Ok(declared);
    }
    let web = match language {
        LanguagePlan::Static { .. } => return Ok(declared),
        LanguagePlan::Python(plan) => python_web(plan),
        LanguagePlan::Node(plan) => node_web(plan),
        LanguagePlan::Procfile => Err("add a line such as `web: ./server` to the Procfile".to_owned()),
    };
    let web = web.map_err(|advice| BuildError::NoProcesses { advice })?;
    remarks.notes.push(format!("no process type is declared, so `web` is `{web}`"));
    Ok(BTreeMap::from([(ProcessType::web(), web)]))
}

/// Servers, each with the entry it needs and its command line; the first that is installed counts.
const SERVERS: [(&str, Entry, &str); 9] = [
    ("gunicorn", Entry::Wsgi, "gunicorn {} --bind 127.0.0.1:$PORT"),
    ("granian", Entry::Wsgi, "granian --interface wsgi {}:application --host 127.0.0.1 --port $PORT"),
    ("granian", Entry::Asgi, "granian --interface asgi {}:application --host 127.0.0.1 --port $PORT"),
    ("uvicorn", Entry::Asgi, "uvicorn {}:application --host 127.0.0.1 --port $PORT"),
    ("hypercorn", Entry::Asgi, "hypercorn {}:application --bind 127.0.0.1:$PORT"),
    ("daphne", Entry::Asgi, "daphne -b 127.0.0.1 -p $PORT {}:application"),
    ("waitress", Entry::Wsgi, "waitress-serve --listen=127.0.0.1:$PORT {}:application"),
    (
        "uwsgi",
        Entry::Wsgi,
        "uwsgi --http-socket 127.0.0.1:$PORT --module {}:application --master --die-on-term --need-app",
    ),
    (
        "pyuwsgi",
        Entry::Wsgi,
        "uwsgi --http-socket 127.0.0.1:$PORT --module {}:application --master --die-on-term --need-app",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Wsgi,
    Asgi,
}

fn python_web(plan: &PythonPlan) -> Result<String, String> {
    let Some(django) = &plan.django else {
        return Err(
            "add a Procfile with a line such as `web: gunicorn MODULE:APP --bind 127.0.0.1:$PORT`".into()
        );
    };
    let module_for = |entry: Entry, django: &DjangoProject| match entry {
        Entry::Wsgi => django.wsgi_module.clone(),
        Entry::Asgi => django.asgi_module.clone(),
    };
    let usable = SERVERS.iter().find_map(|(server, entry, line)| {
        let module = plan.packages.contains(*server).then(|| module_for(*entry, django))??;
        Some(line.replace("{}", &module))
    });
    usable.ok_or_else(|| {
        if django.wsgi_module.is_none() && django.asgi_module.is_none() {
            return "add a Procfile: no single `wsgi.py` or `asgi.py` was found".to_owned();
        }
        match plan.lock {
            super::PythonLock::Requirements { ref file, .. } => {
                format!("add a server: a line `gunicorn` with its version in {file}")
            }
            super::PythonLock::Nothing => {
                "declare the packages that the project needs, Django and a server such as \
                 gunicorn among them, in a requirements.txt or a pyproject.toml"
                    .to_owned()
            }
            _ => "add a server: `uv add gunicorn`".to_owned(),
        }
    })
}

fn node_web(plan: &NodePlan) -> Result<String, String> {
    let Some(start) = plan.scripts.get("start") else {
        return Err("add a `start` script to package.json, or a Procfile with a `web:` line".into());
    };
    // The script itself is the process type, with or without shell syntax: npm would stand between
    // us and the app's signals. Scripts before and after it need npm.
    let around = plan.scripts.contains_key("prestart") || plan.scripts.contains_key("poststart");
    if CommandTemplate::parse(start).is_err() {
        return Err("the `start` script of package.json is no command line; add a Procfile".into());
    }
    Ok(if around { "npm start".to_owned() } else { start.trim().to_owned() })
}
