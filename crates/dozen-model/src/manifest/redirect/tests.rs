//! What a rule takes, where it leads, and which rules lead in circles.

use proptest::prelude::*;

use super::*;

fn rule(from: &str, to: &str) -> Redirect {
    Redirect::read(from, to, 301, true).unwrap_or_else(|(end, error)| panic!("{from} {to}: {end}: {error}"))
}

fn refused(from: &str, to: &str) -> (&'static str, String) {
    let (end, error) = Redirect::read(from, to, 301, true).unwrap_err();
    (end, error.to_string())
}

#[test]
fn a_rule_leads_where_its_target_says() {
    for (from, to, host, path, query, location) in [
        ("/old", "/new", "a.org", "/old", None, Some("/new")),
        ("/old", "/new", "a.org", "/old/", None, None),
        ("/old", "/new", "a.org", "/Old", None, None),
        ("/old", "/new", "a.org", "/old", Some("x=1"), Some("/new?x=1")),
        ("/old", "/new?y=2#part", "a.org", "/old", Some("x=1"), Some("/new?y=2&x=1#part")),
        ("/old", "https://b.org", "a.org", "/old", None, Some("https://b.org/")),
        ("/old/*", "/new/*", "a.org", "/old/a/b", None, Some("/new/a/b")),
        ("/old/*", "/new/*", "a.org", "/old/", None, Some("/new/")),
        ("/old/*", "/new/*", "a.org", "/old", None, None),
        ("/old/*", "/new", "a.org", "/old/x", None, Some("/new")),
        ("/old/*", "https://b.org:81/new/*", "a.org", "/old/x", None, Some("https://b.org:81/new/x")),
        ("a.org", "https://b.org", "a.org", "/x/y", Some("z"), Some("https://b.org/x/y?z")),
        ("a.org", "https://b.org/moved", "a.org", "/x/y", None, Some("https://b.org/moved")),
        ("a.org/x", "/y", "a.org", "/x", None, Some("/y")),
        ("a.org/x", "/y", "b.org", "/x", None, None),
        ("/*", "/closed", "a.org", "/x", None, Some("/closed")),
        ("/*", "/closed", "a.org", "/closed", None, None),
        ("/*", "https://b.org/*", "b.org", "/x", None, None),
        ("/*", "https://b.org:81/*", "b.org", "/x", None, Some("https://b.org:81/x")),
    ] {
        let found = rule(from, to).location(host, path, query);
        assert_eq!(found.as_deref(), location, "{from} -> {to}: {host}{path}");
    }
    let mut rule = rule("/old", "/new");
    rule.keeps_query = false;
    assert_eq!(rule.location("a.org", "/old", Some("x=1")).as_deref(), Some("/new"));
}

#[test]
fn nobody_who_asks_decides_on_the_host() {
    for (from, to, path, location) in [
        ("/old/*", "/*", "/old//evil.org", "/evil.org"),
        ("/old/*", "/*", "/old/\\evil.org", "/evil.org"),
        ("/old/*", "/*", "/old///\\/evil.org", "/evil.org"),
        ("/old/*", "https://b.org/*", "/old//evil.org", "https://b.org//evil.org"),
    ] {
        assert_eq!(rule(from, to).location("a.org", path, None).as_deref(), Some(location), "{path}");
    }
    for to in [
        "https://b.org*",
        "https://b.org:*",
        "https://*",
        "https://*.b.org/",
        "/a*",
        "/*/a",
        "/a?b=*",
        "/a/*#x",
    ] {
        let (end, error) = refused("/old/*", to);
        assert_eq!(end, "to", "{to}: {error}");
    }
}

#[test]
fn an_end_that_cannot_be_read_is_refused() {
    for from in [
        "",
        "old",
        "old page",
        "/a?b",
        "/a#b",
        "//a",
        "https://a.org/",
        "/a*",
        "/*/b",
        "a.org:80/",
        "A.org/",
        "/a\\b",
        "/é",
        "*",
    ] {
        // A name alone is a host.
        if from == "old" {
            continue;
        }
        assert_eq!(refused(from, "/x").0, "from", "{from}");
    }
    for to in [
        "",
        "new",
        "b.org/x",
        "//b.org",
        "https:/b.org",
        "https:///b.org",
        "https://",
        "https://me@b.org/",
        "https://me:secret@b.org/",
        "https://b.org:99999/",
        "https://b.org:/",
        "https://b.org:+1/",
        "https://127.0.0.1/",
        "https://b.org\\x",
        "https://b.org//x",
        "javascript://b.org/",
        "ftp://b.org/",
        "/a b",
        "/a\r\nSet-Cookie: x",
    ] {
        assert_eq!(refused("/x", to).0, "to", "{to}");
    }
    assert_eq!(refused("/x", "/y/*").1, "it has a `*`, so `from` needs one at its end, too");
}

