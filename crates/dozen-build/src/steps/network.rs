//! What a step with network gets for it: proxy, index and CA settings, and build-secret files.

use std::{collections::BTreeMap, path::Path};

use super::{read_only, session::Session};
use crate::{
    cache_key::CacheKey,
    error::BuildError,
    network_settings::{also_for_uv, is_for_pythons, without_name},
    step::Bind,
};

impl Session<'_> {
    /// What every layer that was installed over the network depends on.
    pub(crate) fn dependency_key(&self) -> CacheKey {
        let mut key = self.input.common_key();
        for (name, value) in self.input.network_env.iter().filter(|(name, _)| !is_for_pythons(name)) {
            key.with_bytes(name.as_str(), value.as_bytes());
        }
        for (name, content) in self.secrets.iter() {
            key.with_bytes(format!("secret file {name}"), content);
        }
        key
    }

    /// The network settings and secret files for a step with network.
    pub(crate) fn add_network(
        &self,
        env: &mut BTreeMap<String, String>,
        binds: &mut Vec<Bind>,
    ) -> Result<(), BuildError> {
        for (name, value) in self.network.iter().filter(|(name, _)| !is_for_pythons(name)) {
            let uv = also_for_uv(name).filter(|name| !self.network.contains_key(*name));
            env.extend(uv.map(|uv| (uv.to_owned(), value.clone())));
            env.insert(name.clone(), value.clone());
            let folders = value.split_whitespace().filter_map(file_url);
            let certificates = is_certificates(name).then(|| Path::new(value));
            folders.chain(certificates).for_each(|path| show(path, binds));
        }
        let folder = self.scratch().join("secrets");
        if !folder.exists() {
            self.folder("secrets")?;
            self.secrets.write(&folder)?;
            self.give(&folder)?;
        }
        self.secrets.show(&folder, env, binds);
        Ok(())
    }

    /// The settings of where uv gets Pythons.
    pub(crate) fn add_python_sources(&self, env: &mut BTreeMap<String, String>, binds: &mut Vec<Bind>) {
        for (name, value) in self.network.iter().filter(|(name, _)| is_for_pythons(name)) {
            env.insert(name.clone(), value.clone());
            file_url(value).into_iter().for_each(|path| show(path, binds));
        }
    }
}

/// Shows a file or folder of this machine inside walls, where they do not show it by themselves.
fn show(path: &Path, binds: &mut Vec<Bind>) {
    let bind = read_only(path, path);
    if is_only_outside(path) && path.exists() && !binds.contains(&bind) {
        binds.push(bind);
    }
}

/// The path of a `file:` URL, also of an index that has a name.
fn file_url(value: &str) -> Option<&Path> {
    without_name(value).strip_prefix("file://").map(Path::new)
}

/// Whether a setting names a file or folder of certificates.
fn is_certificates(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["pip_cert", "ssl_cert_file", "ssl_cert_dir", "requests_ca_bundle", "curl_ca_bundle"]
        .into_iter()
        .chain(["node_extra_ca_certs", "git_ssl_cainfo", "npm_config_cafile"])
        .any(|known| lower == known)
}

/// Whether a path is one that the walls do not show by themselves.
fn is_only_outside(path: &Path) -> bool {
    let shown = ["/usr", "/etc/ssl/certs", "/etc/pki", "/etc/ca-certificates"];
    path.is_absolute() && !shown.iter().any(|inside| path.starts_with(inside))
}
