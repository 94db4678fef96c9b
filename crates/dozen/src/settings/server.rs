//! What `dozen server start` needs to know beyond the common settings.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
};

use dozen_build::network_settings::is_network_setting;
use dozen_control::AcmeSettings;
use dozen_model::{address_range::AddressRange, names::Domain};

use super::{Caller, Environment, Settings, SettingsError, absolute, router_limits, user_home};

/// Flags of `dozen server start` and `dozen server install`.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ServerFlags {
    /// Address the router listens on, may be given several times [default: 127.0.0.1:1212]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) listen: Vec<String>,

    /// Address the router listens on for HTTPS, may be given several times [default: none]
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) listen_https: Vec<String>,

    /// Port at which clients reach HTTPS, where something before this machine changes it [default: the
    /// one listened on]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) https_port: Option<u16>,

    /// Base domain: apps answer at `APP.DOMAIN` [default: localhost]
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) domain: Option<Domain>,

    /// Address, or range such as `10.0.0.0/8`, of a proxy before the router that may say who the client
    /// is, may be given several times
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(crate) trusted_proxy: Vec<AddressRange>,

    /// Key that config vars are encrypted with [default: `key` in the state folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

/// Settings of the server.
#[derive(Debug, Clone)]
pub(crate) struct ServerSettings {
    /// Folder of all state.
    pub(crate) home: PathBuf,
    /// Folder of the sockets.
    pub(crate) run: PathBuf,
    /// Addresses the router listens on.
    pub(crate) listen: Vec<SocketAddr>,
    /// Addresses the router listens on for HTTPS.
    pub(crate) listen_https: Vec<SocketAddr>,
    /// The port at which clients reach HTTPS, where it is another one.
    pub(crate) https_port: Option<u16>,
    /// How certificates are got from an ACME server.
    pub(crate) acme: AcmeSettings,
    /// Proxies before the router whose word about the client counts.
    pub(crate) trusted_proxies: Vec<AddressRange>,
    /// Time limits and bounds of the router.
    pub(crate) router_limits: dozen_router::Limits,
    /// The variables that set them.
    pub(crate) router_variables: Vec<(&'static str, String)>,
    /// Base domain.
    pub(crate) domain: String,
    /// A key that stands elsewhere than in the state folder.
    pub(crate) key_file: Option<PathBuf>,
    /// This executable: control starts the router and the shims with it.
    pub(crate) binary: PathBuf,
    /// Proxy, index and certificate variables of the machine, for the dependency step of builds.
    pub(crate) build_env: BTreeMap<OsString, OsString>,
    /// Where pyenv keeps its Pythons.
    pub(crate) pyenv_root: Option<PathBuf>,
    /// `PATH`, where build tools are looked for.
    pub(crate) path: OsString,
    /// The user's home folder, where build tools are looked for too.
    pub(crate) user_home: Option<PathBuf>,
    /// Where tests hold the server, see `dozen_control::barrier`.
    pub(crate) barriers: Option<PathBuf>,
    /// Where the user's systemd units are.
    pub(crate) config_home: Option<PathBuf>,
}

impl ServerFlags {
    /// The same as variables, for a server that is started by another process.
    pub(crate) fn as_variables(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = Vec::new();
        if !self.listen.is_empty() {
            variables.push(("DOZEN_LISTEN", self.listen.join(",").into()));
        }
        if !self.listen_https.is_empty() {
            variables.push(("DOZEN_LISTEN_HTTPS", self.listen_https.join(",").into()));
        }
        if let Some(port) = self.https_port {
            variables.push(("DOZEN_HTTPS_PORT", port.to_string().into()));
        }
        if !self.trusted_proxy.is_empty() {
            let proxies: Vec<String> = self.trusted_proxy.iter().map(AddressRange::to_string).collect();
            variables.push(("DOZEN_TRUSTED_PROXIES", proxies.join(",").into()));
        }
        if let Some(domain) = &self.domain {
            variables.push(("DOZEN_DOMAIN", domain.as_str().into()));
        }
        if let Some(path) = &self.key_file {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            variables.push(("DOZEN_KEY_FILE", path.into()));
        }
        variables
    }
}

impl ServerSettings {
    /// Decides the server's settings.
    pub(crate) fn resolve(
        flags: &ServerFlags,
        common: &Settings,
        env: &Environment,
        caller: &Caller,
    ) -> Result<Self, SettingsError> {
        let listen = match flags.listen.as_slice() {
            [] => env.text("DOZEN_LISTEN")?.unwrap_or("127.0.0.1:1212").to_owned(),
            named => named.join(","),
        };
        let listen_https = match flags.listen_https.as_slice() {
            [] => env.text("DOZEN_LISTEN_HTTPS")?.unwrap_or_default().to_owned(),
            named => named.join(","),
        };
        let trusted_proxies = match flags.trusted_proxy.as_slice() {
            [] => proxies(env.text("DOZEN_TRUSTED_PROXIES")?.unwrap_or_default())?,
            named => named.to_vec(),
        };
        let https_port = match flags.https_port {
            Some(port) => Some(port),
            None => env.text("DOZEN_HTTPS_PORT")?.map(port).transpose()?,
        };
        let domain = match &flags.domain {
            Some(domain) => domain.clone(),
            None => {
                let text = env.text("DOZEN_DOMAIN")?.unwrap_or("localhost");
                text.parse().map_err(|source| SettingsError::Domain { source })?
            }
        };
        let key_file = match &flags.key_file {
            Some(path) => Some(absolute("--key-file", path)?),
            None => env.path("DOZEN_KEY_FILE")?,
        };
        let user_home = user_home(env, caller);
        Ok(Self {
            home: common.home.clone(),
            run: common.run.clone(),
            listen: listen.split(',').map(|text| address(text.trim())).collect::<Result<_, _>>()?,
            listen_https: addresses(&listen_https)?,
            https_port,
            acme: super::acme::acme(env)?,
            trusted_proxies,
            router_limits: router_limits::resolve(env)?,
            router_variables: router_limits::as_set(env),
            domain: domain.to_string(),
            key_file,
            binary: common.binary.clone(),
            build_env: build_variables(env),
            barriers: env.path("DOZEN_BARRIERS")?,
            pyenv_root: env
                .xdg("PYENV_ROOT")
                .or_else(|| user_home.as_ref().map(|home| home.join(".pyenv")))
                .filter(|path| path.is_dir()),
            config_home: env
                .xdg("XDG_CONFIG_HOME")
                .or_else(|| user_home.as_ref().map(|home| home.join(".config"))),
            path: env.get("PATH").map_or_else(|| "/usr/local/bin:/usr/bin:/bin".into(), Into::into),
            user_home,
        })
    }
}

/// Addresses and ranges of proxies, with commas between them.
fn proxies(text: &str) -> Result<Vec<AddressRange>, SettingsError> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let address = |word: &str| word.parse().map_err(|source| SettingsError::Proxy { source });
    words.map(address).collect()
}

