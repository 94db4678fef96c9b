//! What the two readers accept, refuse and say; and what a manifest means.

use std::time::Duration;

use super::*;
use crate::{hint::Hint as _, image::Language};

mod hostile;
mod router;

fn toml(text: &str) -> AppManifest {
    read_toml(text.as_bytes()).unwrap()
}

fn refused(text: &str) -> ManifestError {
    read_toml(text.as_bytes()).unwrap_err()
}

fn json(text: &str) -> (AppManifest, Vec<String>) {
    read_app_json(text.as_bytes()).unwrap()
}

fn process(name: &str) -> ProcessType {
    name.parse().unwrap()
}

const WHOLE: &str = r#"
[app]
name = "blango"
root = "public"
language = "python"
lock = "uv.lock"
python = "3.12"
node = "20"
package_manager = "uv"

[processes]
web = "gunicorn app"
release = "python manage.py migrate"

[config]
SECRET_KEY = { generate = "secret", length = 64, description = "signs sessions" }
DEBUG = "false"
MODE = { default = "Prod" }
API_KEY = { required = true }
OPTIONAL = { description = "may be absent" }

[services.db]
kind = "sqlite"
attach = "DATABASE_URL"
url_options = { timeout = "5" }

[services.media]
kind = "volume"
attach = "MEDIA_ROOT"
path = "/data/uploads"

[health]
path = "/healthz"
timeout = "1m"

[release]
timeout = "20m"
on_rollback = true
hold_unsafe = false

[formation]
web = { count = 2, memory = "512M", cpu = "500m", grace = "10s", stop_signal = "SIGINT", signal_all = true }
worker = 3

[limits]
memory = "1G"
cpu = 2
tmp = "128M"

[drain]
timeout = "0s"

[build]
command = "make"
assets = true
timeout = "15m"
env = { NODE_ENV = "production" }
system_packages = ["libpq-dev", "gettext", "gettext"]

[system]
packages = ["libpq5"]

[stages.staging]
domains = ["staging.example.org"]
config = { MODE = "Stage" }
formation = { web = 1, worker = { memory = "256M" } }
health = { timeout = "2m" }
release = { on_rollback = false }

[factors]
XI = "the app writes its own audit log by law"
IV = "no backing services"
"#;

#[test]
fn every_section_is_read() {
    let read = toml(WHOLE);
    assert_eq!(read.app.name.as_ref().unwrap().as_str(), "blango");
    assert_eq!((read.app.language, read.app.python.as_deref()), (Some(Language::Python), Some("3.12")));
    assert_eq!(read.processes.len(), 1);
    assert_eq!(read.release.command.as_deref(), Some("python manage.py migrate"));
    let fallback = |name: &str| read.config[&name.parse::<ConfigVar>().unwrap()].fallback.clone();
    assert_eq!(fallback("SECRET_KEY"), ConfigFallback::Secret { length: 64 });
    assert_eq!(fallback("DEBUG"), ConfigFallback::Default("false".into()));
    assert_eq!(fallback("MODE"), ConfigFallback::Default("Prod".into()));
    assert_eq!(fallback("API_KEY"), ConfigFallback::Required);
    assert_eq!(fallback("OPTIONAL"), ConfigFallback::Unset);
    let media = &read.services[&"media".parse::<ServiceName>().unwrap()];
    assert_eq!((media.kind, media.path.as_ref().unwrap().as_str()), (ServiceKind::Volume, "/data/uploads"));
    assert_eq!(read.health.timeout(), Duration::from_secs(60));
    assert_eq!((read.release.timeout(), read.release.on_rollback), (Duration::from_secs(1200), true));
    assert_eq!(read.release.hold_unsafe, Some(false));
    let web = read.settings_of(&process("web"));
    assert_eq!((web.count, web.memory, web.cpu), (Some(2), Some(ByteSize(512 << 20)), Some(CpuLimit(500))));
    assert_eq!(
        (web.grace(), web.stop_signal, web.signal_all),
        (Duration::from_secs(10), Some(StopSignal::Int), Some(true))
    );
    let worker = read.settings_of(&process("worker"));
    assert_eq!(
        (worker.count, worker.memory, worker.cpu),
        (Some(3), Some(ByteSize(1 << 30)), Some(CpuLimit(2000)))
    );
    assert_eq!(read.formation().of(&process("worker")), 3);
    assert_eq!(read.limits.tmp().to_string(), "128M");
    assert_eq!(read.drain.timeout(), Duration::ZERO);
    assert_eq!(read.build.system_packages, ["gettext", "libpq-dev"]);
    assert_eq!(read.build.env.len(), 1);
    assert_eq!(read.system.packages, ["libpq5"]);
    let factors: Vec<String> = read.factors.keys().map(ToString::to_string).collect();
    assert_eq!(factors, ["IV", "XI"]);
}

