//! Domains: of dozen itself, of the user, declared by an app.

use std::time::{Duration, Instant};

use crate::{client, host::TestHost, project::Project};

/// A small app that declares these domains.
fn declaring(name: &str, domains: &str) -> Project {
    let project = Project::small(name);
    project.write("dozen.toml", &format!("[stages.production]\ndomains = [{domains}]\n")).commit("domains");
    project
}

fn status(host: &TestHost, name: &str) -> u16 {
    client::get(host.port(), name, "/").status
}

#[test]
fn a_declared_domain_below_the_base_domain_is_left_out_and_costs_nobody_a_route() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    let began = Instant::now();
    let deployed =
        host.up(&declaring("blog", "\"blog.localhost\", \"shop.localhost\", \"blog.example.org\""));
    assert!(deployed.stderr.contains("`shop.localhost` is below the base domain"), "{deployed:#?}");
    assert!(!deployed.stderr.contains("`blog.localhost` is below"), "its own name is its own: {deployed:#?}");
    // A router that does not answer is waited for so long.
    assert!(began.elapsed() < Duration::from_secs(15), "nobody waited for a router that refuses");
    for name in ["blog.localhost", "shop.localhost", "blog.example.org"] {
        assert_eq!(status(&host, name), 200, "{name}");
    }
    assert!(host.get("shop", "/").body.starts_with("hello v1 "));

    host.kill_control();
    host.start_server();
    assert_eq!(status(&host, "blog.localhost"), 200);
}

#[test]
fn a_base_domain_that_covers_a_users_domain_does_not_keep_the_server_from_starting() {
    let mut host = TestHost::start();
    host.up(&Project::small("shop"));
    for name in ["shop.example.org", "www.example.net"] {
        host.dozen(["domains", "add", "-a", "shop", name]).succeeds();
    }
    host.kill_control();

    host.set_env("DOZEN_DOMAIN", "example.org");
    host.start_server();

    for name in ["shop.example.org", "www.example.net"] {
        assert_eq!(status(&host, name), 200, "{name}");
    }
}
