//! A route table and a host: whatever the table says and however the host is written, a domain is
//! routed to its owner.

#![no_main]

use dozen_router::fuzzing::find_host;
use serde_json::json;

/// A table in which each line is a domain, with an app for each.
fn table_of(domains: &str) -> Vec<u8> {
    let stage = |(number, domain)| {
        json!({
            "app": format!("a{number}"), "stage": "production", "release": 1, "domains": [domain],
            "target": {"endpoints": []}, "waiting": false, "hold": "none", "hold_limit": {"secs": 1, "nanos": 0},
        })
    };
    let stages: Vec<_> = domains.lines().enumerate().map(stage).collect();
    json!({"generation": 1, "bare_hosts": ["server.test"], "stages": stages}).to_string().into_bytes()
}

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| {
    let (text, host) = input;
    for table in [text.as_bytes().to_vec(), table_of(text)] {
        let found = find_host(&table, host.as_bytes());
        // Neither case nor port nor the root's dot makes another host of it.
        assert_eq!(found, find_host(&table, host.to_ascii_uppercase().as_bytes()));
        if found.is_some() && !host.contains([':', '[']) {
            assert_eq!(found, find_host(&table, format!("{host}:80").as_bytes()));
            if !host.ends_with('.') {
                assert_eq!(found, find_host(&table, format!("{host}.").as_bytes()));
            }
        }
    }
});
