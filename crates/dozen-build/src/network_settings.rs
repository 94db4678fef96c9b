//! How the machine reaches packages: proxy, index and CA settings for the dependency step.
//!
//! The caller reads them from its environment and passes on what [`is_network_setting`] lets
//! through. They are part of the dependency layer's key, by digest, and never of the image.

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
    EXACT.contains(&lower.as_str()) || PREFIXES.iter().any(|prefix| lower.starts_with(prefix))
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
