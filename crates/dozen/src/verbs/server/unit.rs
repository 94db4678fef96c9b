//! The systemd unit of the server, as text, and the file of variables beside it.
//!
//! systemd tells every user of the machine what a unit's `Environment=` says, whatever the mode of
//! the unit's file. The machine's proxies and indexes may have passwords in their addresses, so
//! those variables stand in an `EnvironmentFile=` that only its owner may read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    path::Path,
};

use crate::settings::ServerSettings;

/// What the unit says beside the server's settings.
pub(super) struct Place<'place> {
    /// A unit of the whole machine, else one of the user.
    pub(super) system: bool,
    /// `DOZEN_LOG`.
    pub(super) log: Option<&'place str>,
    /// Where [`variables`] are, if there are any.
    pub(super) variables: Option<&'place Path>,
}

/// The unit.
pub(super) fn unit(settings: &ServerSettings, place: &Place<'_>) -> String {
    let mut environment = own_settings(settings);
    environment.extend(place.log.map(|level| setting("DOZEN_LOG", OsStr::new(level))));
    environment.extend(place.variables.map(|path| format!("EnvironmentFile={}", whole_line(path))));
    let target = if place.system { "multi-user.target" } else { "default.target" };
    let network =
        if place.system { "Wants=network-online.target\nAfter=network-online.target\n" } else { "" };
    format!(
        "[Unit]
Description=dozen, a twelve-factor platform
{network}# However often it is killed or finds its port taken: it is started again.
StartLimitIntervalSec=0

[Service]
# It is started when it answers.
Type=notify
TimeoutStartSec=300
ExecStart={binary} server start
# Apps outlive a stop and a restart of the server: only its main process is signalled. The router ends with it.
KillMode=process
# But not the machine: then each app is asked to end, and has its time for it.
ExecStop=-{binary} server stop --all --if-shutting-down
TimeoutStopSec=120
{environment}
Restart=on-failure
RestartSec=1
# A later version may make control groups for apps.
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

fn own_settings(settings: &ServerSettings) -> Vec<String> {
    let listen: Vec<String> = settings.listen.iter().map(ToString::to_string).collect();
    let mut environment = vec![
        setting("DOZEN_HOME", settings.home.as_os_str()),
        setting("DOZEN_RUN", settings.run.as_os_str()),
        setting("DOZEN_LISTEN", OsStr::new(&listen.join(","))),
        setting("DOZEN_DOMAIN", OsStr::new(&settings.domain)),
        setting("PATH", &settings.path),
    ];
    if !settings.listen_https.is_empty() {
        let listen: Vec<String> = settings.listen_https.iter().map(ToString::to_string).collect();
        environment.push(setting("DOZEN_LISTEN_HTTPS", OsStr::new(&listen.join(","))));
    }
    if let Some(port) = settings.https_port {
        environment.push(setting("DOZEN_HTTPS_PORT", OsStr::new(&port.to_string())));
    }
    if !settings.trusted_proxies.is_empty() {
        let proxies: Vec<String> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
        environment.push(setting("DOZEN_TRUSTED_PROXIES", OsStr::new(&proxies.join(","))));
    }
    environment
        .extend(settings.router_variables.iter().map(|(name, value)| setting(name, OsStr::new(value))));
    environment.extend(acme_settings(settings));
    environment.extend(settings.key_file.as_ref().map(|path| setting("DOZEN_KEY_FILE", path.as_os_str())));
    environment.extend(settings.pyenv_root.as_ref().map(|path| setting("PYENV_ROOT", path.as_os_str())));
    environment
}

fn acme_settings(settings: &ServerSettings) -> Vec<String> {
    let acme = &settings.acme;
    let mut environment = vec![
        setting("DOZEN_ACME", OsStr::new(if acme.automatic { "on" } else { "off" })),
        setting("DOZEN_ACME_DIRECTORY", OsStr::new(&acme.directory)),
    ];
    environment.extend(acme.email.as_ref().map(|email| setting("DOZEN_ACME_EMAIL", OsStr::new(email))));
    let authorities = acme.authorities.as_ref();
    environment.extend(authorities.map(|path| setting("DOZEN_ACME_CA", path.as_os_str())));
    environment
}

/// The variables that builds need, for a file of the owner's; `None` when there are none.
pub(super) fn variables(settings: &ServerSettings) -> Option<String> {
    let lines = settings.build_env.iter().filter_map(|(name, value)| Some((name.to_str()?, value)));
    let text: String = lines.map(|(name, value)| format!("{name}=\"{}\"\n", quoted(value))).collect();
    (!text.is_empty()).then_some(text)
}

/// Names of the settings that two units give different values, in order.
pub(super) fn changed_settings(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (settings_of(before), settings_of(after));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    names.into_iter().filter(|name| before.get(name) != after.get(name)).map(str::to_owned).collect()
}

fn settings_of(unit: &str) -> BTreeMap<&str, &str> {
    unit.lines().filter_map(|line| line.strip_prefix("Environment=\"")?.split_once('=')).collect()
}

/// Names of the variables that two files of [`variables`] give different values, in order.
pub(super) fn changed_variables(before: &str, after: &str) -> Vec<String> {
    let of = |text: &'_ str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    let (before, after) = (of(before), of(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// A path as the first word of a command line.
fn word(path: &Path) -> String {
    format!("\"{}\"", escaped(path.as_os_str()).replace('$', "$$"))
}

fn setting(name: &str, value: &OsStr) -> String {
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

/// The path of an `EnvironmentFile=`, which is not quoted: it goes on to the end of the line.
fn whole_line(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// Text between double quotes in an `EnvironmentFile=`: no specifiers, and a line break is itself.
fn quoted(text: &OsStr) -> String {
    let mut out = String::new();
    for character in text.to_string_lossy().chars() {
        if matches!(character, '"' | '\\' | '`' | '$') {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_can_begin_another_setting_of_the_unit() {
        let hostile = OsStr::new("a\"\nExecStart=/bin/evil %h \\");
        assert_eq!(setting("X", hostile), "Environment=\"X=a\\\"\\nExecStart=/bin/evil %%h \\\\\"");
        assert_eq!(word(Path::new("/opt/do zen/$x")), "\"/opt/do zen/$$x\"");
    }

    #[test]
    fn no_value_can_begin_another_variable_of_the_file() {
        assert_eq!(quoted(OsStr::new("a\"\nB=c %h $x \\ `")), "a\\\"\nB=c %h \\$x \\\\ \\`");
    }

    #[test]
    fn settings_that_differ_are_named_whether_they_changed_came_or_went() {
        let unit = |lines: &[&str]| lines.join("\n");
        let before = unit(&["[Unit]", "Environment=\"A=1\"", "Environment=\"B=2\"", "Environment=\"C=3\""]);
        let after =
            unit(&["[Service]", "Environment=\"A=1\"", "Environment=\"B=x=y\"", "Environment=\"D=4\""]);
        assert_eq!(changed_settings(&before, &after), ["B", "C", "D"]);
        assert!(changed_settings(&after, &after).is_empty());
        let (before, after) = ("A=\"1\"\nB=\"2\"\n", "B=\"3\"\nC=\"4\"\n");
        assert_eq!(changed_variables(before, after), ["A", "B", "C"]);
    }
}
