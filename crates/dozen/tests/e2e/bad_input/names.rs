//! Names and values that are not good, taken, or of nothing that is there.

use std::{io::Write, process::Stdio};

use super::{Page, host};
use crate::{
    host::{Ran, TestHost},
    project::Project,
};

#[test]
fn an_app_name_that_is_not_good_or_taken_is_refused_with_the_rule() {
    let host = host();
    host.dozen(["create", "shop"]).succeeds();
    let mut page = Page::of(&host);
    for name in ["Shop", "my--shop", "-shop", "2shop", "shop-", "my shop", "", "sch\u{f6}n", "red\u{1b}[31m"]
    {
        page.add(&format!("`{}`", name.escape_debug()), &host.dozen(["create", "--", name]));
    }
    page.add("a long one", &host.dozen(["create", &"a".repeat(31)]));
    page.add("a taken one", &host.dozen(["create", "shop"]));
    insta::assert_snapshot!(page.text);
}

#[test]
fn what_is_not_there_is_named_with_what_was_meant() {
    let host = host();
    host.up(&Project::small("shop"));
    let mut page = Page::of(&host);
    let commands: [&[&str]; 20] = [
        &["ps", "-a", "shup"],
        &["ps", "-a", "warehouse"],
        &["ps", "-a", "shop", "-s", "prodution"],
        &["ps", "-a", "shop", "-s", "blue"],
        &["rollback", "-a", "shop", "v9"],
        &["rollback", "-a", "shop"],
        &["releases", "info", "-a", "shop", "v9"],
        &["builds", "-a", "shop", "77"],
        &["builds", "-a", "shop", "v1"],
        &["ps", "scale", "-a", "shop", "wbe=2"],
        &["ps", "scale", "-a", "shop", "clock=2"],
        &["ps", "scale", "-a", "shop", "web=100000"],
        &["ps", "restart", "-a", "shop", "web.7"],
        &["logs", "-a", "shop", "--ps", "wbe"],
        &["logs", "-a", "shop", "--ps", "clock"],
        &["config", "unset", "-a", "shop", "GREETING"],
        &["config", "get", "-a", "shop", "GREETING"],
        &["services", "create", "sqlit", "db", "-a", "shop"],
        &["services", "attach", "db", "-a", "shop"],
        &["run", "-a", "shop", "--", "no-such-program"],
    ];
    for words in commands {
        page.add(&words.join(" "), &host.dozen(words.iter().copied()));
    }
    insta::assert_snapshot!(page.text);
}

#[test]
fn a_domain_has_one_owner() {
    let host = host();
    host.dozen(["create", "shop"]).succeeds();
    host.dozen(["create", "blog"]).succeeds();
    host.dozen(["domains", "add", "-a", "shop", "shop.example.org"]).succeeds();
    let mut page = Page::of(&host);
    for domain in ["shop.example.org", "blog.localhost", "https://a.example.org/", "*.example.org", "a_b!"] {
        page.add(&format!("add {domain}"), &host.dozen(["domains", "add", "-a", "blog", domain]));
    }
    let remove = host.dozen(["domains", "remove", "-a", "blog", "shop.example.org"]);
    page.add("remove what is another app's", &remove);
    insta::assert_snapshot!(page.text);

    host.dozen(["domains", "remove", "-a", "shop", "shop.example.org"]).succeeds();
    host.dozen(["domains", "add", "-a", "blog", "shop.example.org"]).succeeds();
}

#[test]
fn config_that_no_environment_can_hold_is_refused() {
    let host = host();
    host.dozen(["create", "shop"]).succeeds();
    let mut page = Page::of(&host);
    for pair in ["1A=x", "A-B=x", "=x", "PORT=1", "DYNO=web.1", "DOZEN_HOME=/", "s3cret-that-went-astray"] {
        page.add(&format!("set {pair}"), &host.dozen(["config", "set", "-a", "shop", pair]));
    }
    page.add("NUL from stdin", &set_from_stdin(&host, b"hunter2\0hunter2"));
    page.add("70,000 bytes from stdin", &set_from_stdin(&host, &b"hunter2".repeat(10_000)));
    page.add("2 MB from stdin", &set_from_stdin(&host, &b"hunter2".repeat(300_000)));
    for (case, text) in [
        ("NUL in a file", "A=x\nB=hunter2\0\n"),
        ("no pair in a file", "A=x\nhunter2\n"),
        ("a bad name in a file", "A=x\nB-C=hunter2\n"),
        ("twice in a file", "A=x\nA=hunter2\n"),
        ("nothing in a file", "# empty\n"),
    ] {
        std::fs::write(host.home().join("vars.env"), text).unwrap();
        page.add(case, &host.dozen(["config", "import", "-a", "shop", "vars.env"]));
    }
    page.add("no file", &host.dozen(["config", "import", "-a", "shop", "none.env"]));
    insta::assert_snapshot!(page.text);
    assert!(!page.text.contains("hunter2"), "no value is quoted: {}", page.text);
    assert_eq!(host.dozen(["config", "-a", "shop", "--json"]).succeeds().json(), serde_json::json!([]));
}

fn set_from_stdin(host: &TestHost, value: &[u8]) -> Ran {
    let mut command = host.command(["config", "set", "-a", "shop", "--stdin", "VALUE"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Whoever refuses a value early does not read it to its end.
    let _ = child.stdin.take().unwrap().write_all(value);
    child.wait_with_output().unwrap().into()
}
