//! Error pages of an app's own, and those of the router: which one a client gets.

use std::{fs, io::Write as _, path::Path};

use dozen_model::{
    manifest::{ByteSize, RouterSettings},
    route_policy::{ErrorPageFolder, Maintenance, RoutePolicy},
    route_table::StageRoute,
};

use crate::{
    app::{App, Then, say},
    authority::Authority,
    browser::Reply,
    frames::{Frames, Head},
    host::{Host, eventually, stage},
};

/// A layer with these pages in `errors`.
fn layer(host: &Host, name: &str, pages: &[(&str, &str)]) -> ErrorPageFolder {
    let layer = host.dir.path().join(name);
    fs::create_dir_all(layer.join("errors")).unwrap();
    for (name, text) in pages {
        fs::write(layer.join("errors").join(name), text).unwrap();
    }
    ErrorPageFolder { layer, folder: "errors".into() }
}

fn with_pages(pages: &ErrorPageFolder, route: StageRoute) -> StageRoute {
    let policy = RoutePolicy { error_pages: Some(pages.clone()), ..route.policy.clone() };
    StageRoute { policy, ..route }
}

fn ask(host: &Host, name: &str, accept: &str) -> Reply {
    let mut browser = host.browser();
    browser.send(&format!("GET / HTTP/1.1\r\nHost: {name}\r\nAccept: {accept}\r\n\r\n"));
    browser.reply().unwrap()
}

fn over_h2(host: &Host, authority: &Authority, name: &str, accept: &str) -> Reply {
    let mut frames = Frames::connect(host.tls, name, &authority.client_config(&["h2"]));
    let head = Head::new(&[(":method", "GET"), (":scheme", "https"), (":authority", name), (":path", "/")]);
    let id = frames.request(&head.and("accept", accept), true);
    frames.reply(id).unwrap()
}

#[test]
fn an_apps_own_pages_stand_in_for_the_routers_and_never_for_its_answers() {
    let (host, authority) = (Host::start(), Authority::new());
    let app = App::start(|seen, stream| match seen.header("x-break") {
        Some(_) => Then::Close,
        None if seen.is_post() => say(stream, "taken"),
        None => {
            stream.write_all(b"HTTP/1.1 503 Mine\r\nContent-Length: 9\r\n\r\nthe app's").unwrap();
            Then::Close
        }
    });
    let text = "<p>Sorry, {{status}} {{request_id}}";
    let pages = [
        ("503.html", text),
        ("5xx.html", "<p>broken"),
        ("5xx.json", "{\"own\":1}"),
        ("maintenance.html", "<p>later"),
    ];
    let pages = layer(&host, "layer", &pages);
    let declared = RouterSettings { max_body: Some(ByteSize(3)), ..RouterSettings::default() };
    let small = StageRoute {
        policy: RoutePolicy { declared, ..RoutePolicy::default() },
        ..stage("small", &[("3", app.address)])
    };
    let maintained = RoutePolicy { maintenance: Some(Maintenance::default()), ..RoutePolicy::default() };
    let route = || {
        vec![
            with_pages(&pages, stage("none", &[])),
            with_pages(&pages, stage("one", &[("1", app.address)])),
            with_pages(
                &pages,
                StageRoute { policy: maintained.clone(), ..stage("kept", &[("2", app.address)]) },
            ),
            with_pages(&pages, small.clone()),
        ]
    };
    host.route(route());

    let none = ask(&host, "none.test", "*/*");
    let id = none.header("x-request-id").unwrap();
    assert_eq!((none.status, &none.body), (503, &format!("<p>Sorry, 503 {id}")));
    for (name, value) in
        [("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store"), ("retry-after", "5")]
    {
        assert_eq!(none.header(name), Some(value));
    }
    let json = ask(&host, "none.test", "text/html;q=0.5, application/json");
    assert_eq!((json.body.as_str(), json.header("content-type")), ("{\"own\":1}", Some("application/json")));
    assert_eq!(ask(&host, "one.test", "*/*").body, "the app's", "an app's own answer stays");
    let mut browser = host.browser();
    browser.send("POST / HTTP/1.1\r\nHost: one.test\r\nX-Break: 1\r\nContent-Length: 0\r\n\r\n");
    let broken = browser.reply().unwrap();
    assert_eq!((broken.status, broken.body.as_str()), (502, "<p>broken"));
    let kept = ask(&host, "kept.test", "*/*");
    assert_eq!((kept.status, kept.body.as_str(), kept.header("retry-after")), (503, "<p>later", Some("60")));
    let large = host.browser().post("small.test", "/", "four").unwrap();
    assert!(large.status == 413 && large.body.contains("413 Too large"), "no page for it: {large:?}");

    host.show(vec![authority.certificate(&["none.test", "kept.test"])]);
    let again = over_h2(&host, &authority, "none.test", "*/*");
    assert!(again.status == 503 && again.body.starts_with("<p>Sorry, 503 "), "{again:?}");
    assert_eq!(over_h2(&host, &authority, "kept.test", "application/json").body, "{\"own\":1}");

    // Another release has other pages, the one before it the first ones again.
    let other = layer(&host, "other", &[("5xx.html", "<p>other")]);
    host.show(Vec::new());
    host.route(vec![with_pages(&other, stage("none", &[]))]);
    assert_eq!(ask(&host, "none.test", "*/*").body, "<p>other");
    host.route(vec![stage("none", &[])]);
    assert!(ask(&host, "none.test", "*/*").body.contains("503 Not available"));
    host.route(route());
    assert!(ask(&host, "none.test", "*/*").body.starts_with("<p>Sorry, 503 "));
    host.kill_and_restart();
    eventually("the next router has them, too", || {
        host.get_or_none("none.test", "/").is_some_and(|reply| reply.body.starts_with("<p>Sorry, 503 "))
    });
}

#[test]
fn pages_that_are_gone_or_lead_elsewhere_leave_the_routers_own() {
    let host = Host::start();
    let secret = host.dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let pages = layer(&host, "layer", &[]);
    std::os::unix::fs::symlink(&secret, pages.layer.join("errors/503.html")).unwrap();
    let gone = ErrorPageFolder { layer: Path::new("/nowhere").into(), folder: "errors".into() };
    host.route(vec![with_pages(&pages, stage("linked", &[])), with_pages(&gone, stage("gone", &[]))]);
    for name in ["linked.test", "gone.test"] {
        let reply = host.get(name, "/");
        assert!(reply.status == 503 && reply.body.contains("503 Not available"), "{name}: {reply:?}");
    }
    let outside = ErrorPageFolder { layer: pages.layer.clone(), folder: "../..".into() };
    let table = dozen_model::route_table::RouteTable {
        generation: 99,
        stages: vec![with_pages(&outside, stage("outside", &[]))],
        ..Default::default()
    };
    let refused = host.client().set_table(&table).unwrap_err().to_string();
    assert!(refused.contains("`../..` is not a path of files"), "{refused}");
}
