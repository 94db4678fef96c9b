//! `sqlite`: a database in a directory outside the release, for an app on one machine.
//!
//! The directory is mounted, not the file: SQLite keeps its write-ahead log beside the file. The
//! URL tells Django to begin transactions as IMMEDIATE and to wait for the lock: with deferred
//! ones a writer that has read first is refused at once, whatever the timeout.

use dozen_model::manifest::{MountPath, ServiceKind};

use crate::{
    Driver, ServiceError, ServiceMount, ServicePlan, ServiceRequest, Step, service_url::with_options,
};

/// What the URL says of the way to write; see the module's text.
const IMMEDIATE: &str = "transaction_mode=IMMEDIATE&";

/// How many seconds a writer waits for another one.
const PATIENCE: &str = "timeout=20";

/// The driver of `sqlite`.
#[derive(Debug)]
pub(crate) struct Sqlite;

impl Driver for Sqlite {
    fn kind(&self) -> ServiceKind {
        ServiceKind::Sqlite
    }

    fn plan(&self, request: &ServiceRequest) -> Result<ServicePlan, ServiceError> {
        request.only(&["URL options"])?;
        let name = &request.name;
        let file = format!("{name}.sqlite3");
        let target = MountPath::of_service(name);
        let mode = if request.takes_transaction_mode { IMMEDIATE } else { "" };
        let url = with_options(&url(&target, &file, mode), &request.url_options);
        Ok(ServicePlan {
            steps: vec![
                Step::MakeDirectory { name: name.clone() },
                Step::CreateSqlite { directory: name.clone(), file },
            ],
            mounts: vec![ServiceMount { directory: name.clone(), target, writable: true }],
            vars: vec![(request.var(), url.into_bytes())],
            single_writer: true,
            warnings: Vec::new(),
        })
    }
}

/// Three slashes and an absolute path: four in a row, as Django's and SQLAlchemy's readers want.
fn url(target: &MountPath, file: &str, mode: &str) -> String {
    format!("sqlite:///{target}/{file}?{mode}{PATIENCE}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> ServiceRequest {
        ServiceRequest::new("db".parse().unwrap(), ServiceKind::Sqlite)
    }

    fn url_with(options: &[(&str, &str)]) -> String {
        let mut request = request();
        request.url_options = options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        String::from_utf8(Sqlite.plan(&request).unwrap().vars.remove(0).1).unwrap()
    }

    #[test]
    fn the_database_lies_outside_the_release_and_django_finds_it() {
        let plan = Sqlite.plan(&request()).unwrap();
        assert_eq!(plan.vars[0].0.as_str(), "DATABASE_URL");
        assert_eq!(url_with(&[]), "sqlite:////data/db/db.sqlite3?transaction_mode=IMMEDIATE&timeout=20");
        let elsewhere = ServiceRequest { takes_transaction_mode: false, ..request() };
        let url = Sqlite.plan(&elsewhere).unwrap().vars.remove(0).1;
        assert_eq!(url, b"sqlite:////data/db/db.sqlite3?timeout=20");
        let name = request().name;
        let made = Step::CreateSqlite { directory: name.clone(), file: "db.sqlite3".into() };
        assert_eq!(plan.steps, [Step::MakeDirectory { name: name.clone() }, made]);
        let target = "/data/db".parse().unwrap();
        assert_eq!(plan.mounts, [ServiceMount { directory: name, target, writable: true }]);
        assert!(plan.single_writer);
    }

    #[test]
    fn an_option_replaces_adds_or_leaves_out() {
        let base = "sqlite:////data/db/db.sqlite3";
        assert_eq!(url_with(&[("timeout", "5")]), format!("{base}?transaction_mode=IMMEDIATE&timeout=5"));
        assert_eq!(url_with(&[("transaction_mode", ""), ("timeout", "")]), base);
        let init = url_with(&[("init_command", "PRAGMA a=1&b;")]);
        assert!(init.ends_with("&timeout=20&init_command=PRAGMA%20a%3D1%26b%3B"), "{init}");
    }

    #[test]
    fn it_takes_no_path_and_no_url() {
        let mut with_path = request();
        with_path.path = Some("/data/x".parse().unwrap());
        assert!(matches!(Sqlite.plan(&with_path), Err(ServiceError::NotTaken { what: "path", .. })));
        let mut with_url = request();
        with_url.url = Some("postgres://h/x".parse().unwrap());
        assert!(matches!(Sqlite.plan(&with_url), Err(ServiceError::NotTaken { what: "URL", .. })));
    }
}
