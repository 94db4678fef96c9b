//! The help of every verb, compared whole.

use crate::host::Host;

/// Every visible verb and its parts, as the reference lists them.
fn verbs(host: &Host) -> Vec<String> {
    let page = host.dozen(&["reference"]).out;
    let headings =
        page.lines().filter(|line| line.starts_with("##")).filter_map(|line| line.split('`').nth(1));
    headings.filter_map(|name| name.strip_prefix("dozen ")).map(str::to_owned).collect()
}

#[test]
fn every_verb_has_its_help_in_a_snapshot() {
    let host = Host::new();
    let verbs = verbs(&host);
    assert!(verbs.len() > 35, "{verbs:?}");
    for verb in &verbs {
        let words: Vec<&str> = verb.split(' ').chain(["--help"]).collect();
        let ran = host.dozen(&words);
        assert_eq!((ran.status, ran.err.as_str()), (0, ""), "{verb}");
        insta::assert_snapshot!(format!("help_{}", verb.replace(' ', "_")), ran.out);
    }
}

#[test]
fn the_first_help_is_short_and_grouped() {
    let ran = Host::new().dozen(&["--help"]);
    insta::assert_snapshot!("help", ran.out);
    assert!(ran.out.lines().count() <= 45, "{}", ran.out);
}

#[test]
fn the_reference_is_what_the_documentation_shows() {
    insta::assert_snapshot!("reference", Host::new().dozen(&["reference"]).out);
}

#[test]
fn no_words_at_all_show_the_help_with_status_2() {
    let ran = Host::new().dozen(&[]);
    assert_eq!(ran.status, 2);
    assert!(ran.err.contains("Usage: dozen"), "{}", ran.err);
}

#[test]
fn completions_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Host::new().dozen(&["completions", shell]);
        assert_eq!(ran.status, 0);
        assert!(ran.out.contains("rollback"), "{shell}");
    }
}
