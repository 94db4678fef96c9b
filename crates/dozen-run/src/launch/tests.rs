use dozen_model::image::{Language, Layer, LayerRole};

use super::*;

/// A release of one app, to be planned in several ways.
struct Release {
    app: AppName,
    stage: StageName,
    instance: InstanceName,
    image: Image,
    config: BTreeMap<ConfigVar, Vec<u8>>,
    mounts: Vec<Bind>,
    settings: ProcessSettings,
}

impl Release {
    fn of(instance: &str, language: Language) -> Self {
        Self {
            app: "shop".parse().unwrap(),
            stage: StageName::production(),
            instance: instance.parse().unwrap(),
            image: Image {
                format: Image::FORMAT,
                arch: "x86_64".into(),
                language,
                runtime: None,
                layers: vec![],
                processes: BTreeMap::new(),
                release_command: None,
                env: BTreeMap::new(),
                manifest: Default::default(),
                static_root: None,
                django: false,
                has_migrations: false,
            },
            config: BTreeMap::new(),
            mounts: vec![],
            settings: ProcessSettings::default(),
        }
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        self.config.insert(name.parse().unwrap(), value.to_vec());
    }

    fn launch(&self, line: &str, port: Option<u16>) -> LaunchSpec {
        let spec = self.try_launch(line, port).unwrap();
        spec.check().unwrap();
        spec
    }

    fn try_launch(&self, line: &str, port: Option<u16>) -> Result<LaunchSpec, RunError> {
        let plan = LaunchPlan {
            app: &self.app,
            stage: &self.stage,
            release: ReleaseNumber(12),
            commit: Some("c0ffee"),
            instance: &self.instance,
            command: LaunchCommand::Line(line),
            image: &self.image,
            layer_path: &|digest| PathBuf::from("/layers").join(digest.short()),
            config: &self.config,
            service_mounts: &self.mounts,
            user: WallsUser { uid: 1000, gid: 1000 },
            port,
            settings: &self.settings,
            limits: Limits::default(),
            tmp: ByteSize(64 << 20),
            restart: Restart::Always,
            attach: None,
            log_dir: Path::new("/logs/web.1"),
        };
        plan.spec()
    }
}

fn environment_of(spec: &LaunchSpec) -> BTreeMap<String, Vec<u8>> {
    let text = |name: &ByteString| String::from_utf8(name.as_bytes().to_vec()).unwrap();
    spec.command.env.iter().map(|(name, value)| (text(name), value.as_bytes().to_vec())).collect()
}

fn argv_of(spec: &LaunchSpec) -> Vec<String> {
    spec.command.argv.iter().map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned()).collect()
}

