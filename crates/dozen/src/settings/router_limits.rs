//! `DOZEN_ROUTER_*`: the time limits and bounds of the router that hold for all apps.

use std::{fmt::Display, time::Duration};

use dozen_model::manifest::{ByteSize, parse_duration};
use dozen_router::Limits;

use super::{Environment, SettingsError};

/// The longest time limit: what waits longer is not served any more.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Every variable, in the order of the reference.
pub(crate) const VARIABLES: [&str; 8] = [
    "DOZEN_ROUTER_HEADER_READ",
    "DOZEN_ROUTER_HEAD_SIZE",
    "DOZEN_ROUTER_HEADERS",
    "DOZEN_ROUTER_KEEP_ALIVE",
    "DOZEN_ROUTER_CONNECT",
    "DOZEN_ROUTER_CONNECTIONS",
    "DOZEN_ROUTER_CONNECTIONS_PER_CLIENT",
    "DOZEN_ROUTER_HELD",
];

/// Decides the router's limits.
pub(crate) fn resolve(env: &Environment) -> Result<Limits, SettingsError> {
    let usual = Limits::default();
    let [header_read, head_bytes, headers, keep_alive, connect, connections, per_client, held] = VARIABLES;
    Ok(Limits {
        header_read: time(env, header_read, usual.header_read)?,
        head_bytes: size(env, head_bytes, usual.head_bytes)?,
        headers: count(env, headers, (10, 1000), usual.headers)?,
        keep_alive: time(env, keep_alive, usual.keep_alive)?,
        connect: time(env, connect, usual.connect)?,
        connections: count(env, connections, (1, 1 << 24), usual.connections)?,
        connections_per_client: count(env, per_client, (1, 1 << 24), usual.connections_per_client)?,
        held_per_stage: count(env, held, (0, 1 << 20), usual.held_per_stage)?,
        ..usual
    })
}

/// The variables that are set, as a unit carries them on.
pub(crate) fn as_set(env: &Environment) -> Vec<(&'static str, String)> {
    let set = |name: &'static str| Some((name, env.get(name)?.to_str()?.to_owned()));
    VARIABLES.into_iter().filter_map(set).collect()
}

fn time(env: &Environment, name: &'static str, usual: Duration) -> Result<Duration, SettingsError> {
    let Some(text) = env.text(name)? else { return Ok(usual) };
    let limit = parse_duration(text).map_err(|error| refused(name, error))?;
    match limit {
        Duration::ZERO => Err(refused(name, "write a duration above zero")),
        limit if limit > LONGEST => Err(refused(name, "write a duration of a day at most")),
        limit => Ok(limit),
    }
}

fn size(env: &Environment, name: &'static str, usual: usize) -> Result<usize, SettingsError> {
    let Some(text) = env.text(name)? else { return Ok(usual) };
    let size: ByteSize = text.parse().map_err(|error| refused(name, error))?;
    let fits = usize::try_from(size.bytes()).ok().filter(|bytes| (1 << 10..=1 << 20).contains(bytes));
    fits.ok_or_else(|| refused(name, "write a size from 1K to 1M"))
}

fn count(
    env: &Environment,
    name: &'static str,
    (least, most): (usize, usize),
    usual: usize,
) -> Result<usize, SettingsError> {
    let Some(text) = env.text(name)? else { return Ok(usual) };
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_plain && (least..=most).contains(number));
    number.ok_or_else(|| refused(name, format!("write a number from {least} to {most}")))
}

fn refused(name: &'static str, reason: impl Display) -> SettingsError {
    SettingsError::RouterLimit { name, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_sets_its_limit_and_an_empty_one_none() {
        let values = ["2s", "16K", "50", "5s", "1s", "10", "3", "7"];
        let pairs: Vec<_> = VARIABLES.into_iter().zip(values).collect();
        let limits = resolve(&Environment::of(&pairs)).unwrap();
        assert_eq!((limits.header_read, limits.keep_alive), (Duration::from_secs(2), Duration::from_secs(5)));
        assert_eq!((limits.head_bytes, limits.headers), (16 << 10, 50));
        assert_eq!((limits.connect, limits.connections), (Duration::from_secs(1), 10));
        assert_eq!((limits.connections_per_client, limits.held_per_stage), (3, 7));
        assert_eq!(as_set(&Environment::of(&pairs)).len(), VARIABLES.len());
        let empty: Vec<_> = VARIABLES.into_iter().map(|name| (name, "")).collect();
        assert_eq!(resolve(&Environment::of(&empty)).unwrap(), Limits::default());
    }

    #[test]
    fn what_is_no_limit_is_refused_by_the_name_of_its_variable() {
        for (name, value, said) in [
            ("DOZEN_ROUTER_CONNECT", "5", "`5` is not a duration"),
            ("DOZEN_ROUTER_CONNECT", "0s", "above zero"),
            ("DOZEN_ROUTER_KEEP_ALIVE", "2d", "a day at most"),
            ("DOZEN_ROUTER_HEAD_SIZE", "64", "`64` is not a size"),
            ("DOZEN_ROUTER_HEAD_SIZE", "1G", "from 1K to 1M"),
            ("DOZEN_ROUTER_HEADERS", "+50", "from 10 to 1000"),
            ("DOZEN_ROUTER_CONNECTIONS", "0", "from 1 to"),
            ("DOZEN_ROUTER_HELD", "many", "from 0 to"),
        ] {
            let error = resolve(&Environment::of(&[(name, value)])).unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{name}`: ")) && error.contains(said), "{error}");
        }
    }

    #[test]
    fn every_variable_stands_in_the_reference() {
        for name in VARIABLES {
            assert!(super::super::VARIABLES.iter().any(|(known, ..)| *known == name), "{name}");
        }
    }
}
