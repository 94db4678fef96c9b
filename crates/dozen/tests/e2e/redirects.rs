//! Redirects, HTTPS and error pages as a repository declares them: they come with a release, go with
//! the next one, and come back with it.

use std::{os::unix::fs::symlink, time::Duration};

use dozen_model::certificates::CertificateSet;
use dozen_router::client::RouterClient;

use crate::{
    client::{self, Answer},
    host::{TestHost, wait_for},
    https::{certificate, fetch, https_address},
    project::Project,
};

const DECLARED: &str = r#"
[router]
error_pages = "pages"

[[router.redirects]]
from = "/old/*"
to = "/new/*"

[stages.production]
domains = ["shop.example.org", "www.shop.example.org"]

[stages.production.router]
www = "to-bare"
"#;

fn ask(host: &TestHost, path: &str, name: &str, more: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n{more}\r\n");
    client::try_request(host.port(), &request).unwrap_or_else(|error| panic!("{name}{path}: {error}"))
}

fn moved(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("location"))
}

#[test]
fn redirects_and_error_pages_come_go_and_come_back_with_their_release() {
    let host = TestHost::start();
    let project = Project::small("shop");
    project.write("dozen.toml", DECLARED);
    project.write("pages/maintenance.html", "<p>back soon, {{request_id}}");
    project.write("pages/5xx.json", "{\"sorry\": true}").commit("declared");
    host.up(&project);
    let are_there = |host: &TestHost| {
        assert_eq!(moved(&host.get("shop", "/old/a?b=c")), (301, Some("/new/a?b=c")));
        let www = ask(host, "/x", "www.shop.example.org", "");
        assert_eq!(moved(&www), (301, Some("http://shop.example.org/x")));
        assert_eq!(ask(host, "/x", "shop.example.org", "").status, 200);
        host.dozen(["maintenance", "on", "-a", "shop"]).succeeds();
        let page = host.get("shop", "/");
        let id = page.header("x-request-id").expect("an id");
        assert_eq!((page.status, &page.body), (503, &format!("<p>back soon, {id}")));
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let json = ask(host, "/", "shop.localhost", "Accept: application/json\r\n");
        assert_eq!((json.status, json.body.as_str()), (503, "{\"sorry\": true}"));
        host.dozen(["maintenance", "off", "-a", "shop"]).succeeds();
    };
    are_there(&host);
    wait_for("the redirect in the log", Duration::from_secs(10), || {
        let log = host.dozen(["logs", "-a", "shop"]).succeeds().stdout;
        (log.contains("path=\"/old/a\"") && log.contains("code=H90 desc=\"Redirected\"")).then_some(())
    });

    project.write("dozen.toml", "").commit("nothing");
    host.up(&project);
    assert_eq!(host.get("shop", "/old/a").status, 200);
    assert_eq!(ask(&host, "/x", "www.shop.example.org", "").status, 200);
    host.dozen(["maintenance", "on", "-a", "shop"]).succeeds();
    assert!(host.get("shop", "/").body.contains("503 Maintenance"));
    host.dozen(["maintenance", "off", "-a", "shop"]).succeeds();

    host.dozen(["rollback", "-a", "shop"]).succeeds();
    are_there(&host);
}

#[test]
fn what_cannot_be_served_is_refused_at_the_deploy_and_the_release_before_goes_on() {
    let host = TestHost::start();
    let project = Project::small("shop");
    host.up(&project);
    let refused = |what: &str| {
        project.commit(what);
        let ran = host.dozen_in(project.folder(), ["up", "."]).fails_with(1);
        ran.stderr
    };
    let declare = |text: &str| {
        project.write("dozen.toml", text);
    };
    declare("[router]\nerror_pages = \"pages\"\n");
    let said = refused("no folder");
    assert!(
        said.contains("`pages` cannot be used: `[router] error_pages` names it, and the tree has no"),
        "{said}"
    );
    project.write("pages/style.css", "p{}");
    let said = refused("no page");
    assert!(said.contains("`pages` cannot be used: it holds no error page, such as"), "{said}");
    project.write("pages/503.html", &"x".repeat((256 << 10) + 1));
    let said = refused("large");
    assert!(said.contains("`pages/503.html` cannot be used: an error page has up to 256 KiB"), "{said}");
    std::fs::remove_file(project.folder().join("pages/503.html")).unwrap();
    symlink("/etc/passwd", project.folder().join("pages/503.html")).unwrap();
    let said = refused("a link");
    assert!(said.contains("pages/503.html"), "{said}");
    std::fs::remove_file(project.folder().join("pages/503.html")).unwrap();
    project.write("pages/503.json", "{");
    let said = refused("not JSON");
    assert!(said.contains("`pages/503.json` cannot be used: it is not JSON"), "{said}");
    declare(
        "[[router.redirects]]\nfrom = \"/a\"\nto = \"/b\"\n\n[[router.redirects]]\nfrom = \"/b\"\nto = \"/a\"\n",
    );
    let said = refused("a loop");
    let loops = "`dozen.toml` line 3: `router.redirects.to`: `/a` leads back to itself";
    assert!(said.contains(loops), "{said}");
    assert!(host.get("shop", "/").body.starts_with("hello v1 "));

    declare("[router]\nerror_pages = \"pages\"\n");
    project.write("pages/503.json", "{}").commit("good");
    let ran = host.up(&project);
    let said = "`pages` holds what is no error page and is not served: style.css";
    assert!(format!("{ran:?}").contains(said), "{ran:?}");
}

#[test]
fn an_app_with_a_certificate_is_at_https_and_one_without_stays_in_the_clear() {
    let host = TestHost::start_with(&[("DOZEN_LISTEN_HTTPS", "127.0.0.1:0"), ("DOZEN_HTTPS_PORT", "8443")]);
    let project = Project::small("shop");
    project.write("dozen.toml", "[router]\nhsts = \"180d\"\n").commit("declared");
    host.up(&project);
    assert_eq!(host.get("shop", "/").status, 200);
    let shown = certificate();
    let set = CertificateSet {
        generation: u64::MAX / 2,
        certificates: vec![shown.clone()],
        ..CertificateSet::default()
    };
    RouterClient::connect(&host.state().join("run/router.sock")).unwrap().set_certificates(&set).unwrap();
    assert_eq!(moved(&host.get("shop", "/a?b")), (301, Some("https://shop.localhost:8443/a?b")));
    let answer = fetch(&host, &shown, &https_address(&host), "--http2");
    assert!(answer.starts_with("hello "), "{answer}");

    project.write("dozen.toml", "[stages.production.router]\nhttps = \"off\"\n").commit("off");
    host.up(&project);
    assert_eq!(host.get("shop", "/a").status, 200);
}
