//! What the server tells Prometheus, through its socket and by the verb, and what the docs say of it.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    time::Duration,
};

use crate::{
    exposition::Exposition,
    host::{TestHost, wait_for},
    project::Project,
};

const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// The families that the page lists: name to kind and meaning.
fn listed() -> BTreeMap<String, (String, String)> {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `dozen_"));
    let row = |row: &str| {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let [name, kind, _, meaning] = cells[..] else { panic!("four columns: {row}") };
        let name = format!("dozen_{}", name.trim_end_matches('`'));
        (name, (kind.to_owned(), meaning.replace('`', "")))
    };
    rows.map(row).collect()
}

fn printed(host: &TestHost) -> Exposition {
    Exposition::parse(&host.dozen(["server", "metrics"]).succeeds().stdout)
}

/// The answer of the socket, as a scraper reads it.
fn scraped(host: &TestHost) -> String {
    let mut socket = UnixStream::connect(host.state().join("run/control.sock")).expect("the socket");
    let request = "GET /v1/metrics HTTP/1.1\r\nHost: dozen\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).expect("the request");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("the answer");
    answer
}

#[test]
fn requests_show_in_the_numbers_which_the_docs_list_and_begin_anew_with_the_router() {
    let host = TestHost::start();
    host.up(&Project::small("shop"));
    for _ in 0..3 {
        assert_eq!(host.get("shop", "/").status, 200);
    }
    assert_eq!(host.get("nobody", "/").status, 404);
    let ok = [("app", "shop"), ("stage", "production"), ("method", "GET"), ("status", "2xx")];
    let served = |counted: &Exposition| counted.value("dozen_router_requests_total", &ok);
    wait_for("the requests to be counted", Duration::from_secs(10), || {
        (served(&printed(&host)) == Some(3.0)).then_some(())
    });
    let counted = printed(&host);
    assert_eq!(counted.families, listed(), "docs/metrics.md lists what there is");
    assert_eq!(counted.value("dozen_router_up", &[]), Some(1.0));
    let unknown = [("reason", "unknown_host")];
    assert_eq!(counted.value("dozen_router_refused_requests_total", &unknown), Some(1.0));
    let answer = scraped(&host);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert_eq!(served(&Exposition::parse(body)), Some(3.0));

    let first = host.router_pid();
    crate::crash::processes::kill(first);
    wait_for("another router", Duration::from_secs(10), || {
        (host.router_pid() != first && printed(&host).value("dozen_router_up", &[]) == Some(1.0))
            .then_some(())
    });
    assert_eq!(served(&printed(&host)), None);
}