/// A port that clients connect to.
fn port(text: &str) -> Result<u16, SettingsError> {
    let refused =
        || SettingsError::Port { text: text.chars().take(80).flat_map(char::escape_default).collect() };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port > 0).ok_or_else(refused)
}

/// Addresses to listen on, or none.
fn addresses(text: &str) -> Result<Vec<SocketAddr>, SettingsError> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(address).collect()
}

/// An address to listen on; a host name such as `localhost` stands for its first address.
fn address(text: &str) -> Result<SocketAddr, SettingsError> {
    let refused =
        || SettingsError::Listen { text: text.chars().take(80).flat_map(char::escape_default).collect() };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    text.to_socket_addrs().ok().and_then(|mut found| found.next()).ok_or_else(refused)
}

/// The machine's proxy, index and certificate variables.
fn build_variables(env: &Environment) -> BTreeMap<OsString, OsString> {
    let wanted = |name: &OsString| name.to_str().is_some_and(is_network_setting);
    env.0.iter().filter(|(name, _)| wanted(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_of_the_machines_network_reach_a_build() {
        let env = Environment::of(&[
            ("HTTPS_PROXY", "http://p:1"),
            ("PIP_INDEX_URL", "https://i"),
            ("npm_config_registry", "https://r"),
            ("npm_config_//r/:_authToken", "t"),
            ("PIP_TARGET", "/x"),
            ("UV_PUBLISH_TOKEN", "t"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("DOZEN_HOME", "/d"),
            ("PIPX_HOME", "/x"),
        ]);
        let names: Vec<_> = build_variables(&env).into_keys().collect();
        assert_eq!(names, ["HTTPS_PROXY", "PIP_INDEX_URL", "npm_config_registry"]);
    }

    #[test]
    fn a_proxy_is_named_by_its_address_or_a_range() {
        assert_eq!(proxies("127.0.0.1, ::1, 10.0.0.0/8").unwrap().len(), 3);
        assert!(proxies("").unwrap().is_empty());
        assert!(proxies("127.0.0.1:80").is_err() && proxies("front.example.org").is_err());
    }

    #[test]
    fn https_is_listened_for_where_it_was_asked_for() {
        assert!(addresses("").unwrap().is_empty());
        assert_eq!(addresses("127.0.0.1:443, [::1]:443").unwrap().len(), 2);
        assert!(addresses("127.0.0.1:443,nowhere").is_err());
    }

    #[test]
    fn the_port_of_https_is_one_that_clients_can_ask_for() {
        assert_eq!(port("443").unwrap(), 443);
        for bad in ["0", "65536", "+443", "https", "443 "] {
            assert!(port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_needs_a_port() {
        assert_eq!(address("127.0.0.1:80").unwrap(), "127.0.0.1:80".parse().unwrap());
        assert!(address("127.0.0.1").is_err());
        assert!(address("").is_err());
    }
}
