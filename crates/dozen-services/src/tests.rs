//! What an external service's URL may be, and that it is never shown.

use dozen_model::{hint::Hint as _, manifest::ServiceKind, names::ConfigVar};
use proptest::prelude::*;

use crate::{NotAServiceUrl, ServiceError, ServiceRequest, ServiceUrl, driver};

fn external(url: &str) -> ServiceRequest {
    let mut request = ServiceRequest::new("shop-db".parse().unwrap(), ServiceKind::External);
    request.url = Some(url.parse().unwrap());
    request
}

fn value(request: &ServiceRequest) -> String {
    let plan = driver(ServiceKind::External).unwrap().plan(request).unwrap();
    String::from_utf8(plan.vars[0].1.clone()).unwrap()
}

#[test]
fn an_external_service_is_its_url_and_nothing_else() {
    let plan = driver(ServiceKind::External)
        .unwrap()
        .plan(&external("redis://:pw@cache.example.org:6379/0"))
        .unwrap();
    let var: ConfigVar = "REDIS_URL".parse().unwrap();
    assert_eq!(plan.vars, [(var, b"redis://:pw@cache.example.org:6379/0".to_vec())]);
    assert!(
        plan.steps.is_empty() && plan.mounts.is_empty() && plan.warnings.is_empty() && !plan.single_writer
    );
}

#[test]
fn a_postgres_url_is_emitted_in_the_form_every_library_takes() {
    assert_eq!(value(&external("postgres://u:p@h/x")), "postgresql://u:p@h/x");
    assert_eq!(value(&external("postgresql://u:p@h/x")), "postgresql://u:p@h/x");
    assert_eq!(value(&external("postgresql+psycopg://u:p@h/x")), "postgresql+psycopg://u:p@h/x");
}

#[test]
fn options_are_put_into_the_query() {
    let mut request = external("mysql://u:p@h/x?charset=utf8&ssl=0#f");
    request.url_options =
        [("ssl", "1"), ("a", "b c")].map(|(name, value)| (name.into(), value.into())).into();
    assert_eq!(value(&request), "mysql://u:p@h/x?charset=utf8&a=b%20c&ssl=1#f");
}

#[test]
fn a_url_needs_a_scheme_and_a_host() {
    let good = [
        "postgres://h",
        "amqps://u:p@h:5671/v?x=1",
        "mongodb://a:1,b:2/db",
        "redis://[2001:db8::1]:6379",
        "https://h/p@th",
        "smtp://user%40x:p%2Fw@mail.example.org:587",
        "s3+https://h_1/b",
        "https://h?by=a@b",
        "postgres://u:p@ss@h/x",
    ];
    for url in good {
        assert!(url.parse::<ServiceUrl>().is_ok(), "{url}");
    }
    for (url, why) in [
        ("", NotAServiceUrl::NoScheme),
        ("topsecret", NotAServiceUrl::NoScheme),
        ("h:5432/topsecret", NotAServiceUrl::NoScheme),
        ("Postgres://topsecret@h", NotAServiceUrl::NoScheme),
        ("1x://topsecret", NotAServiceUrl::NoScheme),
        ("postgres:///topsecret", NotAServiceUrl::NoHost),
        ("postgres://user:topsecret@/db", NotAServiceUrl::NoHost),
        ("redis://?x=topsecret", NotAServiceUrl::NoHost),
        ("redis://topsecret:x", NotAServiceUrl::BadHost),
        ("redis://topsecret:0", NotAServiceUrl::BadHost),
        ("redis://topsecret:70000", NotAServiceUrl::BadHost),
        ("redis://h:", NotAServiceUrl::BadHost),
        ("redis://a,,b", NotAServiceUrl::BadHost),
        ("redis://[topsecret]:1", NotAServiceUrl::BadHost),
        ("redis://[::1]topsecret", NotAServiceUrl::BadHost),
        ("postgres://user:top/secret@h/db", NotAServiceUrl::BadHost),
        ("postgres://user:12/topsecret@h/db", NotAServiceUrl::BadHost),
        ("postgres://user:12?topsecret@h/db", NotAServiceUrl::BadHost),
        ("postgres://user:@topsecret/@h/db", NotAServiceUrl::BadHost),
        ("postgres://user:12#topsecret@h/db", NotAServiceUrl::BadHost),
        ("postgres://user:top secret@h", NotAServiceUrl::NotPlain),
        ("postgres://user:topsecret@h\n", NotAServiceUrl::NotPlain),
        ("postgres://user:topsecrét@h", NotAServiceUrl::NotPlain),
        ("sqlite:////topsecret", NotAServiceUrl::File),
        ("file:///topsecret", NotAServiceUrl::File),
    ] {
        let error = url.parse::<ServiceUrl>().unwrap_err();
        assert_eq!(error, why, "{url}");
        assert!(!format!("{error} {error:?} {:?}", error.hint()).contains("topsecret"));
    }
    let long = format!("redis://h/{}", "x".repeat(ServiceUrl::LIMIT));
    assert_eq!(long.parse::<ServiceUrl>(), Err(NotAServiceUrl::TooLong));
}

