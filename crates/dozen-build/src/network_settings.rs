//! How the machine reaches packages: proxy, index and CA settings for the dependency step.
//!
//! The caller reads them from its environment and passes on what [`is_network_setting`] lets
//! through; [`add_pip_config`] adds what the machine's `pip.conf` says, which only pip would read.
//! They are part of the dependency layer's key, by digest, and never of the image.

use std::collections::BTreeMap;

/// Whether a variable of the machine's environment is such a setting.
pub fn is_network_setting(name: &str) -> bool {
    const EXACT: [&str; 11] = [
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "ssl_cert_file",
        "ssl_cert_dir",
        "requests_ca_bundle",
        "curl_ca_bundle",
        "node_extra_ca_certs",
        "git_ssl_cainfo",
        "uv_keyring_provider",
    ];
    const PREFIXES: [&str; 8] = [
        "pip_index",
        "pip_extra_index",
        "pip_cert",
        "uv_index",
        "uv_extra_index",
        "uv_default_index",
        "npm_config_registry",
        "npm_config_cafile",
    ];
    let lower = name.to_ascii_lowercase();
    EXACT.contains(&lower.as_str())
        || PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
        || is_for_pythons(name)
}

/// Whether a setting says where uv gets Pythons, and nothing about packages.
pub(crate) fn is_for_pythons(name: &str) -> bool {
    matches!(name, "UV_PYTHON_INSTALL_MIRROR" | "UV_PYTHON_DOWNLOADS_JSON_URL" | "UV_PYTHON_DOWNLOADS")
}

/// Adds what a `pip.conf` says and no variable does. Call it for the file that counts most first.
pub fn add_pip_config(settings: &mut BTreeMap<String, String>, text: &str) {
    let mut found = BTreeMap::new();
    let mut section = "";
    let mut open = None;
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with(char::is_whitespace) {
            // More of the value above.
            if let Some(value) = open.and_then(|name| found.get_mut(name)) {
                *value = format!("{value} {bare}").trim().to_owned();
            }
            continue;
        }
        open = None;
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let (true, Some((key, value))) =
            (matches!(section, "global" | "install"), bare.split_once(['=', ':']))
            && let Some(name) = of_pip_key(key.trim())
        {
            found.insert(name, value.trim().to_owned());
            open = Some(name);
        }
    }
    if let Some(proxy) = found.remove("proxy") {
        for name in ["HTTPS_PROXY", "HTTP_PROXY"] {
            let lower = name.to_ascii_lowercase();
            if !settings.contains_key(&lower) {
                settings.entry(name.to_owned()).or_insert_with(|| proxy.clone());
            }
        }
    }
    for (name, value) in found {
        settings.entry(name.to_owned()).or_insert(value);
    }
}

/// The variable for a key of `pip.conf`.
fn of_pip_key(key: &str) -> Option<&'static str> {
    match key.replace('_', "-").as_str() {
        "index-url" => Some("PIP_INDEX_URL"),
        "extra-index-url" => Some("PIP_EXTRA_INDEX_URL"),
        "cert" => Some("PIP_CERT"),
        "proxy" => Some("proxy"),
        _ => None,
    }
}

/// The package indexes of the settings, the main one first.
pub(crate) fn indexes(settings: &BTreeMap<String, String>) -> Vec<String> {
    let of = |names: &[&str]| {
        let values = names.iter().filter_map(|name| settings.get(*name));
        values.flat_map(|value| value.split_whitespace()).map(without_name).collect::<Vec<_>>()
    };
    let main = of(&["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"]);
    let main = main.first().copied().unwrap_or("https://pypi.org/simple");
    let mut all = vec![main];
    all.extend(of(&["UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"]));
    all.into_iter().map(str::to_owned).collect()
}

/// uv writes `name=URL` for an index with a name.
pub(crate) fn without_name(index: &str) -> &str {
    match index.split_once('=') {
        Some((name, url)) if !name.contains([':', '/']) => url,
        _ => index,
    }
}

/// The file of certificates that the settings name.
pub(crate) fn certificate_file(settings: &BTreeMap<String, String>) -> Option<&str> {
    let names = ["PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    names.iter().find_map(|name| settings.get(*name)).map(String::as_str).filter(|path| !path.is_empty())
}

/// uv's word for a setting that only pip has, so that one setting serves both.
pub(crate) fn also_for_uv(name: &str) -> Option<&'static str> {
    match name {
        "PIP_INDEX_URL" => Some("UV_DEFAULT_INDEX"),
        "PIP_EXTRA_INDEX_URL" => Some("UV_INDEX"),
        "PIP_CERT" => Some("SSL_CERT_FILE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pip_conf_says_what_no_variable_says() {
        let text = "# ours\n[global]\nindex_url = https://u:p@i.example.org/simple\ntimeout: 5\n\
            extra-index-url =\n    https://a.example.org/\n\n    https://b.example.org/\nproxy: http://p:1\n\
            [freeze]\ncert = /no\n[install]\ncert = /etc/ca.pem\n";
        let mut env = settings(&[("https_proxy", "http://mine:1")]);
        add_pip_config(&mut env, text);
        assert_eq!(
            env,
            settings(&[
                ("HTTP_PROXY", "http://p:1"),
                ("PIP_CERT", "/etc/ca.pem"),
                ("PIP_EXTRA_INDEX_URL", "https://a.example.org/ https://b.example.org/"),
                ("PIP_INDEX_URL", "https://u:p@i.example.org/simple"),
                ("https_proxy", "http://mine:1"),
            ])
        );
        add_pip_config(&mut env, "[global]\nindex-url = https://other/\n");
        assert_eq!(env["PIP_INDEX_URL"], "https://u:p@i.example.org/simple");
    }

    #[test]
    fn indexes_come_in_their_order_and_without_uvs_names() {
        assert_eq!(indexes(&BTreeMap::new()), ["https://pypi.org/simple"]);
        let env =
            settings(&[("PIP_INDEX_URL", "https://i/x?a=b"), ("UV_INDEX", "own=https://o/ https://q/")]);
        assert_eq!(indexes(&env), ["https://i/x?a=b", "https://o/", "https://q/"]);
    }

    #[test]
    fn settings_of_the_network_pass_and_others_do_not() {
        for name in
            ["HTTPS_PROXY", "no_proxy", "PIP_INDEX_URL", "UV_INDEX_PRIVATE_PASSWORD", "npm_config_registry"]
        {
            assert!(is_network_setting(name), "{name}");
        }
        for name in
            ["PATH", "HOME", "DATABASE_URL", "LD_PRELOAD", "PIP_TARGET", "npm_config_prefix", "UV_PYTHON"]
        {
            assert!(!is_network_setting(name), "{name}");
        }
    }
}