#[test]
fn an_instance_knows_who_it_is() {
    let release = Release::of("web.2", Language::Python);
    let environment = environment_of(&release.launch("gunicorn shop.wsgi", Some(21034)));
    for (name, value) in [
        ("DOZEN_APP", "shop"),
        ("DOZEN_STAGE", "production"),
        ("DOZEN_PROCESS", "web.2"),
        ("DOZEN_RELEASE", "v12"),
        ("DOZEN_COMMIT", "c0ffee"),
        ("DYNO", "web.2"),
        ("PORT", "21034"),
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("WEB_CONCURRENCY", "2"),
        ("PYTHONUNBUFFERED", "1"),
        ("UWSGI_DIE_ON_TERM", "1"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ] {
        assert_eq!(environment.get(name).map(Vec::as_slice), Some(value.as_bytes()), "{name}");
    }
}

#[test]
fn nothing_of_our_own_environment_reaches_an_instance() {
    let environment = environment_of(&Release::of("web.1", Language::Procfile).launch("./serve", None));
    let names: Vec<&str> = environment.keys().map(String::as_str).collect();
    let expected = [
        "DOZEN_APP",
        "DOZEN_COMMIT",
        "DOZEN_PROCESS",
        "DOZEN_RELEASE",
        "DOZEN_STAGE",
        "DYNO",
        "HOME",
        "LANG",
        "PATH",
        "WEB_CONCURRENCY",
    ];
    assert_eq!(names, expected);
}

#[test]
fn config_wins_over_the_image_and_what_is_reserved_over_both() {
    let mut release = Release::of("worker.1", Language::Python);
    for (name, value) in
        [("MODE", "image"), ("LANG", "de"), ("PORT", "8000"), ("DOZEN_APP", "other"), ("X", "image")]
    {
        release.image.env.insert(name.into(), value.into());
    }
    release.set("MODE", b"config");
    release.set("WEB_CONCURRENCY", b"7");
    let environment = environment_of(&release.launch("run", None));
    assert_eq!(environment["MODE"], b"config");
    assert_eq!(environment["X"], b"image");
    assert_eq!(environment["LANG"], b"de");
    assert_eq!(environment["WEB_CONCURRENCY"], b"7");
    assert_eq!(environment["DOZEN_APP"], b"shop");
    assert_eq!(environment.get("PORT"), None, "a worker has no endpoint");
}

#[test]
fn a_value_is_bytes_and_is_not_shown() {
    let mut release = Release::of("web.1", Language::Python);
    release.set("SECRET", b"hunter2\xff\n");
    let spec = release.launch("serve", None);
    assert_eq!(environment_of(&spec)["SECRET"], b"hunter2\xff\n");
    assert!(!format!("{spec:?}").contains("hunter2"));
}

#[test]
fn a_simple_line_is_expanded_and_needs_no_shell() {
    let release = Release::of("web.1", Language::Python);
    let spec = release.launch("gunicorn shop.wsgi --bind 0.0.0.0:$PORT -w ${WORKERS:-3}", Some(21034));
    assert_eq!(argv_of(&spec), ["gunicorn", "shop.wsgi", "--bind", "0.0.0.0:21034", "-w", "3"]);
    assert!(!spec.stop.all);
    let spec = release.launch("MODE=x serve", Some(21034));
    assert_eq!((argv_of(&spec), environment_of(&spec)["MODE"].as_slice()), (vec!["serve".into()], &b"x"[..]));
}

#[test]
fn a_line_for_a_shell_stops_every_process_inside() {
    let mut release = Release::of("web.1", Language::Python);
    let spec = release.launch("cd site && ./serve", Some(21034));
    assert_eq!(argv_of(&spec), ["/bin/sh", "-c", "cd site && ./serve"]);
    assert!(spec.stop.all);
    release.settings.signal_all = Some(false);
    assert!(!release.launch("cd site && ./serve", None).stop.all);
}

#[test]
fn layers_are_stacked_on_app_and_runtimes_are_mounted_at_their_prefix() {
    let mut release = Release::of("web.1", Language::Python);
    let layer = |role, word: &str, mounts: &[&str]| Layer {
        role,
        digest: Digest::of(word.as_bytes()),
        mounts: mounts.iter().map(ToString::to_string).collect(),
    };
    release.image.layers = vec![
        layer(LayerRole::Runtime, "python", &["/opt/python/3.11"]),
        layer(LayerRole::App, "app", &[]),
        layer(LayerRole::Dependencies, "packages", &[]),
    ];
    let volume = Bind { source: "/services/media".into(), target: "/data/media".into(), writable: true };
    release.mounts = vec![volume.clone()];
    let walls = release.launch("serve", None).walls;
    let at = |word: &str| PathBuf::from("/layers").join(Digest::of(word.as_bytes()).short());
    assert_eq!(walls.app, [at("app"), at("packages")]);
    let prefix = PathBuf::from("/opt/python/3.11");
    let runtime = Bind { source: at("python").join("opt/python/3.11"), target: prefix, writable: false };
    assert_eq!(walls.binds, [volume, runtime]);
}

#[test]
fn a_bad_line_is_refused_without_its_words() {
    let release = Release::of("web.1", Language::Python);
    for line in ["serve 'secret", "", "# secret"] {
        let text = release.try_launch(line, None).unwrap_err().to_string();
        assert!(
            text.starts_with("the command of `web.1` cannot be run") && !text.contains("secret"),
            "{text}"
        );
    }
}

#[test]
fn a_host_name_fits_whatever_the_names_are() {
    let mut release = Release::of("a_b.1", Language::Procfile);
    assert_eq!(release.launch("serve", None).walls.hostname, "shop-a-b-1");
    release.instance = format!("{}.12", "x".repeat(63)).parse().unwrap();
    let hostname = release.launch("serve", None).walls.hostname;
    assert!(hostname.len() <= 63 && hostname.ends_with("x-12"), "{hostname}");
}

#[test]
fn a_single_word_with_spaces_is_a_line() {
    let words = |text: &[&str]| text.iter().map(ToString::to_string).collect::<Vec<_>>();
    let one = words(&["python manage.py check"]);
    assert_eq!(LaunchCommand::of_words(&one), LaunchCommand::Line("python manage.py check"));
    let many = words(&["echo", "$HOME and more"]);
    assert_eq!(LaunchCommand::of_words(&many), LaunchCommand::Words(&many));
}

#[test]
fn a_line_cannot_say_what_dozen_alone_may() {
    let release = Release::of("web.1", Language::Python);
    for line in ["PORT=8000 ./serve", "A=1 DOZEN_APP=x ./serve", "DYNO=web.9 ./serve"] {
        let refused = release.try_launch(line, Some(5000)).unwrap_err();
        assert!(refused.to_string().contains("which dozen alone sets"), "{refused}");
    }
    release.launch("PORTS=8000 ./serve", Some(5000));
}