#[test]
fn a_url_is_never_shown_but_for_its_place() {
    let mut request = external("postgres://user:topsecret@db.example.org:5432/topsecret?x=topsecret");
    request.url_options = [("password".to_owned(), "other".to_owned())].into();
    let plan = driver(ServiceKind::External).unwrap().plan(&request).unwrap();
    let url = request.url.clone().unwrap();
    assert_eq!(url.place(), "postgres://db.example.org:5432");
    for shown in [format!("{url:?}"), format!("{request:?}"), format!("{plan:?}")] {
        assert!(!shown.contains("topsecret") && !shown.contains("user"), "{shown}");
    }
}

#[test]
fn a_loopback_address_is_a_warning() {
    for url in
        ["redis://localhost", "redis://127.0.0.1:6379", "redis://[::1]", "postgres://a,x.localhost:1/db"]
    {
        let plan = driver(ServiceKind::External).unwrap().plan(&external(url)).unwrap();
        assert_eq!(plan.warnings.len(), 1, "{url}");
    }
    assert!(!"redis://localhost.example.org".parse::<ServiceUrl>().unwrap().is_loopback());
}

#[test]
fn an_external_service_needs_a_url() {
    let request = ServiceRequest::new("shop-db".parse().unwrap(), ServiceKind::External);
    let error = driver(ServiceKind::External).unwrap().plan(&request).unwrap_err();
    assert_eq!(error, ServiceError::UrlMissing { service: request.name });
    assert_eq!(error.hint().unwrap(), "give it: `dozen services create external shop-db --url URL`");
}

#[test]
fn what_a_manifest_declares_is_what_is_planned() {
    let text = "[services.media]\nkind = 'volume'\nattach = 'MEDIA_ROOT'\npath = '/srv/media'\n[services.db]\nkind = 'sqlite'\nurl_options = { timeout = '5' }";
    let manifest = dozen_model::manifest::read_toml(text.as_bytes()).unwrap();
    let plans: Vec<_> = manifest
        .services
        .iter()
        .map(|(name, service)| {
            let plan =
                driver(service.kind).unwrap().plan(&ServiceRequest::declared(name.clone(), service)).unwrap();
            // The manifest's own check of overlapping mounts speaks of the same places.
            assert_eq!(service.mount_path(name).as_ref(), plan.mounts.first().map(|mount| &mount.target));
            plan
        })
        .collect();
    assert!(plans[0].vars[0].1.ends_with(b"timeout=5"));
    assert_eq!(plans[1].vars[0].1, b"/srv/media");
}

proptest! {
    #[test]
    fn no_text_makes_the_url_reader_panic(text in "\\PC{0,60}", near in "(redis|x)://[a-z@:/,?#\\[\\]0-9.]{0,40}") {
        for text in [text, near] {
            if let Ok(url) = text.parse::<ServiceUrl>() {
                let _ = (url.is_loopback(), value(&external(&text)));
                prop_assert!(!url.place().contains(['@', '?', '#']));
            }
        }
    }

    #[test]
    fn no_password_is_a_part_of_the_place(password in "[!-~]{0,20}", host in "[a-z]{1,8}(:[1-9][0-9]{0,3})?") {
        // Raw separators may be refused; whatever is taken shows the host alone.
        if let Ok(url) = format!("postgres://user:{password}@{host}/db").parse::<ServiceUrl>() {
            prop_assert_eq!(url.place(), format!("postgres://{host}"));
        }
    }
}
