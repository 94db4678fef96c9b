//! Sites that the router serves itself.

use std::{fs, os::unix::fs::symlink, path::Path};

use dozen_model::route_table::{StageRoute, StaticSite, Target};

use crate::host::{Host, stage};

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn site(host: &Host) -> StageRoute {
    let (low, high) = (host.dir.path().join("low"), host.dir.path().join("high"));
    write(&low.join("public/index.html"), "<p>home");
    write(&low.join("public/style.css"), "old");
    write(&low.join("public/docs/index.html"), "docs");
    write(&low.join("public/empty/x.txt"), "x");
    write(&low.join("public/.env"), "SECRET=1");
    write(&low.join("secret.txt"), "secret");
    write(&host.dir.path().join("outside.txt"), "outside");
    symlink("../../outside.txt", low.join("public/link.txt")).unwrap();
    symlink("..", low.join("public/up")).unwrap();
    write(&high.join("public/style.css"), "new");
    write(&high.join("public/404.html"), "nothing here");
    write(&low.join("public/removed.txt"), "secret");
    // What an overlay leaves in the place of a removed file; everybody may make one.
    let mark = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::empty(), 0);
    rustix::fs::mknodat(rustix::fs::CWD, high.join("public/removed.txt"), mark.0, mark.1, mark.2).unwrap();
    write(&high.join("public/big.bin"), &"b".repeat(300_000));
    write(&high.join("public/a file.txt"), "spaced");
    let target = StaticSite { layers: vec![low, high], root: "public".into(), not_found: None };
    StageRoute { target: Target::Static(target), ..stage("one", &[]) }
}

#[test]
fn files_are_served_from_the_top_layer_down() {
    let host = Host::start();
    host.route(vec![site(&host)]);
    for (path, kind, body) in [
        ("/", "text/html; charset=utf-8", "<p>home"),
        ("/index.html?x=1", "text/html; charset=utf-8", "<p>home"),
        ("/style.css", "text/css; charset=utf-8", "new"),
        ("/docs/", "text/html; charset=utf-8", "docs"),
        ("/a%20file.txt", "text/plain; charset=utf-8", "spaced"),
    ] {
        let reply = host.get("one.test", path);
        assert_eq!(
            (reply.status, reply.header("content-type"), reply.body.as_str()),
            (200, Some(kind), body),
            "{path}"
        );
    }
    assert_eq!(host.get("one.test", "/big.bin").body.len(), 300_000);
    let moved = host.get("one.test", "/docs?q=1");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/docs/?q=1")));
    assert_eq!(host.get("one.test", "//docs").header("location"), Some("/docs/"));
}

#[test]
fn nothing_outside_the_site_is_served() {
    let host = Host::start();
    host.route(vec![site(&host)]);
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/docs/../../secret.txt",
        "/.env",
        "/%2eenv",
        "/link.txt",
        "/up/secret.txt",
        "/removed.txt",
        "/style.css/",
        "/style.css/x",
        "/empty/",
        "/nothing",
        "/%00",
        "/docs%2findex.html",
        "/\\..\\x",
        "/..%5csecret.txt",
        "//etc/passwd",
        "/proc/self/environ",
        "/high",
        "/index.html/..",
    ] {
        let reply = host.get("one.test", path);
        let is_refused = reply.status == 404 || reply.status == 400;
        assert!(is_refused, "{path}: {reply:?}");
        assert!(
            !reply.body.contains("secret")
                && !reply.body.contains("outside")
                && !reply.body.contains("SECRET"),
            "{path}"
        );
    }
    let missing = host.get("one.test", "/nothing");
    assert_eq!((missing.status, missing.body.as_str()), (404, "nothing here"));
}

#[test]
fn a_known_file_is_not_sent_again_and_no_file_is_written() {
    let host = Host::start();
    host.route(vec![site(&host)]);
    let mut browser = host.browser();
    let tag = browser.get("one.test", "/style.css").unwrap().header("etag").unwrap().to_owned();
    browser
        .send(&format!("GET /style.css HTTP/1.1\r\nHost: one.test\r\nIf-None-Match: \"x\", W/{tag}\r\n\r\n"));
    let known = browser.head().unwrap();
    assert_eq!((known.status, known.header("etag")), (304, Some(tag.as_str())));
    browser.send("HEAD /style.css HTTP/1.1\r\nHost: one.test\r\n\r\n");
    let head = browser.head().unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("3")));
    let post = browser.post("one.test", "/style.css", "x").unwrap();
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}
