//! Keeps `docs/dozen-toml.md` true: every key that the parser takes has a row there, and every
//! example there can be read.

use super::{SECTIONS, read_toml};

const PAGE: &str = include_str!("../../../../../docs/dozen-toml.md");
const SECTION_READERS: &str = include_str!("../dozen_toml.rs");
const CONFIG_READER: &str = include_str!("config.rs");
const FORMATION_READER: &str = include_str!("formation.rs");
const ROUTER_READER: &str = include_str!("router.rs");
const SERVICES_READER: &str = include_str!("services.rs");

/// Each reader that lists its keys: its source, its name, and its chapter of the page.
const READERS: [(&str, &str, &str); 14] = [
    (SECTION_READERS, "app", "app"),
    (CONFIG_READER, "detailed", "config"),
    (SERVICES_READER, "declaration", "services.NAME"),
    (SECTION_READERS, "health", "health"),
    (SECTION_READERS, "release_overrides", "release"),
    (FORMATION_READER, "settings", "formation"),
    (SECTION_READERS, "limits", "limits"),
    (SECTION_READERS, "drain", "drain"),
    (ROUTER_READER, "settings", "router"),
    (ROUTER_READER, "redirect", "[router.redirects]"),
    (ROUTER_READER, "hsts_table", "router.hsts"),
    (SECTION_READERS, "build", "build"),
    (SECTION_READERS, "system", "system"),
    (SECTION_READERS, "stage", "stages.NAME"),
];

/// The text of a chapter, up to the next one.
fn chapter(name: &str) -> Option<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("\n## `[{name}]`\n"))?;
    Some(rest.split("\n## ").next().unwrap_or(rest))
}

/// The keys that a reader hands to `Section::only`.
fn keys(source: &'static str, function: &str) -> Vec<&'static str> {
    let (_, body) = source.split_once(&format!("fn {function}(")).expect("the reader is there");
    let (_, list) = body.split_once(".only(&[").expect("it lists its keys");
    let (list, _) = list.split_once("])").expect("the list ends");
    list.split('"').skip(1).step_by(2).collect()
}

#[test]
fn every_key_has_a_row_in_its_chapter() {
    for (source, function, name) in READERS {
        let chapter = chapter(name).unwrap_or_else(|| panic!("no chapter `[{name}]`"));
        let keys = keys(source, function);
        assert!(!keys.is_empty(), "{function}");
        for key in keys {
            assert!(chapter.contains(&format!("\n| `{key}` | ")), "`{key}` is missing in `[{name}]`");
        }
    }
}

#[test]
fn no_reader_and_no_section_is_left_out() {
    let sources = [SECTION_READERS, CONFIG_READER, FORMATION_READER, ROUTER_READER, SERVICES_READER];
    let lists: usize = sources.iter().map(|source| source.matches(".only(&[").count()).sum();
    assert_eq!(lists, READERS.len());
    for section in SECTIONS {
        assert!(chapter(section).or(chapter(&format!("{section}.NAME"))).is_some(), "{section}");
    }
}

#[test]
fn every_example_is_read() {
    let examples: Vec<&str> =
        PAGE.split("\n```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(examples.len() > SECTIONS.len(), "{}", examples.len());
    for example in examples {
        if let Err(error) = read_toml(example.as_bytes()) {
            panic!("{error}\n{example}");
        }
    }
}