#[test]
fn an_empty_file_declares_nothing_and_the_defaults_hold() {
    let read = toml("# nothing\n");
    assert_eq!(read, AppManifest::default());
    assert_eq!(read.health.timeout(), Duration::from_secs(30));
    assert_eq!(read.release.timeout(), Duration::from_secs(600));
    assert_eq!(read.drain.timeout(), Duration::from_secs(30));
    assert_eq!(read.settings_of(&process("web")).grace(), Duration::from_secs(30));
    assert_eq!(read.limits.tmp(), ByteSize(64 << 20));
    assert_eq!((read.formation().of(&process("web")), read.formation().of(&process("worker"))), (1, 0));
    assert_eq!(read.release.hold_unsafe, None);
}

#[test]
fn an_unknown_key_is_an_error_with_its_line_and_a_suggestion() {
    for (text, line, key, section, meant) in [
        ("\n[healht]\n", 2, "healht", "the file", Some("health")),
        ("[health]\npath = '/'\ntimout = '1s'", 3, "timout", "`[health]`", Some("timeout")),
        ("[formation.web]\n\nmemroy = '1G'", 3, "memroy", "`[formation.web]`", Some("memory")),
        ("[config]\nA = { requierd = true }", 2, "requierd", "`[config.A]`", Some("required")),
        ("[services.db]\nkind='sqlite'\nfoo = 1", 3, "foo", "`[services.db]`", None),
        ("[stages.staging]\nbuild = {}", 2, "build", "`[stages.staging]`", None),
        ("app.nmae = 'x'", 1, "nmae", "`[app]`", Some("name")),
        (
            "[stages.staging.release]\non_rolback = true",
            2,
            "on_rolback",
            "`[stages.staging.release]`",
            Some("on_rollback"),
        ),
    ] {
        let error = refused(text);
        assert_eq!(error.to_string(), format!("`dozen.toml` line {line}: unknown key `{key}` in {section}"));
        let hint = error.hint().expect("an unknown key has a hint");
        match meant {
            Some(meant) => assert_eq!(hint, format!("did you mean `{meant}`?"), "{text}"),
            None => assert!(hint.starts_with("known here: "), "{text}: {hint}"),
        }
    }
}

