//! Which config var a service is attached to when nobody says.

use dozen_model::{manifest::ServiceKind, names::ConfigVar};

use crate::ServiceRequest;

/// The usual config var of a service: `DATABASE_URL` and its like, or one made of the service's
/// name where there is no usual one, or where it is `taken` by another service of the stage.
pub fn default_var(request: &ServiceRequest, taken: impl Fn(&ConfigVar) -> bool) -> ConfigVar {
    let usual = match request.kind {
        ServiceKind::Sqlite | ServiceKind::Postgres | ServiceKind::Mysql => Some("DATABASE_URL"),
        ServiceKind::Redis => Some("REDIS_URL"),
        ServiceKind::Smtp => Some("EMAIL_URL"),
        ServiceKind::Volume => None,
        ServiceKind::External => request.url.as_ref().and_then(|url| usual_for_scheme(url.scheme())),
    };
    let usual = usual.and_then(|name| name.parse().ok()).filter(|var| !taken(var));
    usual.unwrap_or_else(|| named_after(request))
}

fn usual_for_scheme(scheme: &str) -> Option<&'static str> {
    match scheme.split('+').next()? {
        "postgres" | "postgresql" | "mysql" | "mariadb" | "postgis" | "mysqlgis" | "oracle" | "mssql" => {
            Some("DATABASE_URL")
        }
        "redis" | "rediss" | "valkey" | "valkeys" => Some("REDIS_URL"),
        "smtp" | "smtps" | "submission" => Some("EMAIL_URL"),
        _ => None,
    }
}

/// `SHOP_MEDIA_PATH` for the volume `shop-media`, `SEARCH_URL` for the URL of `search`.
fn named_after(request: &ServiceRequest) -> ConfigVar {
    let ending = if request.kind == ServiceKind::Volume { "PATH" } else { "URL" };
    let name = request.name.as_str().to_ascii_uppercase().replace('-', "_");
    // A service may be called `dozen-x`, and variables that start so are ours.
    let var = format!("{name}_{ending}").parse();
    var.or_else(|_| format!("SERVICE_{name}_{ending}").parse())
        .expect("a service's name has letters, digits and dashes, and 30 of them at most")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var_of(kind: ServiceKind, name: &str, url: Option<&str>) -> String {
        let mut request = ServiceRequest::new(name.parse().unwrap(), kind);
        request.url = url.map(|url| url.parse().unwrap());
        default_var(&request, |_| false).to_string()
    }

    #[test]
    fn each_kind_has_its_usual_config_var() {
        for (kind, var) in [
            (ServiceKind::Sqlite, "DATABASE_URL"),
            (ServiceKind::Postgres, "DATABASE_URL"),
            (ServiceKind::Mysql, "DATABASE_URL"),
            (ServiceKind::Redis, "REDIS_URL"),
            (ServiceKind::Smtp, "EMAIL_URL"),
            (ServiceKind::Volume, "SHOP_MEDIA_PATH"),
            (ServiceKind::External, "SHOP_MEDIA_URL"),
        ] {
            assert_eq!(var_of(kind, "shop-media", None), var);
        }
    }

    #[test]
    fn an_external_service_is_attached_by_what_its_url_speaks() {
        for (url, var) in [
            ("postgres://u:p@db.example.org/x", "DATABASE_URL"),
            ("postgresql+psycopg://db.example.org/x", "DATABASE_URL"),
            ("rediss://cache.example.org", "REDIS_URL"),
            ("submission://mail.example.org", "EMAIL_URL"),
            ("https://search.example.org", "SEARCH_URL"),
        ] {
            assert_eq!(var_of(ServiceKind::External, "search", Some(url)), var, "{url}");
        }
    }

    #[test]
    fn a_second_service_is_named_after_itself() {
        let request = ServiceRequest::new("second".parse().unwrap(), ServiceKind::Sqlite);
        let var = default_var(&request, |var| var.as_str() == "DATABASE_URL");
        assert_eq!(var.as_str(), "SECOND_URL");
    }

    #[test]
    fn no_service_gets_a_config_var_of_ours() {
        assert_eq!(var_of(ServiceKind::Volume, "dozen-x", None), "SERVICE_DOZEN_X_PATH");
        assert_eq!(var_of(ServiceKind::Volume, &"a".repeat(30), None).len(), 35);
    }
}