#[test]
fn rules_that_lead_in_circles_are_found() {
    let find = |rules: &[(&str, &str)], www, domains: &[&str]| {
        let rules: Vec<Redirect> = rules.iter().map(|(from, to)| rule(from, to)).collect();
        let domains: Vec<Domain> = domains.iter().map(|name| name.parse().unwrap()).collect();
        first_loop(&rules, www, &domains)
    };
    for (rules, domains, found) in [
        (&[("/a", "/b"), ("/b", "/c")][..], &[][..], None),
        (&[("/a", "/a")], &[], Some(0)),
        (&[("/x", "/y"), ("/a", "/b"), ("/b", "/a")], &[], Some(1)),
        (&[("/a/*", "/b/*"), ("/b/y", "/a/y")], &[], Some(1)),
        (&[("/a/*", "/a/b/*")], &[], Some(0)),
        (&[("/a/*", "/*")], &[], None),
        (&[("/a", "/a?x=1")], &[], Some(0)),
        (&[("/a/*", "/a/*")], &[], Some(0)),
        (&[("a.org", "https://a.org")], &[], Some(0)),
        (&[("/*", "/")], &[], None),
        (&[("/*", "https://b.org/*")], &[], None),
        (&[("/*", "https://b.org/*")], &["b.org"], None),
        (&[("/x", "https://b.org/y"), ("/y", "/x")], &[], None),
        (&[("/x", "https://b.org/y"), ("/y", "/x")], &["b.org"], Some(0)),
        (&[("/*", "https://b.org:81/*")], &["b.org"], None),
        (&[("a.org", "https://b.org"), ("b.org", "https://a.org")], &[], Some(0)),
        (&[("a.org", "https://b.org"), ("b.org/x", "https://a.org/x")], &[], Some(1)),
        (&[("a.org", "https://b.org")], &["a.org", "b.org"], None),
        (&[("/x", "/y"), ("a.org/y", "/x")], &[], Some(0)),
    ] {
        assert_eq!(find(rules, None, domains), found, "{rules:?} {domains:?}");
    }
    let to_www = &[("a.org", "https://www.a.org")][..];
    let both = ["a.org", "www.a.org"];
    assert_eq!(find(to_www, Some(Www::ToBare), &both), Some(0));
    assert_eq!(find(to_www, Some(Www::ToWww), &both), None);
    let chain: Vec<(String, String)> = (0..30).map(|n| (format!("/{n}"), format!("/{}", n + 1))).collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    assert_eq!(find(&chain, None, &[]), Some(0), "browsers follow 20");
    assert_eq!(find(&chain[10..], None, &[]), None);
}

proptest! {
    #[test]
    fn an_address_without_a_host_never_gets_one(rest in "[!-~]{0,30}", from in "/[a-z/]{0,8}", to in "/[a-z/]{0,8}") {
        let ends = (format!("{from}/*"), format!("{to}/*"));
        if let Ok(rule) = Redirect::read(&ends.0, &ends.1, 301, true)
            && let Some(location) = rule.location("a.org", &format!("{from}/{rest}"), None)
        {
            prop_assert!(location.starts_with('/'), "{}", location);
            prop_assert!(!location[1..].starts_with(['/', '\\']), "{}", location);
        }
    }

    #[test]
    fn what_was_read_is_written_and_read_again(from in "[a-z./*]{0,12}", to in "(https://)?[a-z./*?#:0-9]{0,16}") {
        if let Ok(rule) = Redirect::read(&from, &to, 302, false) {
            let text = serde_json::to_string(&rule).unwrap();
            prop_assert_eq!(serde_json::from_str::<Redirect>(&text).unwrap(), rule);
        }
    }
}
