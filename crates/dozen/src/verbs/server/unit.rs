//! The systemd unit of the server, as text.

use std::{ffi::OsStr, path::Path};

use crate::settings::ServerSettings;

/// The unit. `log` is the level of the server's own log where one is set; `system` is a unit of the whole machine, else one of the user.
pub(super) fn unit(settings: &ServerSettings, log: Option<&str>, system: bool) -> String {
    let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
    let mut environment = vec![
        variable("DOZEN_HOME", settings.home.as_os_str()),
        variable("DOZEN_RUN", settings.run.as_os_str()),
        variable("DOZEN_LISTEN", OsStr::new(&listen.join(","))),
        variable("DOZEN_DOMAIN", OsStr::new(&settings.domain)),
        variable("PATH", &settings.path),
    ];
    if !settings.trusted_proxies.is_empty() {
        let proxies: Vec<String> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
        environment.push(variable("DOZEN_TRUSTED_PROXIES", OsStr::new(&proxies.join(","))));
    }
    environment.extend(log.map(|level| variable("DOZEN_LOG", OsStr::new(level))));
    environment.extend(settings.key_file.as_ref().map(|path| variable("DOZEN_KEY_FILE", path.as_os_str())));
    environment.extend(settings.pyenv_root.as_ref().map(|path| variable("PYENV_ROOT", path.as_os_str())));
    environment
        .extend(settings.build_env.iter().filter_map(|(name, value)| Some(variable(name.to_str()?, value))));
    let target = if system { "multi-user.target" } else { "default.target" };
    let network = if system { "Wants=network-online.target\nAfter=network-online.target\n" } else { "" };
    format!(
        "[Unit]
Description=dozen, a twelve-factor platform
{network}
[Service]
Type=exec
ExecStart={binary} server start
{environment}
Restart=on-failure
RestartSec=1
# Apps outlive a restart of the server: only its main process is signalled. The router ends with it.
KillMode=process
# The server makes control groups of its own for apps.
Delegate=yes
LimitNOFILE=524288
TasksMax=infinity
OOMPolicy=continue

[Install]
WantedBy={target}
",
        binary = word(&settings.binary),
        environment = environment.join("\n"),
    )
}

/// A path as the first word of a command line.
fn word(path: &Path) -> String {
    format!("\"{}\"", escaped(path.as_os_str()).replace('$', "$$"))
}

fn variable(name: &str, value: &OsStr) -> String {
    format!("Environment=\"{name}={}\"", escaped(value))
}

/// Text between double quotes: `%` begins a specifier, `\` and `"` are special, and a line break
/// would begin another setting.
fn escaped(text: &OsStr) -> String {
    let mut out = String::new();
    for character in text.to_string_lossy().chars() {
        match character {
            '%' => out.push_str("%%"),
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_begin_another_setting_of_the_unit() {
        let hostile = OsStr::new("a\"\nExecStart=/bin/evil %h \\");
        assert_eq!(variable("X", hostile), "Environment=\"X=a\\\"\\nExecStart=/bin/evil %%h \\\\\"");
        assert_eq!(word(Path::new("/opt/do zen/$x")), "\"/opt/do zen/$$x\"");
    }
}