#[test]
fn a_wrong_type_says_what_is_wanted_and_what_is_there() {
    for (text, said) in [
        ("app = 1", "`app` must be a table, not a whole number"),
        ("[[app]]", "`app` must be a table, not a list of tables"),
        ("[app]\nname = 1", "`app.name` must be text in quotes, not a whole number"),
        ("[config]\nA = 1", "`config.A` must be text in quotes, not a whole number"),
        ("[formation]\nweb = '1'", "`formation.web` must be a whole number or a table, not text"),
        ("[formation]\nweb = 1.5", "`formation.web` must be a whole number or a table, not a number"),
        ("[build]\nassets = 'yes'", "`build.assets` must be `true` or `false`, not text"),
        ("[system]\npackages = 'a'", "`system.packages` must be a list of texts in quotes, not text"),
        ("[system]\npackages = [1]", "`system.packages` must be a list of texts in quotes, not a list"),
        ("[health]\ntimeout = 30", "`health.timeout` must be text in quotes, not a whole number"),
        ("[health]\npath = 2026-01-01", "`health.path` must be text in quotes, not a date"),
    ] {
        let error = refused(text);
        assert!(error.to_string().ends_with(said), "{error}");
        assert_eq!(error.line, Some(text.lines().count()), "{text}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_an_error() {
    for text in [
        "[app]\nname = 'Blango'",
        "[app]\nroot = '../x'",
        "[app]\nlanguage = 'cobol'",
        "[app]\nlock = '/etc/passwd'",
        "[app]\npython = '>=3'",
        "[app]\npackage_manager = 'cargo'",
        "[processes]\n'a b' = 'x'",
        "[processes]\nweb = ' '",
        "[config]\nPORT = '1'",
        "[config]\nA = \"\\u0000\"",
        "[config]\nA = { generate = 'uuid' }",
        "[config]\nA = { generate = 'secret', length = 4 }",
        "[config]\nA = { length = 40 }",
        "[config]\nA = { required = true, default = 'x' }",
        "[config]\nA = { default = 'x', generate = 'secret' }",
        "[services]\nDB = { kind = 'sqlite' }",
        "[services]\ndb = {}",
        "[services]\ndb = { kind = 'sqlite', path = '/data/x' }",
        "[services]\ndb = { kind = 'volume', path = '/etc' }",
        "[services]\ndb = { kind = 'volume', url_options = {} }",
        "[services]\ndb = { kind = 'sqlite', attach = 'PORT' }",
        "[services]\ndb = { kind = 'postgres', url_options = { 'a&b' = '1' } }",
        "[health]\npath = 'healthz'",
        "[health]\ntimeout = '0s'",
        "[release]\ntimeout = '10'",
        "[release]\ncommand = ''",
        "[formation]\nweb = -1",
        "[formation]\nweb = 1001",
        "[formation]\nrelease = 1",
        "[formation]\nweb = { grace = '0s' }",
        "[formation]\nweb = { grace = '2h' }",
        "[formation]\nweb = { stop_signal = 'KILL' }",
        "[formation]\nweb = { memory = '512' }",
        "[limits]\ncpu = 0",
        "[limits]\ntmp = '0M'",
        "[build]\nsystem_packages = ['--allow-unauthenticated']",
        "[build]\nenv = { 'A B' = '1' }",
        "[stages.Staging]",
        "[stages.staging]\ndomains = ['http://x']",
        "[factors]\nXIII = 'x'",
        "[factors]\nIV = ''",
        "[factors]\nIV = 'a'\n4 = 'b'",
    ] {
        let error = refused(text);
        assert!(matches!(error.kind, ManifestErrorKind::BadValue { .. }), "{text}: {error}");
        assert_eq!(error.line, Some(text.lines().count()), "{text}: {error}");
    }
}

#[test]
fn services_are_never_in_each_others_way() {
    let services =
        |a: &str, b: &str| read_toml(format!("[services]\na = {{ {a} }}\nb = {{ {b} }}").as_bytes());
    let error = services("kind='sqlite', attach='X'", "kind='postgres', attach='X'").unwrap_err();
    assert!(error.to_string().ends_with("line 3: `services.b`: `X` is attached to `a` already"), "{error}");
    let error = services("kind='sqlite'", "kind='volume', path='/data/a/media'").unwrap_err();
    assert!(error.to_string().ends_with("`/data/a/media` overlaps the mount of `a`"), "{error}");
    assert!(services("kind='sqlite'", "kind='volume'").is_ok());
    assert!(services("kind='postgres'", "kind='volume', path='/data/a'").is_ok());
}

#[test]
fn a_wrong_word_gets_the_right_one() {
    let hint = |text: &str| refused(text).hint();
    assert_eq!(hint("[services.db]\nkind = 'postgress'").as_deref(), Some("did you mean `postgres`?"));
    assert!(hint("[services.db]\nkind = 'kafka'").unwrap().starts_with("the kinds are `sqlite`"));
    assert_eq!(hint("[app]\nlanguage = 'pyton'").as_deref(), Some("did you mean `python`?"));
    assert_eq!(hint("[app]\npackage_manager = 'poetri'").as_deref(), Some("did you mean `poetry`?"));
}

#[test]
fn broken_toml_is_an_error_with_its_line() {
    for (text, line) in
        [("[app\nname = 'x'", 1), ("a = 1\na = 2", 2), ("[app]\nname = ", 2), ("[a]\n[b]\n[a]", 3)]
    {
        let error = refused(text);
        assert!(matches!(error.kind, ManifestErrorKind::Syntax { .. }), "{error}");
        assert_eq!(error.line, Some(line), "{text}: {error}");
    }
    assert_eq!(
        read_toml(b"[app]\n#\xff").unwrap_err().to_string(),
        "`dozen.toml` line 2: it is not valid UTF-8"
    );
    let large = vec![b'#'; (64 << 10) + 1];
    assert_eq!(read_toml(&large).unwrap_err().to_string(), "`dozen.toml`: it has more than 65536 bytes");
}

#[test]
fn an_error_never_quotes_the_value_of_a_config_var() {
    for text in [
        "[config]\nA = { default = 'topsecret', required = true }",
        "[config]\nA = \"topsecret\\u0000\"",
        "[config]\nA = { default = ['topsecret'] }",
        "[build.env]\nA = ['topsecret']",
        "[config]\nPORT = 'topsecret'",
        "[services.db]\nkind = 'external'\nurl_options = { a = \"topsecret\\u0000\" }",
        "[config]\nA = 'topsecret",
        "[config]\nA = topsecret",
        "[config]\nA = 'topsecret' topsecret",
        "[config]\nA = \"topsecret\\q\"",
    ] {
        let error = refused(text);
        let said = format!("{error} {error:?} {:?}", error.hint());
        assert!(!said.contains("topsecret"), "{said}");
    }
}

#[test]
fn the_release_command_has_one_place() {
    let error = refused("[release]\ncommand = 'a'\n[processes]\nrelease = 'b'");
    assert_eq!(
        error.to_string(),
        "`dozen.toml` line 4: `processes.release`: `release.command` says what the release phase runs already"
    );
}

#[test]
fn a_stage_overrides_what_it_names_and_keeps_the_rest() {
    let whole = toml(WHOLE);
    let staging = whole.for_stage(&"staging".parse().unwrap());
    assert_eq!(
        staging.config[&"MODE".parse::<ConfigVar>().unwrap()].fallback,
        ConfigFallback::Default("Stage".into())
    );
    assert_eq!(staging.config.len(), whole.config.len());
    let web = staging.settings_of(&process("web"));
    assert_eq!((web.count, web.memory), (Some(1), Some(ByteSize(512 << 20))));
    let worker = staging.settings_of(&process("worker"));
    assert_eq!((worker.count, worker.memory), (Some(3), Some(ByteSize(256 << 20))));
    assert_eq!(
        (staging.health.path.as_deref(), staging.health.timeout()),
        (Some("/healthz"), Duration::from_secs(120))
    );
    assert!(!staging.release.on_rollback);
    assert_eq!(staging.release.timeout(), Duration::from_secs(1200));
    assert_eq!(staging.domains[0].as_str(), "staging.example.org");
    assert!(staging.stages.is_empty());

    let production = whole.for_stage(&StageName::production());
    assert_eq!(production, AppManifest { stages: BTreeMap::new(), ..whole });
}

#[test]
fn a_domain_has_one_stage() {
    let error = refused("[stages.a]\ndomains = ['x.org']\n[stages.b]\ndomains = ['x.org']");
    assert!(error.to_string().ends_with("line 3: `stages.b`: `x.org` is a domain of `a` already"), "{error}");
}

#[test]
fn processes_replace_the_procfiles_and_add_to_it() {
    let procfile = Procfile::parse(b"web: old\nclock: tick\nrelease: old").unwrap();
    let merged =
        toml("[processes]\nweb = 'new'\nworker = 'w'\nrelease = 'new'").over_procfile(procfile.clone());
    let lines: Vec<(&str, &str)> =
        merged.processes.iter().map(|(name, line)| (name.as_str(), line.as_str())).collect();
    assert_eq!(lines, [("clock", "tick"), ("web", "new"), ("worker", "w")]);
    assert_eq!(merged.release.as_deref(), Some("new"));
    assert_eq!(AppManifest::default().over_procfile(procfile.clone()), procfile);
}

#[test]
fn a_manifest_survives_its_json_and_names_only_what_was_written() {
    let whole = toml(WHOLE);
    let text = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<AppManifest>(&text).unwrap(), whole);
    let json_of = |manifest: &AppManifest| serde_json::to_string(manifest).unwrap();
    assert_eq!(json_of(&AppManifest::default()), "{}");
    assert_eq!(json_of(&toml("release.timeout = '5s'")), r#"{"release":{"timeout":{"secs":5,"nanos":0}}}"#);
    assert_eq!(
        json_of(&toml("[formation]\nweb = 2\n[stages.dev]")),
        r#"{"formation":{"web":{"count":2}},"stages":{"dev":{}}}"#
    );
    assert_eq!(serde_json::from_str::<AppManifest>("{}").unwrap(), AppManifest::default());
}

#[test]
fn an_app_json_of_heroku_is_read() {
    let (read, warnings) = json(
        r#"{ "name": "my-app", "description": "x", "env": {
            "PLAIN": "text", "SECRET": { "generator": "secret", "description": "signs" }, "NEEDED": { "description": "y" },
            "FREE": { "required": false }, "GIVEN": { "value": "v", "required": true }, "NUMBER": { "value": 4 } },
          "formation": { "web": { "quantity": 2 }, "worker": { "quantity": 0 } },
          "healthchecks": { "web": [ { "type": "liveness", "path": "/no" }, { "type": "startup", "path": "/up" } ] },
          "environments": { "staging": { "env": { "PLAIN": "staged" }, "formation": { "web": { "quantity": 1 } } } } }"#,
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(read.app.name.as_ref().unwrap().as_str(), "my-app");
    let fallback = |name: &str| read.config[&name.parse::<ConfigVar>().unwrap()].fallback.clone();
    assert_eq!(fallback("PLAIN"), ConfigFallback::Default("text".into()));
    assert_eq!(fallback("SECRET"), ConfigFallback::Secret { length: 64 });
    assert_eq!(fallback("NEEDED"), ConfigFallback::Required);
    assert_eq!(fallback("FREE"), ConfigFallback::Unset);
    assert_eq!(fallback("GIVEN"), ConfigFallback::Default("v".into()));
    assert_eq!(fallback("NUMBER"), ConfigFallback::Default("4".into()));
    assert_eq!((read.formation().of(&process("web")), read.formation().of(&process("worker"))), (2, 0));
    assert_eq!(read.health.path.as_deref(), Some("/up"));
    let staging = read.for_stage(&"staging".parse().unwrap());
    assert_eq!(staging.formation().of(&process("web")), 1);
    assert_eq!(
        staging.config[&"PLAIN".parse::<ConfigVar>().unwrap()].fallback,
        ConfigFallback::Default("staged".into())
    );
}

#[test]
fn what_an_app_json_asks_for_in_vain_is_a_warning() {
    for (text, said) in [
        (r#"{"scripts":{"postdeploy":"x"}}"#, "`scripts.postdeploy` is not run, use a `release:` line"),
        (r#"{"addons":["heroku-postgresql:mini"]}"#, "declare `[services.NAME]` with `kind = \"postgres\"`"),
        (r#"{"addons":[{"plan":"heroku-redis","as":"CACHE"}]}"#, "`kind = \"redis\"`"),
        (r#"{"addons":["papertrail"]}"#, "the add-on `papertrail` has no counterpart"),
        (r#"{"buildpacks":[]}"#, "`buildpacks` is left out"),
        (r#"{"cron":[]}"#, "`cron` is left out"),
        (r#"{"formatoin":{}}"#, "unknown key `formatoin` is left out, did you mean `formation`?"),
        (r#"{"env":[]}"#, "`env` is left out, it is not an object"),
        (r#"{"env":{"PORT":"1"}}"#, "an entry of `env` is left out"),
        (r#"{"env":{"A":["topsecret"]}}"#, "`env.A` is left out"),
        (r#"{"env":{"A":"topsecret\u0000"}}"#, "`env.A` is left out"),
        (r#"{"formation":{"web":{"quantity":-1}}}"#, "`formation.web` has no usable `quantity`"),
        (r#"{"formation":{"web":{"quantity":1,"size":"standard-1x"}}}"#, "set a `memory`"),
        (r#"{"environments":{"A B":{}}}"#, "`environments.A B` is left out"),
        (r#"{"healthchecks":{"web":[{"path":"up"}]}}"#, "the `path` of a health check is left out"),
    ] {
        let (_, warnings) = json(text);
        assert!(warnings.len() == 1 && warnings[0].contains(said), "{text}: {warnings:?}");
        assert!(!warnings[0].contains("topsecret"));
    }
    let (read, warnings) = json(r#"{"formation":{"release":{"quantity":1}}}"#);
    assert_eq!((read.formation.len(), warnings), (0, vec![]));
    let many: String = (0..500).map(|n| format!("\"x{n}\":1,")).collect();
    assert_eq!(json(&format!("{{{many}\"y\":1}}")).1.len(), 50);
}

#[test]
fn a_file_that_is_no_json_object_is_an_error() {
    for (text, said) in [
        ("[]", "`app.json`: it is not a JSON object"),
        ("{\n\"a\": topsecret}", "`app.json` line 2: it is not valid JSON"),
        ("{\n", "`app.json` line 2: the JSON ends too early"),
    ] {
        assert_eq!(read_app_json(text.as_bytes()).unwrap_err().to_string(), said);
    }
    assert!(read_app_json(&vec![b' '; (64 << 10) + 1]).is_err());
    assert!(read_app_json("[".repeat(60_000).as_bytes()).is_err());
}

#[test]
fn dozen_toml_wins_over_app_json() {
    let app_json = br#"{ "name": "other", "env": { "A": "json", "B": "json" },
        "formation": { "web": { "quantity": 5 }, "worker": { "quantity": 2 } },
        "healthchecks": { "web": [ { "path": "/up" } ] }, "environments": { "dev": { "env": { "A": "json", "B": "json" } } },
        "addons": ["papertrail"] }"#;
    let dozen_toml = b"[app]\nname = 'mine'\n[config]\nA = 'toml'\n[formation]\nweb = { memory = '1G' }\nworker = 1\n[stages.dev.config]\nA = 'toml'";
    let (read, warnings) = AppManifest::read(Some(dozen_toml), Some(app_json)).unwrap();
    assert_eq!(read.app.name.as_ref().unwrap().as_str(), "mine");
    let default_of = |manifest: &AppManifest, name: &str| {
        manifest.config[&name.parse::<ConfigVar>().unwrap()].fallback.clone()
    };
    assert_eq!(default_of(&read, "A"), ConfigFallback::Default("toml".into()));
    assert_eq!(default_of(&read, "B"), ConfigFallback::Default("json".into()));
    let web = read.settings_of(&process("web"));
    assert_eq!((web.count, web.memory), (Some(5), Some(ByteSize(1 << 30))));
    assert_eq!(read.formation().of(&process("worker")), 1);
    assert_eq!(read.health.path.as_deref(), Some("/up"));
    let dev = read.for_stage(&"dev".parse().unwrap());
    assert_eq!(default_of(&dev, "A"), ConfigFallback::Default("toml".into()));
    assert_eq!(default_of(&dev, "B"), ConfigFallback::Default("json".into()));
    assert_eq!(warnings.len(), 1);
    assert_eq!(AppManifest::read(None, None).unwrap(), (AppManifest::default(), vec![]));
}
