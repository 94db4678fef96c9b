//! The local authority: what it signs is believed by who trusts it, and it signs nothing else.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{curl, entry, https_port};
use crate::{
    host::{Ran, TestHost, skip, wait_for},
    project::Project,
};

fn served() -> (TestHost, PathBuf) {
    let host = TestHost::start_with(&[("DOZEN_LISTEN_HTTPS", "127.0.0.1:0")]);
    host.up(&Project::small("shop"));
    wait_for("the certificate of the app", Duration::from_secs(10), || {
        entry(&host, "local", "shop.localhost")
    });
    let root = host.home().join("root.pem");
    let told = root.to_str().expect("a path");
    let wrote = host.dozen(["certs", "trust", "--file", told]).succeeds();
    assert!(wrote.stdout.contains(told), "{wrote:?}");
    (host, root)
}

#[test]
fn an_app_at_a_local_name_is_believed_by_curl_with_the_root_and_by_nobody_without() {
    let (host, root) = served();
    let printed = host.dozen(["certs", "trust", "--print"]).succeeds().stdout;
    assert_eq!(printed, std::fs::read_to_string(&root).expect("the root"));
    assert!(!printed.contains("PRIVATE KEY"));
    for name in ["shop.localhost", "localhost"] {
        let answered = curl(&host, &root, name);
        assert_eq!(answered.status, 0, "{name}: {answered:?}");
    }
    assert!(curl(&host, &root, "shop.localhost").stdout.starts_with("hello v1 "));
    let strangers = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if strangers.is_file() {
        assert_eq!(curl(&host, strangers, "shop.localhost").status, 60, "the system does not know it");
    }
    // It may sign for nothing but local names, and says so itself.
    let words = ["x509", "-noout", "-text", "-in", root.to_str().expect("a path")];
    let told = Ran::from(Command::new("openssl").args(words).output().expect("openssl")).succeeds().stdout;
    assert!(told.contains("Permitted:") && told.contains("DNS:localhost"), "{told}");

    // A new app has one at once, a restart makes no other authority, and a removed app's is gone.
    host.up(&Project::small("blog"));
    wait_for("the certificate of the new app", Duration::from_secs(10), || {
        curl(&host, &root, "blog.localhost").stdout.starts_with("hello v1 ").then_some(())
    });
    host.dozen(["destroy", "blog", "--confirm", "blog"]).succeeds();
    wait_for("it to be gone", Duration::from_secs(10), || {
        entry(&host, "local", "blog.localhost").is_none().then_some(())
    });
    let mut host = host;
    host.kill_control();
    host.start_server();
    assert_eq!(host.dozen(["certs", "trust", "--print"]).succeeds().stdout, printed);
    assert!(curl(&host, &root, "shop.localhost").stdout.starts_with("hello v1 "));
    let gone =
        host.dozen(["certs", "trust", "--remove", "--file", root.to_str().expect("a path")]).succeeds();
    assert!(gone.stdout.starts_with("removed ") && !root.exists(), "{gone:?}");
}

#[test]
fn a_browser_opens_an_app_at_a_local_name_once_its_store_has_the_root() {
    for program in ["chromium", "certutil"] {
        if !Path::new("/usr/bin").join(program).is_file() {
            return skip(&format!("`{program}` is not installed"));
        }
    }
    let (host, root) = served();
    let url = format!("https://shop.localhost:{}/", https_port(&host));
    assert!(!page(&host, &url).contains("hello v1"), "nobody vouches for it yet");
    let store = host.home().join(".pki/nssdb");
    std::fs::create_dir_all(&store).expect("a folder");
    let store = format!("sql:{}", store.display());
    let root = root.to_str().expect("a path");
    certutil(&["-d", &store, "-N", "--empty-password"]);
    // As `dozen certs trust` tells it.
    certutil(&["-d", &store, "-A", "-t", "C,,", "-n", "dozen", "-i", root]);
    let page = page(&host, &url);
    assert!(page.contains("hello v1"), "{page}");
}

fn certutil(words: &[&str]) {
    Ran::from(Command::new("certutil").args(words).output().expect("certutil")).succeeds();
}

/// What a browser makes of a page.
fn page(host: &TestHost, url: &str) -> String {
    let profile = format!("--user-data-dir={}", host.home().join("profile").display());
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--no-proxy-server", "--disable-dev-shm-usage", "--dump-dom", &profile, url]);
    command.env("HOME", host.home()).current_dir(host.home()).stdin(Stdio::null()).stderr(Stdio::null());
    Ran::from(command.output().expect("chromium")).stdout
}
